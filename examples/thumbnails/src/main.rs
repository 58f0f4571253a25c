//! Makes a thumbnail: the image comes in at standard input, a PNG goes out at standard output, `?width=` says how wide.
//!
//! It knows nothing of JSFS: it is a CGI program, as it could run behind any web server that has the Common Gateway Interface (RFC 3875).

use image::{ImageFormat, ImageReader, Limits};
use std::io::{self, Cursor, Read, Write};

/// Width where none is asked for.
const WIDTH: u32 = 128;
/// Largest width that can be asked for.
const WIDTH_MAX: u32 = 1_024;
/// Largest image that is decoded, bytes in memory.
const DECODED_MAX: u64 = 40 << 20;

fn main() -> io::Result<()> {
    let query = std::env::var("QUERY_STRING").unwrap_or_default();
    let mut source = Vec::new();
    io::stdin().read_to_end(&mut source)?;
    let mut output = io::stdout().lock();
    match width(&query).and_then(|width| thumbnail(source, width)) {
        Ok(png) => {
            write!(output, "Content-Type: image/png\r\n\r\n")?;
            output.write_all(&png)
        }
        Err(why) => write!(
            output,
            "Status: 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{why}\n"
        ),
    }
}

fn width(query: &str) -> Result<u32, String> {
    let Some(width) = query.split('&').find_map(|pair| pair.strip_prefix("width=")) else { return Ok(WIDTH) };
    match width.parse() {
        Ok(width @ 1..=WIDTH_MAX) => Ok(width),
        _ => Err(format!("width is a number from 1 to {WIDTH_MAX}")),
    }
}

fn thumbnail(source: Vec<u8>, width: u32) -> Result<Vec<u8>, String> {
    let unreadable =
        |error: image::ImageError| format!("send a PNG or JPEG image as the body of a POST: {error}");
    let mut reader =
        ImageReader::new(Cursor::new(source)).with_guessed_format().map_err(|error| error.to_string())?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODED_MAX);
    reader.limits(limits);
    let image = reader.decode().map_err(unreadable)?;
    let mut png = Cursor::new(Vec::new());
    let small = image.thumbnail(width, u32::MAX);
    small.write_to(&mut png, ImageFormat::Png).map_err(|error| error.to_string())?;
    Ok(png.into_inner())
}
