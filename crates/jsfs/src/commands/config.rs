//! `config show|check`: what a node would run with.

use crate::cli::{self, Connection, Serve};
use crate::config::{self, Flags, Merged, Reload};
use crate::exit::{CouldNotRun, Exit};
use crate::output::Output;
use serde_json::json;

/// Runs one of them.
pub(crate) fn run(connection: &Connection, command: &cli::Config, output: Output) -> anyhow::Result<Exit> {
    match command {
        cli::Config::Show(arguments) => show(&read(connection, arguments)?, output),
        cli::Config::Check(arguments) => check(&read(connection, arguments)?, output),
    }
}

/// The flags of a command as the configuration takes them.
pub(crate) fn flags(connection: &Connection, listen: Option<&String>, settings: &cli::SettingFlags) -> Flags {
    Flags {
        config: settings.config.clone(),
        set: settings.set.clone(),
        listen: listen.cloned(),
        data: connection.data.as_ref().map(|path| path.display().to_string()),
    }
}

fn read(connection: &Connection, arguments: &Serve) -> anyhow::Result<Merged> {
    let flags = flags(connection, arguments.listen.as_ref(), &arguments.settings);
    config::merge(&flags, &config::environment()).map_err(|fault| CouldNotRun(fault.reason).into())
}

fn show(merged: &Merged, output: Output) -> anyhow::Result<Exit> {
    let settings = merged.all().map(|(setting, value, origin)| {
        json!({ "key": setting.key, "value": value.to_string(), "origin": origin.to_string(), "default": setting.default,
            "variable": setting.variable(), "values": setting.form(), "live": setting.reload == Reload::Live, "meaning": setting.meaning })
    });
    output.json(&json!({ "file": merged.file, "settings": settings.collect::<Vec<_>>(), "problems": problems(merged) }))?;
    for (setting, value, origin) in merged.all() {
        output.line(&format!(
            "{} = {value}  ({origin})\n    {}; {}",
            setting.key,
            setting.meaning,
            setting.variable()
        ))?;
    }
    Ok(report(merged, output))
}

fn check(merged: &Merged, output: Output) -> anyhow::Result<Exit> {
    output.json(&json!({ "file": merged.file, "problems": problems(merged) }))?;
    if report(merged, output) == Exit::Failed {
        return Ok(Exit::Failed);
    }
    match &merged.file {
        Some(file) => output.done(&format!("{} and the environment are in order", file.display()))?,
        None => {
            output.done("the environment is in order; there is no configuration file, and none is needed")?
        }
    }
    Ok(Exit::Done)
}

fn problems(merged: &Merged) -> Vec<serde_json::Value> {
    let problem =
        |fault: &config::Fault| json!({ "origin": fault.origin.to_string(), "problem": fault.reason });
    merged.problems().iter().map(problem).collect()
}

/// Names what keeps a node from starting, with the code that says whether anything does.
fn report(merged: &Merged, output: Output) -> Exit {
    let problems = merged.problems();
    if !output.json {
        for fault in &problems {
            output.warn(&fault.to_string());
        }
    }
    if problems.is_empty() { Exit::Done } else { Exit::Failed }
}
