//! Upgrades: a connection that stops being HTTP and is served in the loop all the same.
//!
//! A request that asks for another protocol gives an [`Upgrade`]; with a [`Tunnel`] that is a
//! `101 Switching Protocols`, and from then on the connection's bytes are the tunnel's. It is
//! counted, bounded and told of a drain like every other connection, and while it is idle it owns
//! no buffer of the server's. Back-pressure is the absence of a call: a tunnel whose peer takes
//! nothing is given nothing, and is asked for more only when there is room.
//!
//! Knows no sockets, and no protocol that one upgrades to.

use std::fmt;
use std::time::Duration;

use crate::app::later::BodyWaker;
use crate::app::request::Request;
use crate::app::response::{Body, Mistake, Response};
use crate::app::source::{BodyContext, Fill, Source};
use crate::h1;
use crate::tick::millis;
use crate::tracker::ConnId;

/// Serves a connection that was upgraded.
///
/// All calls come from the loop's thread, which serves nothing else meanwhile; a panic resets the
/// connection. Other threads reach a tunnel by its [`BodyWaker`], and push through a bounded
/// [`Pipe`](crate::Pipe) that the tunnel holds and empties with [`TunnelIo::pull`]. It is dropped when
/// the connection ends, for whatever reason.
///
/// ```
/// use ebbtide::{TunnelIo, TunnelAction, Request, Response, Tunnel};
///
/// /// Sends back what it gets.
/// struct Echo;
///
/// impl Tunnel for Echo {
///     fn receive(&mut self, bytes: &mut [u8], line: &mut TunnelIo<'_>) -> TunnelAction {
///         line.send(bytes);
///         TunnelAction::Wait
///     }
///
///     fn draining(&mut self, line: &mut TunnelIo<'_>) -> TunnelAction {
///         line.send(b"bye\n");
///         TunnelAction::Close
///     }
/// }
///
/// fn answer(request: &Request<'_>) -> Response {
///     match request.upgrade("echo") {
///         Some(upgrade) => upgrade.to(Echo),
///         None => Response::upgrade_required("echo"),
///     }
/// }
/// ```
pub trait Tunnel: Send {
    /// The 101 was written: what the server says first, and the timer.
    fn open(&mut self, line: &mut TunnelIo<'_>) -> TunnelAction {
        let _ = line;
        TunnelAction::Wait
    }

    /// Bytes of the peer; never none, and the tunnel's to write in. It keeps what it needs of them:
    /// they are not given twice.
    fn receive(&mut self, bytes: &mut [u8], line: &mut TunnelIo<'_>) -> TunnelAction;

    /// Its [`BodyWaker`] was used; or it had said [`TunnelAction::More`], and there is room.
    fn wake(&mut self, line: &mut TunnelIo<'_>) -> TunnelAction {
        let _ = line;
        TunnelAction::Wait
    }

    /// The time is over that it asked for with [`TunnelIo::wake_after`].
    fn time(&mut self, line: &mut TunnelIo<'_>) -> TunnelAction {
        let _ = line;
        TunnelAction::Wait
    }

    /// The peer sends nothing more. By default neither does the server.
    ///
    /// Over TLS too this may be a bare FIN, which anybody on the way can send: a protocol that ends
    /// with its connection cannot tell that from being cut short.
    fn ended(&mut self, line: &mut TunnelIo<'_>) -> TunnelAction {
        let _ = line;
        TunnelAction::Close
    }

    /// The server drains: the moment to say goodbye. Called once. A tunnel that has not ended by
    /// itself after [`Drain::tunnel_grace`](crate::Drain::tunnel_grace) is ended, and counts as cut.
    fn draining(&mut self, line: &mut TunnelIo<'_>) -> TunnelAction;

    /// What it is, in a word or two, for status and progress lines.
    fn name(&self) -> &str {
        "tunnel"
    }
}

/// What a [`Tunnel`] wants next. What it has sent goes out in any case but [`TunnelAction::Fail`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelAction {
    /// Whatever comes: bytes, a wake, the time.
    Wait,
    /// To send more: [`Tunnel::wake`] when there is room. Meanwhile nothing is received.
    More,
    /// To receive nothing until it is woken; the kernel's window holds the peer.
    Pause,
    /// To end: FIN after the last byte.
    Close,
    /// To end with a reset, so that the peer does not take what it has for the whole.
    Fail,
}

/// A tunnel's side of its connection, for the time of one call.
#[derive(Debug)]
pub struct TunnelIo<'a> {
    out: &'a mut Vec<u8>,
    /// The length of `out` from which on it is full.
    full: usize,
    /// For what a source makes.
    piece: &'a mut Vec<u8>,
    context: BodyContext<'a>,
    timer: Timer,
    midway: bool,
}

/// What a tunnel asked for in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Nothing: as it was.
    Keep,
    /// To be woken so many milliseconds from now.
    Set(u32),
    /// Not to be woken.
    Stop,
}

impl<'a> TunnelIo<'a> {
    /// A line that appends to `out`, in which there is room for `room` bytes, and whose peer may be
    /// midway in something.
    pub(crate) const fn new(
        out: &'a mut Vec<u8>,
        room: usize,
        piece: &'a mut Vec<u8>,
        context: BodyContext<'a>,
        midway: bool,
    ) -> Self {
        Self {
            full: out.len().saturating_add(room),
            out,
            piece,
            context,
            timer: Timer::Keep,
            midway,
        }
    }

    pub(crate) const fn timer(&self) -> Timer {
        self.timer
    }

    /// Sends bytes: they are taken in any case, and written when the call has returned. Who sends
    /// much looks at [`TunnelIo::room`] and says [`TunnelAction::More`].
    pub fn send(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// How many more bytes can be sent before the tunnel should wait for room: 64 KiB where nothing
    /// waits to be written.
    pub const fn room(&self) -> usize {
        self.full.saturating_sub(self.out.len())
    }

    /// Sends the next piece of a source: of a [`Pipe`](crate::Pipe) that other threads write into,
    /// say. After [`Fill::More`] the tunnel says [`TunnelAction::More`]; after [`Fill::Pending`] the source
    /// wakes the tunnel. What a source shares is copied, and is [`Fill::More`].
    pub fn pull(&mut self, source: &mut impl Source) -> Fill {
        self.piece.clear();
        let fill = source.fill(self.piece, &self.context);
        self.out.extend_from_slice(self.piece);
        match fill {
            Fill::Share(bytes) => {
                self.out.extend_from_slice(bytes.bytes());
                Fill::More
            }
            fill => fill,
        }
    }

    /// Asks for [`Tunnel::time`] after this long, once; replaces what was asked for before. At most
    /// five days. Costs the same for a million tunnels as for one, and no memory. Timers beyond 32
    /// different durations at a time cost O(log n), and some 16 bytes each. None is early.
    pub const fn wake_after(&mut self, after: Duration) {
        self.timer = Timer::Set(millis(after));
    }

    /// Asks not to be woken by time.
    pub const fn stop_timer(&mut self) {
        self.timer = Timer::Stop;
    }

    /// What wakes this tunnel, from any thread.
    pub fn waker(&self) -> BodyWaker {
        self.context.waker()
    }

    /// Whether the server has been told to stop.
    pub fn draining(&self) -> bool {
        self.context.draining()
    }

    /// Whether a part of a TLS record has arrived: the peer has begun to send something of which
    /// there is nothing to receive yet. Who says goodbye may want to wait for it.
    pub const fn midway(&self) -> bool {
        self.midway
    }
}

/// The right to upgrade one request, which asked for it. Goes to any thread with the request's
/// [`Ticket`](crate::Ticket).
#[derive(Debug)]
#[must_use = "the response that it gives is the upgrade"]
pub struct Upgrade {
    id: ConnId,
    nth: u32,
    protocol: Box<str>,
}

impl Upgrade {
    /// The answer that upgrades: `101 Switching Protocols`, and then the tunnel. It may be given
    /// more fields, but no body; answering another request with it is a mistake, and answered 500.
    pub fn to(self, tunnel: impl Tunnel + 'static) -> Response {
        let mut response = Response::switching();
        response.upgrade_fields(&self.protocol);
        response.body = Body::Tunnel(Box::new(Switch {
            id: self.id,
            nth: self.nth,
            tunnel: Box::new(tunnel),
        }));
        response
    }
}

impl Request<'_> {
    /// The right to upgrade this request to a protocol, if it asked for that: it lists the protocol
    /// in `Upgrade`, in any case, and `upgrade` in `Connection`, and it is no HTTP/1.0 (RFC 9110
    /// §7.8).
    pub fn upgrade(&self, protocol: &str) -> Option<Upgrade> {
        let lists = |field, wanted: &str| {
            let values = self.head.fields_named(field);
            let mut elements = values.flat_map(|value| value.split(|byte| *byte == b','));
            elements.any(|element| element.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
        };
        let asked =
            self.head.minor > 0 && lists("upgrade", protocol) && lists("connection", "upgrade");
        asked.then(|| Upgrade {
            id: self.id,
            nth: self.nth,
            protocol: protocol.into(),
        })
    }
}

impl Response {
    /// `426 Upgrade Required`: this path speaks only that protocol (RFC 9110 §15.5.22).
    pub fn upgrade_required(protocol: &str) -> Self {
        let text = format!("this needs an upgrade to {protocol}\n");
        let mut response = Self::text(426, text);
        response.upgrade_fields(protocol);
        response
    }

    /// `Upgrade`, and the option in `Connection` that has to go with it.
    fn upgrade_fields(&mut self, protocol: &str) {
        if !is_protocol(protocol) {
            self.note(Mistake::Value("Upgrade".into()));
            return;
        }
        let lines = ["Connection: Upgrade\r\nUpgrade: ", protocol, "\r\n"];
        self.fields.extend_from_slice(lines.concat().as_bytes());
    }
}

/// `protocol-name ["/" protocol-version]`, both tokens.
fn is_protocol(protocol: &str) -> bool {
    let mut parts = protocol.splitn(2, '/');
    parts.all(h1::is_field_name)
}

/// The body of the answer that upgrades: what the connection becomes.
pub struct Switch {
    pub(crate) id: ConnId,
    pub(crate) nth: u32,
    pub(crate) tunnel: Box<dyn Tunnel>,
}

impl fmt::Debug for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Switch")
            .field("id", &self.id)
            .field("nth", &self.nth)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;
    use std::sync::Arc;

    use super::*;
    use crate::app::later::Inbox;
    use crate::h1::{Head, Header};
    use crate::peer::Peer;

    struct Nothing;

    impl Tunnel for Nothing {
        fn receive(&mut self, _: &mut [u8], _: &mut TunnelIo<'_>) -> TunnelAction {
            TunnelAction::Wait
        }

        fn draining(&mut self, _: &mut TunnelIo<'_>) -> TunnelAction {
            TunnelAction::Close
        }
    }

    fn upgrades(head: &str) -> bool {
        let inbox = Inbox::new(Arc::new(|| {}));
        let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; 16];
        let head = Head::parse(head.as_bytes(), &mut fields).unwrap();
        let request = Request {
            head: &head,
            body: &[],
            peer: Peer::from(std::net::SocketAddr::from(([127, 0, 0, 1], 1))),
            id: ConnId::from_bits(1),
            nth: 1,
            handle: inbox.handle(),
        };
        request.upgrade("echo/1").is_some()
    }

    #[test]
    fn only_what_was_asked_for_is_an_upgrade() {
        const CASES: &[(&str, bool)] = &[
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n\r\n",
                true,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, UPGRADE\r\n\
                 Upgrade: other ,\tECHO/1\r\n\r\n",
                true,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: upgrade\r\n\
                 Upgrade: other\r\nUpgrade: echo/1\r\n\r\n",
                true,
            ),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", false),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: echo/1\r\n\r\n",
                false,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n",
                false,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgraded\r\nUpgrade: echo/1\r\n\r\n",
                false,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
                false,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo/11\r\n\r\n",
                false,
            ),
            (
                "GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n\r\n",
                false,
            ),
        ];
        for (head, expected) in CASES {
            assert_eq!(upgrades(head), *expected, "{head}");
        }
    }

    #[test]
    fn a_protocol_that_cannot_be_written_is_a_mistake() {
        for protocol in ["", "a b", "a\r\nb", "a/", "a/b/c", "a,b"] {
            let response = Response::upgrade_required(protocol);
            assert!(response.mistake.is_some(), "{protocol:?}");
        }
        for protocol in ["websocket", "HTTP/2.0", "h2c"] {
            let response = Response::upgrade_required(protocol);
            assert_eq!(response.mistake, None, "{protocol:?}");
        }
    }

    #[test]
    fn the_answer_is_a_101_with_its_fields() {
        let upgrade = Upgrade {
            id: ConnId::from_bits(1),
            nth: 1,
            protocol: "echo".into(),
        };
        let response = upgrade.to(Nothing).field("X", "y");
        assert_eq!((response.status(), response.mistake), (101, None));
        let fields = b"Connection: Upgrade\r\nUpgrade: echo\r\nX: y\r\n";
        assert_eq!(response.fields, fields);
        assert!(matches!(response.body, Body::Tunnel(_)));
    }

    #[test]
    fn a_line_says_how_much_room_there_is() {
        let inbox = Inbox::new(Arc::new(|| {}));
        let (mut out, mut piece) = (b"owed".to_vec(), Vec::new());
        let context = BodyContext {
            id: ConnId::from_bits(1),
            nth: 1,
            handle: inbox.handle(),
        };
        let mut line = TunnelIo::new(&mut out, 10, &mut piece, context, false);
        line.send(b"123456");
        assert_eq!(line.room(), 4);
        line.send(b"123456");
        assert_eq!((line.room(), line.timer()), (0, Timer::Keep));
        line.wake_after(Duration::from_secs(2));
        assert_eq!(line.timer(), Timer::Set(2_000));
        line.stop_timer();
        assert_eq!(line.timer(), Timer::Stop);
        assert_eq!(out, b"owed123456123456");
    }
}
