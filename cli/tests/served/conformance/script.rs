//! Plays a script on one connection, waits until the server's reaction is clear, and notes it for
//! `judge`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::case::{Ending, Outcome, Step};
use super::judge;
use super::support::HELLO;
use super::support::client::{Client, Seen};
use super::support::served::settle;
use ebbtide_lab::response::{Broken, End, Partial, Response, brief};

/// The time for responses, where the case has none.
const RESPONSES: Duration = Duration::from_secs(5);
/// The time for a close.
const CLOSE: Duration = Duration::from_secs(3);
/// The time after which a silent server counts as waiting.
const WAITING: Duration = Duration::from_millis(1500);

/// Asks for one more response, and for the end: anything after it is a surplus.
const PROBE: &[u8] = b"GET /plaintext HTTP/1.1\r\nHost: t.example\r\nConnection: close\r\n\r\n";

/// The reaction of the server.
#[derive(Debug)]
pub(crate) struct Observed {
    /// The responses before the probe, interim ones too.
    pub(crate) responses: Vec<Response>,
    pub(crate) partial: Option<Partial>,
    pub(crate) broken: Option<Broken>,
    pub(crate) ended: Ended,
    /// A step that failed by itself.
    pub(crate) failed_step: Option<String>,
    /// When the script began.
    pub(crate) began: Instant,
    /// What came, in words.
    pub(crate) came: String,
}

/// The state in which the connection was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Closed(End),
    /// The probe got the right response.
    InStep,
    /// The probe got another response.
    OutOfStep(String),
    /// The connection is open, and no outcome asks for more.
    Open,
}

/// Plays `steps` and waits for the reactions that the outcomes name.
pub(crate) fn play(
    addr: SocketAddr,
    steps: &[Step],
    methods: &[String],
    outcomes: &[&Outcome],
    timeout: Option<f64>,
) -> Observed {
    let began = Instant::now();
    let client = Client::connect(addr);
    client.expect_methods(methods);
    let mut shut = false;
    let failed_step = steps.iter().find_map(|step| {
        shut |= matches!(step, Step::Shut);
        take(addr, &client, step).err()
    });
    if failed_step.is_none() {
        wait_for_responses(&client, outcomes, timeout);
    }
    let mut observed = client.look(|seen| Observed {
        responses: seen.conversation.responses.clone(),
        partial: seen.conversation.partial.clone(),
        broken: seen.conversation.broken.clone(),
        ended: Ended::Open,
        failed_step,
        began,
        came: String::new(),
    });
    if observed.failed_step.is_none() && observed.broken.is_none() {
        observed.ended = find_end(&client, &mut observed, outcomes, shut);
    }
    observed.came = client.look(Seen::describe);
    observed
}

/// Describes in short what a script sends.
pub(crate) fn sent(steps: &[Step]) -> String {
    let parts = steps.iter().map(|step| match step {
        Step::Send { data } => format!("{} bytes: {}", data.0.len(), brief(&data.0)),
        Step::Drip { data, size, .. } => {
            format!("{} bytes by {size}: {}", data.0.len(), brief(&data.0))
        }
        other => format!("{other:?}"),
    });
    parts.collect::<Vec<_>>().join(", ")
}

fn take(addr: SocketAddr, client: &Client, step: &Step) -> Result<(), String> {
    match step {
        // A write error alone is no failure.
        Step::Send { data } => {
            client.try_send(&data.0);
        }
        Step::Drip { data, size } => {
            for piece in data.0.chunks(*size) {
                client.try_send(piece);
                settle(addr);
            }
        }
        Step::Settle => settle(addr),
        Step::Silence { time } => {
            let before = client.look(|seen| seen.bytes.len());
            let noise =
                |seen: &Seen| (seen.bytes.len() > before || seen.end.is_some()).then_some(());
            if client.wait(*time, noise).is_some() {
                return Err("the server was not silent".to_owned());
            }
        }
        Step::Unfinished { time, done } => {
            let finished = |seen: &Seen| {
                let surplus = seen.conversation.finals().count() > *done;
                (surplus || seen.end.is_some()).then_some(())
            };
            if client.wait(*time, finished).is_some() {
                return Err(format!("more than {done} responses, or a close, too early"));
            }
        }
        Step::WaitFinal { n, time } => {
            client.wait(*time, |seen| {
                let enough = seen.conversation.finals().count() >= *n;
                (enough || seen.end.is_some()).then_some(())
            });
        }
        Step::WaitAny { time } => {
            let any = client.wait(*time, |seen| {
                let any = !seen.conversation.responses.is_empty();
                (any || seen.end.is_some()).then_some(any)
            });
            if any != Some(true) {
                return Err(format!("no response of any kind within {time:?}"));
            }
        }
        Step::Shut => client.shut(),
        Step::ReadOff => client.set_reading(false),
        Step::ReadOn => client.set_reading(true),
    }
    Ok(())
}

/// Waits for as many responses as any outcome wants, or for the end.
fn wait_for_responses(client: &Client, outcomes: &[&Outcome], timeout: Option<f64>) {
    let most = outcomes
        .iter()
        .map(|o| o.responses.len())
        .max()
        .unwrap_or(0);
    let may_wait = outcomes.iter().any(|o| o.end == Ending::Waiting);
    let usual = if may_wait { WAITING } else { RESPONSES };
    let time = timeout.map_or(usual, Duration::from_secs_f64);
    client.wait(time, |seen| {
        let finals = seen.conversation.finals().count();
        let over = seen.end.is_some() || seen.conversation.broken.is_some();
        (over || finals >= most.max(1)).then_some(())
    });
}

/// Finds out whether the connection is closed, in step, or just open, as far as the remaining
/// outcomes ask for it.
fn find_end(client: &Client, observed: &mut Observed, outcomes: &[&Outcome], shut: bool) -> Ended {
    let finals = observed.responses.iter().filter(|r| r.is_final()).count();
    let likely = |ending: &[Ending]| {
        outcomes.iter().any(|outcome| {
            ending.contains(&outcome.end) && judge::responses(outcome, observed).is_ok()
        })
    };
    let close_wanted = likely(&[Ending::Closed]);
    let probe_wanted = !shut && likely(&[Ending::Open, Ending::Sync]);

    if close_wanted || shut {
        client.wait(CLOSE, |seen| {
            let surplus = seen.conversation.finals().count() > finals;
            let over = seen.end.is_some() || seen.conversation.broken.is_some();
            (over || surplus).then_some(())
        });
    }
    if probe_wanted && client.look(|seen| seen.end.is_none()) {
        return probe(client, finals);
    }
    client.look(|seen| {
        // Later responses count too.
        observed.responses.clone_from(&seen.conversation.responses);
        observed.partial.clone_from(&seen.conversation.partial);
        observed.broken.clone_from(&seen.conversation.broken);
        seen.end.map_or(Ended::Open, |(end, _)| Ended::Closed(end))
    })
}

fn probe(client: &Client, finals: usize) -> Ended {
    client.try_send(PROBE);
    client.wait(CLOSE, |seen| {
        let over = seen.end.is_some() || seen.conversation.broken.is_some();
        over.then_some(())
    });
    client.look(|seen| {
        let conversation = &seen.conversation;
        let late: Vec<&Response> = conversation.finals().skip(finals).collect();
        let torn = conversation.partial.is_some() || conversation.broken.is_some();
        match (&late[..], seen.end) {
            ([], Some((end, _))) if !torn => Ended::Closed(end),
            ([hello], Some((End::Fin, _)))
                if !torn && hello.status == 200 && hello.body == HELLO =>
            {
                Ended::InStep
            }
            _ => Ended::OutOfStep("the probe was not answered as it should be".to_owned()),
        }
    })
}
