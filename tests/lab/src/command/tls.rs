//! A client of rustls's on a blocking socket, which sees how a connection ends on both layers.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use crate::response::{Response, receive};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::PATIENCE;

/// A connection.
pub struct Client {
    stream: StreamOwned<ClientConnection, TcpStream>,
    /// Bytes that were read behind the last response.
    ahead: Vec<u8>,
}

/// How the server ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// close_notify, and then a FIN.
    Clean,
    /// A FIN without a close_notify.
    Torn,
    /// A reset.
    Reset,
}

impl Client {
    /// Connects, and leaves the handshake to the first exchange.
    pub fn connect(addr: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        Self::asking_for(addr, config, "localhost")
    }

    pub fn asking_for(addr: SocketAddr, config: &Arc<ClientConfig>, name: &'static str) -> Self {
        let socket = TcpStream::connect(addr).expect("connect");
        socket.set_nodelay(true).expect("nodelay");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        let name = ServerName::try_from(name).expect("a name");
        let connection = ClientConnection::new(Arc::clone(config), name).expect("a client");
        Self {
            stream: StreamOwned::new(connection, socket),
            ahead: Vec::new(),
        }
    }

    pub fn tls(&mut self) -> &mut ClientConnection {
        &mut self.stream.conn
    }

    /// Returns the socket alone, of a connection that will send no more.
    pub fn into_socket(self) -> TcpStream {
        self.stream.sock
    }

    pub fn socket(&mut self) -> &mut TcpStream {
        &mut self.stream.sock
    }

    /// Completes the handshake, and then sends.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("write");
    }

    /// Encrypts bytes into records, which a test can send in pieces.
    pub fn records(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.tls().writer().write_all(bytes).expect("it is kept");
        let mut records = Vec::new();
        while self.tls().wants_write() {
            self.tls().write_tls(&mut records).expect("into a vector");
        }
        records
    }

    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.socket().write_all(bytes).expect("write");
    }

    /// Reads one final response.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        receive(&mut self.stream, &mut self.ahead).expect("a response")
    }

    #[track_caller]
    pub fn exchange(&mut self, request: &[u8]) -> Response {
        self.send(request);
        self.response()
    }

    /// Reads to the end. Returns the bytes before it, and how the server ended.
    #[track_caller]
    pub fn end(&mut self) -> (Vec<u8>, End) {
        let mut bytes = std::mem::take(&mut self.ahead);
        let end = match self.stream.read_to_end(&mut bytes) {
            Ok(_) => match self.socket().read(&mut [0; 1]) {
                Ok(0) => End::Clean,
                other => panic!("{other:?} behind the close_notify"),
            },
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => End::Torn,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => End::Reset,
            Err(error) => panic!("{error}"),
        };
        (bytes, end)
    }

    /// Asserts that only a close_notify and a FIN come.
    #[track_caller]
    pub fn assert_ends(&mut self) {
        assert_eq!(self.end(), (Vec::new(), End::Clean));
    }
}

/// Lets clients of other protocols use the connection; not together with [`Client::response`].
impl Read for Client {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
