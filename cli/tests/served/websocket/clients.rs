//! Clients that others wrote, against `ebbtide serve`: the library tungstenite, and Node's
//! WebSocket.

use std::io;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ebbtide_needs::needs;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Bytes, Error, Message, WebSocket};

use super::others::Lines;
use super::support::PATIENCE;
use super::support::child::Child;
use super::support::served::Served;

/// Returns a client of tungstenite.
fn connect(served: &Served) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(served.addr()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    let url = format!("ws://{}/ws", served.addr());
    let config = WebSocketConfig::default().max_message_size(Some(32 << 20));
    let config = config.max_frame_size(Some(32 << 20));
    let client = tungstenite::client::client_with_config(url, stream, Some(config));
    let (client, response) = client.unwrap();
    assert_eq!(response.status(), 101);
    client
}

/// Waits for the end of the connection; returns the code of the server's Close.
fn closed(client: &mut WebSocket<TcpStream>) -> Option<CloseCode> {
    let mut code = None;
    loop {
        match client.read() {
            Ok(Message::Close(frame)) => code = frame.map(|frame| frame.code),
            Ok(other) => panic!("{other:?}"),
            Err(Error::ConnectionClosed) => return code,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn messages_of_every_size_come_back() {
    let served = Served::start(&["--report", "json"]);
    let mut client = connect(&served);
    for length in [0, 1, 125, 126, 65_535, 65_536, 1 << 20, 16 << 20] {
        let text = "é".repeat(length / 2);
        client.send(Message::text(text.clone())).unwrap();
        assert!(
            client.read().unwrap().into_text().unwrap() == text,
            "{length} of text"
        );
        let bytes = Bytes::from(vec![7; length]);
        client.send(Message::Binary(bytes.clone())).unwrap();
        assert!(
            client.read().unwrap().into_data() == bytes,
            "{length} bytes"
        );
    }
    client
        .send(Message::Ping(Bytes::from_static(b"?")))
        .unwrap();
    assert_eq!(
        client.read().unwrap(),
        Message::Pong(Bytes::from_static(b"?"))
    );
    client.close(None).unwrap();
    assert_eq!(closed(&mut client), None);
    served.terminate();
    let (_, report) = served.wait_report(0);
    assert_eq!(report.upgraded(), 1);
}

#[test]
fn a_message_that_is_in_the_kernel_at_the_signal_is_answered() {
    let served = Served::start(&["--report", "json"]);
    let mut client = connect(&served);
    client.send(Message::text("first")).unwrap();
    assert_eq!(client.read().unwrap(), Message::text("first"));
    served.terminate_after(|| client.send(Message::text("last")).unwrap());
    assert_eq!(client.read().unwrap(), Message::text("last"));
    assert_eq!(closed(&mut client), Some(CloseCode::Away));
    drop(client);
    let (_, report) = served.wait_report(0);
    assert_eq!((report.dismissed(), report.aborted()), (0, 0));
}

#[test]
fn three_hundred_at_once_each_get_their_own() {
    let served = Served::start(&[]);
    let mut clients: Vec<_> = (0..300).map(|_| connect(&served)).collect();
    for round in 0..5 {
        for (n, client) in clients.iter_mut().enumerate() {
            client.send(Message::text(format!("{n} {round}"))).unwrap();
        }
        for (n, client) in clients.iter_mut().enumerate() {
            assert_eq!(
                client.read().unwrap(),
                Message::text(format!("{n} {round}"))
            );
        }
    }
}

#[test]
fn a_message_beyond_the_limit_is_closed_with_1009() {
    let served = Served::start(&[]);
    let mut client = connect(&served);
    let long = vec![0; (16 << 20) + 1];
    // The server may close before the client has sent the message.
    match client.send(Message::binary(long)) {
        Ok(()) | Err(Error::Io(_)) => {}
        Err(error) => panic!("{error}"),
    }
    match client.read() {
        Ok(Message::Close(Some(frame))) => assert_eq!(frame.code, CloseCode::Size),
        Err(Error::Io(error)) if error.kind() == io::ErrorKind::ConnectionReset => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn at_a_drain_everybody_hears_1001_and_the_server_ends_with_their_answers() {
    let served = Served::start(&["--report", "json"]);
    let mut clients: Vec<_> = (0..200).map(|_| connect(&served)).collect();
    for client in &mut clients {
        client.send(Message::text("hello")).unwrap();
        assert_eq!(client.read().unwrap(), Message::text("hello"));
    }
    let signalled = Instant::now();
    served.terminate();
    for client in &mut clients {
        assert_eq!(closed(client), Some(CloseCode::Away));
    }
    let told = signalled.elapsed();
    let (exit, report) = served.wait_report(0);
    let took = exit.at.duration_since(signalled);
    assert!(told < Duration::from_secs(2), "{told:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!((report.upgraded(), report.dismissed()), (200, 0));
}

#[test]
fn at_a_drain_a_client_that_says_nothing_is_not_waited_for_for_long() {
    let served = Served::start(&["--report", "json"]);
    let client = connect(&served);
    let signalled = Instant::now();
    served.terminate();
    let (exit, report) = served.wait_report(0);
    let took = exit.at.duration_since(signalled);
    let limit = Duration::from_secs(3);
    assert!(
        took >= limit && took < limit + Duration::from_secs(2),
        "{took:?}"
    );
    assert_eq!(report.dismissed(), 0);
    drop(client);
}

/// Node has a WebSocket since version 22, and behind a flag since 20.
#[needs(
    "Node with a WebSocket",
    "node --experimental-websocket -e 'process.exit(typeof WebSocket == typeof Map ? 0 : 1)'"
)]
#[test]
fn node_talks_and_hears_1001() {
    let served = Served::start(&["--report", "json"]);
    let script = format!(
        "const s = new WebSocket('ws://{}/ws', ['other', 'echo']);\n\
         s.binaryType = 'arraybuffer';\n\
         s.onopen = () => s.send('héllo');\n\
         s.onmessage = (e) => {{\n\
           if (typeof e.data === 'string') {{\n\
             console.log(s.protocol, e.data); s.send(new Uint8Array(70000).fill(7));\n\
           }} else {{\n\
             console.log(new Uint8Array(e.data).filter((b) => b === 7).length);\n\
           }}\n\
         }};\n\
         s.onclose = (e) => {{ console.log(e.code, e.reason, e.wasClean); }};\n\
         s.onerror = (e) => {{ console.log('error', e.message); }};\n",
        served.addr()
    );
    let mut node = Command::new("node");
    node.args(["--experimental-websocket", "-e", &script]);
    let mut node = Child::start(node.stdout(Stdio::piped()).stderr(Stdio::null()));
    let output = Lines::of(node.stdout.take().unwrap());
    assert_eq!(output.next().as_deref(), Some("echo héllo"));
    assert_eq!(output.next().as_deref(), Some("70000"));
    served.terminate();
    let last = output.next();
    assert_eq!(last.as_deref(), Some("1001 the server is stopping true"));
    assert!(node.wait(PATIENCE).expect("an end").status.success());
    let (_, report) = served.wait_report(0);
    assert_eq!(report.dismissed(), 0);
}
