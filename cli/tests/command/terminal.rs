//! What a person at a terminal sees while the server drains.
//!
//! The command's stderr is a pseudo-terminal, and its output goes through a terminal emulator. The
//! tests assert the screen after each read.

use ebbtide_lab::command as support;

use std::fs::File;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::num::NonZero;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::Signal;

use support::child::Child;
use support::client::Client;
use support::served::command;
use support::{GET, PATIENCE, get, outlast_action};

/// `ebbtide serve` at a terminal.
struct Watched {
    child: Child,
    terminal: Arc<Terminal>,
    keyboard: File,
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Terminal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    /// The screen after each read.
    screens: Vec<Screen>,
    closed: bool,
}

/// What the terminal shows.
#[derive(Clone, Debug, Default)]
struct Screen {
    /// The rows that are not blank.
    rows: Vec<String>,
    /// How many bytes made the screen.
    bytes: usize,
}

impl Screen {
    /// Returns the lowest row, if it is the live line.
    fn live(&self) -> Option<&str> {
        let row = self.rows.last()?;
        row.starts_with("draining [").then_some(row)
    }
}

/// How the command ended.
struct Ended {
    code: i32,
    screens: Vec<Screen>,
    text: String,
}

impl Ended {
    /// Returns the rows that stay: the log, and the outcome below it.
    #[track_caller]
    fn left(&self) -> (&[String], &str) {
        let rows = &self.screens.last().expect("something").rows;
        let (outcome, log) = rows.split_last().expect("a row");
        assert!(log.iter().all(|row| is_log(row)), "{rows:#?}");
        (log, outcome)
    }
}

impl Watched {
    fn start(columns: u16, term: &str, environment: &[(&str, &str)], flags: &[&str]) -> Self {
        let size = Winsize {
            ws_row: ROWS,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let OpenptyResult { master, slave } = openpty(&size, None).expect("a pseudo-terminal");
        // The command, and with it the test's end of the slave, is gone after this statement.
        let child = Child::start(
            Command::new(command())
                .args(["serve", "--listen", "127.0.0.1:0"])
                .args(flags)
                .env_remove("RUST_LOG")
                .env_remove("NO_COLOR")
                .env("TERM", term)
                .envs(environment.iter().copied())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(slave),
        );
        let mut screen = File::from(master);
        let keyboard = screen.try_clone().expect("a descriptor");
        let terminal = Arc::new(Terminal::default());
        let reader = thread::spawn({
            let terminal = Arc::clone(&terminal);
            move || terminal.show(&mut screen, columns)
        });
        let watched = Self {
            child,
            terminal,
            keyboard,
            reader: Some(reader),
        };
        watched.wait_text("second signal cuts");
        watched
    }

    fn addr(&self) -> SocketAddr {
        let text = self.wait_text("http://");
        let addr = text.split_once("http://").expect("it is there").1;
        addr.lines()
            .next()
            .expect("a line")
            .parse()
            .expect("an address")
    }

    fn signal(&self, signal: Signal) {
        assert!(self.child.signal(signal), "it has ended");
    }

    /// Waits for a text in the whole output, and returns the output up to the end of a line.
    #[track_caller]
    fn wait_text(&self, wanted: &str) -> String {
        let text = |state: &State| String::from_utf8_lossy(&state.bytes).into_owned();
        let whole = |state: &State| {
            let text = text(state);
            text.split_once(wanted)
                .is_some_and(|(_, rest)| rest.contains('\n'))
        };
        let state = self.wait_until(whole);
        assert!(whole(&state), "no {wanted:?} in {:?}", text(&state));
        text(&state)
    }

    /// Waits for a screen after that one, and returns it.
    #[track_caller]
    fn wait_screen(&self, after: &Screen, wanted: impl Fn(&Screen) -> bool) -> Screen {
        let find = |state: &State| {
            let mut screens = state.screens.iter();
            screens
                .find(|screen| screen.bytes > after.bytes && wanted(screen))
                .cloned()
        };
        let state = self.wait_until(|state| find(state).is_some());
        find(&state).unwrap_or_else(|| panic!("it never looked so: {:#?}", state.screens.last()))
    }

    /// Waits for a live line with this in it, on a screen after that one.
    #[track_caller]
    fn wait_live(&self, after: &Screen, text: &str) -> Screen {
        self.wait_screen(after, |screen| {
            screen.live().is_some_and(|row| row.contains(text))
        })
    }

    fn wait_until(&self, done: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waiting = |state: &mut State| !state.closed && !done(state);
        let Terminal { changed, .. } = &*self.terminal;
        let waited = changed.wait_timeout_while(self.terminal.lock(), PATIENCE, waiting);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn end(mut self) -> Ended {
        let end = self.wait_until(|_| false).closed;
        assert!(end, "the terminal is still held");
        let code = self.child.wait(PATIENCE).expect("it ends").code;
        if let Some(reader) = self.reader.take() {
            reader.join().expect("no panic");
        }
        let state = self.terminal.lock();
        Ended {
            code: code.expect("no signal killed it"),
            screens: state.screens.clone(),
            text: String::from_utf8(state.bytes.clone()).expect("text"),
        }
    }
}

impl Terminal {
    fn show(&self, screen: &mut File, columns: u16) {
        let rows = NonZero::new(ROWS).expect("some");
        let width = NonZero::new(columns).expect("some");
        let mut emulator = vt100::Parser::new(rows, width, 0);
        let mut chunk = [0; 4096];
        // A terminal that nobody holds any more is an error to read.
        while let Ok(length @ 1..) = screen.read(&mut chunk) {
            emulator.process(&chunk[..length]);
            let rows = emulator.screen().rows(0, columns);
            let rows = rows.map(|row| row.trim_end().to_owned());
            let rows = rows.filter(|row| !row.is_empty()).collect();
            let mut state = self.lock();
            state.bytes.extend_from_slice(&chunk[..length]);
            let bytes = state.bytes.len();
            state.screens.push(Screen { rows, bytes });
            drop(state);
            self.changed.notify_all();
        }
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether a row belongs to the log: such a row begins with the time of day.
fn is_log(row: &str) -> bool {
    let time = row.split(' ').next().unwrap_or_default();
    time.len() == "12:34:56.789Z".len() && time.ends_with('Z')
}

#[test]
fn a_drain_is_one_line_that_is_rewritten_and_leaves_nothing_behind() {
    let watched = Watched::start(200, "xterm-256color", &[], &[]);
    let addr = watched.addr();
    let idle = Client::connect(addr);
    idle.exchange(0, GET);
    let [long, short] = ["/delay/3000", "/delay/1500"].map(|path| {
        let client = Client::connect(addr);
        client.send(&get(path));
        client
    });
    idle.exchange(1, GET); // after the others: the server has them by now
    watched.signal(Signal::SIGTERM);

    // The idle connection goes first, and then the one that is answered first.
    let screen = watched.wait_live(
        &Screen::default(),
        " of 25 s; 2 handler; oldest: 127.0.0.1:",
    );
    let live = screen.live().unwrap();
    assert!(
        live.starts_with("draining [####........] 1 of 3 gone, "),
        "{live}"
    );
    short.response(0).assert_last();
    drop(short);
    let screen = watched.wait_live(&screen, " of 25 s; 1 handler; oldest: 127.0.0.1:");
    let live = screen.live().unwrap();
    assert!(
        live.starts_with("draining [########....] 2 of 3 gone, "),
        "{live}"
    );
    assert!(live.contains(" GET /delay/3000 (handler for "), "{live}");

    // The table stands above the live line, each of its rows whole, and the line goes on below.
    watched.signal(Signal::SIGUSR1);
    let screen = watched.wait_screen(&screen, |screen| match &screen.rows[..] {
        [.., row, _] => screen.live().is_some() && row.contains(" GET /delay/3000 ("),
        _ => false,
    });
    let [.., counts, row, live] = &screen.rows[..] else {
        panic!("{screen:?}");
    };
    assert!(
        is_log(counts) && counts.contains(" draining: 1 handler; ") && counts.ends_with(" s left"),
        "{counts}"
    );
    assert!(is_log(row) && row.ends_with(" 0 bytes in, 0 out)"), "{row}");
    watched.wait_screen(&screen, |next| next.live().is_some_and(|now| now != live));

    long.response(0).assert_last();
    drop((long, idle));
    let ended = watched.end();
    let (log, outcome) = ended.left();
    assert_eq!(ended.code, 0);
    assert!(outcome.starts_with("ebbtide: drained in "), "{outcome}");
    let told = log.iter().filter(|row| row.contains(" s left")).count();
    assert_eq!(told, 1, "only the table, which was asked for: {log:#?}");
    // The live line was always below the log.
    for Screen { rows, .. } in &ended.screens {
        let (_, log) = rows.split_last().expect("a row");
        let garbled = log
            .iter()
            .find(|row| !is_log(row) || row.contains(" gone, "));
        assert_eq!(garbled, None, "{rows:#?}");
    }
}

#[test]
fn a_short_drain_draws_no_line_and_ctrl_c_leaves_no_echo() {
    let mut watched = Watched::start(200, "xterm", &[], &[]);
    watched.keyboard.write_all(b"\x03").expect("typed");
    let echoed = |screen: &Screen| screen.rows.last().is_some_and(|row| row == "^C");
    watched.wait_screen(&Screen::default(), echoed);
    watched.signal(Signal::SIGINT);
    let ended = watched.end();
    let (log, outcome) = ended.left();
    assert_eq!(ended.code, 0);
    assert!(outcome.starts_with("ebbtide: drained in "), "{outcome}");
    assert!(!log.iter().any(|row| row.contains("^C")), "{log:#?}");
    assert!(ended.screens.iter().all(|screen| screen.live().is_none()));
}

#[test]
fn a_second_ctrl_c_cuts_and_the_line_is_gone() {
    let mut watched = Watched::start(200, "xterm", &[], &[]);
    let client = Client::connect(watched.addr());
    client.send(&get("/delay/60000"));
    Client::connect(watched.addr()).exchange(0, GET);
    watched.signal(Signal::SIGINT);
    let screen = watched.wait_live(&Screen::default(), " gone, ");
    watched.keyboard.write_all(b"\x03").expect("typed");
    // The echo stands behind the line, and goes when the line is drawn again.
    let has_echo = |state: &State| {
        let mut pairs = state.bytes[screen.bytes..].windows(2);
        pairs.any(|pair| pair == b"^C")
    };
    let state = watched.wait_until(has_echo);
    assert!(has_echo(&state), "no echo");
    let echoed = state.screens.last().cloned().expect("a screen");
    drop(state);
    watched.wait_screen(&echoed, |screen| {
        screen.live().is_some_and(|row| !row.contains("^C"))
    });
    outlast_action();
    watched.signal(Signal::SIGINT);
    client.response(0).assert_last();
    let ended = watched.end();
    let (_, outcome) = ended.left();
    assert_eq!(ended.code, 3);
    assert!(
        outcome.starts_with("ebbtide: cut short after "),
        "{outcome}"
    );
}

#[test]
fn a_narrow_terminal_gets_a_short_line_and_no_color_no_colours() {
    const COLUMNS: u16 = 34;
    for (environment, coloured) in [(("X", "1"), true), (("NO_COLOR", "1"), false)] {
        let watched = Watched::start(COLUMNS, "xterm", &[environment], &[]);
        let client = Client::connect(watched.addr());
        client.send(&get("/delay/900"));
        Client::connect(watched.addr()).exchange(0, GET);
        watched.signal(Signal::SIGTERM);
        let screen = watched.wait_live(&Screen::default(), "...");
        let live = screen.live().unwrap();
        assert_eq!(live.len(), usize::from(COLUMNS) - 3, "{live}");
        assert!(live.ends_with("..."), "{live}");
        client.response(0).assert_last();
        drop(client);
        let ended = watched.end();
        assert_eq!(ended.code, 0);
        let colour = |rest: &str| {
            let end = rest.find(|char: char| char.is_ascii_alphabetic());
            end.is_some_and(|end| rest[end..].starts_with('m'))
        };
        let found = ended.text.split("\x1b[").skip(1).any(colour);
        assert_eq!(found, coloured, "{:?}", ended.text);
    }
}

#[test]
fn a_terminal_that_cannot_erase_is_written_to_like_a_file() {
    // CI wants colours where a terminal has them; this terminal has none.
    let watched = Watched::start(200, "dumb", &[("CI", "true")], &[]);
    let client = Client::connect(watched.addr());
    client.send(&get("/delay/1500"));
    Client::connect(watched.addr()).exchange(0, GET);
    watched.signal(Signal::SIGTERM);
    let line = watched.wait_text(" s left");
    assert!(
        line.contains(" draining: 1 handler; 24 s left; oldest: "),
        "{line}"
    );
    client.response(0).assert_last();
    drop(client);
    let ended = watched.end();
    assert_eq!(ended.code, 0);
    ended.left();
    assert!(!ended.text.contains('\x1b'), "{:?}", ended.text);
}

const ROWS: u16 = 40;
