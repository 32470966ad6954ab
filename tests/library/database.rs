//! The example with a database, stopped in the middle of a load: what it acknowledged is there.
//!
//! Cargo gives no path to the program of an example. So the example is a module here, and this
//! program runs itself with an ignored test as the child.

#[path = "../../examples/database.rs"]
#[expect(dead_code, reason = "its `main`")]
mod example;
use ebbtide_lab::command as support;

use std::cell::Cell;
use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, process, thread};

use nix::sys::signal::Signal;
use rusqlite::Connection;

use super::wait_until;
use support::PATIENCE;
use support::client::Client;
use support::served::Served;

const CLIENTS: usize = 8;

/// The least number of notes that are acknowledged at the signal.
const BEFORE: usize = 200;

#[test]
#[ignore = "the child of the others"]
fn the_example() {
    let path = env::var(PATH).expect("where the database is");
    let outcome = example::serve(&path, "127.0.0.1:0").expect("it serves");
    process::exit(outcome.code());
}

fn start(path: &Path) -> Served {
    let mut child = Command::new(env::current_exe().expect("this program"));
    child.args([
        "--exact",
        "database::the_example",
        "--ignored",
        "--nocapture",
    ]);
    child.env(PATH, path);
    Served::launch_and_wait(child, 1)
}

#[test]
fn every_note_that_was_acknowledged_is_in_the_database() {
    let directory = Directory::new("load");
    let path = directory.0.join("notes.db");
    let served = start(&path);
    let acknowledged = AtomicUsize::new(0);
    let clients: Vec<Seen> = thread::scope(|scope| {
        let client = |n| {
            let (acknowledged, addr) = (&acknowledged, served.addr());
            scope.spawn(move || write_and_read(addr, n, acknowledged))
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        wait_until(|| {
            assert!(served.is_running(), "{:?}", served.log());
            acknowledged.load(Ordering::Relaxed) >= BEFORE
        });
        served.terminate();
        let clients = clients.into_iter();
        clients
            .map(|client| client.join().expect("no panic"))
            .collect()
    });
    let exit = served.wait_exit(PATIENCE);
    assert_eq!(exit.code, Some(0), "{:?}", served.log());
    let said = served.log().lines().join("\n");
    for station in [
        "SIGTERM: told to stop",
        "no new connections",
        "database closed",
        "drained in",
    ] {
        assert!(said.contains(station), "no {station:?}: {said}");
    }

    let wal = fs::metadata(path.with_extension("db-wal")).map_or(0, |file| file.len());
    assert_eq!(wal, 0, "the log was not moved into the database");
    let database = Connection::open(&path).expect("it opens");
    let mut select = database
        .prepare("SELECT id, text, seen FROM notes")
        .expect("a table");
    let rows = select.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))));
    let rows: HashMap<i64, (String, u32)> =
        rows.expect("rows").map(|row| row.expect("a row")).collect();
    let mut written = 0;
    let mut read = 0;
    for client in &clients {
        written += client.notes.len();
        read += client.reads;
        for (id, text) in &client.notes {
            let found = rows.get(id).map(|(text, _)| text);
            assert_eq!(found, Some(text), "note {id} was acknowledged");
        }
    }
    println!(
        "{written} notes acknowledged, {} in the database",
        rows.len()
    );
    assert!(
        written >= BEFORE && rows.len() == written,
        "of {} rows {written}",
        rows.len()
    );
    let seen: u32 = rows.values().map(|(_, seen)| seen).sum();
    assert_eq!(seen, read, "what was in memory only was written at the end");
}

/// Another program holds the database: the server acknowledges nothing, and the exit does not wait.
#[test]
fn a_database_that_is_locked_holds_up_neither_the_truth_nor_the_exit() {
    let directory = Directory::new("locked");
    let path = directory.0.join("notes.db");
    let served = start(&path);
    let client = Asker::connect(&served);
    for (what, body, expected) in [
        ("POST /notes", "kept", (201, "1\n".into())),
        ("GET /notes/1", "", (200, "kept\n".into())),
    ] {
        assert_eq!(client.ask(what, body), Some(expected));
    }
    let other = Connection::open(&path).expect("it opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    client.send("POST /notes", "in vain");
    served.terminate();
    let busy = "the database is busy\n".to_owned();
    assert_eq!(client.response(), Some((503, busy)));
    drop(client);
    // The hook cannot write either that the note was read, and fails.
    assert_eq!(
        served.wait_exit(PATIENCE).code,
        Some(4),
        "{:?}",
        served.log()
    );
    let count = other.query_row("SELECT count(*) FROM notes", [], |row| row.get::<_, u32>(0));
    assert_eq!(count, Ok(1));
}

/// A killed process runs no hooks, and keeps what it acknowledged.
#[test]
fn what_was_acknowledged_survives_a_kill() {
    let directory = Directory::new("killed");
    let path = directory.0.join("notes.db");
    let served = start(&path);
    let client = Asker::connect(&served);
    let kept = client.ask("POST /notes", "kept");
    assert_eq!(kept, Some((201, "1\n".into())));
    let read = client.ask("GET /notes/1", "");
    assert_eq!(read, Some((200, "kept\n".into())));
    served.signal(Signal::SIGKILL);
    assert_eq!(served.wait_exit(PATIENCE).code, None);
    let database = Connection::open(&path).expect("it opens");
    let select = "SELECT text, seen FROM notes WHERE id = 1";
    let row = database.query_row(select, [], |row| Ok((row.get(0)?, row.get(1)?)));
    // The drain would have saved the count.
    assert_eq!(row, Ok((String::from("kept"), 0)));
}

/// The responses of one client.
#[derive(Default)]
struct Seen {
    notes: Vec<(i64, String)>,
    reads: u32,
}

/// Writes a note and reads it, again and again, until the server refuses it.
fn write_and_read(addr: SocketAddr, client: usize, acknowledged: &AtomicUsize) -> Seen {
    let mut seen = Seen::default();
    while let Ok(stream) = TcpStream::connect(addr) {
        let asker = Asker::over(stream);
        // The connection may end at any moment.
        while write_one(&asker, client, &mut seen, acknowledged).is_some() {}
    }
    seen
}

fn write_one(
    asker: &Asker,
    client: usize,
    seen: &mut Seen,
    acknowledged: &AtomicUsize,
) -> Option<()> {
    let text = format!("{client}: {}", seen.notes.len());
    let (status, body) = asker.ask("POST /notes", &text)?;
    assert_eq!(status, 201, "{body}");
    let id = body.trim_end().parse().expect("a number");
    seen.notes.push((id, text.clone()));
    acknowledged.fetch_add(1, Ordering::Relaxed);
    let response = asker.ask(&format!("GET /notes/{id}"), "")?;
    assert_eq!(response, (200, text + "\n"));
    seen.reads += 1;
    Some(())
}

/// A connection, and the number of its responses.
struct Asker(Client, Cell<usize>);

impl Asker {
    fn over(stream: TcpStream) -> Self {
        Self(Client::over(stream), Cell::new(0))
    }

    fn connect(served: &Served) -> Self {
        Self::over(TcpStream::connect(served.addr()).expect("connect"))
    }

    fn send(&self, what: &str, body: &str) {
        let length = body.len();
        let head = format!("{what} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        self.0.try_send((head + body).as_bytes());
    }

    /// Returns the status and body of the next response; none if the connection ends first.
    fn response(&self) -> Option<(u16, String)> {
        let response = self.0.try_response(self.1.replace(self.1.get() + 1))?;
        Some((
            response.status,
            String::from_utf8(response.body).expect("text"),
        ))
    }

    fn ask(&self, what: &str, body: &str) -> Option<(u16, String)> {
        self.send(what, body);
        self.response()
    }
}

/// A directory of one test alone, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("ebbtide-database-{}-{name}", process::id()));
        fs::create_dir(&path).expect("a new directory");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // The folder is temporary, so a failure does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The variable that tells the child where the database is.
const PATH: &str = "EBBTIDE_TEST_DATABASE";
