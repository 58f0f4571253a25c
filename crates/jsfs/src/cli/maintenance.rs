//! Commands about the node's own store.

use super::SettingFlags;
use clap::{Args, value_parser};
use std::path::PathBuf;

/// `check`.
#[derive(Debug, Default, Args)]
pub(crate) struct Check {
    /// Check the node that runs, while it goes on
    #[arg(long)]
    pub(crate) online: bool,
    /// Put right what can be, from other copies
    #[arg(long, requires = "online")]
    pub(crate) repair: bool,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

/// `gc`.
#[derive(Debug, Args)]
#[command(after_help = "The node does this by itself, slowly, with packs of which more than half is dead.\n\
    Reading and writing go on meanwhile. Interrupting it loses nothing; the next run goes on from there.")]
pub(crate) struct Gc {
    /// Compact packs of which more than this share is dead
    #[arg(long, value_name = "PERCENT", default_value_t = 10, value_parser = value_parser!(u8).range(0..=99))]
    pub(crate) above: u8,
    /// Say what would be freed, and do nothing
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
}

/// `move-location`.
#[derive(Debug, Args)]
#[command(
    after_help = "The directories are those of the node's machine. Reading and writing go on meanwhile. Interrupting it loses nothing:\n\
    the same command goes on from there. Afterwards name the new directory in storage.locations."
)]
pub(crate) struct MoveLocation {
    /// The directory of the location as it is now: the data directory or one of storage.locations
    #[arg(value_name = "FROM")]
    pub(crate) from: PathBuf,
    /// An empty or a new directory [default: one beside the location that has most room, where each block has one copy]
    #[arg(value_name = "TO")]
    pub(crate) to: Option<PathBuf>,
}
