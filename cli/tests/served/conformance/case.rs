//! The cases as types, which `tests/cases/README.md` describes.
//!
//! An unknown word is an error, so that no case runs by halves.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// One case.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) level: Level,
    #[serde(rename = "serial")]
    pub(crate) company: Company,
    /// Seconds to wait for the responses, where the usual time is not right.
    pub(crate) timeout: Option<f64>,
    #[serde(flatten)]
    pub(crate) kind: Kind,
}

/// What a failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Level {
    Must,
    Should,
    Info,
}

/// How many cases may run beside this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub(crate) enum Company {
    Many,
    Few,
    None,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Kind {
    Script {
        steps: Vec<Step>,
        #[serde(flatten)]
        expected: Expected,
    },
    Variants {
        items: Vec<Item>,
        #[serde(flatten)]
        expected: Expected,
    },
    Splits(Splits),
    Procedure {
        #[serde(rename = "proc")]
        name: String,
        params: Value,
    },
}

/// What may happen.
#[derive(Debug, Deserialize)]
pub(crate) struct Expected {
    methods: Option<Vec<String>>,
    pub(crate) expect: Vec<Outcome>,
    should: Option<Vec<Outcome>>,
}

impl Expected {
    pub(crate) fn methods(&self) -> &[String] {
        self.methods.as_deref().unwrap_or_default()
    }

    /// What should happen; empty when `expect` says it all.
    pub(crate) fn should(&self) -> &[Outcome] {
        self.should.as_deref().unwrap_or_default()
    }
}

/// One of several scripts with the same expectation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Item {
    pub(crate) label: String,
    pub(crate) steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Splits {
    pub(crate) request: Bytes,
    pub(crate) responses: usize,
    pub(crate) mode: Mode,
    pub(crate) expect_status: Vec<Status>,
    methods: Option<Vec<String>>,
}

impl Splits {
    pub(crate) fn methods(&self) -> &[String] {
        self.methods.as_deref().unwrap_or_default()
    }
}

/// Where a request is cut.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    Each,
    Bytes,
    Random,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Step {
    Send {
        data: Bytes,
    },
    Drip {
        data: Bytes,
        size: usize,
    },
    Settle,
    Silence {
        #[serde(rename = "ms", deserialize_with = "millis")]
        time: Duration,
    },
    Unfinished {
        #[serde(rename = "ms", deserialize_with = "millis")]
        time: Duration,
        done: usize,
    },
    WaitFinal {
        n: usize,
        #[serde(rename = "ms", deserialize_with = "millis")]
        time: Duration,
    },
    WaitAny {
        #[serde(rename = "ms", deserialize_with = "millis")]
        time: Duration,
    },
    Shut,
    ReadOff,
    ReadOn,
}

/// One permitted result.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Outcome {
    pub(crate) responses: Vec<Wanted>,
    pub(crate) end: Ending,
    pub(crate) interim: Interim,
    pub(crate) truncated: Truncated,
    pub(crate) fin: bool,
    pub(crate) raw: bool,
    #[serde(rename = "name")]
    _name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ending {
    Closed,
    Open,
    Sync,
    Waiting,
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Interim {
    None,
    Optional,
    Required,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub(crate) enum Truncated {
    No,
    May,
    Must,
}

/// The demands on a response.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    pub(crate) status: Vec<Status>,
    pub(crate) body: Option<Bytes>,
    pub(crate) lacks: Vec<String>,
    pub(crate) check: Vec<String>,
    pub(crate) min_ms: Option<u64>,
}

/// A status, or a range of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub(crate) struct Status {
    first: u16,
    last: u16,
}

impl Status {
    pub(crate) fn is(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

/// Bytes to send or to get.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Pieces")]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Pieces {
    One(Piece),
    Many(Vec<Piece>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Piece {
    b64: String,
    #[serde(rename = "text")]
    _text: Option<String>,
    repeat: Option<usize>,
}

/// Reads a file of cases, one JSON object a line.
pub(crate) fn load(path: &Path) -> Vec<Case> {
    let name = path.display();
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(n, line)| {
            let case = serde_json::from_str(line);
            case.unwrap_or_else(|error| panic!("{name}, line {}: {error}", n + 1))
        })
        .collect()
}

fn millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    f64::deserialize(deserializer).map(|ms| Duration::from_secs_f64(ms / 1000.0))
}

impl TryFrom<Pieces> for Bytes {
    type Error = base64::DecodeError;

    fn try_from(pieces: Pieces) -> Result<Self, Self::Error> {
        let pieces = match pieces {
            Pieces::One(piece) => vec![piece],
            Pieces::Many(pieces) => pieces,
        };
        let mut bytes = Vec::new();
        for piece in pieces {
            let decoded = BASE64_STANDARD.decode(piece.b64)?;
            bytes.extend(decoded.repeat(piece.repeat.unwrap_or(1)));
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<Value> for Company {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match value {
            Value::Bool(false) => Ok(Self::Many),
            Value::Bool(true) => Ok(Self::None),
            Value::String(text) if text == "few" => Ok(Self::Few),
            // The case measures the server's time, so it runs alone.
            Value::String(text) if text == "cpu" => Ok(Self::None),
            other => Err(format!("serial: {other}")),
        }
    }
}

impl TryFrom<Value> for Truncated {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match value {
            Value::Bool(false) => Ok(Self::No),
            Value::Bool(true) => Ok(Self::May),
            Value::String(text) if text == "must" => Ok(Self::Must),
            other => Err(format!("truncated: {other}")),
        }
    }
}

impl TryFrom<Value> for Status {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let (first, last) = match &value {
            Value::String(text) if text == "err" => (400, 599),
            Value::String(text) => {
                let class = text.strip_suffix("xx").and_then(|digit| digit.parse().ok());
                let class: u16 = class.ok_or_else(|| format!("status: {text}"))?;
                (class * 100, class * 100 + 99)
            }
            _ => {
                let code = value.as_u64().and_then(|code| u16::try_from(code).ok());
                let code = code.ok_or_else(|| format!("status: {value}"))?;
                (code, code)
            }
        };
        Ok(Self { first, last })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}..={}", self.first, self.last)
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for wanted in &self.responses {
            let statuses: Vec<_> = wanted.status.iter().map(Status::to_string).collect();
            write!(f, "[{}", statuses.join("|"))?;
            if let Some(Bytes(body)) = &wanted.body {
                write!(f, " {}", ebbtide_lab::response::brief(body))?;
            }
            for check in &wanted.check {
                write!(f, " {check}")?;
            }
            write!(f, "] ")?;
        }
        write!(f, "end: {:?}", self.end)?;
        if self.interim != Interim::None {
            write!(f, ", interim: {:?}", self.interim)?;
        }
        if self.truncated != Truncated::No {
            write!(f, ", truncated: {:?}", self.truncated)?;
        }
        Ok(())
    }
}
