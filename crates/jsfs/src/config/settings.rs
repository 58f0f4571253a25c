//! The settings as the node's code uses them: typed, read from the merged table in one place.

use super::merge::Merged;
use super::units::Value;
use anyhow::{Context, bail};
use jsfs_bucket::Place;
use jsfs_exec::Host;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// Every setting. Field names are the settings' names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) tls: Option<Tls>,
    pub(crate) data: PathBuf,
    pub(crate) storage_locations: Vec<PathBuf>,
    pub(crate) storage_copies: usize,
    pub(crate) storage_bucket: Bucket,
    pub(crate) storage_durability: &'static str,
    pub(crate) storage_floor: u64,
    pub(crate) storage_derived: u64,
    pub(crate) rom_mount: Vec<PathBuf>,
    pub(crate) storage_scrub: Duration,
    pub(crate) storage_scrub_rate: u64,
    pub(crate) versions_days: u64,
    pub(crate) versions_count: u64,
    pub(crate) versions_bytes: u64,
    pub(crate) events_days: u64,
    pub(crate) uploads_hours: u64,
    pub(crate) limits: Limits,
    pub(crate) programs: Programs,
    pub(crate) compat_jsfs4: bool,
    pub(crate) federation_listen: Vec<String>,
    pub(crate) federation_announce: Vec<String>,
    pub(crate) federation_settle_time: Duration,
    pub(crate) cache_size: u64,
    pub(crate) cache_memory: u64,
    pub(crate) metrics_listen: Option<SocketAddr>,
    pub(crate) log_level: String,
    pub(crate) log_format: &'static str,
}

/// The group `tls`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) listen: SocketAddr,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// Where full packs go, if not into a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) place: Option<Place>,
    pub(crate) endpoint: Option<Url>,
    pub(crate) region: String,
    pub(crate) cache: u64,
}

/// The group `limits`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    pub(crate) connections_per_address: usize,
    pub(crate) requests: usize,
    pub(crate) requests_per_address: usize,
    pub(crate) uploads: usize,
    pub(crate) answer_bytes: u64,
    pub(crate) socket_calls: usize,
    pub(crate) socket_watches: usize,
    pub(crate) watches: usize,
    pub(crate) header_bytes: usize,
    pub(crate) header_fields: usize,
    pub(crate) body_bytes: u64,
    pub(crate) json_bytes: usize,
    pub(crate) webdav: bool,
    pub(crate) header_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) progress_timeout: Duration,
    pub(crate) progress_bytes: u64,
    pub(crate) shutdown_timeout: Duration,
}

/// The group `programs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Programs {
    pub(crate) runs: u32,
    pub(crate) sockets: u32,
    pub(crate) cpu_ms: u64,
    pub(crate) load_cpu_ms: u64,
    pub(crate) part_cpu_ms: u64,
    pub(crate) wall_ms: u64,
    pub(crate) memory: u64,
    pub(crate) output: u64,
    pub(crate) requests: u32,
    pub(crate) log: u64,
    pub(crate) processes: u32,
    pub(crate) processes_each: u32,
    pub(crate) process_crashes: u32,
    pub(crate) process_cpu_ms: u64,
    pub(crate) process_output: u64,
    pub(crate) checkpoint: Duration,
    pub(crate) outside: bool,
    pub(crate) private_hosts: Vec<Host>,
}

impl Limits {
    /// The same as the front door takes them.
    pub(crate) fn front(&self) -> jsfs_http::Limits {
        jsfs_http::Limits {
            connections_max: self.connections,
            connections_per_address_max: self.connections_per_address,
            requests_max: self.requests,
            requests_per_address_max: self.requests_per_address,
            uploads_max: self.uploads,
            answer_bytes_max: self.answer_bytes,
            socket_calls_max: self.socket_calls,
            socket_watches_max: self.socket_watches,
            watches_max: self.watches,
            head_bytes_max: self.header_bytes,
            header_fields_max: self.header_fields,
            body_bytes_max: self.body_bytes,
            json_bytes_max: self.json_bytes,
            webdav: self.webdav,
            head_time_max: self.header_timeout,
            idle_time_max: self.idle_timeout,
            request_time_max: self.request_timeout,
            progress_time: self.progress_timeout,
            progress_bytes_min: self.progress_bytes,
            shutdown_time_max: self.shutdown_timeout,
        }
    }
}

impl Settings {
    /// The typed settings of a configuration without faults.
    ///
    /// # Errors
    /// Names every fault; or says which settings cannot be together, or that the user has no data directory.
    pub(crate) fn of(merged: &Merged) -> anyhow::Result<Settings> {
        if !merged.faults.is_empty() {
            let faults = merged.faults.iter().map(|fault| format!("\n  {fault}")).collect::<String>();
            bail!("the configuration cannot be used:{faults}");
        }
        let read = Reader(merged);
        let limits = Limits {
            connections: read.size("limits.connections")?,
            connections_per_address: read.size("limits.connections_per_address")?,
            requests: read.size("limits.requests")?,
            requests_per_address: read.size("limits.requests_per_address")?,
            uploads: read.size("limits.uploads")?,
            answer_bytes: read.number("limits.answer_bytes")?,
            socket_calls: read.size("limits.socket_calls")?,
            socket_watches: read.size("limits.socket_watches")?,
            watches: read.size("limits.watches")?,
            header_bytes: read.size("limits.header_bytes")?,
            header_fields: read.size("limits.header_fields")?,
            body_bytes: read.number("limits.body_bytes")?,
            json_bytes: read.size("limits.json_bytes")?,
            webdav: read.switch("webdav")?,
            header_timeout: read.duration("limits.header_timeout")?,
            idle_timeout: read.duration("limits.idle_timeout")?,
            request_timeout: read.duration("limits.request_timeout")?,
            progress_timeout: read.duration("limits.progress_timeout")?,
            progress_bytes: read.number("limits.progress_bytes")?,
            shutdown_timeout: read.duration("limits.shutdown_timeout")?,
        };
        // The relations between them are the front door's to know.
        limits.front().check()?;
        Ok(Settings {
            listen: read.socket("listen")?,
            tls: read.tls()?,
            data: read.directories("data")?.into_iter().next().unwrap_or_default(),
            storage_locations: read.directories("storage.locations")?,
            storage_copies: read.size("storage.copies")?,
            storage_bucket: Bucket {
                place: read.bucket("storage.bucket")?,
                endpoint: read.server("storage.bucket_endpoint")?,
                region: read.word("storage.bucket_region")?,
                cache: read.number("storage.bucket_cache")?,
            },
            storage_durability: read.choice("storage.durability")?,
            storage_floor: read.number("storage.floor")?,
            storage_derived: read.number("storage.derived")?,
            rom_mount: read.directories("rom.mount")?,
            storage_scrub: read.duration("storage.scrub")?,
            storage_scrub_rate: read.number("storage.scrub_rate")?,
            versions_days: read.number("versions.days")?,
            versions_count: read.number("versions.count")?,
            versions_bytes: read.number("versions.bytes")?,
            events_days: read.number("events.days")?,
            uploads_hours: read.number("uploads.hours")?,
            limits,
            programs: Programs {
                runs: read.count("programs.runs")?,
                sockets: read.count("programs.sockets")?,
                cpu_ms: read.number("programs.cpu_ms")?,
                load_cpu_ms: read.number("programs.load_cpu_ms")?,
                part_cpu_ms: read.number("programs.part_cpu_ms")?,
                wall_ms: read.number("programs.wall_ms")?,
                memory: read.number("programs.memory")?,
                output: read.number("programs.output")?,
                requests: read.count("programs.requests")?,
                log: read.number("programs.log")?,
                processes: read.count("programs.processes")?,
                processes_each: read.count("programs.processes_each")?,
                process_crashes: read.count("programs.process_crashes")?,
                process_cpu_ms: read.number("programs.process_cpu_ms")?,
                process_output: read.number("programs.process_output")?,
                checkpoint: read.duration("programs.checkpoint")?,
                outside: read.switch("programs.outside")?,
                private_hosts: read.hosts("programs.private_hosts")?,
            },
            compat_jsfs4: read.switch("compat.jsfs4")?,
            federation_listen: read.addresses("federation.listen")?,
            federation_announce: read.addresses("federation.announce")?,
            federation_settle_time: read.duration("federation.settle_time")?,
            cache_size: read.number("cache.size")?,
            cache_memory: read.number("cache.memory")?,
            metrics_listen: read.optional_socket("metrics.listen")?,
            log_level: read.filter("log.level")?,
            log_format: read.choice("log.format")?,
        })
    }
}

struct Reader<'a>(&'a Merged);

impl Reader<'_> {
    fn value(&self, key: &str) -> anyhow::Result<&Value> {
        let found = self.0.get(key).map(|(value, _)| value);
        found.with_context(|| {
            format!("the setting {key} has no value: there is no HOME; set JSFS_DATA or give --data DIR")
        })
    }

    fn number(&self, key: &str) -> anyhow::Result<u64> {
        match self.value(key)? {
            Value::Bytes(number) | Value::Count(number) | Value::Duration(number) => Ok(*number),
            other => bail!("the setting {key} is {other}, no number"),
        }
    }

    fn size(&self, key: &str) -> anyhow::Result<usize> {
        usize::try_from(self.number(key)?)
            .with_context(|| format!("the setting {key} is too large for this machine"))
    }

    fn count(&self, key: &str) -> anyhow::Result<u32> {
        u32::try_from(self.number(key)?)
            .with_context(|| format!("the setting {key} is too large for this machine"))
    }

    fn duration(&self, key: &str) -> anyhow::Result<Duration> {
        self.number(key).map(Duration::from_secs)
    }

    fn socket(&self, key: &str) -> anyhow::Result<SocketAddr> {
        match self.value(key)? {
            Value::Socket(socket) => Ok(*socket),
            other => bail!("the setting {key} is {other}, no socket address"),
        }
    }

    /// HTTPS: all of its settings, or none.
    fn tls(&self) -> anyhow::Result<Option<Tls>> {
        match (self.optional_socket("tls.listen")?, self.file("tls.certificate")?, self.file("tls.key")?) {
            (None, None, None) => Ok(None),
            (Some(listen), Some(certificate), Some(key)) => Ok(Some(Tls { listen, certificate, key })),
            (None, _, _) => bail!("a certificate or a key is named, but not where to use it; set tls.listen"),
            (Some(_), None, _) => bail!("tls.listen needs a certificate; set tls.certificate"),
            (Some(_), _, None) => bail!("tls.listen needs the certificate's key; set tls.key"),
        }
    }

    fn optional_socket(&self, key: &str) -> anyhow::Result<Option<SocketAddr>> {
        match self.value(key)? {
            Value::OptionalSocket(socket) => Ok(*socket),
            other => bail!("the setting {key} is {other}, no socket address"),
        }
    }

    fn file(&self, key: &str) -> anyhow::Result<Option<PathBuf>> {
        match self.value(key)? {
            Value::File(path) => Ok(path.clone()),
            other => bail!("the setting {key} is {other}, no file"),
        }
    }

    fn directories(&self, key: &str) -> anyhow::Result<Vec<PathBuf>> {
        match self.value(key)? {
            Value::Directory(path) => Ok(vec![path.clone()]),
            Value::Directories(paths) => Ok(paths.clone()),
            other => bail!("the setting {key} is {other}, no directory"),
        }
    }

    fn switch(&self, key: &str) -> anyhow::Result<bool> {
        match self.value(key)? {
            Value::Switch(is_on) => Ok(*is_on),
            other => bail!("the setting {key} is {other}, neither true nor false"),
        }
    }

    fn hosts(&self, key: &str) -> anyhow::Result<Vec<Host>> {
        match self.value(key)? {
            Value::Hosts(hosts) => Ok(hosts.clone()),
            other => bail!("the setting {key} is {other}, no hosts"),
        }
    }

    fn addresses(&self, key: &str) -> anyhow::Result<Vec<String>> {
        match self.value(key)? {
            Value::Addresses(addresses) => Ok(addresses.clone()),
            other => bail!("the setting {key} is {other}, no addresses"),
        }
    }

    fn bucket(&self, key: &str) -> anyhow::Result<Option<Place>> {
        match self.value(key)? {
            Value::Bucket(place) => Ok(place.clone()),
            other => bail!("the setting {key} is {other}, no bucket"),
        }
    }

    fn server(&self, key: &str) -> anyhow::Result<Option<Url>> {
        match self.value(key)? {
            Value::Server(url) => Ok(url.clone()),
            other => bail!("the setting {key} is {other}, no server"),
        }
    }

    fn word(&self, key: &str) -> anyhow::Result<String> {
        match self.value(key)? {
            Value::Word(word) => Ok(word.clone()),
            other => bail!("the setting {key} is {other}, no word"),
        }
    }

    fn choice(&self, key: &str) -> anyhow::Result<&'static str> {
        match self.value(key)? {
            Value::Choice(word) => Ok(word),
            other => bail!("the setting {key} is {other}, none of its words"),
        }
    }

    fn filter(&self, key: &str) -> anyhow::Result<String> {
        match self.value(key)? {
            Value::Filter(filter) => Ok(filter.clone()),
            other => bail!("the setting {key} is {other}, no log filter"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{Environment, Flags, merge};
    use super::*;

    #[test]
    fn the_defaults_are_usable_and_a_fault_is_not() {
        let environment = Environment::from([("HOME".to_owned(), "/home/x".to_owned())]);
        let settings = Settings::of(&merge(&Flags::default(), &environment).unwrap()).unwrap();
        assert!(settings.listen.ip().is_loopback());
        let flags = Flags { set: vec!["nonsense=1".into()], ..Flags::default() };
        let error = Settings::of(&merge(&flags, &environment).unwrap()).unwrap_err();
        assert!(error.to_string().contains("no setting nonsense"), "{error}");
    }

    #[test]
    fn https_needs_all_of_its_settings() {
        let environment = Environment::from([("HOME".to_owned(), "/home/x".to_owned())]);
        let of = |set: &[&str]| {
            let set = set.iter().map(|text| (*text).to_owned()).collect();
            Settings::of(&merge(&Flags { set, ..Flags::default() }, &environment).unwrap())
        };
        let (listen, certificate, key) = ("tls.listen=127.0.0.1:0", "tls.certificate=/a", "tls.key=/b");
        let settings = of(&[listen, certificate, key]).unwrap();
        assert_eq!(settings.tls.unwrap().key, PathBuf::from("/b"));
        for (set, missing) in [
            (vec![listen], "tls.certificate"),
            (vec![listen, certificate], "tls.key"),
            (vec![certificate, key], "tls.listen"),
        ] {
            let error = of(&set).unwrap_err().to_string();
            assert!(error.contains(&format!("set {missing}")), "{error}");
        }
    }

    #[test]
    fn without_a_home_the_error_says_how_to_name_a_data_directory() {
        let error = Settings::of(&merge(&Flags::default(), &Environment::new()).unwrap()).unwrap_err();
        assert!(error.to_string().contains("--data"), "{error}");
    }
}
