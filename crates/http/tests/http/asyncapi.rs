//! `docs/asyncapi.json` against the server: whatever the tests of sockets send and get is checked against its schemas, and every method with every
//! parameter is tried.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use crate::node::Node;
use crate::socket::Socket;
use jsfs_http::live::call::METHODS;
use serde_json::{Value, json};

/// The description.
fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| serde_json::from_str(include_str!("../../../../docs/asyncapi.json")).unwrap())
}

/// Checks a message against the one of that name.
pub fn check(message: &str, value: &Value) {
    valid(&format!("#/components/messages/{message}/payload"), value);
}

/// Checks a value against the schema of that name.
pub fn check_schema(schema: &str, value: &Value) {
    valid(&format!("#/components/schemas/{schema}"), value);
}

fn valid(reference: &str, value: &Value) {
    let schema = document().pointer(reference.strip_prefix('#').unwrap()).unwrap();
    if let Err(reason) = fits(schema, value) {
        panic!("{reference}: {reason}: {value}");
    }
}

/// The words of JSON Schema that the description uses for shapes; bounds and patterns are for readers.
fn fits(schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        return fits(document().pointer(reference.strip_prefix('#').unwrap()).unwrap(), value);
    }
    let is = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        other => panic!("the type {other} is not known here"),
    };
    if let Some(kind) = schema["type"].as_str()
        && !is(kind)
    {
        return Err(format!("{value} is no {kind}"));
    }
    if let Some(values) = schema["enum"].as_array()
        && !values.contains(value)
    {
        return Err(format!("{value} is none of {values:?}"));
    }
    if !schema["const"].is_null() && schema["const"] != *value {
        return Err(format!("{value} is not {}", schema["const"]));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.get(name.as_str().unwrap()).is_none() {
            return Err(format!("{name} is missing"));
        }
    }
    for (name, field) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(name) {
            Some(property) => fits(property, field).map_err(|reason| format!("{name}: {reason}"))?,
            None if schema["additionalProperties"] == false => {
                return Err(format!("{name} is not described"));
            }
            None => {}
        }
    }
    for item in value.as_array().into_iter().flatten() {
        fits(&schema["items"], item)?;
    }
    for (word, most) in [("anyOf", usize::MAX), ("oneOf", 1)] {
        let Some(choices) = schema[word].as_array() else { continue };
        let fitting = choices.iter().filter(|choice| fits(choice, value).is_ok()).count();
        if fitting == 0 || fitting > most {
            return Err(format!("{fitting} of {word} fit {value}"));
        }
    }
    Ok(())
}

#[test]
fn the_methods_of_the_description_are_those_of_the_server() {
    let messages = document()["components"]["messages"].as_object().unwrap();
    let described: BTreeSet<_> = messages.keys().filter_map(|name| name.strip_prefix("call.")).collect();
    assert_eq!(described, METHODS.into_iter().collect());
    let answered: BTreeSet<_> = messages.keys().filter_map(|name| name.strip_prefix("result.")).collect();
    assert_eq!(answered, described);
}

#[test]
fn every_reference_of_the_description_leads_somewhere() {
    fn look(value: &Value) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document().pointer(pointer).is_some(), "{reference}");
                }
                fields.values().for_each(look);
            }
            Value::Array(items) => items.iter().for_each(look),
            _ => {}
        }
    }
    look(document());
    assert_eq!(document()["asyncapi"], "3.0.0");
}

/// A value for a parameter of that name.
fn sample(name: &str, key: &str) -> Value {
    match name {
        "path" => json!("t/"),
        "destination" => json!("t/copy"),
        "access_key" => json!(key),
        "version" | "limit" => json!(1),
        "stream" => json!(1),
        "text" | "after" => json!("x"),
        "base64" => json!("eA=="),
        "range" => json!("0-1"),
        "since" => json!("0"),
        "content_type" => json!("text/plain"),
        "watch" => json!("w1"),
        "properties" => json!({}),
        "args" => json!(["x"]),
        "if_match" | "if_none_match" => json!("*"),
        "private" | "executable" | "inline" | "recursive" | "purge" | "overwrite" => json!(false),
        "replacement_access_key" | "access_token" => json!("x"),
        other => panic!("no sample for {other}"),
    }
}

#[test]
fn every_parameter_of_the_description_is_known_to_the_server_and_no_other_is() {
    let node = Node::start();
    let mut socket = Socket::open(&node, "/");
    for method in METHODS {
        let params = &document()["components"]["messages"][format!("call.{method}")]["payload"]["properties"]
            ["params"];
        let properties = params["properties"].as_object().unwrap();
        let required: Vec<_> =
            params["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        for name in properties.keys().map(String::as_str).chain(["x"]) {
            // Bodies go one at a time, and the others need one.
            let body = ["text", "base64", "stream"];
            let mut call = json!({});
            for needed in &required {
                call[*needed] = sample(needed, &node.key);
            }
            if properties.contains_key("base64") && !body.contains(&name) {
                call["text"] = json!("x");
            }
            if method == "authenticate" {
                call["access_key"] = json!(node.key);
            }
            call[name] = if name == "x" { json!(1) } else { sample(name, &node.key) };
            let id = socket.begin(method, call.clone());
            if name == "stream" {
                socket.send_frame(1, &jsfs_http::live::frame::Frame::End(Default::default()));
                socket = Socket::open(&node, "/");
                continue;
            }
            let answer = socket.answer(id);
            let is_unknown = answer["error"]["code"] == -32_602;
            assert_eq!(is_unknown, name == "x", "{method} {call}: {answer}");
            if is_unknown {
                let known = answer["error"]["data"]["detail"].as_str().unwrap();
                let all = properties.keys().all(|property| known.contains(property.as_str()));
                assert!(all, "{method}: the error names what is known: {known}");
            }
        }
    }
}
