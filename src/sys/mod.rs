//! Raw system calls: the only place for `unsafe`.
#![allow(unsafe_code, reason = "raw system calls live here, and only here")]

pub mod copy;
