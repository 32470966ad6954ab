//! Finds out when a listener closed, by connecting again and again.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::failure::Failure;
use super::process::Exit;

/// Connects until the listener refuses, because nothing else shows from outside that a listener has
/// closed. Each connection closes at once, so that it holds up nothing.
#[derive(Debug)]
pub(super) struct Door {
    enough: Arc<AtomicBool>,
    knocks: thread::JoinHandle<Option<Knocks>>,
}

/// The result of the tries at a listener that has closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Knocks {
    /// The time of the last connection.
    opened: Option<Instant>,
    /// The beginning of the last try before the refusal, if the listener neither refused nor
    /// accepted that try.
    unanswered: Option<Instant>,
    /// The time of the first refusal.
    refused: Instant,
}

impl Knocks {
    /// Returns the time when the listener closed. A closing listener leaves a SYN without a
    /// response, and the next try comes a timeout later; the close therefore dates from that SYN. A
    /// listener that accepted nothing after the exit closed with the exit at the latest.
    pub(super) fn closed(self, exit: Option<Exit>) -> Instant {
        let met = self.unanswered.unwrap_or(self.refused);
        let ended = exit.map(|exit| exit.at);
        let ended = ended.filter(|at| self.opened.is_none_or(|opened| opened < *at));
        ended.map_or(met, |at| at.min(met))
    }
}

impl Door {
    /// Starts to connect, on a thread of its own.
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

    /// Returns whether a try was refused.
    pub(super) fn is_closed(&self) -> bool {
        self.knocks.is_finished()
    }

    /// Returns the result of the tries, if the listener closed.
    pub(super) fn closed(self) -> Option<Knocks> {
        self.enough.store(true, Ordering::Relaxed);
        // The thread cannot panic.
        self.knocks.join().ok().flatten()
    }
}

/// Connects until a refusal, or once more after `stop`: a server that ended just now has closed its
/// listener.
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
        thread::sleep(KNOCK_PACE); // no event tells when another process closes
    }
}

/// The pause between two tries.
const KNOCK_PACE: Duration = Duration::from_millis(2);

/// The timeout of a try: a listener about to close may leave a SYN without a response.
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
        // A child of the server held the listener.
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
