//! What the filesystem writes is sound to the check, whatever was done before, also when the process died or a snapshot was taken.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that can't go on shall panic, and a long one tells its time"
)]

mod fsck_util;

use cairnfs::format::{Kind, Mode, Name};
use cairnfs::fsck::Mending;
use cairnfs::vfs::{Attr, Fs, Ino, Make, OpenMode, RenameMode, SetAttr};
use fsck_util::random::{Random, number};
use fsck_util::*;

#[test]
fn a_layer_that_was_never_used_is_clean() {
    let bench = Bench::new();
    // As a store makes it, and as a crash may leave that.
    std::fs::create_dir(bench.layer()).unwrap();
    std::fs::write(bench.layer().join("new"), "").unwrap();
    bench.expect_clean();
    std::fs::create_dir(bench.layer().join("index")).unwrap();
    bench.expect_clean();
    close(bench.open());
    bench.expect_clean();
}

#[test]
fn a_layer_with_some_of_everything_is_clean_and_stays_as_it_is() {
    let bench = Bench::with_changes();
    let before = tree_of(&bench.layer());
    let report = bench.check();
    assert!(report.problems.is_empty() && report.recovery.is_none(), "{report:#?}");
    assert!(report.records > 20, "{report:#?}");
    assert_eq!(tree_of(&bench.layer()), before);
}

/// Random operations, half of the time by a process that "dies" (the layer isn't closed), some with a snapshot between.
fn random_operations(seed: u64, count: usize) {
    let bench = Bench::new();
    let mut random = Random(seed);
    for part in 0..4 {
        let fs = bench.open();
        for _ in 0..count {
            random_operation(&fs, &mut random);
        }
        if part == 2 {
            take_snapshot(&fs, "snap");
            for _ in 0..count {
                random_operation(&fs, &mut random);
            }
        }
        let crash = random.below(2) == 0;
        if crash {
            drop(fs)
        } else {
            close(fs)
        }
        let report = bench.check();
        assert!(report.problems.is_empty(), "seed {seed}, part {part}, crash {crash}: {report:#?}");
        assert_eq!(report.recovery.is_some(), crash);
    }
    // A repair does what opening would do, and leaves nothing to be done.
    let report = bench.run(Mending::Done);
    assert!(report.actions.is_empty() && report.is_sound(), "seed {seed}: {report:#?}");
    bench.expect_clean();
}

/// One of few paths, so that operations meet.
fn random_path(random: &mut Random) -> String {
    let parts = ["a", "b", "c", "dir", "deep", "x", "y", "z", "1", "2", "twin", "link", "empty", "new"];
    let depth = 1 + random.below(3);
    let picked: Vec<&str> = (0..depth).map(|_| parts[random.index(parts.len())]).collect();
    picked.join("/")
}

/// A path that is there, if one is soon found.
fn random_existing(fs: &Fs, random: &mut Random) -> Option<String> {
    (0..20).map(|_| random_path(random)).find(|path| lookup(fs, path).is_some())
}

/// The inode of a path whose parts may not be there, or be no directories.
fn lookup(fs: &Fs, path: &str) -> Option<Attr> {
    let mut attr = fs.attr(Ino::ROOT).unwrap();
    for part in path.split('/') {
        if attr.kind != Kind::Dir {
            return None;
        }
        attr = fs.lookup(attr.ino, name(part)).unwrap()?;
    }
    Some(attr)
}

fn parent_of<'a>(fs: &Fs, path: &'a str) -> Option<(Ino, Name<'a>)> {
    let (dir, last) = path.rsplit_once('/').unwrap_or(("", path));
    let dir = if dir.is_empty() { fs.attr(Ino::ROOT).unwrap() } else { lookup(fs, dir)? };
    (dir.kind == Kind::Dir).then(|| (dir.ino, name(last)))
}

/// Whether directory `dir` is `of` or inside it: the kernel refuses to move a directory into itself before it asks.
fn is_inside(fs: &Fs, mut dir: Ino, of: Ino) -> bool {
    while dir != Ino::ROOT {
        if dir == of {
            return true;
        }
        dir = fs.parent(dir).unwrap();
    }
    false
}

/// One operation; that it may be refused is part of the game.
fn random_operation(fs: &Fs, random: &mut Random) {
    let mode = Mode::from_bits(0o755);
    let path = random_path(random);
    match random.below(10) {
        0 => drop(parent_of(fs, &path).map(|(dir, last)| fs.make(ROOT, dir, last, Make::Dir, mode, 0))),
        1 => {
            let made = parent_of(fs, &path)
                .map(|(dir, last)| fs.create(ROOT, dir, last, mode, 0, OpenMode { write: true, truncate: false }));
            if let Some(Ok((_, opened))) = made {
                fs.write(opened.handle, 0, path.as_bytes()).unwrap();
                fs.release(opened.handle);
            }
        }
        2 | 3 => {
            let Some(existing) = random_existing(fs, random) else { return };
            let attr = lookup(fs, &existing).unwrap();
            let (dir, last) = parent_of(fs, &existing).unwrap();
            let gone = if attr.kind == Kind::Dir { fs.rmdir(dir, last) } else { fs.unlink(dir, last) };
            // What the kernel never forgets is left to recovery.
            if gone.is_ok() && random.below(3) > 0 {
                fs.forget(attr.ino);
            }
        }
        4..=6 => {
            let (Some(from), Some(to)) = (random_existing(fs, random), parent_of(fs, &path)) else { return };
            let moved = lookup(fs, &from).unwrap();
            let target = lookup(fs, &path);
            let from = parent_of(fs, &from).unwrap();
            let kind = [RenameMode::Replace, RenameMode::NoReplace, RenameMode::Exchange][random.below(3) as usize];
            let circle =
                is_inside(fs, to.0, moved.ino) || target.is_some_and(|target| is_inside(fs, from.0, target.ino));
            if !circle {
                drop(fs.rename(from, to, kind));
            }
        }
        7 => {
            let (Some(from), Some((dir, last))) = (random_existing(fs, random), parent_of(fs, &path)) else { return };
            drop(fs.link(lookup(fs, &from).unwrap().ino, dir, last));
        }
        8 => {
            let Some(existing) = random_existing(fs, random) else { return };
            let attr = lookup(fs, &existing).unwrap();
            if attr.kind == Kind::File {
                write(fs, &existing, &format!("written {}", random.below(1000)));
            }
        }
        _ => {
            let Some(existing) = random_existing(fs, random) else { return };
            let mode = Some(Mode::from_bits(0o600 + random.below(8) as u32));
            fs.set_attr(ROOT, lookup(fs, &existing).unwrap().ino, &SetAttr { mode, ..SetAttr::default() }).unwrap();
        }
    }
}

#[test]
fn random_operations_with_crashes_leave_a_clean_layer() {
    let first: u64 = number("CAIRNFS_TEST_SEED", 1);
    for seed in first..first + number("CAIRNFS_TEST_SEQUENCES", 6) {
        random_operations(seed, 150);
    }
}

/// Large when `CAIRNFS_TEST_RECORDS` says so; it tells how long it took.
#[test]
fn many_records_are_checked_and_mended() {
    let records: usize = number("CAIRNFS_TEST_RECORDS", 2_000);
    let bench = Bench::new();
    let fs = bench.open();
    let dirs = (records / 1000).max(2);
    for dir in 0..dirs {
        mkdir(&fs, &format!("many{dir}"));
        for file in 0..records / 2 / dirs {
            make(&fs, &format!("many{dir}/{file}"), Make::Symlink(b"target"[..].into()));
        }
    }
    close(fs);
    let report = bench.check();
    assert!(report.problems.is_empty() && report.records as usize >= records, "{report:#?}");
    eprintln!("{} records were checked in {:.1?}", report.records, report.duration);
    bench.damage(|db| {
        let mut lost = Vec::new();
        db.each_name(|dir, name, _| lost.push((dir, name.to_vec()))).unwrap();
        let mut batch = db.batch();
        for (dir, name) in lost.iter().filter(|(_, name)| name.ends_with(b"7")) {
            batch.remove_name(*dir, name);
        }
        batch.commit().unwrap();
    });
    let report = bench.run(Mending::Done);
    assert!(report.problems.len() >= records / 25 && report.is_sound(), "{} problems", report.problems.len());
    eprintln!("{} problems were mended in {:.1?}", report.problems.len(), report.duration);
    bench.expect_clean();
}
