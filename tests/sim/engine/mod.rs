//! The engine on the simulated world: order, fairness, limits, back-pressure, and what one
//! connection suffers from the faults of another.

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
