//! Defaults, file, environment, flags: the later wins, and every value knows where it came from.

use super::file;
use super::table::{self, Reload, SETTINGS};
use super::units::Value;
use super::{Environment, Setting};
use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Variables that are no settings but ours all the same.
const OTHER_VARIABLES: &[&str] = &["JSFS_NODE", "JSFS_ACCESS_KEY", "JSFS_ACCESS_TOKEN", "JSFS_CONFIG"];

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The table.
    Default,
    /// A line of the configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A flag.
    Flag(String),
    /// No single one: settings that cannot be together.
    Together,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Environment(name) => f.write_str(name),
            Origin::Flag(flag) => f.write_str(flag),
            Origin::Together => f.write_str("together"),
        }
    }
}

/// A setting that cannot be as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Where it was given.
    pub(crate) origin: Origin,
    /// What is wrong, and what is possible.
    pub(crate) reason: String,
}

impl Fault {
    pub(super) fn at(path: &Path, line: usize, reason: String) -> Fault {
        Fault { origin: Origin::File { path: path.to_owned(), line }, reason }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.reason)
    }
}

/// What the command line says about settings.
#[derive(Debug, Default, Clone)]
pub(crate) struct Flags {
    /// `--config`.
    pub(crate) config: Option<PathBuf>,
    /// `--set KEY=VALUE`, in order.
    pub(crate) set: Vec<String>,
    /// `--listen`.
    pub(crate) listen: Option<String>,
    /// `--data`.
    pub(crate) data: Option<String>,
}

/// The value of every setting, with its origin.
#[derive(Debug, Clone)]
pub(crate) struct Merged {
    values: BTreeMap<&'static str, (Value, Origin)>,
    /// What could not be read; empty in a configuration that can be used.
    pub(crate) faults: Vec<Fault>,
    /// The file that was read.
    pub(crate) file: Option<PathBuf>,
}

impl Merged {
    /// Value and origin of a setting. `None` only for `data` where the user has no home.
    pub(crate) fn get(&self, key: &str) -> Option<&(Value, Origin)> {
        self.values.get(key)
    }

    /// Everything that keeps a node from starting with this: what could not be read, else what cannot be together.
    pub(crate) fn problems(&self) -> Vec<Fault> {
        if !self.faults.is_empty() {
            return self.faults.clone();
        }
        let refused = super::Settings::of(self).err();
        refused
            .into_iter()
            .map(|error| Fault { origin: self.origin_of(&error.to_string()), reason: error.to_string() })
            .collect()
    }

    /// Where the settings were given that a fault names: the last of them, where they cannot be together.
    fn origin_of(&self, reason: &str) -> Origin {
        let is_named = |key: &str| {
            let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
            reason.match_indices(key).any(|(at, _)| ends(&reason[at + key.len()..]))
        };
        let given = SETTINGS.iter().filter(|setting| is_named(setting.key));
        let mut given = given.filter_map(|setting| self.get(setting.key)).map(|(_, origin)| origin.clone());
        given.rfind(|origin| *origin != Origin::Default).unwrap_or(Origin::Together)
    }

    /// Settings whose value is another one and takes a restart to change.
    pub(crate) fn needing_restart<'a>(
        &'a self,
        started: &'a Merged,
    ) -> impl Iterator<Item = &'static str> + 'a {
        let differs = |setting: &&Setting| {
            self.get(setting.key).map(|(value, _)| value) != started.get(setting.key).map(|(value, _)| value)
        };
        SETTINGS
            .iter()
            .filter(|setting| setting.reload == Reload::Restart)
            .filter(differs)
            .map(|setting| setting.key)
    }

    /// Every setting with its value.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static Setting, &Value, &Origin)> {
        SETTINGS.iter().filter_map(|setting| {
            let (value, origin) = self.values.get(setting.key)?;
            Some((setting, value, origin))
        })
    }
}

/// Merges everything.
///
/// # Errors
/// A configuration file that was asked for and cannot be read. Everything else is a fault in the result.
pub(crate) fn merge(flags: &Flags, environment: &Environment) -> Result<Merged, Fault> {
    let mut values = defaults(environment);
    let mut faults = Vec::new();
    let file = from_file(flags, environment, &mut values, &mut faults)?;
    from_environment(environment, &mut values, &mut faults);
    from_flags(flags, &mut values, &mut faults);
    Ok(Merged { values, faults, file })
}

fn defaults(environment: &Environment) -> BTreeMap<&'static str, (Value, Origin)> {
    let data =
        user_directory(environment, "XDG_DATA_HOME", ".local/share").map(|directory| directory.join("jsfs"));
    let value = |setting: &Setting| match setting.key {
        "data" => data.clone().map(Value::Directory),
        _ => setting.parse(setting.default).ok(),
    };
    SETTINGS.iter().filter_map(|setting| Some((setting.key, (value(setting)?, Origin::Default)))).collect()
}

/// The file of `--config` or `JSFS_CONFIG`, or `jsfs/jsfs.toml` of the user's configuration directory where that exists.
fn from_file(
    flags: &Flags,
    environment: &Environment,
    values: &mut BTreeMap<&'static str, (Value, Origin)>,
    faults: &mut Vec<Fault>,
) -> Result<Option<PathBuf>, Fault> {
    let asked = flags.config.clone().or_else(|| environment.get("JSFS_CONFIG").map(PathBuf::from));
    let own = || {
        user_directory(environment, "XDG_CONFIG_HOME", ".config")
            .map(|directory| directory.join("jsfs/jsfs.toml"))
    };
    let wanted = asked.is_some();
    let Some(path) = asked.or_else(own) else { return Ok(None) };
    match std::fs::read_to_string(&path) {
        Ok(text) => file::read(&path, &text, values, faults),
        Err(error) if !wanted && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => {
            let reason = format!("cannot read the configuration file {}: {error}", path.display());
            return Err(Fault { origin: Origin::Flag("--config".into()), reason });
        }
    }
    Ok(Some(path))
}

fn from_environment(
    environment: &Environment,
    values: &mut BTreeMap<&'static str, (Value, Origin)>,
    faults: &mut Vec<Fault>,
) {
    for (name, text) in environment.iter().filter(|(name, _)| name.starts_with("JSFS_")) {
        let origin = Origin::Environment(name.clone());
        match SETTINGS.iter().find(|setting| setting.variable() == *name) {
            Some(setting) => put(setting, text, origin, values, faults),
            None if OTHER_VARIABLES.contains(&name.as_str()) => {}
            None => {
                let known = SETTINGS.iter().map(Setting::variable).collect::<Vec<_>>();
                let known = known.iter().map(String::as_str).chain(OTHER_VARIABLES.iter().copied());
                let reason = match table::nearest(name, known) {
                    Some(near) => format!("there is no setting of that name; did you mean {near}?"),
                    None => "there is no setting of that name; `jsfs config show` lists all".to_owned(),
                };
                faults.push(Fault { origin, reason });
            }
        }
    }
}

fn from_flags(flags: &Flags, values: &mut BTreeMap<&'static str, (Value, Origin)>, faults: &mut Vec<Fault>) {
    for (key, text) in [("listen", &flags.listen), ("data", &flags.data)] {
        if let (Some(setting), Some(text)) = (table::find(key), text) {
            put(setting, text, Origin::Flag(format!("--{key}")), values, faults);
        }
    }
    for text in &flags.set {
        let origin = Origin::Flag("--set".into());
        let Some((key, value)) = text.split_once('=') else {
            let reason = format!("{text:?} is no KEY=VALUE; write for example --set limits.requests=100");
            faults.push(Fault { origin, reason });
            continue;
        };
        match table::find(key.trim()) {
            Some(setting) => put(setting, value.trim(), origin, values, faults),
            None => faults.push(Fault { origin, reason: file::unknown(key.trim()) }),
        }
    }
}

fn put(
    setting: &'static Setting,
    text: &str,
    origin: Origin,
    values: &mut BTreeMap<&'static str, (Value, Origin)>,
    faults: &mut Vec<Fault>,
) {
    match setting.parse(text) {
        Ok(value) => {
            values.insert(setting.key, (value, origin));
        }
        Err(reason) => faults.push(Fault { origin, reason }),
    }
}

/// A directory of the XDG base directory specification.
fn user_directory(environment: &Environment, variable: &str, below_home: &str) -> Option<PathBuf> {
    let given = environment.get(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    given.or_else(|| Some(PathBuf::from(environment.get("HOME")?).join(below_home)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn with_file(text: &str, flags: Flags, variables: &[(&str, &str)]) -> Merged {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("jsfs.toml");
        std::fs::write(&path, text).unwrap();
        let mut merged = merge(&Flags { config: Some(path), ..flags }, &environment(variables)).unwrap();
        for fault in &mut merged.faults {
            if let Origin::File { path, .. } = &mut fault.origin {
                *path = "FILE".into();
            }
        }
        merged
    }

    fn shown(merged: &Merged, key: &str) -> String {
        let (value, origin) = merged.get(key).unwrap();
        let origin = match origin {
            Origin::File { line, .. } => format!("line {line}"),
            origin => origin.to_string(),
        };
        format!("{value} from {origin}")
    }

    #[test]
    fn the_later_source_wins_and_every_value_knows_its_origin() {
        let text =
            "listen = \"127.0.0.1:1\"\n[limits]\nrequests = 7\nuploads = 0x10\nbody_bytes = \"1GiB\"\n";
        let flags = Flags { set: vec!["limits.requests = 9".into()], ..Flags::default() };
        let merged = with_file(
            text,
            flags,
            &[("HOME", "/home/x"), ("JSFS_LISTEN", "127.0.0.1:2"), ("JSFS_NODE", "x")],
        );
        assert_eq!(merged.faults, []);
        assert_eq!(shown(&merged, "listen"), "127.0.0.1:2 from JSFS_LISTEN");
        assert_eq!(shown(&merged, "limits.requests"), "9 from --set");
        assert_eq!(shown(&merged, "limits.uploads"), "16 from line 4");
        assert_eq!(shown(&merged, "limits.body_bytes"), "1GiB from line 5");
        assert_eq!(shown(&merged, "limits.connections"), "16384 from default");
        assert_eq!(shown(&merged, "data"), "/home/x/.local/share/jsfs from default");
    }

    #[test]
    fn every_fault_is_found_at_once_with_its_place_and_the_nearest_name() {
        let text = "lissten = 1\n[limits]\nconections = 5\nrequests = true\n\n[storage]\ndurability = \"sometimes\"\n[lmits]\nx = 1\n";
        let flags = Flags { set: vec!["limits.request=9".into(), "log".into()], ..Flags::default() };
        let merged = with_file(text, flags, &[("JSFS_LISTN", "x"), ("JSFS_LOG_FORMAT", "xml")]);
        let faults = merged.faults.iter().map(ToString::to_string).collect::<Vec<_>>();
        insta::assert_snapshot!(faults.join("\n"));
    }

    #[test]
    fn a_file_that_is_no_toml_names_the_line() {
        let merged = with_file("a = 1\nb = = 2\n", Flags::default(), &[]);
        assert_eq!(merged.faults.len(), 1);
        assert!(merged.faults[0].to_string().starts_with("FILE:2: "), "{}", merged.faults[0]);
    }

    #[test]
    fn a_file_that_was_asked_for_must_exist_and_the_users_own_need_not() {
        let missing = Flags { config: Some("/nonexistent/jsfs.toml".into()), ..Flags::default() };
        assert!(merge(&missing, &Environment::new()).unwrap_err().reason.contains("/nonexistent/jsfs.toml"));
        assert!(merge(&Flags::default(), &environment(&[("HOME", "/nonexistent")])).unwrap().file.is_none());
    }
}
