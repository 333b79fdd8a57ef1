//! The captured and computed frames of `tests/data/asic-vectors.json`.

use serde_json::Value;

/// All vectors of which family and kind fit.
pub(super) fn vectors(fits: impl Fn(&str, &str) -> bool) -> Vec<Value> {
    let text = include_str!("../../../tests/data/asic-vectors.json");
    let all: Value = serde_json::from_str(text).unwrap();
    let fits = |vector: &&Value| fits(vector["family"].as_str().unwrap(), vector["kind"].as_str().unwrap());
    let found: Vec<_> = all["vectors"].as_array().unwrap().iter().filter(fits).cloned().collect();
    assert!(!found.is_empty(), "there are such vectors");
    found
}

/// The vector whose name contains `name`.
pub(super) fn vector(name: &str) -> Value {
    let text = include_str!("../../../tests/data/asic-vectors.json");
    let all: Value = serde_json::from_str(text).unwrap();
    let found =
        all["vectors"].as_array().unwrap().iter().find(|v| v["name"].as_str().unwrap().contains(name));
    found.unwrap().clone()
}

/// A field's bytes.
pub(super) fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// A field that spells a big-endian number of up to 32 bits.
pub(super) fn number(value: &Value) -> u32 {
    u32::from_str_radix(value.as_str().unwrap(), 16).unwrap()
}
