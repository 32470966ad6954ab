//! `ebbtide ctl` shows the state of a running server, stops it, and waits until it has gone.

pub(crate) mod args;
mod client;
mod show;

use std::env;
use std::fmt;
use std::io::{self, ErrorKind};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use self::args::{Ask, Ctl};
use self::client::{Client, Connection, Response, Unreachable};
use crate::admin::args::Place;
use crate::screen::say;
use crate::stdout;
use crate::token::Token;

/// Carries out the arguments and returns the exit code.
pub(super) fn ctl(args: &Ctl) -> ExitCode {
    match carry_out(args) {
        Ok(text) => {
            let printed = stdout::print(&text);
            printed.map_or_else(|code| code, |()| ExitCode::SUCCESS)
        }
        Err(failure) => {
            say(&format!("ebbtide ctl: {failure}"));
            ExitCode::from(failure.code())
        }
    }
}

/// The reason why the command failed.
#[derive(Debug)]
enum Failure {
    /// The arguments, the environment or the token file are wrong.
    Usage(String),
    /// The server refused.
    Refused(Response),
    /// The server is still there.
    StillThere(Duration),
    /// The server does not answer.
    Unreachable(Place, Unreachable),
    /// Something else answers.
    Unknown(Place, serde_json::Error),
}

impl Failure {
    const fn code(&self) -> u8 {
        match self {
            Self::Refused(_) | Self::StillThere(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(..) | Self::Unknown(..) => 3,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(why) => f.write_str(why),
            Self::Refused(response) => {
                let why = String::from_utf8_lossy(&response.body);
                write!(f, "the server answers {}: {}", response.status, why.trim())?;
                match response.status {
                    401 => f.write_str("; give --token-file"),
                    _ => Ok(()),
                }
            }
            Self::StillThere(time) => {
                let time = humantime::format_duration(*time);
                write!(f, "the server has not gone within {time}")
            }
            Self::Unreachable(place, why) => write!(f, "cannot reach {place}: {why}"),
            Self::Unknown(place, why) => {
                write!(f, "cannot understand the response of {place}: {why}")
            }
        }
    }
}

fn carry_out(args: &Ctl) -> Result<String, Failure> {
    args.check().map_err(Failure::Usage)?;
    let token = args.token_file.as_deref().map(Token::read).transpose();
    let client = Client {
        place: place(args)?,
        token: token.map_err(|why| Failure::Usage(format!("--token-file: {why}")))?,
    };
    let understood = |text: serde_json::Result<String>| {
        text.map_err(|why| Failure::Unknown(client.place.clone(), why))
    };
    match &args.ask {
        Ask::Status => {
            let body = client.get("/status")?;
            match args.json {
                true => Ok(as_it_is(&body)),
                false => understood(show::status(&body)),
            }
        }
        Ask::Connections { all, take } => {
            let all = *all;
            let target = format!("/connections?take={take}&all={}", u8::from(all));
            let body = client.get(&target)?;
            match args.json {
                true => Ok(as_it_is(&body)),
                false => understood(show::connections(&body, all)),
            }
        }
        Ask::Shutdown { wait, timeout } => {
            // The client connects before it gives the order, after which the server could be gone.
            let seen = wait.then(|| client.greet()).transpose()?;
            let body = client.post("/shutdown")?;
            if let Some(seen) = seen {
                client.wait(seen, *timeout)?;
            }
            Ok(match (args.json, wait) {
                (true, _) => as_it_is(&body),
                (false, true) => "the server has gone\n".into(),
                (false, false) => "the server drains\n".into(),
            })
        }
        Ask::Cut => {
            let body = client.post("/cut")?;
            Ok(match args.json {
                true => as_it_is(&body),
                false => "the server cuts what is left\n".into(),
            })
        }
        Ask::Wait { timeout } => {
            if let Some(seen) = client.greet_unless_gone()? {
                client.wait(seen, *timeout)?;
            }
            Ok(match args.json {
                true => String::new(),
                false => "the server has gone\n".into(),
            })
        }
    }
}

/// Returns the place of the server, from the flag or the environment.
fn place(args: &Ctl) -> Result<Place, Failure> {
    if let Some(place) = &args.admin {
        return Ok(place.clone());
    }
    let Some(text) = env::var_os(VARIABLE).filter(|text| !text.is_empty()) else {
        return Err(Failure::Usage(format!(
            "the server is missing; give --admin unix:PATH or ADDR:PORT, or set {VARIABLE}"
        )));
    };
    let text = text.to_string_lossy();
    Place::parse(&text).map_err(|why| Failure::Usage(format!("{VARIABLE}: {why}")))
}

fn as_it_is(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}

/// A server that answered, and its process.
struct Seen<'c> {
    connection: Connection<'c>,
    /// The process id; absent if the loop did not answer.
    pid: Option<u64>,
}

impl Client {
    fn get(&self, target: &str) -> Result<Vec<u8>, Failure> {
        self.ask("GET", target)
    }

    fn post(&self, target: &str) -> Result<Vec<u8>, Failure> {
        self.ask("POST", target)
    }

    fn ask(&self, method: &str, target: &str) -> Result<Vec<u8>, Failure> {
        let response = self.connect().and_then(|mut to| to.ask(method, target));
        let response = response.map_err(|why| self.unreachable(why))?;
        match response.status {
            200..300 => Ok(response.body),
            _ => Err(Failure::Refused(response)),
        }
    }

    fn unreachable(&self, why: Unreachable) -> Failure {
        Failure::Unreachable(self.place.clone(), why)
    }

    /// Connects to the server, and keeps the connection.
    fn greet(&self) -> Result<Seen<'_>, Failure> {
        self.welcomed(self.try_greet())
    }

    /// Connects to the server; returns `None` without one.
    fn greet_unless_gone(&self) -> Result<Option<Seen<'_>>, Failure> {
        for _ in 0..TRIES {
            match self.try_greet() {
                Err(Unreachable::Gone(_)) => return Ok(None),
                // A server may go during its response; another try decides.
                Err(Unreachable::Silent(error)) if broke_off(&error) => thread::sleep(PAUSE),
                greeted => return self.welcomed(greeted).map(Some),
            }
        }
        self.greet().map(Some)
    }

    fn welcomed<'c>(
        &'c self,
        greeted: Result<(Seen<'c>, Response), Unreachable>,
    ) -> Result<Seen<'c>, Failure> {
        let (seen, response) = greeted.map_err(|why| self.unreachable(why))?;
        match response.status {
            200..300 | UNAVAILABLE => Ok(seen),
            _ => Err(Failure::Refused(response)),
        }
    }

    fn try_greet(&self) -> Result<(Seen<'_>, Response), Unreachable> {
        let mut connection = self.connect()?;
        let response = connection.ask("GET", "/status")?;
        let body = serde_json::from_slice::<serde_json::Value>(&response.body);
        let pid = body.ok().and_then(|body| body["pid"].as_u64());
        Ok((Seen { connection, pid }, response))
    }

    /// Waits until the server has gone. This function watches the connection, which the end of the
    /// server closes. The server also closes idle connections, so another try to connect decides.
    fn wait<'c>(&'c self, mut seen: Seen<'c>, limit: Option<Duration>) -> Result<(), Failure> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        let still = || Failure::StillThere(limit.unwrap_or_default());
        loop {
            if !seen.connection.closes(deadline) {
                return Err(still());
            }
            loop {
                match self.try_greet() {
                    Err(Unreachable::Gone(_)) => return Ok(()),
                    Ok((now, _)) if another(seen.pid, now.pid) => return Ok(()),
                    Ok((now, _)) => {
                        seen = now;
                        break;
                    }
                    Err(Unreachable::Silent(_)) => {}
                }
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    return Err(still());
                }
                // The connection closed while the server is still there; only another try tells
                // more.
                thread::sleep(PAUSE);
            }
        }
    }
}

/// Returns whether a successor has taken the place.
fn another(before: Option<u64>, now: Option<u64>) -> bool {
    before.zip(now).is_some_and(|(before, now)| before != now)
}

/// Returns whether the other side ended the connection.
fn broke_off(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    )
}

/// The variable that names the server, where no flag does.
const VARIABLE: &str = "EBBTIDE_ADMIN";

/// The status of a server whose loop does not answer: busy, but there.
const UNAVAILABLE: u16 = 503;

/// The most tries to reach a server that breaks off its responses.
const TRIES: u32 = 25;

/// The pause between two tries to reach a server that is about to go.
const PAUSE: Duration = Duration::from_millis(20);
