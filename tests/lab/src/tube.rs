//! The laboratory's tunnel: it notes what it is told, and does what the test has said.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ebbtide::{BodyWaker, Fill, Pipe, Tunnel, TunnelAction, TunnelIo};

/// The test's end of a tunnel that echoes, unless it was told otherwise.
#[derive(Clone, Default)]
pub struct Tube(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// What it was told, in order.
    calls: Vec<&'static str>,
    received: Vec<u8>,
    /// What it sends at a call, and says then; by default it echoes, and waits.
    answers: HashMap<&'static str, (String, TunnelAction)>,
    /// What it sets its timer to at a call.
    timers: HashMap<&'static str, Duration>,
    panics_at: Option<&'static str>,
    pipe: Option<Pipe>,
    waker: Option<BodyWaker>,
}

impl Tube {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What it is to send and to say at `open`, `receive`, `wake`, `time`, `ended`, `draining`.
    pub fn at(&self, call: &'static str, send: &str, next: TunnelAction) {
        self.state().answers.insert(call, (send.to_owned(), next));
    }

    /// What it is to set its timer to at a call, each time.
    pub fn timer_at(&self, call: &'static str, millis: u64) {
        self.state()
            .timers
            .insert(call, Duration::from_millis(millis));
    }

    pub fn panics_at(&self, call: &'static str) {
        self.state().panics_at = Some(call);
    }

    /// What it sends when it is woken.
    pub fn empties(&self, pipe: Pipe) {
        self.state().pipe = Some(pipe);
    }

    /// What it was told since this was last asked.
    pub fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.state().calls)
    }

    pub fn received(&self) -> String {
        String::from_utf8(self.state().received.clone()).expect("the tests send text")
    }

    pub fn wake(&self) {
        let waker = self.state().waker.clone();
        waker.expect("it was opened").wake();
    }

    /// The tunnel itself.
    pub fn end(&self) -> End {
        End(self.clone())
    }

    fn called(&self, call: &'static str, line: &mut TunnelIo<'_>) -> Option<TunnelAction> {
        let mut state = self.state();
        state.calls.push(call);
        state.waker = Some(line.waker());
        if let Some(after) = state.timers.get(call) {
            line.wake_after(*after);
        }
        let panics = state.panics_at == Some(call);
        let answer = state.answers.get(call).cloned();
        drop(state);
        assert!(!panics, "a panic that the test wants");
        let (send, next) = answer?;
        line.send(send.as_bytes());
        Some(next)
    }
}

/// The loop's end of a tube.
pub struct End(Tube);

impl Tunnel for End {
    fn open(&mut self, line: &mut TunnelIo<'_>) -> TunnelAction {
        self.0.called("open", line).unwrap_or(TunnelAction::Wait)
    }

    fn receive(&mut self, bytes: &mut [u8], line: &mut TunnelIo<'_>) -> TunnelAction {
        assert!(!bytes.is_empty());
        self.0.state().received.extend_from_slice(bytes);
        self.0.called("receive", line).unwrap_or_else(|| {
            line.send(bytes);
            TunnelAction::Wait
        })
    }

    fn wake(&mut self, line: &mut TunnelIo<'_>) -> TunnelAction {
        let next = self.0.called("wake", line);
        let pipe = self.0.state().pipe.take();
        if let Some(mut pipe) = pipe {
            let fill = line.pull(&mut pipe);
            self.0.state().pipe = Some(pipe);
            return match fill {
                Fill::More | Fill::Share(_) => TunnelAction::More,
                Fill::Pending => TunnelAction::Wait,
                Fill::Done => TunnelAction::Close,
                Fill::Failed => TunnelAction::Fail,
            };
        }
        next.unwrap_or(TunnelAction::Wait)
    }

    fn time(&mut self, line: &mut TunnelIo<'_>) -> TunnelAction {
        self.0.called("time", line).unwrap_or(TunnelAction::Wait)
    }

    fn ended(&mut self, line: &mut TunnelIo<'_>) -> TunnelAction {
        self.0.called("ended", line).unwrap_or(TunnelAction::Close)
    }

    fn draining(&mut self, line: &mut TunnelIo<'_>) -> TunnelAction {
        self.0
            .called("draining", line)
            .unwrap_or(TunnelAction::Wait)
    }

    fn name(&self) -> &str {
        "a tube"
    }
}

/// Says that it is gone, in the log of what its tube was told.
impl Drop for End {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.calls.push("dropped");
        state.pipe = None;
    }
}
