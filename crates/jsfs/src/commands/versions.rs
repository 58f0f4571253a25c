//! `versions` and `restore-version`.

use crate::cli::{One, RestoreVersion};
use crate::output::{human_bytes, one_line};
use crate::session::Session;
use serde_json::json;

/// `jsfs versions`.
pub(super) async fn list(session: &Session, arguments: &One) -> anyhow::Result<()> {
    let (reference, client) = session.target(&arguments.address)?;
    let versions = client.versions(&reference.address).await?;
    session.output.json(&json!({ "address": reference.address.to_string(), "versions": versions }))?;
    for version in &versions {
        let what = match (version.deleted, version.private) {
            (true, _) => "deleted",
            (false, Some(true)) => "private",
            (false, Some(false)) => "public",
            (false, None) => "-",
        };
        let size = version.file_size.map_or_else(|| "-".to_owned(), human_bytes);
        let modified = one_line(&version.modified);
        let line = format!(
            "{:>6}  {modified:<24}  {size:>12}  {what:<7}  {}",
            version.version,
            one_line(version.content_type.as_deref().unwrap_or_default())
        );
        session.output.line(line.trim_end())?;
    }
    Ok(())
}

/// `jsfs restore-version`.
pub(super) async fn restore(session: &Session, arguments: &RestoreVersion) -> anyhow::Result<()> {
    let (reference, client) = session.target(&arguments.address)?;
    let mut metadata = client.restore(&reference.address, arguments.version).await?;
    metadata.other.remove("blocks");
    let address = reference.address.to_string();
    session.output.done(&format!(
        "{} version {} is version {} again",
        one_line(&address),
        metadata.version,
        arguments.version
    ))?;
    session.output.json(&metadata)?;
    Ok(())
}
