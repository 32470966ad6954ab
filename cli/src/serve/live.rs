//! The line for a person at a terminal while the server drains. The line shows the connections
//! gone, the time against the deadline, the remaining phases, and the reason for the wait.
//!
//! A thread sleeps until the drain begins, and then asks the loop for its status several times a
//! second. The thread exists only where stderr is a terminal: a log gets a line a second from the
//! loop.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::screen;
use crate::shown::one_line;
use ebbtide::{Handle, Progress, Status, StatusQuery, Trigger};

/// The line, drawn from the beginning of the drain until this value is dropped.
#[derive(Debug)]
pub(super) struct Live {
    news: Sender<News>,
    thread: Option<JoinHandle<()>>,
}

/// The news for the thread.
#[derive(Debug)]
enum News {
    /// A loop that the thread can ask.
    Running(Handle),
    /// The loop was told to stop.
    Stopping,
    /// The loop has stopped, or the server could not start.
    Over,
}

impl Live {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system cannot start a thread.
    pub(super) fn start() -> io::Result<Self> {
        let (news, heard) = channel();
        let thread = thread::Builder::new()
            .name("live".into())
            .spawn(move || run(&heard))?;
        Ok(Self {
            news,
            thread: Some(thread),
        })
    }

    /// Takes note of a loop that is about to run.
    pub(super) fn running(&self, handle: Handle) {
        // The error means the same as in `drop`.
        let _ = self.news.send(News::Running(handle));
    }

    /// Returns the hook for the beginning of a drain, which returns at once.
    pub(super) fn on_trigger(&self) -> impl FnOnce(&Trigger) + Send + 'static {
        let news = self.news.clone();
        move |_| {
            let _ = news.send(News::Stopping);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // A thread that panicked is gone, and its panic has been printed.
        let _ = self.news.send(News::Over);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        screen::close();
    }
}

fn run(news: &Receiver<News>) {
    let Ok(News::Running(handle)) = news.recv() else {
        return;
    };
    let Ok(News::Stopping) = news.recv() else {
        return;
    };
    let mut last: Option<(Status, Instant)> = None;
    // The first line comes after a pause, because a short drain needs none.
    while let Err(RecvTimeoutError::Timeout) = news.recv_timeout(EVERY) {
        let answer = handle.status(OLDEST, EVERY);
        let answers = answer.is_some();
        if let Some(status) = answer {
            last = Some((status, Instant::now()));
        }
        let text = match &last {
            Some((status, read)) => line(status, read.elapsed(), answers),
            None => format!("draining; {SILENT}"),
        };
        screen::draw(&fit(&text, screen::width()));
    }
}

/// Returns the whole line. A narrow terminal cuts its end, so what matters most comes first.
fn line(status: &Status, age: Duration, answers: bool) -> String {
    let mut text = match status.stage {
        "delaying" => "still accepting".into(),
        stage => stage.to_owned(),
    };
    if let Some(progress) = &status.progress {
        let Progress {
            connections, gone, ..
        } = progress;
        if *connections > 0 {
            text += &format!(" {} {gone} of {connections} gone", bar(*gone, *connections));
        }
        let elapsed = Duration::from_millis(progress.elapsed_millis.into()) + age;
        let limit = Duration::from_millis(progress.limit_millis.into());
        let (elapsed, limit) = (elapsed.as_secs_f32(), limit.as_secs_f32());
        text += &format!(", {elapsed:.1} of {limit} s");
    }
    if !answers {
        text += &format!("; {SILENT}");
    }
    text += &format!("; {}", status.phases);
    text += &status.held_by();
    if status.stage == "ending" && status.guards.is_empty() {
        text += "; waiting for a hook";
    }
    if let Some(oldest) = status.connections.first() {
        text += &format!("; oldest: {oldest}");
    }
    text
}

/// Returns `[####........]`, full only when all have gone.
fn bar(gone: u64, connections: u64) -> String {
    let filled = (gone * BAR as u64 / connections) as usize;
    format!("[{:.<BAR$}]", "#".repeat(filled.min(BAR)))
}

/// Returns as much of the text as fits, on one line and without control characters.
fn fit(text: &str, width: usize) -> String {
    // A character beyond ASCII may take two columns. Counting two for each never gives too long a
    // line.
    let columns = |char: char| if char.is_ascii() { 1 } else { 2 };
    let text = one_line(text);
    if text.chars().map(columns).sum::<usize>() <= width {
        return text.into_owned();
    }
    let mut left = width.saturating_sub(CUT.len());
    let fits = text.chars().take_while(|char| {
        let room = left.checked_sub(columns(*char));
        left = room.unwrap_or(0);
        room.is_some()
    });
    fits.chain(CUT.chars()).take(width).collect()
}

/// Time between two drawings: short enough to look alive, and no load for the loop.
const EVERY: Duration = Duration::from_millis(125);

const OLDEST: StatusQuery = StatusQuery::new().take(1);

/// The line where the loop does not answer.
const SILENT: &str = "the loop does not answer: a handler holds it";

/// The columns of the bar.
const BAR: usize = 12;

/// The mark of a line that was cut.
const CUT: &str = "...";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::held::Held;
    use ebbtide::Phases;

    fn status() -> Status {
        let mut status = Status::default();
        status.stage = "draining";
        status.left_millis = Some(20_800);
        status.phases.handler = 12;
        status.phases.reply = 1;
        status.progress = Some(progress(50, 37, 4_000, 25_000));
        status
    }

    fn progress(connections: u64, gone: u64, elapsed_millis: u32, limit_millis: u32) -> Progress {
        let mut progress = Progress::default();
        progress.connections = connections;
        progress.gone = gone;
        progress.elapsed_millis = elapsed_millis;
        progress.limit_millis = limit_millis;
        progress
    }

    const AGE: Duration = Duration::from_millis(200);

    #[test]
    fn a_drain_is_one_line_and_the_most_important_first() {
        let mut held = Held::start();
        let mut status = status();
        let expected = "draining [########....] 37 of 50 gone, 4.2 of 25 s; 12 handler, 1 reply";
        assert_eq!(line(&status, AGE, true), expected);
        status.guards.push("flush queue".into());
        let connection = held.connection();
        let rest = format!(r#"; held by "flush queue"; oldest: {connection}"#);
        status.connections.push(connection);
        assert_eq!(line(&status, AGE, true), format!("{expected}{rest}"));
    }

    #[test]
    fn a_loop_that_is_held_a_hook_and_a_guard_are_named() {
        let mut status = status();
        let held = line(&status, AGE, false);
        assert!(
            held.contains("4.2 of 25 s; the loop does not answer"),
            "{held}"
        );
        status.stage = "ending";
        status.phases = Phases::default();
        status.progress = Some(progress(0, 0, 0, 1_500));
        let text = "ending, 0.2 of 1.5 s; no connections; waiting for a hook";
        assert_eq!(line(&status, AGE, true), text);
        status.guards.push("flush".into());
        let text = r#"ending, 0.2 of 1.5 s; no connections; held by "flush""#;
        assert_eq!(line(&status, AGE, true), text);
    }

    #[test]
    fn a_bar_is_full_when_all_have_gone() {
        assert_eq!(bar(0, 7), "[............]");
        assert_eq!(bar(6, 7), "[##########..]");
        assert_eq!(bar(7, 7), "[############]");
        assert_eq!(bar(999_999, 1_000_000), "[###########.]");
    }

    #[test]
    fn what_does_not_fit_is_cut_and_nothing_reaches_the_terminal_as_a_command() {
        assert_eq!(fit("0123456789", 10), "0123456789");
        assert_eq!(fit("0123456789", 9), "012345...");
        assert_eq!(fit("0123456789", 2), "..");
        assert_eq!(fit("0123456789", 0), "");
        assert_eq!(fit("a\u{1b}[2Jb\n", 20), "a\\u{1b}[2Jb\\n");
        // Wide characters count twice.
        assert_eq!(fit("日本語日本語", 12), "日本語日本語");
        assert_eq!(fit("日本語日本語", 10), "日本語...");
        assert_eq!(fit("日本語日本語", 11), "日本語日...");
    }
}
