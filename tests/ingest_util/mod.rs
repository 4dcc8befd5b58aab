//! Trees with every kind of object, stores that vanish, and comparisons by programs that aren't ours.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

#[path = "../common/skip.rs"]
pub mod skip;

use cairnfs::format::Digest;
use cairnfs::ingest::{
    ExportOptions, ImportOptions, Imported, IngestError, Progress, export_dir, import_dir, import_tar,
};
use cairnfs::store::Store;
use cairnfs::sys::at::{self, NodeType};
use cairnfs::sys::xattrs::{self, Of};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A store and room beside it; all gone when dropped.
pub struct Lab {
    pub temp: TempDir,
    pub store: Store,
}

impl Lab {
    pub fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let store = Store::init(&temp.path().join("store")).unwrap();
        Self { temp, store }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    pub fn dir(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    pub fn import_dir(&self, source: &Path) -> Imported {
        import_dir(&self.store, source, &options(), &Progress::default()).unwrap()
    }

    pub fn import_tar(&self, archive: impl Read) -> Result<Imported, IngestError> {
        import_tar(&self.store, archive, &options(), &Progress::default())
    }

    pub fn export_dir(&self, manifest: Digest, name: &str) -> PathBuf {
        let target = self.path(name);
        export_dir(&self.store, manifest, &target, &ExportOptions::default(), &Progress::default()).unwrap();
        target
    }
}

/// Options with a fixed time and name, so that equal sources give equal manifests.
pub fn options() -> ImportOptions {
    let mut options = ImportOptions::new("test".parse().unwrap());
    options.created_at = Some("2024-05-01T12:00:00Z".to_owned());
    options
}

/// Runs a program, which must succeed, and returns what it printed.
pub fn run(program: &str, arguments: &[&OsStr]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Every difference that rsync sees between two trees: content, modes, owners, times, hard links, ACLs, attributes, devices.
pub fn differences(from: &Path, to: &Path) -> String {
    let slash = |path: &Path| [path.as_os_str().as_bytes(), b"/"].concat();
    let (from, to) = (slash(from), slash(to));
    let fixed = [
        "-aHAXn",
        "--delete",
        "--checksum",
        "--modify-window=-1",
        "--numeric-ids",
        "--devices",
        "--specials",
        "--itemize-changes",
    ];
    let mut arguments: Vec<&OsStr> = fixed.iter().map(OsStr::new).collect();
    arguments.push(OsStr::from_bytes(&from));
    arguments.push(OsStr::from_bytes(&to));
    String::from_utf8_lossy(&run("rsync", &arguments)).into_owned()
}

pub fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    let parent = at::open_dir(path.parent().unwrap()).unwrap();
    xattrs::set(Of::At(parent.as_fd(), path.file_name().unwrap().as_bytes()), name.as_bytes(), value).unwrap();
}

/// Fills `root` with every kind of object, as root.
pub fn make_tree(root: &Path) {
    let dir = at::open_dir(root).unwrap();
    let time = |name: &[u8], secs: i64, nanos: u32| at::set_times_at(&dir, name, (secs, nanos)).unwrap();
    let mode = |name: &[u8], mode: u32| at::chmod_at(&dir, name, mode).unwrap();
    write(&root.join("plain"), b"hello\n");
    time(b"plain", 1_700_000_000, 123_456_789);
    write(&root.join("empty"), b"");
    time(b"empty", -5, 250_000_000);
    write(&root.join("same as plain"), b"hello\n");
    at::chown_at(&dir, b"same as plain", 1000, 2_000_000_000).unwrap();
    write(&root.join("suid"), b"#!/bin/sh\n");
    at::chown_at(&dir, b"suid", 7, 8).unwrap();
    mode(b"suid", 0o6755);
    write(&root.join("secret"), b"x");
    mode(b"secret", 0);
    let big: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7) as u8).collect();
    write(&root.join("big"), &big);
    special_objects(root, &dir);
    attributes(root);
    links(root);
    sparse(root);
    fs::create_dir_all(root.join("dir/empty")).unwrap();
    fs::create_dir(root.join("tmp")).unwrap();
    mode(b"tmp", 0o1777);
    fs::create_dir(root.join("sgid")).unwrap();
    mode(b"sgid", 0o2770);
    at::chown_fd(File::open(root.join("dir/empty")).unwrap(), 5, 6).unwrap();
    time(b"tmp", 1, 1);
    time(b"dir", 1_600_000_000, 999_999_999);
    at::chmod_fd(&dir, 0o751).unwrap();
    at::chown_fd(&dir, 3, 4).unwrap();
    at::set_times_fd(&dir, (1_500_000_000, 42)).unwrap();
}

fn special_objects(root: &Path, dir: &impl AsFd) {
    at::make_node_at(dir, b"null", NodeType::Char(1, 3)).unwrap();
    at::make_node_at(dir, b"disk", NodeType::Block(259, 70_000)).unwrap();
    at::chown_at(dir, b"disk", 0, 6).unwrap();
    at::make_node_at(dir, b"pipe", NodeType::Fifo).unwrap();
    at::make_node_at(dir, b"sock", NodeType::Socket).unwrap();
    at::make_symlink_at(dir, b"link", b"../no where").unwrap();
    at::chown_at(dir, b"link", 11, 12).unwrap();
    at::set_times_at(dir, b"link", (1_400_000_000, 5)).unwrap();
    at::make_symlink_at(dir, b"long link", &[b'x'; 4095]).unwrap();
    for name in [&b"\xff\xfe not utf-8"[..], b"new\nline", "größe".as_bytes(), &[b'n'; 255], b"-rf", b"a=b%25"] {
        write(&root.join(OsStr::from_bytes(name)), name);
    }
}

fn attributes(root: &Path) {
    let path = root.join("attributes");
    write(&path, b"a");
    set_xattr(&path, "user.text", b"value");
    set_xattr(&path, "user.binary", b"a=b\nc\0\xff");
    set_xattr(&path, "user.empty", b"");
    set_xattr(&path, "user.a=b%c", b"odd name");
    set_xattr(&path, "user.long", &[b'v'; 3000]);
    set_xattr(&path, "trusted.t", b"t");
    // cap_net_raw+ep, as setcap(8) writes it
    set_xattr(&path, "security.capability", b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    set_xattr(&root.join("link"), "trusted.on_link", b"l");
    set_xattr(&root.join("null"), "trusted.on_device", b"d");
    let acl = |entries: &[(u16, u16, u32)]| {
        let mut value = 2_u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            value.extend([&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat());
        }
        value
    };
    let none = u32::MAX;
    let access = acl(&[(1, 6, none), (2, 4, 1000), (4, 4, none), (8, 7, 50), (16, 4, none), (32, 0, none)]);
    set_xattr(&path, "system.posix_acl_access", &access);
    let shared = root.join("shared");
    fs::create_dir(&shared).unwrap();
    write(&shared.join("before"), b"made without the default ACL");
    let default = acl(&[(1, 7, none), (2, 5, 1001), (4, 5, none), (16, 5, none), (32, 0, none)]);
    set_xattr(&shared, "system.posix_acl_default", &default);
    set_xattr(&shared, "user.on_dir", b"d");
}

fn links(root: &Path) {
    write(&root.join("z first made"), b"linked");
    fs::create_dir(root.join("a")).unwrap();
    fs::hard_link(root.join("z first made"), root.join("a/linked")).unwrap();
    fs::hard_link(root.join("z first made"), root.join("a/linked too")).unwrap();
    let dir = at::open_dir(root).unwrap();
    at::make_symlink_at(&dir, b"linked symlink", b"target").unwrap();
    at::link_at(&dir, b"linked symlink", &dir, b"linked symlink 2").unwrap();
    at::make_node_at(&dir, b"linked fifo", NodeType::Fifo).unwrap();
    at::link_at(&dir, b"linked fifo", &dir, b"linked fifo 2").unwrap();
}

fn sparse(root: &Path) {
    let file = File::create(root.join("sparse")).unwrap();
    file.write_all_at(b"start", 0).unwrap();
    file.write_all_at(b"middle", 30 << 20).unwrap();
    file.set_len(64 << 20).unwrap();
    let file = File::create(root.join("all hole")).unwrap();
    file.set_len((2 << 20) + 7).unwrap();
}

pub fn write(path: &Path, content: &[u8]) {
    File::create_new(path).unwrap().write_all(content).unwrap();
}
