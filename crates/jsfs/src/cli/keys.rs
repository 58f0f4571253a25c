//! Keys, tokens and links on the command line.

use super::ADDRESSES;
use crate::config::parse_duration;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// What a token can allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub(crate) enum Method {
    /// Read
    Get,
    /// List directories
    List,
    /// Be told of changes
    Watch,
    /// Create, replace, append, change properties
    Put,
    /// Delete
    Delete,
    /// Run programs
    Execute,
}

/// `share`.
#[derive(Debug, Args)]
#[command(after_help = ADDRESSES)]
pub(crate) struct Share {
    /// The object, or directory with all below it
    pub(crate) address: String,
    /// How long the link opens it
    #[arg(long = "for", value_name = "TIME", default_value = "7d", value_parser = parse_duration)]
    pub(crate) duration: u64,
    /// What it allows, separated by commas [default: get, for directories get,list]
    #[arg(long, value_name = "METHODS", value_delimiter = ',', ignore_case = true)]
    pub(crate) allow: Vec<Method>,
    /// Print the token instead of the link
    #[arg(long)]
    pub(crate) only_token: bool,
}

/// `open`.
#[derive(Debug, Args)]
#[command(after_help = ADDRESSES)]
pub(crate) struct Open {
    /// The page, or directory with all below it
    #[arg(default_value = "/localhost/")]
    pub(crate) address: String,
    /// The page of the node's status instead
    #[arg(long, conflicts_with = "address")]
    pub(crate) status: bool,
    /// How long the browser may read it, at most 30d
    #[arg(long = "for", value_name = "TIME", default_value = "12h", value_parser = parse_duration)]
    pub(crate) duration: u64,
    /// Print the link and start no browser; it works once, and for a minute
    #[arg(long)]
    pub(crate) print: bool,
}

/// `revoke`.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The token, the link, or the id that `share` printed
    #[arg(value_name = "TOKEN|LINK|ID")]
    pub(crate) subject: String,
    /// What the token is for, where only its id is given
    pub(crate) address: Option<String>,
}

/// `key …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a key and print it (or keep it in a file); nothing is sent anywhere
    New {
        /// File to keep it in, mode 0600; it must not exist
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Show which key would be used and its public owner, not the key
    Show {
        /// Namespace that a key chosen by a person is for
        #[arg(long, value_name = "HOST", default_value = "localhost")]
        namespace: String,
    },
    /// Print the secret key, to keep a copy in a safe place
    Export {
        /// File to keep it in, mode 0600; it must not exist
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Hand a directory or object over to another key (a new one where none is given)
    Replace {
        /// The directory (with all below it) or object
        address: String,
        /// File with the key that takes over; - is standard input
        #[arg(long, value_name = "FILE", conflicts_with = "output")]
        to_file: Option<PathBuf>,
        /// File to keep the new key in, mode 0600; it must not exist
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}
