//! An attribute for tests that need a program or a right which a machine may lack.

use proc_macro::{TokenStream, TokenTree};
use std::process::{Command, Stdio};

/// Ignores a test, with the reason, where a shell command fails: `#[needs("curl", "curl -V")]`. The
/// attribute stands above `#[test]`.
///
/// The command runs when the test is compiled. `cargo test -- --ignored` runs a test whose need has
/// been met since.
#[proc_macro_attribute]
pub fn needs(arguments: TokenStream, test: TokenStream) -> TokenStream {
    let literal = |token| match token {
        TokenTree::Literal(literal) => Some(literal.to_string().trim_matches('"').to_owned()),
        _ => None,
    };
    let literals: Vec<String> = arguments.into_iter().filter_map(literal).collect();
    let [need, check] = &literals[..] else {
        panic!("a need and a shell command expected: {literals:?}");
    };
    let mut shell = Command::new("sh");
    shell.args(["-c", check]).stdin(Stdio::null());
    shell.stdout(Stdio::null()).stderr(Stdio::null());
    if shell.status().is_ok_and(|status| status.success()) {
        return test;
    }
    let ignore: TokenStream = format!("#[ignore = \"needs {need}\"]").parse().unwrap();
    ignore.into_iter().chain(test).collect()
}
