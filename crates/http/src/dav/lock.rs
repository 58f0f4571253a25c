//! Write locks (RFC 4918 §6, §7): who has one on what, for how long.
//!
//! They are kept in memory and bounded in number, in all and per namespace; a restart forgets them, and so does their time-out. A lock binds
//! the verbs of WebDAV and nothing else: it takes nobody's authority away.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jsfs_objects::address::Address;
use tokio::time::Instant;

use crate::problem::random;

const LOCKS_MAX: usize = 4_096;
const LOCKS_PER_NAMESPACE_MAX: usize = 1_024;

/// How long a lock lasts at most, and where the client does not say.
pub(crate) const TIMEOUT_MAX: Duration = Duration::from_secs(3_600);

/// Most bytes of what a client says of itself.
pub(crate) const OWNER_BYTES_MAX: usize = 1_024;

/// One lock.
#[derive(Clone, Debug)]
pub(crate) struct Lock {
    pub(crate) token: String,
    pub(crate) root: Address,
    pub(crate) infinite: bool,
    pub(crate) exclusive: bool,
    /// XML that the client gave.
    pub(crate) owner: String,
    pub(crate) timeout: Duration,
    expires: Instant,
}

/// What a lock is asked for.
pub(crate) struct Wanted {
    pub(crate) root: Address,
    pub(crate) infinite: bool,
    pub(crate) exclusive: bool,
    pub(crate) owner: String,
    pub(crate) timeout: Duration,
}

/// Why there is no lock.
pub(crate) enum NoLock {
    /// Another lock is in the way.
    Locked(Address),
    /// There are too many.
    Full,
}

impl Lock {
    fn covers(&self, address: &Address) -> bool {
        self.root == *address || (self.infinite && address.starts_with(&self.root))
    }
}

/// All locks of a node.
#[derive(Default)]
pub(crate) struct Locks(Mutex<Vec<Lock>>);

impl Locks {
    /// Those that hold, after the others were forgotten.
    fn with<T>(&self, look: impl FnOnce(&mut Vec<Lock>) -> T) -> T {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        locks.retain(|lock| lock.expires > now);
        look(&mut locks)
    }

    pub(crate) fn take(&self, wanted: Wanted) -> Result<Lock, NoLock> {
        let Wanted { root, infinite, exclusive, owner, timeout } = wanted;
        self.with(|locks| {
            let meets = |lock: &&Lock| lock.covers(&root) || (infinite && lock.root.starts_with(&root));
            if let Some(other) = locks.iter().filter(meets).find(|lock| lock.exclusive || exclusive) {
                return Err(NoLock::Locked(other.root.clone()));
            }
            let neighbours = locks.iter().filter(|lock| lock.root.namespace() == root.namespace()).count();
            if locks.len() >= LOCKS_MAX || neighbours >= LOCKS_PER_NAMESPACE_MAX {
                return Err(NoLock::Full);
            }
            let expires = Instant::now() + timeout;
            let lock = Lock { token: token(), root, infinite, exclusive, owner, timeout, expires };
            locks.push(lock.clone());
            Ok(lock)
        })
    }

    /// Lets a lock on the address last longer.
    pub(crate) fn refresh(&self, address: &Address, tokens: &[String], timeout: Duration) -> Option<Lock> {
        self.with(|locks| {
            let lock = locks.iter_mut().find(|lock| lock.covers(address) && tokens.contains(&lock.token))?;
            lock.timeout = timeout;
            lock.expires = Instant::now() + timeout;
            Some(lock.clone())
        })
    }

    /// Ends a lock on the address.
    pub(crate) fn release(&self, address: &Address, token: &str) -> bool {
        self.with(|locks| {
            let before = locks.len();
            locks.retain(|lock| !(lock.token == token && lock.covers(address)));
            locks.len() < before
        })
    }

    /// Ends all locks on what is no longer there.
    pub(crate) fn forget(&self, top: &Address) {
        self.with(|locks| locks.retain(|lock| !lock.root.starts_with(top)));
    }

    /// Whether this is the token of a lock on the address.
    pub(crate) fn has(&self, address: &Address, token: &str) -> bool {
        self.with(|locks| locks.iter().any(|lock| lock.token == token && lock.covers(address)))
    }

    pub(crate) fn on(&self, address: &Address) -> Vec<Lock> {
        self.with(|locks| locks.iter().filter(|lock| lock.covers(address)).cloned().collect())
    }

    /// Whether a change of the address, with `tree` of all that lies below it, is barred to who has these tokens: by which lock.
    pub(crate) fn bars(&self, address: &Address, tree: bool, tokens: &[String]) -> Option<Address> {
        self.with(|locks| {
            let meets = |lock: &&Lock| lock.covers(address) || (tree && lock.root.starts_with(address));
            let (exclusive, shared): (Vec<&Lock>, Vec<&Lock>) =
                locks.iter().filter(meets).partition(|lock| lock.exclusive);
            let submitted = |lock: &&Lock| tokens.contains(&lock.token);
            let barring = exclusive.into_iter().find(|lock| !submitted(lock));
            let barring =
                barring.or_else(|| shared.first().copied().filter(|_| !shared.iter().any(submitted)));
            barring.map(|lock| lock.root.clone())
        })
    }
}

/// A name that is never given again (RFC 9562, version 4).
fn token() -> String {
    let bits = (u128::from(random()) << 64) | u128::from(random());
    let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    let mut text = String::from("urn:uuid:");
    for (index, range) in [0..8, 8..12, 12..16, 16..20, 20..32].into_iter().enumerate() {
        let _ = write!(text, "{}{}", if index > 0 { "-" } else { "" }, &hex[range]);
    }
    text
}

/// The time that `Timeout` asks for, within what is given.
pub(crate) fn timeout(text: Option<&str>) -> Duration {
    let asked = text.into_iter().flat_map(|text| text.split(',')).map(str::trim).find_map(|one| {
        let seconds = one.strip_prefix("Second-").or_else(|| one.strip_prefix("second-"))?;
        seconds.parse().ok().map(Duration::from_secs)
    });
    asked.unwrap_or(TIMEOUT_MAX).clamp(Duration::from_secs(1), TIMEOUT_MAX)
}

#[cfg(test)]
mod tests {
    use super::{LOCKS_PER_NAMESPACE_MAX, Locks, NoLock, Wanted, timeout};
    use jsfs_objects::address::Address;
    use std::time::Duration;

    fn at(path: &str) -> Address {
        Address::parse(&format!("/com.example{path}")).expect("an address")
    }

    fn wanted(path: &str, infinite: bool, exclusive: bool) -> Wanted {
        let timeout = Duration::from_secs(60);
        Wanted { root: at(path), infinite, exclusive, owner: String::new(), timeout }
    }

    #[tokio::test(start_paused = true)]
    async fn locks_bar_one_another_and_whoever_lacks_their_token_until_they_end() {
        let locks = Locks::default();
        let Ok(lock) = locks.take(wanted("/a/", true, true)) else { panic!("free") };
        for (path, infinite) in [("/a/", false), ("/a/b", false), ("/", true)] {
            assert!(matches!(locks.take(wanted(path, infinite, false)), Err(NoLock::Locked(_))), "{path}");
        }
        assert!(locks.take(wanted("/ab", true, true)).is_ok());
        assert!(locks.bars(&at("/a/b/c"), false, &[]).is_some());
        assert!(locks.bars(&at("/a/b/c"), false, std::slice::from_ref(&lock.token)).is_none());
        assert!(locks.bars(&at("/"), true, &[]).is_some() && locks.bars(&at("/"), false, &[]).is_none());
        tokio::time::advance(Duration::from_secs(50)).await;
        assert!(
            locks.refresh(&at("/a/b"), std::slice::from_ref(&lock.token), Duration::from_secs(60)).is_some()
        );
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(locks.has(&at("/a/b"), &lock.token));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(locks.bars(&at("/a/b/c"), false, &[]).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_the_shared_locks_is_enough_and_their_number_is_bounded() {
        let locks = Locks::default();
        let Ok(one) = locks.take(wanted("/s", false, false)) else { panic!("free") };
        let Ok(_two) = locks.take(wanted("/s", false, false)) else { panic!("shared") };
        assert!(
            locks.bars(&at("/s"), false, &[one.token]).is_none()
                && locks.bars(&at("/s"), false, &[]).is_some()
        );
        for number in 2..LOCKS_PER_NAMESPACE_MAX {
            assert!(locks.take(wanted(&format!("/{number}"), false, true)).is_ok());
        }
        assert!(matches!(locks.take(wanted("/more", false, true)), Err(NoLock::Full)));
        locks.forget(&at("/"));
        assert!(locks.take(wanted("/more", false, true)).is_ok());
    }

    #[test]
    fn a_timeout_is_cut_to_what_is_given() {
        assert_eq!(timeout(Some("Second-30")), Duration::from_secs(30));
        for text in [
            None,
            Some("Infinite"),
            Some("Second-4100000000"),
            Some("x"),
            Some("Infinite, Second-99999999999"),
        ] {
            assert_eq!(timeout(text), Duration::from_secs(3_600), "{text:?}");
        }
    }
}
