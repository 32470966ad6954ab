//! Measures ebbtide and other servers on the same work: see `benches/README.md`.

mod args;
mod client;
mod cpu;
mod floor;
mod machine;
mod net;
mod own;
mod peers;
mod plot;
mod process;
mod publish;
#[cfg(feature = "rivals")]
mod rivals;
mod sheet;
mod table;
mod work;

use std::env;
use std::fs;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use self::args::Args;
use self::cpu::Cpus;
use self::machine::Machine;
use self::own::Own;
use self::peers::{Peer, Start};
use self::process::Served;
use self::sheet::Sheet;
use self::work::{Scale, Work};

fn main() -> ExitCode {
    // Runs `ebbtide serve` of this same build.
    let mut arguments = env::args_os().skip(1).peekable();
    if arguments.peek().is_some_and(|first| first == "ebbtide") {
        return ebbtide_cli::main(arguments);
    }
    let args = Args::parse();
    let done = match (&args.serve, args.port) {
        (Some(name), Some(port)) => serve(name, port),
        _ => bench(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a built-in server until its drain is over.
fn serve(name: &str, port: u16) -> Result<(), String> {
    let peer = peers::all().into_iter().find(|peer| peer.name == name);
    match peer.map(|peer| peer.start) {
        Some(Start::Here(serve)) => serve(port).map_err(|error| error.to_string()),
        _ => Err(format!("no built-in server is named {name}")),
    }
}

fn bench(args: &Args) -> Result<(), String> {
    let begun = Instant::now();
    let (peers, works, scale) = (args.peers()?, args.works(), args.scale()?);
    let cpus = Cpus::find().map_err(|error| error.to_string())?;
    fs::create_dir_all(peers::out_dir()).map_err(|error| error.to_string())?;
    raise_files();
    let machine = Machine::now();
    let mut sheet = Sheet::default();
    let mut own = Own::default();
    if args.all && !args.list {
        match Own::run() {
            Ok(done) => own = done,
            Err(error) => sheet.note("all", format!("the crate's own benches: {error}")),
        }
    }
    let turns = cpu::take_turns();
    cpu::pin(cpus.client).map_err(|error| error.to_string())?;

    if !turns {
        let missing = "CPU time: `chrt` is missing, so client and server did not take turns";
        sheet.note("all", missing.to_owned());
    }
    let present = present(peers, cpus, &mut sheet);
    if args.list {
        present.iter().for_each(|peer| println!("{}", peer.name));
        sheet
            .notes()
            .for_each(|(name, text, _)| println!("{name}: {text}"));
        return Ok(());
    }
    run(begun, &works, &present, &scale, cpus, &mut sheet);
    let tables = table::tables(&present, &sheet, &scale, &works, &machine, &own.text());
    let mut plots = plot::plots(&present, &sheet, &scale, &works)?;
    plots.extend(plot::tracker(&own.curves())?);
    let summary = table::summary(&present, &sheet, &scale, &machine);
    publish::write(&summary, &tables, &sheet, &plots, args.publish)?;
    println!("{tables}");
    eprintln!(
        "{:.0} s; the results are in target/peers",
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Returns the servers that start, and notes why others are absent.
fn present(mut peers: Vec<Peer>, cpus: Cpus, sheet: &mut Sheet) -> Vec<Peer> {
    peers.retain(|peer| {
        let started = Served::start(peer, 0, cpus);
        if let Err(error) = &started {
            sheet.note(&peer.name, format!("absent: {error}"));
        }
        started.is_ok()
    });
    peers
}

/// Runs all workloads on all servers, round by round.
fn run(
    begun: Instant,
    works: &[Work],
    peers: &[Peer],
    scale: &Scale,
    cpus: Cpus,
    sheet: &mut Sheet,
) {
    for round in 1..=scale.rounds {
        for work in works {
            // Counts of instructions repeat, so one round is enough.
            if *work == Work::Instructions && (round > 1 || !has_valgrind(sheet)) {
                continue;
            }
            for peer in peers {
                progress(begun, round, *work, peer);
                if let Err(error) = work.run(peer, scale, cpus, sheet) {
                    sheet.note(&peer.name, format!("{work:?}: {error}"));
                }
            }
        }
    }
}

fn progress(begun: Instant, round: usize, work: Work, peer: &Peer) {
    let seconds = begun.elapsed().as_secs();
    eprintln!("{seconds:>5} s  round {round}  {work:?}  {}", peer.name);
}

fn has_valgrind(sheet: &mut Sheet) -> bool {
    let mut version = Command::new("valgrind");
    let found = version
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok();
    if !found {
        sheet.note("all", "instructions: valgrind is not installed".to_owned());
    }
    found
}

/// Raises the limit of open files, of this process and its children, to the hard limit.
fn raise_files() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // A limit that stays too low shows as failed connections.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
