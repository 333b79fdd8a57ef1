//! One pool's task: connects, runs a session, keeps the shares that are not answered, waits, connects again.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use miner_core::share::{LostReason, Share, ShareOutcome};
use miner_core::types::{Difficulty, Epoch, ShareId, SourceId};
use stratum::backoff::Backoff;
use stratum::io::{Command, ConnectError, Endpoint, SessionEnd, TlsTrust, TrustError, run_session};
use stratum::url::PoolUrl;
use stratum::v1::{Login, LoginError, V1Client, V1Config, V1Memory};
use stratum::{PoolEvent, PoolProtocol, ProtocolError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};

use super::failover::Failure;
use super::network::Network;
use super::outbox::{Outbox, PATIENCE};
use super::verdicts::Verdicts;
use super::{Order, TaskEvent};
use crate::backends::panic_text;
use crate::bus::Bus;
use crate::event::{EventKind, PoolNotice};
use crate::explain::Explain;
use crate::settings::PoolSettings;

/// How long a pool that accepts us may take to send the first job.
const FIRST_JOB: Duration = Duration::from_secs(60);
/// Room between the outbox and the session, each way.
const CHANNEL: usize = 64;
/// Pauses after the pool refused us: retrying soon is no help.
const REFUSED_PAUSE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(600));

pub(super) struct Supervisor {
    source: SourceId,
    settings: Arc<PoolSettings>,
    login: Login,
    /// Whom to trust; `None` where nothing is encrypted.
    trust: Option<Arc<TlsTrust>>,
    wanted: watch::Receiver<bool>,
    orders: mpsc::Receiver<Order>,
    events: mpsc::Sender<(SourceId, TaskEvent)>,
    /// What the driver is to hear and has no room for yet: nothing is forgotten where a wait is broken off.
    untold: VecDeque<TaskEvent>,
    bus: Bus,
    outbox: Outbox,
    memory: V1Memory,
    backoff: Backoff,
    /// Refusals in a row: see [`REFUSED_PAUSE`].
    refusals: u32,
    attempt: u32,
    epoch: Epoch,
    /// The first connection whose jobs the current session still knows.
    oldest_epoch: Epoch,
    /// When the last session that had been ready ended; `None` once its work was given up.
    suspended: Option<Instant>,
}

/// Why a pool cannot be tried at all.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The certificate authorities to trust cannot be read.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The user or the password cannot be sent.
    #[error(transparent)]
    Login(#[from] LoginError),
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The pool could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The session ended by itself.
    #[error(transparent)]
    Ended(#[from] SessionEnd),
    /// The pool accepts us and gives us nothing to do.
    #[error("the pool has sent no job for {} s", FIRST_JOB.as_secs())]
    NoJob,
    /// The pool refuses what we do.
    #[error("the pool refused {0} shares in a row")]
    Rejecting(u32),
    /// A mistake of ours, with what the panic said.
    #[error("lode itself failed: {0}")]
    Panicked(String),
}

/// What a session has come to so far.
#[derive(Default)]
struct Session {
    ready: bool,
    /// When the first job must have come.
    first_job_by: Option<Instant>,
    verdicts: Verdicts,
    /// Refusals in a row, once they are too many.
    rejecting: Option<u32>,
    redirect: Option<Redirect>,
}

struct Redirect {
    to: Option<(String, u16)>,
    wait: Duration,
}

/// Why the task turns to something else.
enum Turn {
    /// The pool is no longer wanted, or wanted again.
    Wanted,
    /// The miner ends.
    Shutdown,
    /// The pool sends us elsewhere, or back to itself.
    Redirected(Redirect),
}

impl Supervisor {
    pub(super) fn new(
        source: SourceId,
        settings: PoolSettings,
        wanted: watch::Receiver<bool>,
        orders: mpsc::Receiver<Order>,
        events: mpsc::Sender<(SourceId, TaskEvent)>,
        bus: Bus,
    ) -> Result<Self, SetupError> {
        let login = Login::new(&settings.user, settings.pass.clone())?;
        let backoff = Backoff::new(fastrand::u64(..), Some(settings.retry_pause));
        let trust = match &settings.tls_ca {
            Some(file) => Some(TlsTrust::from_pem_file(file)?),
            None => settings.url.tls.then(TlsTrust::platform),
        };
        Ok(Self {
            source,
            trust: trust.map(Arc::new),
            login,
            settings: Arc::new(settings),
            wanted,
            orders,
            events,
            untold: VecDeque::new(),
            bus,
            outbox: Outbox::default(),
            memory: V1Memory::default(),
            backoff,
            refusals: 0,
            attempt: 0,
            epoch: Epoch::default(),
            oldest_epoch: Epoch::default(),
            suspended: None,
        })
    }

    /// Serves until the driver drops its ends of the channels.
    pub(super) async fn run(mut self, network: impl Network) {
        let mut redirect = None;
        loop {
            if !*self.wanted.borrow_and_update() {
                redirect = None;
                self.give_up();
                match self.idle(None).await {
                    Some(Turn::Shutdown) => break,
                    _ => continue,
                }
            }
            let began = now();
            let attempt = AssertUnwindSafe(self.attempt(&network, redirect.take())).catch_unwind().await;
            let turn = match attempt.unwrap_or_else(|panic| Err(self.on_panic(&*panic))) {
                Ok(Turn::Redirected(to)) => {
                    redirect = to.to;
                    self.on_redirect(to.wait, now() - began).await
                }
                Ok(turn) => Some(turn),
                Err(error) => self.on_failure(&error, now() - began).await,
            };
            if let Some(Turn::Shutdown) = turn {
                break;
            }
        }
        self.give_up();
        self.flush().await;
    }

    /// Waits as long as the pool asks, and never less than after a failure: whoever only sends us away is one.
    async fn on_redirect(&mut self, wait: Duration, lasted: Duration) -> Option<Turn> {
        let due = self.backoff.on_end(now(), lasted).max(now() + wait);
        self.tell(TaskEvent::Failed(Failure::Connection));
        self.idle(Some(due)).await
    }

    /// What the attempt left behind is not to be trusted: its work is given up.
    fn on_panic(&mut self, panic: &(dyn Any + Send)) -> SessionError {
        self.memory = V1Memory::default();
        self.give_up();
        SessionError::Panicked(panic_text(panic))
    }

    /// Tells what went wrong and waits before the next attempt.
    async fn on_failure(&mut self, error: &SessionError, lasted: Duration) -> Option<Turn> {
        let mut due = self.backoff.on_end(now(), lasted);
        let failure = if error.is_refusal() {
            let pause = REFUSED_PAUSE.0.saturating_mul(1 << self.refusals.min(16)).min(REFUSED_PAUSE.1);
            self.refusals += 1;
            due = due.max(now() + pause);
            Failure::Pool
        } else {
            Failure::Connection
        };
        let (error, advice) = (error.to_string(), error.explain().advice);
        let retry_in = Some(due.saturating_duration_since(now()));
        self.notice(PoolNotice::Failed { error, advice, retry_in });
        self.tell(TaskEvent::Failed(failure));
        self.idle(Some(due)).await
    }

    /// Keeps the books without a session until `until`, a change of mind, or the end. Cancel-safe.
    async fn idle(&mut self, until: Option<Instant>) -> Option<Turn> {
        loop {
            self.expire();
            self.flush().await;
            let expiry = [self.outbox.next_expiry(), self.suspended.map(|since| since + PATIENCE), until];
            let deadline = expiry.into_iter().flatten().min();
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(Order::Submit(share)) => self.take(share),
                    // Without a session there is nobody to ask.
                    Some(Order::Suggest(_)) => {}
                    None => return Some(Turn::Shutdown),
                },
                changed = self.wanted.changed() => {
                    return Some(if changed.is_ok() { Turn::Wanted } else { Turn::Shutdown });
                }
                () = sleep_until(deadline) => {
                    if until.is_some_and(|until| now() >= until) {
                        return None;
                    }
                }
            }
        }
    }

    /// One connection, from the first packet to the last.
    async fn attempt(
        &mut self,
        network: &impl Network,
        redirect: Option<(String, u16)>,
    ) -> Result<Turn, SessionError> {
        self.attempt += 1;
        self.epoch.0 += 1;
        self.notice(PoolNotice::Connecting { attempt: self.attempt });
        self.backoff.on_attempt(now());
        let configured = &self.settings.url;
        let (host, port) = redirect.unwrap_or_else(|| (configured.host.clone(), configured.port));
        let url = PoolUrl { tls: configured.tls, host, port };
        let endpoint =
            Endpoint { url: url.clone(), trust: self.trust.clone(), proxy: self.settings.proxy.clone() };
        let stream = tokio::select! {
            stream = network.connect(&endpoint) => stream?,
            Some(turn) = self.idle(None) => return Ok(turn),
        };
        self.notice(PoolNotice::Connected { peer: format!("{}:{}", url.host, url.port), encrypted: url.tls });
        let mut client = V1Client::new(self.v1_config(&url), std::mem::take(&mut self.memory));
        let mut session = Session::default();
        let ended = self.converse(&mut client, &mut session, stream).await;
        self.memory = client.into_memory();
        if session.ready {
            self.suspended = Some(now());
        }
        ended
    }

    fn v1_config(&self, url: &PoolUrl) -> V1Config {
        V1Config {
            suggest_difficulty: self.settings.suggest_difficulty.and_then(Difficulty::new),
            allow_reconnect: self.settings.allow_reconnect.clone(),
            ..V1Config::new(self.source, self.epoch, self.login.clone(), &url.host, url.port)
        }
    }

    /// Carries shares and events between the session, the outbox and the driver.
    async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        client: &mut V1Client,
        session: &mut Session,
        stream: S,
    ) -> Result<Turn, SessionError> {
        let (event_sender, mut events) = mpsc::channel(CHANNEL);
        let (commands, mut command_inbox) = mpsc::channel(CHANNEL);
        let ended = {
            let running = run_session(stream, client, &mut command_inbox, &event_sender);
            tokio::pin!(running);
            loop {
                self.flush().await;
                if let Some(ended) = session.ended() {
                    break ended;
                }
                tokio::select! {
                    end = &mut running => break Err(end.into()),
                    Some(event) = events.recv() => self.on_event(session, event),
                    Ok(room) = commands.reserve(), if session.ready && self.outbox.has_next() => {
                        room.send(self.outbox.next_command().expect("there is one"));
                    }
                    order = self.orders.recv() => match order {
                        Some(Order::Submit(share)) => self.take(share),
                        Some(Order::Suggest(difficulty)) => {
                            // A wish: where there is no room for it, it is not worth waiting.
                            let _ = commands.try_send(Command::SuggestDifficulty(difficulty));
                        }
                        None => break Ok(Turn::Shutdown),
                    },
                    changed = self.wanted.changed() => match changed {
                        Ok(()) if *self.wanted.borrow() => {}
                        Ok(()) => break Ok(Turn::Wanted),
                        Err(_) => break Ok(Turn::Shutdown),
                    },
                    () = sleep_until(session.first_job_by) => break Err(SessionError::NoJob),
                }
            }
        };
        // What was told before the end still counts.
        while let Some(event) = events.try_recv().ok().or_else(|| client.poll_event()) {
            self.on_event(session, event);
        }
        let mut not_sent: Vec<_> = std::iter::from_fn(|| command_inbox.try_recv().ok()).collect();
        not_sent.reverse();
        not_sent.into_iter().for_each(|command| self.outbox.put_back(command));
        self.outbox.disconnected();
        ended
    }

    fn on_event(&mut self, session: &mut Session, event: PoolEvent) {
        match event {
            PoolEvent::Ready { resumed } => self.on_ready(session, resumed),
            PoolEvent::Job(job) => {
                session.first_job_by = None;
                self.tell(TaskEvent::Job(Box::new(job)));
            }
            PoolEvent::Resolved { share, outcome } => {
                session.rejecting = session.verdicts.count(now(), &outcome);
                if outcome == ShareOutcome::Accepted {
                    self.refusals = 0;
                }
                self.resolve(share, outcome);
            }
            PoolEvent::Late { share, accepted } => self.tell(TaskEvent::Late { share, accepted }),
            PoolEvent::Difficulty(difficulty) => self.notice(PoolNotice::Difficulty(difficulty)),
            PoolEvent::Message(text) => self.notice(PoolNotice::Message(text)),
            PoolEvent::Warning(text) => self.notice(PoolNotice::Warning(text)),
            PoolEvent::Reconnect { to, wait } => {
                let place = to.as_ref().map(|(host, port)| format!("{host}:{port}"));
                self.notice(PoolNotice::Reconnect { to: place });
                session.redirect = Some(Redirect { to, wait });
            }
        }
    }

    fn on_ready(&mut self, session: &mut Session, resumed: bool) {
        // The handshake may have outlasted our patience.
        self.expire();
        if !resumed {
            self.give_up();
        }
        // Where everything before was given up, while this connection was being made perhaps, its own jobs are good.
        self.oldest_epoch = self.oldest_epoch.min(self.epoch);
        self.suspended = None;
        self.attempt = 0;
        session.ready = true;
        session.first_job_by = Some(now() + FIRST_JOB);
        self.notice(PoolNotice::Ready { resumed });
    }

    /// Takes a share in, or books it as lost: no room, or a connection whose work was given up.
    fn take(&mut self, share: Arc<Share>) {
        let id = share.id;
        if share.job.epoch < self.oldest_epoch || self.outbox.push(now(), share).is_err() {
            self.lose(id, LostReason::NotSent);
        }
    }

    /// Tells the outcome of a share that was waiting for it.
    fn resolve(&mut self, share: ShareId, outcome: ShareOutcome) {
        if self.outbox.answered(share) {
            self.tell(TaskEvent::Resolved { share, outcome });
        }
    }

    /// Books what has waited too long for a session.
    fn expire(&mut self) {
        if self.suspended.is_some_and(|since| now() >= since + PATIENCE) {
            self.give_up();
        }
        for (share, reason) in self.outbox.expire(now()) {
            self.lose(share, reason);
        }
    }

    /// Books everything that waits as lost: the work of the connections so far is worthless.
    fn give_up(&mut self) {
        self.suspended = None;
        for (share, reason) in self.outbox.abandon() {
            self.lose(share, reason);
        }
        self.oldest_epoch = Epoch(self.epoch.0 + 1);
        self.tell(TaskEvent::GivenUp);
    }

    fn lose(&mut self, share: ShareId, reason: LostReason) {
        self.tell(TaskEvent::Resolved { share, outcome: ShareOutcome::Lost(reason) });
    }

    fn tell(&mut self, event: TaskEvent) {
        self.untold.push_back(event);
    }

    /// Waits until everything is told. Cancel-safe.
    async fn flush(&mut self) {
        while !self.untold.is_empty() {
            let Ok(room) = self.events.reserve().await else {
                // Without a driver the program is ending, and its account is closed.
                return self.untold.clear();
            };
            room.send((self.source, self.untold.pop_front().expect("there is one")));
        }
    }

    fn notice(&self, notice: PoolNotice) {
        self.bus.emit(EventKind::Pool { source: self.source, notice });
    }
}

impl Session {
    /// How the session is to end because of what the pool said, if it is.
    fn ended(&mut self) -> Option<Result<Turn, SessionError>> {
        let rejecting = self.rejecting.map(|count| Err(SessionError::Rejecting(count)));
        rejecting.or_else(|| self.redirect.take().map(|redirect| Ok(Turn::Redirected(redirect))))
    }
}

impl SessionError {
    /// Whether the pool works but is of no use to us, or we are of none to it.
    fn is_refusal(&self) -> bool {
        let unauthorized = matches!(self, Self::Ended(SessionEnd::Protocol(ProtocolError::Unauthorized(_))));
        unauthorized || matches!(self, Self::NoJob | Self::Rejecting(_) | Self::Panicked(_))
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(tokio::time::Instant::from_std(deadline)).await,
        None => std::future::pending().await,
    }
}

/// The shell's clock: tokio's, so that tests can pause it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
