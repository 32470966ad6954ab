//! A server for tests whose loop stands still, as when a handler does not return.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use ebbtide::{Connection, Handle, Request, Response, Running, Server, StatusQuery};

/// The server, whose handler waits in every request until the test releases it.
pub(super) struct Held {
    served: Running,
    holding: Receiver<()>,
    release: Sender<()>,
    client: TcpStream,
}

impl Held {
    pub(super) fn start() -> Self {
        let (tell, holding) = channel();
        let (release, released) = channel();
        let handler = move |_: &Request<'_>| {
            tell.send(()).unwrap();
            released.recv().unwrap();
            Response::new(204)
        };
        let served = Server::bind("127.0.0.1:0").unwrap().spawn(handler).unwrap();
        Self {
            client: TcpStream::connect(served.local_addr().unwrap()).unwrap(),
            served,
            holding,
            release,
        }
    }

    pub(super) fn handle(&self) -> Handle {
        self.served.handle().clone()
    }

    /// Returns the client's connection, as the server sees it.
    pub(super) fn connection(&mut self) -> Connection {
        self.hold();
        self.release(); // the loop then knows the connection
        let query = StatusQuery::new().all(true).take(1);
        let asked = self.served.handle().status(query, Duration::from_secs(10));
        asked.unwrap().connections.remove(0)
    }

    /// Waits until the loop stands still.
    pub(super) fn hold(&mut self) {
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        self.client.write_all(request).unwrap();
        self.holding.recv().unwrap();
    }

    /// Lets the loop go on, and waits for its response.
    pub(super) fn release(&mut self) {
        self.release.send(()).unwrap();
        assert_eq!(self.client.read(&mut [0]).unwrap(), 1);
    }
}
