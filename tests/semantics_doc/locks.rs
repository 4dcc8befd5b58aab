//! Section "Locks". Kinds, ranges and waiting are compared with ext4 in `tests/access/locks.rs`.

use crate::common::mount::TestMount;
use crate::common::spec::Spec;
use std::fs::{File, TryLockError};

#[test]
fn locks_work_within_a_mount_and_not_between_two() {
    let one = TestMount::writable(&Spec::new().file("file", "x"));
    let two = TestMount::mount(&one.bench, one.bench.read_only(), |_| {}, None);
    let held = File::open(one.at("file")).unwrap();
    held.lock().unwrap();
    assert!(matches!(File::open(one.at("file")).unwrap().try_lock(), Err(TryLockError::WouldBlock)));
    File::open(two.at("file")).unwrap().try_lock().unwrap();
    drop(held);
    one.stop();
    two.stop();
}
