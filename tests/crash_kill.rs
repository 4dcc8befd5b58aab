//! The daemon killed under load, and while it recovers: all that had returned is there.
//!
//! `CAIRNFS_TEST_KILLS` kills in all (20), `CAIRNFS_TEST_SEED` for the same load again.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may end so, and says why it was skipped")]

mod crash_util;

use cairnfs::store::Store;
use crash_util::skip::possible;
use crash_util::wait_until;
use crash_util::world::{End, SNAPSHOT, World};
use crash_util::{Random, number, seed};
use std::path::Path;
use std::time::Duration;

#[test]
fn nothing_that_had_returned_is_lost_with_the_daemon() {
    let (kills, mut random) = (number("CAIRNFS_TEST_KILLS", 20), Random(seed()));
    if !possible(&[]) {
        return;
    }
    let folder = tempfile::Builder::new().prefix("cairnfs-kill-").tempdir().unwrap();
    let store = folder.path().join("store");
    let mut world = World::new(folder.path(), &store, 4, 6 << 20, Random(random.next()));
    world.copy = "copy=range";
    world.mount();
    for round in 0..kills {
        let steps = 10 + random.index(500) as u64;
        let progress = world.work(steps, round % 3 == 2, World::kill);
        // Every few rounds by range; what was copied up before stays as it is.
        world.copy = if round % 4 < 2 { "copy=range" } else { "copy=auto" };
        if round % 2 == 1 {
            // Killed again at any point of recovery.
            world.start();
            std::thread::sleep(Duration::from_micros(random.index(60_000) as u64));
            world.kill();
        }
        world.mount();
        world.judge(End::Kill, &progress, &format!("round {round}"));
        if round % 20 == 19 {
            println!("{} kills, {:?}", round + 1, world.tally);
        }
        if round % 5 == 4 {
            world.unmount();
            world.check_layer();
            world.mount();
        }
    }
    world.unmount();
    world.check_layer();
    let opened = Store::open(&store).unwrap();
    if let Ok(snapshot) = opened.resolve_ref(&SNAPSHOT.parse().unwrap()) {
        for digest in opened.closure(snapshot).unwrap() {
            opened.verify_object(digest).unwrap();
        }
    }
    println!("{kills} kills, {:?}", world.tally);
    assert_eq!((world.tally.emptied, world.tally.reverted), (0, 0));
    assert!(kills < 10 || world.tally.orphans > 0, "no file was open without a name in any round");
}

#[test]
fn a_copy_that_is_cut_off_leaves_the_file_clean_and_nothing_behind() {
    if !possible(&[]) {
        return;
    }
    let folder = tempfile::Builder::new().prefix("cairnfs-kill-").tempdir().unwrap();
    let store = folder.path().join("store");
    let mut world = World::new(folder.path(), &store, 1, 32 << 20, Random(1));
    world.copy = "copy=whole";
    let base = world.models[0].bytes.values().map(|bytes| bytes.now().clone()).max_by_key(|bytes| bytes.len()).unwrap();
    let large = world.root().join("w0/large");
    let (mut cut_off, mut tries) = (0, 0);
    while cut_off < 3 {
        tries += 1;
        assert!(tries < 50, "the machine copies faster than it kills");
        world.mount();
        let opener = std::thread::spawn({
            let large = large.clone();
            move || std::fs::OpenOptions::new().append(true).open(large).is_ok()
        });
        wait_until("the copy has begun", || data_files(&store).iter().any(|&length| length > 0));
        world.kill();
        let done = opener.join().unwrap();
        let left = data_files(&store);
        let before = world.tally.strays;
        world.mount();
        assert!(std::fs::read(&large).unwrap() == **base);
        if done || left.contains(&(base.len() as u64)) {
            // Too late: the copy was whole. Another layer tries again.
            world.unmount();
            std::fs::remove_dir_all(store.join("layers/crash")).unwrap();
            continue;
        }
        cut_off += 1;
        assert_eq!((world.tally.strays - before, data_files(&store)), (1, vec![]));
        world.unmount();
        world.check_layer();
    }
}

/// Lengths of the layer's data files.
fn data_files(store: &Path) -> Vec<u64> {
    let folders = std::fs::read_dir(store.join("layers/crash/data")).unwrap().map(|folder| folder.unwrap().path());
    let files = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap());
    files.filter_map(|file| Some(file.unwrap().metadata().ok()?.len())).collect()
}
