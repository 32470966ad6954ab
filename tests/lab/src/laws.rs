//! The laws that hold for each peer of any world, whether chance or a fuzzer wrote its script.

use ebbtide::internals::sys::sim::{Pace, PeerId, Sim};

use crate::response::Response;
use crate::wire;

/// What a peer does, as far as the laws ask.
pub struct Conduct {
    pub peer: PeerId,
    /// The responses to the requests that the peer sends in full before anything else.
    pub asks: Vec<Expected>,
    /// When the first byte of each request was sent.
    pub begun: Vec<u32>,
    /// When the peer takes what it is sent.
    pub takes: Pace,
    /// The peer sends more than requests.
    pub wild: bool,
    /// The peer breaks off, or keeps its responses waiting, or ignores the protocol.
    pub unkind: bool,
    /// The application fails one of its responses, or stops the server for it.
    pub broken: bool,
}

impl Conduct {
    pub const fn new(peer: PeerId, takes: Pace) -> Self {
        Self {
            peer,
            asks: Vec::new(),
            begun: Vec::new(),
            takes,
            wild: false,
            unkind: false,
            broken: false,
        }
    }
}

/// The response to one request.
pub enum Expected {
    Body(String),
    Status(u16),
    /// This status, which answers a request that no handler ran.
    Refused(u16),
}

impl Expected {
    fn is(&self, response: &Response) -> bool {
        match self {
            Self::Body(body) => response.status == 200 && response.body == body.as_bytes(),
            Self::Status(status) | Self::Refused(status) => response.status == *status,
        }
    }
}

/// How a world went, as far as the laws ask.
pub struct Course {
    /// A deadline or a second signal cut somebody.
    pub cut: bool,
    /// Time limits are short enough to end a request of a kind peer.
    pub hurried: bool,
    /// Something other than the peers' conduct can end the connection of a kind peer.
    pub disturbed: bool,
    /// Time passes within a turn, so that two events of a turn have no known order.
    pub held_up: bool,
    /// Nothing keeps the server from accepting.
    pub welcomes: bool,
    /// A connection can break between its handshake and its accept.
    pub forgets: bool,
}

/// Asserts the laws for a peer whose requests ran `runs` times. Returns how many responses to those
/// runs the peer got.
pub fn hold(sim: &Sim, it: &Conduct, runs: usize, course: &Course) -> usize {
    let (seen, got) = (sim.seen(it.peer), sim.got(it.peer));
    let (responses, rest) = wire::responses(got);
    let about = || format!("{:?}, {seen:?}: {}", it.peer, got.escape_ascii());
    let (mut own, mut forced) = (0, 0);
    for (nth, response) in responses.iter().enumerate() {
        let last = nth + 1 == responses.len() && rest.is_empty();
        assert!(
            last || !response.says_close(),
            "bytes behind a close: {}",
            about()
        );
        match it.asks.get(nth) {
            _ if it.broken => {}
            // Each request has its own response, in order.
            Some(Expected::Refused(status)) if response.status == *status => {}
            Some(expected) if expected.is(response) => own += 1,
            None if it.wild => {}
            // A last word answers what the peer broke off, or what the server cut.
            _ => {
                let deserved =
                    (it.unkind || course.hurried) && matches!(response.status, 400 | 408);
                let cut = (course.cut || course.hurried) && response.status == 503;
                assert!(
                    response.says_close() && (deserved || cut),
                    "{response:?}: {}",
                    about()
                );
                forced += usize::from(cut);
            }
        }
    }
    assert!(own <= runs, "a response that no handler gave: {}", about());
    if seen.fin.is_some() && !it.wild && !it.broken {
        assert!(own + forced >= runs, "a response is lost: {}", about());
        assert_eq!(rest, b"", "half a response before a clean end: {}", about());
    }
    // A clean end says that every request which had begun to arrive is answered, unless it comes
    // behind `Connection: close`, which says that nothing behind that response was run. Peers act
    // before the engine learns of a moment, so a request of the moment of the FIN counts.
    let finished = match it.takes {
        Pace::AtOnce => seen.fin,
        Pace::After(pause) => seen.fin.map(|taken| taken.saturating_sub(pause)),
        Pace::Never => None, // nobody knows when the FIN was sent
    };
    let told = responses
        .last()
        .is_some_and(|response| response.says_close());
    if let Some(finished) = finished.filter(|_| !told && !course.held_up) {
        let due = it.begun.iter().filter(|begun| **begun <= finished).count();
        assert!(
            responses.len() >= due,
            "a request is lost: {due}, {}",
            about()
        );
    }
    let kind = !it.wild && !it.unkind && !it.broken && it.takes != Pace::Never;
    if kind && !course.disturbed {
        assert_eq!(own, runs, "a kind peer lost a response: {}", about());
        assert_eq!(rest, b"", "half a response: {}", about());
        if seen.fin.is_none() {
            assert!(got.is_empty(), "a reset in the middle: {}", about());
            assert!(
                !seen.connected || !course.welcomes,
                "turned away: {}",
                about()
            );
            assert!(!seen.open() || course.forgets, "never an end: {}", about());
        }
    }
    own
}
