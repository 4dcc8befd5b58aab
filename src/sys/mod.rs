//! sys (to come).
#![allow(unsafe_code, reason = "raw system calls live here, and only here")]
