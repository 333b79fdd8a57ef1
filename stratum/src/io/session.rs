//! The loop that ties a byte stream to a protocol.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use miner_core::share::Share;
use miner_core::types::Difficulty;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::{PoolEvent, PoolProtocol, ProtocolError};

/// Nothing could be written for this long: the peer does not read.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes read at once.
const READ_SIZE: usize = 16 * 1024;
/// With more than this waiting to be written nothing is read: a peer that asks must also listen.
const MAX_UNWRITTEN: usize = 64 * 1024;

/// What the owner of a session may ask of it.
#[derive(Clone, Debug)]
pub enum Command {
    /// Send a share.
    Submit(Arc<Share>),
    /// Send a share that an earlier connection left unanswered.
    Resubmit(Arc<Share>),
    /// Ask for another share difficulty.
    SuggestDifficulty(Difficulty),
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionEnd {
    /// The protocol cannot go on.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The pool closed the connection.
    #[error("the pool closed the connection")]
    Closed,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    /// The pool reads nothing any more.
    #[error("nothing could be written for {} s", WRITE_TIMEOUT.as_secs())]
    WriteTimeout,
    /// The owner dropped its end of the channels.
    #[error("the session was let go")]
    Released,
}

/// Drives `protocol` over a connected `stream` until one of them ends.
///
/// Commands are taken only while [`PoolProtocol::can_submit`]; those not taken stay in the channel. Events are handed
/// over in order; while nobody takes them nothing is read. Dropping the future closes the connection and leaves
/// `protocol` in a consistent state.
pub async fn run_session<S>(
    stream: S,
    protocol: &mut dyn PoolProtocol,
    commands: &mut mpsc::Receiver<Command>,
    events: &mpsc::Sender<PoolEvent>,
) -> SessionEnd
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (reader, writer) = tokio::io::split(stream);
    let mut shell =
        Shell { reader, writer, input: BytesMut::new(), output: BytesMut::new(), unflushed: false };
    protocol.handle_connected(Instant::now().into_std());
    let end = match shell.run(protocol, commands, events).await {
        Ok(never) => match never {},
        Err(end) => end,
    };
    // What the protocol still has to tell, and to say: no peer is waited for.
    let _ = tokio::time::timeout(Duration::from_millis(100), shell.writer.shutdown()).await;
    let _ = hand_over(protocol, events).await;
    end
}

/// Hands over what the protocol has to tell. Cancel-safe: nothing leaves the protocol before there is room for it.
async fn hand_over(
    protocol: &mut dyn PoolProtocol,
    events: &mpsc::Sender<PoolEvent>,
) -> Result<(), mpsc::error::SendError<()>> {
    loop {
        let room = events.reserve().await?;
        match protocol.poll_event() {
            Some(event) => room.send(event),
            None => return Ok(()),
        }
    }
}

struct Shell<S> {
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    input: BytesMut,
    output: BytesMut,
    unflushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Shell<S> {
    async fn run(
        &mut self,
        protocol: &mut dyn PoolProtocol,
        commands: &mut mpsc::Receiver<Command>,
        events: &mpsc::Sender<PoolEvent>,
    ) -> Result<std::convert::Infallible, SessionEnd> {
        let mut written_at = Instant::now();
        loop {
            if self.output.is_empty() && !self.unflushed {
                written_at = Instant::now();
            }
            while let Some(bytes) = protocol.poll_transmit() {
                self.output.extend_from_slice(&bytes);
            }
            hand_over(protocol, events).await.map_err(|_| SessionEnd::Released)?;
            let writing = !self.output.is_empty() || self.unflushed;
            let write_deadline = writing.then(|| written_at + WRITE_TIMEOUT);
            let deadline = protocol.next_deadline().map(Instant::from_std).into_iter().chain(write_deadline);
            // Without any deadline the timer is of no use, but some instant must be named.
            let wake = deadline.min().unwrap_or_else(|| Instant::now() + WRITE_TIMEOUT);
            self.input.reserve(READ_SIZE);
            // Each of these may be dropped half-way without losing a byte.
            tokio::select! {
                read = self.reader.read_buf(&mut self.input), if self.output.len() < MAX_UNWRITTEN => {
                    if read? == 0 {
                        return Err(SessionEnd::Closed);
                    }
                    let input = self.input.split();
                    protocol.handle_bytes(Instant::now().into_std(), &input)?;
                }
                written = write_some(&mut self.writer, &self.output), if writing => {
                    let written = written?;
                    self.output.advance(written);
                    self.unflushed = written > 0;
                    written_at = Instant::now();
                }
                command = commands.recv(), if protocol.can_submit() => {
                    let command = command.ok_or(SessionEnd::Released)?;
                    obey(protocol, command);
                }
                () = tokio::time::sleep_until(wake) => {
                    if write_deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                        return Err(SessionEnd::WriteTimeout);
                    }
                    let now = Instant::now().into_std();
                    if protocol.next_deadline().is_some_and(|due| due <= now) {
                        protocol.handle_timeout(now)?;
                    }
                }
            }
        }
    }
}

/// Writes a part of `output`; when there is none left, flushes (TLS holds back records).
async fn write_some<W: AsyncWrite + Unpin>(writer: &mut W, output: &[u8]) -> std::io::Result<usize> {
    if output.is_empty() {
        writer.flush().await?;
        return Ok(0);
    }
    match writer.write(output).await? {
        0 => Err(std::io::ErrorKind::WriteZero.into()),
        written => Ok(written),
    }
}

fn obey(protocol: &mut dyn PoolProtocol, command: Command) {
    let now = Instant::now().into_std();
    match command {
        Command::Submit(share) => protocol.submit(now, &share),
        Command::Resubmit(share) => protocol.resubmit(now, &share),
        Command::SuggestDifficulty(difficulty) => protocol.suggest_difficulty(now, difficulty),
    }
}
