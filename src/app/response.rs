//! An answer: status, fields, body.
//!
//! Fields are checked when they are given and kept as the lines that will be written, so that
//! nothing a user passes on can split what we send. Knows no connection.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::app::source::Source;
use crate::app::upgrade::Switch;
use crate::h1;

/// An answer to a request.
///
/// ```
/// use ebbtide::Response;
///
/// let response = Response::text(200, "hello\n").field("Cache-Control", "no-store");
/// assert_eq!(response.status(), 200);
/// ```
///
/// The server writes the fields that frame a message and those that are about the connection:
/// `Content-Length`, `Transfer-Encoding`, `Connection`, `Keep-Alive`, `Trailer`, `Upgrade` and
/// `Date`. To give one of them is a mistake, like a field that cannot be written (see
/// [`Response::try_field`]).
pub struct Response {
    pub(crate) status: u16,
    pub(crate) content_type: Option<Cow<'static, str>>,
    pub(crate) fields: Vec<u8>,
    pub(crate) body: Body,
    pub(crate) close: bool,
    /// What the user got wrong first; the answer becomes a 500.
    pub(crate) mistake: Option<Mistake>,
}

/// The bytes of an answer.
#[non_exhaustive]
#[derive(Default)]
pub enum Body {
    /// None.
    #[default]
    Empty,
    /// Bytes of the program: never copied on the way to the socket but into a small answer.
    Static(&'static [u8]),
    /// Bytes of this answer alone.
    Bytes(Vec<u8>),
    /// Bytes that many answers share.
    Shared(Arc<[u8]>),
    /// Made as the peer takes it: see [`Response::source`].
    Source(Box<dyn Source>, Option<u64>),
    /// None: what the connection becomes after a 101. Made by [`Upgrade::to`](crate::Upgrade::to).
    Tunnel(Box<Switch>),
}

impl Body {
    /// The number of bytes, where it is known.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::Empty | Self::Tunnel(_) => Some(0),
            Self::Static(bytes) => Some(bytes.len() as u64),
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::Shared(bytes) => Some(bytes.len() as u64),
            Self::Source(_, length) => *length,
        }
    }
}

impl Response {
    /// An answer with a final status (200 to 599) and no body.
    pub const fn new(status: u16) -> Self {
        Self {
            status,
            content_type: None,
            fields: Vec::new(),
            body: Body::Empty,
            close: false,
            mistake: mistake(status),
        }
    }

    /// An answer in plain text: `text/plain; charset=utf-8`.
    pub fn text(status: u16, body: impl Into<Body>) -> Self {
        Self {
            status,
            content_type: Some(Cow::Borrowed("text/plain; charset=utf-8")),
            fields: Vec::new(),
            body: body.into(),
            close: false,
            mistake: mistake(status),
        }
    }

    /// The status.
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets a body that is made as the peer takes it, of unknown length: sent chunked, to an
    /// HTTP/1.0 client until the close.
    #[must_use]
    pub fn source(mut self, source: impl Source + 'static) -> Self {
        self.body = Body::Source(Box::new(source), None);
        self
    }

    /// Sets a body that is made as the peer takes it, of exactly `length` bytes. A source that ends
    /// early makes the server reset the connection, so that the peer notices; what it makes
    /// beyond `length` is not sent.
    #[must_use]
    pub fn sized_source(mut self, length: u64, source: impl Source + 'static) -> Self {
        self.body = Body::Source(Box::new(source), Some(length));
        self
    }

    /// Sets Content-Type. A value that cannot be written makes the answer a 500, as with
    /// [`Response::field`].
    #[must_use]
    pub fn content_type(mut self, value: impl Into<Cow<'static, str>>) -> Self {
        let value = value.into();
        if h1::is_field_value(value.as_bytes()) {
            // Blanks around a value are no part of it, and a value of blanks alone is none.
            self.content_type = Some(match value.as_bytes() {
                [b' ' | b'\t', ..] | [.., b' ' | b'\t'] => {
                    Cow::Owned(value.trim_matches([' ', '\t']).to_owned())
                }
                _ => value,
            });
        } else {
            self.note(Mistake::Value("Content-Type".into()));
        }
        self
    }

    /// Adds a field; `Content-Type`, of which there is one, is replaced. One that cannot be written
    /// is not: the answer becomes a 500, and the log says why. Use [`Response::try_field`] for
    /// values that come from outside.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        if let Err(mistake) = self.try_field(name, value) {
            self.note(mistake);
        }
        self
    }

    /// Adds a field as [`field`](Self::field) does, or says why it cannot be written; the answer is
    /// then as it was.
    ///
    /// # Errors
    ///
    /// The name is not a token (RFC 9110 §5.1), the value has a control character other than a tab
    /// (§5.5), or the server itself writes that field.
    pub fn try_field(&mut self, name: &str, value: &str) -> Result<(), Mistake> {
        if !h1::is_field_name(name) {
            return Err(Mistake::Name(name.into()));
        }
        if OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name)) {
            return Err(Mistake::Ours(name.into()));
        }
        let value = value.trim_matches([' ', '\t']);
        if !h1::is_field_value(value.as_bytes()) {
            return Err(Mistake::Value(name.into()));
        }
        if name.eq_ignore_ascii_case("content-type") {
            self.content_type = Some(Cow::Owned(value.into()));
            return Ok(());
        }
        self.fields.reserve(name.len() + value.len() + 4);
        self.fields.extend_from_slice(name.as_bytes());
        self.fields.extend_from_slice(b": ");
        self.fields.extend_from_slice(value.as_bytes());
        self.fields.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Closes the connection after this answer, and says so to the peer.
    #[must_use]
    pub const fn close(mut self) -> Self {
        self.close = true;
        self
    }

    /// The same answer once more, for one whose body is no source.
    pub(crate) fn copy(&self) -> Self {
        Self {
            status: self.status,
            content_type: self.content_type.clone(),
            fields: self.fields.clone(),
            body: match &self.body {
                Body::Static(bytes) => Body::Static(bytes),
                Body::Bytes(bytes) => Body::Bytes(bytes.clone()),
                Body::Shared(bytes) => Body::Shared(Arc::clone(bytes)),
                Body::Empty | Body::Source(..) | Body::Tunnel(_) => Body::Empty,
            },
            close: self.close,
            mistake: self.mistake.clone(),
        }
    }

    /// A `101 Switching Protocols`, which [`Upgrade`](crate::Upgrade) completes.
    pub(crate) const fn switching() -> Self {
        let mut response = Self::new(200);
        response.status = 101;
        response
    }

    /// Whether nothing happens when it is dropped.
    #[inline]
    pub(crate) const fn owns_nothing(&self) -> bool {
        matches!(self.body, Body::Static(_) | Body::Empty)
            && !matches!(self.content_type, Some(Cow::Owned(_)))
            && self.fields.capacity() == 0
            && self.mistake.is_none()
    }

    pub(crate) fn note(&mut self, mistake: Mistake) {
        self.mistake.get_or_insert(mistake);
    }
}

const fn mistake(status: u16) -> Option<Mistake> {
    if status >= 200 && status <= 599 {
        None
    } else {
        Some(Mistake::Status(status))
    }
}

/// Why a field, or an answer, cannot be written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mistake {
    /// Not a final status.
    Status(u16),
    /// The field's name is not a token.
    Name(Box<str>),
    /// The value of the field so named has a character that no value may have.
    Value(Box<str>),
    /// The server writes the field so named itself.
    Ours(Box<str>),
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status} is not a final status (200 to 599)"),
            Self::Name(name) => write!(f, "{name:?} is not a field name"),
            Self::Value(name) => write!(f, "the value of {name} has a control character"),
            Self::Ours(name) => write!(f, "{name} is written by the server"),
        }
    }
}

impl std::error::Error for Mistake {}

/// The fields that the server writes.
const OURS: [&str; 7] = [
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "trailer",
    "upgrade",
    "date",
];

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("content_type", &self.content_type)
            .field("fields", &String::from_utf8_lossy(&self.fields))
            .field("body", &self.body)
            .field("close", &self.close)
            .finish()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Source(_, None) => f.write_str("Source"),
            Self::Tunnel(_) => f.write_str("Tunnel"),
            sized => write!(f, "{} bytes", sized.length().unwrap_or(0)),
        }
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::Static(text.as_bytes())
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Self::Static(bytes)
    }
}

impl<const N: usize> From<&'static [u8; N]> for Body {
    fn from(bytes: &'static [u8; N]) -> Self {
        Self::Static(bytes)
    }
}

impl From<Cow<'static, str>> for Body {
    fn from(text: Cow<'static, str>) -> Self {
        match text {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        }
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Bytes(text.into_bytes())
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Box<[u8]>> for Body {
    fn from(bytes: Box<[u8]>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<Arc<[u8]>> for Body {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self::Shared(bytes)
    }
}

impl From<Arc<str>> for Body {
    fn from(text: Arc<str>) -> Self {
        Self::Shared(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_made_from_whatever_holds_bytes() {
        let bodies: [Body; 9] = [
            "text".into(),
            b"text".into(),
            (&b"text"[..]).into(),
            String::from("text").into(),
            b"text".to_vec().into(),
            Box::<[u8]>::from(*b"text").into(),
            Arc::<[u8]>::from(*b"text").into(),
            Arc::<str>::from("text").into(),
            Cow::Borrowed("text").into(),
        ];
        for body in bodies {
            let bytes: &[u8] = match &body {
                Body::Static(bytes) => bytes,
                Body::Bytes(bytes) => bytes,
                Body::Shared(bytes) => bytes,
                other => panic!("{other:?}"),
            };
            assert_eq!((bytes, body.length()), (&b"text"[..], Some(4)));
        }
    }

    #[test]
    fn fields_are_kept_as_lines() {
        let response = Response::new(200)
            .field("X-One", " 1 ")
            .field("Content-Type", "text/css");
        assert_eq!(response.fields, b"X-One: 1\r\n");
        assert_eq!(response.content_type.as_deref(), Some("text/css"));
        assert_eq!(response.mistake, None);
    }

    #[test]
    fn blanks_around_a_content_type_are_not_sent() {
        let response = Response::new(200).content_type(" text/css\t");
        assert_eq!(response.content_type.as_deref(), Some("text/css"));
        // What is left is none, and none is written.
        let response = Response::new(200).content_type(" ");
        assert_eq!(response.content_type.as_deref(), Some(""));
    }

    #[test]
    fn nothing_a_user_gives_splits_an_answer() {
        const CASES: &[(&str, &str)] = &[
            ("X", "a\r\nSet-Cookie: b"),
            ("X", "a\nb"),
            ("X", "a\rb"),
            ("X", "a\0b"),
            ("X\r\nY", "a"),
            ("X Y", "a"),
            ("X:", "a"),
            ("", "a"),
        ];
        for (name, value) in CASES {
            let response = Response::new(200).field(name, value);
            assert!(response.mistake.is_some(), "{name:?}: {value:?}");
            assert!(response.fields.is_empty(), "{name:?}: {value:?}");
        }
        let typed = Response::new(200).content_type("text/plain\r\nX: y");
        assert!(typed.mistake.is_some() && typed.content_type.is_none());
    }

    #[test]
    fn the_servers_own_fields_are_refused() {
        for name in ["Content-Length", "connection", "DATE", "Transfer-Encoding"] {
            let mistake = Response::new(200).field(name, "1").mistake;
            assert_eq!(mistake, Some(Mistake::Ours(name.into())));
        }
    }

    #[test]
    fn a_refused_field_leaves_the_answer_as_it_was() {
        let mut response = Response::new(200).field("A", "b");
        assert!(response.try_field("C", "d\r\n").is_err());
        assert_eq!(
            (response.fields.as_slice(), response.mistake),
            (&b"A: b\r\n"[..], None)
        );
    }

    #[test]
    fn interim_and_unknown_statuses_are_mistakes() {
        for status in [0, 99, 100, 101, 199, 600, 1000] {
            assert_eq!(Response::new(status).mistake, Some(Mistake::Status(status)));
        }
        assert_eq!(Response::new(599).mistake, None);
    }
}
