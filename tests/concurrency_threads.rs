//! Sixteen threads of mixed operations on one mount with a layer, while snapshots are taken and collections run. At the end the tree is
//! what the threads' models say, link counts are those that a walk counts, the same holds after a remount, and a check of the layer finds
//! nothing.
//!
//! `CAIRNFS_TEST_SECONDS` says for how long (10 by default), `CAIRNFS_TEST_SEED` chooses other operations.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]
#![allow(clippy::print_stderr, reason = "rates, for whoever asks with --nocapture, and what hangs")]

mod common;
mod concurrency_util;

use cairnfs::gc;
use cairnfs::snapshot::{self, Request};
use common::mount::{Bench, TestMount};
use common::spec::Spec;
use concurrency_util::private::{self, Private};
use concurrency_util::random::number;
use concurrency_util::shared::{self, Part, Shared};
use concurrency_util::watch::Watch;
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

const THREADS: usize = 16;

fn spec() -> Spec {
    let mut spec = Spec::new().file("shared/races/.keep", "");
    for (path, content) in shared::base() {
        spec = spec.file(&path, content);
    }
    for thread in 0..THREADS {
        for (path, content) in private::base() {
            spec = spec.file(&format!("t{thread}/{path}"), content);
        }
        spec = spec.link(&format!("t{thread}/n4"), &format!("t{thread}/n1"));
    }
    spec
}

/// Snapshots and collections until `until`; one thread of its own.
fn keep_house(mount: &TestMount, lease: &cairnfs::store::Lease, watch: &Watch, until: Instant) {
    let mut round = 0;
    while Instant::now() < until {
        watch.begins(THREADS, "snapshot");
        let request =
            Request { name: "snap".parse().unwrap(), labels: Default::default(), created_at: None, parent: None };
        snapshot::take(&mount.fs, &request, &mut |manifest| Ok(lease.keep(manifest)?)).unwrap();
        if round % 2 == 1 {
            watch.begins(THREADS, "collection");
            let options = gc::Options { grace: Duration::ZERO, ..Default::default() };
            let report = gc::collect(&mount.bench.store, &options, &|_| {}).unwrap();
            assert!(report.missing.is_empty(), "{:?}", report.missing);
        }
        round += 1;
        watch.begins(THREADS, "pause");
        std::thread::sleep(Duration::from_millis(200));
    }
    watch.ends(THREADS);
}

/// Every file's links are as many as a walk finds, every directory's two more than the directories in it.
fn assert_links(dir: &Path, names: &mut HashMap<u64, (u64, u64)>) {
    let mut subdirs = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            subdirs += 1;
            assert_links(&path, names);
        } else {
            names.entry(metadata.ino()).or_insert((0, metadata.nlink())).0 += 1;
        }
    }
    assert_eq!(fs::metadata(dir).unwrap().nlink(), subdirs + 2, "links of {}", dir.display());
}

fn assert_all(root: &Path, parts: &[(Private, Part<'_>)], shared: &Shared) {
    let mut links = 0;
    for (private, part) in parts {
        private.assert_same(root);
        links += part.assert_kept(root);
    }
    shared.assert_held(root, links);
    let mut names = HashMap::new();
    assert_links(root, &mut names);
    for (ino, (found, told)) in names {
        assert_eq!(found, told, "names of inode {ino}, and its links");
    }
}

#[test]
fn sixteen_threads_keep_their_word() {
    let seconds = number("CAIRNFS_TEST_SECONDS", 10);
    let seed = number("CAIRNFS_TEST_SEED", 1_u64);
    let bench = Bench::new(&spec());
    // Collections keep what the mount shows, and each snapshot.
    let lease = bench.store.lease("test", &[bench.manifest]).unwrap();
    let mount = TestMount::mount(&bench, bench.with_layer("layer"), |_| {}, None);
    let (watch, shared) = (Watch::new(THREADS + 1), Shared::default());
    let started = Instant::now();
    let until = started + Duration::from_secs(seconds);

    let work = |thread: usize| {
        let seed = seed.wrapping_mul(1000) + thread as u64;
        let mut private = Private::new(mount.at(&format!("t{thread}")), seed);
        let mut part = shared.part(mount.root(), thread, !seed);
        let begins = |operation| watch.begins(thread, operation);
        while Instant::now() < until {
            private.step(&begins);
            private.step(&begins);
            part.step(&begins);
        }
        watch.ends(thread);
        (private, part)
    };
    let parts: Vec<(Private, Part<'_>)> = std::thread::scope(|scope| {
        let (work, watch, mount, lease) = (&work, &watch, &mount, &lease);
        scope.spawn(move || watch.watch(mount.root()));
        let house = scope.spawn(move || keep_house(mount, lease, watch, until));
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || work(thread))).collect();
        let ended: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        let house = house.join();
        watch.over();
        house.unwrap();
        ended.into_iter().map(Result::unwrap).collect()
    });
    let elapsed = started.elapsed().as_secs_f64();
    let counts = watch.counts();
    let all: u64 = counts.values().sum();
    eprintln!("{all} operations in {elapsed:.1} s, {:.0} a second: {counts:?}", all as f64 / elapsed);

    assert_all(mount.root(), &parts, &shared);
    let mount = mount.remount();
    assert_all(mount.root(), &parts, &shared);
    mount.stop();
    let layer = bench.layer_path("layer");
    let report =
        cairnfs::fsck::check_layer(&bench.store, bench.manifest, &layer, cairnfs::fsck::Options::default()).unwrap();
    assert!(report.problems.is_empty(), "{:#?}", report.problems);
}
