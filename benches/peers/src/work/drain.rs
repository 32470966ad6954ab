//! Measures the drain of many idle connections, with some requests under way: the last idle
//! connection's FIN, the server's CPU time, and the end of its process.
//!
//! A FIN counts when the client, on a processor of its own, reads that FIN.

use std::time::{Duration, Instant};

use super::{SMALL, Scale};
use crate::client::links::End;
use crate::client::{Client, Load};
use crate::cpu::{self, Cpus};
use crate::peers::{self, Kind, Peer};
use crate::process::Served;
use crate::sheet::{Column, Sheet};

/// Fills a server with idle connections and some requests, and sends the signal.
pub(super) fn drain(
    peer: &Peer,
    scale: &Scale,
    cpus: Cpus,
    sheet: &mut Sheet,
) -> Result<(), String> {
    let mut all = peers::all().into_iter();
    let ours = all
        .find(|peer| peer.kind == Kind::Ours)
        .ok_or("no upstream")?;
    let upstream = Served::start(&ours, 0, cpus)?;
    let mut served = Served::start(peer, upstream.port, cpus)?;
    let mut client = Client::new(served.port, peer.at_once).map_err(|error| error.to_string())?;
    let idle = *scale.idle.last().ok_or("no connections")?;
    let count = idle + scale.active;
    client.open(count, &Load::of(SMALL))?;
    let slow = delayed(scale.delay);
    let (_, _, links) = client.parts();
    for key in idle..count {
        links.send(key, &slow, 1);
    }
    // No byte shows when the server has read the requests; reading takes far less than this.
    std::thread::sleep(scale.delay / 5);

    let pids = served.tree();
    let (before, of_others) = (cpu::spent(&pids), cpu::spent_by_exited());
    served.stop();
    let left = watch(&mut client, &mut served, idle)?;
    let name = &peer.name;
    if let Some(last) = left.last_fin {
        sheet.add(name, Column::LastFin, last.as_secs_f64() * 1e3);
    }
    if left.open > 0 {
        sheet.note(
            name,
            format!("drain: idle connections are still open after {CAP:?}"),
        );
    }
    sheet.add(name, Column::Unanswered, left.unanswered as f64);
    if let Some((after, code)) = left.exit {
        sheet.add(name, Column::Exit, after.as_secs_f64() * 1e3);
        sheet.add(name, Column::Code, f64::from(code));
        let spent = cpu::spent_by_exited().saturating_sub(of_others + before);
        sheet.add(
            name,
            Column::DrainCpu,
            spent.as_secs_f64() * 1e6 / count as f64,
        );
    } else {
        sheet.note(
            name,
            format!("drain: the process has not ended after {CAP:?}"),
        );
    }
    Ok(())
}

/// Outcome of a drain.
struct Left {
    last_fin: Option<Duration>,
    /// Idle connections that did not end.
    open: usize,
    unanswered: usize,
    /// Time from the last response to the end of the process, and the exit code.
    exit: Option<(Duration, i32)>,
}

/// Watches the connections until the process ends, for `CAP` at most.
fn watch(client: &mut Client, served: &mut Served, idle: usize) -> Result<Left, String> {
    use std::os::unix::process::ExitStatusExt;

    let (poll, events, links) = client.parts();
    let signalled = Instant::now();
    let (mut ended, mut last_fin, mut last_response) = (0, None, signalled);
    let active = links.len() - idle;
    let mut answered = 0;
    let mut exit = None;
    while signalled.elapsed() < CAP {
        let timeout = Some(Duration::from_millis(1));
        poll.poll(events, timeout)
            .map_err(|error| error.to_string())?;
        for event in &*events {
            let key = event.token().0;
            if links.link(key).gone {
                continue;
            }
            let seen = links.receive(key);
            if seen.responses > 0 {
                last_response = Instant::now();
                answered += seen.responses;
            }
            if seen.end.is_none() && !seen.close {
                continue;
            }
            if key < idle {
                ended += 1;
                if seen.end == Some(End::Fin) {
                    last_fin = Some(signalled.elapsed());
                }
            }
            links.give_up(key);
        }
        if events.is_empty()
            && let Some(status) = served.ended()
        {
            // A killed process has 128 and the number of the signal, as in a shell.
            let code = status
                .code()
                .or_else(|| status.signal().map(|number| 128 + number));
            exit = Some((last_response.elapsed(), code.unwrap_or(-1)));
            break;
        }
    }
    Ok(Left {
        last_fin,
        open: idle - ended,
        unanswered: active.saturating_sub(answered),
        exit,
    })
}

fn delayed(delay: Duration) -> Vec<u8> {
    let millis = delay.as_millis();
    format!("GET /delay/{millis} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

/// Longest watch of a drain.
const CAP: Duration = Duration::from_secs(8);
