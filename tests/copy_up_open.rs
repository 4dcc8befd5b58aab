//! Copy-up with readers that hold the clean file open, mapped, or running: what they see, and what is seen by those who come later. The
//! table of docs/SEMANTICS.md, call by call.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod common;

use cairnfs::format::Digest;
use cairnfs::fuse::IoChoice;
use cairnfs::vfs::Copying;
use common::map::Map;
use common::mount::{Bench, TestMount};
use common::spec::Spec;
use rustix::fs::{FallocateFlags, copy_file_range, fallocate};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{DirEntryExt, FileExt, MetadataExt, PermissionsExt};
use std::path::Path;

const SMALL: usize = 20_000;
const LARGE: usize = 2 << 20;

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 5 % 251) as u8).collect()
}

fn writer(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

type Call = fn(&Path);

/// Calls that change content.
const CHANGES: [(&str, Call); 11] = [
    ("write", |path| writer(path).write_all_at(b"W", 3).unwrap()),
    ("append", |path| OpenOptions::new().append(true).open(path).unwrap().write_all(b"A").unwrap()),
    ("O_TRUNC", |path| drop(File::create(path).unwrap())),
    ("truncate", |path| nix::unistd::truncate(path, 100).unwrap()),
    ("truncate to more", |path| nix::unistd::truncate(path, 3 << 20).unwrap()),
    ("ftruncate", |path| writer(path).set_len(100).unwrap()),
    ("fallocate", |path| fallocate(writer(path), FallocateFlags::empty(), 0, 3 << 20).unwrap()),
    ("punch", |path| {
        fallocate(writer(path), FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, 4096).unwrap();
    }),
    ("zero", |path| fallocate(writer(path), FallocateFlags::ZERO_RANGE, 0, 4096).unwrap()),
    ("copy_file_range", |path| {
        let from = tempfile::tempfile_in(path.parent().unwrap()).unwrap();
        from.write_all_at(b"COPIED", 0).unwrap();
        copy_file_range(from, Some(&mut 0), writer(path), Some(&mut 10), 6).unwrap();
    }),
    ("shared mapping", |path| {
        // In another process, for unmapping waits for the daemon with the process's memory map locked.
        let script = "import mmap, sys; f = open(sys.argv[1], 'r+b'); m = mmap.mmap(f.fileno(), 0); m[7] = 77";
        let status = std::process::Command::new("python3").args(["-I", "-S", "-c", script]).arg(path).status();
        assert!(status.unwrap().success());
    }),
];

/// Calls that don't, so the content stays the base's.
const NO_CHANGES: [(&str, Call); 8] = [
    ("chmod", |path| fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap()),
    ("chown", |path| std::os::unix::fs::chown(path, Some(5), Some(5)).unwrap()),
    ("utimens", |path| {
        use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
        let time = Timespec { tv_sec: 5, tv_nsec: 5 };
        utimensat(CWD, path, &Timestamps { last_access: time, last_modification: time }, AtFlags::empty()).unwrap();
    }),
    ("setxattr", |path| xattr::set(path, "user.x", b"x").unwrap()),
    ("link", |path| fs::hard_link(path, path.with_extension("linked")).unwrap()),
    ("rename", |path| {
        fs::rename(path, path.with_extension("moved")).unwrap();
        fs::rename(path.with_extension("moved"), path).unwrap();
    }),
    ("open to read", |path| drop(fs::read(path).unwrap())),
    ("fsync", |path| File::open(path).unwrap().sync_all().unwrap()),
];

/// What the same call makes of the same content on the host.
fn expected(call: Call, length: usize) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, content(length)).unwrap();
    call(&path);
    fs::read(&path).unwrap()
}

/// A file for each call, and one mount for all.
fn mount(calls: &[(&str, Call)], length: usize, io: IoChoice, copying: Copying) -> TestMount {
    let file = |spec: Spec, at| spec.file(&format!("dir/{at}"), content(length));
    let bench = Bench::new(&(0..calls.len()).fold(Spec::new(), file));
    TestMount::mount(&bench, bench.with_layer("layer"), |options| (options.io, options.copying) = (io, copying), None)
}

fn read_all(file: &File) -> Vec<u8> {
    let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
    let mut all = vec![0; length];
    let mut done = 0;
    while done < length {
        match file.read_at(&mut all[done..], done as u64).unwrap() {
            0 => break,
            count => done += count,
        }
    }
    all.truncate(done);
    all
}

fn data_files(mount: &TestMount) -> usize {
    fn count(dir: &Path) -> usize {
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
    }
    count(&mount.bench.layer_path("layer").join("data"))
}

/// Runs every change under a reader; `keeps`: whether the reader goes on with the old content.
fn check(length: usize, io: IoChoice, copying: Copying, keeps: bool) {
    let mount = mount(&CHANGES, length, io, copying);
    let old = content(length);
    for (at, (name, call)) in CHANGES.iter().enumerate() {
        let path = mount.at(&format!("dir/{at}"));
        let new = expected(*call, length);
        let reader = File::open(&path).unwrap();
        let map = Map::read(&reader);
        assert_eq!(map.get(length - 1), old[length - 1]);
        let before = reader.metadata().unwrap();
        call(&path);
        assert!(fs::read(&path).unwrap() == new, "{name}: a new open sees the new content");
        let after = fs::metadata(&path).unwrap();
        assert_eq!((after.ino(), after.len()), (before.ino(), new.len() as u64), "{name}");
        assert_eq!(reader.metadata().unwrap().len(), new.len() as u64, "{name}: attributes are the inode's");
        if keeps {
            let mut seen = vec![0; length];
            reader.read_exact_at(&mut seen, 0).unwrap();
            assert!(seen == old, "{name}: the reader keeps what it had");
            assert!((0..length).step_by(997).all(|at| map.get(at) == old[at]), "{name}: so does its mapping");
        } else {
            assert!(read_all(&reader) == new, "{name}: the reader sees the new content");
            let shared = new.len().min(length);
            assert!((0..shared).step_by(997).all(|at| map.get(at) == new[at]), "{name}: so does its mapping");
        }
        // A second change, by another way, is seen by all who came after the first.
        let later = File::open(&path).unwrap();
        writer(&path).write_all_at(b"second", 0).unwrap();
        assert_eq!(&fs::read(&path).unwrap()[..6], b"second", "{name}");
        assert_eq!(&read_all(&later)[..6], b"second", "{name}");
    }
    drop_all_is_well(&mount);
    mount.stop();
}

/// No blob was written.
fn drop_all_is_well(mount: &TestMount) {
    let see = &mut |listed| {
        if let cairnfs::store::Listed::Object(digest) = listed {
            let bytes = fs::read(mount.bench.store.object_path(digest)).unwrap();
            assert_eq!(Digest::of(&bytes), digest, "an object was written");
        }
    };
    mount.bench.store.list_objects(see).unwrap();
    assert_eq!(mount.count("panics"), 0);
}

#[test]
fn readers_of_a_small_file_see_every_change() {
    check(SMALL, IoChoice::Auto, Copying::Auto, false);
    check(SMALL, IoChoice::Auto, Copying::Range, false);
}

#[test]
fn readers_of_a_large_file_keep_what_they_had() {
    check(LARGE, IoChoice::Auto, Copying::Auto, true);
    check(LARGE, IoChoice::Auto, Copying::Range, true);
}

#[test]
fn without_passthrough_all_readers_see_every_change() {
    for copying in [Copying::Auto, Copying::Range] {
        check(SMALL, IoChoice::Cached, copying, false);
        check(LARGE, IoChoice::Cached, copying, false);
    }
}

#[test]
fn calls_that_leave_the_content_copy_nothing() {
    for length in [SMALL, LARGE] {
        let mount = mount(&NO_CHANGES, length, IoChoice::Auto, Copying::Range);
        for (at, (name, call)) in NO_CHANGES.iter().enumerate() {
            let path = mount.at(&format!("dir/{at}"));
            let reader = File::open(&path).unwrap();
            let map = Map::read(&reader);
            let before = reader.metadata().unwrap();
            call(&path);
            let after = fs::metadata(&path).unwrap();
            assert_eq!((after.ino(), after.len()), (before.ino(), before.len()), "{name}");
            assert!(fs::read(&path).unwrap() == content(length), "{name}");
            assert_eq!(map.get(100), content(length)[100]);
            assert_eq!(data_files(&mount), 0, "{name} copied content");
        }
        assert_eq!(mount.count("reopens_elsewhere"), 0);
        mount.stop();
    }
}

/// Killed when dropped, also when the test fails.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn a_program_that_runs_is_not_changed_beneath_itself() {
    let program = fs::read("/bin/sleep").unwrap();
    let spec = Spec::new().file("sleep", program.clone()).mode("sleep", 0o755);
    let mount = TestMount::writable(&spec);
    let path = mount.at("sleep");
    let running = Running(std::process::Command::new(&path).arg("1000").spawn().unwrap());
    common::wait_until("it runs", || {
        fs::read_link(format!("/proc/{}/exe", running.0.id())).is_ok_and(|exe| exe == path)
    });
    for (name, call) in CHANGES {
        let refused = std::panic::catch_unwind(|| call(&path));
        assert!(refused.is_err(), "{name} on a running program");
    }
    assert!(fs::read(&path).unwrap() == program);
    // The source of copy_file_range was a file of the mount, which the kernel lets go of when it has time.
    common::wait_until("no content is the layer's: nothing was copied", || data_files(&mount) == 0);
    drop(running);
    CHANGES[0].1(&path);
    assert_eq!(fs::read(&path).unwrap()[3], b'W');
    mount.stop();
}

#[test]
fn a_reader_for_running_keeps_what_it_had() {
    // A script is opened by the kernel to be run, and by its interpreter to be read: once it says something, both have been.
    let script = "#!/bin/sh\necho runs\nread line\necho old\n";
    let mount = TestMount::writable(&Spec::new().file("script", script).mode("script", 0o755));
    let path = mount.at("script");
    let mut command = std::process::Command::new(&path);
    let mut running = command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(running.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "runs");
    fs::write(&path, "#!/bin/sh\necho new\n").unwrap();
    running.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(said.next().unwrap().unwrap(), "old");
    running.wait().unwrap();
    assert_eq!(std::process::Command::new(&path).output().unwrap().stdout, b"new\n");
    mount.stop();
}

#[test]
fn an_old_reader_and_new_ones_go_on_side_by_side() {
    let mount = TestMount::writable(&Spec::new().file("dir/file", content(LARGE)).link("dir/name", "dir/file"));
    let path = mount.at("dir/file");
    let reader = File::open(&path).unwrap();
    let inode = reader.metadata().unwrap().ino();
    for round in 0..20u8 {
        writer(&path).write_all_at(&[round], 0).unwrap();
        let newer = File::open(mount.at("dir/name")).unwrap();
        assert_eq!(read_all(&newer)[0], round);
        let mut first = [9];
        reader.read_exact_at(&mut first, 0).unwrap();
        assert_eq!(first, [0]);
        for path in ["dir/file", "dir/name"] {
            assert_eq!(fs::metadata(mount.at(path)).unwrap().ino(), inode);
        }
        fs::rename(&path, mount.at("dir/other")).unwrap();
        for entry in fs::read_dir(mount.at("dir")).unwrap() {
            assert_eq!(entry.unwrap().ino(), inode, "the listing's number is that of stat");
        }
        fs::rename(mount.at("dir/other"), &path).unwrap();
    }
    assert_eq!(mount.count("reopens_elsewhere"), 1, "one reader of old content, one more node");
    fs::remove_file(&path).unwrap();
    fs::remove_file(mount.at("dir/name")).unwrap();
    assert_eq!(reader.metadata().unwrap().nlink(), 0);
    let mut first = [9];
    reader.read_exact_at(&mut first, 0).unwrap();
    assert_eq!(first, [0]);
    drop(reader);
    common::wait_until("its content is reclaimed", || data_files(&mount) == 0);
    mount.stop();
}
