//! The sidecar and a pool in one thread, under faults that a seed decides.
//!
//! The steps are the real ones: [`crate::session::Session`], the mailboxes and the link, with what
//! its carrier keeps of an outage and of a silent pool. What is played is around them: miners, the
//! sockets' and the link's tasks, the streams between sidecar and pool, and the pool by the rules
//! of the contract. There is one clock, one agenda and one source of chance, so that a seed that
//! breaks a promise breaks it again:
//! `SIM_SEED=7 cargo test -p gopool-sv2 --lib a_hundred_seeds -- --nocapture`.

#[cfg(test)]
mod carrier;
#[cfg(test)]
mod door;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod host;
#[cfg(test)]
mod miner;
#[cfg(test)]
mod newest;
#[cfg(test)]
mod pool;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod truth;
#[cfg(test)]
mod wire;
#[cfg(test)]
mod world;
