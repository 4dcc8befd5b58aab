//! Directories out: into what is there, and never through a link in it.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod ingest_util;

use cairnfs::ingest::{ExportOptions, IngestError, Progress, export_dir};
use cairnfs::sys::xattrs::{self, Of};
use ingest_util::skip::possible;
use ingest_util::*;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

fn export(lab: &Lab, target: &Path, options: &ExportOptions) -> Result<(), IngestError> {
    let manifest = lab.store.resolve_ref(&"test".parse().unwrap()).unwrap();
    export_dir(&lab.store, manifest, target, options, &Progress::default())
}

const FORCE: ExportOptions = ExportOptions { force: true, owners: true };

#[test]
fn a_target_that_is_not_empty_is_refused() {
    let lab = Lab::new();
    let source = lab.dir("source");
    write(&source.join("file"), b"new");
    lab.import_dir(&source);
    let target = lab.dir("target");
    export(&lab, &target, &ExportOptions::default()).unwrap();
    let error = export(&lab, &target, &ExportOptions::default()).unwrap_err();
    assert!(error.to_string().contains("target is not empty"), "{error}");
    let error = export(&lab, &lab.path("no/such"), &ExportOptions::default()).unwrap_err();
    assert!(error.to_string().contains("no/such") && error.to_string().contains("No such file"), "{error}");
    let error = export(&lab, &target.join("file"), &ExportOptions::default()).unwrap_err();
    assert!(error.to_string().contains("Not a directory"), "{error}");
}

#[test]
fn force_replaces_merges_and_keeps_the_rest() {
    let lab = Lab::new();
    let source = lab.dir("source");
    write(&source.join("file"), b"new");
    symlink("to", source.join("link")).unwrap();
    fs::create_dir(source.join("dir")).unwrap();
    write(&source.join("dir/inner"), b"new");
    fs::hard_link(source.join("file"), source.join("hard")).unwrap();
    lab.import_dir(&source);
    let target = lab.dir("target");
    for name in ["file", "link", "hard", "other"] {
        write(&target.join(name), b"old");
    }
    fs::create_dir(target.join("dir")).unwrap();
    write(&target.join("dir/kept"), b"old");
    export(&lab, &target, &FORCE).unwrap();
    let read = |path: &str| fs::read_to_string(target.join(path)).unwrap();
    assert_eq!(
        (read("file"), read("other"), read("dir/kept"), read("dir/inner")),
        ("new".into(), "old".into(), "old".into(), "new".into())
    );
    assert_eq!(fs::read_link(target.join("link")).unwrap(), Path::new("to"));
    assert_eq!(fs::metadata(target.join("hard")).unwrap().nlink(), 2);
    fs::remove_file(target.join("file")).unwrap();
    fs::create_dir(target.join("file")).unwrap();
    let error = export(&lab, &target, &FORCE).unwrap_err();
    assert!(error.to_string().contains("can't replace `file`"), "{error}");
}

#[test]
fn links_in_the_target_are_never_followed() {
    let lab = Lab::new();
    let source = lab.dir("source");
    fs::create_dir(source.join("dir")).unwrap();
    write(&source.join("dir/file"), b"new");
    write(&source.join("file"), b"new");
    lab.import_dir(&source);
    let (target, outside) = (lab.dir("target"), lab.dir("outside"));
    write(&outside.join("victim"), b"old");
    symlink(&outside, target.join("dir")).unwrap();
    symlink(outside.join("victim"), target.join("file")).unwrap();
    let error = export(&lab, &target, &FORCE).unwrap_err();
    assert!(error.to_string().contains("can't open the directory `dir`"), "{error}");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    fs::remove_file(target.join("dir")).unwrap();
    export(&lab, &target, &FORCE).unwrap();
    assert_eq!(fs::read_to_string(outside.join("victim")).unwrap(), "old");
    assert!(fs::symlink_metadata(target.join("file")).unwrap().is_file());
}

#[test]
fn what_a_target_s_parent_gives_its_children_is_not_inherited() {
    if !possible(&["rsync"]) {
        return;
    }
    let lab = Lab::new();
    let source = lab.dir("source");
    make_tree(&source);
    lab.import_dir(&source);
    let parent = lab.dir("parent");
    let acl = |entries: &[(u16, u16, u32)]| {
        let bytes = entries
            .iter()
            .flat_map(|(tag, mode, id)| [&tag.to_le_bytes()[..], &mode.to_le_bytes(), &id.to_le_bytes()].concat());
        2_u32.to_le_bytes().into_iter().chain(bytes).collect::<Vec<u8>>()
    };
    let none = u32::MAX;
    let value = acl(&[(1, 7, none), (2, 7, 1234), (4, 5, none), (16, 7, none), (32, 5, none)]);
    xattrs::set(Of::Fd(File::open(&parent).unwrap().as_fd()), b"system.posix_acl_default", &value).unwrap();
    fs::set_permissions(&parent, PermissionsExt::from_mode(0o2777)).unwrap();
    std::os::unix::fs::chown(&parent, None, Some(4321)).unwrap();
    export(&lab, &parent.join("target"), &ExportOptions::default()).unwrap();
    assert_eq!(differences(&source, &parent.join("target")), "");
}

#[test]
fn without_owners_nothing_is_given_away() {
    if !possible(&[]) {
        return;
    }
    let lab = Lab::new();
    let source = lab.dir("source");
    write(&source.join("suid"), b"x");
    std::os::unix::fs::chown(source.join("suid"), Some(12), Some(13)).unwrap();
    fs::set_permissions(source.join("suid"), PermissionsExt::from_mode(0o6755)).unwrap();
    lab.import_dir(&source);
    export(&lab, &lab.path("target"), &ExportOptions { owners: false, ..ExportOptions::default() }).unwrap();
    let stat = fs::metadata(lab.path("target/suid")).unwrap();
    assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o7777), (0, 0, 0o755));
    export(&lab, &lab.path("whole"), &ExportOptions::default()).unwrap();
    let stat = fs::metadata(lab.path("whole/suid")).unwrap();
    assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o7777), (12, 13, 0o6755));
}
