//! A file, or parts of one, as the body of a response.
//!
//! The peer takes one piece at a time, so a download of any size holds one piece. A piece in the
//! kernel's cache costs a copy. The loop waits for a piece from a disk; the kernel reads ahead,
//! because the pieces come in order.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use ebbtide::{BodyContext, Fill, Source};

/// A part of the body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Bytes in memory.
    Bytes(Vec<u8>),
    /// A range of the file.
    File(Range<u64>),
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(range) => range.end - range.start,
        }
    }
}

/// Sends pieces of a file. A file that became shorter fails the body, so that no client takes the
/// part for the whole.
#[derive(Debug)]
pub(super) struct FileBody {
    file: File,
    pieces: VecDeque<Piece>,
}

impl FileBody {
    pub(super) fn new(file: File, pieces: impl IntoIterator<Item = Piece>) -> Self {
        Self {
            file,
            pieces: pieces.into_iter().collect(),
        }
    }

    /// Returns how many bytes the body has.
    pub(super) fn len(&self) -> u64 {
        self.pieces.iter().map(Piece::len).sum()
    }

    /// Appends the next bytes, some tens of KiB at most.
    fn read(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        while out.len() < PIECE
            && let Some(piece) = self.pieces.front_mut()
        {
            match piece {
                Piece::Bytes(bytes) => out.append(bytes),
                Piece::File(range) => {
                    let room = (PIECE - out.len()) as u64;
                    let length = room.min(range.end - range.start) as usize; // at most `PIECE`
                    read_at(&self.file, range.start, length, out)?;
                    range.start += length as u64;
                    if range.start < range.end {
                        continue;
                    }
                }
            }
            self.pieces.pop_front();
        }
        Ok(())
    }
}

impl Source for FileBody {
    fn fill(&mut self, out: &mut Vec<u8>, _: &BodyContext<'_>) -> Fill {
        match self.read(out) {
            Ok(()) if self.pieces.is_empty() => Fill::Done,
            Ok(()) => Fill::More,
            Err(error) => {
                log::warn!("a download is broken off: {error}");
                Fill::Failed
            }
        }
    }
}

/// Appends exactly `length` bytes of a file.
///
/// # Errors
///
/// [`io::ErrorKind::UnexpectedEof`]: the file has become shorter.
pub(super) fn read_at(file: &File, at: u64, length: usize, out: &mut Vec<u8>) -> io::Result<()> {
    let begin = out.len();
    out.resize(begin + length, 0);
    file.read_exact_at(&mut out[begin..], at)
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                io::Error::new(error.kind(), "the file has become shorter meanwhile")
            }
            _ => error,
        })
}

/// The bytes of one read: the most that one connection holds.
pub(super) const PIECE: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::files::scratch::Scratch;

    fn collect(body: &mut FileBody) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while !body.pieces.is_empty() {
            let mut piece = Vec::new();
            body.read(&mut piece)?;
            assert!(!piece.is_empty() && piece.len() <= PIECE);
            all.append(&mut piece);
        }
        Ok(all)
    }

    #[test]
    fn pieces_come_in_order_and_whole() {
        let tree = Scratch::new();
        let path = tree.path().join("file");
        let content: Vec<u8> = (0..3 * PIECE + 7).map(|i| (i % 251) as u8).collect();
        fs::write(&path, &content).unwrap();
        let length = content.len() as u64;
        for range in [0..length, 5..6, 1..length - 1, 0..PIECE as u64] {
            let expected = &content[range.start as usize..range.end as usize];
            let file = File::open(&path).unwrap();
            let mut body = FileBody::new(
                file,
                [
                    Piece::Bytes(b"head ".to_vec()),
                    Piece::File(range),
                    Piece::Bytes(b" tail".to_vec()),
                ],
            );
            let length = body.len();
            let sent = collect(&mut body).unwrap();
            assert_eq!(sent.len() as u64, length);
            assert!(sent == [b"head ", expected, b" tail"].concat());
        }
    }

    #[test]
    fn a_file_that_becomes_shorter_fails_and_one_that_grows_does_not() {
        let tree = Scratch::new();
        let path = tree.path().join("file");
        let length = 2 * PIECE as u64;
        for (becomes, well) in [(length - 1, false), (0, false), (length + 1, true)] {
            File::create(&path).unwrap().set_len(length).unwrap();
            let file = File::open(&path).unwrap();
            let mut body = FileBody::new(file, [Piece::File(0..length)]);
            body.read(&mut Vec::new()).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            file.set_len(becomes).unwrap();
            let rest = collect(&mut body).map(|rest| rest.len());
            let kind = rest.map_err(|error| error.kind());
            let expected = if well {
                Ok(PIECE)
            } else {
                Err(io::ErrorKind::UnexpectedEof)
            };
            assert_eq!(kind, expected, "{becomes}");
        }
    }
}
