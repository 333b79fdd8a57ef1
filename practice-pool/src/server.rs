//! The shell: sockets, clocks and the log around the [`Engine`].

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::config::{Config, ConfigError, Limits};
use crate::engine::Engine;
use crate::ledger::Ledger;
use crate::session::{Now, Outgoing};
use crate::stats::Stats;
use crate::target::TargetError;

/// How often the engine looks at its clock.
const TICK: Duration = Duration::from_millis(250);
/// Rest after the system refused to accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Most lines one request causes for its own client.
const LINES_PER_REQUEST: usize = 8;

/// A pool that has its address but doesn't serve yet.
#[derive(Debug)]
pub struct Pool {
    listener: TcpListener,
    local_addr: SocketAddr,
    shared: Arc<Shared>,
}

/// Watches and steers a pool, from any thread; clones steer the same pool.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// Why a pool could not be started.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// A setting is out of range.
    #[error("invalid pool setting: {0}")]
    Config(#[from] ConfigError),
    /// The address could not be listened on.
    #[error("cannot listen on {addr}: {source}")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The ledger could not be opened.
    #[error("cannot open ledger {}: {source}", path.display())]
    Ledger {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    ledger: Ledger,
    limits: Limits,
}

#[derive(Debug)]
struct State {
    engine: Engine,
    outlets: HashMap<u64, Outlet>,
}

/// The way to one client's writer.
#[derive(Debug)]
struct Outlet {
    lines: mpsc::Sender<Outgoing>,
    cut: watch::Sender<bool>,
}

impl Pool {
    /// Checks the settings, opens the ledger and listens.
    ///
    /// # Errors
    /// [`PoolError`] when any of these cannot be done.
    pub async fn bind(config: Config) -> Result<Self, PoolError> {
        config.validate()?;
        let addr = config.listen;
        let bind_error = |source| PoolError::Bind { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(bind_error)?;
        let local_addr = listener.local_addr().map_err(bind_error)?;
        let ledger = match &config.ledger {
            None => Ledger::default(),
            Some(path) => {
                Ledger::open(path).map_err(|source| PoolError::Ledger { path: path.clone(), source })?
            }
        };
        let limits = config.limits.clone();
        let state = State { engine: Engine::new(config, now()), outlets: HashMap::new() };
        Ok(Self {
            listener,
            local_addr,
            shared: Arc::new(Shared { state: Mutex::new(state), ledger, limits }),
        })
    }

    /// Returns the address clients connect to.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Returns a handle, which may outlive the pool.
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.shared) }
    }

    /// Serves until `shutdown` ends; then closes all connections and writes the ledger out.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        tracing::info!(addr = %self.local_addr, "practice pool is listening");
        let mut clients = JoinSet::new();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                _ = ticks.tick() => self.shared.tick(),
                Some(_) = clients.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        if let Some(client) = self.shared.admit(peer) {
                            clients.spawn(client.serve(stream, Arc::clone(&self.shared)));
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(self.listener);
        self.shared.cut_all();
        while clients.join_next().await.is_some() {}
        let shared = self.shared;
        // Fails only when the runtime goes away, and the writing thread finishes without it.
        let _ = tokio::task::spawn_blocking(move || shared.ledger.flush()).await;
    }
}

impl Handle {
    /// Returns what was counted so far.
    pub fn stats(&self) -> Stats {
        let mut stats = self.shared.lock().engine.stats().clone();
        stats.unrecorded = self.shared.ledger.lost();
        stats
    }

    /// Makes a new block at once: a clean job for every client.
    pub fn new_block(&self) {
        self.shared.with(|engine, now| engine.new_block(now));
    }

    /// Makes a new job on the same block at once, not clean.
    pub fn new_job(&self) {
        self.shared.with(|engine, now| engine.new_job(now));
    }

    /// Sends a difficulty to every client and to those to come; it counts from the next job on.
    ///
    /// Vardiff, if it is on, goes on from there.
    ///
    /// # Errors
    /// [`TargetError::Difficulty`] unless it is finite and above zero.
    pub fn set_difficulty(&self, difficulty: f64) -> Result<(), TargetError> {
        self.shared.with(|engine, _| engine.set_difficulty(difficulty))
    }

    /// Sets the version bits clients may roll, at once for those that negotiated rolling.
    pub fn set_version_mask(&self, mask: u32) {
        self.shared.with(|engine, _| engine.set_version_mask(mask));
    }

    /// Sets the extranonce sizes of the clients to come, and gives a new extranonce1 to each that subscribed to such
    /// changes; it counts from the next job on.
    ///
    /// # Errors
    /// [`ConfigError::Range`] unless the lengths are 0 to 16 and 1 to 16 bytes.
    pub fn set_extranonce(&self, extranonce1_len: usize, extranonce2_size: usize) -> Result<(), ConfigError> {
        self.shared.with(|engine, _| engine.set_extranonce(extranonce1_len, extranonce2_size))
    }

    /// Cuts every connection at once, unsent answers and all.
    pub fn disconnect_all(&self) {
        self.shared.cut_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The engine keeps no invariant across its calls that a panic in one could break for the other clients.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the engine act and passes on what it has to say.
    fn with<R>(&self, act: impl FnOnce(&mut Engine, Now) -> R) -> R {
        let mut state = self.lock();
        let result = act(&mut state.engine, now());
        let State { engine, outlets } = &mut *state;
        while let Some((connection, outgoing)) = engine.poll_output() {
            let Some(outlet) = outlets.get(&connection) else {
                self.settle(outgoing, false);
                continue;
            };
            let Err(refused) = outlet.lines.try_send(outgoing) else { continue };
            let full = matches!(refused, mpsc::error::TrySendError::Full(_));
            if full && !outlet.cut.send_replace(true) {
                tracing::warn!(connection, "client does not read, dropping it");
                engine.count_slow_reader();
            }
            self.settle(refused.into_inner(), false);
        }
        result
    }

    fn admit(&self, peer: SocketAddr) -> Option<Client> {
        let mut state = self.lock();
        let Some(connection) = state.engine.connect(now()) else {
            tracing::warn!(%peer, "too many connections, turning one away");
            return None;
        };
        tracing::info!(connection, %peer, "client connected");
        let (lines, queue) = mpsc::channel(self.limits.queued_lines);
        let (cut, watch_cut) = watch::channel(false);
        state.outlets.insert(connection, Outlet { lines: lines.clone(), cut });
        Some(Client { connection, lines, queue, cut: watch_cut })
    }

    fn tick(&self) {
        for connection in self.with(Engine::handle_timeout) {
            tracing::info!(connection, "client is silent, dropping it");
            if let Some(outlet) = self.lock().outlets.get(&connection) {
                outlet.cut.send_replace(true);
            }
        }
    }

    fn cut_all(&self) {
        for outlet in self.lock().outlets.values() {
            outlet.cut.send_replace(true);
        }
    }

    fn disconnect(&self, connection: u64) -> Option<Outlet> {
        let mut state = self.lock();
        state.engine.disconnect(connection, now());
        state.outlets.remove(&connection)
    }

    /// Writes the record of an answer, now that its fate is known.
    fn settle(&self, outgoing: Outgoing, delivered: bool) {
        let Some(mut record) = outgoing.record else { return };
        record.delivered = delivered;
        tracing::debug!(
            connection = record.connection,
            verdict = ?record.verdict,
            reason = record.reason,
            difficulty = record.difficulty,
            delivered,
            "share"
        );
        if record.block {
            tracing::info!(connection = record.connection, hash = record.hash, "block found");
        }
        self.ledger.append(record);
    }
}

/// One connection's ends of the pool.
struct Client {
    connection: u64,
    lines: mpsc::Sender<Outgoing>,
    queue: mpsc::Receiver<Outgoing>,
    cut: watch::Receiver<bool>,
}

impl Client {
    async fn serve(self, stream: TcpStream, shared: Arc<Shared>) {
        let Self { connection, lines, queue, cut } = self;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(connection, %error, "cannot send without delay");
        }
        let (read, write) = stream.into_split();
        let writing = write_lines(write, connection, &shared, queue, cut.clone());
        let reading = async {
            let why = read_lines(read, connection, &shared, lines, cut).await;
            tracing::info!(connection, why, "client disconnected");
            let Some(Outlet { lines, cut }) = shared.disconnect(connection) else { return };
            // The writer ends when it has sent what waits, and isn't given long for it.
            drop(lines);
            if timeout(shared.limits.write, cut.closed()).await.is_err() {
                cut.send_replace(true);
            }
        };
        tokio::join!(reading, writing);
    }
}

/// Reads lines and lets the engine answer them, until the client goes or has to; returns why.
async fn read_lines(
    mut read: OwnedReadHalf,
    connection: u64,
    shared: &Shared,
    lines: mpsc::Sender<Outgoing>,
    mut cut: watch::Receiver<bool>,
) -> &'static str {
    let mut buffer = BytesMut::with_capacity(2048);
    loop {
        while let Some(line) = take_line(&mut buffer) {
            if line.len() > shared.limits.line_bytes {
                return "it sent a line that is too long";
            }
            // Waits until the client has read earlier answers, so that a flood of requests fills no memory.
            if lines.reserve_many(LINES_PER_REQUEST).await.is_err() {
                return "it cannot be written to";
            }
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            if let Err(reason) = shared.with(|engine, now| engine.handle_line(connection, now, line)) {
                return reason;
            }
        }
        if buffer.len() > shared.limits.line_bytes {
            return "it sent a line that is too long";
        }
        tokio::select! {
            () = lines.closed() => return "it cannot be written to",
            _ = cut.wait_for(|&cut| cut) => return "it was cut",
            read = read.read_buf(&mut buffer) => match read {
                Ok(0) => return "it closed the connection",
                Ok(_) => {}
                Err(_) => return "the connection broke",
            },
        }
    }
}

fn take_line(buffer: &mut BytesMut) -> Option<BytesMut> {
    let end = buffer.iter().position(|&byte| byte == b'\n')?;
    let line = buffer.split_to(end);
    buffer.advance(1);
    Some(line)
}

/// Writes lines until there are no more or the client stops reading, and settles each.
async fn write_lines(
    mut write: OwnedWriteHalf,
    connection: u64,
    shared: &Shared,
    mut queue: mpsc::Receiver<Outgoing>,
    mut cut: watch::Receiver<bool>,
) {
    while let Some(outgoing) = queue.recv().await {
        let delivered = tokio::select! {
            biased;
            _ = cut.wait_for(|&cut| cut) => false,
            written = timeout(shared.limits.write, write.write_all(&outgoing.line)) => match written {
                Ok(result) => result.is_ok(),
                Err(_) => {
                    shared.lock().engine.count_slow_reader();
                    tracing::warn!(connection, "client does not read, dropping it");
                    false
                }
            },
        };
        shared.settle(outgoing, delivered);
        if !delivered {
            break;
        }
    }
    queue.close();
    while let Some(outgoing) = queue.recv().await {
        shared.settle(outgoing, false);
    }
}

fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    Now { instant: Instant::now().into_std(), unix }
}
