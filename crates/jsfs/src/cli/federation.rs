//! Federations on the command line.

use crate::config::parse_duration;
use clap::{Args, Subcommand, ValueEnum, value_parser};

/// What a member does for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub(crate) enum Role {
    /// Answer over HTTP
    Gateway,
    /// Keep records
    Meta,
    /// Keep blocks
    Store,
    /// Run programs
    Proc,
    /// Invite and revoke others
    Admin,
}

/// `federation …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Federation {
    /// Make this node the first of a new federation
    Create {
        /// What it is called: a-z, 0-9, -, . and _
        name: String,
        /// How many members keep each block
        #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u64).range(1..=16))]
        replicas: u64,
        /// How much this node is counted on to keep, in GiB
        #[arg(long, value_name = "GIB", default_value_t = 64, value_parser = value_parser!(u64).range(0..=1 << 24))]
        space: u64,
    },
    /// Print a ticket that lets one node in; whoever has it is let in
    Invite {
        /// What the node will do, separated by commas [default: gateway,meta,store,proc]
        #[arg(long, value_name = "ROLES", value_delimiter = ',', ignore_case = true)]
        role: Vec<Role>,
        /// How long the ticket is good
        #[arg(long, value_name = "TIME", default_value = "1d", value_parser = parse_duration)]
        expires: u64,
        /// How long the node will be a member [default: until it is revoked]
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        member_for: Option<u64>,
        /// How much the node is counted on to keep, in GiB
        #[arg(long, value_name = "GIB", default_value_t = 64, value_parser = value_parser!(u64).range(0..=1 << 24))]
        space: u64,
    },
    /// Show which federation this node is in, and how it is
    Status,
    /// List the members
    Members,
    /// Take back what a member holds: nobody answers it any more
    Revoke {
        /// Its id, as `members` shows it
        peer: String,
    },
    /// Leave the federation
    Leave,
}

/// `join`.
#[derive(Debug, Args)]
pub(crate) struct Join {
    /// The line that `federation invite` printed; - is standard input
    #[arg(value_name = "TICKET")]
    pub(crate) ticket: String,
}
