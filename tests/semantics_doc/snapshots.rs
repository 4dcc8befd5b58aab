//! Section "Snapshots". Readers, writers and crashes beside a snapshot are in `tests/mount_snapshot.rs`.

use crate::common::mount::TestMount;
use crate::common::spec::Spec;
use crate::support::{append, errno, shown, take};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

#[test]
fn it_has_all_that_had_returned_and_nothing_after() {
    let mount = TestMount::writable(&Spec::new().file("dir/old", "old").file("gone", "x"));
    append(&mount.at("dir/old"), "+");
    fs::rename(mount.at("dir"), mount.at("moved")).unwrap();
    fs::remove_file(mount.at("gone")).unwrap();
    xattr::set(mount.at("moved"), "user.x", b"x").unwrap();
    let report = take(&mount, "snap");
    append(&mount.at("moved/old"), "later");
    fs::write(mount.at("later"), "").unwrap();
    let snapshot = shown(&mount, &report);
    assert_eq!(fs::read_to_string(snapshot.at("moved/old")).unwrap(), "old+");
    assert_eq!(xattr::get(snapshot.at("moved"), "user.x").unwrap().as_deref(), Some(&b"x"[..]));
    assert_eq!(fs::read_dir(snapshot.root()).unwrap().count(), 1);
    assert_eq!(errno(fs::metadata(snapshot.at("gone"))), libc::ENOENT);
    snapshot.stop();
    mount.stop();
}

#[test]
fn files_open_for_writing_are_copied_and_named() {
    let mount = TestMount::writable(&Spec::new().file("quiet", "x"));
    append(&mount.at("quiet"), "+");
    fs::write(mount.at("log"), "line").unwrap();
    let writer = OpenOptions::new().append(true).open(mount.at("log")).unwrap();
    let report = take(&mount, "snap");
    assert_eq!(report.being_written, ["log"]);
    let snapshot = shown(&mount, &report);
    assert_eq!(fs::read_to_string(snapshot.at("log")).unwrap(), "line");
    drop(writer);
    snapshot.stop();
    mount.stop();
}

#[test]
fn sockets_are_entries_and_files_without_a_name_are_not_in_it() {
    let mount = TestMount::writable(&Spec::new());
    let listener = std::os::unix::net::UnixListener::bind(mount.at("socket")).unwrap();
    let open = File::create(mount.at("unlinked")).unwrap();
    fs::remove_file(mount.at("unlinked")).unwrap();
    let snapshot = shown(&mount, &take(&mount, "snap"));
    assert!(fs::metadata(snapshot.at("socket")).unwrap().file_type().is_socket());
    assert_eq!(fs::read_dir(snapshot.root()).unwrap().count(), 1);
    drop((listener, open));
    snapshot.stop();
    mount.stop();
}

#[test]
fn an_inode_whose_other_names_are_gone_has_one_link() {
    let mount = TestMount::writable(&Spec::new().file("a", "x").link("b", "a"));
    fs::remove_file(mount.at("a")).unwrap();
    let snapshot = shown(&mount, &take(&mount, "snap"));
    assert_eq!(fs::metadata(snapshot.at("b")).unwrap().nlink(), 1);
    assert_eq!(fs::read_to_string(snapshot.at("b")).unwrap(), "x");
    snapshot.stop();
    mount.stop();
}
