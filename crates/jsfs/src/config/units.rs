//! Values of settings and the units that people write them in.

use jsfs_bucket::Place;
use jsfs_exec::Host;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use url::Url;

/// A value of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// Where to listen.
    Socket(SocketAddr),
    /// Where to listen as well; nowhere where nobody says so.
    OptionalSocket(Option<SocketAddr>),
    /// A file; none where nobody names one.
    File(Option<PathBuf>),
    /// A directory.
    Directory(PathBuf),
    /// Several directories.
    Directories(Vec<PathBuf>),
    /// Hosts.
    Hosts(Vec<Host>),
    /// Addresses of nodes.
    Addresses(Vec<String>),
    /// A bucket; none where nobody names one.
    Bucket(Option<Place>),
    /// A server; none where nobody names one.
    Server(Option<Url>),
    /// A word.
    Word(String),
    /// Yes or no.
    Switch(bool),
    /// One of the setting's words.
    Choice(&'static str),
    /// Bytes.
    Bytes(u64),
    /// Seconds.
    Duration(u64),
    /// A number.
    Count(u64),
    /// A log filter.
    Filter(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Socket(socket) => write!(f, "{socket}"),
            Value::OptionalSocket(socket) => socket.iter().try_for_each(|socket| write!(f, "{socket}")),
            Value::File(path) => path.iter().try_for_each(|path| write!(f, "{}", path.display())),
            Value::Directory(path) => write!(f, "{}", path.display()),
            Value::Directories(paths) => {
                let shown = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
                f.write_str(&shown.join(":"))
            }
            Value::Hosts(hosts) => {
                let shown = hosts.iter().map(Host::to_string).collect::<Vec<_>>();
                f.write_str(&shown.join(","))
            }
            Value::Addresses(addresses) => f.write_str(&addresses.join(",")),
            Value::Bucket(place) => place.iter().try_for_each(|place| write!(f, "{place}")),
            Value::Server(url) => url.iter().try_for_each(|url| write!(f, "{url}")),
            Value::Word(word) => f.write_str(word),
            Value::Switch(is_on) => write!(f, "{is_on}"),
            Value::Choice(word) => f.write_str(word),
            Value::Bytes(bytes) => f.write_str(&show_bytes(*bytes)),
            Value::Duration(seconds) => f.write_str(&show_duration(*seconds)),
            Value::Count(count) => write!(f, "{count}"),
            Value::Filter(filter) => f.write_str(filter),
        }
    }
}

const BYTE_UNITS: &[(&str, u64)] =
    &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const BYTE_UNITS_DECIMAL: &[(&str, u64)] =
    &[("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
const TIME_UNITS: &[(&str, u64)] = &[("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// Bytes: a number, or one with `B`, `KiB` … `TiB` or `kB` … `TB`.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let units = BYTE_UNITS_DECIMAL.iter().chain(BYTE_UNITS);
    parse(text, units, 1).ok_or_else(|| format!("{text:?} is no number of bytes; write 512, 64MiB or 2GB"))
}

/// Seconds: a number, or one with `s`, `m`, `h` or `d`.
pub(crate) fn parse_duration(text: &str) -> Result<u64, String> {
    parse(text, TIME_UNITS.iter(), 1)
        .ok_or_else(|| format!("{text:?} is no length of time; write 90, 30s, 15m, 2h or 7d"))
}

/// Names of units as people write them, beside ours in any case.
const SPELLINGS: &[(&str, &str)] = &[
    ("sec", "s"),
    ("secs", "s"),
    ("second", "s"),
    ("seconds", "s"),
    ("min", "m"),
    ("mins", "m"),
    ("minute", "m"),
    ("minutes", "m"),
    ("hr", "h"),
    ("hour", "h"),
    ("hours", "h"),
    ("day", "d"),
    ("days", "d"),
    ("byte", "B"),
    ("bytes", "B"),
    ("k", "KiB"),
    ("m", "MiB"),
    ("g", "GiB"),
    ("t", "TiB"),
];

/// The same number with a unit of ours, where another spelling of one was written.
pub(crate) fn spelt(text: &str, is_bytes: bool) -> Option<String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).filter(|digits| *digits > 0)?;
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    let names: Vec<&str> = match is_bytes {
        true => BYTE_UNITS.iter().chain(BYTE_UNITS_DECIMAL).map(|(name, _)| *name).collect(),
        false => TIME_UNITS.iter().map(|(name, _)| *name).collect(),
    };
    let spelling =
        SPELLINGS.iter().filter(|(written, _)| written.eq_ignore_ascii_case(unit)).map(|(_, name)| *name);
    let own = names.iter().copied().filter(|name| name.eq_ignore_ascii_case(unit));
    let name = own.chain(spelling).find(|name| names.contains(name))?;
    Some(format!("{number}{name}"))
}

fn parse<'a>(text: &str, units: impl Iterator<Item = &'a (&'a str, u64)>, plain: u64) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim_start() {
        "" => plain,
        unit => units.into_iter().find(|(name, _)| *name == unit)?.1,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Bytes in the largest unit that leaves no rest.
pub(crate) fn show_bytes(bytes: u64) -> String {
    show(bytes, BYTE_UNITS)
}

/// Seconds in the largest unit that leaves no rest.
pub(crate) fn show_duration(seconds: u64) -> String {
    show(seconds, TIME_UNITS)
}

fn show(number: u64, units: &[(&str, u64)]) -> String {
    let fitting = units.iter().find(|(_, factor)| number >= *factor && number.is_multiple_of(*factor));
    let (unit, factor) = fitting.copied().unwrap_or(("", 1));
    format!("{}{}", number / factor, if unit == "B" { "" } else { unit })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_read_again() {
        for bytes in [0, 1, 1_000, 1 << 10, (1 << 20) + 1, 5 << 30, 1 << 50] {
            assert_eq!(parse_bytes(&show_bytes(bytes)).unwrap(), bytes);
        }
        for seconds in [0, 1, 59, 60, 90, 3_600, 86_400 * 7] {
            assert_eq!(parse_duration(&show_duration(seconds)).unwrap(), seconds);
        }
        assert_eq!(parse_bytes("2 GB").unwrap(), 2_000_000_000);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "x", "-1", "1.5GiB", "10 apples", "99999999999TiB", "1mib"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
        assert!(parse_duration("5y").is_err());
    }
}
