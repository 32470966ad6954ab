//! Static files for `ebbtide serve --root`: conditional requests, ranges, types, directories.
//!
//! The loop's thread does all the work: a lookup is a handful of system calls, and a read takes at
//! most one piece. Files should be in the kernel's cache or on a local disk; a root on a network
//! holds the loop as long as the network does.
//!
//! A response has the file as it was when the response opened it. Write another file and rename it
//! over the first to change a file. Overwriting a file in place mixes old and new bytes in its
//! responses, and shortening a file breaks its downloads off. Some reproducible builds give all
//! files the same time; only the length then tells two states of a file apart.

pub(crate) mod args;
mod body;
mod open;
mod path;
mod range;
#[cfg(test)]
mod scratch;
mod validators;

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::fs::{File, Metadata};
use std::hash::BuildHasher;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use self::args::FileFlags;
use self::body::{FileBody, PIECE, Piece, read_at};
use self::open::{Found, Root};
use self::path::{Names, Nowhere};
use self::range::Selected;
use self::validators::{Condition, Modified, Validators, single};
use ebbtide::{Request, Response};

/// Answers with the files of one directory.
#[derive(Debug)]
pub(super) struct Files {
    root: Root,
    dot_files: bool,
    /// The time of the last log line about a system without room to open a file.
    told: Cell<Option<Instant>>,
}

impl Files {
    /// Serves the directory that the flags name, if they name one.
    ///
    /// # Errors
    ///
    /// The root is not a directory that can be read; the error names the flag.
    pub(super) fn from_flags(flags: &FileFlags) -> io::Result<Option<Self>> {
        let Some(path) = &flags.root else {
            return Ok(None);
        };
        let dot_files = flags.dot_files;
        let root = Root::new(path, flags.symlinks.unwrap_or_default(), dot_files);
        let root = root.map_err(|error| {
            io::Error::new(error.kind(), format!("--root: {}: {error}", path.display()))
        })?;
        Ok(Some(Self {
            root,
            dot_files,
            told: Cell::new(None),
        }))
    }

    /// Returns the response to a GET or a HEAD.
    pub(super) fn answer(&self, request: &Request<'_>) -> Response {
        match self.find(request) {
            Ok(response) => response,
            Err(Refusal::Malformed) => Response::text(400, "the path is malformed\n"),
            Err(Refusal::Io(error)) => self.refuse(request.path(), &error),
        }
    }

    fn find(&self, request: &Request<'_>) -> Result<Response, Refusal> {
        let mut names = Names::read(request.path(), self.dot_files)?;
        let found = match (self.root.open(&names.names)?, names.directory) {
            (Found::Directory, false) => return Ok(redirect(&names, request.query())),
            (Found::Directory, true) => {
                names.names.push(INDEX.into());
                self.root.open(&names.names)?
            }
            // A file has no files below it.
            (Found::File(..), true) => return Err(io::Error::from(io::ErrorKind::NotFound).into()),
            (found, _) => found,
        };
        match (found, names.names.last()) {
            (Found::File(file, metadata), Some(name)) => {
                Ok(send(file, &metadata, Path::new(name), request)?)
            }
            _ => Err(io::Error::from(io::ErrorKind::NotFound).into()),
        }
    }

    /// Returns the response for a file that the system did not give.
    fn refuse(&self, path: &str, error: &io::Error) -> Response {
        use nix::Error as Errno;
        match Errno::from_raw(error.raw_os_error().unwrap_or_default()) {
            Errno::EACCES | Errno::EPERM => {
                Response::text(403, "the server has no access to the file\n")
            }
            Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM => {
                if may_tell(&self.told, Instant::now()) {
                    log::warn!("{path}: {error}");
                }
                Response::text(503, "too many open files\n").field("Retry-After", "1")
            }
            Errno::EIO | Errno::EWOULDBLOCK => {
                log::error!("{path}: {error}");
                Response::text(500, "the file cannot be read\n")
            }
            _ if error.kind() == io::ErrorKind::UnexpectedEof => {
                log::warn!("{path}: {error}");
                Response::text(500, "the file cannot be read\n")
            }
            // The file is missing, below another file, or behind a link that the policy forbids; or
            // its name is too long.
            _ => Response::text(404, "not here\n"),
        }
    }
}

/// Returns whether the log may get another line. Every request fails alike, so any client could
/// otherwise fill the disk.
fn may_tell(told: &Cell<Option<Instant>>, now: Instant) -> bool {
    let lately = told.get().is_some_and(|told| now < told + PAUSE);
    if !lately {
        told.set(Some(now));
    }
    !lately
}

/// The reason for a response without a file.
#[derive(Debug)]
enum Refusal {
    Malformed,
    Io(io::Error),
}

impl From<Nowhere> for Refusal {
    fn from(nowhere: Nowhere) -> Self {
        match nowhere {
            Nowhere::Malformed => Self::Malformed,
            Nowhere::Absent => Self::Io(io::ErrorKind::NotFound.into()),
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Redirects to the path with a slash at its end, which relative links of the page need.
fn redirect(names: &Names, query: Option<&str>) -> Response {
    let path = names.to_directory();
    let location = match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    Response::text(301, "the path is a directory\n").field("Location", &location)
}

/// Returns the file, or the part that the request asks for.
fn send(
    file: File,
    metadata: &Metadata,
    name: &Path,
    request: &Request<'_>,
) -> io::Result<Response> {
    let length = metadata.len();
    let validators = Validators::new(length, modified(metadata), SystemTime::now());
    let with_tag = |response: Response| response.field("ETag", &validators.etag());
    match validators.check(request.fields()) {
        Condition::Met => {}
        Condition::NotModified => return Ok(with_tag(Response::new(304))),
        Condition::Failed => return Ok(Response::text(412, "a precondition failed\n")),
    }
    // Only GET has ranges (RFC 9110 §14.2).
    let ranges = single(request.fields(), "range").filter(|_| request.method() == "GET");
    let selected = match ranges {
        Some(ranges) if validators.range_holds(request.fields()) => range::select(ranges, length),
        _ => Selected::Whole,
    };
    let described = |response: Response| {
        let response = with_tag(response)
            .field("Accept-Ranges", "bytes")
            // The name gives the type; clients must not guess by the content.
            .field("X-Content-Type-Options", "nosniff");
        match validators.last_modified() {
            Some(date) => response.field("Last-Modified", &date),
            None => response,
        }
    };
    match selected {
        Selected::Nothing => {
            let response = Response::text(416, "the file has no such bytes\n");
            let range = format!("bytes */{length}");
            Ok(with_tag(response.field("Content-Range", &range)))
        }
        Selected::Whole => {
            let response = Response::new(200).content_type(content_type(name));
            fill(described(response), file, vec![Piece::File(0..length)])
        }
        Selected::Parts(parts) => {
            let (response, pieces) = partial(&parts, content_type(name), length);
            fill(described(response), file, pieces)
        }
    }
}

/// Returns a 206 without its validators, and the pieces of its body (RFC 9110 §15.3.7).
fn partial(parts: &[Range<u64>], kind: String, length: u64) -> (Response, Vec<Piece>) {
    let response = Response::new(206);
    if let [part] = parts {
        let range = content_range(part, length);
        let response = response.content_type(kind).field("Content-Range", &range);
        return (response, vec![Piece::File(part.clone())]);
    }
    let boundary = boundary();
    let multipart = format!("multipart/byteranges; boundary={boundary}");
    let pieces = multipart_pieces(parts, &kind, length, &boundary);
    (response.content_type(multipart), pieces)
}

/// Gives a response its body. This function reads a short file at once, so that the response is one
/// write and the file closes.
fn fill(response: Response, file: File, pieces: Vec<Piece>) -> io::Result<Response> {
    match &pieces[..] {
        [Piece::File(range)] if range.end - range.start <= PIECE as u64 => {
            let length = (range.end - range.start) as usize; // at most `PIECE`
            let mut bytes = Vec::new();
            read_at(&file, range.start, length, &mut bytes)?;
            Ok(response.body(bytes))
        }
        _ => {
            let body = FileBody::new(file, pieces);
            Ok(response.sized_source(body.len(), body))
        }
    }
}

fn modified(metadata: &Metadata) -> Modified {
    Modified {
        seconds: metadata.mtime(),
        nanos: metadata.mtime_nsec() as u32, // below 10^9
    }
}

/// Returns the type that the name stands for; text is UTF-8.
fn content_type(name: &Path) -> String {
    let kind = mime_guess::from_path(name).first_or_octet_stream();
    if kind.type_() == mime_guess::mime::TEXT && kind.get_param("charset").is_none() {
        format!("{kind}; charset=utf-8")
    } else {
        kind.to_string()
    }
}

fn content_range(part: &Range<u64>, length: u64) -> String {
    format!("bytes {}-{}/{length}", part.start, part.end - 1) // no part is empty
}

/// Returns several parts, each behind a head of its own (RFC 9110 §14.6).
fn multipart_pieces(parts: &[Range<u64>], kind: &str, length: u64, boundary: &str) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(2 * parts.len() + 1);
    let mut before = "";
    for part in parts {
        let range = content_range(part, length);
        let head = format!(
            "{before}--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: {range}\r\n\r\n"
        );
        pieces.push(Piece::Bytes(head.into_bytes()));
        pieces.push(Piece::File(part.clone()));
        before = "\r\n";
    }
    pieces.push(Piece::Bytes(format!("\r\n--{boundary}--\r\n").into_bytes()));
    pieces
}

/// Returns a line that a file contains with a chance of one in 2^128. Each response has another
/// line, so nobody can prepare a file.
fn boundary() -> String {
    let number = || RandomState::new().hash_one(0);
    format!("{:016x}{:016x}", number(), number())
}

const INDEX: &str = "index.html";

/// The time between two equal lines in the log.
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_told_once_a_second() {
        let told = Cell::new(None);
        let start = Instant::now();
        let millis = [0, 1, 999, 1_000, 1_500, 1_999, 2_000, 9_000];
        let tells = millis.map(|ms| may_tell(&told, start + Duration::from_millis(ms)));
        let expected = [true, false, false, true, false, false, true, true];
        assert_eq!(tells, expected);
    }

    #[test]
    fn text_says_its_encoding() {
        for (name, kind) in [
            ("a.html", "text/html; charset=utf-8"),
            ("a.TXT", "text/plain; charset=utf-8"),
            ("a.css", "text/css; charset=utf-8"),
            ("a.js", "text/javascript; charset=utf-8"),
            ("a.json", "application/json"),
            ("a.wasm", "application/wasm"),
            ("a.svg", "image/svg+xml"),
            ("a.tar.gz", "application/gzip"),
            ("a", "application/octet-stream"),
            ("html", "application/octet-stream"),
            ("a.nosuchtype", "application/octet-stream"),
        ] {
            assert_eq!(content_type(Path::new(name)), kind, "{name}");
        }
    }

    #[test]
    fn parts_have_a_head_each_and_an_end_after_all() {
        let pieces = multipart_pieces(&[0..1, 5..10], "text/plain", 20, "B");
        let head = |text: &str| Piece::Bytes(text.as_bytes().to_vec());
        assert_eq!(
            pieces,
            [
                head("--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-0/20\r\n\r\n"),
                Piece::File(0..1),
                head("\r\n--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 5-9/20\r\n\r\n"),
                Piece::File(5..10),
                head("\r\n--B--\r\n"),
            ]
        );
        assert_ne!(boundary(), boundary());
    }
}
