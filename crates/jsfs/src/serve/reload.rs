//! SIGHUP: the settings are read again; what can change while the node runs does, the rest is named.

use super::{files, logging};
use crate::config::{self, Flags, Merged, Settings};

/// What a running node changes.
pub(super) struct Reload {
    flags: Flags,
    /// What the node was started with.
    started: Merged,
    logging: logging::Handle,
    server: jsfs_http::Handle,
}

impl Reload {
    pub(super) fn new(
        flags: Flags,
        started: Merged,
        logging: logging::Handle,
        server: jsfs_http::Handle,
    ) -> Reload {
        Reload { flags, started, logging, server }
    }

    /// Reads the settings again. A configuration with faults changes nothing.
    pub(super) fn run(&mut self) {
        match self.try_run() {
            Ok(()) => tracing::info!("read the configuration again"),
            Err(error) => tracing::error!("the configuration was not changed: {error:#}"),
        }
    }

    fn try_run(&mut self) -> anyhow::Result<()> {
        let merged = config::merge(&self.flags, &config::environment())
            .map_err(|fault| anyhow::anyhow!(fault.reason))?;
        let settings = Settings::of(&merged)?;
        let level = logging::filter(&settings)?;
        self.server.set_limits(files::within(settings.limits.front()))?;
        self.logging.reload(level)?;
        for key in merged.needing_restart(&self.started) {
            tracing::warn!("{key} changes at the next start of the node");
        }
        Ok(())
    }
}
