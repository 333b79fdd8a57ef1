//! A link whose other end is the test.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Mutex;

use super::{Link, LinkError};

/// What was done on a [`MockLink`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    Wrote(Vec<u8>),
    Baud(u32),
}

/// Answers each write by a function of the test.
pub(crate) struct MockLink {
    state: Mutex<State>,
}

type Answer = Box<dyn FnMut(&[u8]) -> Vec<u8> + Send>;

struct State {
    done: Vec<Done>,
    incoming: VecDeque<u8>,
    gone: bool,
    answer: Answer,
}

impl MockLink {
    pub(crate) fn new(answer: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static) -> Self {
        let state =
            State { done: Vec::new(), incoming: VecDeque::new(), gone: false, answer: Box::new(answer) };
        Self { state: Mutex::new(state) }
    }

    /// Everything that was done so far, in order.
    pub(crate) fn done(&self) -> Vec<Done> {
        self.state.lock().unwrap().done.clone()
    }

    /// Unplugs it, or plugs it in again.
    pub(crate) fn set_gone(&self, gone: bool) {
        self.state.lock().unwrap().gone = gone;
    }

    fn here(&self) -> Result<std::sync::MutexGuard<'_, State>, LinkError> {
        let state = self.state.lock().unwrap();
        if state.gone { Err(LinkError::Vanished { path: PathBuf::from("mock") }) } else { Ok(state) }
    }
}

impl Link for MockLink {
    fn read(&self, buffer: &mut [u8]) -> Result<usize, LinkError> {
        let mut state = self.here()?;
        let count = buffer.len().min(state.incoming.len());
        for (slot, byte) in buffer.iter_mut().zip(state.incoming.drain(..count)) {
            *slot = byte;
        }
        drop(state);
        if count == 0 {
            std::thread::yield_now();
        }
        Ok(count)
    }

    fn write(&self, bytes: &[u8]) -> Result<(), LinkError> {
        let mut state = self.here()?;
        state.done.push(Done::Wrote(bytes.to_vec()));
        let answer = (state.answer)(bytes);
        state.incoming.extend(answer);
        Ok(())
    }

    fn set_baud(&self, baud: u32) -> Result<(), LinkError> {
        self.here()?.done.push(Done::Baud(baud));
        Ok(())
    }

    fn discard_input(&self) -> Result<(), LinkError> {
        self.here()?.incoming.clear();
        Ok(())
    }
}
