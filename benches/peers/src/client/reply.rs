//! Where an answer ends, and whether its connection does.
//!
//! Knows no sockets. Answers have Content-Length: those of the bench all do.

use httparse::{EMPTY_HEADER, Response, Status};

/// A complete answer at the beginning of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// Of the head and the body.
    pub(crate) length: usize,
    /// 200.
    pub(crate) good: bool,
    /// It says `Connection: close`.
    pub(crate) close: bool,
}

impl Reply {
    /// The first answer in these bytes. `None`: there is more to come.
    pub(crate) fn first(bytes: &[u8]) -> Result<Option<Self>, String> {
        let mut fields = [EMPTY_HEADER; FIELDS];
        let mut response = Response::new(&mut fields);
        let head = match response.parse(bytes) {
            Ok(Status::Complete(head)) => head,
            Ok(Status::Partial) => return Ok(None),
            Err(error) => return Err(format!("no answer of HTTP: {error}")),
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
        let body: usize = body.ok_or("an answer without Content-Length")?;
        let length = head + body;
        Ok((bytes.len() >= length).then_some(Self {
            length,
            good: response.code == Some(200),
            close,
        }))
    }
}

/// Room for fields.
const FIELDS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi";

    #[test]
    fn an_answer_is_complete_with_its_last_byte() {
        let whole = Reply {
            length: ANSWER.len(),
            good: true,
            close: true,
        };
        for cut in 0..ANSWER.len() {
            assert_eq!(Reply::first(&ANSWER[..cut]), Ok(None), "{cut}");
        }
        assert_eq!(Reply::first(ANSWER), Ok(Some(whole)));
        assert_eq!(Reply::first(&ANSWER.repeat(2)), Ok(Some(whole)));
    }

    #[test]
    fn what_does_not_say_its_length_is_refused() {
        assert!(Reply::first(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(Reply::first(b"SSH-2.0\r\n\r\n").is_err());
    }
}
