//! Section "Identity". Every change is gone through in `tests/inode_identity.rs`, file handles in `tests/access/handles.rs`.

use crate::common::mount::TestMount;
use crate::common::spec::Spec;
use crate::support::{append, shown, take};
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

#[test]
fn a_number_stays_for_the_life_of_a_layer() {
    let mount = TestMount::writable(&Spec::new().file("dir/file", "x"));
    let number = |mount: &TestMount, path: &str| fs::metadata(mount.at(path)).unwrap().ino();
    let first = number(&mount, "dir/file");
    append(&mount.at("dir/file"), "+");
    assert_eq!(number(&mount, "dir/file"), first);
    fs::rename(mount.at("dir"), mount.at("moved")).unwrap();
    fs::write("/proc/sys/vm/drop_caches", "2").unwrap();
    assert_eq!(number(&mount, "moved/file"), first);
    take(&mount, "snap");
    assert_eq!(number(&mount, "moved/file"), first);
    let mount = mount.remount();
    assert_eq!(number(&mount, "moved/file"), first);
    mount.stop();
}

#[test]
fn a_removed_number_is_not_given_out_again() {
    let mount = TestMount::writable(&Spec::new());
    let mut seen = HashSet::new();
    for _ in 0..100 {
        fs::write(mount.at("file"), "").unwrap();
        assert!(seen.insert(fs::metadata(mount.at("file")).unwrap().ino()));
        fs::remove_file(mount.at("file")).unwrap();
    }
    mount.stop();
}

#[test]
fn two_mounts_of_one_manifest_have_the_same_numbers_on_different_devices() {
    let spec = Spec::new().file("file", "x");
    let one = TestMount::writable(&spec);
    let two = TestMount::mount(&one.bench, one.bench.read_only(), |_| {}, None);
    let (a, b) = (fs::metadata(one.at("file")).unwrap(), fs::metadata(two.at("file")).unwrap());
    assert_eq!(a.ino(), b.ino());
    assert_ne!(a.dev(), b.dev());
    one.stop();
    two.stop();
}

#[test]
fn a_snapshot_by_itself_numbers_its_own_tree() {
    let mount = TestMount::writable(&Spec::new());
    fs::write(mount.at("new"), "x").unwrap();
    let own = fs::metadata(mount.at("new")).unwrap().ino();
    let snapshot = shown(&mount, &take(&mount, "snap"));
    assert_ne!(fs::metadata(snapshot.at("new")).unwrap().ino(), own);
    assert_eq!(fs::metadata(mount.at("new")).unwrap().ino(), own);
    snapshot.stop();
    mount.stop();
}
