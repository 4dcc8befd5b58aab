//! Tests that can't run on this machine: each says why, and `scripts/test` counts it, for cargo has no word for it but "passed".
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this")]
#![allow(clippy::print_stderr, clippy::unwrap_used, reason = "a test that is skipped says so")]

use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};

/// Tells why the test of this thread doesn't run, also to the file that `CAIRNFS_TEST_SKIPS` names.
pub fn skipped(why: &str) {
    eprintln!("skipped: {why}");
    if let Some(list) = std::env::var_os("CAIRNFS_TEST_SKIPS") {
        let program = std::env::current_exe().unwrap();
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let line = format!("{}::{test}\t{why}\n", program.file_stem().unwrap_or_default().display());
        File::options().append(true).create(true).open(list).unwrap().write_all(line.as_bytes()).unwrap();
    }
}

/// Whether a program that the test calls is there.
pub fn has(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .stdin(Stdio::null())
        .status()
        .is_ok()
}

/// Whether the test can run: it has root's rights and these programs. Says so when it can't.
pub fn possible(programs: &[&str]) -> bool {
    let missing: Vec<&str> = programs.iter().copied().filter(|program| !has(program)).collect();
    if !nix::unistd::geteuid().is_root() {
        skipped("needs root");
    } else if !missing.is_empty() {
        skipped(&format!("needs {}", missing.join(", ")));
    } else {
        return true;
    }
    false
}
