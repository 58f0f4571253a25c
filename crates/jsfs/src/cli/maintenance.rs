//! Commands about the node's own store.

use super::SettingFlags;
use clap::{Args, value_parser};
use std::path::PathBuf;

/// `check`.
#[derive(Debug, Default, Args)]
pub(crate) struct Check {
    /// Check the node that runs, while it goes on; by itself where one runs on the data directory
    #[arg(long)]
    pub(crate) online: bool,
    /// Put right what is known bit for bit elsewhere: another copy, another location, the index
    #[arg(long)]
    pub(crate) repair: bool,
    /// Throw the index away and build it from the packs alone; the node must be stopped
    #[arg(long, conflicts_with_all = ["online", "repair"])]
    pub(crate) rebuild: bool,
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

/// `backup`.
#[derive(Debug, Args)]
#[command(
    after_help = "The node goes on meanwhile, and the backup is its state as of one commit. root.key is not in it unless you say so: without it\n\
    nobody reads private objects. Keep it elsewhere (jsfs key export)."
)]
pub(crate) struct Backup {
    /// A directory, a file whose name ends in .jsfsbackup, or s3://NAME/PREFIX; backups of one node only
    #[arg(value_name = "DESTINATION")]
    pub(crate) destination: PathBuf,
    /// Everything again, instead of what changed since the backup before
    #[arg(long)]
    pub(crate) full: bool,
    /// Put the root key in: whoever has the backup then reads everything
    #[arg(long)]
    pub(crate) with_root_key: bool,
    /// Afterwards forget all backups there but the newest N
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub(crate) keep: Option<u32>,
    /// Read the newest backup there and say whether it is whole: 0 clean, 1 damage; needs no node
    #[arg(long, conflicts_with_all = ["full", "with_root_key", "keep"])]
    pub(crate) verify: bool,
    /// List the backups there; needs no node
    #[arg(long, conflicts_with_all = ["full", "with_root_key", "keep", "verify"])]
    pub(crate) list: bool,
    /// With --verify: this backup instead of the newest
    #[arg(long, value_name = "N", requires = "verify")]
    pub(crate) number: Option<u64>,
}

/// `restore`.
#[derive(Debug, Args)]
#[command(
    after_help = "Where the backup has no root key, give it with --key-file FILE: then it is put into the directory, and opens the node's own key.\n\
    Interrupted, the same command begins anew."
)]
pub(crate) struct Restore {
    /// Where the backup is: a directory, a file, or s3://NAME/PREFIX
    #[arg(value_name = "SOURCE")]
    pub(crate) source: PathBuf,
    /// A new or an empty directory, for jsfs serve --data
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// This backup instead of the newest
    #[arg(long, value_name = "N")]
    pub(crate) number: Option<u64>,
    /// Restore what is whole although something is damaged
    #[arg(long)]
    pub(crate) damaged: bool,
}

/// `export`.
#[derive(Debug, Args)]
#[command(
    after_help = "A ROM holds the newest version of each object, with the owners, keys and policies that hold there: private objects stay sealed.\n\
    Mount it on any node with rom.mount=FILE, or take it up with jsfs import. Needs the root key."
)]
pub(crate) struct Export {
    /// Objects and directories, which end in /
    #[arg(required = true, value_name = "ADDRESS")]
    pub(crate) addresses: Vec<String>,
    /// The file to make; a ROM that is there is replaced when the new one is whole
    #[arg(value_name = "FILE.rom")]
    pub(crate) file: PathBuf,
}

/// `import`.
#[derive(Debug, Args)]
#[command(
    after_help = "Everything keeps its address, owner and seal. What is here already, is newer here or was deleted here since stays as it is, so that\n\
    an import that was interrupted is simply run again. Needs the root key."
)]
pub(crate) struct Import {
    /// A ROM
    #[arg(value_name = "FILE.rom")]
    pub(crate) file: PathBuf,
}
