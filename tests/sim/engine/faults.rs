//! A system that moves bytes in pieces, is interrupted and wakes for nothing changes no byte.

use ebbtide::Limits;
use ebbtide::internals::engine::Config;
use ebbtide::internals::sys::sim::{Faults, Setup};

use ebbtide_lab::Lab;
use ebbtide_lab::wire::{
    CHUNKED, GET, LAST_CHUNK, chunk, get, ok, ok_close, pattern, post, text_close,
};

/// Returns every kind of exchange on one connection, and the responses.
fn conversation() -> (String, String) {
    let chunked = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let last = get("/owned/6000").replace("Host: a", "Host: a\r\nConnection: close");
    let requests = [
        GET.to_owned(),
        post("/echo", "some body"),
        chunked.to_owned() + &chunk("in two") + &chunk(" pieces") + LAST_CHUNK,
        get("/flood/3000"),
        post("/sink", &"x".repeat(2_000)),
        get("/empty"),
        last,
    ];
    let responses = [
        ok("hello\n"),
        ok("some body"),
        ok("in two pieces"),
        CHUNKED.to_owned() + &chunk(&pattern(3_000)) + LAST_CHUNK,
        ok("2000\n"),
        "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        ok_close(&pattern(6_000)),
    ];
    (requests.concat(), responses.concat())
}

#[track_caller]
fn converses(faults: &Faults) {
    let (requests, responses) = conversation();
    let mut lab = Lab::faulty(faults.clone());
    lab.patience = 100_000;
    let peers: Vec<_> = (0..3).map(|_| lab.ask(requests.clone())).collect();
    for peer in peers {
        assert_eq!(lab.got(peer), responses, "{faults:?}");
        lab.finished_at(peer, 0);
    }
    assert_eq!(
        (lab.open(), lab.report().left, lab.app().runs()),
        (0, 0, 21)
    );
    lab.signal();
    lab.pass(10); // an early return may cost a turn
    assert!(lab.is_over());
}

#[test]
fn nothing_goes_wrong() {
    converses(&Faults::default());
}

#[test]
fn one_byte_at_a_time() {
    converses(&Faults {
        one_byte: true,
        ..Faults::default()
    });
}

#[test]
fn reads_and_writes_that_are_cut_short_interrupted_or_for_nothing() {
    for seed in 0..20 {
        for chance in [1, 2, 7] {
            let few = if chance == 1 { 2 } else { chance };
            let cases = [
                (chance, 0, 0),
                (0, chance, 0),
                (0, 0, chance),
                (chance, chance, chance),
            ];
            for (short, spurious, interrupts) in cases {
                converses(&Faults {
                    seed,
                    short_reads: short,
                    short_writes: short,
                    interrupts,
                    spurious,
                    early_returns: few * u32::from(spurious > 0),
                    ..Faults::default()
                });
            }
        }
    }
}

#[test]
fn spurious_readiness_does_not_make_work() {
    let mut lab = Lab::faulty(Faults {
        spurious: 1,
        ..Faults::default()
    });
    let idle = lab.idle();
    for _ in 0..100 {
        lab.turn();
    }
    lab.still_open(idle);
    assert_eq!((lab.report().requests, lab.report().left), (1, 0));
    // The fault does not keep an idle connection either.
    lab.patience = 1_000_000;
    let setup = Faults::default();
    let mut lab = Lab::faulty(setup);
    let idle = lab.idle();
    lab.until(75_000);
    lab.finished_at(idle, 75_000);
}

fn byte_by_byte(limits: Limits) -> Lab {
    let setup = Setup {
        faults: Faults {
            one_byte: true,
            ..Faults::default()
        },
        ..Setup::default()
    };
    let config = Config {
        limits,
        ..Config::default()
    };
    let mut lab = Lab::with(setup, config);
    lab.patience = 300_000;
    lab
}

/// Returns a request whose head has this number of bytes, in one long field or one long target.
fn long_head(length: usize, target: bool) -> String {
    let (before, after) = match target {
        true => ("GET /say/", " HTTP/1.1\r\nHost: a\r\n\r\n"),
        false => ("GET / HTTP/1.1\r\nHost: a\r\nX: ", "\r\n\r\n"),
    };
    let filler = "x".repeat(length - before.len() - after.len());
    format!("{before}{filler}{after}")
}

#[test]
fn a_head_of_64_kib_works_a_byte_at_a_time() {
    let mut lab = byte_by_byte(Limits::new());
    let peer = lab.ask(long_head(64 << 10, false));
    assert_eq!(lab.got(peer), ok("hello\n"));
    assert!(lab.turns < 70_000, "{} turns for 65,536 bytes", lab.turns);
}

#[test]
fn a_longer_head_is_refused_whole_or_a_byte_at_a_time() {
    let fields = text_close("431 Request Header Fields Too Large", "head too large\n");
    let target = text_close("414 URI Too Long", "request line too long\n");
    for limit in [100, 5_000] {
        let limits = Limits::new().head(limit as u32);
        for mut lab in [Lab::limited_by(limits.clone()), byte_by_byte(limits)] {
            let fits = lab.ask(long_head(limit, false));
            assert_eq!(lab.got(fits), ok("hello\n"));
            let long = lab.ask(long_head(limit + 1, false));
            assert_eq!(lab.got(long), fields);
            let long = lab.ask(long_head(2 * limit, true));
            assert_eq!(lab.got(long), target);
            assert_eq!(lab.open(), 1);
        }
    }
}

#[test]
fn more_fields_than_there_may_be_are_refused() {
    let request = |fields: usize| {
        let fields = "X: y\r\n".repeat(fields - 1);
        format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
    };
    let mut lab = Lab::new();
    let fits = lab.ask(request(100));
    assert_eq!(lab.got(fits), ok("hello\n"));
    let many = lab.ask(request(101));
    let expected = text_close("431 Request Header Fields Too Large", "too many fields\n");
    assert_eq!(lab.got(many), expected);
}
