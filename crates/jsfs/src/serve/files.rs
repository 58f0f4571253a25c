//! How many files this process may have open, and how many connections that leaves room for.

use jsfs_http::Limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files beside connections: packs, the index, pipes of workers, other nodes.
const OTHER_FILES: usize = 1_024;

/// Each connection and each pack is an open file; many systems allow 1,024 unless a program asks for more.
pub(super) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || limit.maximum.is_none() {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
}

/// The limits with no more connections than there are files for: a node that runs out of files can neither accept nor read.
pub(super) fn within(limits: Limits) -> Limits {
    let files = getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok());
    let most = connections(files.unwrap_or(usize::MAX));
    if most >= limits.connections_max {
        return limits;
    }
    tracing::warn!(
        "this process may open {} files, so limits.connections is {most} instead of {}; raise the limit (ulimit -n, LimitNOFILE) or lower the setting",
        files.unwrap_or_default(),
        limits.connections_max
    );
    Limits { connections_max: most, ..limits }
}

/// Connections beside which as many files can be open as a node needs: at least half of all.
fn connections(files: usize) -> usize {
    files.saturating_sub(OTHER_FILES).max(files / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::connections;

    #[test]
    fn files_are_left_for_the_store_however_few_there_are() {
        assert_eq!(connections(1_048_576), 1_047_552);
        assert_eq!(connections(20_000), 18_976);
        assert_eq!(connections(1_024), 512);
        assert_eq!(connections(0), 1);
    }
}
