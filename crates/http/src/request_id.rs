//! Ids of requests: by which a client, a proxy before the node and the node's log mean the same request.
//!
//! The one that came in `X-Request-ID` counts where it is well formed, so that a proxy's is kept; else one is made. It stands in the answer, in every line
//! that is logged for the request, and in a 500. Invariants: what is no plain word never reaches the log; an id proves nothing and is no secret.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

/// The header, of requests and of answers.
pub(crate) static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longer ones are not taken.
const LENGTH_MAX: usize = 128;

/// An id, cheap to copy.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(HeaderValue);

tokio::task_local! {
    /// The request that this task works on.
    static CURRENT: RequestId;
}

impl RequestId {
    /// The id that came with a request, else a new one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        match headers.get(&X_REQUEST_ID) {
            Some(value) if is_well_formed(value.as_bytes()) => Self(value.clone()),
            _ => Self::new(),
        }
    }

    /// One that this process has not given before, and another process hardly ever.
    pub(crate) fn new() -> Self {
        static BEGIN: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0_u64));
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = BEGIN.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed));
        Self(HeaderValue::from_bytes(&digits(mixed(number))).unwrap_or(HeaderValue::from_static("")))
    }

    /// Of the request that this task works on; a new one where it works on none.
    pub(crate) fn current() -> Self {
        CURRENT.try_with(Self::clone).unwrap_or_else(|_| Self::new())
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// Puts it into an answer.
    pub(crate) fn mark(&self, headers: &mut HeaderMap) {
        headers.insert(&X_REQUEST_ID, self.0.clone());
    }

    /// What is logged within has the id.
    pub(crate) fn span(&self) -> tracing::Span {
        tracing::error_span!("request", id = self.as_str())
    }

    /// Works on the request, whose id is [`RequestId::current`] meanwhile.
    pub(crate) async fn of_all<T>(self, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self, work).await
    }
}

/// Letters, digits and what stands in the ids that proxies make.
fn is_well_formed(id: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:=+/@".contains(byte);
    (1..=LENGTH_MAX).contains(&id.len()) && id.iter().all(is_plain)
}

/// Another number for each number (SplitMix64, Steele, Lea and Flood 2014), so that ids do not tell how much the node has to do.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Hexadecimal, without the machinery of formatting.
fn digits(number: u64) -> [u8; 16] {
    let mut rest = number;
    let mut digits = [0; 16];
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(rest & 15) as usize];
        rest >>= 4;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::{RequestId, X_REQUEST_ID, digits, is_well_formed};
    use hyper::HeaderMap;
    use hyper::header::HeaderValue;
    use std::collections::HashSet;

    #[test]
    fn ids_that_proxies_make_are_taken_and_nothing_else() {
        for good in [
            "0",
            "7f3a9c02-5b1e-4a6d-9f00-123456789abc",
            "01HZY3.x_y:z=+/@",
            "Root=1-67891233-abcdef012345678912345678",
        ] {
            assert!(is_well_formed(good.as_bytes()), "{good}");
        }
        for bad in ["", "a b", "a\tb", "a;b", "a\"b", "\u{e9}", "{}", &"x".repeat(129)] {
            assert!(!is_well_formed(bad.as_bytes()), "{bad}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(&X_REQUEST_ID, HeaderValue::from_static("from-a-proxy"));
        assert_eq!(RequestId::of(&headers).as_str(), "from-a-proxy");
        headers.insert(&X_REQUEST_ID, HeaderValue::from_static("two words"));
        assert_ne!(RequestId::of(&headers).as_str(), "two words");
    }

    #[test]
    fn those_that_are_made_differ_and_are_well_formed() {
        let made: HashSet<String> = (0..1_000).map(|_| RequestId::new().as_str().to_owned()).collect();
        assert!(made.len() == 1_000 && made.iter().all(|id| id.len() == 16 && is_well_formed(id.as_bytes())));
        assert_eq!(&digits(0x0123_4567_89ab_cdef), b"0123456789abcdef");
    }

    #[tokio::test]
    async fn what_is_done_for_a_request_knows_its_id() {
        let id = RequestId::new();
        let text = id.as_str().to_owned();
        id.of_all(async {
            tokio::task::yield_now().await;
            assert_eq!(RequestId::current().as_str(), text);
        })
        .await;
        assert_ne!(RequestId::current().as_str(), text);
    }
}
