//! A request's head: httparse once over its bytes, then what httparse leaves open.
//!
//! httparse takes a bare LF for a line end and skips any number of empty lines, so each line end
//! is looked at again: a comparison a field. What the fields say about the body is gathered in the
//! same pass.
//!
//! Knows nothing of the bytes behind the head.

use std::mem::MaybeUninit;

use httparse::{Header, Status};

use super::framing::{Conclusion, Framing, Gathered};
use super::scan::Scan;
use super::{RequestError, target};

/// The head of a request, borrowed from the bytes it came in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Head<'h, 'b> {
    /// The method, as sent: it is case-sensitive. Any token, but never `CONNECT`.
    pub method: &'b str,
    /// The target, as sent: a path with its query, an http or https URI, or `*`. It is ASCII.
    pub target: &'b str,
    /// The version is HTTP/1 with this minor number: 0 or 1.
    pub minor: u8,
    /// The fields, in order. Values are without the blanks around them; they may have bytes above
    /// ASCII, but of the controls only tabs.
    pub fields: &'h [Header<'b>],
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the peer would send another request after this one.
    pub keep_alive: bool,
    /// Whether the peer waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
}

impl<'h, 'b> Head<'h, 'b> {
    /// Parses bytes that are exactly one head, be it with empty lines before it: the bytes that
    /// were consumed for an [`Event::Head`].
    ///
    /// # Errors
    ///
    /// What the peer did wrong. Never, for the bytes of an [`Event::Head`] and as much room for
    /// fields.
    ///
    /// [`Event::Head`]: super::Event::Head
    pub fn parse(
        mut bytes: &'b [u8],
        fields: &'h mut [MaybeUninit<Header<'b>>],
    ) -> Result<Self, RequestError> {
        while let [b'\r', b'\n', rest @ ..] = bytes {
            bytes = rest;
        }
        match Self::parse_first(bytes, fields)? {
            Some((head, len)) if len == bytes.len() => Ok(head),
            _ => Err(RequestError::Syntax),
        }
    }

    /// Parses the head that `bytes` begin with, and returns its length with it; `None` if they end
    /// first. An error is not yet the last word: it may be found where the head is not whole, or
    /// before a bare LF that counts for more. The scan knows both.
    #[inline(always)] // into the one hot caller, or a head is moved three times on its way out
    pub(super) fn parse_first(
        bytes: &'b [u8],
        fields: &'h mut [MaybeUninit<Header<'b>>],
    ) -> Result<Option<(Self, usize)>, RequestError> {
        let mut request = httparse::Request::new(&mut []);
        let len = match request.parse_with_uninit_headers(bytes, fields) {
            Ok(Status::Complete(len)) => len,
            Ok(Status::Partial) => return Ok(None),
            Err(error) => return Err(refusal(error, bytes)),
        };
        let (Some(method), Some(target), Some(minor)) =
            (request.method, request.path, request.version)
        else {
            return Err(RequestError::Syntax); // a complete request has all three
        };
        let fields: &'h [Header<'b>] = request.headers;

        let begin = bytes.as_ptr().addr();
        if method.as_ptr().addr() != begin || !bytes[..len].ends_with(b"\r\n\r\n") {
            return Err(RequestError::BareLf);
        }
        let mut gathered = Gathered::default();
        for field in fields {
            // The line before this one ends right before its name, and httparse saw an LF there;
            // before the first field's name there is a whole request line.
            let name_at = field.name.as_ptr().addr() - begin;
            if bytes[name_at - 2] != b'\r' {
                return Err(RequestError::BareLf);
            }
            gathered.take(field)?;
        }
        target::check(method, target)?;
        let Conclusion {
            framing,
            keep_alive,
            expects_continue,
        } = gathered.conclude(minor)?;
        let head = Self {
            method,
            target,
            minor,
            fields,
            framing,
            keep_alive,
            expects_continue,
        };
        Ok(Some((head, len)))
    }

    /// The path of the target, as sent; `/` if a URI has none, `*` if the target is that.
    #[inline]
    pub fn path(&self) -> &'b str {
        target::path(self.target)
    }

    /// What follows the first `?` of the target, as sent.
    #[inline]
    pub fn query(&self) -> Option<&'b str> {
        target::query(self.target)
    }

    /// The host, with its port if it was given: of the target if that is a URI, else of `Host`
    /// (RFC 9112, section 3.2.2). `None` only in HTTP/1.0.
    pub fn authority(&self) -> Option<&'b str> {
        target::authority(self.target).or_else(|| str::from_utf8(self.field("host")?).ok())
    }

    /// The value of the first field of that name, in any case.
    pub fn field(&self, name: &str) -> Option<&'b [u8]> {
        self.fields_named(name).next()
    }

    /// The values of the fields of that name, in any case and in order.
    pub fn fields_named(&self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        self.fields
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    }
}

/// The head that `bytes` begin with, and how many bytes that and the empty lines before it are.
#[inline]
pub(super) fn receive<'h, 'b>(
    scan: &mut Scan,
    bytes: &'b [u8],
    fields: &'h mut [MaybeUninit<Header<'b>>],
    limit: u32,
) -> Result<(usize, Option<Head<'h, 'b>>), RequestError> {
    let mut skipped = 0;
    if let [b'\r', ..] = bytes {
        skipped = scan.skip_empty_lines(bytes)?;
    }
    let bytes = &bytes[skipped..];
    if let [] | [b'\r'] = bytes {
        return Ok((skipped, None));
    }
    if !scan.is_fresh() {
        let Some(len) = scan.step(bytes, limit)? else {
            return Ok((skipped, None));
        };
        let head = Head::parse(&bytes[..len], fields)?;
        return Ok((skipped + len, Some(head)));
    }
    // Most heads are whole when their first byte is seen: httparse alone finds that out. If it does
    // not succeed the scan has the word, so that what comes out does not depend on how many bytes
    // were there: an error of httparse counts only once the head is whole.
    let window = &bytes[..bytes.len().min(limit as usize)];
    let error = match Head::parse_first(window, fields) {
        Ok(Some((head, len))) => return Ok((skipped + len, Some(head))),
        Ok(None) => RequestError::Syntax, // if the scan finds an end where httparse does not
        Err(bad) => bad,
    };
    match scan.step(bytes, limit)? {
        Some(_) => Err(error),
        None => Ok((skipped, None)),
    }
}

/// What an error of httparse says about the peer.
#[cold]
fn refusal(error: httparse::Error, bytes: &[u8]) -> RequestError {
    match error {
        httparse::Error::TooManyHeaders => RequestError::TooManyFields,
        // httparse calls it so whatever stands there; only a version that could be one is refused
        // as a version.
        httparse::Error::Version => {
            let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or(bytes);
            match line.splitn(3, |byte| *byte == b' ').nth(2) {
                Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor])
                    if major.is_ascii_digit() && minor.is_ascii_digit() =>
                {
                    RequestError::Version
                }
                _ => RequestError::Syntax,
            }
        }
        _ => RequestError::Syntax,
    }
}
