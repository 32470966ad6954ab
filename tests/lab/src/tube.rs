//! The laboratory's tunnel. It notes the calls of the loop, and does what the test says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ebbtide::{BodyWaker, Fill, Pipe, Tunnel, TunnelAction, TunnelIo};

/// The test's end of a tunnel, which echoes by default.
#[derive(Clone, Default)]
pub struct Tube(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The calls of the loop, in order.
    calls: Vec<&'static str>,
    received: Vec<u8>,
    /// What the tunnel sends at a call, and what it returns; by default it echoes, and waits.
    answers: HashMap<&'static str, (String, TunnelAction)>,
    /// What the tunnel sets its timer to at a call.
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

    /// Sets what the tunnel sends and returns at `open`, `receive`, `wake`, `time`, `ended` or
    /// `draining`.
    pub fn at(&self, call: &'static str, send: &str, next: TunnelAction) {
        self.state().answers.insert(call, (send.to_owned(), next));
    }

    /// Makes the tunnel set its timer at every call of that name.
    pub fn timer_at(&self, call: &'static str, millis: u64) {
        self.state()
            .timers
            .insert(call, Duration::from_millis(millis));
    }

    pub fn panics_at(&self, call: &'static str) {
        self.state().panics_at = Some(call);
    }

    /// Makes the tunnel send what is in the pipe when it is woken.
    pub fn empties(&self, pipe: Pipe) {
        self.state().pipe = Some(pipe);
    }

    /// Takes the calls since the last time.
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

    /// Returns the loop's end.
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

/// The loop's end of a tunnel.
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
                _ => TunnelAction::Fail,
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

/// Notes the drop among the calls.
impl Drop for End {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.calls.push("dropped");
        state.pipe = None;
    }
}
