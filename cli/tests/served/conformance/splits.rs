//! A request gets the same response however it is cut on its way.

use std::net::SocketAddr;

use super::case::{Mode, Splits};
use super::support::PATIENCE;
use super::support::client::{Client, Seen};
use super::support::served::settle;
use ebbtide_lab::Dice;
use ebbtide_lab::response::{Field, Response, brief};

/// How often a request is cut at random places, and in how many parts.
const RANDOM_RUNS: usize = 40;
const RANDOM_PARTS: usize = 5;

/// These fields depend on the time or the connection.
const CHANGING: [&str; 3] = ["Date", "Connection", "Keep-Alive"];

/// Sends the request whole, then cut, and compares.
pub(crate) fn run(addr: SocketAddr, splits: &Splits) -> Result<(), String> {
    let request = &splits.request.0;
    let whole = ask(addr, splits, &[])?;
    let right = |r: &Response| {
        splits
            .expect_status
            .iter()
            .any(|status| status.is(r.status))
    };
    if whole.len() != splits.responses || !whole.iter().all(right) {
        return Err(format!("sent whole: {}", describe(&whole)));
    }
    for cuts in all_cuts(splits.mode, request.len()) {
        let parts = ask(addr, splits, &cuts)?;
        if !parts.iter().map(essence).eq(whole.iter().map(essence)) {
            return Err(format!(
                "cut at {}: {}, but whole: {}",
                brief_cuts(&cuts),
                describe(&parts),
                describe(&whole)
            ));
        }
    }
    Ok(())
}

/// Returns the places to cut at, one list for each connection.
fn all_cuts(mode: Mode, length: usize) -> Vec<Vec<usize>> {
    match mode {
        Mode::Each => (1..length).map(|at| vec![at]).collect(),
        Mode::Bytes => vec![(1..length).collect()],
        Mode::Random => {
            let mut dice = Dice::new(length as u64);
            let mut run = |_| {
                let mut cuts: Vec<_> = (1..RANDOM_PARTS)
                    .map(|_| 1 + dice.index(length - 1))
                    .collect();
                cuts.sort_unstable();
                cuts.dedup();
                cuts
            };
            (0..RANDOM_RUNS).map(&mut run).collect()
        }
    }
}

/// Sends the request in parts and returns all responses.
fn ask(addr: SocketAddr, splits: &Splits, cuts: &[usize]) -> Result<Vec<Response>, String> {
    let client = Client::connect(addr);
    client.expect_methods(splits.methods());
    let mut rest = &splits.request.0[..];
    let mut sent = 0;
    for cut in cuts {
        let (part, after) = rest.split_at(cut - sent);
        client.try_send(part);
        settle(addr);
        (rest, sent) = (after, *cut);
    }
    client.try_send(rest);
    client.wait(PATIENCE, |seen| {
        let over = seen.end.is_some() || seen.conversation.broken.is_some();
        (over || seen.conversation.finals().count() >= splits.responses).then_some(())
    });
    // The server closes after our FIN, which shows that no more was to come.
    client.shut();
    let ended = client.wait(PATIENCE, |seen| seen.end).is_some();
    client.look(|seen| {
        let conversation = &seen.conversation;
        if !ended || conversation.broken.is_some() || conversation.partial.is_some() {
            let cuts = brief_cuts(cuts);
            return Err(format!("cut at {cuts}: {}", Seen::describe(seen)));
        }
        Ok(conversation.responses.clone())
    })
}

/// Returns what must be the same in every response.
fn essence(response: &Response) -> (u16, Vec<&Field>, &[u8]) {
    let constant = |(name, _): &&Field| {
        !CHANGING
            .iter()
            .any(|changing| name.eq_ignore_ascii_case(changing))
    };
    let fields = response.fields.iter().filter(constant).collect();
    (response.status, fields, &response.body)
}

fn describe(responses: &[Response]) -> String {
    let each: Vec<_> = responses
        .iter()
        .map(|response| format!("[{response}]"))
        .collect();
    each.join(", ")
}

fn brief_cuts(cuts: &[usize]) -> String {
    brief(format!("{cuts:?}").as_bytes())
}
