//! `move-location`: brings a storage location of the node to another directory.

use crate::cli::MoveLocation;
use crate::maintenance::follow;
use crate::output::human_bytes;
use crate::session::Session;
use anyhow::Context;
use serde_json::{Value, json};
use std::path::Path;

/// Moves a location.
pub(super) async fn relocate(session: &Session, arguments: &MoveLocation) -> anyhow::Result<()> {
    let whole = |path: &Path| {
        let whole = std::path::absolute(path);
        whole.map(|path| path.display().to_string()).with_context(|| format!("{} is no path", path.display()))
    };
    let mut parameters = json!({ "from": whole(&arguments.from)? });
    if let Some(to) = &arguments.to {
        parameters["to"] = whole(to)?.into();
    }
    let result = follow(session, "move-location", &parameters, Value::to_string).await?.result;
    session.output.json(&result)?;
    let number = |name: &str| result[name].as_u64().unwrap_or(0);
    let text = |name: &str| result[name].as_str().unwrap_or_default().to_owned();
    let (packs, bytes) = (number("packs"), human_bytes(number("bytes")));
    session.output.done(&format!("{packs} packs in {} ({bytes} moved)", text("to")))?;
    session.output.note(&match result["location"].as_u64() {
        Some(0) => {
            format!("{} keeps the index, the keys and a note where its packs are; leave it", text("from"))
        }
        _ => format!(
            "name {} in storage.locations instead of {}; until then a note there leads to it",
            text("to"),
            text("from")
        ),
    });
    match number("left") {
        0 => Ok(()),
        left => anyhow::bail!(
            "packs that could not be removed from {}: {left}; they are no longer needed",
            text("from")
        ),
    }
}
