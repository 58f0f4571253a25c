//! `jsfs check`: reads every byte of a store and names what is wrong, through the node where one runs. Changes nothing, but for `--repair` and `--rebuild`.
//!
//! Exit codes: 0 clean, 1 damage found, 2 could not run (no store there, no permission, the node refuses).

use crate::cli::{Check, Connection};
use crate::commands::config::flags;
use crate::config::{self, Settings};
use crate::exit::{CouldNotRun, Exit, told};
use crate::maintenance::follow;
use crate::output::{Output, human_bytes, one_line};
use crate::progress::Progress;
use crate::session::{Session, running_node};
use jsfs_store::{Finding, Observer, OpenOptions, Report};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Checks the store of a node that runs on the data directory, while it goes on.
async fn online(session: &Session, repair: bool) -> anyhow::Result<Exit> {
    let tell = |finding: &Value| {
        let place = finding["location"].as_str().unwrap_or_default();
        let what = finding["what"].as_str().unwrap_or_default();
        let end = if finding["repaired"] == true { " (repaired)" } else { "" };
        let place = match finding["pack"].as_u64() {
            Some(pack) if pack > 0 => {
                format!("{place}/packs/{pack:012}.pack at offset {}", finding["offset"])
            }
            _ => place.to_owned(),
        };
        format!("{place}: {what}{end}")
    };
    let outcome = follow(session, "check", &json!({ "repair": repair }), tell).await;
    let outcome = outcome.map_err(|error| CouldNotRun(told(&error)))?;
    let number = |name: &str| outcome.result[name].as_u64().unwrap_or(0);
    let (damaged, repaired) = (number("damaged"), number("repaired"));
    let mut result = outcome.result.clone();
    result["online"] = true.into();
    result["clean"] = (damaged == 0).into();
    result["findings"] = outcome.findings.into();
    result["more"] = outcome.more.into();
    session.output.json(&result)?;
    let read = format!(
        "{} packs, {} blocks, {} entries, {}",
        number("packs"),
        number("blocks"),
        number("entries"),
        human_bytes(number("bytes"))
    );
    match (damaged, repaired) {
        (0, 0) => session.output.done(&format!("clean: {read}"))?,
        _ => {
            session.output.line(&format!("{damaged} things are damaged, {repaired} were repaired: {read}"))?
        }
    }
    Ok(if damaged == 0 { Exit::Done } else { Exit::Failed })
}

/// Checks, mends or rebuilds what a node stores: through the node where one runs.
pub(crate) async fn run(connection: &Connection, arguments: &Check, output: Output) -> anyhow::Result<Exit> {
    let settings = settings(connection, arguments).map_err(could_not)?;
    let running = running_node(&settings.data);
    if let (Some(node), false) = (&running, arguments.online) {
        if arguments.rebuild {
            let text = format!(
                "a node runs on {}: stop it first; `jsfs check --repair` has its index rebuilt at its next start if it differs from the packs",
                settings.data.display()
            );
            return Err(CouldNotRun(text).into());
        }
        output.say(&format!(
            "a node runs on {} ({node}): it is checked while it goes on",
            settings.data.display()
        ));
    }
    if arguments.online || running.is_some() {
        let mut connection = connection.clone();
        if running.is_some() && connection.node.is_none() {
            connection.data = Some(settings.data);
        }
        return online(&Session::find(&connection, output)?, arguments.repair).await;
    }
    let (arguments, end) = (Arguments::of(arguments), settings);
    tokio::task::spawn_blocking(move || offline(&end, arguments, output)).await?
}

/// What is asked for of a store that nobody has open.
#[derive(Clone, Copy)]
enum Arguments {
    Check,
    Repair,
    Rebuild,
}

impl Arguments {
    fn of(arguments: &Check) -> Self {
        match (arguments.repair, arguments.rebuild) {
            (true, _) => Self::Repair,
            (_, true) => Self::Rebuild,
            _ => Self::Check,
        }
    }
}

fn could_not(error: anyhow::Error) -> anyhow::Error {
    CouldNotRun(told(&error)).into()
}

/// The store of the data directory, which no node has open.
fn offline(settings: &Settings, what: Arguments, output: Output) -> anyhow::Result<Exit> {
    let options = options(settings).map_err(could_not)?;
    let mut repaired = 0;
    match what {
        Arguments::Check => {}
        Arguments::Repair => {
            output.say(&format!(
                "reading every byte below {}, and putting right what can be",
                settings.data.display()
            ));
            let teller =
                Teller { output, bar: Progress::new(output, "repair", None), repaired: AtomicU64::new(0) };
            jsfs_store::repair(options.clone(), &teller).map_err(|error| could_not(error.into()))?;
            repaired = teller.repaired.into_inner();
        }
        Arguments::Rebuild => {
            output.say(&format!("building the index of {} from the packs", settings.data.display()));
            let packs = jsfs_store::rebuild(options.clone()).map_err(|error| could_not(error.into()))?;
            if !packs.is_clean() {
                show(&packs, 0, output)?;
                output.warn("the index was left as it is, because the packs are damaged and it may know what they have lost; run jsfs check --repair");
                return Ok(Exit::Failed);
            }
        }
    }
    output.say(&format!("reading every byte below {}", settings.data.display()));
    let report = jsfs_store::check(&options).map_err(|error| could_not(error.into()))?;
    show(&report, repaired, output)?;
    Ok(if report.is_clean() { Exit::Done } else { Exit::Failed })
}

/// Prints what is put right as it happens. What stays wrong the check after it names.
struct Teller {
    output: Output,
    bar: Progress,
    repaired: AtomicU64,
}

impl Observer for Teller {
    fn progress(&self, done: u64, total: u64) {
        self.bar.at(done, total);
    }

    fn found(&self, finding: &Finding) {
        if finding.repaired {
            self.repaired.fetch_add(1, Ordering::Relaxed);
            // A reader that has closed the pipe shows at the end.
            let _ = self.bar.suspend(|| self.output.line(&one_line(&finding.to_string())));
        }
    }

    fn is_stopped(&self) -> bool {
        false
    }
}

fn settings(connection: &Connection, arguments: &Check) -> anyhow::Result<Settings> {
    let flags = flags(connection, None, &arguments.settings);
    let merged =
        config::merge(&flags, &config::environment()).map_err(|fault| anyhow::anyhow!(fault.reason))?;
    Settings::of(&merged)
}

fn options(settings: &Settings) -> anyhow::Result<OpenOptions> {
    let locations = || std::iter::once(&settings.data).chain(&settings.storage_locations);
    // Opening makes the directories of a store that is new, which a check must not. One that is missing beside others is a finding.
    if let Some(missing) = locations().next().filter(|_| !locations().any(|location| is_store(location))) {
        anyhow::bail!(
            "there is no store in {}; name the node's data directory with --data",
            missing.display()
        );
    }
    crate::serve::keep_to_oneself();
    let options = crate::locations::options(settings, false)?;
    Ok(options.copies(settings.storage_copies).floor(settings.storage_floor))
}

fn is_store(location: &Path) -> bool {
    location.join("store.json").exists() || location.join("packs").is_dir()
}

fn show(report: &Report, repaired: u64, output: Output) -> anyhow::Result<()> {
    let findings = report.findings.iter().map(|finding| {
        json!({ "location": finding.location, "pack": finding.pack, "offset": finding.offset, "what": finding.what })
    });
    output.json(&json!({
        "online": false, "repaired": repaired, "clean": report.is_clean(), "findings": findings.collect::<Vec<_>>(), "more": report.more, "packs": report.packs,
        "frames": report.frames, "blocks": report.blocks, "entries": report.entries, "bytes": report.bytes,
    }))?;
    for finding in &report.findings {
        output.line(&one_line(&finding.to_string()))?;
    }
    let read = format!(
        "{} packs, {} blocks, {} entries, {}",
        report.packs,
        report.blocks,
        report.entries,
        human_bytes(report.bytes)
    );
    match report.findings.len() as u64 + report.more {
        0 => output.done(&format!("clean: {read}"))?,
        1 => output.line(&format!("1 thing is damaged: {read}"))?,
        all => output.line(&format!("{all} things are damaged: {read}"))?,
    }
    Ok(())
}
