//! A connection that was upgraded: its bytes belong to a tunnel, which the loop serves.
//!
//! A tunnel is counted, bounded and told of a drain like every other connection, and owns no buffer
//! of the server while it is idle. The loop calls for more only when there is room: that is the
//! back-pressure. Knows no sockets, and none of the protocols.

use std::fmt;
use std::time::Duration;

use crate::app::source::{Fill, Source};
use crate::app::waker::{BodyContext, BodyWaker};
use crate::tick::millis;
use crate::tracker::ConnId;

/// Serves a connection that was upgraded.
///
/// All calls come from the loop's thread, which serves nothing else meanwhile. A panic resets the
/// connection. Other threads reach a tunnel by its [`BodyWaker`], and push through a bounded
/// [`Pipe`](crate::Pipe) that the tunnel holds and empties with [`TunnelIo::pull`]. The tunnel is
/// dropped when its connection ends.
///
/// ```
/// use ebbtide::{Request, Response, Tunnel, TunnelAction, TunnelIo};
///
/// /// Sends back what it gets.
/// struct Echo;
///
/// impl Tunnel for Echo {
///     fn receive(&mut self, bytes: &mut [u8], io: &mut TunnelIo<'_>) -> TunnelAction {
///         io.send(bytes);
///         TunnelAction::Wait
///     }
///
///     fn draining(&mut self, io: &mut TunnelIo<'_>) -> TunnelAction {
///         io.send(b"bye\n");
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
    /// Sends what the server says first, and sets the timer. Called once the 101 was written.
    fn open(&mut self, io: &mut TunnelIo<'_>) -> TunnelAction {
        let _ = io;
        TunnelAction::Wait
    }

    /// Takes bytes of the peer: at least one, and the tunnel's to overwrite. The tunnel keeps what
    /// it needs of them: they are not given twice.
    fn receive(&mut self, bytes: &mut [u8], io: &mut TunnelIo<'_>) -> TunnelAction;

    /// Goes on after its [`BodyWaker`] was used, or when there is room after
    /// [`TunnelAction::More`].
    fn wake(&mut self, io: &mut TunnelIo<'_>) -> TunnelAction {
        let _ = io;
        TunnelAction::Wait
    }

    /// Goes on after the time that [`TunnelIo::wake_after`] asked for.
    fn time(&mut self, io: &mut TunnelIo<'_>) -> TunnelAction {
        let _ = io;
        TunnelAction::Wait
    }

    /// Decides what follows the peer's FIN. By default the server sends its own.
    ///
    /// Over TLS too this may be a bare FIN, which anybody on the way can send: a protocol that ends
    /// with its connection cannot tell a bare FIN from a message that was cut short.
    fn ended(&mut self, io: &mut TunnelIo<'_>) -> TunnelAction {
        let _ = io;
        TunnelAction::Close
    }

    /// Says goodbye: the server drains. Called once. A tunnel that is still open after
    /// [`DrainPolicy::tunnel_grace`](crate::DrainPolicy::tunnel_grace) is closed, and counts as cut.
    fn draining(&mut self, io: &mut TunnelIo<'_>) -> TunnelAction;

    /// Returns a word or two that status and progress lines show.
    fn name(&self) -> &str {
        "tunnel"
    }
}

/// What a [`Tunnel`] wants next. What the tunnel has sent goes out in every case except
/// [`TunnelAction::Fail`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TunnelAction {
    /// Wait for bytes, a wake or the time.
    Wait,
    /// Send more: the loop calls [`Tunnel::wake`] when there is room, and receives nothing meanwhile.
    More,
    /// Receive nothing until a wake. The kernel's window holds the peer.
    Pause,
    /// Send a FIN after the last byte.
    Close,
    /// Reset the connection, so that the peer does not take a part for the whole.
    Fail,
}

/// A tunnel's side of its connection, for one call.
#[derive(Debug)]
pub struct TunnelIo<'a> {
    out: &'a mut Vec<u8>,
    /// The length at which `out` is full.
    full: usize,
    /// For what a source makes.
    piece: &'a mut Vec<u8>,
    context: BodyContext<'a>,
    timer: Timer,
    midway: bool,
}

/// What a tunnel asked of its timer in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// No change.
    Keep,
    /// A call after this number of milliseconds.
    Set(u32),
    /// No call.
    Stop,
}

impl<'a> TunnelIo<'a> {
    /// Makes an interface that appends up to `room` bytes to `out`.
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

    /// Sends bytes once the call has returned. All bytes are taken, also beyond [`TunnelIo::room`];
    /// a tunnel that sends much stops there and returns [`TunnelAction::More`].
    pub fn send(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Returns how many more bytes can be sent before the tunnel should wait for room: 64 KiB when
    /// nothing waits to be written.
    pub const fn room(&self) -> usize {
        self.full.saturating_sub(self.out.len())
    }

    /// Sends the next piece of a source, such as a [`Pipe`](crate::Pipe) that other threads write
    /// into. After [`Fill::More`] the tunnel returns [`TunnelAction::More`]. After
    /// [`Fill::Pending`] the source wakes the tunnel. [`Fill::Share`] is copied, and becomes
    /// [`Fill::More`].
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

    /// Asks for one call of [`Tunnel::time`] after this long, at most five days; replaces what was
    /// asked for before. A timer costs the same for a million tunnels as for one, and no memory.
    /// Where tunnels ask for more than 32 different durations at a time, some get a later one.
    #[doc(alias = "timeout")]
    pub const fn wake_after(&mut self, after: Duration) {
        self.timer = Timer::Set(millis(after));
    }

    /// Takes back what [`TunnelIo::wake_after`] asked for.
    pub const fn stop_timer(&mut self) {
        self.timer = Timer::Stop;
    }

    /// Returns what wakes this tunnel, from any thread.
    pub fn waker(&self) -> BodyWaker {
        self.context.waker()
    }

    /// Returns whether the server has been told to stop.
    pub fn draining(&self) -> bool {
        self.context.draining()
    }

    /// Returns whether a part of a TLS record has arrived: the peer has begun to send something, and
    /// nothing of it can be received yet. A tunnel may wait for the rest before it says goodbye.
    pub const fn midway(&self) -> bool {
        self.midway
    }
}

/// What the connection becomes after a 101, as the body of the response.
pub(crate) struct Switch {
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
    use std::sync::Arc;

    use super::*;
    use crate::app::inbox::Inbox;

    #[test]
    fn a_tunnel_knows_how_much_room_there_is() {
        let inbox = Inbox::new(Arc::new(|| {}));
        let (mut out, mut piece) = (b"owed".to_vec(), Vec::new());
        let context = inbox.context(ConnId::from_bits(1), 1);
        let mut io = TunnelIo::new(&mut out, 10, &mut piece, context, false);
        io.send(b"123456");
        assert_eq!(io.room(), 4);
        io.send(b"123456");
        assert_eq!((io.room(), io.timer()), (0, Timer::Keep));
        io.wake_after(Duration::from_secs(2));
        assert_eq!(io.timer(), Timer::Set(2_000));
        io.stop_timer();
        assert_eq!(io.timer(), Timer::Stop);
        assert_eq!(out, b"owed123456123456");
    }
}
