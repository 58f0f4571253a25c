//! Media types: which one an object gets, which ones are valid, and which ones a browser would run.
//!
//! Invariant: a type that is stored can be sent back as a header, so a bad one is refused when it arrives.

use std::borrow::Cow;

use crate::problem::Problem;

/// What an object of unknown type is served as.
pub const DEFAULT: &str = "application/octet-stream";

/// Longest media type that is stored, in bytes.
pub const BYTES_MAX: usize = 255;

/// The type that an object named `name` gets when its writer names none.
#[must_use]
pub fn by_name(name: &str) -> String {
    let guess = mime_guess::from_path(name).first_raw().unwrap_or(DEFAULT);
    if guess.starts_with("text/") { format!("{guess}; charset=utf-8") } else { guess.to_owned() }
}

/// Checks a type that a client wants to be stored.
///
/// # Errors
/// 400 where it is not `type/subtype` with parameters as RFC 9110 §8.3.1 writes them.
pub fn validate(text: &str) -> Result<&str, Problem> {
    if text.len() <= BYTES_MAX && is_valid(text.trim()) {
        return Ok(text.trim());
    }
    Err(Problem::malformed(
        "the content type is not a media type; send type/subtype, at most 255 bytes, such as text/plain; charset=utf-8",
    ))
}

fn is_valid(text: &str) -> bool {
    let (essence, mut rest) = match text.find(';') {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let Some((kind, subtype)) = essence.trim_end_matches([' ', '\t']).split_once('/') else { return false };
    if !is_token(kind) || !is_token(subtype) {
        return false;
    }
    while let Some(after) = rest.strip_prefix(';') {
        let after = after.trim_start_matches([' ', '\t']);
        let Some(next) = skip_parameter(after) else { return false };
        rest = next.trim_start_matches([' ', '\t']);
    }
    rest.is_empty()
}

/// Skips `name=value` or nothing (an empty parameter is allowed), and gives what follows.
fn skip_parameter(text: &str) -> Option<&str> {
    if text.is_empty() || text.starts_with(';') {
        return Some(text);
    }
    let (name, value) = text.split_once('=')?;
    if !is_token(name) {
        return None;
    }
    let Some(quoted) = value.strip_prefix('"') else {
        let end = value.find([';', ' ', '\t']).unwrap_or(value.len());
        return is_token(&value[..end]).then_some(&value[end..]);
    };
    let mut escaped = false;
    for (at, byte) in quoted.bytes().enumerate() {
        match byte {
            _ if !matches!(byte, b'\t' | 0x20..=0x7e) => return None,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(&quoted[at + 1..]),
            _ => {}
        }
    }
    None
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// A type without its parameters, in lower case.
pub(crate) fn essence(content_type: &str) -> Cow<'_, str> {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    match essence.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(essence.to_ascii_lowercase()),
        false => Cow::Borrowed(essence),
    }
}

/// Whether a browser only shows or hears it: no markup, no script, no document of its own.
#[must_use]
pub fn is_passive(content_type: &str) -> bool {
    let essence = essence(content_type);
    match essence.split_once('/') {
        Some(("image", subtype)) => !subtype.contains("svg") && !subtype.contains("xml"),
        Some(("audio" | "video" | "font", _)) => true,
        Some(("text", subtype)) => matches!(subtype, "plain" | "css" | "csv" | "javascript" | "markdown"),
        Some(("application", subtype)) => matches!(
            subtype,
            "json" | "javascript" | "octet-stream" | "pdf" | "wasm" | "zip" | "gzip" | "manifest+json"
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{by_name, is_passive, validate};

    #[test]
    fn a_type_comes_from_the_name_when_nobody_sends_one() {
        assert_eq!(by_name("a/b.html"), "text/html; charset=utf-8");
        assert_eq!(by_name("x.PNG"), "image/png");
        assert_eq!(by_name("noext"), "application/octet-stream");
        assert_eq!(by_name("archive.tar.unknown"), "application/octet-stream");
    }

    #[test]
    fn only_what_can_be_a_header_again_is_stored() {
        for good in [
            "text/plain",
            "text/html; charset=utf-8",
            "text/html;charset=\"utf-8\"",
            "application/vnd.api+json ; a=b ;c=\"d;e\\\"f\"",
            "multipart/form-data; boundary=----x",
            "text/plain;",
        ] {
            assert_eq!(validate(good).expect("valid"), good);
        }
        let long = format!("text/{}", "x".repeat(251));
        for bad in [
            "",
            "text",
            "text/",
            "/plain",
            "text/plain\r\nx: y",
            "text/plän",
            "te xt/plain",
            "text/plain; charset",
            "text/plain; =x",
            "text/plain; a=\"open",
            "text/plain; a=\"\u{7f}\"",
            "text/plain x",
            "a/b; c=d e",
            &long,
        ] {
            assert_eq!(validate(bad).err().map(|p| p.status().as_u16()), Some(400), "{bad:?}");
        }
    }

    #[test]
    fn markup_and_unknown_types_are_not_passive() {
        for active in [
            "text/html",
            "TEXT/HTML; charset=utf-8",
            "image/svg+xml",
            "application/xhtml+xml",
            "text/xml",
            "application/xml",
            "application/atom+xml",
            "text/xsl",
            "x/y",
            "",
            "multipart/x-mixed-replace",
        ] {
            assert!(!is_passive(active), "{active}");
        }
        for passive in ["image/png", "text/plain; charset=utf-8", "application/pdf", "video/mp4", "text/css"]
        {
            assert!(is_passive(passive), "{passive}");
        }
    }
}
