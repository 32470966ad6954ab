//! sd_notify: which messages the command sends, and when.

use std::io::{self, Read};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::support::child::Child;
use super::support::client::Client;
use super::support::served::Served;
use super::support::{GET, HELLO, PATIENCE, get, outlast_action};
use super::{Scratch, after};

/// The supervisor's end of `NOTIFY_SOCKET`.
struct Supervisor {
    socket: UnixDatagram,
    name: String,
    _scratch: Option<Scratch>,
}

impl Supervisor {
    /// Listens at a path.
    fn at_a_path() -> Self {
        let scratch = Scratch::new();
        let path = scratch.path().join("notify");
        Self {
            socket: UnixDatagram::bind(&path).expect("a socket at a path"),
            name: path.into_os_string().into_string().expect("a plain path"),
            _scratch: Some(scratch),
        }
    }

    /// Listens at an abstract name, which is no file.
    fn at_an_abstract_name() -> Self {
        let name = format!("ebbtide-test-{}", std::process::id());
        let addr = SocketAddr::from_abstract_name(&name).expect("a short name");
        Self {
            socket: UnixDatagram::bind_addr(&addr).expect("an abstract socket"),
            name: format!("@{name}"),
            _scratch: None,
        }
    }

    /// Starts `ebbtide serve` on a free port, with the address of this supervisor.
    fn command(&self, first: &str, flags: &[&str]) -> Command {
        let mut command = after(first, &[&["--listen", "127.0.0.1:0"], flags].concat());
        command.env("NOTIFY_SOCKET", &self.name);
        command
    }

    /// Returns the lines of the next message.
    fn hear(&self, within: Duration) -> Option<Vec<String>> {
        let mut buffer = [0; 4096];
        self.socket.set_read_timeout(Some(within)).unwrap();
        match self.socket.recv(&mut buffer) {
            Ok(length) => {
                let text = str::from_utf8(&buffer[..length]).expect("text");
                Some(text.lines().map(str::to_owned).collect())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Fills the socket, so that no message fits.
    fn fill(&self) {
        let other = UnixDatagram::unbound().expect("a socket");
        other.set_nonblocking(true).expect("it can be");
        let error = loop {
            if let Err(error) = other.send_to(b"x", &self.name) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    /// Returns the lines of the next message, which must come.
    #[track_caller]
    fn next(&self) -> Vec<String> {
        self.hear(PATIENCE).expect("a message")
    }
}

/// Reads the number in `EXTEND_TIMEOUT_USEC=…`.
fn extension(line: &str) -> Duration {
    let usec = line.strip_prefix("EXTEND_TIMEOUT_USEC=").expect(line);
    Duration::from_micros(usec.parse().expect(line))
}

#[test]
fn a_life_is_told_in_order() {
    for supervisor in [Supervisor::at_a_path(), Supervisor::at_an_abstract_name()] {
        let served =
            Served::launch_and_wait(supervisor.command(":", &["--drain-timeout", "20s"]), 1);
        let addr = served.addr();
        let ready = ["READY=1".into(), format!("STATUS=serving on {addr}")];
        assert_eq!(supervisor.next(), ready);

        let client = Client::connect(addr);
        client.send(&get("/delay/3500"));
        served.settle();
        served.terminate();
        let stopping = supervisor.next();
        let [first, status, extend] = &stopping[..] else {
            panic!("{stopping:?}");
        };
        assert_eq!(first, "STOPPING=1");
        assert_eq!(status, "STATUS=SIGTERM: draining in at most 20s");
        let margin = extension(extend) - Duration::from_secs(20);
        assert!(margin > Duration::ZERO, "{extend}");

        // Each second, the status says how many connections remain, and what is left of the
        // deadline.
        let mut extensions = vec![extension(extend)];
        for second in 1..=2 {
            let progress = supervisor.next();
            let [status, extend] = &progress[..] else {
                panic!("{progress:?}");
            };
            assert!(
                status.starts_with("STATUS=draining: 1 handler; "),
                "{status}"
            );
            assert!(status.ends_with(" s left"), "{status}");
            let left = extension(extend) - margin;
            assert!(left <= Duration::from_secs(20 - second), "{left:?} left");
            extensions.push(extension(extend));
        }
        assert!(extensions.is_sorted_by(|a, b| a > b), "{extensions:?}");

        client.response(0).assert_last();
        drop(client);
        let exit = served.wait_exit(PATIENCE);
        assert_eq!(exit.code, Some(0), "{:?}", served.log());
        let mut last = supervisor.next();
        while !last[0].starts_with("STATUS=drained in ") {
            assert!(last[0].starts_with("STATUS=draining: "), "{last:?}");
            last = supervisor.next();
        }
        assert_eq!(supervisor.hear(Duration::from_millis(1)), None);
    }
}

#[test]
fn ready_means_that_it_can_be_reached() {
    let supervisor = Supervisor::at_a_path();
    let _child = alone(supervisor.command(":", &[]));
    let ready = supervisor.next();
    let (_, addr) = ready[1]
        .split_once("STATUS=serving on ")
        .expect("an address");
    let client = Client::connect(addr.parse().expect("an address"));
    assert_eq!(client.exchange(0, GET).body, HELLO);
}

#[test]
fn a_short_drain_is_told_too() {
    // Nothing is open: the process is gone within milliseconds, and still sends its messages.
    for _ in 0..20 {
        let supervisor = Supervisor::at_a_path();
        let served = Served::launch_and_wait(supervisor.command(":", &[]), 1);
        served.terminate();
        assert_eq!(served.wait_exit(PATIENCE).code, Some(0));
        assert_eq!(supervisor.next()[0], "READY=1");
        assert_eq!(supervisor.next()[0], "STOPPING=1");
        let last = supervisor.next();
        assert!(last[0].starts_with("STATUS=drained in "), "{last:?}");
        assert_eq!(supervisor.hear(Duration::from_millis(1)), None);
    }
}

#[test]
fn the_thread_is_there_only_with_a_supervisor() {
    let has_thread = |served: &Served| {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", served.pid())).expect("tasks");
        let name = |task: io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(task.expect("a task").path().join("comm")).expect("a name")
        };
        tasks.map(name).any(|name| name.trim() == "supervisor")
    };
    let supervisor = Supervisor::at_a_path();
    let told = Served::launch_and_wait(supervisor.command(":", &[]), 1);
    supervisor.next();
    assert!(has_thread(&told));
    let alone = Served::start(&[]);
    alone.settle();
    assert!(!has_thread(&alone));
}

#[test]
fn a_supervisor_that_cannot_be_reached_stops_nobody() {
    for name in ["/nowhere/at/all", "vsock:2:1", ""] {
        let mut command = after(":", &["--listen", "127.0.0.1:0"]);
        command.env("NOTIFY_SOCKET", name);
        let served = Served::launch_and_wait(command, 1);
        served.settle();
        served.log().wait_line("NOTIFY_SOCKET", PATIENCE);
        served.terminate();
        assert_eq!(served.wait_exit(PATIENCE).code, Some(0), "{name}");
    }
}

const WATCHDOG: &str = "export WATCHDOG_USEC=400000 WATCHDOG_PID=$$";

#[test]
fn the_watchdog_hears_at_half_of_its_time() {
    let supervisor = Supervisor::at_a_path();
    let served = Served::launch_and_wait(supervisor.command(WATCHDOG, &[]), 1);
    assert_eq!(supervisor.next()[0], "READY=1");
    let start = Instant::now();
    for _ in 0..5 {
        assert_eq!(supervisor.next(), ["WATCHDOG=1"]);
    }
    // The first of the five was due after half of 400 ms; the other bound is wide.
    let took = start.elapsed();
    assert!(took > Duration::from_millis(900), "{took:?}");
    assert!(took < Duration::from_secs(4), "{took:?}");

    // The watchdog goes on during a drain.
    let client = Client::connect(served.addr());
    client.send(&get("/delay/1500"));
    served.settle();
    served.terminate();
    client.response(0).assert_last();
    drop(client);
    served.wait_exit(PATIENCE);
    let mut said = Vec::new();
    while let Some(lines) = supervisor.hear(Duration::from_millis(1)) {
        said.extend(lines);
    }
    let stopping = said.iter().position(|line| line == "STOPPING=1");
    let later = &said[stopping.expect("STOPPING=1")..];
    let alive = later.iter().filter(|line| *line == "WATCHDOG=1").count();
    assert!(alive >= 3, "{said:#?}");
}

#[test]
fn the_watchdog_of_another_process_hears_nothing() {
    let supervisor = Supervisor::at_a_path();
    let first = "export WATCHDOG_USEC=100000 WATCHDOG_PID=1";
    let served = Served::launch_and_wait(supervisor.command(first, &[]), 1);
    assert_eq!(supervisor.next()[0], "READY=1");
    assert_eq!(supervisor.hear(Duration::from_millis(500)), None);
    served.settle();
}

/// Asserts that nothing stands still while the loop logs into a full pipe.
#[test]
fn a_log_that_nobody_reads_is_no_reason_to_be_taken_for_dead() {
    let supervisor = Supervisor::at_a_path();
    let flags = ["--log-connections", "1ms"];
    let mut child = alone(supervisor.command(WATCHDOG, &flags));
    let ready = supervisor.next();
    assert_eq!(ready[0], "READY=1");
    let (_, addr) = ready[1]
        .split_once("STATUS=serving on ")
        .expect("an address");
    // The loop logs more in these two seconds than a pipe holds.
    for _ in 0..10 {
        assert_eq!(supervisor.next(), ["WATCHDOG=1"]);
    }
    let client = Client::connect(addr.parse().expect("an address"));
    assert_eq!(client.exchange(0, GET).body, HELLO);
    let mut first = Vec::new();
    let stderr = child.stderr.as_mut().expect("not read yet");
    stderr
        .take(PIPE)
        .read_to_end(&mut first)
        .expect("a full pipe");
    assert_eq!(first.len() as u64, PIPE);
}

/// The bytes that a pipe holds (pipe(7)).
const PIPE: u64 = 64 * 1024;

/// Starts the command with a stderr that the test reads later.
fn alone(mut command: Command) -> Child {
    let quiet = command.env_remove("RUST_LOG").stdin(Stdio::null());
    Child::start(quiet.stdout(Stdio::null()).stderr(Stdio::piped()))
}

#[test]
fn a_supervisor_that_hears_nothing_more_holds_up_no_exit() {
    let supervisor = Supervisor::at_a_path();
    let served = Served::launch_and_wait(supervisor.command(":", &[]), 1);
    assert_eq!(supervisor.next()[0], "READY=1");
    drop(supervisor);
    served.terminate();
    assert_eq!(served.wait_exit(PATIENCE).code, Some(0));
}

#[test]
fn a_supervisor_that_does_not_read_holds_up_no_exit() {
    const TRIES: usize = 5;
    const AT_ONCE: Duration = Duration::from_millis(100);
    let exit = |code: i32| {
        let supervisor = Supervisor::at_a_path();
        // The second signal of code 3 must come before the deadline, also on a busy machine.
        let deadline = if code == 3 { "30s" } else { "300ms" };
        let flags = ["--drain-timeout", deadline];
        let served = Served::launch_and_wait(supervisor.command(":", &flags), 1);
        assert_eq!(supervisor.next()[0], "READY=1");
        supervisor.fill();
        let _held = (code != 0).then(|| {
            let client = Client::connect(served.addr());
            client.send(&get("/delay/60000"));
            client
        });
        served.settle();
        let mut start = Instant::now();
        served.terminate();
        if code == 3 {
            served.wait_refused();
            outlast_action();
            start = Instant::now();
            served.terminate();
        }
        let exit = served.wait_exit(PATIENCE);
        assert_eq!(exit.code, Some(code), "{:?}", served.log());
        exit.at - start
    };
    // The best of some tries counts: a busy machine only adds time.
    for (code, limit) in [(0, 0), (1, 300), (3, 0)] {
        let best = (0..TRIES).map(|_| exit(code)).min().expect("some");
        println!("exit code {code}: gone after {best:?}");
        let most = Duration::from_millis(limit) + AT_ONCE;
        assert!(best < most, "exit code {code}: {best:?}");
    }
}
