//! All guards of a program, and its end.

use std::fmt;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Command, Shared, Trouble};

/// How often it is looked whether boards are off.
const LOOK: Duration = Duration::from_millis(2);
/// How long the end of a program waits for boards without a word.
const SILENT: Duration = Duration::from_secs(1);

/// All guards of a program, so that its end can be held up until every board is safe.
///
/// Dropping it makes all of them safe: hold it where a panic unwinds through.
#[derive(Debug, Default)]
pub struct Guards {
    list: GuardList,
}

/// What backends take part in.
#[derive(Clone, Debug, Default)]
pub struct GuardList(Arc<Inner>);

/// How long boards are waited for at the end of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Haste {
    /// A board that refuses to be switched off is tried again.
    Patient,
    /// Each is tried once, for as long as it says that this takes at worst.
    Hurried,
}

/// What a person is to be told of boards that are not off when they should be.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// A board is not off. It is tried again until it is.
    NotOff {
        /// Its device key.
        key: Arc<str>,
        /// Why.
        why: Trouble,
    },
    /// It is off now.
    OffAfterAll {
        /// Its device key.
        key: Arc<str>,
    },
    /// The end of the program waits for boards to be switched off.
    SwitchingOff {
        /// How many.
        boards: usize,
        /// How long it will wait at most.
        at_most: Duration,
    },
    /// The program ends, and a board may be on.
    LeftOn {
        /// Its device key.
        key: Arc<str>,
        /// Why.
        why: Trouble,
    },
}

/// Where notices go. Must not wait for anybody.
type Tell = dyn Fn(Notice) + Send + Sync;

#[derive(Default)]
struct Inner {
    list: Mutex<List>,
    tell: Option<Box<Tell>>,
}

#[derive(Debug, Default)]
struct List {
    closed: bool,
    /// What is left on was told.
    told: bool,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) commands: Sender<Command>,
    pub(super) shared: Arc<Shared>,
}

impl Guards {
    /// Guards whose notices go to `tell`, which must not wait for anybody.
    pub fn telling(tell: impl Fn(Notice) + Send + Sync + 'static) -> Self {
        let inner = Inner { list: Mutex::default(), tell: Some(Box::new(tell)) };
        Self { list: GuardList(Arc::new(inner)) }
    }

    /// The list for backends to take part in.
    pub fn list(&self) -> GuardList {
        self.list.clone()
    }
}

impl Drop for Guards {
    fn drop(&mut self) {
        self.list.make_all_safe(Haste::Patient);
    }
}

impl GuardList {
    /// Switches every board off, for good, and waits until that is done, for as long as boards say that it takes.
    ///
    /// `false`: not all are off, which a notice says of each, once. An unplugged board with a supply of its own is not
    /// waited for.
    pub fn make_all_safe(&self, haste: Haste) -> bool {
        let (entries, given_up) = self.close();
        let begun = Instant::now();
        let patience = entries.iter().map(|entry| entry.shared.off_within(haste)).max();
        let patience = patience.filter(|_| !given_up).unwrap_or_default();
        let mut silent = true;
        loop {
            let waiting = entries.iter().filter(|entry| !entry.shared.is_settled()).count();
            let waited = begun.elapsed();
            if waiting == 0 || waited >= patience {
                break;
            }
            if silent && waited >= SILENT {
                silent = false;
                self.tell(Notice::SwitchingOff { boards: waiting, at_most: patience - waited });
            }
            std::thread::sleep(LOOK);
        }
        self.name_what_is_left(&entries)
    }

    /// Guards whose boards are not known to be off for good.
    pub fn count(&self) -> usize {
        self.lock().entries.iter().filter(|entry| !entry.shared.is_safe()).count()
    }

    /// Lets no more guards in, and stops those that there are. `true`: they were waited for in vain before.
    fn close(&self) -> (Vec<Entry>, bool) {
        let mut list = self.lock();
        list.closed = true;
        for entry in &list.entries {
            // A guard that has ended has left its board safe.
            let _ = entry.commands.send(Command::Stop);
        }
        // They stay in the list: whoever asks at the same time waits for them too.
        (list.entries.clone(), list.told)
    }

    fn name_what_is_left(&self, entries: &[Entry]) -> bool {
        let left: Vec<_> = entries.iter().filter(|entry| !entry.shared.is_safe()).collect();
        let told = left.is_empty() || std::mem::replace(&mut self.lock().told, true);
        if !told {
            for Entry { shared, .. } in &left {
                let why = shared.trouble().unwrap_or(Trouble::Slow);
                self.tell(Notice::LeftOn { key: Arc::clone(&shared.key), why });
            }
        }
        left.is_empty()
    }

    pub(super) fn enter(&self, entry: Entry) -> bool {
        let mut list = self.lock();
        list.entries.retain(|entry| !entry.shared.is_safe());
        if !list.closed {
            list.entries.push(entry);
        }
        !list.closed
    }

    pub(super) fn tell(&self, notice: Notice) {
        if let Some(tell) = &self.0.tell {
            tell(notice);
        }
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.0.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Haste {
    /// How often each board is tried in the time that is waited for it.
    pub(super) fn tries(self) -> u32 {
        match self {
            Self::Patient => 2,
            Self::Hurried => 1,
        }
    }
}

impl Notice {
    /// Whether a board may be on that should be off.
    pub fn is_grave(&self) -> bool {
        matches!(self, Self::NotOff { .. } | Self::LeftOn { .. })
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOff { key, why } => {
                write!(f, "{key} could not be switched off: {why}; pull its power plug, or let lode try on")
            }
            Self::OffAfterAll { key } => write!(f, "{key} is off now"),
            Self::SwitchingOff { boards, at_most } => {
                let s = if *boards == 1 { "" } else { "s" };
                write!(
                    f,
                    "switching {boards} board{s} off: this may take {:.0} s",
                    at_most.as_secs_f32().ceil()
                )
            }
            Self::LeftOn { key, why } => write!(f, "{key} may be left on: {why}; pull its power plug"),
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardList").field("list", &self.list).finish_non_exhaustive()
    }
}
