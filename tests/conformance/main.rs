//! One test for each requirement of a mining server that can be seen from outside; a test's name
//! begins with the requirement's id. `requirements.txt` has all of them and says where the others
//! are proven.
//!
//! Without more it starts the line of this repository. `SV2_TARGET=stratum2+tcp://HOST:PORT/KEY`
//! and `SV2_USER=IDENTITY` point it at any server; tests that need more than a miner can bring
//! about say `SKIPPED` then.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stderr)]

mod channels;
mod close;
mod count;
mod extensions;
mod frames;
mod jobs;
mod message;
mod miner;
mod noise;
mod noise_wire;
mod opinions;
mod oracle;
mod rig;
mod setup;
mod shares;
mod targets;
mod tips;
mod work;
