//! The command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ebbtide_cli::main(std::env::args_os())
}
