//! What an idle connection keeps of the server's memory: the slope over many of them.
//!
//! Each has had one request answered. The kernel's part, for the sockets, is not in it.

use super::{SMALL, Scale};
use crate::client::{Client, Load};
use crate::cpu::{self, Cpus};
use crate::peers::Peer;
use crate::process::Served;
use crate::sheet::{Column, Sheet};

/// Opens more and more connections, and weighs the server each time.
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
