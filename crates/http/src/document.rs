//! JSON documents in requests: read whole, within bounds, field by field.
//!
//! Invariants: a field that is not known is a 400, so that a misspelt one never passes for done; so is a field that is given twice,
//! because two readers of such a document can take it to say different things (RFC 8259 §4).

use hyper::HeaderMap;
use hyper::header::CONTENT_TYPE;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

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
        match parse(&text) {
            Ok(Value::Object(fields)) => Ok(Self { fields }),
            Ok(_) => Err(Problem::malformed("the body is JSON but not an object; send {…}")),
            Err(error) if error.is_data() => Err(Problem::malformed(error.to_string())),
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

/// Any JSON, in which no object names a field twice.
///
/// # Errors
/// Says where it is none; [`serde_json::Error::is_data`] where a field is named twice.
pub(crate) fn parse(text: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice(text).map(|Strict(value)| value)
}

/// A value read by [`parse`].
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut input: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = input.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = input.next_key::<String>()? {
            if fields.contains_key(&name) {
                let name: String = name.chars().take(64).collect();
                return Err(A::Error::custom(format_args!(
                    "the field {name:?} is given twice; send it once"
                )));
            }
            let Strict(value) = input.next_value()?;
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
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

#[cfg(test)]
mod tests {
    use super::parse;
    use serde_json::Value;

    #[test]
    fn json_is_read_as_ever_but_for_fields_that_are_given_twice() {
        for text in [
            "null",
            "true",
            "-7",
            "18446744073709551615",
            "1.5e3",
            r#""\u00fc\n""#,
            "[]",
            r#"{"a":{"a":[{"a":1},{"a":2}]},"b":"a"}"#,
            r#"  {"": null}  "#,
        ] {
            assert_eq!(parse(text.as_bytes()).ok(), serde_json::from_str::<Value>(text).ok(), "{text}");
        }
        for text in [r#"{"a":1,"a":1}"#, r#"[{"b":{"a":1,"c":2,"a":3}}]"#, r#"{"a":1,"\u0061":2}"#] {
            let error = parse(text.as_bytes()).expect_err(text);
            assert!(error.is_data() && error.to_string().contains("\"a\" is given twice"), "{error}");
        }
        for text in ["", "{", "{}x", "[1,]", "nul", &"[".repeat(5_000)] {
            assert!(!parse(text.as_bytes()).expect_err(text).is_data());
        }
    }
}
