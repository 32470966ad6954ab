//! The drain contract on the simulated world, to the millisecond and to the byte.
//!
//! The names of tests begin with rows of `docs/drain-contract.md`. Tests on real sockets try what
//! only the kernel knows. Here a test can have every order of events, and assert every moment.

mod busy;
mod deadline;
mod doors;
mod exit;
mod idle;
mod reasons;
mod storm;
mod streams;
mod tunnels;
