//! Pools that follow a script instead of the protocol.

use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::sleep;

/// One step of a script.
#[derive(Clone, Debug)]
pub enum Step {
    /// Reads until a request with this method comes.
    Await(&'static str),
    /// Answers the request that was awaited last: `{"id":…` and this, up to the closing brace.
    Answer(String),
    /// Sends bytes as they are.
    Send(Vec<u8>),
    /// Sends bytes one at a time.
    SendBytewise(Vec<u8>),
    /// Does nothing for a while.
    Pause(Duration),
    /// Closes the connection.
    Close,
    /// Breaks the connection with a reset.
    Reset,
}

impl Step {
    /// Sends a line.
    pub fn line(text: impl Into<String>) -> Self {
        Self::Send((text.into() + "\n").into_bytes())
    }

    /// Answers with this result, in JSON, and no error.
    pub fn result(json: &str) -> Self {
        Self::Answer(format!("\"result\":{json},\"error\":null"))
    }

    /// Answers with this error, in JSON.
    pub fn error(json: &str) -> Self {
        Self::Answer(format!("\"result\":null,\"error\":{json}"))
    }
}

/// A handshake that goes well: rolling granted, extranonce1 `08000002` and 4 bytes of extranonce2, authorised.
pub fn welcome() -> Vec<Step> {
    let subscribed = r#"[[["mining.set_difficulty","s1"],["mining.notify","s1"]],"08000002",4]"#;
    vec![
        Step::Await("mining.configure"),
        Step::result(r#"{"version-rolling":true,"version-rolling.mask":"1fffe000"}"#),
        Step::Await("mining.subscribe"),
        Step::result(subscribed),
        Step::Await("mining.authorize"),
        Step::result("true"),
    ]
}

/// `mining.notify` of a job like mainnet's, in JSON.
pub fn notify(job_id: &str, clean: bool) -> String {
    let prev = "4d16b6f85af6e2198f44ae2a6de67f78487ae5611b77c6c0440b921e00000000";
    let head = "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff20\
                020862062f503253482f04b8864e5008";
    let tail = "072f736c7573682f000000000100f2052a010000001976a914d23fcdf86f7e756a64a7a9688ef9903327048ed988ac\
                00000000";
    let params = serde_json::json!([job_id, prev, head, tail, [], "20000000", "1c2ac4af", "504e86b9", clean]);
    serde_json::json!({ "id": null, "method": "mining.notify", "params": params }).to_string()
}

/// Plays a script to its end, then listens until the peer goes. `heard` gets each line of the peer.
pub(crate) async fn play(stream: TcpStream, script: Vec<Step>, heard: impl Fn(&[u8])) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut peer = BufReader::new(stream);
    let mut id = Value::Null;
    for step in script {
        match step {
            Step::Await(method) => id = hear(&mut peer, method, &heard).await?,
            Step::Answer(rest) => peer.write_all(format!("{{\"id\":{id},{rest}}}\n").as_bytes()).await?,
            Step::Send(bytes) => peer.write_all(&bytes).await?,
            Step::SendBytewise(bytes) => {
                for byte in bytes {
                    peer.write_all(&[byte]).await?;
                }
            }
            Step::Pause(time) => sleep(time).await,
            Step::Close => return Ok(()),
            Step::Reset => return peer.get_ref().set_zero_linger(),
        }
    }
    let mut line = Vec::new();
    while read_line(&mut peer, &mut line).await? {
        heard(&line);
    }
    Ok(())
}

/// Reads until a request with this method comes, and returns its id.
async fn hear(peer: &mut BufReader<TcpStream>, method: &str, heard: &impl Fn(&[u8])) -> io::Result<Value> {
    let mut line = Vec::new();
    while read_line(peer, &mut line).await? {
        heard(&line);
        let Ok(message) = serde_json::from_slice::<Value>(&line) else { continue };
        if message["method"] == method {
            return Ok(message["id"].clone());
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

async fn read_line(peer: &mut BufReader<TcpStream>, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    Ok(peer.take(1 << 20).read_until(b'\n', line).await? > 0)
}
