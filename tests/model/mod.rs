//! An executable reference model of the filesystem, and what it takes to hold a real one to it.
//!
//! ```text
//! op        an operation: plain data, whose Debug form is the code that makes it
//! fail      the ways in which an operation fails
//! posix     the model: inodes, names and open files in memory, and what each operation must answer
//! answer    what was answered, and whether that is what the model allows
//! tree      whole trees, compared with the model's: names, attributes, content, links, times
//! starting  the tree that a sequence starts from, as operations
//! generate  random sequences, most of whose operations have something to work on
//!
//! host      carries operations out by system calls below a directory: ext4, or a mount
//! direct    carries them out on the kernel-free filesystem, doing for it what the kernel does
//! machine   what a directory is on: ext4 on a loop device, or a mount that can be crashed
//! bench     the store, base and layers of the machines
//!
//! run       one sequence on the model and on others beside it; counts
//! shrink    a failing sequence, made as short as it goes
//! suite     many sequences on all processors
//! ```
//! The model decides what is right; the real ext4 beside it shows that the model is. Paths name nothing outside the sequence's own
//! directory, and no symbolic link leads anywhere: following them is the kernel's business, and resolving them would only blur what is
//! tested. Everything is done as root; permissions are the kernel's to check, and have tests of their own, as have ACLs.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test program uses its own part of this")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that can't go on shall panic, and says what it ran"
)]

#[path = "../common/random.rs"]
pub mod random;
#[path = "../common/skip.rs"]
mod skip;

pub mod answer;
pub mod bench;
pub mod direct;
pub mod fail;
pub mod generate;
pub mod host;
pub mod machine;
pub mod op;
pub mod posix;
pub mod run;
pub mod shrink;
pub mod starting;
pub mod suite;
pub mod tree;
