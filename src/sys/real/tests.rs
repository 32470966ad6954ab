use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream as Client};
use std::sync::mpsc;
use std::thread;

use nix::errno::Errno;
use nix::sys::pthread::{pthread_kill, pthread_self};
use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::Pid;

use super::*;
use crate::sys::listen::ListenOptions;
use crate::tracker::{Phase, Tracker};

/// A system that listens on loopback, and the ids of its connections.
struct World {
    real: Real,
    addr: SocketAddr,
    names: Tracker<()>,
}

impl World {
    fn new() -> Self {
        Self::at("127.0.0.1", None)
    }

    fn at(ip: &str, signals: Option<Signals>) -> Self {
        let any = format!("{ip}:0");
        let listener = Listener::bind(any, &ListenOptions::default()).unwrap();
        Self {
            addr: listener.local_addr().unwrap(),
            real: Real::new(vec![listener], signals).unwrap(),
            names: Tracker::new(),
        }
    }

    /// Waits for an event of `who` that satisfies `wanted`.
    #[track_caller]
    fn wait_for(&mut self, who: Who, wanted: impl Fn(&Ready) -> bool) -> Ready {
        let mut events = Vec::new();
        for _ in 0..100 {
            self.real.wait(Some(PATIENCE), &mut events).unwrap();
            assert!(!events.is_empty(), "nothing more happened");
            if let Some(found) = events.iter().find(|e| e.who == who && wanted(e)) {
                return *found;
            }
            events.clear();
        }
        panic!("other things kept happening");
    }

    /// Returns the events that are pending.
    fn events(&mut self) -> Vec<Ready> {
        let mut events = Vec::new();
        self.real.wait(Some(0), &mut events).unwrap();
        events
    }

    /// Returns a client, and our end of its connection.
    fn connect(&mut self) -> (Client, TcpStream) {
        let client = Client::connect(self.addr).unwrap();
        client.set_read_timeout(Some(LONG)).unwrap();
        let io = loop {
            match self.real.accept(0) {
                Ok((io, peer)) => {
                    let shown = client.local_addr().unwrap();
                    assert_eq!(peer.addr(), Peer::from(shown).addr());
                    break io;
                }
                Err(AcceptError::Empty) => self.wait_for(Who::Listener(0), |_| true),
                Err(error) => panic!("{error:?}"),
            };
        };
        (client, io)
    }

    fn register(&mut self, io: &mut TcpStream) -> Who {
        let id = self.names.insert(Phase::Fresh, self.real.now(), ());
        self.real.register(io, id).unwrap();
        Who::Conn(id)
    }

    /// Returns a client and our end, registered, after its first event.
    fn connected(&mut self) -> (Client, TcpStream, Who) {
        let (client, mut io) = self.connect();
        let who = self.register(&mut io);
        self.wait_for(who, |event| event.writable);
        (client, io, who)
    }

    /// Writes until the socket is full. Returns the number of bytes.
    fn fill(&mut self, io: &mut TcpStream) -> usize {
        let chunk = [b'x'; 65_536];
        let mut total = 0;
        loop {
            match self.real.write(io, &[IoSlice::new(&chunk)]) {
                Ok(len) => total += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return total,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Milliseconds to wait for an event that must come, on a busy machine.
const PATIENCE: u32 = 10_000;
const LONG: Duration = Duration::from_secs(10);

#[test]
fn tokens_say_who() {
    let mut tracker = Tracker::new();
    for _ in 0..3 {
        let id = tracker.insert(Phase::Fresh, Tick::default(), ());
        assert_eq!(who(conn_token(id)), Who::Conn(id));
    }
    // The last key that the tracker gives, at its last accept.
    let last = ConnId::from_bits(u64::MAX - 1);
    assert_eq!(who(conn_token(last)), Who::Conn(last));
    for index in [0, 1, 70_000] {
        assert_eq!(who(listener_token(index)), Who::Listener(index));
    }
    assert_eq!(who(INBOX), Who::Inbox);
    assert_eq!(who(SIGNAL), Who::Signal);
}

#[test]
fn errors_of_accept_are_told_apart() {
    let class = |errno: Errno| classify(io::Error::from_raw_os_error(errno as i32));
    assert!(matches!(class(Errno::EAGAIN), AcceptError::Empty));
    for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM] {
        assert!(matches!(class(errno), AcceptError::Exhausted(_)), "{errno}");
    }
    for errno in [Errno::EBADF, Errno::EINVAL, Errno::ENOTSOCK] {
        assert!(matches!(class(errno), AcceptError::Closed(_)), "{errno}");
    }
    for errno in [
        Errno::ECONNABORTED,
        Errno::EPROTO,
        Errno::EINTR,
        Errno::EPERM,
        Errno::ENETDOWN,
    ] {
        assert!(matches!(class(errno), AcceptError::Failed(_)), "{errno}");
    }
}

#[test]
fn bytes_go_both_ways() {
    let mut world = World::new();
    let (mut client, mut io, who) = world.connected();
    client.write_all(b"hello").unwrap();
    let event = world.wait_for(who, |event| event.readable);
    assert!(!event.read_closed && !event.gone);
    let mut buf = [0; 64];
    assert_eq!(world.real.read(&mut io, &mut buf).unwrap(), 5);
    assert_eq!(&buf[..5], b"hello");
    let blocked = world.real.read(&mut io, &mut buf).unwrap_err();
    assert_eq!(blocked.kind(), ErrorKind::WouldBlock);

    let slices = [IoSlice::new(b"one "), IoSlice::new(b"two")];
    assert_eq!(world.real.write(&mut io, &slices).unwrap(), 7);
    assert_eq!(world.real.write(&mut io, &slices[..1]).unwrap(), 4);
    world.real.close(io);
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text, "one twoone ");
}

#[test]
fn an_accepted_socket_does_not_wait_to_fill_packets() {
    let mut world = World::new();
    let (_client, io) = world.connect();
    assert!(io.nodelay().unwrap());
}

#[test]
fn each_event_comes_once() {
    let mut world = World::new();
    let (mut client, _io, who) = world.connected();
    client.write_all(b"x").unwrap();
    world.wait_for(who, |event| event.readable);
    assert_eq!(world.events(), [], "unread, and not told again");
    client.write_all(b"y").unwrap();
    world.wait_for(who, |event| event.readable);
}

#[test]
fn the_first_event_says_what_was_there_before_registration() {
    let mut world = World::new();
    let (mut client, mut io) = world.connect();
    client.write_all(b"early").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    // Bytes and FIN have arrived once this byte of a later connection has.
    let (mut marker, _marked, marked) = world.connected();
    marker.write_all(b"m").unwrap();
    world.wait_for(marked, |event| event.readable);

    let who = world.register(&mut io);
    let event = world.wait_for(who, |_| true);
    assert!(event.readable && event.writable && event.read_closed && !event.gone);
    let mut buf = [0; 64];
    assert_eq!(world.real.read(&mut io, &mut buf).unwrap(), 5);
    assert_eq!(world.real.read(&mut io, &mut buf).unwrap(), 0);
}

#[test]
fn a_listener_is_told_of_once_until_someone_new_comes() {
    let mut world = World::new();
    let _first = Client::connect(world.addr).unwrap();
    let _second = Client::connect(world.addr).unwrap();
    world.wait_for(Who::Listener(0), |event| event.readable);
    // The second connection may have an event of its own; none follows.
    world.events();
    world.real.accept(0).unwrap();
    assert_eq!(world.events(), []);
    world.real.accept(0).unwrap();
    assert!(matches!(world.real.accept(0), Err(AcceptError::Empty)));
    let _third = Client::connect(world.addr).unwrap();
    world.wait_for(Who::Listener(0), |_| true);
    world.real.accept(0).unwrap();
}

#[test]
fn several_listeners_are_told_apart() {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let bind = || Listener::bind(any, &ListenOptions::default()).unwrap();
    let (first, second) = (bind(), bind());
    let addr = second.local_addr().unwrap();
    let mut world = World {
        addr,
        real: Real::new(vec![first, second], None).unwrap(),
        names: Tracker::new(),
    };
    assert_eq!(world.real.listeners(), 2);
    let _client = Client::connect(addr).unwrap();
    world.wait_for(Who::Listener(1), |_| true);
    assert!(matches!(world.real.accept(0), Err(AcceptError::Empty)));
    world.real.accept(1).unwrap();
}

#[test]
fn abort_is_a_reset_and_close_is_not() {
    let mut world = World::new();
    let (mut client, io, _) = world.connected();
    world.real.abort(io);
    let error = client.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);

    let (mut client, io, _) = world.connected();
    world.real.close(io);
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn a_reset_by_the_peer_is_told_as_gone() {
    let mut world = World::new();
    let (client, mut io, who) = world.connected();
    SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    let event = world.wait_for(who, |event| event.gone);
    assert!(event.read_closed);
    let error = world.real.read(&mut io, &mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn two_that_finish_in_good_order_are_closed_and_not_gone() {
    let mut world = World::new();
    let (client, mut io, who) = world.connected();
    world.real.finish(&mut io).unwrap();
    drop(client);
    let event = world.wait_for(who, |event| event.read_closed);
    assert!(!event.gone);
    assert_eq!(world.real.read(&mut io, &mut [0; 8]).unwrap(), 0);
}

#[test]
fn a_wait_looks_at_the_clock_when_it_returns() {
    let mut world = World::new();
    let mut events = Vec::new();
    let before = world.real.now();
    world.real.wait(Some(20), &mut events).unwrap();
    assert_eq!(events, []);
    assert!(world.real.now().since(before) >= 20);
    let now = world.real.now();
    world.connect();
    assert_eq!(world.real.now().since(now), 0);
}

#[test]
fn a_waker_ends_a_wait_from_another_thread() {
    let mut world = World::new();
    let wake = world.real.waker();
    let other = thread::spawn(move || wake());
    let mut events = Vec::new();
    world.real.wait(None, &mut events).unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].who, Who::Inbox);
    other.join().unwrap();
    assert_eq!(world.events(), []);
    world.real.waker()();
    world.wait_for(Who::Inbox, |_| true);
}

#[test]
fn a_signal_is_reported_once() {
    let signals = Signals::install(&[Signal::SIGUSR2 as i32]).unwrap();
    raise(Signal::SIGUSR2).unwrap(); // before a loop runs
    let mut world = World::at("127.0.0.1", Some(signals));
    world.wait_for(Who::Signal, |_| true);
    let mut numbers = Vec::new();
    world.real.signals(&mut numbers);
    assert_eq!(numbers, [Signal::SIGUSR2 as i32]);
    world.real.signals(&mut numbers);
    assert_eq!(numbers.len(), 1, "each signal once");

    // A signal from another thread may interrupt the wait itself.
    let other = thread::spawn(|| kill(Pid::this(), Signal::SIGUSR2).unwrap());
    let mut events = Vec::new();
    while events.is_empty() {
        world.real.wait(None, &mut events).unwrap();
    }
    assert_eq!(events[0].who, Who::Signal);
    other.join().unwrap();
    numbers.clear();
    world.real.signals(&mut numbers);
    assert_eq!(numbers, [Signal::SIGUSR2 as i32]);
}

#[test]
fn a_wait_that_a_signal_interrupts_is_no_error() {
    let signals = Signals::install(&[Signal::SIGUSR1 as i32]).unwrap();
    let mut world = World::at("127.0.0.1", Some(signals));
    let waiting = pthread_self();
    let (ask, asked) = mpsc::channel::<()>();
    let other = thread::spawn(move || {
        for () in asked {
            pthread_kill(waiting, Signal::SIGUSR1).unwrap();
        }
    });
    // Most of the signals interrupt the wait before their event can end it.
    for _ in 0..50 {
        let (mut events, mut numbers) = (Vec::new(), Vec::new());
        ask.send(()).unwrap();
        while numbers.is_empty() {
            world.real.wait(Some(PATIENCE), &mut events).unwrap();
            world.real.signals(&mut numbers);
        }
        assert_eq!(numbers, [Signal::SIGUSR1 as i32]);
    }
    drop(ask);
    other.join().unwrap();
}

#[test]
fn after_stop_listening_connections_are_refused() {
    let mut world = World::new();
    world.real.stop_listening();
    assert_eq!(world.real.listeners(), 0);
    assert!(matches!(world.real.accept(0), Err(AcceptError::Closed(_))));
    let error = Client::connect(world.addr).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[test]
#[cfg(target_os = "linux")]
fn handshakes_can_be_turned_away_while_the_backlog_is_served() {
    for ip in ["127.0.0.1", "[::1]"] {
        let mut world = World::at(ip, None);
        let mut waiting = Client::connect(world.addr).unwrap();
        assert!(world.real.stop_handshakes());

        let late = Client::connect_timeout(&world.addr, Duration::from_millis(300));
        assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);

        let (mut io, _) = world.real.accept(0).unwrap();
        assert!(matches!(world.real.accept(0), Err(AcceptError::Empty)));
        world.real.stop_listening();
        let error = Client::connect(world.addr).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);

        // The accepted socket inherited the filter, to no effect.
        waiting.write_all(b"question").unwrap();
        let who = world.register(&mut io);
        world.wait_for(who, |event| event.readable);
        let mut buf = [0; 64];
        assert_eq!(world.real.read(&mut io, &mut buf).unwrap(), 8);
        world
            .real
            .write(&mut io, &[IoSlice::new(b"answer")])
            .unwrap();
        world.real.close(io);
        let mut text = String::new();
        waiting.read_to_string(&mut text).unwrap();
        assert_eq!(text, "answer");
    }
}

#[test]
fn an_inherited_socket_is_left_open_to_its_other_holders() {
    let outside = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let held = outside.try_clone().unwrap();
    let listener = Listener::from_std(outside).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut real = Real::new(vec![listener], None).unwrap();
    assert!(!real.stop_handshakes());
    real.stop_listening();
    let _client = Client::connect_timeout(&addr, LONG).unwrap();
    held.set_nonblocking(false).unwrap();
    held.accept().unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn beside_an_inherited_socket_our_own_has_its_last_call() {
    let outside = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let inherited = Listener::from_std(outside.try_clone().unwrap()).unwrap();
    let any = "127.0.0.1:0";
    let own = Listener::bind(any, &ListenOptions::default()).unwrap();
    let mut real = Real::new(vec![inherited, own], None).unwrap();
    assert!(real.stop_handshakes());
    // The inherited listener still lets clients in.
    Client::connect_timeout(&outside.local_addr().unwrap(), LONG).unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn what_a_peer_does_not_read_is_unacknowledged() {
    for (listen, connect) in [
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "[::1]"),
        ("[::]", "127.0.0.1"), // IPv4-mapped, on a socket for both
    ] {
        let mut world = World::at(listen, None);
        world.addr = format!("{connect}:{}", world.addr.port()).parse().unwrap();
        let (mut client, mut io, _) = world.connected();
        let quiet = world.real.unacknowledged(&io);
        assert_eq!(quiet, Some(0), "nothing was written ({listen})");

        let written = world.fill(&mut io);
        world.real.finish(&mut io).unwrap();
        let owed = world.real.unacknowledged(&io).unwrap();
        assert!(owed > 1 && owed as usize <= written + 1, "{owed}, {listen}");

        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        assert_eq!(received.len(), written);
        // The peer's kernel acknowledges the FIN before its reader sees it. Our own kernel may
        // still hold that packet.
        let mut last = None;
        for _ in 0..100 {
            last = world.real.unacknowledged(&io);
            if last == Some(0) {
                break;
            }
            world.real.wait(Some(PATIENCE), &mut Vec::new()).unwrap();
        }
        assert_eq!(last, Some(0), "{listen}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn the_acknowledgement_of_our_fin_is_an_event() {
    let mut world = World::new();
    let (mut client, mut io, who) = world.connected();
    world.fill(&mut io);
    world.real.finish(&mut io).unwrap();
    world.events();
    assert!(world.real.unacknowledged(&io).unwrap() > 0);

    // The peer reads everything and stays open.
    let reader = thread::spawn(move || {
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        client
    });
    while world.real.unacknowledged(&io) != Some(0) {
        // Each wait ends with an event; the FIN's is the last.
        world.wait_for(who, |event| event.writable && !event.read_closed);
    }
    drop(reader.join().unwrap());
}

#[test]
#[cfg(target_os = "linux")]
fn a_connection_that_is_over_has_nothing_unacknowledged() {
    let mut world = World::new();
    // The peer finished first, so our socket is gone once our FIN is acknowledged. The listener on
    // the same port must not be mistaken for it.
    let (client, mut io, who) = world.connected();
    client.shutdown(Shutdown::Write).unwrap();
    world.wait_for(who, |event| event.read_closed);
    world.real.finish(&mut io).unwrap();
    while world.real.unacknowledged(&io) != Some(0) {
        world.wait_for(who, |_| true);
    }
    assert_eq!(io.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);

    // The system still tells for other connections.
    let (_client, mut io, _) = world.connected();
    world.fill(&mut io);
    assert!(world.real.unacknowledged(&io).is_some_and(|owed| owed > 0));
}
/// The end of a linger in a drain relies on this.
#[test]
#[cfg(target_os = "linux")]
fn a_close_resets_nobody_once_both_have_closed_whatever_is_unread() {
    let mut world = World::new();
    for over in [true, false] {
        let (mut client, mut io, who) = world.connected();
        if over {
            world.real.finish(&mut io).unwrap();
        }
        client.write_all(b"crosses our FIN").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        world.wait_for(who, |event| event.read_closed);
        if over {
            while world.real.unacknowledged(&io) != Some(0) {
                world.wait_for(who, |_| true);
            }
        }
        world.real.close(io);
        let ended = client.read(&mut [0]).map_err(|error| error.kind());
        let reset = Err(ErrorKind::ConnectionReset);
        assert_eq!(ended, if over { Ok(0) } else { reset });
        assert_eq!(client.take_error().unwrap().map(|error| error.kind()), None);
    }
}

#[test]
fn the_clock_moves_only_when_it_is_looked_at() {
    let mut world = World::new();
    let now = world.real.update_clock();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(3) {
        assert_eq!(world.real.now(), now);
    }
    assert!(world.real.update_clock().since(now) >= 2);
    assert_eq!(world.real.update_clock(), world.real.now());
}
