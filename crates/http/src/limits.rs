//! What one client, and all of them together, may ask of this node. Every bound is configuration with a safe default.
//!
//! Invariant: reaching a bound answers 408, 413, 414, 431 or 503 (or closes a connection that says nothing) and leaves the node
//! healthy; nothing here grows with what clients send.

use std::time::Duration;

/// The bounds of the front door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all. When it is reached, the connection that has been idle longest makes room, or has sent no head; where none
    /// is idle, the new one gets 503.
    pub connections_max: usize,
    /// Connections of one address (IPv6: of one /64). Loopback is not counted: there it is every program of this machine,
    /// or a proxy that speaks for everybody.
    pub connections_per_address_max: usize,
    /// Requests that are being worked on or answered. When it is reached, the request whose client keeps it waiting longest makes room, if it has
    /// moved less than `progress_bytes_min` in a sixteenth of `progress_time`; where none is slow, the new one gets 503.
    pub requests_max: usize,
    /// Requests of one address, as connections are counted, on all its connections.
    pub requests_per_address_max: usize,
    /// Requests of those that carry a body to be stored: each needs some megabytes.
    pub uploads_max: usize,
    /// Bytes of memory that answers may take that wait for their clients. Short ones are not counted.
    pub answer_bytes_max: u64,
    /// Calls of one socket that are being worked on.
    pub socket_calls_max: usize,
    /// Watches of one socket.
    pub socket_watches_max: usize,
    /// Watches in all, by sockets and as Server-Sent Events.
    pub watches_max: usize,
    /// Bytes of a request's line and headers: 8,192 to 1 MiB.
    pub head_bytes_max: usize,
    /// Header fields of a request.
    pub header_fields_max: usize,
    /// Bytes of an object in one request.
    pub body_bytes_max: u64,
    /// Bytes of a JSON document in a request.
    pub json_bytes_max: usize,
    /// Time for the head of a request, from its first byte (or from the connection's beginning).
    pub head_time_max: Duration,
    /// Time that a connection may rest between requests.
    pub idle_time_max: Duration,
    /// Time of one request in all, both bodies included.
    pub request_time_max: Duration,
    /// Over this time a client must send or take at least `progress_bytes_min` whenever it is waited for.
    pub progress_time: Duration,
    /// See `progress_time`.
    pub progress_bytes_min: u64,
    /// Whether WebDAV is spoken below `/.jsfs/dav/`.
    pub webdav: bool,
    /// Time that running requests have at shutdown.
    pub shutdown_time_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            connections_per_address_max: 256,
            requests_max: 1_024,
            requests_per_address_max: 256,
            uploads_max: 256,
            answer_bytes_max: 512 * 1024 * 1024,
            socket_calls_max: 64,
            socket_watches_max: 64,
            watches_max: 65_536,
            head_bytes_max: 32 * 1024,
            header_fields_max: 100,
            body_bytes_max: 1 << 40,
            json_bytes_max: 64 * 1024,
            head_time_max: Duration::from_secs(15),
            idle_time_max: Duration::from_secs(75),
            request_time_max: Duration::from_secs(24 * 3600),
            progress_time: Duration::from_secs(30),
            progress_bytes_min: 16 * 1024,
            webdav: true,
            shutdown_time_max: Duration::from_secs(20),
        }
    }
}

/// A set of limits that cannot work.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("limits.{name} must be {must}; change it in the configuration")]
pub struct BadLimit {
    /// The name of the setting (`docs/configuration.md`).
    pub name: &'static str,
    /// What it must be.
    pub must: &'static str,
}

impl Limits {
    /// Checks each bound and the relations between them.
    ///
    /// # Errors
    /// Names the first one that cannot work.
    pub fn check(&self) -> Result<(), BadLimit> {
        let rules = [
            (self.connections_max > 0, "connections", "at least 1"),
            (self.connections_per_address_max > 0, "connections_per_address", "at least 1"),
            (self.requests_max > 0, "requests", "at least 1"),
            (self.requests_per_address_max > 0, "requests_per_address", "at least 1"),
            ((1..=self.requests_max).contains(&self.uploads_max), "uploads", "from 1 to limits.requests"),
            (self.answer_bytes_max >= 16 * 1024 * 1024, "answer_bytes", "at least 16777216"),
            (self.socket_calls_max > 0, "socket_calls", "at least 1"),
            (self.socket_watches_max > 0, "socket_watches", "at least 1"),
            (self.watches_max > 0, "watches", "at least 1"),
            ((8 * 1024..=1024 * 1024).contains(&self.head_bytes_max), "header_bytes", "from 8192 to 1048576"),
            ((16..=1_000).contains(&self.header_fields_max), "header_fields", "from 16 to 1000"),
            (self.body_bytes_max > 0, "body_bytes", "at least 1"),
            ((1024..=16 * 1024 * 1024).contains(&self.json_bytes_max), "json_bytes", "from 1024 to 16777216"),
            (!self.head_time_max.is_zero(), "header_timeout", "more than 0"),
            (!self.idle_time_max.is_zero(), "idle_timeout", "more than 0"),
            (
                self.request_time_max > self.head_time_max,
                "request_timeout",
                "more than limits.header_timeout",
            ),
            (!self.progress_time.is_zero(), "progress_timeout", "more than 0"),
        ];
        match rules.iter().find(|(holds, _, _)| !holds) {
            Some((_, name, must)) => Err(BadLimit { name, must }),
            None => Ok(()),
        }
    }

    /// After what time of too little progress a client makes room for others: not before it was looked at twice.
    #[must_use]
    pub(crate) fn slow_time(&self) -> Duration {
        (self.progress_time / SLOW_SHARE).max(self.tick() * 2)
    }

    /// How often connections are looked at: often enough that no bound is overrun by more than a quarter.
    #[must_use]
    pub(crate) fn tick(&self) -> Duration {
        let shortest = self.head_time_max.min(self.idle_time_max).min(self.progress_time);
        (shortest / 4).clamp(Duration::from_millis(20), Duration::from_secs(1))
    }
}

/// Where there are too many requests a client is slow that would be too slow otherwise after so many times the time.
const SLOW_SHARE: u32 = 16;

#[cfg(test)]
mod tests {
    use super::Limits;
    use std::time::Duration;

    #[test]
    fn the_defaults_hold_and_nonsense_is_named() {
        assert_eq!(Limits::default().check(), Ok(()));
        let bad = Limits { uploads_max: 5_000, ..Limits::default() }.check().expect_err("too many");
        assert_eq!(
            bad.to_string(),
            "limits.uploads must be from 1 to limits.requests; change it in the configuration"
        );
        let bad = Limits { head_time_max: Duration::ZERO, ..Limits::default() }.check().expect_err("zero");
        assert_eq!(bad.name, "header_timeout");
    }
}
