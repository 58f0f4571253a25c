//! Arguments of `import-jsfs4`.

use clap::{Args, value_parser};
use std::path::PathBuf;

/// `import-jsfs4`.
#[derive(Debug, Args)]
pub(crate) struct ImportJsfs4 {
    /// The storage directories of one pool, or its config.js, which is read and not executed
    #[arg(value_name = "LOCATION", required = true)]
    pub(crate) locations: Vec<PathBuf>,
    /// Read and check everything, say what would be done, and do nothing
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    /// File for what became of each object, as JSON, one on a line
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Make namespaces as old clients need them: public, open to anybody for new objects (see compat.jsfs4)
    #[arg(long)]
    pub(crate) jsfs4: bool,
    /// Requests at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = value_parser!(u8).range(1..=64))]
    pub(crate) jobs: u8,
}
