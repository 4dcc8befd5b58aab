//! System calls that the standard library lacks, one file per subject. The only module that may hold `unsafe` or name `libc`.
//!
//! ```text
//! at        files by directory and name          xattrs    extended attributes
//! copy      content between host files           sparse    copy and write files without filling their holes
//! reflink   share extents between files          tmpfile   files without a name
//! rename    without replacing, and exchanging    syncfs    make a whole filesystem durable
//! flock     locks that die with their owner      times     set modification times
//! plain     files that must not hold one up      lease     who can write a file
//! failure   what an error means                  daemon    letting go of what was inherited
//! superblock  which filesystem a file is on, as it is mounted now
//! process   waiting for the end of another process
//! ```
#![allow(unsafe_code, reason = "raw system calls live here, and only here")]

pub mod at;
pub mod copy;
pub mod daemon;
pub mod failure;
pub mod flock;
pub mod lease;
pub mod plain;
pub mod process;
pub mod reflink;
pub mod rename;
pub mod sparse;
pub mod superblock;
pub mod syncfs;
pub mod times;
pub mod tmpfile;
pub mod xattrs;
