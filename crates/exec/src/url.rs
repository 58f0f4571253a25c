//! Addresses that are relative to others, as the URL Standard has them.

/// What a URL means that is relative to another; none where it is no URL.
pub(crate) fn join(base: &str, relative: &str) -> Option<String> {
    let base = url::Url::parse(base).ok()?;
    Some(base.join(relative).ok()?.into())
}

/// The host of a URL, which names a namespace.
pub(crate) fn host(url: &str) -> String {
    let url = url::Url::parse(url).ok();
    url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{host, join};

    #[test]
    fn a_url_tells_its_host() {
        assert_eq!(host("http://a.com:8080/x"), "a.com");
        assert_eq!(host("not a url"), "");
    }

    #[test]
    fn a_relative_address_is_resolved() {
        assert_eq!(join("http://a.com/x/y.js", "./z.js").as_deref(), Some("http://a.com/x/z.js"));
        assert_eq!(join("http://a.com/x/y.js", "/z?q#f").as_deref(), Some("http://a.com/z?q#f"));
        assert_eq!(join("not a url", "x"), None);
    }
}
