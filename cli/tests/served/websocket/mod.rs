//! WebSockets with clients that others wrote: a library, a script's, a browser.

mod browser;
mod clients;
mod others;
use ebbtide_lab::command as support;
