//! Addresses that are relative to others, as the URL Standard has them.

/// What a URL means that is relative to another; none where it is no URL.
pub(crate) fn join(base: &str, relative: &str) -> Option<String> {
    let base = url::Url::parse(base).ok()?;
    Some(base.join(relative).ok()?.into())
}

#[cfg(test)]
mod tests {
    use super::join;

    #[test]
    fn a_relative_address_is_resolved() {
        assert_eq!(join("http://a.com/x/y.js", "./z.js").as_deref(), Some("http://a.com/x/z.js"));
        assert_eq!(join("http://a.com/x/y.js", "/z?q#f").as_deref(), Some("http://a.com/z?q#f"));
        assert_eq!(join("not a url", "x"), None);
    }
}
