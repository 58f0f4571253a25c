//! What JSFS 4 told of sounds: read from the beginning of a RIFF file, by the crate `hound`. What it cannot read is `unknown`, and only bytes.

use std::io::Cursor;

use hyper::HeaderMap;
use hyper::header::HeaderValue;
use jsfs_objects::{Object, ReadError};
use serde::Serialize;

/// As much as is looked at: heads are at the front, before the samples.
const BEGINNING_BYTES: usize = 64 << 10;
const HEAD_BYTES: usize = 12;

/// A sound, or anything else.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Sound {
    media_type: &'static str,
    #[serde(flatten)]
    wave: Option<Wave>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Wave {
    media_size: u32,
    media_channels: u16,
    /// Samples a second; JSFS 4 called it so.
    media_bitrate: u32,
    media_resolution: u16,
    media_duration: f64,
}

/// Keeps the next bytes of a body that begins as a sound does, as far as they are looked at.
pub(super) fn keep_beginning(beginning: &mut Vec<u8>, bytes: &[u8]) {
    let room = BEGINNING_BYTES - beginning.len();
    beginning.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

impl Sound {
    /// What the first bytes of something tell, which has so many in all.
    pub(super) fn of_beginning(bytes: &[u8], size: u64) -> Sound {
        let wave = wave_of(bytes).filter(|wave| u64::from(wave.media_size) <= size);
        Sound { media_type: if wave.is_some() { "wave" } else { "unknown" }, wave }
    }

    /// The same of an object.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) async fn of_object(object: &Object) -> Result<Sound, ReadError> {
        let size = object.metadata.size;
        let mut beginning = Vec::new();
        let mut body = object.body(0..size.min(BEGINNING_BYTES as u64));
        while let Some(bytes) = body.next().await {
            keep_beginning(&mut beginning, &bytes?);
            if beginning.len() >= HEAD_BYTES && !is_riff(&beginning) {
                break;
            }
        }
        Ok(Sound::of_beginning(&beginning, size))
    }

    /// As headers.
    pub(super) fn describe(&self, headers: &mut HeaderMap) {
        headers.insert("x-media-type", HeaderValue::from_static(self.media_type));
        let Some(wave) = &self.wave else { return };
        for (name, value) in [
            ("x-media-size", wave.media_size.to_string()),
            ("x-media-channels", wave.media_channels.to_string()),
            ("x-media-bitrate", wave.media_bitrate.to_string()),
            ("x-media-resolution", wave.media_resolution.to_string()),
            ("x-media-duration", wave.media_duration.to_string()),
        ] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
    }
}

fn is_riff(bytes: &[u8]) -> bool {
    bytes.len() >= HEAD_BYTES && bytes.starts_with(b"RIFF") && &bytes[8..HEAD_BYTES] == b"WAVE"
}

fn wave_of(bytes: &[u8]) -> Option<Wave> {
    if !is_riff(bytes) {
        return None;
    }
    let media_size = u32::from_le_bytes(bytes[4..8].try_into().ok()?);
    let reader = hound::WavReader::new(Cursor::new(bytes)).ok()?;
    let spec = reader.spec();
    if spec.sample_rate == 0 {
        return None;
    }
    Some(Wave {
        media_size,
        media_channels: spec.channels,
        media_bitrate: spec.sample_rate,
        media_resolution: spec.bits_per_sample,
        media_duration: f64::from(reader.duration()) / f64::from(spec.sample_rate),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A sound of so many frames of silence.
    fn wave(channels: u16, bits: u16, frames: u32) -> Vec<u8> {
        let data = frames * u32::from(channels) * u32::from(bits / 8);
        let mut file = b"RIFF".to_vec();
        file.extend((36 + data).to_le_bytes());
        file.extend(b"WAVEfmt ");
        file.extend(16_u32.to_le_bytes());
        file.extend(1_u16.to_le_bytes());
        file.extend(channels.to_le_bytes());
        file.extend(44_100_u32.to_le_bytes());
        file.extend((44_100 * u32::from(channels) * u32::from(bits / 8)).to_le_bytes());
        file.extend((channels * bits / 8).to_le_bytes());
        file.extend(bits.to_le_bytes());
        file.extend(b"data");
        file.extend(data.to_le_bytes());
        file.resize(file.len() + data as usize, 0);
        file
    }

    #[test]
    fn the_head_of_a_sound_is_told() {
        for (channels, bits) in [(2, 16), (1, 16), (2, 24), (1, 8)] {
            let file = wave(channels, bits, 44_100);
            let sound = Sound::of_beginning(&file[..BEGINNING_BYTES.min(file.len())], file.len() as u64);
            let wave = sound.wave.unwrap();
            assert_eq!((wave.media_channels, wave.media_resolution), (channels, bits));
            assert!((wave.media_duration - 1.0).abs() < 1e-9, "{}", wave.media_duration);
        }
    }

    #[test]
    fn what_lies_or_is_cut_is_only_bytes() {
        let whole = wave(2, 16, 10);
        let size = whole.len() as u64;
        for cut in 0..44 {
            assert_eq!(Sound::of_beginning(&whole[..cut], size).media_type, "unknown", "cut at {cut}");
        }
        // Every byte of the head, wrong in many ways: no panic.
        for at in 0..44 {
            for value in [0, 1, 0x7f, 0xff] {
                let mut file = whole.clone();
                file[at] = value;
                let _ = Sound::of_beginning(&file, size);
            }
        }
        assert_eq!(Sound::of_beginning(b"RIFFxxxxWAVE", 12).media_type, "unknown");
    }
}
