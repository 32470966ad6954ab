//! The meaning of a request's fields for its body, its connection and its host.
//!
//! Every doubt about the end of the body is an error: recipients that resolve it differently
//! enable smuggling (RFC 9112, section 11.2).

use httparse::Header;

use super::{RequestError, grammar};

/// The end of a request's body (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// No body, or a `Content-Length` of 0.
    #[default]
    None,
    /// After this number of bytes; never 0.
    Length(u64),
    /// At the last chunk.
    Chunked,
}

/// What the fields said so far.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    length: Option<u64>,
    coding: Coding,
    host: bool,
    close: bool,
    keep_alive: bool,
    expects: Expects,
}

#[derive(Debug, Default, PartialEq)]
enum Coding {
    #[default]
    None,
    Chunked,
    Other,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Expects {
    #[default]
    Nothing,
    Continue,
    Other,
}

/// What all fields say together.
#[derive(Debug)]
pub(super) struct Conclusion {
    pub(super) framing: Framing,
    pub(super) keep_alive: bool,
    pub(super) expects_continue: bool,
}

impl Gathered {
    /// Takes the next field. Most fields cost a comparison of lengths: their names differ in length
    /// from the five that matter.
    #[inline(always)]
    pub(super) fn take(&mut self, field: &Header<'_>) -> Result<(), RequestError> {
        let (name, value) = (field.name.as_bytes(), field.value);
        match name.len() {
            4 if is(name, b"host") => self.host(value),
            6 if is(name, b"expect") => self.expect(value),
            10 if is(name, b"connection") => self.connection(value),
            14 if is(name, b"content-length") => self.length(value),
            17 if is(name, b"transfer-encoding") => self.coding(value),
            _ => Ok(()),
        }
    }

    /// Takes a `Host`.
    #[inline]
    pub(super) fn host(&mut self, value: &[u8]) -> Result<(), RequestError> {
        if self.host || !grammar::is_authority(value) {
            return Err(RequestError::Host);
        }
        self.host = true;
        Ok(())
    }

    /// Takes an `Expect`: a list (RFC 9110, section 10.1.1), in which empty elements are ignored
    /// (section 5.6.1.2). An empty list expects nothing.
    #[cold]
    fn expect(&mut self, value: &[u8]) -> Result<(), RequestError> {
        for element in elements(value).filter(|element| !element.is_empty()) {
            let good = self.expects != Expects::Other && is(element, b"100-continue");
            self.expects = if good {
                Expects::Continue
            } else {
                Expects::Other // allowed in HTTP/1.0
            };
        }
        Ok(())
    }

    /// Takes a `Connection`.
    pub(super) fn connection(&mut self, value: &[u8]) -> Result<(), RequestError> {
        if is(value, b"keep-alive") {
            self.keep_alive = true; // the most common value
        } else {
            self.close |= has_option(value, b"close");
            self.keep_alive |= has_option(value, b"keep-alive");
        }
        Ok(())
    }

    fn length(&mut self, value: &[u8]) -> Result<(), RequestError> {
        // RFC 9112 (section 6.3) allows to accept equal values. Only a broken sender or a smuggler
        // repeats one.
        if self.length.is_some() {
            return Err(RequestError::Length);
        }
        self.length = Some(parse_length(value)?);
        Ok(())
    }

    fn coding(&mut self, value: &[u8]) -> Result<(), RequestError> {
        // One word. RFC 9110 (section 5.6.1.2) ignores empty elements, but a proxy that compares
        // the whole value takes `chunked,` for another coding and finds another end of the body:
        // smuggling. No client writes such a list.
        let good = self.coding == Coding::None && is(value, b"chunked");
        self.coding = if good {
            Coding::Chunked
        } else {
            Coding::Other // a length or HTTP/1.0 makes it a framing error
        };
        Ok(())
    }

    /// Concludes from all fields.
    #[inline]
    pub(super) fn conclude(self, minor: u8) -> Result<Conclusion, RequestError> {
        if minor > 0 && !self.host {
            return Err(RequestError::Host);
        }
        let framing = match (self.coding, self.length) {
            (Coding::None, None | Some(0)) => Framing::None,
            (Coding::None, Some(length)) => Framing::Length(length),
            (_, Some(_)) => return Err(RequestError::Framing),
            (_, None) if minor == 0 => return Err(RequestError::Framing),
            (Coding::Other, None) => return Err(RequestError::Coding),
            (Coding::Chunked, None) => Framing::Chunked,
        };
        // Expectations of HTTP/1.0 are ignored (RFC 9110, section 10.1.1).
        let expects = if minor > 0 {
            self.expects
        } else {
            Expects::Nothing
        };
        if expects == Expects::Other {
            return Err(RequestError::Expectation);
        }
        Ok(Conclusion {
            framing,
            keep_alive: !self.close && (minor > 0 || self.keep_alive),
            expects_continue: expects == Expects::Continue && framing != Framing::None,
        })
    }
}

/// Returns whether a value of `Connection` has an option, in any case; `option` is in lower case.
#[inline(never)] // rare
fn has_option<const N: usize>(value: &[u8], option: &[u8; N]) -> bool {
    elements(value).any(|element| is(element, option))
}

/// Splits a value at its commas, without the blanks around the elements, which may be empty. Also
/// splits quoted strings: the words compared here have no quotes.
#[inline]
pub(crate) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let elements = value.split(|byte| *byte == b',');
    elements.map(<[u8]>::trim_ascii) // blanks are the only whitespace of a value
}

/// Returns whether a name or a value equals `lower`, in any case; `lower` is in lower case.
///
/// Compares all bytes at once: every request needs it. The bit 0x20 makes a letter lower. It makes
/// no other character a letter, and only controls a digit or a hyphen; httparse refuses controls.
#[inline]
fn is<const N: usize>(text: &[u8], lower: &[u8; N]) -> bool {
    let Ok(text) = <&[u8; N]>::try_from(text) else {
        return false;
    };
    let differ = |differ, (a, b): (&u8, &u8)| differ | ((a | 0x20) ^ b);
    text.iter().zip(lower).fold(0, differ) == 0
}

/// Parses `1*DIGIT`: no sign, no list, no blanks.
fn parse_length(value: &[u8]) -> Result<u64, RequestError> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(RequestError::Length);
    }
    value
        .iter()
        .try_fold(0u64, |length, digit| {
            let digit = u64::from(digit - b'0');
            length.checked_mul(10)?.checked_add(digit)
        })
        .ok_or(RequestError::BodyTooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use RequestError::{BodyTooLarge, Coding, Expectation, Host, Length};

    fn conclude(minor: u8, fields: &[(&str, &str)]) -> Result<Conclusion, RequestError> {
        let mut gathered = Gathered::default();
        for (name, value) in fields {
            let value = value.as_bytes();
            gathered.take(&Header { name, value })?;
        }
        gathered.conclude(minor)
    }

    #[test]
    fn a_length_is_digits_that_fit() {
        const CASES: &[(&str, Result<u64, RequestError>)] = &[
            ("0", Ok(0)),
            ("5", Ok(5)),
            ("005", Ok(5)),
            ("010", Ok(10)),
            ("18446744073709551615", Ok(u64::MAX)),
            ("0000000000000000000000000000001", Ok(1)),
            ("18446744073709551616", Err(BodyTooLarge)),
            ("999999999999999999999999999999", Err(BodyTooLarge)),
            ("", Err(Length)),
            ("+5", Err(Length)),
            ("-5", Err(Length)),
            ("0x5", Err(Length)),
            ("5a", Err(Length)),
            ("5 5", Err(Length)),
            ("5, 5", Err(Length)),
            ("5,", Err(Length)),
            ("5.0", Err(Length)),
            ("999999999999999999999999999999x", Err(Length)),
        ];
        for (value, expected) in CASES {
            assert_eq!(parse_length(value.as_bytes()), *expected, "{value:?}");
        }
    }

    #[test]
    fn a_doubtful_body_is_refused() {
        const CL: (&str, &str) = ("Content-Length", "5");
        const TE: (&str, &str) = ("Transfer-Encoding", "chunked");
        const GZIP: (&str, &str) = ("Transfer-Encoding", "gzip");
        type Case = (
            u8,
            &'static [(&'static str, &'static str)],
            Result<Framing, RequestError>,
        );
        const CASES: &[Case] = &[
            (1, &[], Ok(Framing::None)),
            (1, &[("Content-Length", "0")], Ok(Framing::None)),
            (1, &[CL], Ok(Framing::Length(5))),
            (1, &[("cONTENT-lENGTH", "5")], Ok(Framing::Length(5))),
            (0, &[CL], Ok(Framing::Length(5))),
            (1, &[CL, CL], Err(Length)),
            (1, &[("Content-Length", ""), CL], Err(Length)),
            (1, &[("Content-Length", "0"), CL], Err(Length)),
            (1, &[TE], Ok(Framing::Chunked)),
            (1, &[("transfer-encoding", "CHUNKED")], Ok(Framing::Chunked)),
            (1, &[TE, TE], Err(Coding)),
            (1, &[TE, GZIP], Err(Coding)),
            (1, &[GZIP, TE], Err(Coding)),
            (1, &[GZIP], Err(Coding)),
            (1, &[("Transfer-Encoding", "")], Err(Coding)),
            (1, &[("Transfer-Encoding", "chunked, chunked")], Err(Coding)),
            (1, &[("Transfer-Encoding", "gzip, chunked")], Err(Coding)),
            (1, &[("Transfer-Encoding", "chunked,")], Err(Coding)),
            (1, &[("Transfer-Encoding", ",chunked")], Err(Coding)),
            (1, &[("Transfer-Encoding", "identity")], Err(Coding)),
            (1, &[("Transfer-Encoding", "chunked;q=1")], Err(Coding)),
            (1, &[("Transfer-Encoding", "xchunked")], Err(Coding)),
            (1, &[TE, CL], Err(RequestError::Framing)),
            (1, &[CL, TE], Err(RequestError::Framing)),
            (1, &[CL, GZIP], Err(RequestError::Framing)),
            (
                1,
                &[("Content-Length", "0"), TE],
                Err(RequestError::Framing),
            ),
            (0, &[TE], Err(RequestError::Framing)),
            (0, &[GZIP], Err(RequestError::Framing)),
        ];
        for (minor, fields, expected) in CASES {
            let fields = [&[("Host", "a")][..], fields].concat();
            let framing = conclude(*minor, &fields).map(|conclusion| conclusion.framing);
            assert_eq!(framing, *expected, "HTTP/1.{minor} {fields:?}");
        }
    }

    #[test]
    fn host_is_there_once() {
        const A: (&str, &str) = ("Host", "a");
        type Case = (u8, &'static [(&'static str, &'static str)], bool);
        const CASES: &[Case] = &[
            (1, &[A], true),
            (1, &[("hOST", "a:1")], true),
            (1, &[], false),
            (1, &[A, A], false),
            (1, &[A, ("Host", "b")], false),
            (1, &[("Host", "")], false),
            (1, &[("Host", "a b")], false),
            (0, &[], true),
            (0, &[A], true),
            (0, &[A, A], false),
            (0, &[("Host", "")], false),
        ];
        for (minor, fields, good) in CASES {
            let outcome = conclude(*minor, fields).map(drop);
            let expected = if *good { Ok(()) } else { Err(Host) };
            assert_eq!(outcome, expected, "HTTP/1.{minor} {fields:?}");
        }
    }

    #[test]
    fn connection_is_a_list_over_all_lines() {
        const CASES: &[(u8, &[&str], bool)] = &[
            (1, &[], true),
            (1, &["keep-alive"], true),
            (1, &["close"], false),
            (1, &["CloSe"], false),
            (1, &["keep-alive, close"], false),
            (1, &["close, keep-alive"], false),
            (1, &["foo,close,bar"], false),
            (1, &[", close"], false),
            (1, &["close\t,"], false),
            (1, &["keep-alive", "close"], false),
            (1, &["close", "keep-alive"], false),
            (1, &["closed", "x close", "clos e", "close;a"], true),
            (0, &[], false),
            (0, &["keep-alive"], true),
            (0, &["foo", "bar , Keep-Alive"], true),
            (0, &["keep-alive, close"], false),
        ];
        for (minor, lines, keep_alive) in CASES {
            let lines = lines.iter().map(|line| ("connection", *line));
            let fields: Vec<_> = [("Host", "a")].into_iter().chain(lines).collect();
            let conclusion = conclude(*minor, &fields).unwrap();
            assert_eq!(conclusion.keep_alive, *keep_alive, "1.{minor} {fields:?}");
        }
    }

    #[test]
    fn only_100_continue_is_expected_and_only_for_a_body() {
        const CL: (&str, &str) = ("Content-Length", "5");
        const EXPECT: (&str, &str) = ("Expect", "100-continue");
        const OTHER: (&str, &str) = ("Expect", "something-else");
        type Case = (
            u8,
            &'static [(&'static str, &'static str)],
            Result<bool, RequestError>,
        );
        const CASES: &[Case] = &[
            (1, &[CL], Ok(false)),
            (1, &[CL, EXPECT], Ok(true)),
            (1, &[CL, ("eXPECT", "100-Continue")], Ok(true)),
            (1, &[EXPECT, ("Transfer-Encoding", "chunked")], Ok(true)),
            (1, &[EXPECT], Ok(false)),
            (1, &[EXPECT, ("Content-Length", "0")], Ok(false)),
            (1, &[CL, OTHER], Err(Expectation)),
            (1, &[CL, EXPECT, OTHER], Err(Expectation)),
            (1, &[CL, OTHER, EXPECT], Err(Expectation)),
            (1, &[CL, EXPECT, EXPECT], Ok(true)),
            (1, &[CL, ("Expect", "100-continue, 100-Continue")], Ok(true)),
            (1, &[CL, ("Expect", "100-continue,")], Ok(true)),
            (1, &[CL, ("Expect", ", ,\t100-continue")], Ok(true)),
            (1, &[CL, ("Expect", "")], Ok(false)),
            (1, &[CL, ("Expect", " , ")], Ok(false)),
            (1, &[CL, ("Expect", ""), EXPECT], Ok(true)),
            (1, &[CL, EXPECT, ("Expect", "")], Ok(true)),
            (1, &[("Expect", "100-continue, x")], Err(Expectation)),
            (1, &[("Expect", "x, 100-continue")], Err(Expectation)),
            (1, &[CL, OTHER, ("Expect", "")], Err(Expectation)),
            (1, &[("Expect", "100-continue=a")], Err(Expectation)),
            (1, &[("Expect", "a=\"b,100-continue\"")], Err(Expectation)),
            (1, &[("Expect", "100-continue x")], Err(Expectation)),
            (0, &[CL, EXPECT], Ok(false)),
            (0, &[CL, OTHER], Ok(false)),
        ];
        for (minor, fields, expected) in CASES {
            let fields = [&[("Host", "a")][..], fields].concat();
            let outcome = conclude(*minor, &fields).map(|conclusion| conclusion.expects_continue);
            assert_eq!(outcome, *expected, "HTTP/1.{minor} {fields:?}");
        }
    }
}
