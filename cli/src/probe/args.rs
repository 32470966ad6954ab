//! The arguments of `ebbtide probe`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::state::State;
use crate::values;

/// Show how an HTTP/1.1 server drains: what clients in each state see when the server must stop.
///
/// Starts the server by its command once for each state, brings connections into that state, sends
/// the signal, and watches until everything has ended. {port} in the command becomes a free port,
/// which is also in the environment as PORT. The default command is ebbtide serve.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[command(after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Probe {
    /// Command that starts the server and stays in the foreground. Write -- before a command that
    /// begins with a dash
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    pub command: Vec<String>,

    #[command(flatten)]
    pub server: Target,
    #[command(flatten)]
    pub course: Course,
    #[command(flatten)]
    pub output: Output,
}

/// The server to probe, and its paths.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "The server")]
pub(crate) struct Target {
    /// Address of the server, such as http://127.0.0.1:3000, unless the server listens on the free
    /// port
    #[arg(long, value_name = "URL", value_parser = url)]
    pub url: Option<SocketAddr>,

    /// Process id of a server that runs already; needs --url. The probe sends one signal and
    /// nothing else, so it probes all states at once, except states that need a frozen server
    #[arg(long, value_name = "PID", value_parser = process)]
    pub pid: Option<i32>,

    /// Path that the server answers at once, by GET [default: /, or /plaintext of ebbtide serve]
    #[arg(long, value_name = "PATH", value_parser = target)]
    pub path: Option<String>,

    /// Path whose response takes at least two --settle, by GET. The states handler and pipelined
    /// need this path [default: /delay/400 of ebbtide serve]
    #[arg(long, value_name = "PATH", value_parser = target)]
    pub slow_path: Option<String>,

    /// Path whose response comes in pieces over at least two --settle, by GET. The state streaming
    /// needs this path [default: /stream/10/50 of ebbtide serve]
    #[arg(long, value_name = "PATH", value_parser = target)]
    pub stream_path: Option<String>,

    /// Path that takes a POST. The state half-body needs this path [default: /echo of ebbtide
    /// serve]
    #[arg(long, value_name = "PATH", value_parser = target)]
    pub upload_path: Option<String>,

    /// File with the body of the POST to --upload-path, up to 64MiB; by default 1,024 letters
    #[arg(long, value_name = "FILE")]
    pub upload_file: Option<PathBuf>,

    /// Field for every request, such as a Host, a Content-Type or an Authorization; may be given
    /// several times
    #[arg(long, value_name = "NAME: VALUE", value_parser = field)]
    pub header: Vec<String>,
}

/// The course of the probe.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "The probe")]
pub(crate) struct Course {
    /// Signal that starts the drain. Supervisors send TERM; nginx needs QUIT
    #[arg(long, value_name = "NAME", default_value = "TERM", value_parser = values::signal)]
    pub signal: i32,

    /// Send the signal to all processes of the server, as Ctrl-C does, not only to the first one
    #[arg(long)]
    pub group: bool,

    /// Longest wait for the end after the signal, for each state; the probe then kills the server
    /// and reports a hang. The default is well above the time of a request
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = within::<60_000>)]
    pub deadline: Duration,

    /// States to probe, with commas between; all by default
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_enum)]
    #[arg(hide_possible_values = true)]
    pub states: Vec<State>,

    /// Use one server for all states, as in real life. A server for each state, the default, shows
    /// the state that held up the stop
    #[arg(long)]
    pub together: bool,

    /// Connections in each state, up to 256
    #[arg(long, value_name = "N", default_value = "8", value_parser = values::client_count)]
    pub connections: u16,

    /// Time before the signal for the server to notice the state. The default is long enough for a
    /// connection to count as idle
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = within::<10_000>)]
    pub settle: Duration,

    /// Time from the signal to the rest of a half-sent request
    #[arg(long, value_name = "DURATION", default_value = "300ms", value_parser = within::<60_000>)]
    pub pause: Duration,

    /// Longest time for the server to come up
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = within::<300_000>)]
    pub start_timeout: Duration,
}

/// The form of the result.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Output {
    /// Draw each connection over time into an .svg or .html file
    #[arg(long, value_name = "FILE", value_parser = picture)]
    pub timeline: Option<PathBuf>,

    /// Print the whole report as JSON instead of the table
    #[arg(long)]
    pub json: bool,
}

impl Probe {
    /// Checks that the flags fit together, and returns them.
    ///
    /// # Errors
    ///
    /// Returns one line with the flag and the mistake.
    pub(crate) fn checked(self) -> Result<Self, String> {
        if self.course.pause >= self.course.deadline {
            return Err("--pause: must be shorter than --deadline, which covers it".into());
        }
        if self.server.pid.is_some() && self.server.url.is_none() {
            return Err("--pid: needs an address; give --url http://127.0.0.1:3000".into());
        }
        if self.server.pid.is_some() && !self.command.is_empty() {
            return Err("--pid: names a server that runs; leave out the command".into());
        }
        if self.server.pid.is_some() && self.course.group {
            return Err("--group: needs a server that the probe starts; leave out --pid".into());
        }
        if self.server.url.is_some() && self.server.pid.is_none() && self.command.is_empty() {
            return Err("--url: needs a server; give its command or --pid".into());
        }
        let together = self.course.together || self.server.pid.is_some();
        if together && self.course.states == [State::Empty] {
            return Err("--states: empty needs a server of its own; leave out --together".into());
        }
        Ok(self)
    }
}

/// Reads an `http://` URL without a path. Looks names up, because the user chose them.
fn url(text: &str) -> Result<SocketAddr, String> {
    use std::net::ToSocketAddrs;
    let wrong = || format!("{text:?} is not an address to probe; write http://127.0.0.1:3000");
    let (scheme, place) = text.split_once("://").ok_or_else(wrong)?;
    if scheme != "http" {
        return Err(format!("{text:?} is {scheme}; only http:// is probed"));
    }
    let place = place.strip_suffix('/').unwrap_or(place);
    if place.contains(['/', '?', '#']) {
        return Err(format!("{text:?} has a path; give the path by --path"));
    }
    let mut found = match place.to_socket_addrs() {
        Ok(found) => found,
        // std needs a port.
        Err(_) => (place, 80).to_socket_addrs().map_err(|_| wrong())?,
    };
    let found = found.next().ok_or_else(wrong)?;
    match found.ip().is_unspecified() || found.port() == 0 {
        true => Err(wrong()),
        false => Ok(found),
    }
}

/// Reads a process id that is neither the first process nor a group.
fn process(text: &str) -> Result<i32, String> {
    match values::number(text) {
        Some(pid) if pid > 1 => Ok(pid),
        _ => Err(format!(
            "{text:?} is not the id of a process to probe; write a number like 4242"
        )),
    }
}

/// Reads what can follow the method in a request line.
fn target(text: &str) -> Result<String, String> {
    let path = text.split('?').next().unwrap_or_default();
    values::path(path)?;
    match text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'#')
    {
        true => Ok(text.into()),
        false => Err(format!(
            "{text:?} is not a path; write it like /slow?ms=300"
        )),
    }
}

/// Reads a field of a request, as it is on the wire.
fn field(text: &str) -> Result<String, String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let right = text.split_once(':').is_some_and(|(name, _)| {
        !name.is_empty()
            && name.bytes().all(token)
            && !OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours))
    });
    match right && !text.contains(|char: char| char.is_control()) {
        true => Ok(text.into()),
        false => Err(format!(
            "{text:?} is not a field that can be added; write \"Authorization: Bearer x\""
        )),
    }
}

/// Reads a duration from 1 ms to `MOST`.
fn within<const MOST: u64>(text: &str) -> Result<Duration, String> {
    let duration = values::duration(text)?;
    let most = Duration::from_millis(MOST);
    match (Duration::from_millis(1)..=most).contains(&duration) {
        true => Ok(duration),
        false => {
            let most = humantime::format_duration(most);
            Err(format!("{text:?} is not from 1ms to {most}"))
        }
    }
}

/// Reads a file name whose extension gives the kind of picture.
fn picture(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("svg" | "html") => Ok(path),
        _ => Err(format!("{text:?} is neither an .svg nor an .html file")),
    }
}

/// The fields that the probe writes itself, to know where a request ends.
const OURS: [&str; 4] = [
    "Content-Length",
    "Transfer-Encoding",
    "Connection",
    "Expect",
];

const AFTER_HELP: &str = "\
States, each with --connections clients:
  empty           no client is connected; shows the time of a bare stop
  fresh           connected, nothing sent
  idle            between two requests
  unread          the next request lies unread in the server's socket (SIGSTOP, the request, the
                  signal, SIGCONT)
  half-head       the first head is half sent; the rest follows --pause after the signal
  half-next-head  the same after a complete request
  half-body       the head and half of the body are sent; the rest follows
  handler         the server works on the request
  streaming       a response is arriving in pieces
  pipelined       three requests in one write; the server works on the first
  backlog         connected, the request written, not accepted yet (by SIGSTOP, as above)
  busy            sends the next request as soon as a response is complete
  connecting      connects anew for each request

Examples:
  ebbtide probe
      ebbtide serve itself
  ebbtide probe --slow-path '/report?rows=9' --timeline drain.svg -- node server.js --port {port}
      A server that takes its port by a flag; $PORT is set as well
  ebbtide probe --signal QUIT --url http://127.0.0.1:8080 -- nginx -c /etc/nginx/probe.conf
      A server with a port of its own (here with `daemon off`)
  ebbtide probe --pid 4242 --url http://127.0.0.1:3000 --json
      A server that runs, all states at once

Exit codes:
  0  nothing was lost
  1  a request was lost or a response torn, or the server was still there at the deadline
  2  bad usage, or nothing to probe: the server did not come up, ended early, spoke no HTTP, or
     reached none of the states; or stdout could not be written";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_an_address() {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(url("http://127.0.0.1:3000"), Ok(local(3000)));
        assert_eq!(url("http://127.0.0.1:3000/"), Ok(local(3000)));
        assert_eq!(url("http://127.0.0.1"), Ok(local(80)));
        assert_eq!(url("http://[::1]:80"), Ok("[::1]:80".parse().unwrap()));
        for text in [
            "127.0.0.1:80",
            "https://127.0.0.1",
            "http://127.0.0.1:80/path",
            "http://0.0.0.0:80",
            "http://127.0.0.1:0",
            "http://",
        ] {
            assert!(url(text).is_err(), "{text}");
        }
        let error = |text: &str| url(text).unwrap_err();
        assert!(error("https://127.0.0.1").ends_with("is https; only http:// is probed"));
        for text in [
            "http://127.0.0.1:80/a",
            "http://127.0.0.1:80//",
            "http://a/?b",
        ] {
            assert!(error(text).ends_with("by --path"), "{text}");
        }
    }

    #[test]
    fn the_first_process_and_groups_are_left_alone() {
        assert_eq!(process("4242"), Ok(4242));
        for text in ["1", "0", "-1", "+42", "-4242", "nginx", "4294967296", ""] {
            assert!(process(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_target_fits_a_request_line() {
        for text in ["/", "/slow?ms=300&x=/?"] {
            assert_eq!(target(text), Ok(text.into()));
        }
        for text in ["", "slow", "?x", "/a b", "/a?b c", "/a#b", "/a?\r\n"] {
            assert!(target(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_field_cannot_end_the_head() {
        for text in ["Host: example.org", "X:", "Authorization: Bearer ü"] {
            assert_eq!(field(text), Ok(text.into()));
        }
        for text in [
            "Host",
            ": x",
            "A B: c",
            "A: b\r\nC: d",
            "content-length: 3",
            "Expect: 100-continue",
        ] {
            assert!(field(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_is_bounded() {
        assert_eq!(within::<1_000>("1s"), Ok(Duration::from_secs(1)));
        for text in ["0s", "1001ms", "1day", "5"] {
            assert!(within::<1_000>(text).is_err(), "{text}");
        }
    }
}
