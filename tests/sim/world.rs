//! The simulated world itself, which does what Linux does with an edge-triggered epoll.
//!
//! Each test is one behaviour, as the engine sees it through [`Sys`] and as the peer sees it.

use std::io::ErrorKind::{BrokenPipe, ConnectionReset, Interrupted, NotConnected, WouldBlock};
use std::io::{ErrorKind, IoSlice};

use ebbtide::internals::sys::sim::{
    ALL, Act, Bytes, Faults, Manner, Pace, PeerId, ResetAt, Setup, Sim,
};
use ebbtide::internals::sys::{AcceptError, Ready, Sys, Who};
use ebbtide::internals::tick::Tick;
use ebbtide::internals::tracker::ConnId;

// Our end.

fn id(io: u32) -> ConnId {
    ConnId::from_bits(u64::from(io) + 1000)
}

/// Returns what a wait reports without a timeout.
fn events(sim: &mut Sim) -> Vec<Ready> {
    let mut events = Vec::new();
    sim.wait(None, &mut events).unwrap();
    events
}

fn accept(sim: &mut Sim) -> u32 {
    let (mut io, _) = sim.accept(0).unwrap();
    let name = id(io);
    sim.register(&mut io, name).unwrap();
    io
}

fn read(sim: &mut Sim, mut io: u32) -> Result<Vec<u8>, ErrorKind> {
    let mut buf = [0; 64];
    let n = sim.read(&mut io, &mut buf).map_err(|error| error.kind())?;
    Ok(buf[..n].to_vec())
}

fn write(sim: &mut Sim, mut io: u32, bytes: &[u8]) -> Result<usize, ErrorKind> {
    let (a, b) = bytes.split_at(bytes.len() / 2);
    let written = sim.write(&mut io, &[IoSlice::new(a), IoSlice::new(b)]);
    written.map_err(|error| error.kind())
}

fn finish(sim: &mut Sim, mut io: u32) -> Result<(), ErrorKind> {
    sim.finish(&mut io).map_err(|error| error.kind())
}

/// Returns a world with one connection whose first event was reported.
fn connected(setup: Setup) -> (Sim, PeerId, u32) {
    let mut sim = Sim::new(setup);
    let peer = sim.connect(0);
    let io = accept(&mut sim);
    assert_eq!(events(&mut sim), [told(io, "w")]);
    (sim, peer, io)
}

/// An event of a connection: `r`eadable, `w`ritable, read `c`losed, `g`one.
fn told(io: u32, flags: &str) -> Ready {
    Ready {
        who: Who::Conn(id(io)),
        readable: flags.contains('r'),
        writable: flags.contains('w'),
        read_closed: flags.contains('c'),
        gone: flags.contains('g'),
    }
}

fn of(who: Who) -> Ready {
    Ready {
        who,
        readable: true,
        writable: false,
        read_closed: false,
        gone: false,
    }
}

fn slow(takes: Pace) -> Setup {
    Setup {
        manner: Manner {
            takes,
            ..Manner::default()
        },
        ..Setup::default()
    }
}

fn with(faults: Faults) -> Setup {
    Setup {
        faults,
        ..Setup::default()
    }
}

// Events.

#[test]
fn the_first_event_after_registration_is_writable_alone() {
    let (mut sim, _, _) = connected(Setup::default());
    assert_eq!(events(&mut sim), []);
}

#[test]
fn the_first_event_says_that_bytes_wait_already() {
    let mut sim = Sim::default();
    let peer = sim.connect(0);
    sim.send(peer, "early");
    let io = accept(&mut sim);
    assert_eq!(events(&mut sim), [told(io, "rw")]);
    assert_eq!(read(&mut sim, io).unwrap(), b"early");
}

#[test]
fn bytes_make_one_event_that_is_writable_too() {
    let (mut sim, peer, io) = connected(Setup::default());
    sim.send(peer, "ab");
    sim.send(peer, "cd");
    assert_eq!(events(&mut sim), [told(io, "rw")]);
    assert_eq!(events(&mut sim), [], "an edge is told once");
    assert_eq!(sim.unread(peer), 4);
    sim.send(peer, "e");
    assert_eq!(
        events(&mut sim),
        [told(io, "rw")],
        "new bytes are a new edge"
    );
    assert_eq!(read(&mut sim, io).unwrap(), b"abcde");
    assert_eq!(read(&mut sim, io), Err(WouldBlock));
}

#[test]
fn bytes_left_unread_bring_no_event() {
    let (mut sim, peer, mut io) = connected(Setup::default());
    sim.send(peer, "abcd");
    assert_eq!(events(&mut sim).len(), 1);
    let mut buf = [0; 3];
    assert_eq!(sim.read(&mut io, &mut buf).unwrap(), 3);
    assert_eq!(events(&mut sim), []);
    assert_eq!(read(&mut sim, io).unwrap(), b"d");
}

#[test]
fn a_fin_with_data_is_one_event_and_one_more_read_fetches_the_end() {
    let (mut sim, peer, io) = connected(Setup::default());
    sim.send(peer, "last");
    sim.fin(peer);
    assert_eq!(events(&mut sim), [told(io, "rwc")]);
    assert_eq!(read(&mut sim, io).unwrap(), b"last");
    assert_eq!(events(&mut sim), [], "no edge for the 0");
    assert_eq!(read(&mut sim, io).unwrap(), b"");
    assert_eq!(read(&mut sim, io).unwrap(), b"");
    assert_eq!(write(&mut sim, io, b"still here").unwrap(), 10);
    assert_eq!(sim.got(peer), b"still here");
}

#[test]
fn a_full_window_takes_a_part_then_blocks_and_room_makes_an_event() {
    let mut setup = slow(Pace::Never);
    setup.manner.window = 10;
    let (mut sim, peer, io) = connected(setup);
    assert_eq!(write(&mut sim, io, b"twelve bytes").unwrap(), 10);
    assert_eq!(write(&mut sim, io, b"es"), Err(WouldBlock));
    assert_eq!(sim.unacknowledged(&io), Some(10));
    assert_eq!(events(&mut sim), []);
    sim.take(peer, 4);
    assert_eq!(events(&mut sim), [told(io, "w")]);
    assert_eq!(sim.got(peer), b"twel");
    assert_eq!(write(&mut sim, io, b"es").unwrap(), 2);
    sim.take(peer, ALL);
    assert_eq!(events(&mut sim), [], "no write met a full window");
    assert_eq!(sim.got(peer), b"twelve bytes");
    assert_eq!((sim.taken(peer), sim.unacknowledged(&io)), (12, Some(0)));
}

#[test]
fn bytes_that_come_while_the_window_is_full_make_no_writable_event() {
    let mut setup = slow(Pace::Never);
    setup.manner.window = 3;
    let (mut sim, peer, io) = connected(setup);
    assert_eq!(write(&mut sim, io, b"abc").unwrap(), 3);
    sim.send(peer, "x");
    assert_eq!(events(&mut sim), [told(io, "r")]);
    sim.take(peer, 1);
    assert_eq!(
        events(&mut sim),
        [told(io, "rw")],
        "the event met the full window"
    );
}

#[test]
fn a_wider_window_is_room() {
    let mut setup = slow(Pace::Never);
    setup.manner.window = 3;
    let (mut sim, peer, io) = connected(setup.clone());
    assert_eq!(write(&mut sim, io, b"abcd").unwrap(), 3);
    let (window, takes) = (5, Pace::Never);
    sim.behave(
        peer,
        Manner {
            window,
            takes,
            ..setup.manner
        },
    );
    assert_eq!(events(&mut sim), [told(io, "w")]);
    assert_eq!((sim.taken(peer), write(&mut sim, io, b"def")), (0, Ok(2)));
    sim.behave(peer, Manner::default());
    assert_eq!(sim.got(peer), b"abcde", "it reads now");
}

#[test]
fn a_peer_may_take_everything_a_while_later() {
    let mut setup = slow(Pace::After(40));
    setup.manner.window = 4;
    let (mut sim, peer, mut io) = connected(setup);
    sim.run_until(1000);
    assert_eq!(write(&mut sim, io, b"abcd").unwrap(), 4);
    sim.finish(&mut io).unwrap();
    assert_eq!(
        events(&mut sim),
        [told(io, "w")],
        "a FIN of ours is an event at once"
    );
    assert_eq!((sim.millis(), sim.unacknowledged(&io)), (0, Some(5)));
    assert_eq!(
        events(&mut sim),
        [told(io, "rwc")],
        "the peer answered at once"
    );
    assert_eq!((sim.millis(), sim.unacknowledged(&io)), (40, Some(0)));
    assert_eq!(
        (sim.got(peer), sim.seen(peer).fin),
        (&b"abcd"[..], Some(40))
    );
}

#[test]
fn the_fin_is_acknowledged_last_and_that_is_an_event() {
    let mut setup = slow(Pace::Never);
    setup.manner.answers = Pace::After(30);
    let (mut sim, peer, mut io) = connected(setup);
    sim.run_until(100);
    write(&mut sim, io, b"abc").unwrap();
    sim.finish(&mut io).unwrap();
    assert_eq!(write(&mut sim, io, b"more"), Err(BrokenPipe));
    assert_eq!(finish(&mut sim, io), Ok(()), "twice is once");
    assert_eq!(events(&mut sim), [told(io, "w")]);
    sim.take(peer, 3);
    assert_eq!(
        (sim.unacknowledged(&io), sim.seen(peer).fin),
        (Some(1), None)
    );
    sim.at(10, Act::Take(peer, 1));
    assert_eq!(events(&mut sim), [told(io, "w")], "everything arrived");
    assert_eq!(
        (sim.unacknowledged(&io), sim.seen(peer).fin),
        (Some(0), Some(10))
    );
    assert_eq!(
        events(&mut sim),
        [told(io, "rwc")],
        "and here is the peer's FIN"
    );
    assert_eq!(sim.millis(), 40);
    assert_eq!(read(&mut sim, io).unwrap(), b"");
}

#[test]
fn a_peer_may_never_answer_our_fin() {
    let mut setup = Setup::default();
    setup.manner.answers = Pace::Never;
    let (mut sim, peer, mut io) = connected(setup);
    sim.run_until(100_000);
    sim.finish(&mut io).unwrap();
    assert_eq!(events(&mut sim), [told(io, "w")]);
    assert_eq!(
        (sim.seen(peer).fin, sim.unacknowledged(&io)),
        (Some(0), Some(0))
    );
    assert_eq!(events(&mut sim), []);
    assert_eq!(read(&mut sim, io), Err(WouldBlock));
    sim.send(peer, "and another thing");
    assert_eq!(events(&mut sim), [told(io, "rw")], "it may still send");
}

#[test]
fn events_of_a_closed_connection_vanish() {
    let (mut sim, peer, io) = connected(Setup::default());
    let other = sim.connect(0);
    let io2 = accept(&mut sim);
    sim.send(peer, "x");
    sim.send(other, "y");
    sim.close(io);
    assert_eq!(events(&mut sim), [told(io2, "rw")]);
}

#[test]
fn events_come_in_the_order_of_their_causes_and_in_batches() {
    let mut sim = Sim::new(Setup {
        batch: 2,
        ..Setup::default()
    });
    let peers: Vec<PeerId> = (0..3).map(|_| sim.connect(0)).collect();
    let ios: Vec<u32> = (0..3).map(|_| accept(&mut sim)).collect();
    let told_of = |n: usize| told(ios[n], "w");
    assert_eq!(events(&mut sim), [told_of(0), told_of(1)]);
    assert_eq!(events(&mut sim), [told_of(2)]);
    sim.signal(15);
    sim.send(peers[2], "c");
    sim.send(peers[0], "a");
    assert_eq!(events(&mut sim), [of(Who::Signal), told(ios[2], "rw")]);
    assert_eq!(events(&mut sim), [told(ios[0], "rw")]);
}

// Resets and closes.

#[test]
fn a_reset_is_one_event_bytes_before_it_can_be_read_and_the_error_comes_once() {
    let (mut sim, peer, io) = connected(Setup::default());
    sim.send(peer, "abc");
    sim.reset(peer);
    assert_eq!(events(&mut sim), [told(io, "rwcg")]);
    assert_eq!(read(&mut sim, io).unwrap(), b"abc");
    assert_eq!(read(&mut sim, io), Err(ConnectionReset));
    assert_eq!(read(&mut sim, io).unwrap(), b"");
    assert_eq!(write(&mut sim, io, b"x"), Err(BrokenPipe));
    assert_eq!(finish(&mut sim, io), Err(NotConnected));
    sim.close(io);
    assert_eq!(sim.seen(peer).reset, None, "nobody is there to see one");
}

#[test]
fn a_write_reports_a_reset_too() {
    let (mut sim, peer, io) = connected(slow(Pace::Never));
    write(&mut sim, io, b"abc").unwrap();
    sim.reset(peer);
    assert_eq!(write(&mut sim, io, b"x"), Err(ConnectionReset));
    assert_eq!(write(&mut sim, io, b"x"), Err(BrokenPipe));
    assert_eq!(sim.unacknowledged(&io), Some(3), "lost, not arrived");
}

#[test]
fn closing_gives_the_peer_our_bytes_and_then_a_fin() {
    let (mut sim, peer, io) = connected(slow(Pace::Never));
    write(&mut sim, io, b"response").unwrap();
    sim.close(io);
    assert!(sim.seen(peer).open());
    sim.take(peer, 8);
    assert!(sim.seen(peer).open());
    sim.take(peer, ALL);
    assert_eq!(
        (sim.got(peer), sim.seen(peer).fin),
        (&b"response"[..], Some(0))
    );
    assert_eq!(sim.seen(peer).reset, None);
}

#[test]
fn closing_with_bytes_unread_resets_and_loses_what_was_not_taken() {
    let (mut sim, peer, io) = connected(slow(Pace::Never));
    write(&mut sim, io, b"response").unwrap();
    sim.take(peer, 2);
    sim.send(peer, "unread");
    sim.close(io);
    sim.take(peer, ALL);
    let seen = sim.seen(peer);
    assert_eq!(
        (sim.got(peer), seen.fin, seen.reset),
        (&b"re"[..], None, Some(0))
    );
}

#[test]
fn bytes_that_come_after_a_close_bring_a_reset() {
    let (mut sim, peer, io) = connected(slow(Pace::Never));
    sim.run_until(9);
    write(&mut sim, io, b"response").unwrap();
    sim.close(io);
    sim.at(7, Act::Send(peer, Bytes::from("late")));
    assert_eq!(events(&mut sim), []);
    sim.take(peer, ALL);
    let seen = sim.seen(peer);
    assert_eq!(
        (sim.got(peer), seen.fin, seen.reset),
        (&b""[..], None, Some(7))
    );
}

#[test]
fn a_fin_that_comes_after_a_close_brings_nothing() {
    let (mut sim, peer, io) = connected(Setup::default());
    sim.close(io);
    sim.fin(peer);
    assert_eq!((sim.seen(peer).fin, sim.seen(peer).reset), (Some(0), None));
}

#[test]
fn after_a_fin_was_taken_a_reset_is_seen_beside_it() {
    let (mut sim, peer, mut io) = connected(slow(Pace::Never));
    write(&mut sim, io, b"response").unwrap();
    sim.finish(&mut io).unwrap();
    sim.take(peer, ALL);
    sim.send(peer, "crossing");
    sim.close(io);
    assert_eq!(sim.got(peer), b"response");
    assert!(sim.seen(peer).fin.is_some(), "the response is whole");
}

#[test]
fn an_abort_resets() {
    let (mut sim, peer, io) = connected(Setup::default());
    write(&mut sim, io, b"half").unwrap();
    sim.abort(io);
    let seen = sim.seen(peer);
    assert_eq!(
        (sim.got(peer), seen.fin, seen.reset),
        (&b"half"[..], None, Some(0))
    );
    assert_eq!((sim.totals().open(), sim.totals().aborted), (0, 1));
}

#[test]
fn a_peer_that_left_resets_what_is_written_to_it() {
    let (mut sim, peer, io) = connected(Setup::default());
    sim.leave(peer);
    assert_eq!(events(&mut sim), [told(io, "rwc")]);
    assert_eq!(write(&mut sim, io, b"response").unwrap(), 8);
    assert_eq!(events(&mut sim), [told(io, "rwcg")]);
    assert_eq!(write(&mut sim, io, b"more"), Err(ConnectionReset));
    assert_eq!(sim.got(peer), b"");
}

#[test]
fn a_peer_that_left_still_acknowledges_our_fin() {
    for pace in [Pace::AtOnce, Pace::After(10), Pace::Never] {
        let (mut sim, peer, mut io) = connected(slow(pace));
        sim.leave(peer);
        sim.finish(&mut io).unwrap();
        assert_eq!(sim.unacknowledged(&io), Some(0), "{pace:?}");

        let (mut sim, peer, mut io) = connected(slow(pace));
        sim.finish(&mut io).unwrap();
        sim.leave(peer);
        assert_eq!(sim.unacknowledged(&io), Some(0), "{pace:?}, after our FIN");
    }
}

#[test]
fn nobody_sees_the_reset_of_a_peer_that_left() {
    let (mut sim, peer, io) = connected(Setup::default());
    sim.send(peer, "unread");
    sim.leave(peer);
    sim.close(io);
    assert_eq!(sim.seen(peer).reset, None);
}

#[test]
fn a_peer_that_leaves_with_bytes_untaken_resets() {
    let (mut sim, peer, io) = connected(slow(Pace::Never));
    write(&mut sim, io, b"response").unwrap();
    sim.leave(peer);
    assert_eq!(events(&mut sim), [told(io, "rwcg")]);
}

#[test]
fn what_a_peer_can_no_longer_do_does_nothing() {
    let (mut sim, peer, io) = connected(Setup::default());
    sim.fin(peer);
    sim.send(peer, "after the end");
    assert_eq!(sim.unread(peer), 0);
    sim.reset(peer);
    for act in [
        Act::Connect(peer),
        Act::Fin(peer),
        Act::Leave(peer),
        Act::Take(peer, 1),
    ] {
        sim.act(act);
    }
    assert_eq!(events(&mut sim), [told(io, "rwcg")]);
    assert_eq!(read(&mut sim, io), Err(ConnectionReset));
}

#[test]
#[should_panic(expected = "handle 0 used while Closed")]
fn a_handle_is_not_used_after_its_close() {
    let (mut sim, _, io) = connected(Setup::default());
    sim.close(io);
    let _ = read(&mut sim, io);
}

// Connecting.

#[test]
fn a_listener_tells_arrivals_only() {
    let mut sim = Sim::default();
    sim.connect(0);
    sim.connect(0);
    assert_eq!(events(&mut sim), [of(Who::Listener(0))]);
    sim.accept(0).unwrap();
    assert_eq!(events(&mut sim), [], "one waits, and nobody says so");
    sim.accept(0).unwrap();
    assert!(matches!(sim.accept(0), Err(AcceptError::Empty)));
    sim.connect(0);
    assert_eq!(events(&mut sim), [of(Who::Listener(0))]);
}

#[test]
fn each_listener_has_its_backlog() {
    let mut sim = Sim::new(Setup {
        listeners: 2,
        ..Setup::default()
    });
    assert_eq!(sim.listeners(), 2);
    let peer = sim.connect(1);
    assert_eq!(events(&mut sim), [of(Who::Listener(1))]);
    assert!(matches!(sim.accept(0), Err(AcceptError::Empty)));
    let (io, address) = sim.accept(1).unwrap();
    assert_eq!(PeerId::of(io), peer);
    assert_eq!(address.to_string(), "10.0.0.0:40000");
}

#[test]
fn a_full_backlog_makes_a_connect_wait_and_try_again() {
    let mut sim = Sim::new(Setup {
        backlog: 1,
        ..Setup::default()
    });
    sim.run_until(10_000);
    sim.connect(0);
    let second = sim.connect(0);
    sim.send(second, "patience");
    assert_eq!(events(&mut sim), [of(Who::Listener(0))]);
    assert!(!sim.seen(second).connected);
    let mut none = Vec::new();
    sim.wait(Some(1500), &mut none).unwrap();
    assert_eq!(
        (none.len(), sim.millis()),
        (0, 1500),
        "it knocked in vain after a second"
    );
    accept(&mut sim);
    assert_eq!(events(&mut sim).len(), 1, "the first event of the accepted");
    assert_eq!(events(&mut sim), [of(Who::Listener(0))]);
    assert_eq!(sim.millis(), 3000, "two seconds after the first retry");
    assert!(sim.seen(second).connected);
    let io = accept(&mut sim);
    assert_eq!(read(&mut sim, io).unwrap(), b"patience");
}

#[test]
fn stopped_handshakes_hold_connects_until_the_listeners_close() {
    let mut sim = Sim::default();
    sim.run_until(60_000);
    let early = sim.connect(0);
    assert!(sim.stop_handshakes());
    let late = sim.connect(0);
    assert!(sim.seen(early).connected && !sim.seen(late).connected);
    accept(&mut sim);
    assert!(matches!(sim.accept(0), Err(AcceptError::Empty)));
    sim.wait(Some(5), &mut Vec::new()).unwrap();
    sim.stop_listening();
    sim.wait(Some(5000), &mut Vec::new()).unwrap();
    assert!(sim.seen(early).open());
    assert!(sim.seen(late).refused.is_some() && sim.seen(late).reset.is_none());
    assert!(matches!(sim.accept(0), Err(AcceptError::Closed(_))));
}

#[test]
fn closing_the_listeners_resets_the_backlog_and_refuses_from_then_on() {
    let mut sim = Sim::default();
    sim.run_until(10);
    let waiting = sim.connect(0);
    let later = sim.peer(0);
    sim.at(10, Act::Connect(later));
    sim.stop_listening();
    assert_eq!(events(&mut sim), [], "the listener's event is gone with it");
    let (waiting, later) = (sim.seen(waiting), sim.seen(later));
    assert_eq!(
        (waiting.connected, waiting.reset, waiting.refused),
        (true, Some(0), None)
    );
    assert_eq!(
        (later.connected, later.reset, later.refused),
        (false, None, Some(10))
    );
}

#[test]
fn a_system_may_be_unable_to_stop_handshakes() {
    let mut sim = Sim::new(Setup {
        filter: false,
        ..Setup::default()
    });
    assert!(!sim.stop_handshakes());
    let peer = sim.connect(0);
    assert!(sim.seen(peer).connected);
}

#[test]
fn a_peer_that_gives_up_while_held_never_arrives() {
    let mut sim = Sim::default();
    sim.run_until(100_000);
    sim.stop_handshakes();
    let peer = sim.connect(0);
    sim.leave(peer);
    sim.stop_listening();
    assert_eq!(events(&mut sim), []);
    assert_eq!(sim.seen(peer), Default::default());
}

#[test]
fn a_reset_in_the_backlog_is_accepted_and_told() {
    let mut sim = Sim::default();
    let peer = sim.connect(0);
    sim.send(peer, "q");
    sim.reset(peer);
    let io = accept(&mut sim);
    assert_eq!(events(&mut sim), [told(io, "rwcg")]);
    assert_eq!(read(&mut sim, io).unwrap(), b"q");
    assert_eq!(read(&mut sim, io), Err(ConnectionReset));
}

// Time, signals, other threads.

#[test]
fn time_jumps_to_the_script_the_timeout_or_the_horizon_and_never_further() {
    let mut sim = Sim::default();
    let peer = sim.peer(0);
    sim.at(30, Act::Connect(peer));
    let mut none = Vec::new();
    sim.wait(Some(10), &mut none).unwrap();
    assert_eq!(
        (sim.millis(), sim.resting()),
        (0, true),
        "the horizon is where we are"
    );
    sim.run_until(40);
    sim.wait(Some(10), &mut none).unwrap();
    assert_eq!(
        (sim.millis(), sim.resting()),
        (10, false),
        "a timeout was reached"
    );
    assert_eq!(events(&mut sim), [of(Who::Listener(0))]);
    assert_eq!((sim.millis(), sim.now()), (30, Tick::from_millis(30)));
    sim.wait(Some(0), &mut none).unwrap();
    assert_eq!((sim.millis(), sim.resting()), (30, false));
    sim.wait(Some(100), &mut none).unwrap();
    assert_eq!((sim.millis(), sim.resting()), (40, true));
    sim.run_until(20);
    sim.wait(None, &mut none).unwrap();
    assert_eq!((sim.millis(), none.len()), (40, 0), "time does not go back");
}

#[test]
fn whatever_moves_the_world_ends_its_rest() {
    let mut sim = Sim::default();
    let peer = sim.peer(0);
    let moves: [&dyn Fn(&mut Sim); 4] = [
        &|sim| sim.act(Act::Connect(peer)),
        &|sim| sim.at(sim.millis(), Act::Wake),
        &|sim| sim.run_until(10),
        &|sim| sim.behave(peer, Manner::default()),
    ];
    for step in moves {
        while !sim.resting() {
            events(&mut sim);
        }
        step(&mut sim);
        assert!(!sim.resting());
    }
}

#[test]
fn the_clock_may_begin_anywhere() {
    let mut sim = Sim::new(Setup {
        start: Tick::from_millis(u32::MAX - 999),
        ..Setup::default()
    });
    assert_eq!(sim.unix_time(), 784_111_777);
    sim.run_until(2500);
    sim.wait(None, &mut Vec::new()).unwrap();
    assert_eq!((sim.now(), sim.millis()), (Tick::from_millis(1500), 2500));
    assert_eq!(sim.unix_time(), 784_111_779);
}

#[test]
fn acts_of_one_time_are_played_in_the_order_they_were_written() {
    let mut sim = Sim::default();
    sim.run_until(5);
    let peer = sim.peer(0);
    sim.at(5, Act::Send(peer, Bytes::from("too early, not connected")));
    sim.at(5, Act::Connect(peer));
    sim.at(5, Act::Send(peer, Bytes::from("a")));
    sim.at(5, Act::Send(peer, Bytes::from(vec![b'b'])));
    sim.at(5, Act::Fin(peer));
    assert_eq!(events(&mut sim), [of(Who::Listener(0))]);
    let io = accept(&mut sim);
    assert_eq!(events(&mut sim), [told(io, "rwc")]);
    assert_eq!(read(&mut sim, io).unwrap(), b"ab");
}

#[test]
fn signals_are_told_once_and_repeats_merge() {
    let mut sim = Sim::default();
    sim.signal(15);
    sim.signal(2);
    sim.signal(15);
    assert_eq!(events(&mut sim), [of(Who::Signal)]);
    let mut numbers = Vec::new();
    sim.signals(&mut numbers);
    assert_eq!(numbers, [15, 2]);
    assert_eq!(events(&mut sim), []);
    sim.at(0, Act::Signal(15));
    assert_eq!(events(&mut sim), [of(Who::Signal)]);
    sim.signals(&mut numbers);
    assert_eq!(numbers, [15, 2, 15]);
}

#[test]
fn a_wake_ends_the_wait_and_wakes_merge() {
    let mut sim = Sim::default();
    sim.run_until(10);
    let waker = sim.waker();
    std::thread::scope(|scope| {
        scope.spawn(&*waker);
        scope.spawn(&*waker);
    });
    assert_eq!(events(&mut sim), [of(Who::Inbox)]);
    sim.at(7, Act::Wake);
    assert_eq!(events(&mut sim), [of(Who::Inbox)]);
    assert_eq!(sim.millis(), 7);
    assert_eq!(events(&mut sim), []);
}

// Faults.

/// Echoes as the engine does: reads and writes at an event, until a short read or `WouldBlock`.
fn echo(faults: Faults, text: &'static [u8]) -> (Vec<u8>, u64, u32) {
    let (mut sim, peer, io) = connected_under(faults);
    sim.send(peer, text);
    sim.fin(peer);
    let (mut owed, mut ended, mut turns) = (Vec::new(), false, 0);
    while !ended || !owed.is_empty() {
        turns += 1;
        assert!(turns < 10_000, "an event is missing");
        for event in events(&mut sim) {
            while event.readable && !ended {
                match read(&mut sim, io) {
                    Ok(bytes) => {
                        ended = bytes.is_empty();
                        owed.extend(bytes);
                    }
                    Err(Interrupted) => {}
                    Err(error) => {
                        assert_eq!(error, WouldBlock);
                        break;
                    }
                }
            }
            while event.writable && !owed.is_empty() {
                match write(&mut sim, io, &owed) {
                    Ok(n) => drop(owed.drain(..n)),
                    Err(Interrupted) => {}
                    Err(error) => {
                        assert_eq!(error, WouldBlock);
                        break;
                    }
                }
            }
        }
    }
    sim.close(io);
    (sim.got(peer).to_vec(), sim.digest(), turns)
}

fn connected_under(faults: Faults) -> (Sim, PeerId, u32) {
    let mut sim = Sim::new(with(faults));
    let peer = sim.connect(0);
    let io = accept(&mut sim);
    (sim, peer, io)
}

#[test]
fn under_every_fault_that_can_be_survived_all_bytes_arrive_and_the_digest_repeats() {
    const TEXT: &[u8] = b"the quick brown fox jumps over the lazy dog, again and again and again";
    let (plain, plain_digest, _) = echo(Faults::default(), TEXT);
    assert_eq!(plain, TEXT);
    for seed in 0..200 {
        for one_byte in [false, true] {
            let faults = Faults {
                seed,
                one_byte,
                short_reads: 2,
                short_writes: 2,
                interrupts: 3,
                early_returns: 4,
                spurious: 4,
                ..Faults::default()
            };
            let (bytes, digest, turns) = echo(faults.clone(), TEXT);
            assert_eq!(bytes, TEXT);
            assert_eq!(digest, plain_digest, "cuts do not show in the digest");
            assert_eq!(echo(faults, TEXT), (bytes, digest, turns), "seed {seed}");
        }
    }
}

const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz";

#[test]
fn a_short_read_brings_an_event_for_the_rest() {
    let mut reads = 0;
    for seed in 0..20 {
        let (mut sim, peer, io) = connected_under(Faults {
            seed,
            short_reads: 1,
            ..Faults::default()
        });
        sim.send(peer, ALPHABET);
        let mut all = Vec::new();
        while all.len() < ALPHABET.len() {
            assert_eq!(events(&mut sim), [told(io, "rw")]);
            let bytes = read(&mut sim, io).unwrap();
            assert!(!bytes.is_empty(), "that would be a FIN");
            all.extend(bytes);
            reads += 1;
        }
        assert_eq!(all, ALPHABET);
        assert_eq!(events(&mut sim), []);
    }
    assert!(reads > 30, "{reads} reads");
}

#[test]
fn a_short_write_brings_an_event_for_the_rest() {
    let mut writes = 0;
    for seed in 0..20 {
        let (mut sim, peer, io) = connected_under(Faults {
            seed,
            short_writes: 1,
            ..Faults::default()
        });
        let mut done = 0;
        while done < ALPHABET.len() {
            assert_eq!(events(&mut sim), [told(io, "w")]);
            match write(&mut sim, io, &ALPHABET[done..]) {
                Err(error) => assert_eq!(error, WouldBlock),
                Ok(n) => done += n,
            }
            writes += 1;
        }
        assert_eq!(sim.got(peer), ALPHABET);
        assert_eq!(events(&mut sim), []);
    }
    assert!(writes > 30, "{writes} writes");
}

#[test]
fn a_short_write_brings_an_event_also_where_nobody_takes() {
    for seed in 0..20 {
        let mut setup = slow(Pace::Never);
        (setup.faults.seed, setup.faults.short_writes) = (seed, 1);
        let (mut sim, _, io) = connected(setup);
        let written = write(&mut sim, io, ALPHABET).unwrap_or(0);
        let rest = events(&mut sim);
        assert_eq!(!rest.is_empty(), written < ALPHABET.len(), "{rest:?}");
    }
}

#[test]
fn interruptions_change_nothing() {
    let faults = Faults {
        interrupts: 1,
        ..Faults::default()
    };
    let (mut sim, peer, io) = connected_under(faults);
    sim.send(peer, "abc");
    let reads: Vec<_> = (0..100).map(|_| read(&mut sim, io)).collect();
    let first = reads.iter().position(|read| *read != Err(Interrupted));
    assert_eq!(reads[first.unwrap()].as_deref(), Ok(&b"abc"[..]));
    assert!(reads.contains(&Err(Interrupted)));
}

#[test]
fn descriptors_run_out_for_a_time_or_while_too_many_are_open() {
    let exhausted = |result| matches!(result, Err(AcceptError::Exhausted(_)));
    let mut sim = Sim::new(with(Faults {
        max_open: Some(1),
        exhausted: 10..20,
        ..Faults::default()
    }));
    sim.run_until(20);
    sim.connect(0);
    sim.connect(0);
    let first = accept(&mut sim);
    assert!(exhausted(sim.accept(0)));
    sim.close(first);
    sim.wait(Some(10), &mut Vec::new()).unwrap();
    sim.wait(Some(10), &mut Vec::new()).unwrap();
    assert!(exhausted(sim.accept(0)), "at {}", sim.millis());
    sim.wait(None, &mut Vec::new()).unwrap();
    assert_eq!(
        (sim.millis(), events(&mut sim)),
        (20, vec![]),
        "no event says so"
    );
    assert!(sim.accept(0).is_ok(), "it stayed in the backlog");
}

#[test]
fn accepts_and_registrations_fail_one_by_one() {
    let mut sim = Sim::new(with(Faults {
        seed: 3,
        failed_accepts: 2,
        failed_registrations: 2,
        ..Faults::default()
    }));
    for _ in 0..100 {
        sim.connect(0);
    }
    let (mut failed, mut unregistered) = (0, 0);
    loop {
        match sim.accept(0) {
            Ok((io, _)) => match sim.register(&mut { io }, id(io)) {
                Ok(()) => {}
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
                    sim.close(io);
                    unregistered += 1;
                }
            },
            Err(AcceptError::Failed(_)) => failed += 1,
            Err(AcceptError::Empty) => break,
            Err(error) => panic!("{error:?}"),
        }
    }
    let totals = sim.totals();
    assert_eq!(
        (totals.accepted + failed, totals.closed),
        (100, unregistered)
    );
    assert!((30..70).contains(&failed) && (10..40).contains(&unregistered));
}

#[test]
fn spurious_events_claim_what_is_not_so() {
    let (mut sim, _, io) = connected(with(Faults {
        spurious: 1,
        ..Faults::default()
    }));
    let told_falsely = (0..100)
        .filter(|_| events(&mut sim) == [told(io, "rw")])
        .count();
    assert!((30..70).contains(&told_falsely));
    assert_eq!(read(&mut sim, io), Err(WouldBlock));
    sim.close(io);
    assert!((0..100).all(|_| events(&mut sim).is_empty()));
}

#[test]
fn a_peer_resets_at_any_byte_that_it_sends() {
    for at in 0..5 {
        let (mut sim, peer, io) = connected_under(Faults {
            reset: Some(ResetAt::Sent(at)),
            ..Faults::default()
        });
        sim.send(peer, "ab");
        sim.send(peer, "cd");
        let (before, after) = (&b"abcd"[..(at as usize).min(4)], read(&mut sim, io));
        if at == 0 {
            assert_eq!(after, Err(ConnectionReset));
        } else {
            assert_eq!(after.unwrap(), before);
            let end = if at <= 4 { ConnectionReset } else { WouldBlock };
            assert_eq!(read(&mut sim, io), Err(end));
        }
    }
}

#[test]
fn a_peer_resets_at_any_byte_that_it_takes() {
    for at in 0..6_u64 {
        let (mut sim, peer, io) = connected_under(Faults {
            reset: Some(ResetAt::Taken(at)),
            ..Faults::default()
        });
        assert_eq!(write(&mut sim, io, b"abcd"), Ok(4));
        assert_eq!(sim.got(peer), &b"abcd"[..(at as usize).min(4)]);
        let again = write(&mut sim, io, b"e");
        assert_eq!(again, if at <= 4 { Err(ConnectionReset) } else { Ok(1) });
    }
}

// Determinism and size.

const REQUEST: &[u8] = b"GET /plaintext HTTP/1.1\r\nhost: a\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Lets this number of peers connect, ask, get a response and close, a thousand a millisecond.
fn crowd(peers: u32, record: bool) -> Sim {
    let mut sim = Sim::new(Setup {
        record,
        ..Setup::default()
    });
    for n in 0..peers {
        let peer = sim.peer(0);
        sim.at(n / 1000, Act::Connect(peer));
        sim.at(n / 1000, Act::Send(peer, REQUEST.into()));
    }
    sim.run_until(peers / 1000 + 1);
    let (mut events, mut buf) = (Vec::new(), [0; 4096]);
    while !sim.resting() {
        sim.wait(None, &mut events).unwrap();
        for event in events.drain(..) {
            let Who::Conn(id) = event.who else {
                while let Ok((mut io, _)) = sim.accept(0) {
                    let id = ConnId::from_bits(u64::from(io));
                    sim.register(&mut io, id).unwrap();
                }
                continue;
            };
            let mut io = id.to_bits() as u32;
            assert_eq!(sim.read(&mut io, &mut buf).unwrap(), REQUEST.len());
            assert_eq!(
                sim.write(&mut io, &[IoSlice::new(RESPONSE)]).unwrap(),
                RESPONSE.len()
            );
            sim.close(io);
        }
    }
    assert_eq!(
        (sim.totals().accepted, sim.totals().open()),
        (u64::from(peers), 0)
    );
    sim
}

#[test]
fn the_same_script_gives_the_same_digest_recorded_or_not() {
    let first = crowd(10_000, true);
    assert_eq!(first.digest(), crowd(10_000, true).digest());
    assert_eq!(first.digest(), crowd(10_000, false).digest());
    assert_ne!(first.digest(), crowd(9_999, true).digest());
    assert_eq!(first.got(PeerId::of(9_999)), RESPONSE);
}

#[test]
fn the_digest_tells_closing_from_finishing_and_aborting_and_when() {
    let digest_after = |millis: u32, deed: &dyn Fn(&mut Sim, u32)| {
        let (mut sim, _, io) = connected(Setup::default());
        sim.run_until(millis);
        events(&mut sim);
        deed(&mut sim, io);
        sim.digest()
    };
    let digests = [
        digest_after(5, &|_, _| {}),
        digest_after(5, &|sim, io| sim.close(io)),
        digest_after(6, &|sim, io| sim.close(io)),
        digest_after(5, &|sim, io| sim.abort(io)),
        digest_after(5, &|sim, io| finish(sim, io).unwrap()),
        digest_after(5, &|sim, io| assert_eq!(write(sim, io, b"x"), Ok(1))),
    ];
    for (n, digest) in digests.iter().enumerate() {
        assert!(!digests[..n].contains(digest), "{n}");
    }
}

/// The number of peers: a million in a release build, fewer in a debug build.
const MANY: u32 = if cfg!(debug_assertions) {
    100_000
} else {
    1_000_000
};

#[test]
fn a_million_peers_fit_and_each_is_answered() {
    let sim = crowd(MANY, false);
    assert!((0..MANY).all(|n| {
        let peer = PeerId::of(n);
        sim.taken(peer) == RESPONSE.len() as u64 && sim.seen(peer).fin == Some(n / 1000)
    }));
}
