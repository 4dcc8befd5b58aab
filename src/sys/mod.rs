//! System calls that the standard library lacks, one file per subject. The only module that may hold `unsafe` or name `libc`.
//!
//! ```text
//! reflink   share extents between files        sparse    copy and write files without filling their holes
//! tmpfile   files without a name               rename    rename without replacing, and exchanging
//! syncfs    make a whole filesystem durable    flock     locks that the kernel drops with their owner
//! times     set modification times             copy      parts of files, by reference where that can be
//! ```
#![allow(unsafe_code, reason = "raw system calls live here, and only here")]

pub mod copy;
pub mod flock;
pub mod reflink;
pub mod rename;
pub mod sparse;
pub mod syncfs;
pub mod times;
pub mod tmpfile;
