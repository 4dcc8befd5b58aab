//! Power cuts under load: a layer on a filesystem on a loop device that is shut down with what it hadn't written.
//!
//! `CAIRNFS_TEST_CUTS` cuts in all (20), `CAIRNFS_TEST_SEED` for the same load again.
#![allow(clippy::unwrap_used, reason = "a test may end so")]

mod crash_util;
#[path = "store_util/disk.rs"]
mod disk;

use crash_util::model::Bytes;
use crash_util::skip::possible;
use crash_util::world::{End, World};
use crash_util::{Random, number, seed};
use disk::Disk;

/// One in so many cuts is of the second filesystem.
const SECOND: usize = 4;

#[test]
fn what_was_synced_survives_power_cuts_and_the_rest_is_consistent() {
    let (cuts, mut random) = (number("CAIRNFS_TEST_CUTS", 20), Random(seed()));
    if !possible(&["xfs_io"]) {
        return;
    }
    for (kind, rounds) in [("ext4", cuts - cuts / SECOND), ("xfs", cuts / SECOND), ("btrfs", 1)] {
        let folder = tempfile::Builder::new().prefix("cairnfs-cut-").tempdir().unwrap();
        let Some(disk) = Disk::make(folder.path(), kind) else {
            println!("skipped: no {kind} can be made here");
            continue;
        };
        if !disk.can_be_cut() {
            println!("skipped: {kind} of this kernel can't be shut down");
            continue;
        }
        let mut world = World::new(folder.path(), &disk.store(), 4, 1 << 20, Random(random.next()));
        for round in 0..rounds {
            // What was copied up before stays as it is, so the layer has both.
            world.copy = if round % 2 == 0 { "copy=range" } else { "copy=auto" };
            cut(&mut world, &disk, round, &format!("{kind}, round {round}"));
            if round % 20 == 19 {
                println!("{kind}: {} cuts, {:?}", round + 1, world.tally);
            }
        }
        world.unmount();
        world.check_layer();
        println!("{kind}: {rounds} cuts, {:?}", world.tally);
        assert_eq!(world.tally.emptied, 0, "content that was synced is gone");
    }
}

/// The judge itself.
#[test]
fn what_a_former_cut_took_back_may_be_behind_the_synced_end_and_nowhere_else() {
    let mut bytes = Bytes::new(vec![1; 5000]);
    bytes.versions.push([vec![1; 5000], vec![2; 5000]].concat().into());
    let mut bytes = bytes.cut_to(vec![1; 5000]);
    bytes.versions.push([vec![1; 5000], vec![3; 5000]].concat().into());
    let found = |at: usize, byte: u8, length: usize| {
        let mut found = [vec![1; 5000], vec![3; length - 5000]].concat();
        found[at] = byte;
        bytes.reject(&found)
    };
    assert_eq!(found(5000, 2, 8192), None);
    assert_eq!(found(8191, 2, 8192), None);
    assert!(found(8192, 2, 9000).is_some(), "of another block");
    assert!(found(4999, 2, 8192).is_some(), "synced");
    assert!(found(6000, 4, 8192).is_some(), "never written");
    bytes.synced(None);
    assert!(bytes.taken_back.is_empty());
}

/// A round: load, now and then with a killed daemon before, a cut, and all that is there judged.
fn cut(world: &mut World, disk: &Disk, round: usize, context: &str) {
    let end = End::Cut { flush_log: world.random.index(2) == 0 };
    if round == 0 {
        world.mount();
    }
    if round % 4 == 3 {
        let steps = 20 + world.random.index(300) as u64;
        let progress = world.work(steps, false, World::kill);
        world.mount();
        world.judge(End::Kill, &progress, &format!("{context}, killed before"));
    }
    // Now and then at once, when what recovery did is all that could be lost.
    let steps = if round % 8 == 3 { 1 } else { 20 + world.random.index(800) as u64 };
    let progress = world.work(steps, round % 3 == 2, |_| disk.cut_power(end == End::Cut { flush_log: true }));
    disk.restart();
    world.mount();
    world.judge(end, &progress, &format!("{context}, {end:?}"));
}
