//! Hooks and guards around a database: SQLite, with one connection that writes and two that read.
//!
//! ```console
//! $ cargo run --example database -- notes.db
//! $ curl -d 'buy milk' localhost:8080/notes
//! 1
//! $ curl localhost:8080/notes/1
//! buy milk
//! ```
//!
//! A note is answered when it is committed, so every note that a client was told of is there. Reads
//! are counted in memory, and written at the end: Ctrl-C loses nothing, also in the middle of a load.
//! The drain's deadline covers what the database does at the end. If the database hangs, the exit
//! code is 4.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{env, io, iter, thread};

use ebbtide::{Error, Handle, Handler, Outcome, Reply, Request, Response, Server, Ticket};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let path = args.next().unwrap_or_else(|| "notes.db".into());
    let addr = args.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    ebbtide::main(|| serve(&path, &addr))
}

pub(crate) fn serve(path: &str, addr: &str) -> Result<Outcome, Error> {
    let database = open(path).map_err(io::Error::other)?;
    let (writes, queue) = sync_channel(WAITING);
    let last = writes.clone();
    let server = Server::bind(addr)?
        .on_trigger(|trigger| eprintln!("{trigger}: told to stop, every socket is untouched"))
        .on_listener_closed(|| eprintln!("no new connections"))
        // No client is left, and no guard is held: every note is committed.
        .on_drained(move |report| {
            let (done, closed) = channel();
            let closed = last.send(Write::Close(done)).map(|()| closed.recv());
            match closed {
                Ok(Ok(Ok(()))) => eprintln!("{} answered, database closed", report.answered),
                other => panic!("the database was not closed: {other:?}"), // a hook that failed
            }
        })
        .on_exit(|outcome| eprintln!("{outcome}"));
    let addrs = server.local_addrs();
    server.run_with(|handle| {
        let handle = handle.clone();
        thread::spawn(move || write(database, &queue, &handle));
        let reads = readers(path, &writes).map_err(io::Error::other)?;
        for addr in addrs {
            eprintln!("listening on http://{addr}"); // signals are caught by now
        }
        Ok(App { writes, reads })
    })
}

/// Gives the work to the threads with a connection to the database. The loop never waits for them.
struct App {
    writes: SyncSender<Write>,
    reads: SyncSender<Read>,
}

enum Write {
    /// A note, and the ticket of the request that waits for its number.
    Note { text: String, ticket: Ticket },
    /// A note was read.
    Seen(i64),
    /// The last message: write what is in memory, close the database, and say how that went.
    Close(Sender<rusqlite::Result<()>>),
}

struct Read {
    id: i64,
    ticket: Ticket,
}

impl Handler for App {
    fn handle(&mut self, request: &Request<'_>) -> Reply {
        let id = request.path().strip_prefix("/notes/");
        let (later, queued) = match (request.method(), request.path(), id.map(str::parse)) {
            ("POST", "/notes", _) => {
                let text = String::from_utf8_lossy(request.body()).into_owned();
                let (later, ticket) = request.later();
                let queued = self.writes.try_send(Write::Note { text, ticket });
                (later, queued.is_ok())
            }
            ("GET", _, Some(Ok(id))) => {
                let (later, ticket) = request.later();
                (later, self.reads.try_send(Read { id, ticket }).is_ok())
            }
            _ => return Response::text(404, "POST /notes or GET /notes/1\n").into(),
        };
        match queued {
            true => later.into(),
            false => busy().into(),
        }
    }
}

fn open(path: &str) -> rusqlite::Result<Connection> {
    let database = Connection::open(path)?;
    database.busy_timeout(PATIENCE)?;
    database.execute_batch(
        "PRAGMA journal_mode = WAL; -- readers do not wait for the writer
         PRAGMA synchronous = FULL; -- committed means on the disk
         CREATE TABLE IF NOT EXISTS notes (
             id INTEGER PRIMARY KEY, text TEXT NOT NULL, seen INTEGER NOT NULL DEFAULT 0
         );",
    )?;
    Ok(database)
}

/// Commits all waiting notes at once: one wait for the disk for all of them.
fn write(mut database: Connection, queue: &Receiver<Write>, handle: &Handle) {
    let mut seen = HashMap::new();
    while let Ok(first) = queue.recv() {
        // Notes whose client has left hold the drain, too.
        let guard = handle.guard("commit notes");
        let (mut notes, mut close) = (Vec::new(), None);
        for write in iter::once(first).chain(queue.try_iter()).take(BATCH) {
            match write {
                Write::Note { text, ticket } => notes.push((text, ticket)),
                Write::Seen(id) => *seen.entry(id).or_default() += 1,
                Write::Close(done) => close = Some(done),
            }
        }
        let committed = commit(&mut database, &notes);
        for (n, (_, ticket)) in notes.into_iter().enumerate() {
            ticket.send(match &committed {
                Ok(ids) => Response::text(201, format!("{}\n", ids[n])),
                Err(error) => {
                    eprintln!("{error}");
                    busy()
                }
            });
        }
        drop(guard);
        if let Some(done) = close {
            let _ = done.send(finish(database, &seen)); // fails when the hook was given up
            return;
        }
    }
}

fn commit(database: &mut Connection, notes: &[(String, Ticket)]) -> rusqlite::Result<Vec<i64>> {
    if notes.is_empty() {
        return Ok(Vec::new());
    }
    let transaction = database.transaction()?;
    let mut ids = Vec::with_capacity(notes.len());
    for (text, _) in notes {
        transaction.execute("INSERT INTO notes (text) VALUES (?1)", [text])?;
        ids.push(transaction.last_insert_rowid());
    }
    transaction.commit()?;
    Ok(ids)
}

/// Writes the counts, moves the log into the database, and closes the database.
fn finish(mut database: Connection, seen: &HashMap<i64, i64>) -> rusqlite::Result<()> {
    let transaction = database.transaction()?;
    for (id, times) in seen {
        let update = "UPDATE notes SET seen = seen + ?2 WHERE id = ?1";
        transaction.execute(update, params![id, times])?;
    }
    transaction.commit()?;
    database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    database.close().map_err(|(_, error)| error)
}

/// Starts two threads, each with a connection that only reads.
fn readers(path: &str, writes: &SyncSender<Write>) -> rusqlite::Result<SyncSender<Read>> {
    let (sender, queue) = sync_channel::<Read>(WAITING);
    let queue = Arc::new(Mutex::new(queue));
    for _ in 0..2 {
        let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        database.busy_timeout(PATIENCE)?;
        let (queue, writes) = (Arc::clone(&queue), writes.clone());
        thread::spawn(move || {
            loop {
                // The lock is held while waiting: one reader waits, the other works.
                let next = queue.lock().map(|queue| queue.recv());
                let Ok(Ok(Read { id, ticket })) = next else {
                    return;
                };
                let select = "SELECT text FROM notes WHERE id = ?1";
                let text = database.query_row(select, [id], |row| row.get::<_, String>(0));
                ticket.send(match text.optional() {
                    Ok(Some(text)) => {
                        // Before the response, which may be the last that the drain waits for.
                        let _ = writes.send(Write::Seen(id));
                        Response::text(200, text + "\n")
                    }
                    Ok(None) => Response::text(404, "no such note\n"),
                    Err(error) => {
                        eprintln!("{error}");
                        busy()
                    }
                });
            }
        });
    }
    Ok(sender)
}

fn busy() -> Response {
    Response::text(503, "the database is busy\n").field("Retry-After", "1")
}

/// How many requests may wait for the database. More are turned away, and can go elsewhere.
const WAITING: usize = 1_000;

/// How many notes a transaction takes at most: each note waits for all of them.
const BATCH: usize = 256;

/// How long to wait for another process that has locked the database.
const PATIENCE: Duration = Duration::from_secs(1);
