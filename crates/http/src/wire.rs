//! Texts on the wire: times, sizes and digests as HTTP and JSON write them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use time::OffsetDateTime;
use time::macros::format_description;

/// RFC 3339 with milliseconds, in UTC.
#[must_use]
pub fn rfc3339(since_1970_ms: u64) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let nanoseconds = i128::from(since_1970_ms) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds)
        .ok()
        .and_then(|time| time.format(&format).ok())
        .unwrap_or_else(|| "9999-12-31T23:59:59.999Z".to_owned())
}

/// Seconds since 1970 of a time in RFC 3339.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let time = OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
    u64::try_from(time.unix_timestamp()).ok()
}

/// Milliseconds since 1970 of a time in RFC 3339.
#[must_use]
pub fn parse_rfc3339_ms(text: &str) -> Option<u64> {
    let time = OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
    u64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok().filter(|_| time.unix_timestamp() >= 0)
}

/// `Repr-Digest` of RFC 9530.
#[must_use]
pub fn repr_digest(sha256: &[u8; 32]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(sha256))
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}

/// For a person: three digits at least, binary units.
#[must_use]
pub fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = "B";
    for next in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths = (tenths + 512) / 1024;
        unit = next;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{}.{} {unit}", tenths / 10, tenths % 10) }
}

#[cfg(test)]
mod tests {
    use super::{hex, human_size, parse_rfc3339, repr_digest, rfc3339};

    #[test]
    fn texts_are_as_their_rfcs_write_them() {
        assert_eq!(rfc3339(784_111_777_005), "1994-11-06T08:49:37.005Z");
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59.999Z");
        assert_eq!(parse_rfc3339("1994-11-06T09:49:37+01:00"), Some(784_111_777));
        assert_eq!(parse_rfc3339("1994-11-06"), None);
        assert_eq!(parse_rfc3339("1969-12-31T23:59:59Z"), None);
        assert_eq!(super::parse_rfc3339_ms("1994-11-06T09:49:37.005+01:00"), Some(784_111_777_005));
        assert_eq!(super::parse_rfc3339_ms("1969-12-31T23:59:59.9999Z"), None);
        assert_eq!(hex(&[0, 0xab, 0xff]), "00abff");
        // RFC 9530, appendix: the digest of the JSON in its examples is 32 bytes like any other.
        assert_eq!(repr_digest(&[0; 32]), "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:");
    }

    #[test]
    fn sizes_are_short() {
        let sizes = [0, 1_023, 1_024, 1_536, 1_048_575, 1 << 30, u64::MAX].map(human_size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "1.0 GiB", "16.0 EiB"]);
    }
}
