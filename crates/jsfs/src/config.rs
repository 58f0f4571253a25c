//! Settings of the node: one table of them, merged from defaults, file, environment and flags, each value with its origin.
//!
//! Invariants: a setting is named in [`table::SETTINGS`] and nowhere else; `docs/configuration.md` is generated from that table; an
//! unknown or impossible setting is an error that names the nearest possible one, never ignored.

#[cfg(test)]
mod docs;
mod file;
mod merge;
mod settings;
mod table;
mod units;

pub(crate) use merge::{Fault, Flags, Merged, merge};
pub(crate) use settings::Settings;
pub(crate) use table::{Reload, Setting};
pub(crate) use units::{parse_bytes, parse_duration, show_duration};

use std::collections::BTreeMap;

/// The environment, taken once so that nothing else reads it behind our back.
pub(crate) type Environment = BTreeMap<String, String>;

/// The variables of this process that concern us. Values that are not UTF-8 cannot be settings of ours.
pub(crate) fn environment() -> Environment {
    let ours = |name: &str| name.starts_with("JSFS_") || name.starts_with("XDG_") || name == "HOME";
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, value)| ours(name) && !value.is_empty())
        .collect()
}
