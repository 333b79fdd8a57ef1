//! Pools: one supervisor task each, and the choice of which of them work comes from.

pub mod failover;
mod network;
pub mod outbox;
mod supervisor;
#[cfg(test)]
mod tests;
mod verdicts;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use miner_core::job::JobTemplate;
use miner_core::sched::SourceEvent;
use miner_core::share::{LostReason, Share, ShareOutcome};
use miner_core::types::{Difficulty, ShareId, SourceId};
use tokio::sync::{mpsc, watch};

use self::failover::{Action, Failover, Failure};
use self::network::{Network, Sockets};
use self::supervisor::Supervisor;
pub use self::supervisor::{SessionError, SetupError};
use crate::bus::Bus;
use crate::settings::PoolSettings;

/// Orders that a supervisor may be behind: a share that finds no room is lost (not sent).
const ORDERS: usize = 1_024;
/// Events of all supervisors that the driver may be behind before they wait.
const EVENTS: usize = 256;

/// All pools, in order of preference.
pub struct Pools {
    tasks: Vec<Task>,
    failover: Failover,
    events: mpsc::Receiver<(SourceId, TaskEvent)>,
    /// What the scheduler is to hear next.
    ready: VecDeque<(SourceId, SourceEvent)>,
}

struct Task {
    /// `None` once it was told to end.
    orders: Option<mpsc::Sender<Order>>,
    wanted: watch::Sender<bool>,
    /// Shares that were handed over and have no outcome yet.
    open: BTreeSet<ShareId>,
    /// The newest job of the connection: an offer starts with it.
    job: Option<JobTemplate>,
    standing: Standing,
}

/// What the scheduler believes of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Down,
    Suspended,
    Offered,
}

/// What a supervisor is to do for a session. It ends when the sender is dropped.
#[derive(Debug)]
enum Order {
    Submit(Arc<Share>),
    /// Shares come too fast: ask the pool for this difficulty, if there is a session.
    Suggest(Difficulty),
}

/// What a supervisor tells.
#[derive(Debug)]
enum TaskEvent {
    /// A job came over the connection.
    Job(Box<JobTemplate>),
    /// A share ended.
    Resolved { share: ShareId, outcome: ShareOutcome },
    /// An answer came for a share that was booked as lost.
    Late { share: ShareId, accepted: bool },
    /// An attempt failed or the connection ended.
    Failed(Failure),
    /// The work of earlier connections is worthless; its shares have been resolved.
    GivenUp,
}

impl Pools {
    /// Starts a supervisor for each pool; at least one pool. Fails when one cannot be tried as it is set up.
    pub fn start(settings: Vec<PoolSettings>, bus: &Bus) -> Result<Self, SetupError> {
        Self::start_over(&Sockets, settings, bus)
    }

    fn start_over(
        network: &impl Network,
        settings: Vec<PoolSettings>,
        bus: &Bus,
    ) -> Result<Self, SetupError> {
        let (sender, events) = mpsc::channel(EVENTS);
        let failover = Failover::new(tokio::time::Instant::now().into_std(), settings.len());
        let task = |(i, settings)| {
            let source =
                SourceId(u16::try_from(i).expect("the number of pools is checked with the settings"));
            let (orders, inbox) = mpsc::channel(ORDERS);
            let (wanted, wish) = watch::channel(false);
            let supervisor = Supervisor::new(source, settings, wish, inbox, sender.clone(), bus.clone())?;
            tokio::spawn(supervisor.run(network.clone()));
            Ok(Task {
                orders: Some(orders),
                wanted,
                open: BTreeSet::new(),
                job: None,
                standing: Standing::Down,
            })
        };
        let tasks = settings.into_iter().enumerate().map(task).collect::<Result<_, SetupError>>()?;
        let mut pools = Self { tasks, failover, events, ready: VecDeque::new() };
        pools.act();
        Ok(pools)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.tasks.len()
    }

    /// Gives a share to its pool's supervisor; gives it back where that has no room for it.
    pub fn submit(&mut self, source: SourceId, share: Arc<Share>) -> Result<(), Arc<Share>> {
        let Some(task) = self.tasks.get_mut(usize::from(source.0)) else { return Err(share) };
        let Some(orders) = &task.orders else { return Err(share) };
        if orders.try_send(Order::Submit(Arc::clone(&share))).is_err() {
            return Err(share);
        }
        task.open.insert(share.id);
        Ok(())
    }

    /// Asks a pool whose shares come `per_second` times a second for a difficulty that makes it about one.
    pub fn slow_down(&mut self, source: SourceId, per_second: f64) {
        let Some(task) = self.tasks.get(usize::from(source.0)) else { return };
        let asked = task.job.as_ref().map(|job| Difficulty::of(job.share_target).get() * per_second);
        if let (Some(orders), Some(difficulty)) = (&task.orders, asked.and_then(Difficulty::new)) {
            // A wish: where there is no room for it, it is not worth waiting.
            let _ = orders.try_send(Order::Suggest(difficulty));
        }
    }

    /// The next thing that the scheduler is to hear. Cancel-safe.
    pub async fn recv(&mut self) -> (SourceId, SourceEvent) {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return event;
            }
            match self.events.recv().await {
                Some((source, event)) => self.on_event(source, event),
                None => std::future::pending().await,
            }
        }
    }

    /// A deadline has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.failover.handle_timeout(now);
        self.act();
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn next_deadline(&self) -> Option<Instant> {
        self.failover.next_deadline()
    }

    /// Ends every supervisor; what they still had to tell, the outcome of each share included.
    pub async fn shutdown(&mut self) -> Vec<(SourceId, SourceEvent)> {
        for task in &mut self.tasks {
            task.orders = None;
        }
        let mut told = Vec::new();
        // Each supervisor holds a sender until it has told everything.
        while let Some(event) = self.events.recv().await {
            told.push(event);
        }
        for (source, event) in told {
            self.on_event(source, event);
        }
        self.ready.drain(..).collect()
    }

    fn on_event(&mut self, source: SourceId, event: TaskEvent) {
        let now = tokio::time::Instant::now().into_std();
        let Some(task) = self.tasks.get_mut(usize::from(source.0)) else { return };
        match event {
            TaskEvent::Job(job) => {
                task.job = Some(JobTemplate::clone(&job));
                if task.standing == Standing::Offered {
                    self.ready.push_back((source, SourceEvent::Job(*job)));
                }
                self.failover.handle_up(now, source);
            }
            TaskEvent::Resolved { share, outcome } => {
                if task.open.remove(&share) {
                    self.ready.push_back((source, SourceEvent::Resolved { share, outcome }));
                }
            }
            TaskEvent::Late { share, accepted } => {
                self.ready.push_back((source, SourceEvent::Late { share, accepted }));
            }
            TaskEvent::Failed(failure) => {
                task.job = None;
                self.failover.handle_failure(now, source, failure);
            }
            TaskEvent::GivenUp => {
                // The task has told the end of every share that reached it; it will not send the others either.
                for share in std::mem::take(&mut task.open) {
                    let outcome = ShareOutcome::Lost(LostReason::NotSent);
                    self.ready.push_back((source, SourceEvent::Resolved { share, outcome }));
                }
                task.job = None;
                if task.standing != Standing::Down {
                    task.standing = Standing::Down;
                    self.ready.push_back((source, SourceEvent::Down));
                }
                self.failover.handle_down(now, source);
            }
        }
        self.act();
    }

    fn act(&mut self) {
        while let Some(action) = self.failover.poll() {
            let (Action::Want(source)
            | Action::Drop(source)
            | Action::Offer(source)
            | Action::Withdraw(source)) = action;
            let Some(task) = self.tasks.get_mut(usize::from(source.0)) else { continue };
            match action {
                Action::Want(_) => {
                    task.wanted.send_replace(true);
                }
                Action::Drop(_) => {
                    task.wanted.send_replace(false);
                }
                Action::Offer(_) => {
                    let up = [Some(SourceEvent::Up), task.job.clone().map(SourceEvent::Job)];
                    let mut events: Vec<_> = up.into_iter().flatten().collect();
                    if std::mem::replace(&mut task.standing, Standing::Offered) == Standing::Suspended {
                        // The scheduler has an older job of it still: it must not go back to that one first.
                        events.reverse();
                    }
                    self.ready.extend(events.into_iter().map(|event| (source, event)));
                }
                Action::Withdraw(_) => {
                    if task.standing == Standing::Offered {
                        task.standing = Standing::Suspended;
                        self.ready.push_back((source, SourceEvent::Suspended));
                    }
                }
            }
        }
    }
}
