//! Measures requests a second, their latency, and the server's CPU time.
//!
//! Server and clients have processors of their own for rates and latencies; for CPU time, both take
//! turns on one. On its own processor, a fast server would sleep and wake for every request, and seem
//! dearer than it is.

use std::time::Duration;

use super::{BROWSER, DEPTH, SMALL, Scale};
use crate::client::{Client, Figures, Load};
use crate::cpu::{self, Cpus};
use crate::peers::Peer;
use crate::process::Served;
use crate::sheet::{Ask, Column, Sheet};

/// Runs every load on this server, each on a process of its own.
pub(super) fn requests(
    peer: &Peer,
    scale: &Scale,
    cpus: Cpus,
    sheet: &mut Sheet,
) -> Result<(), String> {
    let small = Load::of(SMALL);
    let paced = small.clone().pausing(PAUSE);
    let loads = [
        (Ask::Few, scale.few, &small),
        (Ask::Thousand, scale.thousand, &small),
        (Ask::Many, scale.many, &small),
        (Ask::Browser, scale.few, &Load::of(BROWSER)),
        (Ask::Pipelined, scale.few, &small.clone().pipelined(DEPTH)),
        (Ask::Paced, scale.thousand, &paced),
        (Ask::Churn, scale.few, &small.clone().churning()),
    ];
    for (ask, clients, load) in loads {
        if let Err(error) = measure(peer, ask, clients, load, scale.time, cpus, sheet) {
            sheet.note(&peer.name, format!("{ask:?}: {error}"));
        }
    }
    Ok(())
}

fn measure(
    peer: &Peer,
    ask: Ask,
    clients: usize,
    load: &Load,
    time: Duration,
    cpus: Cpus,
    sheet: &mut Sheet,
) -> Result<(), String> {
    let served = Served::start(peer, 0, cpus)?;
    let mut client = Client::new(served.port, peer.at_once).map_err(|error| error.to_string())?;
    client.open(clients, load)?;
    client.run(load, time / WARM)?;
    let apart = client.run(load, time)?;
    let Figures {
        requests,
        elapsed,
        latency,
    } = &apart;
    let micros = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
    sheet.add(
        &peer.name,
        Column::Rate(ask),
        *requests as f64 / elapsed.as_secs_f64(),
    );
    sheet.add(&peer.name, Column::P50(ask), micros(0.5));
    sheet.add(&peer.name, Column::P99(ask), micros(0.99));
    sheet.add(&peer.name, Column::P999(ask), micros(0.999));

    cpu::pin(cpus.server).map_err(|error| error.to_string())?;
    let cost = in_turns(&mut client, &served, load, time / 2);
    cpu::pin(cpus.client).map_err(|error| error.to_string())?;
    sheet.add(&peer.name, Column::Cpu(ask), cost?);
    Ok(())
}

/// Returns microseconds of CPU for a request, with client and server taking turns.
fn in_turns(
    client: &mut Client,
    served: &Served,
    load: &Load,
    time: Duration,
) -> Result<f64, String> {
    client.run(load, time / WARM)?;
    let pids = served.tree();
    let before = cpu::spent(&pids);
    let mut requests = 0;
    for _ in 0..TRIES {
        requests += client.run(load, time)?.requests;
        if requests > 0 {
            let spent = cpu::spent(&pids) - before;
            return Ok(spent.as_secs_f64() * 1e6 / requests as f64);
        }
    }
    Err("no request got a response".to_owned())
}

/// Attempts at a load without any response: a busy machine may take all of a short time.
const TRIES: usize = 20;

/// Divisor of the time for which a load runs before the measurement.
const WARM: u32 = 5;

/// Pause of a client of the paced load before the next request.
const PAUSE: Duration = Duration::from_millis(100);
