//! The drain's contract on the simulated world, to the millisecond and to the byte.
//!
//! The tests are named after the rows of the contract (R1 to R31). What only the kernel knows is
//! tested on real sockets, in `signals`; here every order of events can be had, and every moment
//! asserted.

#[path = "sim_drain/busy.rs"]
mod busy;
#[path = "sim_drain/deadline.rs"]
mod deadline;
#[path = "sim_drain/doors.rs"]
mod doors;
#[path = "sim_drain/exit.rs"]
mod exit;
#[path = "sim_drain/idle.rs"]
mod idle;
#[path = "sim_drain/reasons.rs"]
mod reasons;
mod sim_support;
#[path = "sim_drain/storm.rs"]
mod storm;
#[path = "sim_drain/streams.rs"]
mod streams;
#[path = "sim_drain/tunnels.rs"]
mod tunnels;
