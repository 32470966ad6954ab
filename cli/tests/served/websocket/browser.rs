//! A real browser: Chromium, headless, driven by its DevTools protocol.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use ebbtide_needs::needs;
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use super::others::Lines;
use super::support::PATIENCE;
use super::support::child::Child;
use super::support::served::Served;

/// The variable that names the browser, if it has another name.
const OTHER_BROWSER: &str = "CHROMIUM";

/// A browser with one page. Dropping it ends the browser by its id.
struct Browser {
    process: Child,
    profile: PathBuf,
    tools: WebSocket<TcpStream>,
    session: String,
    commands: u64,
}

impl Browser {
    /// Starts the browser.
    fn start() -> Self {
        let name = env::var_os(OTHER_BROWSER).unwrap_or_else(|| OsString::from("chromium"));
        let number = std::process::id();
        let profile = env::temp_dir().join(format!("ebbtide-browser-{number}"));
        fs::create_dir_all(&profile).expect("a directory for the profile");
        let mut process = Child::start(
            Command::new(name)
                .args(FLAGS)
                .arg(format!("--user-data-dir={}", profile.display()))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped()),
        );
        let lines = Lines::of(process.stderr.take().expect("it is piped"));
        let url = loop {
            let line = lines
                .next()
                .expect("the browser prints the address of its tools");
            if let Some(url) = line.strip_prefix("DevTools listening on ") {
                break url.to_owned();
            }
        };
        let host = url.strip_prefix("ws://").expect("an address");
        let (addr, _) = host.split_once('/').expect("a path");
        let stream = TcpStream::connect(addr).expect("the tools listen");
        stream
            .set_read_timeout(Some(3 * PATIENCE))
            .expect("a timeout");
        let (tools, _) = tungstenite::client(&url, stream).expect("the tools are a WebSocket");
        let mut browser = Self {
            process,
            profile,
            tools,
            session: String::new(),
            commands: 0,
        };
        let target = browser.command("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.command("Target.attachToTarget", &attach);
        browser.session = session["sessionId"].as_str().expect("a session").to_owned();
        browser
    }

    /// Sends a command of the protocol, and returns the result.
    fn command(&mut self, method: &str, params: &Value) -> Value {
        self.commands += 1;
        let id = self.commands;
        let mut command = json!({"id": id, "method": method, "params": params});
        if !self.session.is_empty() {
            command["sessionId"] = json!(self.session);
        }
        self.tools
            .send(Message::text(command.to_string()))
            .expect("the tools");
        loop {
            let answer = self.tools.read().expect("the tools answer");
            let answer: Value = serde_json::from_slice(&answer.into_data()).expect("JSON");
            if answer["id"] == id {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    /// Opens a page, and waits until the page has loaded.
    fn open(&mut self, url: &str) {
        self.command("Page.enable", &json!({}));
        self.command("Page.navigate", &json!({"url": url}));
        let loaded = "new Promise(done => document.readyState === 'complete' ? done(location.href) \
                      : addEventListener('load', () => done(location.href)))";
        for _ in 0..100 {
            if self.evaluate(loaded) == url {
                return;
            }
        }
        panic!("the page does not load");
    }

    /// Evaluates a script in the page, and returns the value of its promise.
    fn evaluate(&mut self, script: &str) -> Value {
        let params = json!({"expression": script, "awaitPromise": true, "returnByValue": true});
        let result = self.command("Runtime.evaluate", &params);
        assert!(result["exceptionDetails"].is_null(), "{script}: {result}");
        result["result"]["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.process.kill();
        let _ = fs::remove_dir_all(&self.profile);
    }
}

#[needs("Chromium", "${CHROMIUM:-chromium} --version")]
#[test]
fn a_browser_talks_and_hears_1001() {
    let mut browser = Browser::start();
    let served = Served::start(&["--report", "json"]);
    let addr = served.addr();

    // A page of another origin may not connect.
    let refused = browser.evaluate(&format!(
        "new Promise(done => {{ const s = new WebSocket('ws://{addr}/ws');\n\
         s.onopen = () => done('open'); s.onclose = e => done(e.code); }})"
    ));
    assert_eq!(refused, 1006);

    browser.open(&format!("http://{addr}/plaintext"));
    let talk = "new Promise((done, fail) => {\n\
         const socket = new WebSocket(`ws://${location.host}/ws`, ['other', 'echo']);\n\
         socket.binaryType = 'arraybuffer';\n\
         window.ending = new Promise(end => {\n\
           socket.onclose = e => end([e.code, e.reason, e.wasClean]);\n\
         });\n\
         const got = [];\n\
         socket.onerror = () => fail('an error');\n\
         socket.onopen = () => {\n\
           got.push(socket.protocol, socket.extensions);\n\
           socket.send('héllo'); socket.send(''); socket.send('x'.repeat(200000));\n\
           socket.send(new Uint8Array(100000).fill(7));\n\
         };\n\
         socket.onmessage = e => {\n\
           got.push(typeof e.data === 'string' ? e.data.length\n\
             : new Uint8Array(e.data).every(b => b === 7) && e.data.byteLength);\n\
           if (got.length === 6) done(got);\n\
         };\n\
       })";
    assert_eq!(
        browser.evaluate(talk),
        json!(["echo", "", 5, 0, 200_000, 100_000])
    );

    served.terminate();
    let closed = browser.evaluate("window.ending");
    assert_eq!(closed, json!([1001, "the server is stopping", true]));
    let (_, report) = served.wait_report(0);
    assert_eq!(
        (report.upgraded(), report.dismissed(), report.aborted()),
        (1, 0, 0)
    );
}

/// Turns off the display, the sandbox (which fails for root), and the browser's own traffic.
const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-port=0",
    "about:blank",
];
