//! The command as process 1 of a container, where the kernel ignores signals without a handler.

use std::fs;
use std::process::Command;

use ebbtide_needs::needs;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::support::child::output;
use super::support::client::Client;
use super::support::served::{Served, command};
use super::support::{GET, HELLO, PATIENCE};

#[needs(
    "the right to a process namespace",
    "unshare -pf --mount-proc true || unshare -Urpf --mount-proc true"
)]
#[test]
fn process_1_drains_at_the_first_signal() {
    let flags = ["-pf", "-Urpf"].into_iter().find(|flags| may(flags));
    let flags = flags.expect("a process namespace");
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut unshare = unshare(flags);
        unshare
            .arg(command())
            .args(["serve", "--listen", "127.0.0.1:0"]);
        unshare.args(["--report", "json"]);
        let served = Served::launch_and_wait(unshare, 1);
        served.log().wait_line("pid 1;", PATIENCE);
        let client = Client::connect(served.addr());
        assert_eq!(client.exchange(0, GET).body, HELLO);
        kill(child_of(served.pid()), signal).expect("the process is there");
        client.assert_ends(1);
        // `unshare` exits as its child does.
        let (_, report) = served.wait_report(0);
        assert_eq!(report.answered(), 1);
    }
}

fn unshare(flags: &str) -> Command {
    let mut command = Command::new("unshare");
    // The child must not outlive `unshare`, also when the test fails.
    command.args([flags, "--mount-proc", "--kill-child=SIGKILL"]);
    command
}

fn may(flags: &str) -> bool {
    output(unshare(flags).arg("true")).status.success()
}

/// Returns the only child of a process.
fn child_of(pid: i32) -> Pid {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.expect("the kernel lists children");
    Pid::from_raw(children.trim().parse().expect("one child"))
}
