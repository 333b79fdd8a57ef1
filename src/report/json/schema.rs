//! Checks a line against `docs/json-lines.schema.json`: as much of JSON Schema as that file uses, and no more.

use std::sync::LazyLock;

use serde_json::Value;

static SCHEMA: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../docs/json-lines.schema.json")).unwrap());

/// Why `value` is not what the schema documents; the first reason found.
pub(super) fn check(value: &Value) -> Result<(), String> {
    check_by(&SCHEMA, value)
}

/// The same by another schema.
pub(crate) fn check_by(schema: &Value, value: &Value) -> Result<(), String> {
    meets(schema, schema, value, "")
}

/// The names of all fields that the schema knows.
pub(super) fn fields() -> Vec<String> {
    let mut names = Vec::new();
    let mut places = vec![&*SCHEMA];
    while let Some(place) = places.pop() {
        for (keyword, value) in place.as_object().into_iter().flatten() {
            if keyword == "properties" {
                names.extend(value.as_object().unwrap().keys().cloned());
            }
            places.push(value);
        }
    }
    names
}

fn meets(root: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    for (keyword, rule) in schema.as_object().unwrap() {
        let met = match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "additionalProperties" => true,
            "$ref" => {
                let target = root.pointer(rule.as_str().unwrap().trim_start_matches('#')).unwrap();
                return meets(root, target, value, place);
            }
            "const" => value == rule,
            "enum" => rule.as_array().unwrap().contains(value),
            "type" => match rule {
                Value::Array(types) => types.iter().any(|name| is_a(name, value)),
                name => is_a(name, value),
            },
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
            "pattern" => value.as_str().is_none_or(|text| matches(rule.as_str().unwrap(), text)),
            "required" => value.as_object().is_none_or(|object| {
                rule.as_array().unwrap().iter().all(|key| object.contains_key(key.as_str().unwrap()))
            }),
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    meets(root, rule, item, &format!("{place}/{i}"))?;
                }
                true
            }
            "properties" => {
                assert_eq!(schema["additionalProperties"], false, "every object is closed");
                for (key, item) in value.as_object().into_iter().flatten() {
                    let rule = rule.get(key).ok_or_else(|| format!("{place}/{key} is not documented"))?;
                    meets(root, rule, item, &format!("{place}/{key}"))?;
                }
                true
            }
            "oneOf" => {
                let results: Vec<_> =
                    rule.as_array().unwrap().iter().map(|rule| meets(root, rule, value, place)).collect();
                results.iter().filter(|result| result.is_ok()).count() == 1
            }
            other => panic!("the schema uses {other}, which is not checked here"),
        };
        if !met {
            return Err(format!("{place} breaks {keyword}: {value}"));
        }
    }
    Ok(())
}

fn is_a(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64() || value.as_f64().is_some_and(|x| x.fract() == 0.0),
        other => panic!("unknown type {other}"),
    }
}

/// The patterns that the schema uses, by what they mean.
fn matches(pattern: &str, text: &str) -> bool {
    let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match pattern {
        "^[0-9a-f]{8}$" => text.len() == 8 && hex(text),
        "^[0-9a-f]{64}$" => text.len() == 64 && hex(text),
        "^[0-9a-f]{160}$" => text.len() == 160 && hex(text),
        "^([0-9a-f]{2}){0,16}$" => text.len() <= 32 && text.len().is_multiple_of(2) && hex(text),
        "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z$" => {
            text.len() == 24 && text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok()
        }
        other => panic!("unknown pattern {other}"),
    }
}
