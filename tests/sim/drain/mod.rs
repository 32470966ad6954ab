//! The drain's contract on the simulated world, to the millisecond and to the byte.
//!
//! The tests are named after the rows of the contract (`r01` to `r33`, in `docs/drain-contract.md`). What only the kernel knows is
//! tested on real sockets, in `signals`; here every order of events can be had, and every moment
//! asserted.

mod busy;
mod deadline;
mod doors;
mod exit;
mod idle;
mod reasons;
mod storm;
mod streams;
mod tunnels;
