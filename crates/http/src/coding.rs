//! Content codings of answers (RFC 9110 §8.4, §12.5.3): `zstd`, `br` and `gzip` for types that gain from it, where the client asks.
//!
//! Invariants: a coded representation has an entity tag of its own (the strong tag, a dash, the coding), no `Repr-Digest` of the bytes it
//! was made from and no ranges; what it depends on stands in `Vary`. An answer that breaks off breaks off coded as well. Encoders at work are
//! bounded: beyond that answers go out as they are.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use flate2::write::GzEncoder;
use futures_util::stream;
use http_body_util::BodyExt;
use hyper::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderName, HeaderValue,
};
use hyper::{HeaderMap, Response, StatusCode};

use crate::body::{Body, BrokenOff};
use crate::gate::{Gate, Permit};
use crate::headers;
use crate::media;

/// Encoders at work at the same time; each needs up to a megabyte.
const ENCODERS_MAX: usize = 64;

/// Shorter answers do not gain.
const LENGTH_MIN: u64 = 1_024;

/// Pieces longer than this are coded where they hold up nobody else.
const PIECE_HERE_MAX: usize = 16 * 1024;

/// A coding that this node can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Brotli,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    /// In the order of our preference.
    const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// The name in headers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// The coding that the client likes best, ours among equals; nothing where it names none of them.
    #[must_use]
    pub fn negotiate(headers: &HeaderMap) -> Option<Self> {
        let fields = headers.get_all(ACCEPT_ENCODING);
        let ranges: Vec<_> = fields
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|text| text.split(','))
            .map(crate::listing::split_quality)
            .collect();
        let quality = |name: &str| {
            let named = |wanted: &str| ranges.iter().find(|(range, _)| range.eq_ignore_ascii_case(wanted));
            named(name).map_or(0.0, |(_, quality)| *quality)
        };
        let mut best = None;
        let mut best_quality = 0.0;
        for coding in Self::ALL {
            let quality = quality(coding.name());
            if quality > best_quality {
                (best, best_quality) = (Some(coding), quality);
            }
        }
        best.filter(|_| quality("identity") <= best_quality)
    }
}

/// The opaque tag without the coding that a client may have got it with.
#[must_use]
pub fn uncoded_tag(opaque: &str) -> &str {
    let coding = |(_, name): &(&str, &str)| Coding::ALL.iter().any(|coding| coding.name() == *name);
    opaque.rsplit_once('-').filter(coding).map_or(opaque, |(tag, _)| tag)
}

/// Whether bytes of a type shrink. Sound, pictures, archives and what nobody knows are left alone.
pub(crate) fn gains(content_type: &str) -> bool {
    let essence = media::essence(content_type);
    match essence.split_once('/') {
        Some(("text", _)) => true,
        Some(("image", subtype)) => matches!(subtype, "svg+xml" | "bmp" | "x-icon" | "vnd.microsoft.icon"),
        Some(("font", subtype)) => matches!(subtype, "ttf" | "otf"),
        Some(("application", subtype)) => {
            subtype.ends_with("json")
                || subtype.ends_with("xml")
                || matches!(
                    subtype,
                    "javascript" | "wasm" | "x-ndjson" | "toml" | "yaml" | "rtf" | "sql" | "x-sh"
                )
        }
        _ => false,
    }
}

/// Codes an answer where the client asks and the type gains. `gate` counts the encoders at work.
#[must_use]
pub(crate) fn apply(asked: &HeaderMap, mut response: Response<Body>, gate: &Arc<Gate>) -> Response<Body> {
    let present = response.headers();
    let content_type = present.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let whole = response.status() == StatusCode::OK
        && !present.contains_key(CONTENT_ENCODING)
        && !present.contains_key(CONTENT_RANGE);
    if !whole || !gains(content_type) {
        return response;
    }
    headers::vary(response.headers_mut(), "Accept-Encoding");
    let Some(coding) = Coding::negotiate(asked) else { return response };
    if response.body().length().is_none_or(|length| length < LENGTH_MIN) {
        return response;
    }
    let Some(permit) = gate.enter(ENCODERS_MAX) else { return response };
    let Ok(encoder) = Encoder::new(coding) else { return response };
    describe(response.headers_mut(), coding);
    response.map(|body| Body::of_unknown_length(Box::pin(pieces(body, encoder, permit))))
}

fn describe(headers: &mut HeaderMap, coding: Coding) {
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    headers.remove(CONTENT_LENGTH);
    headers.remove(ACCEPT_RANGES);
    headers.remove(HeaderName::from_static("repr-digest"));
    let tag = headers.get(ETAG).and_then(|value| value.to_str().ok()).and_then(|tag| tag.strip_suffix('"'));
    if let Some(Ok(tag)) = tag.map(|tag| HeaderValue::try_from(format!("{tag}-{}\"", coding.name()))) {
        headers.insert(ETAG, tag);
    }
}

/// The coded pieces of a body.
fn pieces(
    body: Body,
    encoder: Encoder,
    permit: Permit,
) -> impl stream::Stream<Item = Result<Bytes, BrokenOff>> + Send {
    stream::unfold(Some((body, encoder, permit)), |state| async {
        let (mut body, mut encoder, permit) = state?;
        loop {
            let Some(frame) = body.frame().await else {
                return Some((encoder.finish().map_err(broken), None));
            };
            let piece = match frame {
                Ok(frame) => frame.into_data().unwrap_or_default(),
                Err(error) => return Some((Err(error), None)),
            };
            let out;
            (encoder, out) = match code(encoder, piece).await {
                Ok(coded) => coded,
                Err(error) => return Some((Err(broken(error)), None)),
            };
            if !out.is_empty() {
                return Some((Ok(out), Some((body, encoder, permit))));
            }
        }
    })
}

async fn code(mut encoder: Encoder, piece: Bytes) -> io::Result<(Encoder, Bytes)> {
    if piece.len() <= PIECE_HERE_MAX {
        let out = encoder.push(&piece)?;
        return Ok((encoder, out));
    }
    let coded = tokio::task::spawn_blocking(move || encoder.push(&piece).map(|out| (encoder, out)));
    coded.await.map_err(io::Error::other)?
}

fn broken(error: io::Error) -> BrokenOff {
    BrokenOff(format!("the content coding failed: {error}"))
}

/// A stream encoder with what it has made so far.
enum Encoder {
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Gzip(GzEncoder<Vec<u8>>),
}

impl Encoder {
    fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3)?;
                encoder.window_log(18)?;
                Self::Zstd(encoder)
            }
            Coding::Brotli => Self::Brotli(Box::new(brotli::CompressorWriter::new(Vec::new(), 4096, 4, 18))),
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(5))),
        })
    }

    fn push(&mut self, piece: &[u8]) -> io::Result<Bytes> {
        let made = match self {
            Self::Zstd(encoder) => {
                encoder.write_all(piece)?;
                std::mem::take(encoder.get_mut())
            }
            Self::Brotli(encoder) => {
                encoder.write_all(piece)?;
                std::mem::take(encoder.get_mut())
            }
            Self::Gzip(encoder) => {
                encoder.write_all(piece)?;
                std::mem::take(encoder.get_mut())
            }
        };
        Ok(made.into())
    }

    fn finish(self) -> io::Result<Bytes> {
        Ok(match self {
            Self::Zstd(encoder) => encoder.finish()?.into(),
            Self::Brotli(encoder) => encoder.into_inner().into(),
            Self::Gzip(encoder) => encoder.finish()?.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Coding, Encoder, gains, uncoded_tag};
    use hyper::HeaderMap;
    use hyper::header::{ACCEPT_ENCODING, HeaderValue};
    use std::io::Read;

    #[test]
    fn the_client_chooses_and_among_equals_we_do() {
        use Coding::{Brotli, Gzip, Zstd};
        for (accept, want) in [
            ("gzip, deflate, br, zstd", Some(Zstd)),
            ("gzip, deflate, br", Some(Brotli)),
            ("gzip", Some(Gzip)),
            ("GZIP;q=0.5", Some(Gzip)),
            ("gzip;q=1, zstd;q=0.5", Some(Gzip)),
            ("gzip;q=0", None),
            ("identity", None),
            ("identity, gzip;q=0.5", None),
            ("*", None),
            ("deflate", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accept));
            assert_eq!(Coding::negotiate(&headers), want, "{accept}");
        }
        assert_eq!(Coding::negotiate(&HeaderMap::new()), None);
    }

    #[test]
    fn only_what_shrinks_is_coded() {
        for kind in ["text/html; charset=utf-8", "application/json", "image/svg+xml", "application/wasm"] {
            assert!(gains(kind), "{kind}");
        }
        for kind in
            ["image/png", "application/zip", "application/octet-stream", "video/mp4", "font/woff2", ""]
        {
            assert!(!gains(kind), "{kind}");
        }
    }

    #[test]
    fn a_tag_is_known_again_with_its_coding() {
        assert_eq!(uncoded_tag("abc-gzip"), "abc");
        assert_eq!(uncoded_tag("abc-br"), "abc");
        assert_eq!(uncoded_tag("abc-x"), "abc-x");
        assert_eq!(uncoded_tag("abc"), "abc");
    }

    #[test]
    fn what_was_coded_comes_back() {
        let text = "all work and no play ".repeat(20_000);
        for coding in Coding::ALL {
            let mut encoder = Encoder::new(coding).expect("an encoder");
            let mut coded = Vec::new();
            for piece in text.as_bytes().chunks(30_000) {
                coded.extend(encoder.push(piece).expect("coded"));
            }
            coded.extend(encoder.finish().expect("finished"));
            assert!(coded.len() < text.len() / 20, "{coding:?}: {}", coded.len());
            let mut back = String::new();
            let mut decoder: Box<dyn Read> = match coding {
                Coding::Zstd => Box::new(zstd::Decoder::new(&*coded).expect("zstd")),
                Coding::Brotli => Box::new(brotli::Decompressor::new(&*coded, 4096)),
                Coding::Gzip => Box::new(flate2::read::GzDecoder::new(&*coded)),
            };
            decoder.read_to_string(&mut back).expect("decoded");
            assert!(back == text, "{coding:?}");
        }
    }
}
