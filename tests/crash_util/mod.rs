//! A load on a mounted layer whose every step is known, so that what a crash left can be judged.
//!
//! ```text
//! model    one worker's directory as it was after each step, and what its files' bytes may be
//! worker   random steps on the mount, each recorded before and after it is made
//! world    a store, its mount by the program, workers on it; judging what is there afterwards
//! ```
//! Each worker has a directory of its own in the base, `wN`, and nobody else changes it: what it holds after a crash must be how it was after one of
//! the worker's steps. A killed daemon leaves the last step that was acknowledged, or the one under way; a power cut any since the last sync.
//! Bytes of files come by other ways than names, so they are judged by themselves: see `model::Bytes`.
#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::print_stdout, reason = "what a run can be made again by, and how far it came")]

pub mod model;
pub mod worker;
pub mod world;

#[path = "../common/random.rs"]
mod random;
#[path = "../common/skip.rs"]
pub mod skip;
#[path = "../common/wait.rs"]
mod wait;

pub use random::{Random, number};
pub use wait::wait_until;

/// The seed of a run, printed so that it can be run again.
pub fn seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let seed = number("CAIRNFS_TEST_SEED", now.as_nanos() as u64 & 0xffff_ffff);
    println!("CAIRNFS_TEST_SEED={seed}");
    seed
}
