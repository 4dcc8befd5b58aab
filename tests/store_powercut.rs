//! Power cuts, on real filesystems on loop devices that are shut down with what they hadn't written.
#![allow(clippy::unwrap_used, reason = "a test may end so")]

#[path = "store_util/disk.rs"]
mod disk;
#[path = "common/skip.rs"]
mod skip;
#[path = "store_util/mod.rs"]
mod util;

use cairnfs::format::Digest;
use cairnfs::gc::{Options, collect};
use cairnfs::store::{Store, Writer};
use disk::Disk;
use skip::possible;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use util::{name, put_manifest, verify};

/// Sizes below and above what is read whole.
fn contents() -> impl Iterator<Item = Vec<u8>> {
    let sizes = (1..60).map(|number: usize| number * 997).chain([3_000_000]);
    sizes.map(|size| (0..size).map(|at| (at * size / 64 % 255) as u8 + 1).collect())
}

fn put_all(writer: &Writer) -> Vec<Digest> {
    contents().map(|content| writer.put_reader(&mut &*content).unwrap().digest).collect()
}

/// Runs as a child of the test below: puts, says so, and waits to be killed.
#[test]
fn child_that_puts() {
    let Some(path) = std::env::var_os("CAIRNFS_TEST_CHILD_STORE") else { return };
    let store = Store::open(Path::new(&path)).unwrap();
    let writer = store.writer("cut off").unwrap();
    put_all(&writer);
    println!("\nput");
    loop {
        std::thread::park();
    }
}

#[test]
fn what_a_power_cut_tore_is_never_trusted_and_refs_lose_nothing() {
    // Without root or the tools, the rules are still tested on files (store_objects.rs).
    if !possible(&["xfs_io"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut tried = 0;
    for kind in ["ext4", "xfs"] {
        let Some(disk) = Disk::make(folder.path(), kind) else { continue };
        tried += 1;
        for flush_log in [true, false] {
            cut(&disk, flush_log);
        }
    }
    assert!(tried > 0, "no disk could be made");
}

fn cut(disk: &Disk, flush_log: bool) {
    let store = Store::init(&disk.store()).unwrap();
    let kept = {
        let writer = store.writer("import").unwrap();
        let kept = put_manifest(&writer, &format!("{flush_log}"), &[&vec![7; 300_000], b"small"]);
        writer.set_ref(&name("kept"), kept).unwrap();
        kept
    };
    put_until_cut(disk, flush_log);
    drop(store);
    disk.restart();

    let store = Store::open(&disk.store()).unwrap();
    assert_eq!(store.resolve_ref(&name("kept")).unwrap(), kept);
    verify(&store, kept);
    let damaged =
        |store: &Store| util::objects(store).into_iter().filter(|one| store.verify_object(*one).is_err()).count();
    let writer = store.writer("again").unwrap();
    for digest in put_all(&writer) {
        store.verify_object(digest).unwrap();
    }
    writer.barrier().unwrap();
    drop(writer);
    assert_eq!(damaged(&store), 0);

    // And when nobody puts it again, a collection discards it.
    put_until_cut(disk, flush_log);
    drop(store);
    disk.restart();
    let store = Store::open(&disk.store()).unwrap();
    let living = store.writer("living").unwrap();
    let options = Options { grace: std::time::Duration::ZERO, ..Options::default() };
    collect(&store, &options, &|_| {}).unwrap();
    assert_eq!(damaged(&store), 0);
    drop(living);
    collect(&store, &options, &|_| {}).unwrap();
    assert_eq!(store.leases().unwrap(), []);
    verify(&store, kept);
    assert_eq!(util::objects(&store).len(), store.closure(kept).unwrap().len());
}

fn put_until_cut(disk: &Disk, flush_log: bool) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_puts", "--nocapture"])
        .env("CAIRNFS_TEST_CHILD_STORE", disk.store())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok).any(|line| line == "put");
    disk.cut_power(flush_log);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(said, "the child put everything");
}

/// Runs as a child of the test below: moves a ref again and again, and says each time that it did.
#[test]
fn child_that_moves_a_ref() {
    let Some(path) = std::env::var_os("CAIRNFS_TEST_CHILD_STORE") else { return };
    let store = Store::open(Path::new(&path)).unwrap();
    for number in 0.. {
        let writer = store.writer("import").unwrap();
        let content = format!("content {number}").repeat(1000);
        let manifest = put_manifest(&writer, &number.to_string(), &[content.as_bytes(), b"same in all"]);
        writer.set_ref(&name("moving/ref"), manifest).unwrap();
        println!("\nset {manifest}");
    }
}

#[test]
fn a_ref_that_was_set_survives_a_power_cut_whole() {
    let folder = tempfile::tempdir().unwrap();
    if !possible(&["xfs_io"]) {
        return;
    }
    for (kind, rounds) in [("ext4", 4), ("xfs", 4)] {
        let disk = Disk::make(folder.path(), kind).unwrap();
        for round in 0..rounds {
            drop(Store::init(&disk.store()).unwrap());
            let said = move_until_cut(&disk, 2 + 3 * round, round % 2 == 0);
            disk.restart();
            let store = Store::open(&disk.store()).unwrap();
            let of = name("moving/ref");
            let now = store.resolve_ref(&of).unwrap();
            verify(&store, now);
            let history = store.ref_history(&of).unwrap();
            assert_eq!(history.last().unwrap().new, Some(now));
            // What was said is what it names, or what it named before a move that was under way.
            let news: Vec<_> = history.iter().rev().take(2).map(|change| change.new.unwrap()).collect();
            assert!(news.contains(&said), "{kind} {round}");
            verify(&store, store.undo_ref(&of).unwrap());
            collect(&store, &Options::default(), &|_| {}).unwrap();
        }
    }
}

/// Returns the last manifest that the child said the ref names, before the power was cut.
fn move_until_cut(disk: &Disk, moves: usize, flush_log: bool) -> Digest {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_moves_a_ref", "--nocapture"])
        .env("CAIRNFS_TEST_CHILD_STORE", disk.store())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut said = lines.filter_map(|line| line.strip_prefix("set ")?.parse().ok());
    let mut last = said.nth(moves - 1);
    disk.cut_power(flush_log);
    // It may have said more by then; it ends at the first error.
    for more in said {
        last = Some(more);
    }
    child.wait().unwrap();
    last.unwrap()
}

#[test]
fn a_disk_that_fails_at_the_barrier_gets_no_ref_and_leaves_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    if !possible(&["xfs_io"]) {
        return;
    }
    let disk = Disk::make(folder.path(), "ext4").unwrap();
    let store = Store::init(&disk.store()).unwrap();
    let writer = store.writer("import").unwrap();
    let manifest = put_manifest(&writer, "lost", &[&vec![7; 300_000]]);
    disk.cut_power(false);
    for _ in 0..2 {
        let error = writer.barrier().unwrap_err();
        assert!(error.to_string().contains("can't sync"), "{error}");
        writer.set_ref(&name("lost"), manifest).unwrap_err();
    }
    drop((writer, store));
    disk.restart();
    let store = Store::open(&disk.store()).unwrap();
    assert_eq!(store.refs().unwrap(), []);
    assert!(store.leases().unwrap().iter().all(|lease| !lease.alive));
    assert_eq!(store.leases().unwrap().len(), 1, "it warns later writers");
}
