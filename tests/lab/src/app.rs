//! The application of the laboratory. The target of a request says what the application does.

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

/// Runs the targets of [`App::handle`].
#[derive(Default)]
pub struct App {
    /// The targets that the handler and the sinks ran, in order.
    pub ran: Rc<RefCell<Vec<String>>>,
    /// How many heads were admitted or refused.
    pub admitted: u32,
    tickets: BTreeMap<String, Ticket>,
    laters: Vec<Pending>,
    feeds: HashMap<String, Feed>,
    tubes: HashMap<String, Tube>,
    upgrades: BTreeMap<String, Upgrade>,
    /// What the sink of the last `/sink` took.
    pub basin: Rc<RefCell<Basin>>,
}

impl App {
    /// Returns how many requests were run.
    pub fn runs(&self) -> usize {
        self.ran.borrow().len()
    }

    /// Takes the ticket of the request for that target.
    #[track_caller]
    pub fn ticket(&mut self, target: &str) -> Ticket {
        self.tickets.remove(target).expect("nobody asked for that")
    }

    /// Takes every ticket that is left, by target.
    pub fn tickets(&mut self) -> BTreeMap<String, Ticket> {
        std::mem::take(&mut self.tickets)
    }

    /// Returns the tunnel of that target, and makes it at the first call.
    pub fn tube(&mut self, target: &str) -> Tube {
        self.tubes.entry(target.to_owned()).or_default().clone()
    }

    /// Returns the response that upgrades the request for that target, whose upgrade was kept.
    #[track_caller]
    pub fn upgrade(&mut self, target: &str) -> Response {
        let upgrade = self.upgrades.remove(target).expect("nobody asked for that");
        upgrade.to(self.tube(target).end())
    }

    /// Returns the stream of that target, and makes it at the first call.
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
            // Sends the body back.
            "echo" | "small" | "nobody" => {
                let body = request.body().to_vec();
                Response::text(200, body).into()
            }
            // Sends the rest of the path back.
            "say" => Response::text(200, format!("{rest}\n")).into(),
            "draining" => Response::text(200, format!("{}\n", request.draining())).into(),
            // Waits until the test sends a response by the ticket.
            "later" => {
                let (later, ticket) = request.later();
                assert!(self.tickets.insert(target.to_owned(), ticket).is_none());
                later.into()
            }
            // Responds now, and keeps the ticket.
            "hoard" => {
                let (_, ticket) = request.later();
                self.tickets.insert(target.to_owned(), ticket);
                Response::text(200, "now\n").into()
            }
            // Drops the ticket before the handler returns.
            "dropped" => request.later().0.into(),
            // Returns the Pending of another request: the first request keeps it, the second
            // returns it.
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
            // Becomes a tunnel, now or by ticket; `/twice` uses the upgrade of another request.
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
            // Streams what the test feeds, or what the path asks for.
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

/// Returns a megabyte that belongs to the program.
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
    /// What the stream returns when it has no more pieces.
    end: Option<Fill>,
    /// The last piece of a stream that ends when the drain begins.
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

    /// Ends the stream behind its pieces, and wakes it.
    pub fn end(&self, how: Fill) {
        self.state().end = Some(how);
        self.wake();
    }

    /// Makes the stream end with this piece when the drain begins.
    pub fn says_farewell(&self, piece: &str) {
        self.state().farewell = Some(piece.to_owned());
    }

    /// Returns how often the stream was asked.
    pub fn fills(&self) -> u32 {
        self.state().fills
    }

    /// Wakes the stream although it has nothing.
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

/// A number of bytes in pieces of 16 KiB; `usize::MAX` never ends.
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
    /// The sink pauses once it has this number of bytes, at every call while this is set.
    pub pause_at: Option<usize>,
    pub waker: Option<BodyWaker>,
    pub pauses: u32,
    pub ended: bool,
    pub dropped: bool,
}

/// The sink of `/sink`. `/sink/refuse` refuses the second piece, `/sink/panic` panics at it, and
/// `/sink/panic-end` panics at the end.
struct Drink {
    basin: Rc<RefCell<Basin>>,
    ran: Rc<RefCell<Vec<String>>>,
    path: String,
    /// The bytes of this sink; the basin has those of all uploads.
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
