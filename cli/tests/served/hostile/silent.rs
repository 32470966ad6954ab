//! Ten thousand sockets that say nothing.

use std::io::Read;
use std::time::{Duration, Instant};

use super::{Kind, connect, serve, stop};

/// Within the 16,384 files that the helpers ask for.
const MANY: usize = 10_000;

/// Listeners of the command; with one, the client's kernel searches long for free ports.
const LISTENERS: usize = 4;

#[test]
fn ten_thousand_silent_sockets_change_nothing_for_the_others() {
    let listeners = ["--listen", "127.0.0.1:0"].repeat(LISTENERS);
    let flags = ["--head-timeout", "4s"];
    let served = serve(&[&flags[..], &listeners].concat());
    let mut kind = Kind::new(served.addr());
    let many = match rlimit() {
        room if room < MANY + 200 => {
            println!("only {room} files may be open, so there are fewer");
            room.saturating_sub(200)
        }
        _ => MANY,
    };
    let begun = Instant::now();
    let mut silent = Vec::with_capacity(many);
    for n in 0..many {
        silent.push(connect(served.addrs()[n % LISTENERS]));
        if n % 100 == 0 {
            kind.is_served();
        }
    }
    println!("{many} connected within {:?}", begun.elapsed());
    for stream in &mut silent {
        // The timeout sends a FIN: no response, no reset.
        let read = stream.read(&mut [0; 64]);
        assert!(matches!(read, Ok(0)), "{read:?}");
        if kind.served < 1_000 {
            kind.is_served();
        }
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(4), "too early: {took:?}");
    kind.is_served();
    kind.sum("silence");
    drop(silent);
    assert!(stop(&served) > many as i64);
}

fn rlimit() -> usize {
    use nix::sys::resource::{Resource, getrlimit};
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    usize::try_from(soft).unwrap_or(usize::MAX)
}
