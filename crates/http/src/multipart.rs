//! `multipart/byteranges` of RFC 9110 §14.6: the frame around the parts of an answer to several ranges.
//!
//! Invariant: the length that [`Frame::length`] promises is the sum of what is sent, so `Content-Length` is always right.

use std::ops::Range;

use bytes::Bytes;

/// The heads of the parts and the end of the body.
#[derive(Clone, Debug)]
pub struct Frame {
    heads: Vec<Bytes>,
    tail: Bytes,
    data: u64,
    boundary: String,
}

impl Frame {
    /// A frame for these parts of a representation of `size` bytes. `nonce` makes the boundary unlike what the object
    /// holds: it must not be known to whoever wrote the object.
    #[must_use]
    pub fn new(parts: &[Range<u64>], size: u64, content_type: &str, nonce: u64) -> Self {
        let boundary = format!("jsfs-{nonce:016x}");
        let heads = parts
            .iter()
            .enumerate()
            .map(|(at, part)| {
                let before = if at == 0 { "" } else { "\r\n" };
                let last = part.end - 1;
                Bytes::from(format!(
                    "{before}--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: bytes {}-{last}/{size}\r\n\r\n",
                    part.start
                ))
            })
            .collect();
        let tail = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        let data = parts.iter().map(|part| part.end - part.start).sum();
        Self { heads, tail, data, boundary }
    }

    /// `Content-Type` of the whole answer.
    #[must_use]
    pub fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// `Content-Length` of the whole answer.
    #[must_use]
    pub fn length(&self) -> u64 {
        let heads: usize = self.heads.iter().map(Bytes::len).sum();
        self.data + (heads + self.tail.len()) as u64
    }

    /// What comes before the data of part `at`.
    #[must_use]
    pub fn head(&self, at: usize) -> Option<Bytes> {
        self.heads.get(at).cloned()
    }

    /// What comes after the last part.
    #[must_use]
    pub fn tail(&self) -> Bytes {
        self.tail.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::Frame;

    #[test]
    fn the_body_is_as_long_as_promised_and_reads_as_the_rfc_says() {
        let object = b"0123456789abcdef";
        let parts = [10..12_u64, 0..1];
        let frame = Frame::new(&parts, 16, "text/plain", 7);
        let mut body = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            body.extend_from_slice(&frame.head(at).expect("a head"));
            let range =
                usize::try_from(part.start).expect("small")..usize::try_from(part.end).expect("small");
            body.extend_from_slice(&object[range]);
        }
        body.extend_from_slice(&frame.tail());
        assert_eq!(body.len() as u64, frame.length());
        let text = String::from_utf8(body).expect("utf-8");
        assert_eq!(
            text,
            "--jsfs-0000000000000007\r\nContent-Type: text/plain\r\nContent-Range: bytes 10-11/16\r\n\r\nab\r\n\
             --jsfs-0000000000000007\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-0/16\r\n\r\n0\r\n\
             --jsfs-0000000000000007--\r\n"
        );
        assert_eq!(frame.content_type(), "multipart/byteranges; boundary=jsfs-0000000000000007");
    }
}
