//! A thread that runs tasks at their time: it answers the demo's delayed requests and wakes its
//! streams.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Instant;

/// A task.
type Task = Box<dyn FnOnce() + Send>;

/// Takes tasks for a time. The thread ends when the last handle is dropped.
#[derive(Clone, Debug)]
pub(super) struct Timer {
    sender: Sender<Timed>,
}

impl Timer {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system cannot start a thread.
    pub(super) fn start() -> io::Result<Self> {
        let (sender, receiver) = channel();
        thread::Builder::new()
            .name("timer".into())
            .spawn(move || run(&receiver))?;
        Ok(Self { sender })
    }

    /// Runs `task` at that time, on the timer's thread.
    pub(super) fn at(&self, time: Instant, task: impl FnOnce() + Send + 'static) {
        let task = Box::new(task);
        // The thread ends only with this sender.
        let _ = self.sender.send(Timed { time, task });
    }
}

struct Timed {
    time: Instant,
    task: Task,
}

/// The heap's greatest entry is the earliest.
impl Ord for Timed {
    fn cmp(&self, other: &Self) -> Ordering {
        other.time.cmp(&self.time)
    }
}

impl PartialOrd for Timed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Timed {
    fn eq(&self, other: &Self) -> bool {
        self.time == other.time
    }
}

impl Eq for Timed {}

fn run(receiver: &Receiver<Timed>) {
    let mut waiting = BinaryHeap::<Timed>::new();
    loop {
        let now = Instant::now();
        while waiting.peek().is_some_and(|first| first.time <= now)
            && let Some(due) = waiting.pop()
        {
            (due.task)();
        }
        let next = match waiting.peek() {
            Some(first) => receiver.recv_timeout(first.time.saturating_duration_since(now)),
            None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match next {
            Ok(timed) => waiting.push(timed),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn tasks_run_in_the_order_of_their_times() {
        let timer = Timer::start().unwrap();
        let (done, results) = channel();
        let start = Instant::now();
        for millis in [30, 10, 20] {
            let done = done.clone();
            timer.at(start + Duration::from_millis(millis), move || {
                done.send((millis, Instant::now())).unwrap();
            });
        }
        for expected in [10, 20, 30] {
            let (millis, at) = results.recv().unwrap();
            assert_eq!(millis, expected);
            assert!(at >= start + Duration::from_millis(millis), "too early");
        }
    }
}
