//! The application of the laboratory: what it does is in the target of the request.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use ebbtide::internals::h1::Head;
use ebbtide::{
    Admit, BodyContext, BodyWaker, Fill, Flow, Handler, Pending, Reply, Request, Response, Sink,
    Source, Ticket, Upgrade,
};

use crate::tube::Tube;
use crate::wire::pattern;

/// See [`App::handle`] for the targets.
#[derive(Default)]
pub struct App {
    /// The targets that were asked for, in order; those that a sink answered as well.
    pub ran: Rc<RefCell<Vec<String>>>,
    /// How many heads were asked about.
    pub admitted: u32,
    tickets: BTreeMap<String, Ticket>,
    laters: Vec<Pending>,
    feeds: HashMap<String, Feed>,
    tubes: HashMap<String, Tube>,
    upgrades: BTreeMap<String, Upgrade>,
    /// The sink of the last `/sink`.
    pub basin: Rc<RefCell<Basin>>,
}

impl App {
    /// How many requests were run.
    pub fn runs(&self) -> usize {
        self.ran.borrow().len()
    }

    /// The ticket of the request for that target.
    #[track_caller]
    pub fn ticket(&mut self, target: &str) -> Ticket {
        self.tickets.remove(target).expect("nobody asked for that")
    }

    /// Every ticket that nobody has answered with, by its target.
    pub fn tickets(&mut self) -> BTreeMap<String, Ticket> {
        std::mem::take(&mut self.tickets)
    }

    /// The tunnel of that target. There is one for each, made when it is first asked for.
    pub fn tube(&mut self, target: &str) -> Tube {
        self.tubes.entry(target.to_owned()).or_default().clone()
    }

    /// The answer that upgrades the request for that target, which was kept.
    #[track_caller]
    pub fn upgrade(&mut self, target: &str) -> Response {
        let upgrade = self.upgrades.remove(target).expect("nobody asked for that");
        upgrade.to(self.tube(target).end())
    }

    /// The stream of that target. There is one for each, made when it is first asked for.
    pub fn feed(&mut self, target: &str) -> Feed {
        self.feeds.entry(target.to_owned()).or_default().clone()
    }
}

impl Handler for App {
    fn admit(&mut self, head: &Head<'_, '_>) -> Admit {
        self.admitted += 1;
        match head.path() {
            "/refuse" => Admit::Refuse(Response::text(403, "no\n")),
            "/missing" => Admit::Refuse(Response::text(404, "not here\n")),
            "/nobody" => Admit::NoBody,
            "/small" => Admit::Buffer(10),
            "/panic/admit" => panic!("in admit"),
            path if path.starts_with("/sink") => {
                *self.basin.borrow_mut() = Basin::default();
                Admit::Stream(Box::new(Drink {
                    basin: Rc::clone(&self.basin),
                    ran: Rc::clone(&self.ran),
                    path: path.to_owned(),
                    length: 0,
                }))
            }
            _ => Admit::Take,
        }
    }

    fn handle(&mut self, request: &Request<'_>) -> Reply {
        let target = request.target();
        self.ran.borrow_mut().push(target.to_owned());
        let (path, rest) = match request.path()[1..].split_once('/') {
            Some((first, rest)) => (first, rest),
            None => (&request.path()[1..], ""),
        };
        let size = || rest.parse::<usize>().expect("a size");
        match path {
            "" => Response::text(200, "hello\n").into(),
            // The body, as it came.
            "echo" | "small" | "nobody" => {
                let body = request.body().to_vec();
                Response::text(200, body).into()
            }
            // The rest of the path.
            "say" => Response::text(200, format!("{rest}\n")).into(),
            "draining" => Response::text(200, format!("{}\n", request.draining())).into(),
            // Answered by whoever holds the ticket.
            "later" => {
                let (later, ticket) = request.later();
                assert!(self.tickets.insert(target.to_owned(), ticket).is_none());
                later.into()
            }
            // Answered now, and the ticket kept all the same.
            "hoard" => {
                let (_, ticket) = request.later();
                self.tickets.insert(target.to_owned(), ticket);
                Response::text(200, "now\n").into()
            }
            // The ticket is dropped before the handler returns.
            "dropped" => request.later().0.into(),
            // The Pending of another request: the first keeps it, the second returns it.
            "keep" => {
                self.laters.push(request.later().0);
                Response::new(204).into()
            }
            "stolen" => self.laters.pop().expect("one was kept").into(),
            "static" => Response::text(200, big_static()).into(),
            "owned" => Response::text(200, pattern(size())).into(),
            "shared" => {
                let bytes: Arc<[u8]> = pattern(size()).into_bytes().into();
                Response::text(200, bytes).into()
            }
            // What becomes a tunnel, now or by ticket; `/twice` with the upgrade of another request.
            "tunnel" => match request.upgrade("tube") {
                Some(upgrade) => upgrade.to(self.tube(target).end()).into(),
                None => Response::upgrade_required("tube").into(),
            },
            "keep-upgrade" => {
                let upgrade = request.upgrade("tube").expect("it asked for it");
                self.upgrades.insert(target.to_owned(), upgrade);
                let (later, ticket) = request.later();
                self.tickets.insert(target.to_owned(), ticket);
                later.into()
            }
            "twice" => self.upgrade(&format!("/keep-upgrade/{rest}")).into(),
            "with-body" => match request.upgrade("tube") {
                Some(upgrade) => {
                    let response = upgrade.to(self.tube(target).end());
                    response.body("no").into()
                }
                None => Response::new(204).into(),
            },
            // Streams that the test feeds, and those that make what they are asked for.
            "feed" => Response::new(200).source(self.feed(target)).into(),
            "sized" => {
                let feed = self.feed(target);
                Response::new(200).sized_source(size() as u64, feed).into()
            }
            "flood" => Response::new(200).source(Flood::new(size())).into(),
            "panic" if rest == "source" => Response::new(200).source(Broken).into(),
            "panic" => panic!("in the handler"),
            "mistaken" => Response::text(200, "x").field("A", "b\r\nC: d").into(),
            "close" => Response::text(200, "bye\n").close().into(),
            "empty" => Response::new(204).into(),
            "shutdown" => {
                request.handle().shutdown();
                Response::text(200, "stopping\n").into()
            }
            "cut" => {
                request.handle().cut();
                Response::text(200, "cutting\n").into()
            }
            _ => Response::text(404, "not here\n").into(),
        }
    }
}

/// A megabyte of the program.
fn big_static() -> &'static [u8] {
    static BYTES: OnceLock<String> = OnceLock::new();
    BYTES.get_or_init(|| pattern(1 << 20)).as_bytes()
}

/// A stream whose pieces come from the test.
#[derive(Clone, Default)]
pub struct Feed(Arc<Mutex<FeedState>>);

#[derive(Default)]
struct FeedState {
    pieces: VecDeque<String>,
    /// What it says when it has no more pieces.
    end: Option<Fill>,
    /// It ends when it is told of the drain, with this piece.
    farewell: Option<String>,
    waker: Option<BodyWaker>,
    fills: u32,
}

impl Feed {
    fn state(&self) -> MutexGuard<'_, FeedState> {
        self.0.lock().expect("nobody panics with it")
    }

    fn wake(&self) {
        let waker = self.state().waker.clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Adds a piece, and wakes the stream.
    pub fn push(&self, piece: &str) {
        self.state().pieces.push_back(piece.to_owned());
        self.wake();
    }

    /// Ends it, behind its pieces, and wakes it.
    pub fn end(&self, how: Fill) {
        self.state().end = Some(how);
        self.wake();
    }

    /// Makes it end with this piece when it is told of the drain.
    pub fn says_farewell(&self, piece: &str) {
        self.state().farewell = Some(piece.to_owned());
    }

    /// How often it was asked.
    pub fn fills(&self) -> u32 {
        self.state().fills
    }

    /// Wakes it although it has nothing.
    pub fn nudge(&self) {
        self.wake();
    }
}

impl Source for Feed {
    fn fill(&mut self, out: &mut Vec<u8>, context: &BodyContext<'_>) -> Fill {
        let mut state = self.state();
        state.fills += 1;
        state.waker = Some(context.waker());
        if let Some(piece) = state.pieces.pop_front() {
            out.extend_from_slice(piece.as_bytes());
        }
        if !state.pieces.is_empty() {
            return Fill::More;
        }
        if context.draining()
            && let Some(piece) = state.farewell.take()
        {
            out.extend_from_slice(piece.as_bytes());
            return Fill::Done;
        }
        state.end.clone().unwrap_or(Fill::Pending)
    }
}

/// So many bytes, in pieces of 16 KiB; `usize::MAX` is for ever.
struct Flood {
    text: String,
    left: usize,
}

impl Flood {
    fn new(size: usize) -> Self {
        Self {
            text: pattern(16 << 10),
            left: size,
        }
    }
}

impl Source for Flood {
    fn fill(&mut self, out: &mut Vec<u8>, _: &BodyContext<'_>) -> Fill {
        let n = self.left.min(self.text.len());
        out.extend_from_slice(&self.text.as_bytes()[..n]);
        self.left -= n;
        if self.left == 0 {
            Fill::Done
        } else {
            Fill::More
        }
    }
}

struct Broken;

impl Source for Broken {
    fn fill(&mut self, out: &mut Vec<u8>, _: &BodyContext<'_>) -> Fill {
        out.extend_from_slice(b"half");
        panic!("in the source");
    }
}

/// What a sink has taken.
#[derive(Default)]
pub struct Basin {
    pub bytes: Vec<u8>,
    /// It pauses as soon as it has that many bytes, and at every call as long as it is set.
    pub pause_at: Option<usize>,
    pub waker: Option<BodyWaker>,
    pub pauses: u32,
    pub ended: bool,
    pub dropped: bool,
}

/// The sink of `/sink`; `/sink/refuse` refuses at the second piece, `/sink/panic` panics at it,
/// `/sink/panic-end` at the end, `/sink/later` answers by ticket never.
struct Drink {
    basin: Rc<RefCell<Basin>>,
    ran: Rc<RefCell<Vec<String>>>,
    path: String,
    /// Its own bytes: of uploads that overlap, the basin has those of all.
    length: usize,
}

impl Sink for Drink {
    fn receive(&mut self, bytes: &[u8], context: &BodyContext<'_>) -> Flow {
        assert!(!bytes.is_empty(), "a piece is never empty");
        let mut basin = self.basin.borrow_mut();
        let first = self.length == 0;
        self.length += bytes.len();
        basin.bytes.extend_from_slice(bytes);
        basin.waker = Some(context.waker());
        match self.path.as_str() {
            "/sink/refuse" if !first => return Flow::Refuse(Response::text(409, "enough\n")),
            "/sink/panic" if !first => {
                drop(basin);
                panic!("in the sink");
            }
            _ => {}
        }
        if basin.pause_at.is_some_and(|at| basin.bytes.len() >= at) {
            basin.pauses += 1;
            return Flow::Pause;
        }
        Flow::Continue
    }

    fn end(&mut self, request: &Request<'_>) -> Reply {
        assert!(request.body().is_empty());
        self.ran.borrow_mut().push(request.target().to_owned());
        let mut basin = self.basin.borrow_mut();
        basin.ended = true;
        drop(basin);
        assert_ne!(self.path, "/sink/panic-end", "in the sink's end");
        Response::text(200, format!("{}\n", self.length)).into()
    }
}

impl Drop for Drink {
    fn drop(&mut self) {
        self.basin.borrow_mut().dropped = true;
    }
}
