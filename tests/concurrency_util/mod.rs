//! What `concurrency_threads` is made of.
//!
//! ```text
//! model     one thread's private tree, and what each operation on it must do
//! private   random operations on the mount and the model at once
//! shared    what all threads do to the same files, with what holds whoever wins
//! watch     who does what since when: a thread that hangs is named
//! ```
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

#[path = "../common/random.rs"]
pub mod random;

pub mod model;
pub mod private;
pub mod shared;
pub mod watch;
