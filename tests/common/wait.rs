//! Waiting for what comes by itself.
#![allow(dead_code, unreachable_pub, reason = "not every test waits")]

use std::time::{Duration, Instant};

/// Waits until `done`, for as long as a slow machine may take.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
