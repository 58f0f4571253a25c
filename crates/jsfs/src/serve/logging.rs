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

/// The index and the transport tell of their own workings, which concern nobody who keeps a node: what matters comes back as our errors. A setting that
/// names these modules wins.
const QUIET: &str = "lsm_tree=off,sfa=off,libp2p_swarm=warn";

/// The filter of the settings.
pub(super) fn filter(settings: &Settings) -> anyhow::Result<Targets> {
    format!("{QUIET},{}", settings.log_level).parse().context("log.level cannot be used")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn the_index_is_quiet_unless_it_is_asked() {
        let flags = |level: &str| crate::config::Flags {
            set: vec![format!("log.level={level}")],
            data: Some("x".into()),
            ..crate::config::Flags::default()
        };
        let filter = |level: &str| {
            let merged = crate::config::merge(&flags(level), &crate::config::Environment::new()).unwrap();
            filter(&Settings::of(&merged).unwrap()).unwrap()
        };
        let info = filter("info");
        assert!(
            info.would_enable("jsfs_http::front", &Level::INFO) && info.would_enable("any", &Level::INFO)
        );
        assert!(
            !info.would_enable("lsm_tree::tree", &Level::ERROR) && !info.would_enable("sfa", &Level::ERROR)
        );
        assert!(filter("lsm_tree=debug").would_enable("lsm_tree::tree", &Level::DEBUG));
    }
}
