//! The report of a drain, which the command prints with `--report json` as the last line of stderr.
//!
//! The names of its members stand in this place only.

use serde_json::Value;

/// One outcome of the command.
#[derive(Debug)]
pub struct Report(Value);

impl Report {
    /// Reads the last line of stderr.
    pub fn parse(lines: &[String]) -> Self {
        let last = lines
            .last()
            .unwrap_or_else(|| panic!("stderr is empty, no report"));
        let value = serde_json::from_str(last)
            .unwrap_or_else(|error| panic!("the last line is no JSON ({error}): {lines:#?}"));
        Self(value)
    }

    /// Returns `drained`, `deadline` or `cut`.
    pub fn end(&self) -> &str {
        self.member("end").as_str().expect("a string")
    }

    /// Returns the exit code in the report.
    pub fn exit_code(&self) -> i64 {
        self.number("exit_code")
    }

    /// Returns how many connections were accepted.
    pub fn opened(&self) -> i64 {
        self.number("opened")
    }

    /// Returns how many connections were closed, by the server or by the peer.
    pub fn closed(&self) -> i64 {
        self.number("closed")
    }

    /// Returns how many requests the handler got.
    pub fn requests(&self) -> i64 {
        self.number("requests")
    }

    /// Returns how many responses were written in full.
    pub fn answered(&self) -> i64 {
        self.number("answered")
    }

    /// Returns how many requests got a 503 at the deadline.
    pub fn forced_503(&self) -> i64 {
        self.number("forced_503")
    }

    /// Returns how many connections were upgraded.
    pub fn upgraded(&self) -> i64 {
        self.number("upgraded")
    }

    /// Returns how many upgraded connections the drain had to end.
    pub fn dismissed(&self) -> i64 {
        self.number("dismissed")
    }

    /// Returns how many connections were reset because a response was cut.
    pub fn aborted(&self) -> i64 {
        self.number("aborted")
    }

    /// Returns how long the drain took, in milliseconds.
    pub fn drain_millis(&self) -> i64 {
        self.number("drain_millis")
    }

    fn number(&self, name: &str) -> i64 {
        let value = self.member(name);
        value
            .as_i64()
            .unwrap_or_else(|| panic!("{name:?} is no number in {self:?}"))
    }

    fn member(&self, name: &str) -> &Value {
        self.0
            .get(name)
            .unwrap_or_else(|| panic!("no {name:?} in {self:?}"))
    }
}
