//! When a listener closed, as seen from outside: by knocking at its door.
//!
//! Knows no HTTP.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::failure::Failure;
use super::process::Exit;

/// Knocks until nobody opens: the only way to tell from outside when a listener has closed. Each
/// connection is closed at once, so that it holds up nothing.
#[derive(Debug)]
pub(super) struct Door {
    enough: Arc<AtomicBool>,
    knocks: thread::JoinHandle<Option<Knocks>>,
}

/// What the knocks at a door that closed have shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Knocks {
    /// When the last was let in.
    opened: Option<Instant>,
    /// When the last before the refusal was sent, if it was neither refused nor let in.
    unanswered: Option<Instant>,
    /// When the first was refused.
    refused: Instant,
}

impl Knocks {
    /// When the door closed. A SYN that met it closing had no answer, and the next knock came late
    /// by all the time for which one was waited for: so it is when that SYN was sent. And if nobody
    /// was let in after the exit, it had closed by then.
    pub(super) fn closed(self, exit: Option<Exit>) -> Instant {
        let met = self.unanswered.unwrap_or(self.refused);
        let ended = exit.map(|exit| exit.at);
        let ended = ended.filter(|at| self.opened.is_none_or(|opened| opened < *at));
        ended.map_or(met, |at| at.min(met))
    }
}

impl Door {
    /// Starts to knock, on a thread of its own.
    ///
    /// # Errors
    ///
    /// The system cannot start a thread.
    pub(super) fn watch(addr: SocketAddr) -> Result<Self, Failure> {
        let enough = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&enough);
        let knocks = thread::Builder::new().name("door".into());
        let knocks = knocks.spawn(move || knock(addr, &stop));
        Ok(Self {
            enough,
            knocks: knocks.map_err(Failure::System)?,
        })
    }

    /// Whether a knock was refused.
    pub(super) fn is_closed(&self) -> bool {
        self.knocks.is_finished()
    }

    /// What the knocks have shown, if the door closed.
    pub(super) fn closed(self) -> Option<Knocks> {
        self.enough.store(true, Ordering::Relaxed);
        // It has nothing that could panic.
        self.knocks.join().ok().flatten()
    }
}

/// Knocks until the door is closed, or once more after the word to stop: a server that ended just now
/// has closed its door.
fn knock(addr: SocketAddr, stop: &AtomicBool) -> Option<Knocks> {
    let mut opened = None;
    let mut unanswered = None;
    loop {
        let sent = Instant::now();
        let last = stop.load(Ordering::Relaxed);
        match TcpStream::connect_timeout(&addr, KNOCK_LIMIT) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return Some(Knocks {
                    opened,
                    unanswered,
                    refused: Instant::now(),
                });
            }
            _ if last => return None,
            Ok(_) => (opened, unanswered) = (Some(Instant::now()), None),
            Err(_) => unanswered = Some(sent),
        }
        thread::sleep(KNOCK_PACE); // nothing tells when somebody else's door closes
    }
}

/// Between two knocks.
const KNOCK_PACE: Duration = Duration::from_millis(2);

/// A listener that is about to close may leave a SYN without an answer.
const KNOCK_LIMIT: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_is_closed_when_the_server_has_ended_unless_somebody_was_let_in_later() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let exit = |millis| Exit {
            at: at(millis),
            code: Some(0),
            signal: None,
        };
        let knocks = |opened: Option<u64>| Knocks {
            opened: opened.map(at),
            unanswered: None,
            refused: at(57),
        };
        assert_eq!(knocks(Some(1)).closed(Some(exit(4))), at(4));
        assert_eq!(knocks(None).closed(Some(exit(4))), at(4));
        assert_eq!(knocks(Some(1)).closed(Some(exit(90))), at(57));
        assert_eq!(knocks(Some(1)).closed(None), at(57));
        // A child of it held the listener.
        assert_eq!(knocks(Some(40)).closed(Some(exit(4))), at(57));
    }

    #[test]
    fn a_door_was_closing_when_the_knock_without_an_answer_was_sent() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let knocks = Knocks {
            opened: Some(at(1)),
            unanswered: Some(at(3)),
            refused: at(55),
        };
        assert_eq!(knocks.closed(None), at(3));
        let exit = |millis| Exit {
            at: at(millis),
            code: Some(0),
            signal: None,
        };
        assert_eq!(knocks.closed(Some(exit(90))), at(3));
        assert_eq!(knocks.closed(Some(exit(2))), at(2));
    }
}
