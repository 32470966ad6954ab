//! The engine's promises on the simulated world: order, fairness, limits, back-pressure, and what
//! becomes of one connection when anything goes wrong with another.

mod bodies;
mod capacity;
mod cuts;
mod exchange;
mod fairness;
mod faults;
mod odd;
mod times;
mod tunnels;
mod weeks;
