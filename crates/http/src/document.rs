//! JSON documents in requests: read whole, within bounds, field by field.
//!
//! Invariant: a field that is not known is a 400, so that a misspelt one never passes for done.

use hyper::HeaderMap;
use hyper::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use crate::body::Arriving;
use crate::problem::{Kind, Problem};

/// A JSON object, field by field.
pub(crate) struct Document {
    fields: Map<String, Value>,
}

impl Document {
    /// Reads the body of a request. No body is an empty document.
    ///
    /// # Errors
    /// 400 where it is not a JSON object, 413 where it is too long, 415 where it claims to be something else.
    pub(crate) async fn read(headers: &HeaderMap, body: Arriving, bytes_max: usize) -> Result<Self, Problem> {
        check_type(headers)?;
        let text = body.at_most(bytes_max as u64).collect().await?;
        if text.is_empty() {
            return Ok(Self { fields: Map::new() });
        }
        match serde_json::from_slice(&text) {
            Ok(Value::Object(fields)) => Ok(Self { fields }),
            Ok(_) => Err(Problem::malformed("the body is JSON but not an object; send {…}")),
            Err(error) => Err(Problem::malformed(format!("the body is not JSON: {error}"))),
        }
    }

    /// A JSON object that came otherwise than as a body.
    pub(crate) fn of(fields: Map<String, Value>) -> Self {
        Self { fields }
    }

    /// Takes a field out. `null` is a value.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.fields.remove(name)
    }

    /// Takes a text.
    pub(crate) fn text(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(name, "a text")),
        }
    }

    /// Takes a boolean.
    pub(crate) fn boolean(&mut self, name: &'static str) -> Result<Option<bool>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(_) => Err(wrong(name, "true or false")),
        }
    }

    /// Takes a field that `null` sets back: nothing where it is absent.
    pub(crate) fn optional<T>(
        &mut self,
        name: &'static str,
        kind: &'static str,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Result<Option<Option<T>>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(None)),
            Some(value) => read(value).map(|value| Some(Some(value))).ok_or_else(|| wrong(name, kind)),
        }
    }

    /// Refuses what nobody has taken.
    ///
    /// # Errors
    /// 400 naming the first field left.
    pub(crate) fn finish(self, known: &'static str) -> Result<(), Problem> {
        match self.fields.keys().next() {
            None => Ok(()),
            Some(name) => {
                let name: String = name.chars().take(64).collect();
                Err(Problem::malformed(format!("the field {name:?} is not known here; known are {known}")))
            }
        }
    }
}

/// The complaint about a field of the wrong kind.
pub(crate) fn wrong(name: &str, kind: &str) -> Problem {
    Problem::malformed(format!("the field {name} must be {kind}"))
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let known = ["application/json", "application/merge-patch+json"];
    if known.iter().any(|known| essence.eq_ignore_ascii_case(known)) {
        return Ok(());
    }
    let detail = "this resource reads JSON only; send content-type: application/json";
    Err(Problem::new(Kind::UnsupportedType, detail))
}
