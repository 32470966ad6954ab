//! The engine's promises on the simulated world: order, fairness, limits, back-pressure, and what
//! becomes of one connection when anything goes wrong with another.

#[path = "sim_engine/bodies.rs"]
mod bodies;
#[path = "sim_engine/capacity.rs"]
mod capacity;
#[path = "sim_engine/cuts.rs"]
mod cuts;
#[path = "sim_engine/exchange.rs"]
mod exchange;
#[path = "sim_engine/fairness.rs"]
mod fairness;
#[path = "sim_engine/faults.rs"]
mod faults;
#[path = "sim_engine/odd.rs"]
mod odd;
mod sim_support;
#[path = "sim_engine/times.rs"]
mod times;
#[path = "sim_engine/tunnels.rs"]
mod tunnels;
#[path = "sim_engine/weeks.rs"]
mod weeks;
