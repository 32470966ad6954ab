//! Counts user-space instructions for a request with valgrind. Counts repeat within a few
//! thousandths; times do not.
//!
//! Each server runs twice, with fewer and with more requests; the difference is the cost of the
//! additional requests. All clients send before any response is read, so the server always finds
//! the same number of requests.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{BROWSER, DEPTH, SMALL, Scale};
use crate::client::{Client, Load};
use crate::cpu::Cpus;
use crate::peers::Peer;
use crate::process::Served;
use crate::sheet::{Ask, Column, Sheet};

/// Counts for a small head, a browser's head, and sixteen requests together.
pub(super) fn instructions(
    peer: &Peer,
    scale: &Scale,
    cpus: Cpus,
    sheet: &mut Sheet,
) -> Result<(), String> {
    if !peer.valgrind {
        return Ok(());
    }
    let small = Load::of(SMALL);
    let loads = [
        (Ask::Few, &small, 1),
        (Ask::Browser, &Load::of(BROWSER), 1),
        (Ask::Pipelined, &small.clone().pipelined(DEPTH), DEPTH),
    ];
    for (ask, load, depth) in loads {
        let less = total(peer, scale.few, load, LESS, cpus)?;
        let more = total(peer, scale.few, load, MORE, cpus)?;
        let requests = scale.few * depth * (MORE - LESS);
        let each = (more as f64 - less as f64) / requests as f64;
        sheet.add(&peer.name, Column::Instructions(ask), each);
    }
    Ok(())
}

/// Returns all instructions of a server for a number of rounds.
fn total(
    peer: &Peer,
    clients: usize,
    load: &Load,
    rounds: usize,
    cpus: Cpus,
) -> Result<u64, String> {
    let mut served = Served::start_as(peer, 0, cpus, counted)?;
    let mut client = Client::new(served.port, peer.at_once).map_err(|error| error.to_string())?;
    client.open(clients, load)?;
    for _ in 0..rounds {
        client.round(0, load)?;
    }
    drop(client);
    served.stop();
    let begun = Instant::now();
    while served.ended().is_none() {
        if begun.elapsed() > PATIENCE {
            return Err("the server does not end under valgrind".to_owned());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    collected(&served.dir).ok_or_else(|| "valgrind wrote no total".to_owned())
}

/// Returns the same command under valgrind.
fn counted(command: Command, dir: &Path) -> Command {
    let mut valgrind = Command::new("valgrind");
    // Under root, nginx runs its worker as another user, and the worker writes a total too.
    if let Err(error) = fs::set_permissions(dir, Permissions::from_mode(0o777)) {
        eprintln!("peers: {}: {error}", dir.display());
    }
    let out = dir.join("callgrind.%p");
    valgrind
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(command.get_program())
        .args(command.get_args());
    valgrind
}

/// Returns the sum over all processes that wrote a total.
fn collected(dir: &Path) -> Option<u64> {
    let files = fs::read_dir(dir).ok()?.filter_map(Result::ok);
    let totals = files.filter_map(|file| {
        let name = file.file_name();
        if !name.to_str()?.starts_with("callgrind.") {
            return None;
        }
        let text = fs::read_to_string(file.path()).ok()?;
        let total = text
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("totals: "))?;
        total.trim().parse::<u64>().ok()
    });
    Some(totals.sum()).filter(|sum| *sum > 0)
}

/// Rounds of the two runs.
const LESS: usize = 10;
const MORE: usize = 40;

/// Longest wait for the end of a server.
const PATIENCE: Duration = Duration::from_secs(20);
