//! Log lines on standard error, as text or JSON, with a level that can change while the node runs.

use crate::config::Settings;
use anyhow::Context;
use std::io::{IsTerminal, stderr};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

/// Changes the level.
pub(super) type Handle = reload::Handle<Targets, Registry>;

/// Starts logging for this process.
pub(super) fn start(settings: &Settings) -> anyhow::Result<Handle> {
    let (filter, handle) = reload::Layer::new(filter(settings)?);
    let lines = fmt::layer().with_writer(stderr).with_ansi(stderr().is_terminal());
    let lines = match settings.log_format {
        "json" => lines.json().boxed(),
        _ => lines.boxed(),
    };
    // The filter comes first, so that what it drops costs nothing.
    let started = tracing_subscriber::registry().with(filter).with(lines).try_init();
    started.context("logging was started before")?;
    Ok(handle)
}

/// The filter of the settings.
pub(super) fn filter(settings: &Settings) -> anyhow::Result<Targets> {
    settings.log_level.parse().context("log.level cannot be used")
}
