//! The report of a drain as the command prints it with `--report json`: the last line of stderr.
//!
//! Knows the names of its members, in this one place; not what they should be.

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

    /// `drained`, `deadline` or `cut`.
    pub fn end(&self) -> &str {
        self.member("end").as_str().expect("a string")
    }

    /// What the process exits with.
    pub fn exit_code(&self) -> i64 {
        self.number("exit_code")
    }

    /// Connections accepted.
    pub fn opened(&self) -> i64 {
        self.number("opened")
    }

    /// Connections closed, by the server or by the peer.
    pub fn closed(&self) -> i64 {
        self.number("closed")
    }

    /// Requests given to the handler.
    pub fn requests(&self) -> i64 {
        self.number("requests")
    }

    /// Answers written in full.
    pub fn answered(&self) -> i64 {
        self.number("answered")
    }

    /// Requests that got a 503 at the deadline.
    pub fn forced_503(&self) -> i64 {
        self.number("forced_503")
    }

    /// Connections that were upgraded.
    pub fn upgraded(&self) -> i64 {
        self.number("upgraded")
    }

    /// Upgraded connections that the drain had to end.
    pub fn dismissed(&self) -> i64 {
        self.number("dismissed")
    }

    /// Connections reset because an answer was cut.
    pub fn aborted(&self) -> i64 {
        self.number("aborted")
    }

    /// How long the drain took.
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
