//! A response: status, fields, body.
//!
//! Fields are checked when they are given and kept as the lines that will be written, so that no
//! value from outside can split what the server sends. Knows no connection.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::app::source::Source;
use crate::app::tunnel::Switch;
use crate::h1;

/// A response to a request.
///
/// ```
/// use ebbtide::Response;
///
/// let response = Response::text(200, "hello\n").field("Cache-Control", "no-store");
/// assert_eq!(response.status(), 200);
/// ```
///
/// The server itself writes the fields that frame a message and those that are about the connection:
/// `Content-Length`, `Transfer-Encoding`, `Connection`, `Keep-Alive`, `Trailer`, `Upgrade` and
/// `Date`. Setting one of them is a [`Mistake`], as is a field that cannot be written.
#[doc(alias = "answer")]
#[doc(alias = "reply")]
pub struct Response {
    pub(crate) status: u16,
    pub(crate) content_type: Option<Cow<'static, str>>,
    pub(crate) fields: Vec<u8>,
    pub(crate) body: Content,
    pub(crate) close: bool,
    /// The first mistake of the program; the response becomes a 500.
    pub(crate) mistake: Option<Mistake>,
}

/// The bytes of a response, made from whatever holds bytes: text, a `Vec`, a boxed or shared slice.
///
/// Static bytes are never copied on their way to the socket, except into a small response. Shared
/// bytes (`Arc<[u8]>`, `Arc<str>`) are never copied either.
#[derive(Debug, Default)]
pub struct Body(Content);

/// What a response sends behind its head.
#[derive(Default)]
pub(crate) enum Content {
    /// Nothing.
    #[default]
    Empty,
    /// Bytes of the program.
    Static(&'static [u8]),
    /// Bytes of this response alone.
    Bytes(Vec<u8>),
    /// Bytes that many responses share.
    Shared(Arc<[u8]>),
    /// What a source makes, of this length if it is known.
    Source(Box<dyn Source>, Option<u64>),
    /// Nothing: what the connection becomes after a 101.
    Tunnel(Box<Switch>),
}

impl Content {
    /// Returns the number of bytes, where it is known.
    pub(crate) fn length(&self) -> Option<u64> {
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
    /// Makes a response with a final status (200 to 599) and no body. Another status is a
    /// [`Mistake`], and the server sends 500.
    #[doc(alias = "status code")]
    pub const fn new(status: u16) -> Self {
        Self {
            status,
            content_type: None,
            fields: Vec::new(),
            body: Content::Empty,
            close: false,
            mistake: mistake(status),
        }
    }

    /// Makes a response in plain text: `text/plain; charset=utf-8`.
    pub fn text(status: u16, body: impl Into<Body>) -> Self {
        Self {
            status,
            content_type: Some(Cow::Borrowed("text/plain; charset=utf-8")),
            fields: Vec::new(),
            body: body.into().0,
            close: false,
            mistake: mistake(status),
        }
    }

    /// Returns the status.
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into().0;
        self
    }

    /// Sets a body of unknown length that is made as the peer takes it: sent chunked (RFC 9112
    /// §7.1), to an HTTP/1.0 client until the close.
    #[doc(alias = "stream")]
    #[doc(alias = "chunked")]
    #[must_use]
    pub fn source(mut self, source: impl Source + 'static) -> Self {
        self.body = Content::Source(Box::new(source), None);
        self
    }

    /// Sets a body of exactly `length` bytes that is made as the peer takes it. A source that ends
    /// early resets the connection, so that the peer does not take a part for the whole. The server
    /// does not send what a source makes beyond `length`.
    #[must_use]
    pub fn sized_source(mut self, length: u64, source: impl Source + 'static) -> Self {
        self.body = Content::Source(Box::new(source), Some(length));
        self
    }

    /// Sets `Content-Type`. A value that cannot be written makes the response a 500, as with
    /// [`Response::field`].
    #[doc(alias = "mime")]
    #[must_use]
    pub fn content_type(mut self, value: impl Into<Cow<'static, str>>) -> Self {
        let value = value.into();
        if h1::is_field_value(value.as_bytes()) {
            // Blanks around a value are no part of it (RFC 9110 §5.5).
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

    /// Adds a header field, or replaces `Content-Type`. A field that cannot be written makes the
    /// response a 500, and the log says why: [`Response::try_field`] is for values from outside.
    #[doc(alias = "header")]
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        if let Err(mistake) = self.try_field(name, value) {
            self.note(mistake);
        }
        self
    }

    /// Adds a field as [`field`](Self::field) does, or leaves the response as it was and says why.
    ///
    /// # Errors
    ///
    /// The name is not a token (RFC 9110 §5.1), the value has a control character other than a tab
    /// (RFC 9110 §5.5), or the server itself writes that field.
    #[doc(alias = "header")]
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

    /// Closes the connection after this response, with `Connection: close` (RFC 9112 §9.6).
    #[doc(alias = "keep-alive")]
    #[must_use]
    pub const fn close(mut self) -> Self {
        self.close = true;
        self
    }

    /// Copies a response whose body is no source.
    pub(crate) fn copy(&self) -> Self {
        Self {
            status: self.status,
            content_type: self.content_type.clone(),
            fields: self.fields.clone(),
            body: match &self.body {
                Content::Static(bytes) => Content::Static(bytes),
                Content::Bytes(bytes) => Content::Bytes(bytes.clone()),
                Content::Shared(bytes) => Content::Shared(Arc::clone(bytes)),
                Content::Empty | Content::Source(..) | Content::Tunnel(_) => Content::Empty,
            },
            close: self.close,
            mistake: self.mistake.clone(),
        }
    }

    /// Makes a `101 Switching Protocols`, which [`Upgrade`](crate::Upgrade) completes.
    pub(crate) const fn switching() -> Self {
        let mut response = Self::new(200);
        response.status = 101;
        response
    }

    /// Returns whether dropping the response does nothing. The loop forgets such a response, so this
    /// names every field: a new field breaks the build here, and cannot leak.
    #[inline]
    pub(crate) const fn owns_nothing(&self) -> bool {
        let Self {
            status: _,
            content_type,
            fields,
            body,
            close: _,
            mistake,
        } = self;
        let bare = match body {
            Content::Static(_) | Content::Empty => true,
            Content::Bytes(_) | Content::Shared(_) | Content::Source(..) | Content::Tunnel(_) => {
                false
            }
        };
        bare && !matches!(content_type, Some(Cow::Owned(_)))
            && fields.capacity() == 0
            && mistake.is_none()
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

/// Why a field or a response cannot be written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mistake {
    /// A status that is not final: not 200 to 599 (RFC 9110 §15).
    Status(u16),
    /// The field's name, which this is, is not a token (RFC 9110 §5.1).
    Name(Box<str>),
    /// The value of the field of this name has a character that no value may have (RFC 9110 §5.5).
    Value(Box<str>),
    /// The server itself writes the field of this name.
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

/// The fields that the server itself writes.
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

impl fmt::Debug for Content {
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
        Self(Content::Static(text.as_bytes()))
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Self(Content::Static(bytes))
    }
}

impl<const N: usize> From<&'static [u8; N]> for Body {
    fn from(bytes: &'static [u8; N]) -> Self {
        Self(Content::Static(bytes))
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
        Self(Content::Bytes(text.into_bytes()))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Content::Bytes(bytes))
    }
}

impl From<Box<[u8]>> for Body {
    fn from(bytes: Box<[u8]>) -> Self {
        Self(Content::Bytes(bytes.into()))
    }
}

impl From<Arc<[u8]>> for Body {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self(Content::Shared(bytes))
    }
}

impl From<Arc<str>> for Body {
    fn from(text: Arc<str>) -> Self {
        Self(Content::Shared(text.into()))
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
            let bytes: &[u8] = match &body.0 {
                Content::Static(bytes) => bytes,
                Content::Bytes(bytes) => bytes,
                Content::Shared(bytes) => bytes,
                other => panic!("{other:?}"),
            };
            assert_eq!((bytes, body.0.length()), (&b"text"[..], Some(4)));
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
    fn no_value_splits_a_response() {
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
    fn a_refused_field_leaves_the_response_as_it_was() {
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
