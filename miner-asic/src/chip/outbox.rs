//! What a protocol has to say, until it is asked.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{ChipEvent, ChipFault, Transmit};

/// Frames and events in the order in which they came up.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    transmits: VecDeque<Transmit>,
    events: VecDeque<ChipEvent>,
}

impl Outbox {
    pub(super) fn send(&mut self, bytes: Vec<u8>) {
        self.transmits.push_back(Transmit::Bytes(bytes));
    }

    pub(super) fn switch_baud(&mut self, baud: u32) {
        self.transmits.push_back(Transmit::Baud(baud));
    }

    pub(super) fn say(&mut self, event: ChipEvent) {
        self.events.push_back(event);
    }

    pub(super) fn complain(&mut self, fault: ChipFault) {
        self.say(ChipEvent::Fault(fault));
    }

    /// Says that bytes made no frame, if there were any.
    pub(super) fn complain_of_garbage(&mut self, bytes: u32) {
        if bytes > 0 {
            self.complain(ChipFault::Garbage { bytes });
        }
    }

    /// Forgets frames that were not asked for yet.
    pub(super) fn unsend(&mut self) {
        self.transmits.clear();
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    pub(super) fn poll_event(&mut self) -> Option<ChipEvent> {
        self.events.pop_front()
    }
}

/// One thing to do while chips are brought up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Sends a frame.
    Send(Vec<u8>),
    /// Lets time pass.
    Pause(Duration),
    /// Switches the host's side of the link.
    Baud(u32),
}

/// Steps that are done in order, each when its time has come.
#[derive(Debug, Default)]
pub(super) struct Script {
    steps: VecDeque<Step>,
    resume: Option<Instant>,
}

impl Script {
    pub(super) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), resume: None }
    }

    /// Goes on as far as time allows; `true` when all is done and the last pause is over.
    pub(super) fn run(&mut self, now: Instant, out: &mut Outbox) -> bool {
        if self.resume.is_some_and(|resume| now < resume) {
            return false;
        }
        self.resume = None;
        while let Some(step) = self.steps.pop_front() {
            match step {
                Step::Send(frame) => out.send(frame),
                Step::Baud(baud) => out.switch_baud(baud),
                Step::Pause(pause) => {
                    self.resume = Some(now + pause);
                    return false;
                }
            }
        }
        true
    }

    /// When it goes on.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.resume
    }
}
