//! A tokio runtime behind tickets: ebbtide keeps the connections, tokio does what is async.
//!
//! The loop's thread never waits for the runtime. Each request that needs the runtime is a task that
//! holds the ticket. A task that is dropped or panics drops its ticket, and the client gets a 500.
//!
//! Try `curl localhost:8080/sleep/500`, many at once, and Ctrl-C in between: all are answered.

use std::process::ExitCode;
use std::time::Duration;

use ebbtide::{Error, Handler, Outcome, Reply, Request, Response, Server};
use tokio::runtime::Handle as Runtime;

fn main() -> ExitCode {
    ebbtide::main(serve)
}

fn serve() -> Result<Outcome, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()?;
    let outcome = Server::bind("127.0.0.1:8080")?.run(app(runtime.handle()));
    // Every request has been answered. Other tasks get a moment to end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

pub(crate) fn app(runtime: &Runtime) -> impl Handler + Send + use<> {
    let runtime = runtime.clone();
    move |request: &Request<'_>| {
        let millis = request.path().strip_prefix("/sleep/").map(str::parse);
        let Some(Ok(millis)) = millis else {
            return Reply::from(Response::text(404, "try /sleep/500\n"));
        };
        let (later, ticket) = request.later();
        runtime.spawn(async move {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            ticket.send(Response::text(200, format!("slept {millis} ms\n")));
        });
        later.into()
    }
}
