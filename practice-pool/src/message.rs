//! The lines of Stratum V1: JSON objects, one a line.

use serde_json::{Value, json};

use crate::verify::Assignment;

/// A line from a client.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A request or notification; a missing id is null.
    Request { id: Value, method: String, params: Vec<Value> },
    /// An answer to something; this pool asks nothing.
    Answer,
}

/// Reads a line, `None` when it isn't a message.
pub(crate) fn parse(line: &[u8]) -> Option<Incoming> {
    let Ok(Value::Object(mut object)) = serde_json::from_slice(line) else { return None };
    let id = object.remove("id").unwrap_or_default();
    match object.remove("method") {
        Some(Value::String(method)) => {
            let params = match object.remove("params") {
                Some(Value::Array(params)) => params,
                None | Some(Value::Null) => Vec::new(),
                Some(_) => return None,
            };
            Some(Incoming::Request { id, method, params })
        }
        None if object.contains_key("result") || object.contains_key("error") => Some(Incoming::Answer),
        _ => None,
    }
}

/// Writes the answer to a request that was granted.
pub(crate) fn reply(id: &Value, result: Value) -> Vec<u8> {
    line(&json!({ "id": id, "result": result, "error": null }))
}

/// Writes the answer to a request that was refused.
pub(crate) fn refusal(id: &Value, code: i32, text: &str) -> Vec<u8> {
    line(&json!({ "id": id, "result": null, "error": [code, text, null] }))
}

/// Writes a notification.
pub(crate) fn notification(method: &str, params: &Value) -> Vec<u8> {
    line(&json!({ "id": null, "method": method, "params": params }))
}

/// Writes `mining.notify`.
pub(crate) fn notify(id: &str, work: &Assignment, clean: bool) -> Vec<u8> {
    let job = &work.job;
    let branches: Vec<String> = job.branches.iter().map(hex::encode).collect();
    let params = json!([
        id,
        wire_prev(&job.prev),
        hex::encode(&work.coinb1),
        hex::encode(&work.coinb2),
        branches,
        word(job.version),
        word(job.nbits),
        word(job.ntime),
        clean,
    ]);
    notification("mining.notify", &params)
}

/// Writes a number as the wire has it: 8 hex digits, big-endian.
pub(crate) fn word(value: u32) -> String {
    format!("{value:08x}")
}

/// Reads exactly 8 hex digits.
pub(crate) fn parse_word(text: &str) -> Option<u32> {
    (text.len() == 8).then(|| parse_mask(text)).flatten()
}

/// Reads 1 to 8 hex digits.
pub(crate) fn parse_mask(text: &str) -> Option<u32> {
    let digits = (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

/// Swaps the bytes of each 4-byte word, as the wire has the previous hash.
fn wire_prev(prev: &[u8; 32]) -> String {
    prev.chunks_exact(4).flat_map(|word| word.iter().rev()).map(|byte| format!("{byte:02x}")).collect()
}

fn line(message: &Value) -> Vec<u8> {
    let mut text = message.to_string().into_bytes();
    text.push(b'\n');
    text
}
