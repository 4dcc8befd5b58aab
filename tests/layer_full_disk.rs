//! A layer on a full disk: the right error, nothing lost, removing works, and all goes on once there is room.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod common;
mod fault_util;

use cairnfs::format::{Mode, Name};
use cairnfs::layer::{Layer, LayerError};
use cairnfs::store::Store;
use cairnfs::vfs::{Caller, Fs, Ino, Make, OpenMode, VfsError, XattrMode};
use common::spec::Spec;
use fault_util::{Place, possible};
use std::fs;
use tempfile::TempDir;

const ROOT: Caller = Caller { uid: 0, gid: 0, pid: 0 };

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
    if !possible(&[]) {
        return;
    }
    let folder = TempDir::new().unwrap();
    let store = Store::init(&folder.path().join("store")).unwrap();
    let base = Spec::new().file("clean", "content").store(&store);
    let small = Place::tmpfs("size=8m,nr_inodes=2k");
    let path = small.at("layer");
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
    small.unfill();
    make(&fs, "another").unwrap();
    made.push("another".into());
    let opened = fs.open(clean, write).unwrap();
    fs.write(opened.handle, 0, b"CON").unwrap();
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

/// Writing a table in the background fails too on a full disk; the operations that hear of it are told what it is, and none is lost.
#[test]
fn a_disk_too_full_for_the_databases_tables_is_told_as_full() {
    if !possible(&[]) {
        return;
    }
    let folder = TempDir::new().unwrap();
    let store = Store::init(&folder.path().join("store")).unwrap();
    let base = Spec::new().store(&store);
    let small = Place::tmpfs("size=9m,nr_inodes=2k");
    let path = small.at("layer");
    fs::create_dir(&path).unwrap();
    let fs = Fs::with_layer(&store, base, Layer::open(&path).unwrap()).unwrap();
    let value: Vec<u8> = (0..3000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let (mut made, mut refused) = (Vec::new(), 0);
    for number in 0..6000 {
        let dir = format!("dir{number}");
        let set = make(&fs, &dir).and_then(|()| {
            let ino = fs.lookup(Ino::ROOT, name(&dir))?.expect("just made").ino;
            made.push(dir.clone());
            fs.set_xattr(ROOT, ino, b"user.value", &value, XattrMode::Set)
        });
        if let Err(error) = set {
            assert!(is_enospc(&error), "{number}: {error}");
            refused += 1;
        }
        if refused == 5 {
            break;
        }
    }
    assert!(refused == 5, "{} were made", made.len());
    assert!(made.len() * value.len() > 4 << 20, "{}", made.len());
    // Where there is no room for tables, but some for the journal, the database isn't opened anew for each of many changes.
    for dir in made.drain(..100) {
        fs.rmdir(Ino::ROOT, name(&dir)).unwrap();
    }
    let opened = fs.layer().unwrap().db().reopened();
    for number in 0..200 {
        let dir = format!("short{number}");
        make(&fs, &dir).unwrap();
        fs.rmdir(Ino::ROOT, name(&dir)).unwrap();
    }
    assert_eq!(fs.layer().unwrap().db().reopened(), opened);
    // Once there is room for the tables, all goes on.
    assert!(small.remount("size=40m"));
    for dir in made.drain(..20) {
        fs.rmdir(Ino::ROOT, name(&dir)).unwrap();
    }
    make(&fs, "another").unwrap();
    made.push("another".into());
    drop(fs); // as when the daemon is killed
    let fs = Fs::with_layer(&store, base, Layer::open(&path).unwrap()).unwrap();
    for dir in &made {
        assert!(fs.lookup(Ino::ROOT, name(dir)).unwrap().is_some(), "{dir}");
    }
}

/// What removed files hold until it is safe to give it back is had by whoever needs it, and told as free.
#[test]
fn room_of_removed_files_is_had_at_once() {
    if !possible(&[]) {
        return;
    }
    let folder = TempDir::new().unwrap();
    let store = Store::init(&folder.path().join("store")).unwrap();
    let base = Spec::new().file("clean", vec![7; 3 << 20]).store(&store);
    let small = Place::tmpfs("size=40m,nr_inodes=2k");
    let path = small.at("layer");
    fs::create_dir(&path).unwrap();
    let fs = Fs::with_layer(&store, base, Layer::open(&path).unwrap()).unwrap();
    let open = OpenMode { write: true, truncate: false };
    let (attr, opened) = fs.create(ROOT, Ino::ROOT, name("old"), Mode::from_bits(0o644), 0, open).unwrap();
    assert_eq!(fs.write(opened.handle, 0, &vec![1; 4 << 20]).unwrap(), 4 << 20);
    fs.release(opened.handle);
    // It may hold the host's file, as the adapter does until it has answered.
    drop(opened);
    let free = || {
        let told = fs.stat_fs().unwrap();
        told.available * u64::from(told.block_size)
    };
    // All else is taken, so that the copy of 3 MiB has room only where the removed file was.
    small.fill_but_inodes();
    let before = free();
    fs.unlink(Ino::ROOT, name("old")).unwrap();
    fs.forget(attr.ino);
    assert!(free() >= before + (4 << 20), "{before} and then {}", free());

    let clean = fs.lookup(Ino::ROOT, name("clean")).unwrap().unwrap().ino;
    let opened = fs.open(clean, open).unwrap();
    // Writing goes as far as there is room, and says so; then there is none.
    let more = vec![2; 8 << 20];
    let written = fs.write(opened.handle, 3 << 20, &more).unwrap();
    assert!(written < more.len(), "{written}");
    let error = fs.write(opened.handle, (3 << 20) + written as u64, &more).unwrap_err();
    assert!(is_enospc(&error), "{error}");
    let mut back = vec![0; written];
    assert_eq!(fs.read(opened.handle, 3 << 20, &mut back).unwrap(), written);
    assert!(back.iter().all(|byte| *byte == 2));
}
