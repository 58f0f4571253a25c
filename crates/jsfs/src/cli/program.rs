//! Arguments of the commands that have to do with programs.

use super::ADDRESSES;
use clap::{Args, ValueEnum};
use jsfs_client::Program;
use std::path::PathBuf;

/// What makes an upload a program.
#[derive(Debug, Default, Clone, Args)]
#[command(next_help_heading = "Programs")]
pub(crate) struct Executable {
    /// It is a program: requests for it run it
    #[arg(long)]
    pub(crate) executable: bool,
    /// What it may touch, as in GET,LIST,PUT:data/, relative to its directory; may be repeated
    #[arg(long, value_name = "METHODS:PLACE", requires = "executable")]
    grant: Vec<String>,
    /// A value of its environment; may be repeated. Other programs see command lines: secrets are better in jsfs.json
    #[arg(long, value_name = "NAME=VALUE", requires = "executable", value_parser = parse_env)]
    env: Vec<(String, String)>,
    /// A host outside the node that it may ask, as in api.example.com, api.example.com:8443 or *.example.org; may be repeated
    #[arg(long, value_name = "HOST", requires = "executable")]
    host: Vec<String>,
}

impl Executable {
    /// What is attached; what was not given stays as it is. `None` where no program was asked for.
    pub(crate) fn program(&self) -> Option<Program> {
        self.executable.then(|| Program {
            grant: (!self.grant.is_empty()).then(|| self.grant.clone()),
            env: (!self.env.is_empty()).then(|| self.env.iter().cloned().collect()),
            hosts: (!self.host.is_empty()).then(|| self.host.clone()),
        })
    }
}

fn parse_env(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = pair.ok_or_else(|| "write NAME=VALUE, as in COLOUR=blue".to_owned())?;
    Ok((name.to_owned(), value.to_owned()))
}

/// `run`.
#[derive(Debug, Args)]
#[command(after_help = ADDRESSES)]
pub(crate) struct Run {
    /// The program
    pub(crate) address: String,
    /// The method that it sees [default: GET, with --body POST]
    #[arg(long, value_name = "METHOD", ignore_case = true)]
    pub(crate) method: Option<RunMethod>,
    /// The query, as in name=Ada&n=1
    #[arg(long, value_name = "QUERY")]
    pub(crate) query: Option<String>,
    /// File that is the body; - is standard input
    #[arg(long, short, value_name = "FILE")]
    pub(crate) body: Option<PathBuf>,
    /// A header field, as in 'Content-Type: application/json'; may be repeated
    #[arg(long, short = 'H', value_name = "NAME: VALUE", value_parser = parse_header)]
    pub(crate) header: Vec<(String, String)>,
    /// Status and header fields too, on standard error
    #[arg(long, short, conflicts_with = "detach")]
    pub(crate) include: bool,
    /// Start a process that goes on by itself, and print its id
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// Arguments of the process
    #[arg(value_name = "ARG", requires = "detach", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<String>,
    /// Object or directory that map and reduce of the program work on; may be repeated
    #[arg(long, value_name = "ADDRESS", help_heading = "Map and reduce")]
    pub(crate) input: Vec<String>,
    /// Parts worked on at the same time: a number, or auto
    #[arg(
        long,
        value_name = "N",
        default_value = "auto",
        requires = "input",
        help_heading = "Map and reduce"
    )]
    pub(crate) parallel: String,
    /// Where records end: line or none
    #[arg(long, value_name = "RECORD", requires = "input", help_heading = "Map and reduce")]
    pub(crate) record: Option<String>,
    /// Work on all parts, also those whose result is known
    #[arg(long, requires = "input", help_heading = "Map and reduce")]
    pub(crate) no_cache: bool,
}

/// `ps`.
#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Those that have ended, too
    #[arg(long, short)]
    pub(crate) all: bool,
}

/// `attach`.
#[derive(Debug, Args)]
pub(crate) struct Attach {
    /// Id of the process
    pub(crate) process: String,
    /// Send the lines of standard input to it
    #[arg(long, short)]
    pub(crate) input: bool,
    /// Begin after so many bytes of the output
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub(crate) after: u64,
}

/// `stop`.
#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// Ids of the processes
    #[arg(required = true, value_name = "PROCESS")]
    pub(crate) processes: Vec<String>,
    /// At once, instead of asking them and waiting for ten seconds
    #[arg(long)]
    pub(crate) kill: bool,
}

/// `checkpoint`.
#[derive(Debug, Args)]
pub(crate) struct OneProcess {
    /// Id of the process
    pub(crate) process: String,
}

/// Methods that run a program; the others act on the object that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub(crate) enum RunMethod {
    /// Ask
    Get,
    /// Send
    Post,
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or_else(|| "write 'Name: value'".to_owned())?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// `logs`.
#[derive(Debug, Args)]
#[command(after_help = ADDRESSES)]
pub(crate) struct Logs {
    /// The program
    pub(crate) address: String,
    /// Go on: tell of new lines until this is stopped
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Begin after the line of this number
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) after: u64,
}

/// `new`.
#[derive(Debug, Args)]
pub(crate) struct New {
    /// Directory to make; it must not exist
    #[arg(value_name = "NAME")]
    pub(crate) directory: PathBuf,
    /// What it is written in
    #[arg(long, value_name = "LANGUAGE", default_value = "js")]
    pub(crate) template: Template,
}

/// What a new program is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub(crate) enum Template {
    /// JavaScript
    Js,
    /// Rust, as a WASI command
    Rust,
    /// C, as a WASI command
    C,
}

/// `dev`.
#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// The directory that is served; its jsfs.json says which files are programs
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) directory: PathBuf,
    /// Where to listen; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7303")]
    pub(crate) listen: String,
}
