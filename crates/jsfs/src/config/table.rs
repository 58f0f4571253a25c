//! The table of settings. Flags, file, environment, `config show` and `docs/configuration.md` all come from it.

use super::units::{self, Value};
use jsfs_bucket::Place;
use jsfs_exec::Host;
use std::path::PathBuf;
use url::Url;

/// What a change of the setting needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reload {
    /// `SIGHUP` is enough.
    Live,
    /// A restart.
    Restart,
}

/// What values look like.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// `ADDRESS:PORT`.
    Socket,
    /// `ADDRESS:PORT`, or nothing.
    OptionalSocket,
    /// A file, or nothing.
    File,
    /// A directory.
    Directory,
    /// A list of directories; separated by `:` outside the file.
    Directories,
    /// A list of files; separated by `:` outside the file.
    Files,
    /// A list of hosts; separated by `,` outside the file.
    Hosts,
    /// A list of addresses of nodes; separated by `,` outside the file.
    Addresses,
    /// `s3://NAME/PREFIX`, or nothing.
    Bucket,
    /// `https://HOST`, or nothing.
    Server,
    /// Letters, digits and dashes.
    Word,
    /// `true` or `false`.
    Switch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A number of bytes, `512` or `64MiB`, from and to the given numbers.
    Bytes(u64, u64),
    /// A length of time, `30s` or `2h`, from and to the given seconds.
    Duration(u64, u64),
    /// A number from and to the given ones.
    Count(u64, u64),
    /// A filter of `tracing`.
    Filter,
}

/// One setting.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Its name: `group.name`.
    pub(crate) key: &'static str,
    /// What values look like.
    pub(crate) kind: Kind,
    /// Its value where nobody sets it. Empty for `data`: the user's data directory.
    pub(crate) default: &'static str,
    /// What a change needs.
    pub(crate) reload: Reload,
    /// What it means, one sentence.
    pub(crate) meaning: &'static str,
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const DAY: u64 = 86_400;

macro_rules! settings {
    ($($key:literal $kind:expr, $default:literal, $reload:ident, $meaning:literal;)*) => {
        /// Every setting, in the order of the documentation.
        pub(crate) const SETTINGS: &[Setting] = &[$(Setting {
            key: $key, kind: $kind, default: $default, reload: Reload::$reload, meaning: $meaning,
        }),*];
    };
}

settings! {
    "listen" Kind::Socket, "127.0.0.1:7302", Restart, "where the node listens; port 0 picks a free one. Beyond loopback anybody on the network can try";
    "data" Kind::Directory, "", Restart, "the node's data directory: keys, index and the first storage location";
    "tls.listen" Kind::OptionalSocket, "", Restart, "where the node listens for HTTPS (HTTP/2 and HTTP/1.1), beside listen";
    "tls.certificate" Kind::File, "", Restart, "the node's certificate and those between it and its issuer, PEM, the node's own first; read again within 10 seconds of a change";
    "tls.key" Kind::File, "", Restart, "the certificate's private key, PEM; read again like it";
    "storage.locations" Kind::Directories, "", Restart, "further directories for packs, one per disk; a store remembers how many it has";
    "storage.copies" Kind::Count(1, 64), "1", Restart, "in how many locations each block is kept, at most as many as there are; metadata is kept in all of them";
    "storage.bucket" Kind::Bucket, "", Restart, "object storage for packs that are full (s3://NAME/PREFIX, a prefix that is this node's alone); its keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
    "storage.bucket_endpoint" Kind::Server, "", Restart, "who has the bucket, where that is not Amazon";
    "storage.bucket_region" Kind::Word, "us-east-1", Restart, "the bucket's region";
    "storage.bucket_cache" Kind::Bytes(0, 1024 * TIB), "4GiB", Restart, "bytes of packs in the bucket that are kept in the data directory too";
    "storage.durability" Kind::Choice(&["fsync", "os"]), "fsync", Restart, "when a write is answered: after it is on the disk (fsync), or after the operating system has it (os: a power failure loses the last seconds)";
    "storage.floor" Kind::Bytes(0, 1024 * TIB), "512MiB", Restart, "free disk space below which writes get 507; reads and deletes go on";
    "storage.derived" Kind::Bytes(0, 1024 * TIB), "1GiB", Restart, "bytes that what can be computed again may take: compiled programs, results of map and reduce; the least lately used goes first";
    "storage.scrub" Kind::Duration(0, 3_650 * DAY), "30d", Restart, "time in which every stored byte is read and verified once in the background, and mended where another copy is good; 0 for never";
    "storage.scrub_rate" Kind::Bytes(64 * KIB, GIB), "16MiB", Restart, "bytes per second that storage.scrub reads at most";
    "rom.mount" Kind::Files, "", Restart, "ROMs (jsfs export) that the node shows at the addresses that they have, to be read only";
    "versions.days" Kind::Count(0, 36_500), "30", Restart, "days that earlier versions are kept where a directory says nothing else";
    "versions.count" Kind::Count(0, 1_000_000), "100", Restart, "earlier versions kept per object where a directory says nothing else";
    "versions.bytes" Kind::Bytes(0, 1024 * TIB), "1GiB", Restart, "bytes that a namespace's earlier versions may always take; beyond that they take at most as many as its live data";
    "events.days" Kind::Count(1, 3_650), "30", Restart, "days that the log of changes reaches back";
    "uploads.hours" Kind::Count(1, 8_760), "24", Restart, "hours that an unfinished resumable upload is kept after its last byte";
    "limits.connections" Kind::Count(1, 1_000_000), "16384", Live, "connections in all; one more ends the one that has rested longest";
    "limits.connections_per_address" Kind::Count(1, 1_000_000), "256", Live, "connections of one address; loopback is not counted";
    "limits.requests" Kind::Count(1, 1_000_000), "1024", Live, "requests that are being answered; one more ends the one whose client is slowest";
    "limits.requests_per_address" Kind::Count(1, 1_000_000), "256", Live, "requests of one address that are being answered; loopback is not counted";
    "limits.uploads" Kind::Count(1, 1_000_000), "256", Live, "requests among them that carry a body of more than 64 KiB to store; each needs a few megabytes";
    "limits.answer_bytes" Kind::Bytes(16 * MIB, TIB), "512MiB", Restart, "bytes of memory that answers may take that wait for their clients; those of at most 64 KiB are not counted";
    "limits.socket_calls" Kind::Count(1, 10_000), "64", Live, "calls of one WebSocket connection that are being answered; a thirty-second of them while more than half of `limits.requests` are taken";
    "limits.socket_watches" Kind::Count(1, 100_000), "64", Live, "watches of one WebSocket connection";
    "limits.watches" Kind::Count(1, 10_000_000), "65536", Live, "watches in all, by WebSocket and as Server-Sent Events";
    "limits.header_bytes" Kind::Bytes(8 * KIB, MIB), "32KiB", Live, "bytes of a request's line and headers";
    "limits.header_fields" Kind::Count(16, 1_000), "100", Live, "header fields of a request";
    "limits.body_bytes" Kind::Bytes(1, 1024 * TIB), "1TiB", Live, "bytes of an object in one request";
    "limits.json_bytes" Kind::Bytes(KIB, 16 * MIB), "64KiB", Live, "bytes of a JSON document in a request";
    "limits.header_timeout" Kind::Duration(1, 600), "15s", Live, "time for the head of a request to arrive";
    "limits.idle_timeout" Kind::Duration(1, DAY), "75s", Live, "time that a connection may rest between requests";
    "limits.request_timeout" Kind::Duration(1, 30 * DAY), "1d", Live, "time of one request in all, both bodies included";
    "limits.progress_timeout" Kind::Duration(1, DAY), "30s", Live, "time in which a client that is waited for must move limits.progress_bytes";
    "limits.progress_bytes" Kind::Bytes(1, GIB), "16KiB", Live, "see limits.progress_timeout";
    "limits.shutdown_timeout" Kind::Duration(0, 600), "20s", Live, "time that running requests have when the node stops";
    "webdav" Kind::Switch, "true", Live, "whether file managers can mount a namespace at /.jsfs/dav/";
    "programs.runs" Kind::Count(1, 1_000), "64", Restart, "programs that run at the same time; more wait their turn";
    "programs.sockets" Kind::Count(0, 10_000), "256", Restart, "WebSockets to programs at the same time";
    "programs.cpu_ms" Kind::Count(1, 3_600_000), "1000", Restart, "CPU time of one run, in milliseconds; beyond it ends with 503";
    "programs.load_cpu_ms" Kind::Count(1, 3_600_000), "10000", Restart, "CPU time of loading a program when it is stored, in milliseconds; beyond it is refused with 422";
    "programs.part_cpu_ms" Kind::Count(1, 3_600_000), "60000", Restart, "CPU time of map for one part or of one reduce, in milliseconds; beyond it the job ends with 503";
    "programs.wall_ms" Kind::Count(1, 86_400_000), "30000", Restart, "time of one run in all, in milliseconds; beyond it ends with 504";
    "programs.memory" Kind::Bytes(8 * MIB, GIB), "64MiB", Restart, "memory of one run; beyond it ends with 507";
    "programs.output" Kind::Bytes(KIB, TIB), "64MiB", Restart, "bytes that one run may answer with; beyond it ends with 507, or the answer breaks off";
    "programs.requests" Kind::Count(0, 100_000), "50", Restart, "requests that one run may make";
    "programs.log" Kind::Bytes(0, 16 * MIB), "64KiB", Restart, "bytes that one run may log; what is more is left out";
    "programs.processes" Kind::Count(0, 1_000), "32", Restart, "processes that run at the same time; more wait their turn, and with 0 there are none";
    "programs.processes_each" Kind::Count(1, 1_000), "8", Restart, "processes of one program that have not ended";
    "programs.process_crashes" Kind::Count(0, 1_000), "10", Restart, "ends of the worker within an hour after which a process that ran meanwhile fails; 0 counts none";
    "programs.process_cpu_ms" Kind::Count(1, 31_536_000_000), "600000", Restart, "CPU time of a process in all, in milliseconds; beyond it it fails";
    "programs.process_output" Kind::Bytes(KIB, GIB), "16MiB", Restart, "bytes of a process's output that are kept; of more the beginning goes";
    "programs.checkpoint" Kind::Duration(1, DAY), "10s", Restart, "time after which a process in which something happens is put away, beside every time that it changes something";
    "programs.outside" Kind::Switch, "true", Restart, "whether programs reach hosts outside the node that their owners named";
    "programs.private_hosts" Kind::Hosts, "", Restart, "hosts that programs whose owners named them reach although they are this machine's, private or reserved";
    "compat.jsfs4" Kind::Switch, "false", Restart, "whether clients of JSFS 4 are answered as they were where anybody may create objects (docs/jsfs4.md): their tokens, statuses and fields";
    "federation.listen" Kind::Addresses, "", Restart, "where other nodes reach this one, as in /ip4/0.0.0.0/tcp/7303; without it the node can join a federation and nobody can connect to it";
    "federation.announce" Kind::Addresses, "", Restart, "where this node tells others that it is reached, where that is not where it listens, as in /dns/node.example.com/tcp/7303";
    "federation.settle_time" Kind::Duration(0, DAY), "60s", Restart, "time after which blocks of a member that came or went are looked after: a node that only restarts moves nothing";
    "cache.size" Kind::Bytes(0, 1024 * TIB), "1GiB", Restart, "bytes that blocks of other nodes may take that were fetched to be read here; the least lately used goes first";
    "cache.memory" Kind::Bytes(0, TIB), "64MiB", Restart, "bytes of memory that records, directories and bodies up to 1 MiB may take that were read lately";
    "metrics.listen" Kind::OptionalSocket, "", Restart, "where the node tells its metrics at /metrics, to everybody who asks; without it the root key's holder finds them at /.jsfs/metrics";
    "log.level" Kind::Filter, "info", Live, "what is logged: error, warn, info, debug or trace, also by module (jsfs_http=debug)";
    "log.format" Kind::Choice(&["text", "json"]), "text", Restart, "how log lines look";
}

/// The setting of that name.
pub(crate) fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// The known name that is nearest to a mistyped one: the same name in another group or without one, else what fewest typing errors lead to.
pub(crate) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let known: Vec<&str> = known.collect();
    let last = |name: &str| name.rsplit('.').next().map(str::to_owned);
    let mut same = known.iter().filter(|name| name.contains('.') && last(name) == last(wrong));
    if let (Some(one), None) = (same.next(), same.next()) {
        return Some(one);
    }
    let errors = |name: &&&str| strsim::damerau_levenshtein(wrong, name);
    let by_errors = known.iter().min_by_key(errors).filter(|name| errors(name) <= (wrong.len() / 4).max(1));
    by_errors.copied().or_else(|| {
        let near = known.iter().map(|name| (strsim::jaro_winkler(wrong, name), *name));
        let near = near.filter(|(similarity, _)| *similarity > 0.8).max_by(|a, b| a.0.total_cmp(&b.0));
        near.map(|(_, name)| name)
    })
}

impl Setting {
    /// The environment variable that sets it.
    pub(crate) fn variable(&self) -> String {
        format!("JSFS_{}", self.key.to_uppercase().replace('.', "_"))
    }

    /// What values look like, for people.
    pub(crate) fn form(&self) -> String {
        match self.kind {
            Kind::Socket | Kind::OptionalSocket => "ADDRESS:PORT".to_owned(),
            Kind::File => "file".to_owned(),
            Kind::Directory => "directory".to_owned(),
            Kind::Directories => "list of directories".to_owned(),
            Kind::Files => "list of files".to_owned(),
            Kind::Hosts => "list of HOST or HOST:PORT".to_owned(),
            Kind::Addresses => "list of /ip4/ADDRESS/tcp/PORT, /ip6/… or /dns/…".to_owned(),
            Kind::Bucket => "s3://NAME/PREFIX".to_owned(),
            Kind::Server => "https://HOST".to_owned(),
            Kind::Word => "letters, digits and dashes".to_owned(),
            Kind::Switch => "true or false".to_owned(),
            Kind::Choice(words) => words.join(" or "),
            Kind::Bytes(least, most) => {
                format!("bytes, {} to {}", units::show_bytes(least), units::show_bytes(most))
            }
            Kind::Duration(least, most) => {
                format!("time, {} to {}", units::show_duration(least), units::show_duration(most))
            }
            Kind::Count(least, most) => format!("number, {least} to {most}"),
            Kind::Filter => "level".to_owned(),
        }
    }

    /// Reads a value; the error says what is possible instead.
    pub(crate) fn parse(&self, text: &str) -> Result<Value, String> {
        self.read(text).ok_or_else(|| {
            let meant = self.meant(text).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            format!("{} cannot be {text:?}; possible: {}{meant}", self.key, self.form())
        })
    }

    fn read(&self, text: &str) -> Option<Value> {
        let within = |number: u64, least: u64, most: u64| (least..=most).contains(&number).then_some(number);
        match self.kind {
            Kind::Socket => socket(text).map(Value::Socket),
            Kind::OptionalSocket if text.is_empty() => Some(Value::OptionalSocket(None)),
            Kind::OptionalSocket => socket(text).map(|socket| Value::OptionalSocket(Some(socket))),
            Kind::File if text.is_empty() => Some(Value::File(None)),
            Kind::File => directory(text).map(|path| Value::File(Some(path))),
            Kind::Directory => directory(text).map(Value::Directory),
            Kind::Directories | Kind::Files => {
                let parts = text.split(':').filter(|part| !part.is_empty());
                parts.map(directory).collect::<Option<Vec<_>>>().map(Value::Directories)
            }
            Kind::Hosts => {
                let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
                names.map(|name| Host::parse(name).ok()).collect::<Option<_>>().map(Value::Hosts)
            }
            Kind::Addresses => {
                let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
                let known =
                    |name: &str| jsfs_peer::parse_address(name).map(|address| address.to_string()).ok();
                names.map(known).collect::<Option<_>>().map(Value::Addresses)
            }
            Kind::Bucket if text.is_empty() => Some(Value::Bucket(None)),
            Kind::Bucket => Place::parse(text).ok().map(|place| Value::Bucket(Some(place))),
            Kind::Server if text.is_empty() => Some(Value::Server(None)),
            Kind::Server => server(text).map(|url| Value::Server(Some(url))),
            Kind::Word => {
                let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
                let valid = !text.is_empty() && text.chars().all(is_plain);
                valid.then(|| Value::Word(text.to_owned()))
            }
            Kind::Switch => text.parse().ok().map(Value::Switch),
            Kind::Choice(words) => words.iter().find(|word| **word == text).map(|word| Value::Choice(word)),
            Kind::Bytes(least, most) => {
                units::parse_bytes(text).ok().and_then(|n| within(n, least, most)).map(Value::Bytes)
            }
            Kind::Duration(least, most) => {
                units::parse_duration(text).ok().and_then(|n| within(n, least, most)).map(Value::Duration)
            }
            Kind::Count(least, most) => {
                text.parse().ok().and_then(|n| within(n, least, most)).map(Value::Count)
            }
            Kind::Filter => {
                let valid = !text.is_empty() && text.parse::<tracing_subscriber::filter::Targets>().is_ok();
                valid.then(|| Value::Filter(text.to_owned()))
            }
        }
    }

    /// The value that somebody may have meant who wrote an impossible one.
    fn meant(&self, text: &str) -> Option<String> {
        match self.kind {
            Kind::Switch => match &text.to_ascii_lowercase()[..] {
                "true" | "yes" | "on" | "1" => Some("true".to_owned()),
                "false" | "no" | "off" | "0" => Some("false".to_owned()),
                _ => None,
            },
            Kind::Choice(words) => {
                nearest(&text.to_ascii_lowercase(), words.iter().copied()).map(str::to_owned)
            }
            Kind::Bytes(..) | Kind::Duration(..) => {
                let spelt = units::spelt(text, matches!(self.kind, Kind::Bytes(..)))?;
                self.read(&spelt).map(|_| spelt)
            }
            _ => None,
        }
    }
}

fn socket(text: &str) -> Option<std::net::SocketAddr> {
    let text =
        text.strip_prefix("localhost:").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    text.parse().ok()
}

/// A server with nothing behind its name.
fn server(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_bare =
        url.path() == "/" && url.query().is_none() && url.username().is_empty() && url.password().is_none();
    (matches!(url.scheme(), "http" | "https") && url.has_host() && is_bare).then_some(url)
}

fn directory(text: &str) -> Option<PathBuf> {
    (!text.is_empty() && !text.contains('\0')).then(|| PathBuf::from(text))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_default_is_possible_and_every_name_is_unique() {
        let mut seen = BTreeSet::new();
        for setting in SETTINGS {
            assert!(seen.insert(setting.variable()), "{} twice", setting.key);
            assert!(setting.key == "data" || setting.parse(setting.default).is_ok(), "{}", setting.key);
        }
    }

    #[test]
    fn a_mistyped_name_finds_the_right_one() {
        let known = || SETTINGS.iter().map(|setting| setting.key);
        assert_eq!(nearest("limits.conections", known()), Some("limits.connections"));
        assert_eq!(nearest("storage.durabilty", known()), Some("storage.durability"));
        // Shortened names, which many typing errors lead to.
        assert_eq!(nearest("limits.conn", known()), Some("limits.connections"));
        assert_eq!(nearest("tls.cert", known()), Some("tls.certificate"));
        assert_eq!(nearest("xyzzy", known()), None);
    }

    #[test]
    fn every_setting_is_found_from_its_name_with_a_typing_error_and_from_another_group() {
        let known = || SETTINGS.iter().map(|setting| setting.key);
        for Setting { key, .. } in SETTINGS {
            let letters: Vec<char> = key.chars().collect();
            for at in 1..letters.len() - 1 {
                let (mut without, mut swapped, mut other) =
                    (letters.clone(), letters.clone(), letters.clone());
                without.remove(at);
                swapped.swap(at, at + 1);
                other[at] = 'q';
                for wrong in [without, swapped, other] {
                    let wrong: String = wrong.into_iter().collect();
                    // One error may lead from a setting to another: events.days and versions.days are not that near.
                    if find(&wrong).is_none() {
                        assert_eq!(nearest(&wrong, known()), Some(*key), "{wrong}");
                    }
                }
            }
            let (_, name) = key.split_once('.').unwrap_or(("", key));
            let is_alone =
                SETTINGS.iter().filter(|other| other.key.ends_with(&format!(".{name}"))).count() == 1;
            if key.contains('.') && is_alone && find(name).is_none() {
                for wrong in [name.to_owned(), format!("server.{name}")] {
                    assert_eq!(nearest(&wrong, known()), Some(*key), "{wrong}");
                }
            }
        }
    }

    #[test]
    fn an_impossible_value_says_what_may_have_been_meant() {
        for (key, text, meant) in [
            ("storage.durability", "fsnc", "fsync"),
            ("log.format", "JSON", "json"),
            ("webdav", "Yes", "true"),
            ("storage.floor", "512mib", "512MiB"),
            ("storage.floor", "2 Gb", "2GB"),
            ("storage.scrub", "30D", "30d"),
            ("limits.idle_timeout", "75sec", "75s"),
        ] {
            let error = find(key).unwrap().parse(text).unwrap_err();
            assert!(error.ends_with(&format!("; did you mean {meant}?")), "{error}");
        }
        // What would be possible nowhere in the range is not proposed.
        assert!(!find("limits.header_bytes").unwrap().parse("1gib").unwrap_err().contains("did you mean"));
    }

    #[test]
    fn an_impossible_value_says_what_is_possible() {
        let error = |key: &str, text: &str| find(key).unwrap().parse(text).unwrap_err();
        assert_eq!(
            error("storage.durability", "never"),
            "storage.durability cannot be \"never\"; possible: fsync or os"
        );
        assert_eq!(
            error("limits.header_bytes", "1"),
            "limits.header_bytes cannot be \"1\"; possible: bytes, 8KiB to 1MiB"
        );
        assert_eq!(error("listen", "7302"), "listen cannot be \"7302\"; possible: ADDRESS:PORT");
        assert_eq!(
            error("programs.private_hosts", "db.internal:5432,http://x"),
            "programs.private_hosts cannot be \"db.internal:5432,http://x\"; possible: list of HOST or HOST:PORT"
        );
        assert!(find("listen").unwrap().parse("localhost:0").is_ok());
    }
}
