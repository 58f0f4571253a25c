//! `open`: private pages in the browser. The browser gets a link that works once, and by it a cookie that reads; it never sees the key.

use crate::cli::Open;
use crate::session::Session;
use anyhow::Context;
use std::process::{Command, Stdio};

/// What starts the browser of whoever is logged in.
const BROWSER: &str = "xdg-open";

/// `jsfs open`.
pub(super) async fn open(session: &Session, arguments: &Open) -> anyhow::Result<()> {
    let opening = match arguments.status {
        true => session.client.make_status_opening(arguments.duration).await?,
        false => {
            let (reference, client) = session.target(&arguments.address)?;
            client.make_opening(&reference.address, arguments.duration).await?
        }
    };
    session.output.json(&opening)?;
    if arguments.print || session.output.json {
        return Ok(session.output.line(&opening.url)?);
    }
    let started = Command::new(BROWSER)
        .arg(&opening.url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .with_context(|| format!("cannot start a browser by {BROWSER}"))
        .and_then(|status| {
            status.success().then_some(()).with_context(|| format!("{BROWSER} found no browser"))
        });
    if let Err(error) = started {
        session.output.note(&format!("{error:#}; open this link yourself within a minute:"));
        session.output.line(&opening.url)?;
    }
    Ok(())
}
