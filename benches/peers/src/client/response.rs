//! Finds the end of a response, and whether its connection ends too.
//!
//! Knows no sockets. Every response of the bench has Content-Length.

use httparse::{EMPTY_HEADER, Status};

/// A complete response at the beginning of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    /// Bytes of head and body.
    pub(crate) length: usize,
    /// Whether the status is 200.
    pub(crate) good: bool,
    /// Whether the response announces the end of its connection.
    pub(crate) close: bool,
}

impl Response {
    /// Returns the first response in these bytes, or `None` if it is incomplete.
    pub(crate) fn first(bytes: &[u8]) -> Result<Option<Self>, String> {
        let mut fields = [EMPTY_HEADER; FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        let head = match response.parse(bytes) {
            Ok(Status::Complete(head)) => head,
            Ok(Status::Partial) => return Ok(None),
            Err(error) => return Err(format!("not an HTTP response: {error}")),
        };
        let mut body = None;
        let mut close = response.version == Some(0);
        for field in &*response.headers {
            if field.name.eq_ignore_ascii_case("content-length") {
                body = str::from_utf8(field.value)
                    .ok()
                    .and_then(|text| text.parse().ok());
            } else if field.name.eq_ignore_ascii_case("connection") {
                close = field.value.eq_ignore_ascii_case(b"close");
            }
        }
        let body: usize = body.ok_or("a response without Content-Length")?;
        let length = head + body;
        Ok((bytes.len() >= length).then_some(Self {
            length,
            good: response.code == Some(200),
            close,
        }))
    }
}

/// Most fields of a head.
const FIELDS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi";

    #[test]
    fn a_response_is_complete_with_its_last_byte() {
        let whole = Response {
            length: RESPONSE.len(),
            good: true,
            close: true,
        };
        for cut in 0..RESPONSE.len() {
            assert_eq!(Response::first(&RESPONSE[..cut]), Ok(None), "{cut}");
        }
        assert_eq!(Response::first(RESPONSE), Ok(Some(whole)));
        assert_eq!(Response::first(&RESPONSE.repeat(2)), Ok(Some(whole)));
    }

    #[test]
    fn a_response_without_a_length_is_refused() {
        assert!(Response::first(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(Response::first(b"SSH-2.0\r\n\r\n").is_err());
    }
}
