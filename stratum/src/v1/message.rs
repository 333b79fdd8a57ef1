//! One line of JSON into one message.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

/// Most values that a line may hold: bounds the memory that a parsed line takes to a small multiple of its length.
const MAX_VALUES: usize = 4_096;

/// What a pool may send.
#[derive(Debug, PartialEq)]
pub(crate) enum Message {
    /// A notification (id null) or a request.
    Call { id: Value, method: String, params: Vec<Value> },
    /// An answer.
    Reply(Reply),
}

/// An answer of whatever shape.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Reply {
    /// The request's id; `None` where it cannot be one of ours.
    pub(crate) id: Option<u64>,
    pub(crate) result: Value,
    pub(crate) error: Value,
    /// ckpool's place for the reason.
    pub(crate) reject_reason: Option<String>,
}

/// Why a line is no message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MessageError {
    #[error("not JSON that could be a message: {0}")]
    Json(#[from] serde_json::Error),
    #[error("not a JSON object")]
    NotAnObject,
    #[error("more than {MAX_VALUES} values in a line")]
    TooManyValues,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(default)]
    id: Value,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(default)]
    params: Value,
    #[serde(default)]
    result: Value,
    #[serde(default)]
    error: Value,
    #[serde(default, rename = "reject-reason")]
    reject_reason: Value,
}

impl Message {
    /// Reads a line. The JSON parser refuses nesting deeper than 128 and numbers that no `f64` holds.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, MessageError> {
        if line.len() > MAX_VALUES && line.iter().filter(|&&byte| byte == b',').count() >= MAX_VALUES {
            return Err(MessageError::TooManyValues);
        }
        // Serde would take an array for the struct below.
        if line.trim_ascii_start().first() != Some(&b'{') {
            return Err(MessageError::NotAnObject);
        }
        let line: Line<'_> = serde_json::from_slice(line)?;
        if let Some(method) = line.method {
            let params = if let Value::Array(params) = line.params { params } else { Vec::new() };
            return Ok(Self::Call { id: line.id, method: method.into_owned(), params });
        }
        let reject_reason = line.reject_reason.as_str().map(str::to_owned);
        Ok(Self::Reply(Reply { id: line.id.as_u64(), result: line.result, error: line.error, reject_reason }))
    }
}

impl Reply {
    /// The error's code and words; `None` when there is no error. The words are the pool's own.
    pub(crate) fn failure(&self) -> Option<(Option<i64>, Cow<'_, str>)> {
        fn words(value: Option<&Value>) -> Cow<'_, str> {
            match value {
                Some(Value::String(text)) => Cow::Borrowed(text),
                None | Some(Value::Null) => Cow::Borrowed(""),
                Some(other) => Cow::Owned(other.to_string()),
            }
        }
        match (&self.error, &self.reject_reason) {
            (Value::Null, None) => None,
            (Value::Null, Some(reason)) => Some((None, Cow::Borrowed(reason))),
            (Value::Array(parts), _) => Some((parts.first().and_then(Value::as_i64), words(parts.get(1)))),
            (Value::Object(parts), _) => {
                Some((parts.get("code").and_then(Value::as_i64), words(parts.get("message"))))
            }
            (Value::Number(code), _) => Some((code.as_i64(), Cow::Borrowed(""))),
            (other, _) => Some((None, words(Some(other)))),
        }
    }

    /// Whether this is a plain yes: no error, and the result `true`.
    pub(crate) fn is_yes(&self) -> bool {
        self.failure().is_none() && self.result == Value::Bool(true)
    }

    /// The words of a refusal, for a person: safe to show and never empty.
    pub(crate) fn reason(&self) -> String {
        match self.failure() {
            Some((Some(code), text)) if text.is_empty() => format!("error {code}"),
            Some((_, text)) if !text.is_empty() => crate::text::printable(&text, super::TEXT_LIMIT),
            _ => "no reason given".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reply(line: &str) -> Reply {
        match Message::parse(line.as_bytes()).unwrap() {
            Message::Reply(reply) => reply,
            call => panic!("{call:?}"),
        }
    }

    #[test]
    fn every_error_shape_gives_code_and_words() {
        let table = [
            (
                r#"{"id":7,"result":null,"error":[21,"Job not found",null]}"#,
                Some((Some(21), "Job not found")),
            ),
            (r#"{"id":7,"result":null,"error":[23,"low"]}"#, Some((Some(23), "low"))),
            (
                r#"{"id":7,"result":false,"error":"Invalid version mask"}"#,
                Some((None, "Invalid version mask")),
            ),
            (r#"{"id":7,"error":{"code":-32601,"message":"no"}}"#, Some((Some(-32601), "no"))),
            (r#"{"result":false,"error":null,"id":7,"reject-reason":"Stale"}"#, Some((None, "Stale"))),
            (r#"{"id":7,"error":[]}"#, Some((None, ""))),
            (r#"{"id":7,"error":20}"#, Some((Some(20), ""))),
            (r#"{"id":7,"error":[{"a":1},["b"]]}"#, Some((None, "[\"b\"]"))),
            (r#"{"id":7,"result":true}"#, None),
            (r#"{"id":7,"result":false,"error":null}"#, None),
        ];
        for (line, expected) in table {
            let reply = reply(line);
            let failure = reply.failure();
            assert_eq!(failure.as_ref().map(|(code, text)| (*code, text.as_ref())), expected, "{line}");
            assert_eq!(reply.is_yes(), line.contains("true"), "{line}");
            assert_eq!(reply.id, Some(7));
            assert!(!reply.reason().is_empty());
        }
    }

    #[test]
    fn strange_ids_belong_to_no_request() {
        for id in ["null", "\"4\"", "-1", "1.5", "1e30", "18446744073709551616", "[1]", "{}", "true"] {
            assert_eq!(reply(&format!(r#"{{"id":{id},"result":true}}"#)).id, None, "{id}");
        }
    }

    #[test]
    fn a_call_has_a_method_and_maybe_params() {
        let table = [
            (r#"{"method":"m"}"#, Value::Null, json!([])),
            (r#"{"id":null,"method":"m","params":null}"#, Value::Null, json!([])),
            (r#"{"id":"x","method":"m","params":[1,"2"],"jsonrpc":"2.0"}"#, json!("x"), json!([1, "2"])),
            (r#"{"id":1,"method":"m","params":{"a":1}}"#, json!(1), json!([])),
        ];
        for (line, id, params) in table {
            let expected = Message::Call {
                id,
                method: "m".into(),
                params: params.as_array().cloned().unwrap_or_default(),
            };
            assert_eq!(Message::parse(line.as_bytes()).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn what_is_not_a_message_is_refused() {
        let deep = "[".repeat(100_000);
        let wide = format!(r#"{{"id":1,"result":[{}0]}}"#, "0,".repeat(8_000));
        let table: [&[u8]; 10] = [
            b"",
            b"[]",
            b"hello",
            b"[1,2]",
            b"{\"id\":1",
            b"{\"method\":5}",
            b"{\"method\":\"\xff\xfe\"}",
            br#"{"method":"\ud800"}"#,
            deep.as_bytes(),
            wide.as_bytes(),
        ];
        for line in table {
            assert!(
                Message::parse(line).is_err(),
                "{}",
                String::from_utf8_lossy(&line[..line.len().min(40)])
            );
        }
        assert!(Message::parse(br#"{"method":"mining.set_difficulty","params":[1e400]}"#).is_err());
    }
}
