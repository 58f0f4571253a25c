//! `jsfs check`: reads every byte of a stopped store and names what is wrong; with `--online` of one whose node runs. Changes nothing, but for `--repair`.
//!
//! Exit codes: 0 clean, 1 damage found, 2 could not run (no store there, a node has it open, no permission).

use crate::cli::{Check, Connection};
use crate::commands::config::flags;
use crate::config::{self, Settings};
use crate::exit::{CouldNotRun, Exit, told};
use crate::maintenance::follow;
use crate::output::{Output, human_bytes, one_line};
use crate::session::Session;
use jsfs_store::{OpenOptions, Report};
use serde_json::{Value, json};
use std::path::Path;

/// Checks the store of a node that runs on the data directory, while it goes on.
pub(crate) async fn online(session: &Session, repair: bool) -> anyhow::Result<Exit> {
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

/// Checks the store of the data directory, which no node has open.
pub(crate) fn run(connection: &Connection, arguments: &Check, output: Output) -> anyhow::Result<Exit> {
    let report = report(connection, arguments, output).map_err(|error| CouldNotRun(told(&error)))?;
    show(&report, output)?;
    Ok(if report.is_clean() { Exit::Done } else { Exit::Failed })
}

fn report(connection: &Connection, arguments: &Check, output: Output) -> anyhow::Result<Report> {
    let flags = flags(connection, None, &arguments.settings);
    let merged =
        config::merge(&flags, &config::environment()).map_err(|fault| anyhow::anyhow!(fault.reason))?;
    let settings = Settings::of(&merged)?;
    let locations = || std::iter::once(&settings.data).chain(&settings.storage_locations);
    // Opening makes the directories of a store that is new, which a check must not. One that is missing beside others is a finding.
    if let Some(missing) = locations().next().filter(|_| !locations().any(|location| is_store(location))) {
        anyhow::bail!(
            "there is no store in {}; name the node's data directory with --data",
            missing.display()
        );
    }
    crate::serve::keep_to_oneself();
    let options = OpenOptions::directory(&settings.data, &settings.storage_locations)?;
    output.say(&format!("reading every byte below {}", settings.data.display()));
    Ok(jsfs_store::check(&options)?)
}

fn is_store(location: &Path) -> bool {
    location.join("store.json").exists() || location.join("packs").is_dir()
}

fn show(report: &Report, output: Output) -> anyhow::Result<()> {
    let findings = report.findings.iter().map(|finding| {
        json!({ "location": finding.location, "pack": finding.pack, "offset": finding.offset, "what": finding.what })
    });
    output.json(&json!({
        "clean": report.is_clean(), "findings": findings.collect::<Vec<_>>(), "more": report.more, "packs": report.packs,
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
