//! Every case of `tests/cases/http1-cases.jsonl` against one running command.
//!
//! `tests/cases/README.md` describes the cases. A MUST that fails fails the test; so does a SHOULD,
//! unless [`WAIVED`] names it with a reason; an INFO never does.
//!
//! Two environment variables:
//!
//! * `EBBTIDE_CASES` names another file of cases, run besides these.
//! * `EBBTIDE_COMMAND` names another build of the command to run them against.

mod case;
mod judge;
mod procedure;
mod reader;
mod script;
mod splits;
use ebbtide_lab::command as support;

use std::env;
use std::net::SocketAddr;
use std::panic;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use case::{Case, Company, Expected, Kind, Level, Outcome, Step};
use support::PATIENCE;
use support::served::Served;

/// SHOULD cases that may fail, with the reason. A case that passes must not stay here.
const WAIVED: &[(&str, &str)] = &[(
    "RL-VER-1.2",
    "there is no HTTP/1.2; httparse knows 1.0 and 1.1, and refusing (505) is the safer choice",
)];

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/http1-cases.jsonl");
const MORE_CASES: &str = "EBBTIDE_CASES";

/// Cases that run at once.
const MANY: usize = 16;
const FEW: usize = 4;

/// No case begins after this time: the server hangs, and each further case would wait in vain.
const TIME_LIMIT: Duration = Duration::from_secs(60);

#[test]
fn every_case_is_met() {
    let mut cases = case::load(Path::new(CASES));
    if let Some(more) = env::var_os(MORE_CASES) {
        cases.extend(case::load(Path::new(&more)));
    }
    let began = Instant::now();
    let served = Served::start(&["--report", "none"]);
    let target = Target {
        addr: served.addr(),
        pid: served.pid(),
        until: began + TIME_LIMIT,
    };
    let mut results = Vec::new();
    for (company, threads) in [
        (Company::Many, MANY),
        (Company::Few, FEW),
        (Company::None, 1),
    ] {
        let chosen: Vec<_> = cases
            .iter()
            .filter(|case| case.company == company)
            .collect();
        results.extend(run_all(&chosen, threads, target));
    }
    let took = began.elapsed();

    let mut problems = Vec::new();
    let (mut met, mut should, mut info) = (0, 0, 0);
    for (case, verdict) in &results {
        let failed = |what: &str, failure: &Failure| format!("{what} {}", failure.show(case));
        let waived = WAIVED.iter().any(|(id, _)| *id == case.id);
        let should_failure = match (case.level, &verdict.must) {
            (Level::Must, Err(failure)) => {
                problems.push(failed("MUST", failure));
                continue;
            }
            (Level::Info, Err(_)) => {
                info += 1;
                continue;
            }
            (Level::Should, Err(failure)) => Some(failure),
            (_, Ok(())) => verdict
                .should
                .as_ref()
                .err()
                .filter(|_| case.level != Level::Info),
        };
        match (should_failure, waived) {
            (None, false) => met += 1,
            (Some(_), true) => should += 1,
            (Some(failure), false) => problems.push(failed("SHOULD", failure)),
            (None, true) => problems.push(format!("{} passes, but is in WAIVED", case.id)),
        }
    }
    println!(
        "{} cases in {:.1} s: {met} met, {should} SHOULD waived, {info} INFO not met, {} failed",
        results.len(),
        took.as_secs_f64(),
        problems.len(),
    );
    assert!(
        problems.is_empty(),
        "\n{}\n{:?}",
        problems.join("\n"),
        served.log()
    );

    // The server's counts are still right, and nothing is left to wait for.
    served.terminate();
    assert_eq!(
        served.wait_exit(PATIENCE).code,
        Some(0),
        "{:?}",
        served.log()
    );
}

/// The server under test.
#[derive(Clone, Copy)]
struct Target {
    addr: SocketAddr,
    pid: i32,
    until: Instant,
}

/// The result of a case: the demands and the recommendations.
struct Verdict {
    must: Result<(), Failure>,
    should: Result<(), Failure>,
}

/// The text for a case that was not met.
struct Failure {
    label: String,
    sent: String,
    expected: String,
    came: String,
    why: String,
}

impl Failure {
    fn show(&self, case: &Case) -> String {
        let Self {
            label,
            sent,
            expected,
            came,
            why,
        } = self;
        let Case { id, title, .. } = case;
        format!(
            "{id}{label}: {title}\n  sent:     {sent}\n  expected: {expected}\n  came:     {came}\n  why:      {why}"
        )
    }
}

/// Runs cases on that many threads.
fn run_all<'a>(cases: &[&'a Case], threads: usize, target: Target) -> Vec<(&'a Case, Verdict)> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads.min(cases.len()) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let verdict = run_guarded(case, target);
                    results.lock().expect("no panic").push((*case, verdict));
                }
            });
        }
    });
    results.into_inner().expect("no panic")
}

/// Runs a case, unless it is too late. If the runner panics, the case fails and the others go on.
fn run_guarded(case: &Case, target: Target) -> Verdict {
    if Instant::now() > target.until {
        return unmet("not run: the time is over".to_owned());
    }
    panic::catch_unwind(|| run(case, target)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        unmet(text.unwrap_or_else(|| "a panic".to_owned()))
    })
}

/// Returns a verdict that needs only the case's description.
fn unmet(why: String) -> Verdict {
    Verdict {
        must: Err(Failure {
            label: String::new(),
            sent: "see the case".to_owned(),
            expected: "see the case".to_owned(),
            came: "see why".to_owned(),
            why,
        }),
        should: Ok(()),
    }
}

fn run(case: &Case, target: Target) -> Verdict {
    let must = match &case.kind {
        Kind::Script { steps, expected } => {
            return play(case, target, [("", steps.as_slice())], expected);
        }
        Kind::Variants { items, expected } => {
            let items = items
                .iter()
                .map(|item| (item.label.as_str(), item.steps.as_slice()));
            return play(case, target, items, expected);
        }
        Kind::Splits(splits) => splits::run(target.addr, splits),
        Kind::Procedure { name, params } => procedure::run(target.addr, target.pid, name, params),
    };
    match must {
        Ok(()) => Verdict {
            must: Ok(()),
            should: Ok(()),
        },
        Err(why) => unmet(why),
    }
}

/// Plays one script after the other; the first that is not met decides.
fn play<'a>(
    case: &Case,
    target: Target,
    items: impl IntoIterator<Item = (&'a str, &'a [Step])>,
    expected: &Expected,
) -> Verdict {
    let all: Vec<&Outcome> = expected.expect.iter().chain(expected.should()).collect();
    let mut verdict = Verdict {
        must: Ok(()),
        should: Ok(()),
    };
    for (label, steps) in items {
        let methods = expected.methods();
        let observed = script::play(target.addr, steps, methods, &all, case.timeout);
        let check = |outcomes: &[Outcome]| -> Result<(), Failure> {
            let reasons: Vec<_> = outcomes
                .iter()
                .map_while(|outcome| judge::outcome(outcome, &observed).err())
                .collect();
            if outcomes.is_empty() || reasons.len() < outcomes.len() {
                return Ok(());
            }
            let expected: Vec<_> = outcomes.iter().map(ToString::to_string).collect();
            Err(Failure {
                label: if label.is_empty() {
                    String::new()
                } else {
                    format!(" ({label})")
                },
                sent: script::sent(steps),
                expected: expected.join("\n       or: "),
                came: observed.came.clone(),
                why: reasons.join("\n       or: "),
            })
        };
        verdict.must = verdict.must.and_then(|()| check(&expected.expect));
        verdict.should = verdict.should.and_then(|()| check(expected.should()));
    }
    verdict
}
