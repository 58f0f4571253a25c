//! `GET /.jsfs/logs`: what a program has logged lately, for whoever holds its key.
//!
//! Invariants: a stranger hears the same of a program, of an object that is none and of nothing at all; nothing is kept for this but what the
//! programs' own bounded logs keep.

use hyper::{Response, StatusCode};
use jsfs_exec::{Level, Line};
use jsfs_objects::address::Address;
use jsfs_objects::{Manage, Refusal};
use percent_encoding::percent_decode_str;
use serde::Serialize;

use crate::body::Body;
use crate::front::Front;
use crate::metadata::json;
use crate::parameters::Parameter;
use crate::problem::{Kind, Problem};
use crate::request::Asked;
use crate::wire::rfc3339;

#[derive(Serialize)]
struct Document {
    lines: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    number: u64,
    time: String,
    level: &'static str,
    run: String,
    text: String,
}

impl From<Line> for Entry {
    fn from(line: Line) -> Self {
        let level = match line.level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        Self { number: line.number, time: rfc3339(line.time_ms), level, run: line.run, text: line.text }
    }
}

/// The lines of the program at `address`, after number `after`.
pub(crate) async fn answer(front: &Front, asked: &Asked<'_>) -> Result<Response<Body>, Problem> {
    let address = address(asked.query)?;
    let after = after(asked)?;
    match front.objects().authorize::<Manage>(&asked.credentials()?, &address).await {
        Ok(_) => {}
        Err(refusal @ (Refusal::Storage(_) | Refusal::Busy { .. } | Refusal::Unsettled { .. })) => {
            return Err(refusal.into());
        }
        // One answer for what is hidden and what is not there.
        Err(_) => {
            let detail = "there is no such log, or nothing that you may read; its program's key opens it";
            return Err(Problem::new(Kind::NotFound, detail));
        }
    }
    let lines = front.exec().map(|exec| exec.logs().after(address.as_str(), after)).unwrap_or_default();
    json(StatusCode::OK, &Document { lines: lines.into_iter().map(Entry::from).collect() })
}

fn address(query: Option<&str>) -> Result<Address, Problem> {
    let pairs = query.unwrap_or_default().split('&');
    let text = pairs
        .filter_map(|pair| pair.split_once('='))
        .find_map(|(name, value)| (name == "address").then_some(value));
    let missing =
        "the parameter address is missing; send the address of a program, such as /localhost/api.js";
    let text = text.ok_or_else(|| Problem::malformed(missing))?;
    let text = percent_decode_str(text).decode_utf8();
    let text =
        text.map_err(|_| Problem::malformed("the parameter address is not UTF-8; percent-encode it"))?;
    Ok(Address::parse(&text)?)
}

/// The number of the last line that the caller has.
fn after(asked: &Asked<'_>) -> Result<u64, Problem> {
    let Some(text) = asked.parameters.get(Parameter::After) else { return Ok(0) };
    text.parse()
        .map_err(|_| Problem::malformed("after is the number of a line; send that of the last one you have"))
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn the_address_is_read_from_the_query() {
        let read = |query| address(Some(query)).map(|address| address.as_str().to_owned()).ok();
        assert_eq!(read("after=1&address=%2Flocalhost%2Fa%20b.js").as_deref(), Some("/localhost/a b.js"));
        for bad in ["", "address", "address=%FF", "address=nonsense"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
