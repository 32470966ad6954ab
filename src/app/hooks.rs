//! What the application runs at the stations of a drain.
//!
//! Hooks run one after the other on a thread of their own, which starts with the first hook: a hook
//! that hangs holds nothing else. The server waits for them until the drain's deadline. A hook that
//! panics or does not return makes the exit code 4. Knows no connections.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use crate::app::handle::Handle;
use crate::app::report::{Outcome, Report};
use crate::app::trigger::{Station, Trigger};

/// The hooks of a server.
#[derive(Default)]
pub struct Hooks {
    pub(crate) trigger: Option<Told<Trigger>>,
    pub(crate) listener_closed: Option<Job>,
    pub(crate) drained: Option<Told<Report>>,
    pub(crate) exit: Option<Told<Outcome>>,
}

/// A hook that gets a value.
type Told<T> = Box<dyn FnOnce(&T) + Send>;

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("trigger", &self.trigger.is_some())
            .field("listener_closed", &self.listener_closed.is_some())
            .field("drained", &self.drained.is_some())
            .field("exit", &self.exit.is_some())
            .finish()
    }
}

pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Runs hooks, and knows which have not returned.
#[derive(Debug, Default)]
pub(crate) struct Runner {
    sender: Option<Sender<(Station, Job)>>,
    running: Vec<Station>,
    failed: Vec<Station>,
}

impl Runner {
    /// Runs a hook after those that are running.
    pub(crate) fn run(&mut self, station: Station, handle: &Handle, job: Job) {
        let started = match self.sender.take() {
            Some(sender) => Ok(sender),
            None => start(handle.clone()),
        };
        match started {
            Ok(sender) => {
                // The thread ends when this sender does.
                let _ = sender.send((station, job));
                self.sender = Some(sender);
                self.running.push(station);
            }
            Err(error) => {
                log::error!("{}: no thread for it: {error}", station.hook());
                self.failed.push(station);
            }
        }
    }

    /// Notes that a hook has returned, or panicked.
    pub(crate) fn returned(&mut self, station: Station, well: bool) {
        self.running.retain(|other| *other != station);
        if !well {
            log::error!("{} panicked", station.hook());
            self.failed.push(station);
        }
    }

    /// Returns whether a hook has not returned.
    pub(crate) fn is_busy(&self) -> bool {
        !self.running.is_empty()
    }

    /// Returns whether the hook of this station has not returned.
    pub(crate) fn is_running(&self, station: Station) -> bool {
        self.running.contains(&station)
    }

    /// Counts the hooks that have not returned as failed.
    pub(crate) fn give_up(&mut self) {
        for station in self.running.drain(..) {
            log::error!("{} did not return in time", station.hook());
            self.failed.push(station);
        }
    }

    /// Returns the hooks that failed.
    pub(crate) fn failed(&self) -> Vec<String> {
        let hooks = self.failed.iter().map(|station| station.hook().into());
        hooks.collect()
    }
}

/// Starts the thread. Nobody joins it, because a hook that hangs must not hold the exit.
fn start(handle: Handle) -> io::Result<Sender<(Station, Job)>> {
    let (sender, receiver) = channel::<(Station, Job)>();
    thread::Builder::new().name("hooks".into()).spawn(move || {
        for (station, job) in receiver {
            let well = catch_unwind(AssertUnwindSafe(job)).is_ok();
            handle.hook_returned(station, well);
        }
    })?;
    Ok(sender)
}
