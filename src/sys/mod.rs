//! System calls that the standard library lacks, one file per subject. The only module that may hold `unsafe` or name `libc`.
//!
//! ```text
//! at        files by directory and name          xattrs    extended attributes
//! copy      content between host files           sparse    copy and write files without filling their holes
//! reflink   share extents between files          tmpfile   files without a name
//! rename    without replacing                    syncfs    make a whole filesystem durable
//! flock     locks that die with their owner      times     set modification times
//! plain     files that must not hold one up      lease     who can write a file
//! failure   what an error means                  daemon    letting go of what was inherited
//! superblock  which filesystem a file is on, as it is mounted now
//! process   waiting for the end of another process
//! ```
#![allow(unsafe_code, reason = "raw system calls live here, and only here")]

pub mod at;
pub(crate) mod copy;
pub(crate) mod daemon;
pub(crate) mod failure;
pub(crate) mod flock;
pub(crate) mod lease;
pub(crate) mod plain;
pub(crate) mod process;
pub(crate) mod reflink;
pub(crate) mod rename;
pub(crate) mod sparse;
pub(crate) mod superblock;
pub(crate) mod syncfs;
pub(crate) mod times;
pub(crate) mod tmpfile;
pub mod xattrs;
