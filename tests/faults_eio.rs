//! Disks that fail: what a program is told, what the log says, that what was called durable is, and that the daemon goes on.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod fault_util;

use fault_util::*;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const TOOLS: &[&str] = &["mkfs.ext4", "xfs_io"];

/// A store with a manifest `base` on the place.
fn store_on(place: &Place) -> PathBuf {
    let store = place.at("store");
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("clean"), "clean\n").unwrap();
    fs::write(source.path().join("big"), vec![7; 300_000]).unwrap();
    succeed(&store, &["init", "-q"]);
    succeed(&store, &["import", "-q", source.path().to_str().unwrap(), "base"]);
    store
}

fn is_eio(outcome: &io::Result<()>) -> bool {
    outcome.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EIO))
}

/// The first failure is told as the disk says it: a loop device whose file has no room says ENOSPC.
fn is_told(outcome: &io::Result<()>) -> bool {
    is_eio(outcome) || outcome.as_ref().is_err_and(is_full)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir).unwrap().sync_all()
}

/// Makes all folders in which the layer may put content. One that is made while the disk takes nothing is metadata of the host's filesystem, which
/// becomes read-only when that can't be written, now or at any time later.
fn make_folders(store: &Path) {
    let made = (0..256).map(|number| fs::create_dir(store.join(format!("layers/work/data/{number:02x}"))));
    assert!(made.filter(Result::is_ok).count() > 200, "the layer puts content elsewhere");
}

/// The kernel tells of a write-back that failed once; here it stays told, and nothing that was called durable is missing after a power cut.
#[test]
fn a_sync_after_one_that_failed_promises_nothing_false() {
    if !possible(TOOLS) {
        return;
    }
    let place = Place::failing(24);
    let store = store_on(&place);
    let mut daemon = Daemon::start(&store, &["--layer", "work"]);
    fs::write(daemon.at("durable"), vec![1; 100_000]).unwrap();
    File::open(daemon.at("durable")).unwrap().sync_all().unwrap();
    fs::create_dir(daemon.at("durable-dir")).unwrap();
    sync_dir(&daemon.at("")).unwrap();
    make_folders(&store);
    daemon.ctl("sync").unwrap();
    place.starve();
    // content: a new file, one that grows, and one that is copied up
    let new = File::create(daemon.at("new")).unwrap();
    new.write_all_at(&[2; 200_000], 0).unwrap();
    let other = OpenOptions::new().read(true).open(daemon.at("new")).unwrap();
    assert!(is_told(&new.sync_all()), "{}", daemon.log());
    assert!(is_eio(&new.sync_all()), "the bytes are no more on disk than before");
    assert!(is_eio(&new.sync_data()) && is_eio(&other.sync_all()));
    let copied = OpenOptions::new().write(true).open(daemon.at("big")).unwrap();
    copied.write_all_at(b"changed", 0).unwrap();
    assert!(is_told(&copied.sync_all()));
    let told = daemon.ctl("sync");
    assert!(told.is_err(), "not all is on disk");
    daemon.assert_well();
    place.feed();
    assert!(is_eio(&new.sync_all()) && is_eio(&copied.sync_all()), "what is lost doesn't come back by itself");
    // written anew it can be durable again
    drop((new, other, copied));
    fs::write(daemon.at("new"), vec![3; 200_000]).unwrap();
    File::open(daemon.at("new")).unwrap().sync_all().unwrap();
    fs::write(daemon.at("after"), "after").unwrap();
    File::open(daemon.at("after")).unwrap().sync_all().unwrap();
    sync_dir(&daemon.at("")).unwrap();
    let log = daemon.log();
    assert!(log.contains("layers/work/data") && log.contains("didn't reach its disk"), "{log}");
    daemon.kill();
    place.cut_power();
    let daemon = Daemon::start(&store, &["--layer", "work"]);
    assert_eq!(fs::read(daemon.at("durable")).unwrap(), vec![1; 100_000]);
    assert!(daemon.at("durable-dir").is_dir());
    assert_eq!(fs::read(daemon.at("new")).unwrap(), vec![3; 200_000]);
    assert_eq!(fs::read(daemon.at("after")).unwrap(), b"after");
    daemon.stop();
}

/// The same of names: the database's journal couldn't be written, and later syncs must not be called good for what comes after the hole.
#[test]
fn names_that_were_synced_after_a_failed_sync_are_durable() {
    if !possible(TOOLS) {
        return;
    }
    let place = Place::failing(24);
    let store = store_on(&place);
    let mut daemon = Daemon::start(&store, &["--layer", "work"]);
    let make = |daemon: &Daemon, range: std::ops::Range<u32>| {
        range.for_each(|number| fs::create_dir(daemon.at(&format!("{number}-{}", "x".repeat(200)))).unwrap());
    };
    make(&daemon, 0..100);
    sync_dir(&daemon.at("")).unwrap();
    place.starve();
    make(&daemon, 100..2000);
    assert!(is_told(&sync_dir(&daemon.at(""))), "{}", daemon.log());
    make(&daemon, 2000..2010);
    daemon.assert_well();
    assert_eq!(fs::read_dir(daemon.at("")).unwrap().count(), 2012);
    place.feed();
    make(&daemon, 2010..2020);
    sync_dir(&daemon.at("")).unwrap();
    let log = daemon.log();
    assert!(log.contains("layers/work/index") && log.contains("writing a journal of the layer database anew"), "{log}");
    daemon.kill();
    place.cut_power();
    let daemon = Daemon::start(&store, &["--layer", "work"]);
    assert_eq!(fs::read_dir(daemon.at("")).unwrap().count(), 2022, "all that the last sync covered");
    daemon.stop();
}

/// All of the disk is gone at once: errors, no crash, and what was durable is there when it is back.
#[test]
fn a_disk_that_is_gone_is_told_and_loses_nothing_durable() {
    if !possible(TOOLS) {
        return;
    }
    let place = Place::ext4(16, &[]);
    let store = store_on(&place);
    let mut daemon = Daemon::start(&store, &["--layer", "work"]);
    fs::create_dir(daemon.at("dir")).unwrap();
    fs::write(daemon.at("dir/file"), "kept").unwrap();
    let open = OpenOptions::new().read(true).write(true).open(daemon.at("dir/file")).unwrap();
    open.sync_all().unwrap();
    sync_dir(&daemon.at("dir")).unwrap();
    let before = tree(&daemon.at(""));
    assert!(run("xfs_io", &["-x", "-c", "shutdown", place.at("").to_str().unwrap()]));
    // ext4 says EIO or EROFS once it is shut down, by operation
    let failed = |what: &str, outcome: io::Result<()>| {
        let code = outcome.expect_err(what).raw_os_error();
        assert!(matches!(code, Some(libc::EIO | libc::EROFS)), "{what}: {code:?}");
    };
    for _ in 0..2 {
        failed("write", open.write_all_at(b"more", 4));
        failed("fsync", open.sync_all());
        failed("mkdir", fs::create_dir(daemon.at("new")));
        failed("unlink", fs::remove_file(daemon.at("dir/file")));
        failed("rename", fs::rename(daemon.at("dir"), daemon.at("moved")));
        failed("fsync of a directory", sync_dir(&daemon.at("")));
        failed("copy-up", OpenOptions::new().write(true).open(daemon.at("clean")).map(drop));
        assert!(daemon.ctl("sync").is_err());
        assert!(daemon.ctl("snapshot new").is_err() && daemon.reply().contains("\"ok\": false"));
    }
    daemon.assert_well();
    let log = daemon.log();
    assert!(log.contains("layers/work/index") && log.contains("look at the kernel log"), "{log}");
    drop(open);
    daemon.kill();
    place.restart();
    let daemon = Daemon::start(&store, &["--layer", "work"]);
    assert_eq!(tree(&daemon.at("")), before);
    daemon.stop();
}

/// A blob that can't be read can't be copied up: the file stays clean, and all else goes on.
#[test]
fn a_copy_up_whose_blob_cannot_be_read_did_not_happen() {
    if !possible(TOOLS) {
        return;
    }
    let (place, failing) = (Place::tmpfs("size=16m"), Place::ext4(16, &[]));
    let store = store_on(&place);
    // the folder of the blob on a disk of its own
    let digest = cairnfs::format::Digest::of(&[7; 300_000]).to_string();
    let bound = store.join("objects").join(&digest[..2]);
    assert!(run("cp", &["-a", bound.to_str().unwrap(), failing.at("objects").to_str().unwrap()]));
    assert!(run("mount", &["--bind", failing.at("objects").to_str().unwrap(), bound.to_str().unwrap()]));
    let mut daemon = Daemon::start(&store, &["--layer", "work"]);
    fs::write(daemon.at("own"), "own").unwrap();
    assert!(run("sync", &["-f", bound.to_str().unwrap()]));
    let blob = File::open(bound.join(&digest[2..])).unwrap();
    nix::fcntl::posix_fadvise(&blob, 0, 0, nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
    drop(blob);
    assert!(run("xfs_io", &["-x", "-c", "shutdown", bound.to_str().unwrap()]));
    let data = store.join("layers/work/data");
    let before = files(&data);
    for _ in 0..2 {
        let opened = OpenOptions::new().write(true).open(daemon.at("big")).map(drop);
        assert!(is_eio(&opened), "{opened:?}");
        assert_eq!(files(&data), before, "nothing stays of a copy that failed");
        assert_eq!(fs::metadata(daemon.at("big")).unwrap().len(), 300_000);
        assert!(is_eio(&fs::read(daemon.at("big")).map(drop)));
    }
    // cut to nothing it needs none of its bytes
    let emptied = OpenOptions::new().write(true).truncate(true).open(daemon.at("big")).unwrap();
    emptied.write_all_at(b"new", 0).unwrap();
    drop(emptied);
    assert_eq!(fs::read(daemon.at("big")).unwrap(), b"new");
    assert_eq!(fs::read(daemon.at("own")).unwrap(), b"own");
    daemon.assert_well();
    let log = daemon.log();
    assert!(
        log.contains("Input/output error") && log.contains("store/objects/") && log.contains("kernel log"),
        "{log}"
    );
    daemon.kill();
    assert!(run("umount", &["-l", bound.to_str().unwrap()]));
}

/// A daemon under `fiu-run`, whose calls of the C library can be made to fail.
struct Fallible {
    daemon: Daemon,
    _folder: tempfile::TempDir,
    prefix: String,
}

impl Fallible {
    fn start(store: &Path, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let prefix = folder.path().join("fiu").to_str().unwrap().to_owned();
        let daemon = Daemon::start_by(&["fiu-run", "-x", "-f", &prefix], store, arguments).unwrap();
        Self { daemon, _folder: folder, prefix }
    }

    fn tell(&self, what: &str) {
        assert!(run("fiu-ctrl", &["-f", &self.prefix, "-c", what, &self.daemon.pid().to_string()]), "{what}");
    }

    /// While `point` fails with EIO.
    fn during<T>(&self, point: &str, act: impl FnOnce(&Daemon) -> T) -> T {
        self.tell(&format!("enable name={point},failinfo={}", libc::EIO));
        let outcome = act(&self.daemon);
        self.tell(&format!("disable name={point}"));
        outcome
    }
}

#[test]
fn each_call_that_fails_is_told_and_the_next_one_is_fine() {
    if !possible(&["fiu-run", "fiu-ctrl"]) {
        return;
    }
    let place = Place::tmpfs("size=64m");
    let store = store_on(&place);
    let data = store.join("layers/work/data");
    let mut fallible = Fallible::start(&store, &["--layer", "work", "-o", "io=cached"]);
    let root = fallible.daemon.at("");
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(root.join("file")).unwrap();
    file.write_all_at(b"content", 0).unwrap();
    file.sync_all().unwrap();
    // database
    let made = fallible.during("posix/io/rw/write", |_| fs::create_dir(root.join("dir")));
    assert!(is_eio(&made), "{made:?}");
    assert!(!root.join("dir").exists());
    fs::create_dir(root.join("dir")).unwrap();
    // content
    let written = fallible.during("posix/io/rw/pwrite", |_| file.write_all_at(b"CON", 0));
    assert!(is_eio(&written), "{written:?}");
    let cut = fallible.during("posix/io/rw/ftruncate", |_| file.set_len(3));
    assert!(is_eio(&cut), "{cut:?}");
    assert_eq!(fs::read(root.join("file")).unwrap(), b"content");
    let moved =
        fallible.during("posix/io/oc/open", |_| OpenOptions::new().write(true).open(root.join("clean")).map(drop));
    assert!(is_eio(&moved), "{moved:?}");
    assert_eq!(fs::read(root.join("clean")).unwrap(), b"clean\n");
    file.write_all_at(b"CON", 0).unwrap();
    file.set_len(3).unwrap();
    // syncs
    let synced = fallible.during("posix/io/sync/fdatasync", |_| file.sync_data());
    assert!(is_eio(&synced) && is_eio(&file.sync_data()) && is_eio(&file.sync_all()), "{synced:?}");
    let other = File::create(root.join("other")).unwrap();
    let synced = fallible.during("posix/io/sync/fsync", |_| (other.sync_all(), sync_dir(&root)));
    assert!(is_eio(&synced.0) && is_eio(&synced.1), "{synced:?}");
    sync_dir(&root).unwrap();
    // a data file that can't be removed is out of sight, and gone after the next opening
    drop((file, other));
    fallible.during("posix/io/dir/unlink", |_| {
        fs::remove_file(root.join("other")).unwrap();
        wait_until("the log tells of it", || fallible.daemon.log().contains("Input/output error"));
    });
    assert!(!root.join("other").exists());
    fallible.daemon.assert_well();
    let log = fallible.daemon.log();
    assert!(log.contains("request failed op=Write") && log.contains("layers/work"), "{log}");
    fallible.daemon.kill();
    let daemon = Daemon::start(&store, &["--layer", "work"]);
    assert_eq!(fs::read(daemon.at("file")).unwrap(), b"CON");
    assert!(daemon.at("dir").is_dir());
    assert_eq!(files(&data).len(), 1, "{:?}", files(&data));
    daemon.stop();
}
