//! JSON values against the schemas of a description: as much of JSON Schema as ours use.

use serde_json::Value;

pub fn resolve<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).expect(reference),
        None => value,
    }
}

/// What of a JSON value a schema does not say, or says otherwise. Objects, arrays, alternatives and constants: as much as ours use.
pub fn complaint(document: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    let schema = resolve(document, schema);
    if let Some(alternatives) = schema["oneOf"].as_array() {
        let complaints: Vec<_> = alternatives.iter().map(|one| complaint(document, one, value, at)).collect();
        return complaints.iter().all(Option::is_some).then(|| format!("{complaints:?}"));
    }
    if !schema["const"].is_null() && schema["const"] != *value {
        return Some(format!("{at} is {value}"));
    }
    if let Some(values) = schema["enum"].as_array() {
        return (!values.contains(value)).then(|| format!("{at} is {value}"));
    }
    if !has_type(&schema["type"], value) {
        return Some(format!("{at} is {value}, not {}", schema["type"]));
    }
    if let (Value::Array(items), false) = (value, schema["items"].is_null()) {
        return items.iter().find_map(|item| complaint(document, &schema["items"], item, &format!("{at}[]")));
    }
    let (Value::Object(fields), Some(properties)) = (value, schema["properties"].as_object()) else {
        return None;
    };
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if let Some(missing) = required.into_iter().find(|name| !fields.contains_key(*name)) {
        return Some(format!("{at}.{missing} is missing"));
    }
    fields.iter().find_map(|(name, field)| match properties.get(name) {
        Some(schema) => complaint(document, schema, field, &format!("{at}.{name}")),
        None => Some(format!("{at}.{name} is not documented")),
    })
}

fn has_type(kind: &Value, value: &Value) -> bool {
    match kind {
        Value::Array(kinds) => kinds.iter().any(|kind| has_type(kind, value)),
        Value::String(kind) => match kind.as_str() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_u64(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            other => panic!("the type {other} is not used here"),
        },
        _ => true,
    }
}
