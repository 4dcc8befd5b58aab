//! A layer on a full disk: the right error, nothing lost, removing works, and all goes on once there is room.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod common;

use cairnfs::format::{Mode, Name};
use cairnfs::layer::{Layer, LayerError};
use cairnfs::store::Store;
use cairnfs::vfs::{Caller, Fs, Ino, Make, OpenMode, VfsError};
use common::spec::Spec;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const ROOT: Caller = Caller { uid: 0, gid: 0, pid: 0 };

/// A small tmpfs, unmounted when the value is dropped.
struct Small(TempDir);

impl Small {
    fn new(options: &str) -> Self {
        let folder = TempDir::with_prefix("cairnfs-small-").unwrap();
        mount(Some("small"), folder.path(), Some("tmpfs"), MsFlags::empty(), Some(options)).unwrap();
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all room that is left.
    fn fill(&self) {
        let path = self.path().join("filler");
        let zeros = vec![1; 1 << 16];
        let mut content = Vec::new();
        for step in [1 << 16, 1] {
            while fs::write(path.with_extension(content.len().to_string()), &zeros[..step]).is_ok() {
                content.push(step);
            }
        }
    }

    fn empty(&self) {
        for entry in fs::read_dir(self.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.file_stem().is_some_and(|stem| stem == "filler") {
                fs::remove_file(path).unwrap();
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = umount2(self.path(), MntFlags::MNT_DETACH);
    }
}

fn name(text: &str) -> Name<'_> {
    Name::new(text.as_bytes()).unwrap()
}

fn is_enospc(error: &VfsError) -> bool {
    let io = match error {
        VfsError::Layer(LayerError::Data { source, .. }) | VfsError::Io { source, .. } => Some(source),
        VfsError::Layer(error) => error.io(),
        _ => None,
    };
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::StorageFull)
}

fn make(fs: &Fs, dir: &str) -> Result<(), VfsError> {
    fs.make(ROOT, Ino::ROOT, name(dir), Make::Dir, Mode::from_bits(0o755), 0).map(drop)
}

/// Makes directories until one is refused; returns its name and the error.
fn until_refused(fs: &Fs, made: &mut Vec<String>, long: &str) -> (String, VfsError) {
    loop {
        let next = format!("{}-{long}", made.len());
        match make(fs, &next) {
            Ok(()) => made.push(next),
            Err(error) => return (next, error),
        }
    }
}

#[test]
fn a_full_disk_refuses_growth_lets_go_of_what_is_removed_and_recovers() {
    let folder = TempDir::new().unwrap();
    let store = Store::init(&folder.path().join("store")).unwrap();
    let base = Spec::new().file("clean", "content").store(&store);
    let small = Small::new("size=8m");
    let path = small.path().join("layer");
    fs::create_dir(&path).unwrap();
    let fs = Fs::with_layer(&store, base, Layer::open(&path).unwrap()).unwrap();
    let long = "x".repeat(200);
    let mut made = Vec::new();
    for n in 0..200 {
        make(&fs, &format!("{n}-{long}")).unwrap();
        made.push(format!("{n}-{long}"));
    }
    small.fill();
    // Again and again: the error is the right one, what failed didn't happen, and reading goes on.
    for _ in 0..3 {
        let (refused, error) = until_refused(&fs, &mut made, &long);
        assert!(is_enospc(&error), "{error}");
        assert!(fs.lookup(Ino::ROOT, name(&refused)).unwrap().is_none());
        assert!(fs.lookup(Ino::ROOT, name(&made[0])).unwrap().is_some());
    }
    let write = OpenMode { write: true, truncate: false };
    let clean = fs.lookup(Ino::ROOT, name("clean")).unwrap().unwrap().ino;
    assert!(is_enospc(&fs.open(clean, write).unwrap_err()));
    // What frees space works on a disk without any.
    for gone in made.drain(..100) {
        fs.rmdir(Ino::ROOT, name(&gone)).unwrap();
    }
    small.empty();
    make(&fs, "another").unwrap();
    made.push("another".into());
    let opened = fs.open(clean, write).unwrap();
    fs.write(opened.handle, 0, b"CON", false).unwrap();
    drop(fs); // as when the daemon is killed
    let fs = Fs::with_layer(&store, base, Layer::open(&path).unwrap()).unwrap();
    let mut listed = Vec::new();
    fs.read_dir(Ino::ROOT, 0, false, &mut |entry| {
        listed.push(String::from_utf8_lossy(entry.name).into_owned());
        true
    })
    .unwrap();
    listed.retain(|name| name != "." && name != ".." && name != "clean");
    listed.sort();
    made.sort();
    assert_eq!(listed, made);
}
