//! Layers of which something was lost that no crash takes, as a person meets them: refused with what is missing and what to do, and nothing of
//! what is left is removed. Beside that, what a crash can leave of a layer that was never used, which opens.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod cli_util;
#[path = "common/skip.rs"]
mod skip;

use cairnfs::layer::{Db, Layer};
use cli_util::World;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use skip::possible;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const LAYER: &str = "store/layers/work";

/// Ends the daemon of the only mount as the kernel would, and clears its mount away.
fn killed(world: &World) {
    let pid = i32::try_from(world.mounts()[0]["pid"].as_i64().unwrap()).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let start = Instant::now();
    while world.mounts()[0]["state"] != "dead" {
        assert!(start.elapsed() < Duration::from_secs(60), "the daemon lives");
        std::thread::sleep(Duration::from_millis(5));
    }
    world.run(&["umount", "-q", world.str("mnt")]);
}

/// A layer in which 20 files were made, all of it acknowledged; closed in good order, or its daemon killed.
fn used(closed: bool) -> World {
    let world = World::new();
    let mnt = world.mount("mnt", &["--layer", "work"]);
    for number in 0..20 {
        fs::write(mnt.join(format!("file{number}")), format!("content {number}")).unwrap();
    }
    if closed {
        drop(world.run(&["umount", "-q", world.str("mnt")]))
    } else {
        killed(&world)
    }
    world
}

/// The content of all data files.
fn contents(world: &World) -> Vec<String> {
    let mut found = Vec::new();
    for shard in fs::read_dir(world.path(LAYER).join("data")).unwrap() {
        for file in fs::read_dir(shard.unwrap().path()).unwrap() {
            found.push(fs::read_to_string(file.unwrap().path()).unwrap());
        }
    }
    found.sort();
    found
}

fn journal(world: &World) -> PathBuf {
    let files = fs::read_dir(world.path(LAYER).join("index")).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|kind| kind == "jnl")).max().unwrap()
}

/// Mounting must fail and say all of `words`; no content goes, and the check tells of it.
fn refused(world: &World, words: &[&str]) {
    let before = contents(world);
    let text = world.fail(32, &["mount", "debian", world.str("mnt"), "--layer", "work"]);
    for word in words {
        assert!(text.contains(word), "no `{word}` in: {text}");
    }
    assert_eq!(contents(world), before);
    world.cairnfs(&["fsck", "work"]).assert().code(5);
    assert_eq!(contents(world), before);
}

#[test]
fn a_layer_whose_database_is_gone_is_not_taken_for_a_new_one() {
    if !possible(&[]) {
        return;
    }
    type Damage = fn(&Path);
    let damages: [(&str, Damage, &str); 6] = [
        ("the folder of the database", |layer| fs::remove_dir_all(layer.join("index")).unwrap(), "work/index"),
        (
            "what is in the folder of the database",
            |layer| {
                fs::remove_dir_all(layer.join("index")).unwrap();
                fs::create_dir(layer.join("index")).unwrap();
            },
            "work/index",
        ),
        (
            "all but the description",
            |layer| {
                for entry in fs::read_dir(layer).unwrap().map(|entry| entry.unwrap()) {
                    let path = entry.path();
                    match path.file_name().unwrap().to_str().unwrap() {
                        "layer.json" | "data" => {}
                        _ if path.is_dir() => fs::remove_dir_all(path).unwrap(),
                        _ => fs::remove_file(path).unwrap(),
                    }
                }
            },
            "work/index",
        ),
        ("the journals", |layer| remove_by_kind(&layer.join("index"), "jnl"), "the journal of"),
        ("what is in the journal", |layer| fs::write(layer.join("index/0.jnl"), "").unwrap(), "a part of"),
        ("the marker of the database", |layer| fs::remove_file(layer.join("index/version")).unwrap(), "work/index"),
    ];
    for closed in [true, false] {
        let world = used(closed);
        let saved = save(&world);
        for (what, damage, named) in &damages {
            put_back(&world, &saved);
            assert_eq!(contents(&world).len(), 20);
            let layer = world.path(LAYER);
            // What older versions kept for this, gone too.
            let _ = fs::remove_file(layer.join("stamp"));
            damage(&layer);
            println!("{what}, closed: {closed}");
            refused(&world, &[named, "restore", "`cairnfs fsck work`", "`cairnfs rm layer work`"]);
            assert_eq!(contents(&world).len(), 20, "{what}");
            world.run(&["rm", "layer", "work"]);
        }
    }
}

/// Keeps the layer as it is now.
fn save(world: &World) -> PathBuf {
    let saved = world.path("saved");
    copy(&world.path(LAYER), &saved);
    saved
}

fn put_back(world: &World, saved: &Path) {
    let _ = fs::remove_dir_all(world.path(LAYER));
    copy(saved, &world.path(LAYER));
}

fn copy(from: &Path, to: &Path) {
    assert!(std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

fn remove_by_kind(folder: &Path, kind: &str) {
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|its| its == kind) {
            fs::remove_file(path).unwrap();
        }
    }
}

/// Where the last batch of the journal ends.
fn end_of(journal: &Path) -> u64 {
    let mut bytes = Vec::new();
    fs::File::open(journal).unwrap().read_to_end(&mut bytes).unwrap();
    bytes.iter().rposition(|&byte| byte != 0).unwrap() as u64 + 1
}

/// Where each batch of the journal ends: behind its magic number.
fn ends(journal: &Path) -> Vec<u64> {
    let mut bytes = Vec::new();
    fs::File::open(journal).unwrap().read_to_end(&mut bytes).unwrap();
    let found = bytes.windows(4).enumerate().filter(|(_, four)| four == b"FJL\x03");
    found.map(|(at, _)| at as u64 + 4).collect()
}

#[test]
fn changes_that_were_acknowledged_and_are_cut_off_the_journal_are_missed() {
    if !possible(&[]) {
        return;
    }
    let world = used(false);
    let saved = save(&world);
    // Between two batches, where nothing looks torn; in the middle of one; by a shorter file, and by zeros; all of them.
    for (batches, within, zeros) in [(1, 0, true), (8, 0, false), (8, 5, true), (8, 5, false), (1, 5, true)] {
        put_back(&world, &saved);
        let journal = journal(&world);
        let (ends, end) = (ends(&journal), end_of(&journal));
        let at = ends.len().checked_sub(batches + 1).map_or(0, |index| ends[index]) + within;
        let file = fs::File::options().write(true).open(&journal).unwrap();
        if zeros {
            file.write_all_at(&vec![0; (end - at) as usize], at).unwrap();
        } else {
            file.set_len(at).unwrap();
        }
        println!("{batches} batches, {within} bytes of the next left, zeros: {zeros}");
        assert_eq!(contents(&world).len(), 20);
        refused(&world, &["fsck work"]);
        // A repair goes on without them, and keeps the content.
        let report: serde_json::Value =
            serde_json::from_str(&world.run(&["--json", "fsck", "work", "--repair"])).unwrap();
        let report = &report["layers"][0];
        assert!(report["actions"].to_string().contains("journal-cut"), "{report}");
        let mnt = world.mount("mnt", &["--layer", "work"]);
        let mut left: Vec<String> = contents(&world);
        let lost = fs::read_dir(world.path(LAYER).join("lost")).into_iter().flatten();
        left.extend(lost.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()));
        for number in 0..20 {
            assert!(left.contains(&format!("content {number}")), "{number} is lost: {left:?}");
        }
        fs::write(mnt.join("more"), "more").unwrap();
        killed(&world);
        world.mount("mnt", &["--layer", "work"]);
        assert_eq!(fs::read_to_string(mnt.join("more")).unwrap(), "more");
        world.run(&["umount", "-q", world.str("mnt")]);
        world.run(&["fsck", "work"]);
    }
}

/// A journal in which a batch was begun, as a kill leaves it: it was never acknowledged, so nothing is missed.
#[test]
fn a_batch_that_was_begun_is_not_missed() {
    if !possible(&[]) {
        return;
    }
    let world = used(false);
    let journal = journal(&world);
    let mut file = fs::File::options().read(true).write(true).open(&journal).unwrap();
    let mut start = [0; 30];
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_exact(&mut start).unwrap();
    file.write_all_at(&start, end_of(&journal)).unwrap();
    let mnt = world.mount("mnt", &["--layer", "work"]);
    assert_eq!(fs::read_to_string(mnt.join("file19")).unwrap(), "content 19");
}

/// Each state that the first use of a layer goes through, as a crash leaves it.
#[test]
fn a_layer_that_was_never_used_opens_wherever_its_first_use_was_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("made");
    fs::create_dir_all(made.join("data")).unwrap();
    Db::open(&made.join("index")).unwrap().stamp().unwrap();
    let new = |layer: &Path| fs::write(layer.join("new"), "").unwrap();
    let copy = |name: &str| {
        let to = folder.path().join(name);
        copy(&made, &to);
        let _ = fs::remove_file(to.join("instance"));
        to
    };
    // Nothing but the folder, and what the store makes.
    let bare = folder.path().join("bare");
    fs::create_dir(&bare).unwrap();
    Layer::open(&bare).unwrap();
    let listed = folder.path().join("listed");
    fs::create_dir_all(listed.join("index")).unwrap();
    fs::create_dir(listed.join("data")).unwrap();
    fs::write(listed.join("layer.json"), "{}").unwrap();
    new(&listed);
    Layer::open(&listed).unwrap();
    assert!(!listed.join("new").exists());
    // The database is there, and the marker still is too.
    let whole = copy("whole");
    new(&whole);
    Layer::open(&whole).unwrap();
    assert!(!whole.join("new").exists());
    // The making of the database was cut off anywhere: any of its files may be missing, or empty.
    let mut files = Vec::new();
    let mut open = vec![made.join("index")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { files.push(path) }
        }
    }
    assert!(files.len() > 4);
    for (count, file) in files.iter().enumerate() {
        for empty in [false, true] {
            let layer = copy(&format!("cut{count}{empty}"));
            let path = layer.join(file.strip_prefix(&made).unwrap());
            if empty {
                fs::write(&path, "").unwrap()
            } else {
                fs::remove_file(&path).unwrap()
            }
            new(&layer);
            let opened = Layer::open(&layer).unwrap_or_else(|error| panic!("{}, {empty}: {error}", path.display()));
            let number = opened.allocate().unwrap();
            opened.close().unwrap();
            drop(opened);
            assert!(Layer::open(&layer).unwrap().allocate().unwrap() > number);
        }
    }
    // Used once, it isn't new any more.
    fs::remove_dir_all(whole.join("index")).unwrap();
    let error = Layer::open(&whole).unwrap_err().to_string();
    assert!(error.contains("whole/index") && error.contains("gone"), "{error}");
}
