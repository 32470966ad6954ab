//! A fast path for common heads, eight bytes at a time; httparse parses the others.
//!
//! The fast path accepts a part of what `head` accepts, with the same result. On anything wrong,
//! rare or incomplete it returns `None`, and `head` and `scan` decide. Debug builds, tests and fuzz
//! targets compare each accepted head with httparse's.

use httparse::Header;

use super::codec::{Codec, Inbound};
use super::framing::{Conclusion, Gathered};
use super::grammar;
use super::head::Head;
use super::limits::Limits;
use super::swar::{self, HIGH, below, equal, from_del_on, load, place};

impl Codec {
    /// Returns what [`receive`](Self::receive) would return, if `bytes` begin with a whole head of
    /// a common form. `None` changes nothing: call `receive` then.
    #[inline]
    pub fn receive_fast<'h, 'b>(
        &mut self,
        bytes: &'b [u8],
        fields: &'h mut [Header<'b>],
        limits: &Limits,
    ) -> Option<(usize, Head<'h, 'b>)> {
        let room = fields.len().min(usize::from(limits.fields));
        let parsed = if matches!(self.inbound, Inbound::Head(scan) if scan.is_fresh()) {
            let window = &bytes[..bytes.len().min(limits.head as usize)];
            parse(window, &mut fields[..room])
        } else {
            None
        };
        if let Some((_, head)) = &parsed {
            #[cfg(any(test, fuzzing, debug_assertions))]
            {
                use super::{Event, MAX_FIELDS};
                let mut fields = [const { std::mem::MaybeUninit::uninit() }; MAX_FIELDS];
                let received = { *self }.receive(bytes, &mut fields[..room], limits);
                let same = parsed.map(|(len, head)| Ok((len, Event::Head(head))));
                assert_eq!(Some(received), same, "not httparse's");
            }
            self.accept(head);
        }
        parsed // the only value returned, so this large value is not moved
    }
}

/// Parses the head that `bytes` begin with, if it has a common method, a path, HTTP/1.1, only ASCII
/// without tabs, room for its fields, and no error. Returns its length with it.
#[inline(never)] // needs all registers
fn parse<'h, 'b>(bytes: &'b [u8], fields: &'h mut [Header<'b>]) -> Option<(usize, Head<'h, 'b>)> {
    let method = method(bytes)?;
    let begin = method.len() + 1;
    let end = begin + find(bytes.get(begin..)?, ends_target)?;
    let (version, mut rest) = bytes.get(end..)?.split_first_chunk()?;
    if version != b" HTTP/1.1\r\n" {
        return None;
    }
    let mut gathered = Gathered::default();
    let mut room = fields.iter_mut();
    while rest.first_chunk() != Some(b"\r\n") {
        let (name, meaning);
        match common_name(rest) {
            Some(common) => (name, meaning) = common,
            None => (name, meaning) = (other_name(rest)?, Meaning::Unknown),
        }
        let line = rest.get(name.len() + 1..)?;
        let (mut value, behind) = line.split_at_checked(find(line, ends_line)?)?;
        let (line_end, behind) = behind.split_first_chunk()?;
        if line_end != b"\r\n" {
            return None;
        }
        rest = behind;
        if let [b' ', bare @ ..] = value {
            value = bare;
        }
        if let [b' ', ..] | [.., b' '] = value {
            value = value.trim_ascii(); // spaces are its only blanks
        }
        match meaning {
            Meaning::Nothing => {}
            Meaning::Host => gathered.host(value).ok()?,
            Meaning::Unknown => take(name, value, &mut gathered)?,
        }
        *room.next()? = Header { name, value };
    }
    let Conclusion {
        framing,
        keep_alive,
        expects_continue,
    } = gathered.conclude(1).ok()?;
    let left = room.len();
    let count = fields.len() - left;
    if bytes.get(begin) != Some(&b'/') {
        return None;
    }
    let head = Head {
        method,
        target: text(bytes, begin, end)?,
        minor: 1,
        fields: fields.get(..count)?,
        framing,
        keep_alive,
        expects_continue,
    };
    Some((bytes.len() - rest.len() + 2, head))
}

/// Returns the method, if it is a common one.
#[inline]
fn method(bytes: &[u8]) -> Option<&'static str> {
    let four = bytes.first_chunk::<4>()?;
    if four == b"GET " {
        return Some("GET");
    }
    let five = bytes.first_chunk::<5>()?;
    match () {
        () if five == b"POST " => Some("POST"),
        () if five == b"HEAD " => Some("HEAD"),
        () if four == b"PUT " => Some("PUT"),
        () => None,
    }
}

/// What the name of a field says about the request.
#[derive(Clone, Copy)]
enum Meaning {
    Nothing,
    Host,
    Unknown,
}

/// Returns the name that a line begins with, up to its colon, if most requests have it in this
/// spelling.
#[inline(always)]
fn common_name(line: &[u8]) -> Option<(&'static str, Meaning)> {
    let (first, rest) = line.split_first_chunk::<8>()?;
    let first = load(first);
    if first << 24 == load(b"\0\0\0Host:") {
        Some(("Host", Meaning::Host))
    } else if first == ACCEPT {
        Some(("Accept", Meaning::Nothing))
    } else if first == USER_AGE && rest.first_chunk() == Some(b"nt:") {
        Some(("User-Agent", Meaning::Nothing))
    } else {
        let name = browser_name(first, rest)?;
        // The length distinguishes `Connection`, the only one with a meaning.
        let connection = name.len() == "Connection".len();
        Some((
            name,
            if connection {
                Meaning::Unknown
            } else {
                Meaning::Nothing
            },
        ))
    }
}

/// Returns the name, if browsers send it.
#[inline(never)] // registers are scarce in the caller
fn browser_name(first: u64, rest: &[u8]) -> Option<&'static str> {
    Some(match first {
        ACCEPT_L if rest.first_chunk() == Some(b"anguage:") => "Accept-Language",
        ACCEPT_E if rest.first_chunk() == Some(b"ncoding:") => "Accept-Encoding",
        REFERER => "Referer",
        COOKIE => "Cookie",
        PRIORITY if rest.first() == Some(&b':') => "Priority",
        SEC_FETC if rest.first_chunk() == Some(b"h-Dest:") => "Sec-Fetch-Dest",
        SEC_FETC if rest.first_chunk() == Some(b"h-Mode:") => "Sec-Fetch-Mode",
        SEC_FETC if rest.first_chunk() == Some(b"h-Site:") => "Sec-Fetch-Site",
        UPGRADE if rest.first_chunk() == Some(b"Insecure-Requests:") => "Upgrade-Insecure-Requests",
        CONNECTI if rest.first_chunk() == Some(b"on:") => "Connection",
        _ => return None,
    })
}

// The first eight bytes of lines with these names; short names have a space behind the colon.
const ACCEPT: u64 = load(b"Accept: ");
const ACCEPT_E: u64 = load(b"Accept-E");
const ACCEPT_L: u64 = load(b"Accept-L");
const CONNECTI: u64 = load(b"Connecti");
const COOKIE: u64 = load(b"Cookie: ");
const PRIORITY: u64 = load(b"Priority");
const REFERER: u64 = load(b"Referer:");
const SEC_FETC: u64 = load(b"Sec-Fetc");
const UPGRADE: u64 = load(b"Upgrade-");
const USER_AGE: u64 = load(b"User-Age");

/// Returns any other name that a line begins with.
#[inline(never)]
fn other_name(line: &[u8]) -> Option<&str> {
    let len = line.iter().position(|byte| !grammar::is_tchar(*byte))?;
    if len == 0 || line.get(len) != Some(&b':') {
        return None;
    }
    // The input may end too soon for `text`.
    text(line, 0, len).or_else(|| str::from_utf8(line.get(..len)?).ok())
}

/// Takes a field whose name may have a meaning.
#[inline(never)]
fn take(name: &str, value: &[u8], gathered: &mut Gathered) -> Option<()> {
    gathered.take(&Header { name, value }).ok()
}

/// Returns a part of a head that is known to be ASCII, if the bytes around it exist and are text.
///
/// Safe Rust must validate this ASCII again. Validation is fast on aligned blocks of 16 bytes, so
/// the range is widened to them.
#[inline(always)]
fn text(bytes: &[u8], begin: usize, end: usize) -> Option<&str> {
    let from = bytes.as_ptr().align_offset(8).min(begin);
    let around = bytes.get(from..)?;
    let around = around.get(..(end - from).next_multiple_of(16))?;
    match str::from_utf8(around) {
        Ok(text) => text.get(begin - from..end - from),
        Err(_) => None,
    }
}

/// Returns the place of the first byte that `ends` marks by its high bit, or the length. Marks
/// behind the first may be wrong.
#[inline(always)]
fn find(bytes: &[u8], ends: impl Fn(u64) -> u64) -> Option<usize> {
    let (words, rest) = bytes.as_chunks();
    if let Some(at) = swar::find(words, &ends) {
        return Some(at);
    }
    // The last bytes, with zeros behind them, which `ends` marks.
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    Some(bytes.len() - rest.len() + place(ends(load(&last)) & HIGH))
}

/// Marks bytes that end an ASCII target without a fragment.
#[inline(always)]
const fn ends_target(word: u64) -> u64 {
    below(word, b'!') | from_del_on(word) | equal(word, b'#')
}

/// Marks bytes that end an ASCII line without tabs.
#[inline(always)]
const fn ends_line(word: u64) -> u64 {
    below(word, b' ') | from_del_on(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tries each byte in each place, behind bytes that end nothing.
    #[track_caller]
    fn check(ends: impl Fn(u64) -> u64, filler: u8, ended_by: impl Fn(u8) -> bool) {
        for len in 8..20 {
            for at in 0..len {
                for byte in 0..=255 {
                    let mut bytes = vec![filler; len];
                    bytes[at] = byte;
                    let within = |begin| {
                        let end = begin + find(&bytes[begin..], &ends)?;
                        (end < len).then_some(end)
                    };
                    assert_eq!(within(0), ended_by(byte).then_some(at), "{bytes:?}");
                    assert_eq!(within(at + 1), None, "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn what_ends_a_part_is_found_wherever_it_is() {
        check(ends_target, b'!', |byte| {
            !byte.is_ascii_graphic() || byte == b'#'
        });
        check(ends_line, b' ', |byte| !(b' '..0x7f).contains(&byte));
    }

    #[test]
    fn a_name_is_what_stands_there() {
        for name in [
            "Accept",
            "Accept-Encoding",
            "Accept-Language",
            "Connection",
            "Cookie",
            "Priority",
            "Referer",
            "Sec-Fetch-Dest",
            "Sec-Fetch-Mode",
            "Sec-Fetch-Site",
            "Sec-Fetch-User",
            "Upgrade-Insecure-Requests",
            "User-Agent",
            "X",
        ] {
            let names = (0..=name.len()).map(|at| {
                let mut other = name.as_bytes().to_vec();
                match other.get_mut(at) {
                    Some(byte) => *byte ^= 1, // makes no other common name
                    None => return name.to_owned(),
                }
                String::from_utf8(other).expect("it is ASCII")
            });
            for name in names.filter(|name| name.bytes().all(grammar::is_tchar)) {
                for blank in ["", " ", "  "] {
                    let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{name}:{blank}b\r\n\r\n");
                    let mut fields = [httparse::EMPTY_HEADER; 2];
                    let (_, head) = parse(head.as_bytes(), &mut fields).expect("it is plain");
                    assert_eq!(
                        (head.fields[1].name, head.fields[1].value),
                        (&*name, &b"b"[..])
                    );
                }
            }
        }
    }

    #[test]
    fn a_target_is_what_stands_there_wherever_that_is() {
        for shift in 0..16 {
            for len in 0..40 {
                let target = format!("/{}", "a".repeat(len));
                let mut bytes = vec![0xff; shift];
                bytes.extend(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").bytes());
                bytes.extend([0xff; 16]);
                let mut fields = [httparse::EMPTY_HEADER; 1];
                let (_, head) = parse(&bytes[shift..], &mut fields).expect("it is plain");
                assert_eq!(head.target, target);
            }
        }
    }

    #[test]
    fn plain_heads_are_taken() {
        for head in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "HEAD /a?b HTTP/1.1\r\nHost:a\r\nAccept: */*\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a \r\ncontent-length: 5\r\nX-1:\r\n\r\n",
            "PUT /a HTTP/1.1\r\nHost: a\r\nX_.!: b\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            let mut fields = [httparse::EMPTY_HEADER; 3];
            let whole = parse(head.as_bytes(), &mut fields).map(|(len, _)| len);
            assert_eq!(whole, Some(head.len()), "{head:?}");
            for cut in 0..head.len() {
                assert_eq!(parse(&head.as_bytes()[..cut], &mut fields), None);
            }
        }
    }

    #[test]
    fn others_are_left_to_httparse() {
        for head in [
            "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
            "PATCH / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX:\ta\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: \u{e9}\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX/Y: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\n\r\n",
        ] {
            let mut fields = [httparse::EMPTY_HEADER; 2];
            assert_eq!(parse(head.as_bytes(), &mut fields), None, "{head:?}");
        }
    }
}
