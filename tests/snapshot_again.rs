//! The second snapshot of a daemon, which looks only at what changed since the first: it is what one is that looks at everything.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

#[path = "common/random.rs"]
mod random;
#[path = "common/small_tree.rs"]
mod small_tree;

use cairnfs::format::{Digest, Kind, Mode};
use cairnfs::layer::Layer;
use cairnfs::snapshot;
use cairnfs::store::Store;
use cairnfs::vfs::{Fs, HandleId, Ino, OpenMode, RenameMode, SetAttr, VfsError};
use random::{Random, number};
use small_tree::{ROOT, at, create, find, import, ino, list, mkdir, name, plant, take_snapshot};
use tempfile::TempDir;

struct Bench {
    _folder: TempDir,
    store: Store,
    fs: Fs,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        plant(&source);
        let store = Store::init(&folder.path().join("store")).unwrap();
        let base = import(&store, &source, "base");
        let fs = Fs::with_layer(&store, base, Layer::open(&folder.path().join("layer")).unwrap()).unwrap();
        Self { _folder: folder, store, fs }
    }

    /// The same instant twice: by what changed since the last snapshot, and by everything.
    fn compare(&self, seed: u64) -> snapshot::Report {
        let quick = take_snapshot(&self.fs, "quick");
        self.fs.forget_taken();
        let whole = take_snapshot(&self.fs, "whole");
        let content = |digest: Digest| {
            let manifest = self.store.read_manifest(digest).unwrap();
            (manifest.root, manifest.links, manifest.totals)
        };
        assert_eq!(content(quick.manifest), content(whole.manifest), "seed {seed}");
        quick
    }

    fn write(&self, path: &str, text: &str) {
        let opened = self.fs.open(ino(&self.fs, path), OpenMode { write: true, truncate: false }).unwrap();
        self.fs.write(opened.handle, 0, text.as_bytes()).unwrap();
        self.fs.release(opened.handle);
    }
}

#[test]
fn nothing_changed_makes_nothing() {
    let bench = Bench::new();
    create(&bench.fs, "a/b/new", "text");
    bench.write("dir/3", "changed");
    let first = take_snapshot(&bench.fs, "first");
    assert!(first.new_trees >= 4, "{first:?}");
    let second = take_snapshot(&bench.fs, "second");
    assert_eq!((second.new_trees, second.new_blobs, second.deduplicated), (0, 0, 0));
    let root = |report: &snapshot::Report| bench.store.read_manifest(report.manifest).unwrap().root;
    assert_eq!(root(&first), root(&second));
}

#[test]
fn only_what_leads_to_a_change_is_made_anew() {
    let bench = Bench::new();
    for dir in 0..50 {
        mkdir(&bench.fs, &format!("empty/{dir}"));
        (0..4).for_each(|n| {
            create(&bench.fs, &format!("empty/{dir}/{n}"), "text");
        });
    }
    assert!(take_snapshot(&bench.fs, "first").new_trees > 50);
    bench.write("empty/7/2", "TEXT");
    // The root, `empty` and `empty/7`.
    assert_eq!(take_snapshot(&bench.fs, "second").new_trees, 3);
    let mode = SetAttr { mode: Some(Mode::from_bits(0o600)), ..SetAttr::default() };
    bench.fs.set_attr(ROOT, ino(&bench.fs, "empty/9/0"), &mode).unwrap();
    assert_eq!(bench.compare(0).new_trees, 3);
}

#[test]
fn a_file_that_stays_open_for_writing_is_looked_at_every_time() {
    let bench = Bench::new();
    create(&bench.fs, "a/log", "one");
    let open = bench.fs.open(ino(&bench.fs, "a/log"), OpenMode { write: true, truncate: false }).unwrap();
    take_snapshot(&bench.fs, "first");
    for text in ["two", "three", "four"] {
        bench.fs.write(open.handle, 0, text.as_bytes()).unwrap();
        let report = bench.compare(0);
        let taken = Fs::read_only(&bench.store, report.manifest).unwrap();
        assert_eq!(small_tree::read(&taken, "a/log")[..text.len()], *text);
        take_snapshot(&bench.fs, "next");
    }
    bench.fs.release(open.handle);
}

#[test]
fn one_that_failed_leaves_nothing_to_rely_on() {
    let bench = Bench::new();
    create(&bench.fs, "x", "content");
    take_snapshot(&bench.fs, "first");
    create(&bench.fs, "y", "content");
    let request =
        snapshot::Request { name: "snap".parse().unwrap(), labels: Default::default(), created_at: None, parent: None };
    assert!(snapshot::take(&bench.fs, &request, &mut |_| Err(VfsError::ShuttingDown.into())).is_err());
    create(&bench.fs, "z", "content");
    let taken = Fs::read_only(&bench.store, bench.compare(0).manifest).unwrap();
    assert_eq!(list(&taken, ""), ["a", "dir", "empty", "sym", "twin", "x", "y", "z"]);
}

/// Names of directories and of other things, by walking.
fn paths(fs: &Fs) -> (Vec<String>, Vec<String>) {
    let (mut dirs, mut others, mut pending) = (vec![String::new()], Vec::new(), vec![String::new()]);
    while let Some(dir) = pending.pop() {
        for entry in list(fs, &dir) {
            let path = format!("{dir}/{entry}");
            if find(fs, &path).unwrap().kind == Kind::Dir {
                dirs.push(path.clone());
                pending.push(path);
            } else {
                others.push(path);
            }
        }
    }
    (dirs, others)
}

fn step(bench: &Bench, random: &mut Random, open: &mut Vec<HandleId>) {
    let fs = &bench.fs;
    let (dirs, others) = paths(fs);
    let dir = random.pick(&dirs).unwrap().clone();
    let new = format!("{dir}/{}", random.below(12));
    let other = random.pick(&others).cloned();
    let is_free = find(fs, &new).is_none();
    match (random.below(11), other) {
        (0 | 1, _) if is_free => {
            create(fs, &new, &random.below(5).to_string());
        }
        (2, _) if is_free => {
            mkdir(fs, &new);
        }
        (3, Some(file)) => drop(fs.unlink(at(fs, &file).0, at(fs, &file).1)),
        (4, _) if !dir.is_empty() => drop(fs.rmdir(at(fs, &dir).0, at(fs, &dir).1)),
        (5, Some(file)) if is_free => drop(fs.link(ino(fs, &file), at(fs, &new).0, at(fs, &new).1)),
        (6, Some(file)) => drop(fs.rename(at(fs, &file), at(fs, &new), RenameMode::Replace)),
        (7, _) if !dir.is_empty() => {
            let target = format!("{}/{}", random.pick(&dirs).unwrap(), random.below(12));
            drop(fs.rename(at(fs, &dir), at(fs, &target), RenameMode::Replace));
        }
        (8, Some(file)) => {
            let mode = Some(Mode::from_bits(random.below(0o1000) as u32));
            fs.set_attr(ROOT, ino(fs, &file), &SetAttr { mode, ..SetAttr::default() }).unwrap();
        }
        (9, Some(file)) if find(fs, &file).unwrap().kind == Kind::File => {
            let opened = fs.open(ino(fs, &file), OpenMode { write: true, truncate: random.percent(20) }).unwrap();
            fs.write(opened.handle, random.below(4), &random.bytes(3)).unwrap();
            open.push(opened.handle);
        }
        (10, _) => {
            if let Some(&handle) = random.pick(open) {
                fs.write(handle, random.below(8), b"more").unwrap();
            }
        }
        _ => {}
    }
    if random.percent(40) && !open.is_empty() {
        fs.release(open.swap_remove(random.index(open.len())));
    }
}

#[test]
fn random_changes_between_snapshots_are_all_found() {
    let (mut quick, mut all) = (0, 0);
    let seed = number("CAIRNFS_TEST_SEED", 0);
    for seed in seed..seed + number("CAIRNFS_TEST_SEQUENCES", 10) {
        let (bench, mut random, mut open) = (Bench::new(), Random(seed), Vec::new());
        for round in 0..12 {
            for _ in 0..random.below(12) {
                step(&bench, &mut random, &mut open);
            }
            // One that looks at everything would leave the next one nothing that could be wrong.
            let (report, known) = if round % 4 == 3 {
                let known = bench.fs.last_taken().is_some();
                (bench.compare(seed), known)
            } else {
                (take_snapshot(&bench.fs, "next"), false)
            };
            quick += u32::from(known);
            all += u32::from(round % 4 == 3);
            bench
                .store
                .closure(report.manifest)
                .unwrap()
                .into_iter()
                .for_each(|object| bench.store.verify_object(object).unwrap());
        }
        open.into_iter().for_each(|handle| bench.fs.release(handle));
    }
    assert!(quick == all, "{quick} of {all} snapshots could rely on the one before");
}

#[test]
fn a_base_file_that_got_a_second_name_is_linked_in_every_directory() {
    let bench = Bench::new();
    take_snapshot(&bench.fs, "first");
    bench.fs.link(ino(&bench.fs, "dir/4"), Ino::ROOT, name("linked")).unwrap();
    bench.compare(0);
    create(&bench.fs, "a/b/one", "x");
    take_snapshot(&bench.fs, "second");
    bench.fs.link(ino(&bench.fs, "a/b/one"), ino(&bench.fs, "empty"), name("two")).unwrap();
    bench.compare(0);
    let (dir, last) = at(&bench.fs, "linked");
    bench.fs.unlink(dir, last).unwrap();
    bench.compare(0);
}
