//! Binary messages: pieces of bodies, and the credit that lets them flow.
//!
//! | bytes | |
//! |---|---|
//! | 0–3 | number of the stream, little-endian |
//! | 4 | 0 data, 1 end, 2 error, 3 credit |
//! | 5… | payload |

use bytes::{BufMut, Bytes, BytesMut};

/// The most bytes of a body in one message.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// The longest binary message.
pub const MESSAGE_BYTES_MAX: usize = HEAD_BYTES + PAYLOAD_BYTES_MAX;

/// What the sender of a body may send without being asked, in bytes.
pub const CREDIT_BYTES: u32 = 256 * 1024;

const HEAD_BYTES: usize = 5;

/// One binary message, without the number of its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Bytes of a body.
    Data(Bytes),
    /// The last bytes of a body; there may be none.
    End(Bytes),
    /// The sender gives up, or the receiver wants no more. A problem as JSON, or nothing.
    Error(Bytes),
    /// The receiver takes so many bytes more.
    Credit(u32),
}

/// A message that is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Shorter than a frame's head.
    #[error("a binary message has at least {HEAD_BYTES} bytes: the number of a stream and a flag")]
    Short,
    /// Longer than a frame may be.
    #[error("a binary message has at most {MESSAGE_BYTES_MAX} bytes")]
    Long,
    /// A flag that does not exist.
    #[error("the flag of a binary message is 0, 1, 2 or 3, not {0}")]
    Flag(u8),
    /// Credit that is no number.
    #[error("credit is a number of 4 bytes, not of {0}")]
    Credit(usize),
}

impl Frame {
    /// Reads a message: the number of the stream, and what it says.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn decode(mut message: Bytes) -> Result<(u32, Frame), FrameError> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(FrameError::Long);
        }
        let Some((number, [flag, ..])) = message.split_first_chunk::<4>() else {
            return Err(FrameError::Short);
        };
        let (number, flag) = (u32::from_le_bytes(*number), *flag);
        let payload = message.split_off(HEAD_BYTES);
        let frame = match flag {
            0 => Frame::Data(payload),
            1 => Frame::End(payload),
            2 => Frame::Error(payload),
            3 => {
                let bytes = payload[..].try_into().map_err(|_| FrameError::Credit(payload.len()))?;
                Frame::Credit(u32::from_le_bytes(bytes))
            }
            flag => return Err(FrameError::Flag(flag)),
        };
        Ok((number, frame))
    }

    /// The message.
    #[must_use]
    pub fn encode(&self, number: u32) -> Bytes {
        let credit;
        let (flag, payload): (u8, &[u8]) = match self {
            Frame::Data(bytes) => (0, bytes),
            Frame::End(bytes) => (1, bytes),
            Frame::Error(bytes) => (2, bytes),
            Frame::Credit(bytes) => {
                credit = bytes.to_le_bytes();
                (3, &credit)
            }
        };
        let mut message = BytesMut::with_capacity(HEAD_BYTES + payload.len());
        message.put_u32_le(number);
        message.put_u8(flag);
        message.put_slice(payload);
        message.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::{Frame, FrameError, MESSAGE_BYTES_MAX, PAYLOAD_BYTES_MAX};
    use bytes::Bytes;

    #[test]
    fn every_frame_is_read_as_it_was_written() {
        let bytes = Bytes::from_static(b"some bytes");
        let frames = [
            Frame::Data(bytes.clone()),
            Frame::End(Bytes::new()),
            Frame::Error(bytes),
            Frame::Credit(70_000),
        ];
        for (number, frame) in [1, 2, 0x0102_0304, u32::MAX].into_iter().zip(frames) {
            assert_eq!(Frame::decode(frame.encode(number)), Ok((number, frame)));
        }
        assert_eq!(&Frame::Credit(1).encode(0x0102_0304)[..], [4, 3, 2, 1, 3, 1, 0, 0, 0]);
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let decode = |bytes: &'static [u8]| Frame::decode(Bytes::from_static(bytes)).err();
        assert_eq!(decode(b""), Some(FrameError::Short));
        assert_eq!(decode(&[1, 0, 0, 0]), Some(FrameError::Short));
        assert_eq!(decode(&[1, 0, 0, 0, 4]), Some(FrameError::Flag(4)));
        assert_eq!(decode(&[1, 0, 0, 0, 3, 1, 0, 0]), Some(FrameError::Credit(3)));
        assert_eq!(Frame::decode(vec![0; MESSAGE_BYTES_MAX + 1].into()), Err(FrameError::Long));
        let longest = Frame::Data(vec![7; PAYLOAD_BYTES_MAX].into());
        assert_eq!(Frame::decode(longest.encode(1)), Ok((1, longest)));
    }
}
