//! Snapshots of a live mount: what is open, mapped or written meanwhile, and that no blob is ever written.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod common;

use cairnfs::format::Digest;
use cairnfs::snapshot::{self, Report, Request};
use cairnfs::vfs::Fs;
use common::map::Map;
use common::mount::TestMount;
use common::spec::Spec;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicBool, Ordering};

fn take(mount: &TestMount, name: &str) -> Report {
    let request = Request { name: name.parse().unwrap(), labels: Default::default(), created_at: None, parent: None };
    snapshot::take(&mount.fs, &request, &mut |_| Ok(())).unwrap()
}

/// A read-only mount of a snapshot.
fn mounted(mount: &TestMount, report: &Report) -> TestMount {
    let fs = Fs::read_only(&mount.bench.store, report.manifest).unwrap();
    TestMount::mount(&mount.bench, fs.into(), |_| {}, None)
}

fn assert_objects_are_whole(mount: &TestMount) {
    let mut all = Vec::new();
    mount
        .bench
        .store
        .list_objects(&mut |listed| {
            if let cairnfs::store::Listed::Object(object) = listed {
                all.push(object);
            }
        })
        .unwrap();
    assert!(!all.is_empty());
    for digest in all {
        let bytes = fs::read(mount.bench.store.object_path(digest)).unwrap();
        assert_eq!(Digest::of(&bytes), digest, "an object was written");
    }
}

#[test]
fn a_shared_mapping_outlives_its_descriptor_and_never_writes_the_blob() {
    let mount = TestMount::writable(&Spec::new().file("clean", vec![b'c'; 8192]));
    for (path, known) in [("new", false), ("twice", true), ("clean", false)] {
        if path != "clean" {
            fs::write(mount.at(path), vec![b'a'; 8192]).unwrap();
        }
        if known {
            // Its content is in the store already, so the snapshot wouldn't link the data file but remove it.
            take(&mount, "before");
            fs::write(mount.at(path), vec![b'a'; 8192]).unwrap();
        }
        let file = OpenOptions::new().read(true).write(true).open(mount.at(path)).unwrap();
        let map = Map::read_write(&file);
        drop(file);
        map.set(0, b'1');
        let report = take(&mount, "mapped");
        assert_eq!(report.being_written, [path]);
        map.set(0, b'2');
        map.set(4096, b'3');
        assert_objects_are_whole(&mount);
        let now = fs::read(mount.at(path)).unwrap();
        assert_eq!((now[0], now[4096]), (b'2', b'3'), "{path}: what was written by the mapping is in the file");
        let then = fs::read(mounted(&mount, &report).at(path)).unwrap();
        assert_eq!(then[0], b'1', "{path}: the snapshot has what was there at its instant");
        drop(map);
        let report = take(&mount, "after");
        assert_eq!(report.being_written, [""; 0], "{path}: nobody writes it any more");
    }
}

#[test]
fn a_name_that_leads_to_an_old_node_can_be_written_though_the_newest_is_tied_up() {
    let mount = TestMount::writable(&Spec::new());
    let (one, other) = (mount.at("one"), mount.at("other"));
    fs::write(&one, vec![b'0'; 1 << 20]).unwrap();
    fs::hard_link(&one, &other).unwrap();
    let writer = |path| OpenOptions::new().write(true).open(path);
    let mut readers = Vec::new();
    // Each reader ties a node to the content of its time, and the write after the snapshot needs another; `other` still leads to the first.
    for round in b'1'..b'4' {
        readers.push(File::open(&one).unwrap());
        mount.wait_until_open(readers.len());
        take(&mount, "taken");
        writer(&one).unwrap().write_all_at(&[round], 0).unwrap();
    }
    readers.push(File::open(&one).unwrap());
    mount.wait_until_open(readers.len());
    take(&mount, "taken");
    writer(&other).expect("the kernel looks a name up once more, not twice").write_all_at(b"4", 0).unwrap();
    for (reader, expected) in readers.iter().zip(b'0'..) {
        let mut first = [0];
        reader.read_exact_at(&mut first, 0).unwrap();
        assert_eq!(first, [expected]);
    }
    assert_eq!((fs::read(&one).unwrap()[0], fs::read(&other).unwrap()[0]), (b'4', b'4'));
}

#[test]
fn readers_and_their_mappings_go_on_through_a_snapshot() {
    let mount = TestMount::writable(&Spec::new());
    fs::write(mount.at("file"), vec![b'a'; 1 << 21]).unwrap();
    mount.wait_until_open(0);
    let reader = File::open(mount.at("file")).unwrap();
    let map = Map::read(&reader);
    let before = reader.metadata().unwrap();
    let report = take(&mount, "snap");
    assert_eq!(report.being_written, [""; 0]);
    let mut byte = [0];
    reader.read_exact_at(&mut byte, 5).unwrap();
    assert_eq!((byte[0], map.get(1 << 20)), (b'a', b'a'));
    let after = fs::metadata(mount.at("file")).unwrap();
    assert_eq!((before.ino(), before.mtime_nsec(), before.size()), (after.ino(), after.mtime_nsec(), after.size()));
    // A write now copies up: the reader keeps what it has, a new open has the new.
    OpenOptions::new().write(true).open(mount.at("file")).unwrap().write_all_at(b"new", 0).unwrap();
    assert_eq!(map.get(0), b'a');
    assert_eq!(&fs::read(mount.at("file")).unwrap()[..4], b"newa");
    assert_objects_are_whole(&mount);
}

#[test]
fn a_writer_goes_on_through_snapshots_and_each_is_a_prefix() {
    let mount = TestMount::writable(&Spec::new());
    let path = mount.at("log");
    let stop = AtomicBool::new(false);
    let (snapshots, written) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let file = File::create(&path).unwrap();
            let mut count = 0u64;
            while !stop.load(Ordering::Relaxed) {
                file.write_all_at(&count.to_le_bytes(), count * 8).unwrap();
                count += 1;
            }
            count
        });
        let snapshots: Vec<Report> = (0..10).map(|n| take(&mount, &format!("snap{n}"))).collect();
        stop.store(true, Ordering::Relaxed);
        (snapshots, writer.join().unwrap())
    });
    let numbers = |bytes: &[u8]| -> Vec<u64> {
        bytes.chunks_exact(8).map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap())).collect()
    };
    let all: Vec<u64> = (0..written).collect();
    assert_eq!(numbers(&fs::read(&path).unwrap()), all, "nothing that was written is lost");
    for report in snapshots {
        let taken = mounted(&mount, &report);
        if let Ok(bytes) = fs::read(taken.at("log")) {
            let then = numbers(&bytes);
            assert_eq!(then, all[..then.len()], "a snapshot has a prefix of an append-only file");
        }
    }
    assert_objects_are_whole(&mount);
}

#[test]
fn a_snapshot_survives_what_the_layer_does_next() {
    let mount = TestMount::writable(&Spec::new().file("dir/a", "a").file("dir/b", "b").link("twin", "dir/b"));
    fs::write(mount.at("dir/new"), "new").unwrap();
    fs::write(mount.at("twin"), "changed").unwrap();
    let first = take(&mount, "first");
    fs::remove_file(mount.at("dir/new")).unwrap();
    fs::rename(mount.at("dir"), mount.at("moved")).unwrap();
    fs::write(mount.at("moved/b"), "again").unwrap();
    let second = take(&mount, "second");
    let mount = mount.remount();
    assert_eq!(fs::read(mount.at("twin")).unwrap(), b"again");
    let (first, second) = (mounted(&mount, &first), mounted(&mount, &second));
    assert_eq!(fs::read(first.at("dir/new")).unwrap(), b"new");
    assert_eq!(fs::read(first.at("dir/b")).unwrap(), b"changed");
    assert_eq!(fs::metadata(first.at("twin")).unwrap().ino(), fs::metadata(first.at("dir/b")).unwrap().ino());
    assert_eq!(fs::read(second.at("moved/b")).unwrap(), b"again");
    assert_eq!(fs::read(second.at("twin")).unwrap(), b"again");
    assert!(!second.at("dir").exists() && !second.at("moved/new").exists());
    assert_objects_are_whole(&mount);
}

/// Pages are kept from one cached open to the next; an open by passthrough between them drops what it is about to change.
#[test]
fn what_was_cached_before_passthrough_wrote_does_not_come_back() {
    let mount = TestMount::writable(&Spec::new().file("small", "former content"));
    for (round, byte) in [b"1", b"2", b"3"].into_iter().enumerate() {
        // A blob, so through the page cache.
        let cached = mount.count("opens_cached");
        let before = fs::read(mount.at("small")).unwrap();
        assert!(mount.count("opens_cached") > cached, "not cached in round {round}");
        // While a cached open lives there is no passthrough.
        mount.wait_until_open(0);
        let passed = mount.count("opens_passthrough");
        OpenOptions::new().write(true).open(mount.at("small")).unwrap().write_all_at(byte, 0).unwrap();
        assert!(mount.count("opens_passthrough") > passed, "no passthrough in round {round}");
        mount.wait_until_open(0);
        take(&mount, "taken");
        let after = fs::read(mount.at("small")).unwrap();
        assert_eq!(after, [byte, &before[1..]].concat(), "round {round}");
    }
    assert_objects_are_whole(&mount);
    mount.stop();
}
