//! `run` and `logs`: asking a program, and reading what it has logged.

use super::sync::Programs;
use crate::cli::{Logs, Run, RunMethod};
use crate::output::{flush, one_line, printable, write_bytes};
use crate::session::Session;
use jsfs_client::{Address, Ask, Error, LogLine, Over, Reference, Source};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// How often a log is asked for more.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);

/// `jsfs run`: the body of the answer on standard output, as it comes.
pub(super) async fn run(session: &Session, arguments: &Run) -> anyhow::Result<()> {
    let (reference, client) = session.target(&arguments.address)?;
    let body = match arguments.body.as_deref() {
        None => None,
        Some(path) if path == Path::new("-") => Some(Source::Reader(Box::new(super::put::standard_input()?))),
        Some(path) => Some(Source::File(path.to_owned())),
    };
    let method = arguments.method.map(|method| match method {
        RunMethod::Get => "GET".to_owned(),
        RunMethod::Post => "POST".to_owned(),
    });
    let over = (!arguments.input.is_empty()).then(|| over(arguments)).transpose()?;
    let ask = Ask { method, query: arguments.query.clone(), headers: arguments.header.clone(), body, over };
    if arguments.detach {
        return super::process::start(session, arguments, ask).await;
    }
    let mut answer = client.run(&reference.address, ask).await?;
    if arguments.include {
        let fields = answer.headers.iter().map(|(name, value)| format!("\n{name}: {}", one_line(value)));
        session.output.warn(&format!("status {}{}", answer.status, fields.collect::<String>()));
    }
    while let Some(piece) = answer.chunk().await? {
        write_bytes(&piece)?;
        // What a program says bit by bit is seen bit by bit.
        flush()?;
    }
    Ok(answer.succeeded()?)
}

fn over(arguments: &Run) -> anyhow::Result<Over> {
    let input = arguments.input.iter().map(|text| Ok(Reference::parse(text)?.address));
    Ok(Over {
        input: input.collect::<anyhow::Result<_>>()?,
        parallel: arguments.parallel.clone(),
        record: arguments.record.clone(),
        is_fresh: arguments.no_cache,
    })
}

/// `jsfs logs`: with `--json` a line is one object.
pub(super) async fn logs(session: &Session, arguments: &Logs) -> anyhow::Result<()> {
    let (reference, client) = session.target(&arguments.address)?;
    let mut after = arguments.after;
    let mut is_first = true;
    loop {
        let lines = match client.logs(&reference.address, after).await {
            Ok(lines) => lines,
            // A node that is restarted meanwhile is waited for; what it logs then is counted anew.
            Err(Error::Unreachable { .. } | Error::Broken { .. }) if arguments.follow && !is_first => {
                after = 0;
                Vec::new()
            }
            Err(error) => return Err(error.into()),
        };
        for line in &lines {
            session.output.line(&shown(line))?;
            session.output.json_line(line)?;
            after = line.number;
        }
        flush()?;
        if !arguments.follow {
            if lines.is_empty() {
                session.output.note("nothing was logged lately");
            }
            return Ok(());
        }
        is_first = false;
        tokio::time::sleep(FOLLOW_EVERY).await;
    }
}

/// Tells of what all programs of a directory log, each line with the name of its program.
pub(super) async fn follow_all(session: &Session, directory: &Path, root: &Address) -> anyhow::Result<()> {
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    loop {
        // A mistake in the list is told by whoever sends the files.
        let programs = Programs::read(directory).unwrap_or_default();
        for name in programs.names() {
            let after = seen.entry(name.to_owned()).or_default();
            // What cannot be asked now is asked again soon.
            let lines = session.client.logs(&root.join(name)?, *after).await.unwrap_or_default();
            for line in &lines {
                session.output.line(&format!("{}: {}", one_line(name), shown(line)))?;
                session.output.json_line(&serde_json::json!({ "name": name, "log": line }))?;
                *after = line.number;
            }
        }
        flush()?;
        tokio::time::sleep(FOLLOW_EVERY).await;
    }
}

/// `2026-01-02T03:04:05.678Z error TypeError: x is undefined`, further lines of it indented.
fn shown(line: &LogLine) -> String {
    let text = printable(line.text.trim_end()).replace('\n', "\n    ");
    format!("{} {:<5} {text}", one_line(&line.time), one_line(&line.level))
}

#[cfg(test)]
mod tests {
    use super::shown;
    use jsfs_client::LogLine;

    #[test]
    fn a_line_of_a_log_cannot_pass_for_another() {
        let line = LogLine {
            number: 1,
            time: "T".to_owned(),
            level: "info".to_owned(),
            run: "r".to_owned(),
            text: "one\nT info two\u{1b}[2J\n".to_owned(),
        };
        assert_eq!(shown(&line), "T info  one\n    T info two\\u{1b}[2J");
    }
}
