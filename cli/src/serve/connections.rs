//! The log of connections: a count every `--log-connections`, and a table at SIGUSR1.
//!
//! Threads of the command ask the loop and log its responses; the loop itself logs nothing while it
//! serves.

use std::io;
use std::thread;
use std::time::Duration;

use ebbtide::{Handle, Status, StatusQuery};
use signal_hook::consts::SIGUSR1;
use signal_hook::iterator::Signals;

/// Logs connections once the server runs.
#[derive(Debug)]
pub(super) struct ConnectionLog {
    every: Option<Duration>,
    table: Option<Signals>,
}

impl ConnectionLog {
    /// Catches SIGUSR1, unless it is one of the signals that stop the server.
    ///
    /// # Errors
    ///
    /// The system cannot catch SIGUSR1.
    pub(super) fn new(every: Option<Duration>, stop_signals: &[i32]) -> io::Result<Self> {
        let shows = !stop_signals.contains(&SIGUSR1);
        let table = shows.then(|| Signals::new([SIGUSR1])).transpose()?;
        Ok(Self { every, table })
    }

    /// Starts a thread for the counts and one for the table, unless the flags rule them out.
    ///
    /// # Errors
    ///
    /// The system cannot start a thread.
    pub(super) fn start(self, handle: &Handle) -> io::Result<()> {
        if let Some(mut signals) = self.table {
            let handle = handle.clone();
            let table = move || signals.forever().for_each(|_| log_table(&handle));
            thread::Builder::new().name("table".into()).spawn(table)?;
        }
        if let Some(every) = self.every {
            let handle = handle.clone();
            let counts = move || log_counts(&handle, every);
            thread::Builder::new().name("counts".into()).spawn(counts)?;
        }
        Ok(())
    }
}

/// Logs the number of connections in each phase, until a drain begins: the drain has its own lines.
fn log_counts(handle: &Handle, every: Duration) {
    loop {
        thread::sleep(every);
        match handle.status(StatusQuery::default(), PATIENCE) {
            Some(status) if status.stage == "serving" => {
                log::info!("connections: {}", status.phases);
            }
            Some(_) => return,
            None => {}
        }
    }
}

/// Logs the state of the server and its longest busy connections.
fn log_table(handle: &Handle) {
    match handle.status(StatusQuery::new().take(LISTED), PATIENCE) {
        Some(status) => table(&status).iter().for_each(|line| log::info!("{line}")),
        None => log::warn!("SIGUSR1: the loop does not answer"),
    }
}

fn table(status: &Status) -> Vec<String> {
    let (phases, held) = (&status.phases, status.held_by());
    let mut lines = vec![match status.left_millis {
        None => format!("connections: {phases}{held}"),
        Some(left) => {
            let left = (left as f32 / 100.0).round() / 10.0;
            format!("draining: {phases}; {left} s left{held}")
        }
    }];
    let oldest = status.connections.iter();
    lines.extend(oldest.map(|connection| format!("  {connection}")));
    let busy = [
        phases.head,
        phases.body,
        phases.handler,
        phases.reply,
        phases.linger,
        phases.tunnel,
    ];
    let busy: u32 = busy.iter().sum();
    if let more @ 1.. = (busy as usize).saturating_sub(LISTED) {
        lines.push(format!("  and {more} more"));
    }
    lines
}

/// The most connections in a table: busy ones, oldest first.
const LISTED: usize = 20;

/// The time for the loop to answer. A turn takes milliseconds; only a handler that holds the loop
/// takes longer.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_says_what_is_left_and_how_many_it_leaves_out() {
        let mut status = Status::default();
        status.phases.idle = 3;
        assert_eq!(table(&status), ["connections: 3 idle"]);
        status.phases.handler = 23;
        status.left_millis = Some(24_960);
        status.guards.push("flush".into());
        let first = "draining: 3 idle, 23 handler; 25 s left; held by \"flush\"";
        assert_eq!(table(&status), [first, "  and 3 more"]);
        status.left_millis = Some(24_949);
        assert!(table(&status)[0].contains("; 24.9 s left"));
    }
}
