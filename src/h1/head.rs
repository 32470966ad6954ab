//! The head of a request: parsed by httparse, then checked for what httparse leaves open.
//!
//! httparse accepts a bare LF as a line end and skips any number of empty lines, so each line end
//! is checked again: a comparison a field. The same pass gathers what the fields say about the
//! body.

use std::mem::MaybeUninit;

use httparse::{Header, Status};

use super::framing::{Conclusion, Framing, Gathered};
use super::scan::Scan;
use super::{RequestError, target};

/// The head of a request, borrowed from its bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Head<'h, 'b> {
    /// The method, as sent and case-sensitive. Any token except `CONNECT`.
    pub method: &'b str,
    /// The target, as sent: a path with its query, an http or https URI, or `*`. Always ASCII.
    pub target: &'b str,
    /// The minor number of the version HTTP/1: 0 or 1.
    pub minor: u8,
    /// The fields, in order. Values have no blanks around them. They may have bytes above ASCII;
    /// tabs are their only controls.
    pub fields: &'h [Header<'b>],
    /// The end of the body.
    pub framing: Framing,
    /// Whether the peer may send another request after this one.
    pub keep_alive: bool,
    /// Whether the peer waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
}

impl<'h, 'b> Head<'h, 'b> {
    /// Parses the bytes consumed for an [`Event::Head`]: one head, and empty lines before it.
    ///
    /// # Errors
    ///
    /// The peer's error; none for the bytes of an [`Event::Head`] with the same room for fields.
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

    /// Parses the head that `bytes` begin with. Returns it with its length, or `None` for an
    /// incomplete head. Errors are preliminary: the head may be incomplete, or a bare LF behind the
    /// error takes precedence. The scan decides both.
    #[inline(always)] // a call would move the large head three times
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
            // httparse saw an LF right before the name. At least the request line precedes it.
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

    /// Returns the path of the target, as sent; `/` for a URI without one, `*` for the target `*`.
    #[inline]
    pub fn path(&self) -> &'b str {
        target::path(self.target)
    }

    /// Returns the query, behind the first `?` of the target, as sent.
    #[inline]
    pub fn query(&self) -> Option<&'b str> {
        target::query(self.target)
    }

    /// Returns the host, with its port if one was given: of a target that is a URI, else of `Host`
    /// (RFC 9112, section 3.2.2). `None` only in HTTP/1.0.
    pub fn authority(&self) -> Option<&'b str> {
        target::authority(self.target).or_else(|| str::from_utf8(self.field("host")?).ok())
    }

    /// Returns the value of the first field of a name, in any case.
    pub fn field(&self, name: &str) -> Option<&'b [u8]> {
        self.fields_named(name).next()
    }

    /// Iterates over the values of the fields of a name, in any case and in order.
    pub fn fields_named(&self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        self.fields
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    }
}

/// Returns the head that `bytes` begin with, and its length with the empty lines before it.
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
    // Most heads arrive whole, and httparse alone reads them. Where it fails, the scan decides:
    // an error of httparse counts only for a whole head, so the outcome does not depend on cuts.
    let window = &bytes[..bytes.len().min(limit as usize)];
    let error = match Head::parse_first(window, fields) {
        Ok(Some((head, len))) => return Ok((skipped + len, Some(head))),
        Ok(None) => RequestError::Syntax, // for an end that the scan finds and httparse does not
        Err(bad) => bad,
    };
    match scan.step(bytes, limit)? {
        Some(_) => Err(error),
        None => Ok((skipped, None)),
    }
}

/// Converts an error of httparse.
#[cold]
fn refusal(error: httparse::Error, bytes: &[u8]) -> RequestError {
    match error {
        httparse::Error::TooManyHeaders => RequestError::TooManyFields,
        // httparse reports any text there as a wrong version; only a well-formed one is refused
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
