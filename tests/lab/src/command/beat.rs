//! The pace of peers that are slow on purpose.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::{PATIENCE, get};

/// A stream of the server whose pieces are the beats. The server's own timer sets the pace, so that
/// a machine that is late delays both sides.
#[derive(Debug)]
pub struct Metronome(BufReader<TcpStream>);

impl Metronome {
    /// Asks for this number of beats. The first comes at once.
    pub fn start(addr: SocketAddr, beats: usize, every: Duration) -> Self {
        let mut stream = TcpStream::connect(addr).expect("connect");
        let patience = Some(every + PATIENCE);
        stream.set_read_timeout(patience).expect("a timeout");
        let request = get(&format!("/stream/{beats}/{}", every.as_millis()));
        stream.write_all(&request).expect("write");
        Self(BufReader::new(stream))
    }

    /// Waits for the next beat.
    #[track_caller]
    pub fn beat(&mut self) {
        let mut line = String::new();
        while !line.starts_with("chunk ") {
            line.clear();
            let length = self.0.read_line(&mut line).expect("a beat in time");
            assert_ne!(length, 0, "no more beats");
        }
    }
}
