//! The cases with more than one connection, each by its name in the file of cases.

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::judge;
use super::support::client::{Client, Seen};
use super::support::{GET, HELLO, PATIENCE, get, post, post_head};
use ebbtide_lab::Dice;
use ebbtide_lab::response::{Field, Framing, Response};

/// Threads that play the clients of a crowd.
const CROWD_THREADS: usize = 16;

/// The limit for serving a new client, however many others there are.
const PROMPT: Duration = Duration::from_secs(3);

/// The CPU is watched while this request waits for its response: a second.
const WATCHED: &str = "/delay/1000";

/// The unit of `/proc/PID/stat` (USER_HZ, 100 on every Linux).
const TICKS_PER_SECOND: f64 = 100.0;

/// Runs the procedure `name`.
pub(crate) fn run(addr: SocketAddr, pid: i32, name: &str, params: &Value) -> Result<(), String> {
    let params = Params(params);
    match name {
        "sequential" => sequential(addr, params.number("count")),
        "head_vs_get" => head_vs_get(addr, params.text("path")),
        "stream_incremental" => stream_incremental(addr, params.number("n"), params.number("ms")),
        "parallel_delay" => parallel_delay(addr, &params),
        "delays_on_time" => delays_on_time(addr, &params),
        "aborts" => aborts(addr, params.text("how"), params.number("count")),
        "crowd" => crowd(addr, params.text("what"), params.number("conns")),
        "burst" => burst(addr, params.number("conns")),
        "idle_cpu" => idle_cpu(addr, pid, &params),
        "parallel_echo" => parallel_echo(addr, &params),
        _ => Err(format!("the runner does not know the procedure {name:?}")),
    }
}

struct Params<'a>(&'a Value);

impl<'a> Params<'a> {
    fn number(&self, name: &str) -> usize {
        let value = self.0[name].as_u64();
        let value = value.unwrap_or_else(|| panic!("no number {name:?} in {}", self.0));
        usize::try_from(value).expect("a small number")
    }

    fn millis(&self, name: &str) -> Duration {
        Duration::from_millis(self.number(name) as u64)
    }

    fn text(&self, name: &str) -> &'a str {
        let text = self.0[name].as_str();
        text.unwrap_or_else(|| panic!("no text {name:?} in {}", self.0))
    }
}

/// Sends many requests one after another on one connection.
fn sequential(addr: SocketAddr, count: usize) -> Result<(), String> {
    let client = Client::connect(addr);
    for n in 0..count {
        client.try_send(GET);
        is_hello(&response(&client, n)?)?;
    }
    Ok(())
}

/// Asserts that HEAD has the status and fields of GET, and no body.
fn head_vs_get(addr: SocketAddr, path: &str) -> Result<(), String> {
    let client = Client::connect(addr);
    client.expect_methods(&["GET".to_owned(), "HEAD".to_owned()]);
    let full = response_to(&client, 0, &get(path))?;
    let head = format!("HEAD {path} HTTP/1.1\r\nHost: t.example\r\n\r\n");
    let head = response_to(&client, 1, head.as_bytes())?;
    // A body after the HEAD would stand where this response has to begin.
    is_hello(&response_to(&client, 2, GET)?)?;

    let stable = |response: &Response| -> Vec<Field> {
        let mut fields: Vec<_> = response.fields.clone();
        for (name, value) in &mut fields {
            name.make_ascii_lowercase();
            if name == "date" {
                value.clear();
            }
        }
        fields.sort();
        fields
    };
    if (full.status, stable(&full)) != (head.status, stable(&head)) {
        return Err(format!("GET: {full}; HEAD: {head}"));
    }
    Ok(())
}

/// Asserts that chunks reach the client as they are made.
fn stream_incremental(addr: SocketAddr, n: usize, ms: usize) -> Result<(), String> {
    let client = Client::connect(addr);
    let response = response_to(&client, 0, &get(&format!("/stream/{n}/{ms}")))?;
    if response.framing != Framing::Chunked || !judge::is_stream(&response.body, n) {
        return Err(format!("not the stream: {response}"));
    }
    client.look(|seen| {
        let count = |text: &[u8]| text.windows(6).filter(|window| window == b"chunk ").count();
        let first = seen
            .marks
            .iter()
            .find(|(length, _)| count(&seen.bytes[..*length]) >= 1);
        let first = first.ok_or("no first chunk")?.1;
        let took = response.done - first;
        let least = Duration::from_millis(((n - 1) * ms / 2) as u64);
        if took < least || seen.marks.len() < n / 2 {
            let reads = seen.marks.len();
            return Err(format!("all of it came within {took:?}, in {reads} reads"));
        }
        Ok(())
    })
}

/// Asserts that many waiting requests wait at the same time.
fn parallel_delay(addr: SocketAddr, params: &Params<'_>) -> Result<(), String> {
    let delays = vec![params.number("ms"); params.number("conns")];
    let began = Instant::now();
    delays_at_once(addr, &delays, PATIENCE)?;
    let took = began.elapsed();
    if took > params.millis("limit_ms") {
        return Err(format!("all of them together took {took:?}"));
    }
    Ok(())
}

/// Asserts that each delay answers not before its time and not much after it.
fn delays_on_time(addr: SocketAddr, params: &Params<'_>) -> Result<(), String> {
    let delays = params.0["delays"].as_array().ok_or("no delays")?;
    let delays: Option<Vec<_>> = delays.iter().map(Value::as_u64).collect();
    let delays: Vec<_> = delays
        .ok_or("delays")?
        .iter()
        .map(|ms| *ms as usize)
        .collect();
    delays_at_once(addr, &delays, params.millis("late_ms"))
}

fn delays_at_once(addr: SocketAddr, delays: &[usize], late: Duration) -> Result<(), String> {
    let clients: Vec<_> = delays.iter().map(|_| Client::connect(addr)).collect();
    let mut began = Vec::new();
    for (client, ms) in clients.iter().zip(delays) {
        began.push(Instant::now());
        client.try_send(&get(&format!("/delay/{ms}")));
    }
    for ((client, ms), began) in clients.iter().zip(delays).zip(began) {
        let response = response(client, 0)?;
        let took = response.done - began;
        let due = Duration::from_millis(*ms as u64);
        if response.status != 200 || response.body != b"done" {
            return Err(format!("/delay/{ms}: {response}"));
        }
        if took < due || took > due + late {
            return Err(format!("/delay/{ms} took {took:?}"));
        }
    }
    Ok(())
}

/// Asserts that clients which leave at a bad moment do not hurt the others.
fn aborts(addr: SocketAddr, how: &str, count: usize) -> Result<(), String> {
    let other = Client::connect(addr);
    is_hello(&response_to(&other, 0, GET)?)?;
    for n in 0..count {
        let client = Client::connect(addr);
        let request = match how {
            "partial-head" => GET[..GET.len() - 1 - n % (GET.len() - 1)].to_vec(),
            "partial-body" => {
                let mut request = post_head("/echo", 1000);
                request.extend_from_slice(&[b'x'; 500]);
                request
            }
            "mid-response" => get("/bytes/4000000"),
            _ => return Err(format!("the runner cannot abort {how:?}")),
        };
        client.try_send(&request);
        if how == "mid-response" {
            client.wait(PATIENCE, |seen| (!seen.bytes.is_empty()).then_some(()));
        }
        if n % 2 == 0 {
            client.abort();
        } else {
            drop(client);
        }
    }
    is_hello(&response_to(&other, 1, GET)?)?;
    is_hello(&response_to(&Client::connect(addr), 0, GET)?)
}

/// Asserts that new clients are served beside idle and half-sent ones.
fn crowd(addr: SocketAddr, what: &str, conns: usize) -> Result<(), String> {
    let crowd = waiting_clients(addr, what, conns)?;
    for _ in 0..3 {
        let began = Instant::now();
        is_hello(&response_to(&Client::connect(addr), 0, GET)?)?;
        let took = began.elapsed();
        if took > PROMPT {
            return Err(format!("a new client waited {took:?}"));
        }
    }
    let left = crowd
        .iter()
        .filter(|client| client.look(|seen| seen.end.is_some()))
        .count();
    if left > 0 {
        return Err(format!("{left} of the waiting connections were closed"));
    }
    Ok(())
}

fn waiting_clients(addr: SocketAddr, what: &str, conns: usize) -> Result<Vec<Client>, String> {
    let wait = |_| {
        let client = Client::connect(addr);
        match what {
            "idle" => is_hello(&response_to(&client, 0, GET)?)?,
            "fresh" => {}
            "partial-head" => {
                client.try_send(&GET[..GET.len() / 2]);
            }
            "partial-body" => {
                client.try_send(&post_head("/echo", 1000));
                client.try_send(b"half");
            }
            _ => return Err(format!("the runner knows no {what:?} connection")),
        }
        Ok(client)
    };
    (0..conns).map(wait).collect()
}

/// Lets many clients connect at the same moment and ask at once.
fn burst(addr: SocketAddr, conns: usize) -> Result<(), String> {
    let some = |count: usize| -> Result<(), String> {
        let clients: Vec<_> = (0..count)
            .map(|_| {
                let client = Client::connect(addr);
                client.try_send(GET);
                client
            })
            .collect();
        clients
            .iter()
            .try_for_each(|client| is_hello(&response(client, 0)?))
    };
    in_parallel(CROWD_THREADS, |thread| {
        some(conns / CROWD_THREADS + usize::from(thread < conns % CROWD_THREADS))
    })
}

/// Asserts that waiting connections do not keep the server busy.
fn idle_cpu(addr: SocketAddr, pid: i32, params: &Params<'_>) -> Result<(), String> {
    let limit = params.0["limit"].as_f64().ok_or("no limit")?;
    let clients = waiting_clients(addr, params.text("what"), params.number("conns"))?;
    let (before, began) = (cpu_seconds(pid), Instant::now());
    response_to(&Client::connect(addr), 0, &get(WATCHED))?;
    let used = (cpu_seconds(pid) - before) / began.elapsed().as_secs_f64();
    drop(clients);
    if used > limit {
        return Err(format!("{used:.2} of a CPU for nothing"));
    }
    Ok(())
}

/// Returns the user and system time of a process.
fn cpu_seconds(pid: i32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the server runs");
    // The name of the command may hold spaces and parentheses; the numbers begin after the last.
    let numbers = stat.rsplit_once(')').map_or("", |(_, numbers)| numbers);
    let numbers = numbers.split_whitespace().skip(11).take(2);
    numbers
        .map(|ticks| ticks.parse::<f64>().expect("a number"))
        .sum::<f64>()
        / TICKS_PER_SECOND
}

/// Uploads much at once, cut in pieces: each client gets its own bytes back.
fn parallel_echo(addr: SocketAddr, params: &Params<'_>) -> Result<(), String> {
    let (size, pieces) = (params.number("size"), params.number("pieces"));
    in_parallel(params.number("conns"), |thread| {
        let mut dice = Dice::new(thread as u64);
        let body: Vec<u8> = (0..size).map(|_| dice.index(256) as u8).collect();
        let request = post("/echo", &body);
        let client = Client::connect(addr);
        for piece in request.chunks(request.len().div_ceil(pieces)) {
            client.try_send(piece);
        }
        let response = response(&client, 0)?;
        if response.status != 200 || response.body != body {
            return Err(format!("not what was sent: {response}"));
        }
        Ok(())
    })
}

/// Runs `work(0..threads)` at the same time.
fn in_parallel(
    threads: usize,
    work: impl Fn(usize) -> Result<(), String> + Sync,
) -> Result<(), String> {
    let work = &work;
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|n| scope.spawn(move || work(n))).collect();
        // All threads are joined; the first failure is returned.
        let results: Vec<_> = running
            .into_iter()
            .map(|t| t.join().expect("no panic"))
            .collect();
        results.into_iter().collect()
    })
}

fn response_to(client: &Client, n: usize, request: &[u8]) -> Result<Response, String> {
    client.try_send(request);
    response(client, n)
}

/// Returns the final response number `n` of the connection.
fn response(client: &Client, n: usize) -> Result<Response, String> {
    let found = client.wait(PATIENCE, |seen| {
        let response = seen.conversation.finals().nth(n).cloned();
        let over = seen.end.is_some() || seen.conversation.broken.is_some();
        (response.is_some() || over).then_some(response)
    });
    let came = || client.look(Seen::describe);
    found
        .flatten()
        .ok_or_else(|| format!("no response {n}: {}", came()))
}

fn is_hello(response: &Response) -> Result<(), String> {
    if response.status == 200 && response.body == HELLO {
        return Ok(());
    }
    Err(format!("not the response of /plaintext: {response}"))
}
