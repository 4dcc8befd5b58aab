//! docs/SEMANTICS.md as tests: a module for each of its sections, in its order, and in each a test for each statement. Whatever isn't stated
//! there is as on ext4, which `tests/access` holds the mounts to.
//!
//! What needs a power cut, a full disk or a hostile archive has tests of its own, which the modules name.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

#[path = "../common/mod.rs"]
mod common;

mod control_directory;
mod durability;
mod files_and_directories;
mod identity;
mod import_and_export;
mod locks;
mod mounts;
mod open_files;
mod snapshots;
mod space;
mod support;
mod times;
