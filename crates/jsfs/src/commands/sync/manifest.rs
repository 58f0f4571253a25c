//! `jsfs.json` in a directory: which of its files are programs, what they may touch and what they are given.
//!
//! ```json
//! {"programs": {"api.js": {"grant": "GET,LIST,PUT:data/", "env": {"COLOUR": "blue"}, "hosts": ["api.example.com"]}}}
//! ```
//!
//! Invariant: the file itself is never sent: it may hold secrets, and most directories are public.

use crate::exit::Usage;
use jsfs_client::Program;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Its name, at the root of the directory.
pub(super) const FILE: &str = "jsfs.json";

/// The programs of a directory by name, segments joined by `/`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(in super::super) struct Programs(BTreeMap<String, Program>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    #[serde(default)]
    programs: BTreeMap<String, Entry>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Entry {
    grant: String,
    env: BTreeMap<String, String>,
    hosts: Vec<String>,
}

impl Programs {
    /// Reads the file; a directory without one has no programs.
    pub(in super::super) fn read(directory: &Path) -> anyhow::Result<Programs> {
        let path = directory.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Programs::default()),
            Err(error) => return Err(Usage(format!("cannot read {}: {error}", path.display())).into()),
        };
        let programs = Programs::parse(&text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let words = error.to_string();
            let words = words.split(" at line ").next().unwrap_or_default();
            Usage(format!("{}:{line}:{column}: {words}", path.display()))
        })?;
        if let Some(missing) = programs.0.keys().find(|name| !directory.join(name).is_file()) {
            let text = format!(
                "{} names the program {missing}, which is not there; its names are relative to it",
                path.display()
            );
            return Err(Usage(text).into());
        }
        Ok(programs)
    }

    fn parse(text: &str) -> serde_json::Result<Programs> {
        // By way of a map, because a list would be taken for an object without its names.
        let parts: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text)?;
        drop(parts);
        let manifest: Manifest = serde_json::from_str(text)?;
        let program = |entry: Entry| Program {
            grant: Some(entry.grant.split_whitespace().map(str::to_owned).collect()),
            env: Some(entry.env),
            hosts: Some(entry.hosts),
        };
        Ok(Programs(manifest.programs.into_iter().map(|(name, entry)| (name, program(entry))).collect()))
    }

    /// The names of all programs.
    pub(in super::super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// What is attached to a file, if it is a program.
    pub(super) fn of(&self, name: &str) -> Option<&Program> {
        self.0.get(name)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_nothing_and_what_is_not_known_is_a_mistake() {
        let programs = Programs::parse(
            r#"{"programs":{"api.js":{"grant":"GET:a/ PUT:b/","hosts":["a.com"]},"d/x.js":{}}}"#,
        )
        .unwrap();
        let program = programs.of("api.js").unwrap();
        assert_eq!(program.grant.as_deref(), Some(&["GET:a/".to_owned(), "PUT:b/".to_owned()][..]));
        assert_eq!(program.hosts.as_deref(), Some(&["a.com".to_owned()][..]));
        assert_eq!(programs.of("d/x.js").unwrap().grant.as_deref(), Some(&[][..]));
        assert_eq!(programs.of("d/x.js").unwrap().hosts.as_deref(), Some(&[][..]));
        assert!(programs.of("index.html").is_none());
        for wrong in [r#"{"program":{}}"#, r#"{"programs":{"a":{"grants":""}}}"#, "[]", ""] {
            assert!(Programs::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_mistake_in_the_file_is_named_with_its_place() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE), "{\"programs\": {\n \"a.js\": 1}}").unwrap();
        let error = Programs::read(directory.path()).unwrap_err().to_string();
        assert!(error.contains("jsfs.json:2:"), "{error}");
        std::fs::write(directory.path().join(FILE), "{\"programs\": {\"a.js\": {}}}").unwrap();
        assert!(
            Programs::read(directory.path()).unwrap_err().to_string().contains("a.js, which is not there")
        );
    }
}
