//! Servers that stop badly, each in its own way, for the probe to find.
//!
//! Each connection has a thread. Only the signal and the reset need more than std.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::exit;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use signal_hook::consts::SIGTERM;
use signal_hook::flag;
use signal_hook::iterator::Signals;
use socket2::SockRef;

/// The variable that says how bad the server is.
pub(crate) const HOW: &str = "EBBTIDE_BAD_SERVER";

/// The arguments that make this program the server.
pub(crate) const ARGS: &[&str] = &["--ignored", "--exact", "probe::server", "--nocapture"];

/// The time that a slow response takes.
const SLOW: Duration = Duration::from_millis(400);

const REFUSAL: &[u8] = b"HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Serves until the server ends in its way.
pub(crate) fn serve(how: &str) -> ! {
    if how == "ends early" {
        eprintln!("no database");
        exit(7);
    }
    let port = env::var("PORT").expect("the probe says which");
    if how == "never listens" {
        wait_forever();
    }
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).expect("the port is free");
    let world = Arc::new(World::default());
    match how {
        "hangs" => {
            // The signal is caught and ignored.
            flag::register(SIGTERM, Arc::new(AtomicBool::new(false))).expect("a signal");
        }
        "resets" | "forgets" | "refuses" => {
            let (world, how) = (Arc::clone(&world), how.to_owned());
            let mut signals = Signals::new([SIGTERM]).expect("a signal");
            thread::spawn(move || {
                signals.forever().next();
                world.refusing.store(how == "refuses", Ordering::SeqCst);
                match how.as_str() {
                    "resets" => world.reset_all(),
                    _ => world.finish(),
                }
            });
        }
        _ => {} // dies of the signal
    }
    let how: Arc<str> = how.into();
    for stream in listener.incoming().flatten() {
        let (world, how) = (Arc::clone(&world), Arc::clone(&how));
        thread::spawn(move || converse(&stream, &world, &how));
    }
    exit(9);
}

/// All connections, and how many of them have an open request.
#[derive(Default)]
struct World {
    streams: Mutex<Vec<TcpStream>>,
    busy: AtomicUsize,
    /// Whether each response is a 503 from now on.
    refusing: AtomicBool,
}

impl World {
    /// Resets every connection, and exits.
    fn reset_all(&self) {
        let streams = self.streams.lock().expect("no panic");
        for stream in &*streams {
            SockRef::from(stream)
                .set_linger(Some(Duration::ZERO))
                .expect("a socket");
        }
        exit(5); // with the lock held, so that nobody is closed otherwise
    }

    /// Exits when every request has its response.
    fn finish(&self) {
        while self.busy.load(Ordering::SeqCst) > 0 {
            thread::yield_now();
        }
        exit(0);
    }
}

fn converse(stream: &TcpStream, world: &World, how: &str) -> Option<()> {
    let clone = || stream.try_clone().ok();
    world.streams.lock().ok()?.push(clone()?);
    let mut out = clone()?;
    let mut lines = BufReader::new(clone()?);
    match how {
        "speaks no HTTP" => {
            out.write_all(b"SSH-2.0-x\r\n").ok()?;
            wait_forever();
        }
        "says nothing" => wait_forever(),
        "closes" => {
            // The request is read first; otherwise the close would be a reset.
            lines.fill_buf().ok()?;
            stream.shutdown(std::net::Shutdown::Both).ok()?;
            return None;
        }
        _ => {}
    }
    loop {
        let mut line = String::new();
        // A request counts from its first byte on.
        let begun = lines.fill_buf().ok()?.len();
        if begun == 0 {
            return None;
        }
        world.busy.fetch_add(1, Ordering::SeqCst);
        let answered = (|| {
            lines.read_line(&mut line).ok()?;
            let mut length = 0;
            loop {
                let mut field = String::new();
                if lines.read_line(&mut field).ok()? == 0 {
                    return None;
                }
                if field == "\r\n" {
                    break;
                }
                if let Some(value) = field.strip_prefix("Content-Length: ") {
                    length = value.trim().parse().ok()?;
                }
            }
            lines.read_exact(&mut vec![0; length]).ok()?;
            if world.refusing.load(Ordering::SeqCst) {
                out.write_all(REFUSAL).ok()?;
                return None;
            }
            answer(&line, &mut out, how)
        })();
        world.busy.fetch_sub(1, Ordering::SeqCst);
        answered?;
    }
}

fn answer(line: &str, out: &mut impl Write, how: &str) -> Option<()> {
    match line.split(' ').nth(1)? {
        "/slow" => thread::park_timeout(SLOW),
        "/stream" => {
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
            out.write_all(head).ok()?;
            thread::park_timeout(SLOW);
            return out.write_all(b"0\r\n\r\n").ok();
        }
        _ => {}
    }
    out.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .ok()?;
    if how == "ends before the signal" && line.starts_with("GET / ") {
        // The probe asks three questions for this path first.
        static SERVED: AtomicUsize = AtomicUsize::new(0);
        if SERVED.fetch_add(1, Ordering::SeqCst) == 2 {
            exit(8);
        }
    }
    Some(())
}

fn wait_forever() -> ! {
    loop {
        thread::park();
    }
}
