//! `gc`: frees the space of what nobody needs, now.

use crate::cli::Gc;
use crate::maintenance::follow;
use crate::output::human_bytes;
use crate::session::Session;
use serde_json::{Value, json};

/// Compacts the packs of the node.
pub(super) async fn run(session: &Session, arguments: &Gc) -> anyhow::Result<()> {
    let share = f64::from(arguments.above) / 100.0;
    let parameters = json!({ "dead_share": share, "dry_run": arguments.dry_run });
    let outcome = follow(session, "gc", &parameters, Value::to_string).await?;
    session.output.json(&outcome.result)?;
    let number = |name: &str| outcome.result[name].as_u64().unwrap_or(0);
    let packs = match number("packs") {
        1 => "1 pack".to_owned(),
        packs => format!("{packs} packs"),
    };
    let (freed, carried) = (human_bytes(number("freed")), human_bytes(number("carried")));
    let would = if arguments.dry_run { "would be " } else { "" };
    session
        .output
        .done(&format!("{packs} {would}compacted: {freed} {would}freed, {carried} {would}carried over"))?;
    match number("damaged") {
        0 => Ok(()),
        damaged => anyhow::bail!(
            "packs left as they are because something in them is damaged: {damaged}; run `jsfs check --repair`"
        ),
    }
}
