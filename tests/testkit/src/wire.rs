//! A wire between a miner and its pool that breaks in every way that wires and pools do.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::runtime;
use crate::script::{self, Step};

/// Lines of the miner that are kept.
const MOST_HEARD: usize = 100_000;
/// Commands that a connection may be behind.
const COMMANDS: usize = 64;

/// Which way a line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the miner.
    ToPool,
    /// From the pool.
    ToMiner,
}

/// What becomes of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives.
    Pass,
    /// These bytes arrive in its place.
    Replace(Vec<u8>),
    /// It is lost.
    Drop,
    /// It arrives twice.
    Twice,
    /// It arrives later; what follows may overtake it.
    Late(Duration),
    /// It arrives byte by byte.
    Bytewise,
    /// So many of its bytes arrive, then both connections end.
    CutAfter(usize),
    /// Both connections are reset before it.
    Reset,
    /// Neither it nor anything after it arrives, either way, and nobody is told.
    HalfOpen,
}

/// Decides on each line, which comes with its line feed.
pub type Tamper = Box<dyn FnMut(Way, &[u8]) -> Fate + Send>;

/// Listens for miners, and connects each of them to a pool, or to a script.
#[derive(Debug)]
pub struct Wire {
    addr: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    state: Mutex<State>,
    commands: broadcast::Sender<Command>,
}

struct State {
    tamper: Option<Tamper>,
    scripts: VecDeque<Vec<Step>>,
    routes: Vec<Option<u64>>,
    heard: Vec<String>,
}

#[derive(Clone, Debug)]
enum Command {
    /// Whole lines for the miner.
    Inject(Arc<[u8]>),
    /// An end as [`Fate`] has it.
    End(Fate),
}

impl Wire {
    /// A wire to a pool.
    pub fn to(pool: SocketAddr) -> Self {
        let listener = runtime().block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let listener = listener.expect("a free port on loopback");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let state = State { tamper: None, scripts: VecDeque::new(), routes: Vec::new(), heard: Vec::new() };
        let shared = Arc::new(Shared { state: Mutex::new(state), commands: broadcast::channel(COMMANDS).0 });
        let task = runtime().spawn(accept(listener, pool, Arc::clone(&shared)));
        Self { addr, shared, task }
    }

    /// Where miners connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Has every line judged from now on.
    pub fn tamper(&self, tamper: impl FnMut(Way, &[u8]) -> Fate + Send + 'static) {
        self.shared.lock().tamper = Some(Box::new(tamper));
    }

    /// Lets every line pass from now on. Connections that are half open stay so.
    pub fn behave(&self) {
        self.shared.lock().tamper = None;
    }

    /// Has the next connection meet a script; those of several calls queue up.
    pub fn greet(&self, script: Vec<Step>) {
        self.shared.lock().scripts.push_back(script);
    }

    /// Sends bytes to every miner, between two lines of its pool.
    pub fn inject(&self, bytes: impl AsRef<[u8]>) {
        self.command(Command::Inject(bytes.as_ref().into()));
    }

    /// Brings the open connections to an end: [`Fate::CutAfter`] sends nothing first.
    pub fn end(&self, fate: Fate) {
        self.command(Command::End(fate));
    }

    /// Cuts everything and refuses connections from now on.
    pub fn die(&self) {
        self.task.abort();
        self.end(Fate::CutAfter(0));
    }

    /// For each connection of a miner, in order, the number of the pool's connection that it led to.
    pub fn routes(&self) -> Vec<Option<u64>> {
        self.shared.lock().routes.clone()
    }

    /// What miners said so far, line by line.
    pub fn heard(&self) -> Vec<String> {
        self.shared.lock().heard.clone()
    }

    fn command(&self, command: Command) {
        // Without any connection there is nobody to tell.
        let _ = self.shared.commands.send(command);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.die();
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("routes", &self.lock().routes).finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.heard.len() < MOST_HEARD {
            state.heard.push(String::from_utf8_lossy(line).trim_end().to_owned());
        }
    }

    fn judge(&self, way: Way, line: &[u8]) -> Fate {
        self.lock().tamper.as_mut().map_or(Fate::Pass, |tamper| tamper(way, line))
    }
}

/// Takes miners in one after the other, so that the pool counts connections in the same order.
async fn accept(listener: TcpListener, pool: SocketAddr, shared: Arc<Shared>) {
    let mut led_to_pool = 0;
    while let Ok((miner, _)) = listener.accept().await {
        let commands = shared.commands.subscribe();
        let script = shared.lock().scripts.pop_front();
        if let Some(script) = script {
            shared.lock().routes.push(None);
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                tokio::select! {
                    // How it ends is the miner's business.
                    _ = script::play(miner, script, |line| shared.hear(line)) => {}
                    () = ended(commands) => {}
                }
            });
            continue;
        }
        let Ok(pool) = TcpStream::connect(pool).await else {
            shared.lock().routes.push(None);
            continue;
        };
        led_to_pool += 1;
        shared.lock().routes.push(Some(led_to_pool));
        let relay = Relay::new(miner, pool, Arc::clone(&shared));
        // Sockets that break end the connection, as they should.
        tokio::spawn(async move { drop(relay.run(commands).await) });
    }
}

/// Waits for a command to end.
async fn ended(mut commands: broadcast::Receiver<Command>) {
    while !matches!(commands.recv().await, Ok(Command::End(_)) | Err(broadcast::error::RecvError::Closed)) {}
}

/// One miner's connection to its pool.
struct Relay {
    miner: TcpStream,
    pool: TcpStream,
    from_miner: BytesMut,
    from_pool: BytesMut,
    late: Vec<(Instant, Way, Vec<u8>)>,
    half_open: bool,
    pool_gone: bool,
    shared: Arc<Shared>,
}

/// Whether a connection goes on.
enum Next {
    Go,
    End,
}

impl Relay {
    fn new(miner: TcpStream, pool: TcpStream, shared: Arc<Shared>) -> Self {
        let (from_miner, from_pool) = (BytesMut::new(), BytesMut::new());
        let (half_open, pool_gone) = (false, false);
        Self { miner, pool, from_miner, from_pool, late: Vec::new(), half_open, pool_gone, shared }
    }

    async fn run(mut self, mut commands: broadcast::Receiver<Command>) -> io::Result<()> {
        self.miner.set_nodelay(true)?;
        self.pool.set_nodelay(true)?;
        loop {
            let due = self.late.iter().map(|&(due, ..)| due).min();
            let next = tokio::select! {
                read = self.miner.read_buf(&mut self.from_miner) => self.on_read(Way::ToPool, read?).await?,
                read = self.pool.read_buf(&mut self.from_pool), if !self.pool_gone => {
                    self.on_read(Way::ToMiner, read?).await?
                }
                command = commands.recv() => match command {
                    Ok(command) => self.on_command(command).await?,
                    Err(_) => Next::End,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.deliver_late().await?;
                    Next::Go
                }
            };
            if let Next::End = next {
                return Ok(());
            }
        }
    }

    async fn on_read(&mut self, way: Way, count: usize) -> io::Result<Next> {
        if count == 0 {
            self.pool_gone = way == Way::ToMiner;
            // Behind a half-open wire the miner does not learn of it.
            return Ok(if self.half_open && self.pool_gone { Next::Go } else { Next::End });
        }
        loop {
            let buffer = if way == Way::ToPool { &mut self.from_miner } else { &mut self.from_pool };
            let Some(end) = buffer.iter().position(|&byte| byte == b'\n') else { return Ok(Next::Go) };
            let line = buffer.split_to(end + 1);
            if self.half_open {
                continue;
            }
            if way == Way::ToPool {
                self.shared.hear(&line);
            }
            let fate = self.shared.judge(way, &line);
            if let Next::End = self.meet(way, &line, fate).await? {
                return Ok(Next::End);
            }
        }
    }

    async fn on_command(&mut self, command: Command) -> io::Result<Next> {
        match command {
            Command::Inject(bytes) if !self.half_open => {
                self.miner.write_all(&bytes).await?;
                Ok(Next::Go)
            }
            Command::Inject(_) => Ok(Next::Go),
            Command::End(fate) => self.meet(Way::ToMiner, b"", fate).await,
        }
    }

    /// Lets a line meet its fate.
    async fn meet(&mut self, way: Way, line: &[u8], fate: Fate) -> io::Result<Next> {
        match fate {
            Fate::Pass => self.write(way, line).await?,
            Fate::Replace(bytes) => self.write(way, &bytes).await?,
            Fate::Drop => {}
            Fate::Twice => {
                self.write(way, line).await?;
                self.write(way, line).await?;
            }
            Fate::Late(by) => self.late.push((Instant::now() + by, way, line.to_vec())),
            Fate::Bytewise => {
                for byte in line.chunks(1) {
                    self.write(way, byte).await?;
                    tokio::task::yield_now().await;
                }
            }
            Fate::CutAfter(count) => {
                self.write(way, &line[..count.min(line.len())]).await?;
                return Ok(Next::End);
            }
            Fate::Reset => {
                self.miner.set_zero_linger()?;
                self.pool.set_zero_linger()?;
                return Ok(Next::End);
            }
            Fate::HalfOpen => self.half_open = true,
        }
        Ok(Next::Go)
    }

    async fn deliver_late(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let (due, rest) = std::mem::take(&mut self.late).into_iter().partition(|&(due, ..)| due <= now);
        self.late = rest;
        let due: Vec<(Instant, Way, Vec<u8>)> = due;
        for (_, way, line) in due {
            if !self.half_open {
                self.write(way, &line).await?;
            }
        }
        Ok(())
    }

    async fn write(&mut self, way: Way, bytes: &[u8]) -> io::Result<()> {
        let to = if way == Way::ToPool { &mut self.pool } else { &mut self.miner };
        to.write_all(bytes).await
    }
}

#[cfg(test)]
mod tests;
