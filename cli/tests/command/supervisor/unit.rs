//! The units of `examples/deploy`, as systemd reads them.

use std::fs;
use std::path::Path;
use std::process::Command;

use ebbtide_needs::needs;

use super::Scratch;
use super::support::child::output;
use super::support::served::command;

const UNITS: [&str; 2] = ["ebbtide.service", "ebbtide.socket"];

#[needs("systemd-analyze", "systemd-analyze --version")]
#[test]
fn systemd_finds_no_fault_in_the_units() {
    // The command is not installed here: a copy of the unit names the one just built.
    let scratch = Scratch::new();
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/deploy");
    let built = command().into_string().expect("a plain path");
    let paths = UNITS.map(|name| {
        let text = fs::read_to_string(deploy.join(name)).expect("the unit is there");
        let path = scratch.path().join(name);
        fs::write(&path, text.replace("/usr/local/bin/ebbtide", &built)).expect("write");
        path
    });
    let mut verify = Command::new("systemd-analyze");
    let output = output(verify.args(["verify", "--man=no"]).args(&paths));
    let said = String::from_utf8_lossy(&output.stderr);
    let about_ours = said.lines().filter(|line| line.contains("ebbtide")).count();
    assert!(output.status.success() && about_ours == 0, "{said}");
}

/// `TimeoutStopSec` is longer than the deadline of the drain, so that systemd kills only a process
/// that hangs.
#[test]
fn the_unit_waits_longer_than_the_drain() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/deploy");
    let unit = fs::read_to_string(deploy.join("ebbtide.service")).expect("the unit is there");
    let seconds = |name: &str| -> u32 {
        let mut places = unit.lines().filter(|line| !line.starts_with('#'));
        let value = places.find_map(|line| line.split_once(name));
        let (_, value) = value.expect(name);
        let digits: String = value.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().expect(name)
    };
    assert!(seconds("TimeoutStopSec=") > seconds("--drain-timeout "));
}
