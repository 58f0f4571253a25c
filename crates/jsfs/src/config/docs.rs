//! `docs/configuration.md`, generated from the table of settings and kept true by a test.

use super::table::{Reload, SETTINGS, Setting};
use std::fmt::Write as _;

const HEAD: &str = "\
# Configuration

Nothing has to be configured. A setting comes from, the later winning: its default, the configuration file, the
environment, flags. `jsfs config show` prints every value with its origin; `jsfs config check` finds mistakes, with the line and the
nearest name, before a node is started with them. An unknown or impossible setting stops the node from starting.

* File: TOML, named by `--config FILE` or `JSFS_CONFIG`; else `$XDG_CONFIG_HOME/jsfs/jsfs.toml` (`~/.config/jsfs/jsfs.toml`) where it exists.
  `limits.requests` is written as `[limits]` and `requests = 100`.
* Environment: `JSFS_` and the name in capitals, dots as underscores: `JSFS_LIMITS_REQUESTS=100`.
* Flags of `jsfs serve`: `--set KEY=VALUE`, any number of times; `--listen` and `--data` for the two that have one of their own.

Bytes are a number, or one with `KiB`, `MiB`, `GiB`, `TiB` (powers of 1,024) or `kB`, `MB`, `GB`, `TB`. Times are seconds, or a number with `s`, `m`, `h`, `d`.
`SIGHUP` makes a running node read file and environment again; settings marked *restart* then keep their value until the node is restarted,
and the node says so in its log.

These variables concern the command line, not the node: `JSFS_NODE` (URL of the node), `JSFS_ACCESS_KEY`, `JSFS_ACCESS_TOKEN`.

<!-- The table is generated from crates/jsfs/src/config/table.rs: UPDATE_DOCS=1 cargo test -p jsfs configuration -->

| setting | values | default | change | meaning |
|---|---|---|---|---|
";

/// The page.
pub(crate) fn page() -> String {
    let mut page = HEAD.to_owned();
    for setting in SETTINGS {
        let reload = match setting.reload {
            Reload::Live => "live",
            Reload::Restart => "restart",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {reload} | {} |",
            setting.key,
            setting.form(),
            default(setting),
            setting.meaning
        );
    }
    page
}

fn default(setting: &Setting) -> String {
    match (setting.key, setting.default) {
        ("data", _) => "`$XDG_DATA_HOME/jsfs` (`~/.local/share/jsfs`)".to_owned(),
        (_, "") => "none".to_owned(),
        (_, text) => format!("`{text}`"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_page_is_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, page()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == page(),
            "docs/configuration.md is old: run UPDATE_DOCS=1 cargo test -p jsfs configuration"
        );
    }
}
