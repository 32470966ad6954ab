//! Measures the memory that a server keeps for an idle connection: the slope over many connections.
//!
//! Each connection has had one response. The kernel's memory for sockets is not counted.

use super::{SMALL, Scale};
use crate::client::{Client, Load};
use crate::cpu::{self, Cpus};
use crate::peers::Peer;
use crate::process::Served;
use crate::sheet::{Column, Sheet};

/// Opens more and more connections, and measures the server's memory each time.
pub(super) fn memory(
    peer: &Peer,
    scale: &Scale,
    cpus: Cpus,
    sheet: &mut Sheet,
) -> Result<(), String> {
    let served = Served::start(peer, 0, cpus)?;
    let mut client = Client::new(served.port, peer.at_once).map_err(|error| error.to_string())?;
    let pids = served.tree();
    let mut points = Vec::new();
    for count in &scale.idle {
        client.open(*count, &Load::of(SMALL))?;
        let bytes = cpu::memory(&pids);
        points.push((*count, bytes));
        sheet.add(&peer.name, Column::Memory(*count), bytes as f64);
    }
    if let [(few, least), .., (many, most)] = points[..] {
        let each = (most as f64 - least as f64) / (many - few) as f64;
        sheet.add(&peer.name, Column::IdleBytes, each);
    }
    Ok(())
}
