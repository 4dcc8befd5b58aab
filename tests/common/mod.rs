//! What the mounted tests share: trees written down in code, stores in temporary folders, and mounts that unmount themselves.
//!
//! ```text
//! map      memory maps of files
//! spec     a tree of files written down in code, or read from a directory, made into a manifest
//! mount    a mount served by this process
//! process  a mount served by the `cairnfs` program
//! wait     for what comes by itself
//! ```
//! A test must not touch a mount of its own process from a thread that serves it; test threads are fine.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

pub mod map;
pub mod mount;
pub mod process;
pub mod spec;
pub mod wait;

pub use wait::wait_until;

/// Runs a shell script as user and group 65534, without other groups, and returns (exit code, output, errors).
pub fn as_nobody(script: &str) -> (i32, String, String) {
    use std::os::unix::process::CommandExt;
    let mut shell = std::process::Command::new("/bin/sh");
    shell.arg("-c").arg(script).uid(65534).gid(65534).current_dir("/");
    let output = shell.output().expect("sh runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}
