//! The command tree. What a command does stands in the module of its group.

mod federation;
mod import;
mod keys;
mod maintenance;
mod program;

pub(crate) use federation::{Federation, Join, Role};
pub(crate) use import::ImportJsfs4;
pub(crate) use keys::{Key, Method, Open, Revoke, Share};
pub(crate) use maintenance::{Backup, Check, Export, Gc, Import, MoveLocation, Restore};
pub(crate) use program::{
    Attach, Dev, Executable, Logs, New, OneProcess, Ps, Run, RunMethod, Stop, Template,
};

use crate::config::parse_bytes;
use crate::exit::EXIT_CODES;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum, value_parser};
use std::path::PathBuf;

const ADDRESSES: &str = "\
An address is written as
  /com.example/a/b        the address itself
  http://example.com/a/b  a URL, percent-encoded as URLs are
  example.com:a/b         a host and what is below it
  a/b                     below localhost, the namespace of this machine
A directory ends in /.";

/// Files, live changes and programs for the web, in one binary.
#[derive(Debug, Parser)]
#[command(name = "jsfs", version, after_help = EXIT_CODES, after_long_help = format!("{ADDRESSES}\n\n{EXIT_CODES}"))]
#[command(disable_help_subcommand = false, infer_subcommands = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) printing: Printing,
    /// Without a command: `serve`.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Which node, and what proves authority there.
#[derive(Debug, Default, Clone, Args)]
#[command(next_help_heading = "Node and key")]
pub(crate) struct Connection {
    /// URL of the node [default: the one that runs on the data directory, else http://127.0.0.1:7302]
    #[arg(long, global = true, value_name = "URL", env = "JSFS_NODE", hide_env_values = true)]
    pub(crate) node: Option<String>,
    /// Access key; better given by variable or file, because other programs see command lines
    #[arg(long, global = true, value_name = "KEY", env = "JSFS_ACCESS_KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
    /// File that holds the access key; - is standard input
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "key")]
    pub(crate) key_file: Option<PathBuf>,
    /// Access token, instead of a key
    #[arg(long, global = true, value_name = "TOKEN", env = "JSFS_ACCESS_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Data directory of the node on this machine [env: JSFS_DATA] [default: ~/.local/share/jsfs]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// How results look.
#[derive(Debug, Default, Clone, Copy, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Printing {
    /// Results and errors as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Nothing but results and errors
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node (the default)
    Serve(Serve),
    /// Run programs for a node, which starts this itself
    #[command(hide = true)]
    Worker,
    /// Store files
    Put(Put),
    /// Fetch an object, or with -r a directory, into files
    Get(Get),
    /// Write objects to standard output
    Cat(Cat),
    /// List a directory
    Ls(Ls),
    /// Show what the node knows about an object, or what holds in a directory
    Stat(Stat),
    /// Delete objects, or with -r directories; earlier versions are kept for a while
    Rm(Rm),
    /// Move an object or a directory
    Mv(FromTo),
    /// Copy an object or a directory
    Cp(FromTo),
    /// List the versions of an object
    Versions(One),
    /// Make an earlier version the current one
    RestoreVersion(RestoreVersion),
    /// Forget all versions of objects, for good
    Purge(Rm),
    /// Make an address equal to a local directory, or the other way round; moves only what differs
    Sync(Sync),
    /// Bring in everything that a pool of JSFS 4 holds; run again, it goes on
    #[command(name = "import-jsfs4")]
    ImportJsfs4(ImportJsfs4),
    /// Tell of changes as they happen
    Watch(Watch),
    /// Run a program and write its answer to standard output
    Run(Run),
    /// Show what a program has logged lately
    Logs(Logs),
    /// List processes: programs that go on by themselves (run --detach)
    Ps(Ps),
    /// Show what a process writes, as it comes, and send to it
    Attach(Attach),
    /// Ask processes to stop
    Stop(Stop),
    /// Put a process away as it is now; it goes on
    Checkpoint(OneProcess),
    /// Make a directory with a program that runs
    New(New),
    /// Serve a directory with its programs while they are written
    Dev(Dev),
    /// Look at private pages in the browser, without giving it the key
    Open(Open),
    /// Make a link that opens an object or directory for a while
    Share(Share),
    /// Revoke a token or link
    Revoke(Revoke),
    /// Make, show, export and replace access keys
    #[command(subcommand)]
    Key(Key),
    /// Make, list and change namespaces
    #[command(subcommand)]
    Namespace(Namespace),
    /// Make this node one of several that answer as one
    #[command(subcommand)]
    Federation(Federation),
    /// Join the federation of a ticket
    Join(Join),
    /// Show or check the configuration
    #[command(subcommand)]
    Config(Config),
    /// Check everything that a node stores, also while it runs: 0 clean, 1 damage, 2 could not run
    Check(Check),
    /// Free the space of what nobody needs any more, now
    Gc(Gc),
    /// Show where the node's space goes, by namespace and from what was stored to what lies on the disk
    Stats,
    /// Move one of the node's storage locations to another directory, or off its disk
    MoveLocation(MoveLocation),
    /// Keep what the node has, as it is now, in a directory or a file; the next one adds what changed
    Backup(Backup),
    /// Make a data directory of a backup
    Restore(Restore),
    /// Put objects and directories into a file, a ROM, that other nodes show or take up
    Export(Export),
    /// Take up what is in a ROM
    Import(Import),
    /// Print what completes commands in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write a manual page for each command
    Manual {
        /// Where to
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

/// Settings for one run.
#[derive(Debug, Default, Clone, Args)]
pub(crate) struct SettingFlags {
    /// Configuration file, TOML [env: JSFS_CONFIG] [default: ~/.config/jsfs/jsfs.toml]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// A setting, as in limits.requests=100; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// `serve`.
#[derive(Debug, Default, Args)]
pub(crate) struct Serve {
    /// Where to listen; port 0 picks a free one [env: JSFS_LISTEN] [default: 127.0.0.1:7302]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<String>,
    /// Start although a storage location is missing: read what lies elsewhere, write nothing
    #[arg(long)]
    pub(crate) degraded: bool,
    /// Take up the store in storage.bucket into an empty data directory; no other node may have it
    #[arg(long)]
    pub(crate) from_bucket: bool,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

/// Who may read what is stored.
#[derive(Debug, Default, Clone, Copy, Args)]
#[command(group = ArgGroup::new("visibility"))]
pub(crate) struct Visibility {
    /// Anybody may read it
    #[arg(long, group = "visibility")]
    public: bool,
    /// Reading needs a key or token
    #[arg(long, group = "visibility")]
    private: bool,
}

impl Visibility {
    /// What was asked for; `None` inherits.
    pub(crate) fn private(self) -> Option<bool> {
        (self.public || self.private).then_some(self.private)
    }
}

/// `put`.
#[derive(Debug, Args)]
#[command(after_help = ADDRESSES)]
pub(crate) struct Put {
    /// Files; - is standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) sources: Vec<PathBuf>,
    /// Where to; below it where it ends in /
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: String,
    #[command(flatten)]
    pub(crate) visibility: Visibility,
    #[command(flatten)]
    pub(crate) executable: Executable,
    /// Content type [default: what the name suggests]
    #[arg(long, value_name = "TYPE")]
    pub(crate) content_type: Option<String>,
    /// With --json: the hashes of its blocks too
    #[arg(long)]
    pub(crate) blocks: bool,
}

/// What part of which version.
#[derive(Debug, Default, Clone, Args)]
pub(crate) struct Part {
    /// This version instead of the current one
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub(crate) version: Option<u64>,
    /// Only these bytes, counted from 0, the last included
    #[arg(long, value_name = "FIRST-[LAST]", value_parser = parse_range)]
    pub(crate) range: Option<(u64, Option<u64>)>,
}

/// `get`.
#[derive(Debug, Args)]
#[command(after_help = ADDRESSES)]
pub(crate) struct Get {
    /// What to fetch
    pub(crate) address: String,
    /// Where to; - is standard output [default: its name, here]
    #[arg(value_name = "PATH")]
    pub(crate) path: Option<PathBuf>,
    /// A directory with all below it
    #[arg(long, short)]
    pub(crate) recursive: bool,
    #[command(flatten)]
    pub(crate) part: Part,
}

/// `cat`.
#[derive(Debug, Args)]
#[command(after_help = ADDRESSES)]
pub(crate) struct Cat {
    /// What to write out, one after the other
    #[arg(required = true, value_name = "ADDRESS")]
    pub(crate) addresses: Vec<String>,
    #[command(flatten)]
    pub(crate) part: Part,
}

/// `ls`.
#[derive(Debug, Args)]
#[command(after_help = ADDRESSES)]
pub(crate) struct Ls {
    /// The directory
    #[arg(default_value = "localhost:", value_name = "ADDRESS")]
    pub(crate) address: String,
    /// Size, time, version and visibility too
    #[arg(long, short)]
    pub(crate) long: bool,
    /// The whole tree
    #[arg(long, short)]
    pub(crate) recursive: bool,
}

/// `stat`.
#[derive(Debug, Args)]
#[command(after_help = ADDRESSES)]
pub(crate) struct Stat {
    /// The object, or the directory, of which it shows the policy
    pub(crate) address: String,
    /// This version instead of the current one
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub(crate) version: Option<u64>,
}

/// `versions`.
#[derive(Debug, Args)]
#[command(after_help = ADDRESSES)]
pub(crate) struct One {
    /// The object
    pub(crate) address: String,
}

/// `rm` and `purge`.
#[derive(Debug, Args)]
#[command(after_help = ADDRESSES)]
pub(crate) struct Rm {
    /// What to delete
    #[arg(required = true, value_name = "ADDRESS")]
    pub(crate) addresses: Vec<String>,
    /// Directories with all below them
    #[arg(long, short)]
    pub(crate) recursive: bool,
}

/// `mv` and `cp`.
#[derive(Debug, Args)]
#[command(after_help = ADDRESSES)]
pub(crate) struct FromTo {
    /// What there is
    pub(crate) from: String,
    /// Where it goes; below it where it ends in /
    pub(crate) to: String,
}

/// `restore-version`.
#[derive(Debug, Args)]
#[command(after_help = ADDRESSES)]
pub(crate) struct RestoreVersion {
    /// The object
    pub(crate) address: String,
    /// The version to restore
    #[arg(value_parser = value_parser!(u64).range(1..))]
    pub(crate) version: u64,
}

/// `sync`.
#[derive(Debug, Args)]
#[command(
    after_help = "The first is local if it is a directory here, and then the second must be none; else it must be\n\
    an address with a namespace (/com.example/a/, http://…, example.com:a/).\n\
    Files are compared by size and SHA-256. Which files are programs says jsfs.json in the local directory, which is not sent."
)]
pub(crate) struct Sync {
    /// What to take it from: a local directory or an address
    #[arg(value_name = "FROM")]
    pub(crate) from: String,
    /// What to make equal to it: an address or a local directory
    #[arg(value_name = "TO")]
    pub(crate) to: String,
    /// Delete at TO what FROM does not have
    #[arg(long)]
    pub(crate) delete: bool,
    /// Say what would be done, and do nothing
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) visibility: Visibility,
    /// Upload what symbolic links point to, instead of skipping them
    #[arg(long)]
    pub(crate) follow_links: bool,
    /// Go on: whatever changes at FROM is brought to TO until this is stopped
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) watch: bool,
    /// Requests at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = value_parser!(u8).range(1..=64))]
    pub(crate) jobs: u8,
}

/// `watch`.
#[derive(Debug, Args)]
#[command(after_help = ADDRESSES)]
pub(crate) struct Watch {
    /// The object, or directory with all below it
    pub(crate) address: String,
    /// Begin after this cursor, which came with an event, instead of now
    #[arg(long, value_name = "CURSOR")]
    pub(crate) since: Option<String>,
    /// Stop after so many changes
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}

/// Properties of a namespace.
#[derive(Debug, Default, Clone, Args)]
pub(crate) struct NamespaceProperties {
    #[command(flatten)]
    pub(crate) visibility: Visibility,
    /// Bytes that it may hold
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) quota: Option<u64>,
}

/// Who may create objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Create {
    /// The owner, and whom tokens allow it
    Owner,
    /// Anybody
    Anyone,
}

/// `namespace …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Namespace {
    /// Make the namespace of a host name, or one that is named by its key
    Add {
        /// Host name, as in example.com; without it the namespace is called after the key that owns it, and is that key's on every node
        host: Option<String>,
        #[command(flatten)]
        properties: NamespaceProperties,
        /// File with the key that owns it; - is standard input [default: the root key owns it]
        #[arg(long, value_name = "FILE", conflicts_with = "new_key")]
        owner_key_file: Option<PathBuf>,
        /// Make a new key that owns it, and print it
        #[arg(long, requires = "host")]
        new_key: bool,
        /// As clients of JSFS 4 need it: public, and anybody may create objects (see compat.jsfs4)
        #[arg(long, conflicts_with = "visibility")]
        jsfs4: bool,
    },
    /// List the namespaces of the node
    List,
    /// Change a namespace
    Set {
        /// Host name, as in example.com
        host: String,
        #[command(flatten)]
        properties: NamespaceProperties,
        /// Who may create objects
        #[arg(long)]
        create: Option<Create>,
        /// Days that earlier versions are kept
        #[arg(long, value_name = "DAYS")]
        keep_days: Option<u64>,
        /// Earlier versions kept per object
        #[arg(long, value_name = "N")]
        keep_versions: Option<u64>,
    },
}

/// `config …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Print every setting: value, origin, meaning
    Show(Serve),
    /// Find mistakes: 0 none, 1 some, 2 could not read it
    Check(Serve),
}

fn parse_range(text: &str) -> Result<(u64, Option<u64>), String> {
    let range = || {
        let (first, last) = text.split_once('-')?;
        let first = first.parse::<u64>().ok()?;
        let last = if last.is_empty() { None } else { Some(last.parse::<u64>().ok()?) };
        last.is_none_or(|last| last >= first).then_some((first, last))
    };
    range().ok_or_else(|| "write FIRST-LAST or FIRST-, as in 0-99 or 1000-".to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_tree_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_fixed_name_parses() {
        for line in [
            "jsfs",
            "jsfs serve --data D --listen 127.0.0.1:0 --config F --set limits.requests=1 --set log.level=debug",
            "jsfs put a b c x/ --public",
            "jsfs put - x --private --content-type text/plain",
            "jsfs put a x --executable --grant GET,PUT:data/ --grant GET:. --env COLOUR=blue --host api.example.com",
            "jsfs run x --method post --query a=b --body - -H Accept:text/html",
            "jsfs logs x --follow --json",
            "jsfs new x --template rust",
            "jsfs dev x --listen 127.0.0.1:0",
            "jsfs get x - --range 0-9",
            "jsfs get -r x/ y",
            "jsfs cat x y --version 3",
            "jsfs ls",
            "jsfs ls -lr x/ --json",
            "jsfs stat x",
            "jsfs rm -r x/",
            "jsfs mv a b",
            "jsfs cp a b",
            "jsfs versions a",
            "jsfs restore-version a 1",
            "jsfs purge a",
            "jsfs sync D a/ --delete --dry-run --public",
            "jsfs import-jsfs4 blocks1 blocks2 -n --report F --jobs 2",
            "jsfs share a --for 1h --allow get,put",
            "jsfs revoke id a",
            "jsfs key new -o F",
            "jsfs key show",
            "jsfs key export",
            "jsfs key replace a/",
            "jsfs namespace add example.com --public --new-key --quota 1GiB",
            "jsfs namespace list",
            "jsfs namespace set example.com --private --create anyone --keep-days 3",
            "jsfs config show --set log.level=debug",
            "jsfs config check --config F",
            "jsfs check --data D",
            "jsfs check --repair",
            "jsfs check --rebuild --json",
            "jsfs gc --above 0 --dry-run --json",
            "jsfs stats --json",
            "jsfs export a b/ F.rom",
            "jsfs import F.rom --json",
            "jsfs federation create home --replicas 2 --space 10",
            "jsfs federation invite --role store,meta --expires 1h --member-for 30d --space 5",
            "jsfs federation status",
            "jsfs federation members --json",
            "jsfs federation revoke did:key:x",
            "jsfs federation leave",
            "jsfs join -",
            "jsfs move-location A B --json",
            "jsfs move-location A",
            "jsfs backup D --with-root-key --keep 3 --full",
            "jsfs backup F.jsfsbackup --verify --number 2",
            "jsfs backup D --list --json",
            "jsfs restore D E --number 1 --damaged --key-file F",
        ] {
            Cli::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn contradictions_are_usage_errors() {
        for line in [
            "jsfs put a b --public --private",
            "jsfs put a",
            "jsfs put a b --grant GET:.",
            "jsfs put a b --executable --env COLOUR",
            "jsfs run a --method PUT",
            "jsfs new x --template cobol",
            "jsfs get x --range 9-1",
            "jsfs restore-version a 0",
            "jsfs sync a b --jobs 0",
            "jsfs import-jsfs4",
            "jsfs gc --above 100",
            "jsfs stats x",
            "jsfs export F.rom",
            "jsfs import",
            "jsfs check --rebuild --online",
            "jsfs backup",
            "jsfs backup D --verify --full",
            "jsfs restore D",
            "jsfs share a --for soon",
            "jsfs namespace add h --new-key --owner-key-file F",
            "jsfs nonsense",
        ] {
            let error = Cli::try_parse_from(line.split(' ')).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
