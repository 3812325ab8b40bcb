//! Classes in simulated time (package `sim`): whatever leaves the node in any of these stories is judged by
//! every checker.

mod joins;
mod offers;
mod planted;
mod random;
mod repair;
mod replay;
mod roads;
mod seeds;
