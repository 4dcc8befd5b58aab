//! Raw system calls: the only unsafe code.
#![allow(unsafe_code, reason = "raw system calls live here, and only here")]

pub mod at;
pub mod xattrs;
