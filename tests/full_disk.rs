//! Real daemons whose store and layer are on a disk that fills up: the right error at the right call, nothing acknowledged is lost, deleting
//! works and makes room, the control directory answers, and all goes on once there is room, over remounts on a full disk too.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod fault_util;

use fault_util::*;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

/// Bytes that don't compress and are no holes.
fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|at| ((at as u32).wrapping_mul(2_654_435_761) >> 13) as u8 | 1).collect()
}

const BIG: usize = 400_000;

/// A store on the place, with a manifest `base`: a small file, and one that is large for the place.
fn store_on(place: &Place) -> PathBuf {
    let store = place.at("store");
    let source = tempfile::tempdir().unwrap();
    fs::create_dir(source.path().join("dir")).unwrap();
    fs::write(source.path().join("dir/clean"), "clean\n").unwrap();
    fs::write(source.path().join("big"), noise(BIG)).unwrap();
    succeed(&store, &["init", "-q"]);
    succeed(&store, &["import", "-q", source.path().to_str().unwrap(), "base"]);
    store
}

/// What is acknowledged before the disk is full.
fn write_precious(root: &Path) {
    let dir = root.join("precious");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("file"), noise(5000)).unwrap();
    fs::hard_link(dir.join("file"), dir.join("link")).unwrap();
    symlink("file", dir.join("symlink")).unwrap();
    fs::set_permissions(dir.join("file"), PermissionsExt::from_mode(0o640)).unwrap();
    xattr::set(dir.join("file"), "user.note", b"kept").unwrap();
    fs::rename(root.join("dir"), dir.join("moved")).unwrap();
}

/// Appends until the disk is full; returns what write(2) said was written.
fn append_until_full(path: &Path) -> Option<usize> {
    let mut file = full_or("create", OpenOptions::new().create(true).append(true).open(path))?;
    let (chunk, mut written) = (noise(5000), 0);
    loop {
        match full_or("append", file.write(&chunk[..])) {
            Some(0) => panic!("a write of nothing"),
            Some(count) => written += count,
            None => return Some(written),
        }
    }
}

/// Makes small files until none can be made any more; returns what was acknowledged, by name and content.
fn create_until_full(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut made = Vec::new();
    for number in 0..20_000 {
        let path = dir.join(format!("small{number}"));
        let Some(mut file) = full_or("create", File::create_new(&path)) else { return made };
        let content = format!("content {number}").into_bytes();
        let whole = full_or("write", file.write_all(&content)).is_some();
        made.push((path, if whole { content } else { Vec::new() }));
        if !whole {
            return made;
        }
    }
    panic!("the disk doesn't fill up");
}

/// Unpacks an archive that is larger than the disk: told as what it is, and what was unpacked whole is whole.
fn unpack(root: &Path) -> Vec<PathBuf> {
    let source = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..300).map(|number| format!("unpacked{number:03}")).collect();
    names.iter().for_each(|name| fs::write(source.path().join(name), noise(60_000)).unwrap());
    let archive = tempfile::NamedTempFile::new().unwrap();
    let [from, archive] = [source.path(), archive.path()].map(|path| path.to_str().unwrap());
    assert!(run("tar", &["-C", from, "-cf", archive, "--sort=name", "."]));
    let output = std::process::Command::new("tar").args(["-C", root.to_str().unwrap(), "-xf", archive]).output();
    let output = output.unwrap();
    let said = text(&output);
    assert!(!output.status.success() && said.contains("No space left") && !said.contains("Input/output"), "{said}");
    let refused = names.iter().position(|name| said.contains(name.as_str())).expect("the file is named");
    names[..refused].iter().for_each(|name| assert_eq!(fs::read(root.join(name)).unwrap(), noise(60_000), "{name}"));
    names.iter().map(|name| root.join(name)).filter(|path| path.exists()).collect()
}

/// What must fail for want of room or work, and be seen as it was answered.
fn odds_and_ends(root: &Path) {
    let [made, linked, renamed] = ["new-dir", "new-link", "new-name"].map(|name| root.join(name));
    assert_eq!(full_or("mkdir", fs::create_dir(&made)).is_some(), made.exists());
    assert_eq!(full_or("link", fs::hard_link(root.join("precious/file"), &linked)).is_some(), linked.exists());
    if linked.exists() {
        fs::remove_file(&linked).unwrap();
    }
    let done = full_or("rename", fs::rename(root.join("precious/symlink"), &renamed)).is_some();
    assert_eq!((done, !done), (renamed.is_symlink(), root.join("precious/symlink").is_symlink()));
    if done {
        full_or("rename", fs::rename(&renamed, root.join("precious/symlink"))).expect("there and back");
    }
    let holes = full_or("create", File::create(root.join("holes")));
    if let Some(holes) = &holes {
        holes.set_len(1 << 30).unwrap();
        let allocated = nix::fcntl::posix_fallocate(holes, 0, 1 << 26);
        assert_eq!(allocated, Err(nix::errno::Errno::ENOSPC));
        // Where inodes are short and bytes aren't, there is room for it.
        if full_or("write", holes.write_all_at(&noise(100_000), 1 << 20)).is_some() {
            assert_eq!(fs::read(root.join("holes")).unwrap()[1 << 20..][..100_000], noise(100_000));
        }
    }
    if root.join("holes").exists() {
        fs::remove_file(root.join("holes")).unwrap();
    }
    let file = root.join("precious/file");
    let value = vec![7; 3000];
    let set = full_or("setxattr", xattr::set(&file, "user.large", &value)).is_some();
    assert_eq!(xattr::get(&file, "user.large").unwrap(), set.then_some(value));
    if set {
        xattr::remove(&file, "user.large").unwrap();
    }
    if made.exists() {
        fs::remove_dir(&made).unwrap();
    }
}

/// Copy-up of a file larger than the room: not at all, and readers don't notice.
fn copy_up_in_vain(root: &Path, data: &Path) {
    let before = files(data);
    let big = root.join("big");
    let mut reader = File::open(&big).unwrap();
    let mut start = vec![0; 1000];
    reader.read_exact(&mut start).unwrap();
    let outcome = OpenOptions::new().write(true).open(&big);
    assert!(outcome.as_ref().is_err_and(is_full), "{outcome:?}");
    // what was unlinked before goes at the kernel's pace, and nothing comes
    let after = files(data);
    assert!(after.iter().all(|file| before.contains(file)), "nothing stays of a copy that failed: {after:?}");
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!([start, rest].concat(), noise(BIG));
    assert_eq!(fs::read(&big).unwrap(), noise(BIG));
}

fn control_on_full(daemon: &Daemon, store: &Path) {
    assert!(fs::read_to_string(daemon.at(".ctl/stats")).unwrap().contains("\nlayer_"));
    if let Err(error) = daemon.ctl("sync") {
        assert!(is_full(&error), "sync: {error}: {}", daemon.reply());
    }
    let refs = succeed(store, &["refs"]);
    let error = daemon.ctl("snapshot snap").expect_err("there is no room for a snapshot");
    assert!(is_full(&error), "{error}: {}", daemon.reply());
    let reply = daemon.reply();
    assert!(reply.contains("no_space") && (reply.contains("make room") || reply.contains("free space")), "{reply}");
    assert_eq!(succeed(store, &["refs"]), refs);
    assert_eq!(files(&store.join("tmp")), Vec::<PathBuf>::new(), "nothing half stays");
}

fn fill_up_and_recover(name: &str, place: &Place) {
    let store = store_on(place);
    let mut daemon = Daemon::start(&store, &["--layer", "work"]);
    let root = daemon.at("");
    let data = store.join("layers/work/data");
    write_precious(&root);
    let precious = tree(&root.join("precious"));
    // full by the mount's own writes
    for path in unpack(&root) {
        fs::remove_file(path).unwrap();
    }
    wait_until("what was freed can be used again", || place.free() > 600_000);
    // All of it, also what the records on disk still named.
    let _synced_or_full = daemon.ctl("sync");
    let appended = append_until_full(&root.join("appended")).unwrap_or_else(|| panic!("{name}: no room at all"));
    let small = create_until_full(&root);
    if name.ends_with("room") {
        // what creating took last may have left less than a write needs, not a file's worth
        copy_up_in_vain(&root, &data);
    }
    place.fill();
    for _ in 0..2 {
        odds_and_ends(&root);
        // Removing something on a full disk takes a part of the reserve.
        place.fill();
        copy_up_in_vain(&root, &data);
        place.fill();
        control_on_full(&daemon, &store);
    }
    daemon.assert_well();
    let check = |root: &Path, small: &[(PathBuf, Vec<u8>)]| {
        assert_eq!(tree(&root.join("precious")), precious, "{name}");
        let content = fs::read(root.join("appended")).unwrap();
        let expected: Vec<u8> = noise(5000).into_iter().cycle().take(appended).collect();
        // A write that failed may have left a part of itself in the last block, never less than was acknowledged.
        assert!(content.len() == appended && content == expected, "{name}: {} of {appended}", content.len());
        for (path, content) in small {
            let path = root.join(path.file_name().unwrap());
            let found = fs::read(&path).unwrap();
            assert!(found.starts_with(content), "{name}: {}", path.display());
        }
        assert_eq!(fs::read(root.join("big")).unwrap(), noise(BIG));
    };
    check(&root, &small);
    // killed, and opened again on the full disk
    daemon.kill();
    place.fill();
    let daemon = Daemon::start(&store, &["--layer", "work"]);
    check(&daemon.at(""), &small);
    place.fill();
    control_on_full(&daemon, &store);
    // in good order, filled behind its back, and again; read-only too
    daemon.stop();
    place.fill();
    let daemon = Daemon::start(&store, &["--layer", "work"]);
    check(&daemon.at(""), &small);
    let clean = Daemon::start(&store, &[]);
    assert_eq!(fs::read(clean.at("big")).unwrap(), noise(BIG));
    clean.stop();
    // deleting works, and what it frees can be used at once
    let root = daemon.at("");
    for (path, _) in &small {
        fs::remove_file(root.join(path.file_name().unwrap())).unwrap_or_else(|e| panic!("{name}: unlink: {e}"));
    }
    fs::remove_file(root.join("appended")).unwrap();
    // the kernel tells the daemon that nobody uses the inodes any more at its own pace
    wait_until("what was freed can be used again", || {
        full_or("writing again", fs::write(root.join("again"), noise(appended / 2))).is_some()
    });
    fs::remove_file(root.join("again")).unwrap();
    assert_eq!(tree(&root.join("precious")), precious);
    place.unfill();
    let up = OpenOptions::new().write(true).open(root.join("big")).unwrap();
    up.write_all_at(b"changed", 10).unwrap();
    drop(up);
    daemon.ctl("snapshot snap").unwrap_or_else(|e| panic!("{name}: snapshot: {e}: {}", daemon.reply()));
    fs::write(root.join("last"), "last").unwrap();
    fs::remove_file(root.join("last")).unwrap(); // frees, so the reserve is looked after
    let reserve = fs::metadata(store.join("layers/work/index.reserve")).map_or(0, |file| file.len());
    assert!(reserve >= 100_000, "{name}: the reserve is {reserve} bytes");
    let whole = tree(&root);
    daemon.stop();
    let daemon = Daemon::start(&store, &["--layer", "work"]);
    assert_eq!(tree(&daemon.at("")), whole);
    daemon.stop();
}

#[test]
fn a_tmpfs_without_room_loses_nothing_and_recovers() {
    if possible(&[]) {
        fill_up_and_recover("tmpfs without room", &Place::tmpfs("size=2m,nr_inodes=2000"));
    }
}

#[test]
fn a_tmpfs_without_inodes_loses_nothing_and_recovers() {
    if possible(&[]) {
        fill_up_and_recover("tmpfs without inodes", &Place::tmpfs("size=16m,nr_inodes=420"));
    }
}

#[test]
fn an_ext4_without_room_loses_nothing_and_recovers() {
    if possible(&["mkfs.ext4"]) {
        fill_up_and_recover("ext4 without room", &Place::ext4(8, &[]));
    }
}

#[test]
fn an_ext4_without_inodes_loses_nothing_and_recovers() {
    if possible(&["mkfs.ext4"]) {
        fill_up_and_recover("ext4 without inodes", &Place::ext4(16, &["-N", "460"]));
    }
}

#[test]
fn an_import_into_a_full_store_is_all_or_nothing() {
    if !possible(&[]) {
        return;
    }
    let place = Place::tmpfs("size=8m,nr_inodes=2000");
    let store = store_on(&place);
    let known = tempfile::tempdir().unwrap();
    fs::write(known.path().join("large"), noise(3 << 20)).unwrap();
    succeed(&store, &["import", "-q", known.path().to_str().unwrap(), "known"]);
    let source = tempfile::tempdir().unwrap();
    fs::create_dir(source.path().join("dir")).unwrap();
    for number in 0..100u8 {
        fs::write(source.path().join(format!("dir/{number}")), vec![number; 100_000]).unwrap();
    }
    let refs = succeed(&store, &["refs"]);
    let from = source.path().to_str().unwrap();
    let said = fail(&store, &["import", from, "new"]);
    assert!(said.contains("No space left") && said.contains("help: make room"), "{said}");
    assert_eq!(succeed(&store, &["refs"]), refs);
    assert_eq!(files(&store.join("tmp")), Vec::<PathBuf>::new());
    // What the store has needs little room, large or not.
    let free = place.free();
    succeed(&store, &["gc", "-q", "--grace", "0s"]);
    assert!(place.free() > free + (1 << 20), "what the import left is collected");
    let filler = place.at("filler");
    fs::write(&filler, noise(usize::try_from(place.free()).unwrap() - 300_000)).unwrap();
    let again = tempfile::tempdir().unwrap();
    fs::write(again.path().join("large"), noise(3 << 20)).unwrap();
    fs::write(again.path().join("and"), "more").unwrap();
    succeed(&store, &["import", "-q", again.path().to_str().unwrap(), "again"]);
    let archive = tempfile::NamedTempFile::new().unwrap();
    assert!(run("tar", &["-C", again.path().to_str().unwrap(), "-cf", archive.path().to_str().unwrap(), "."]));
    succeed(&store, &["import", "-q", archive.path().to_str().unwrap(), "tarred"]);
    fs::remove_file(filler).unwrap();
    for number in 40..100u8 {
        fs::remove_file(source.path().join(format!("dir/{number}"))).unwrap();
    }
    succeed(&store, &["import", "-q", from, "new"]);
}

#[test]
fn a_collection_on_a_full_disk_makes_room() {
    if !possible(&["mkfs.ext4"]) {
        return;
    }
    for place in [Place::tmpfs("size=4m,nr_inodes=1200"), Place::ext4(8, &[])] {
        let store = store_on(&place);
        let source = tempfile::tempdir().unwrap();
        for number in 0..20u8 {
            fs::write(source.path().join(format!("{number}")), vec![number; 50_000]).unwrap();
        }
        succeed(&store, &["import", "-q", source.path().to_str().unwrap(), "gone"]);
        succeed(&store, &["rm", "ref", "gone"]);
        place.fill();
        // With the usual period there's nothing to gain, and no room for the trash.
        let kept = files(&store.join("objects")).len();
        // At first the history of the removed ref keeps all.
        let collect = || cairnfs(&store, &["gc", "--grace", "1s"]);
        let mut said = String::new();
        wait_until("there is something to collect", || {
            let output = collect();
            said = text(&output);
            !output.status.success()
        });
        assert!(said.contains("No space left") && said.contains("grace"), "{said}");
        assert_eq!(files(&store.join("objects")).len(), kept);
        succeed(&store, &["gc", "-q", "--grace", "0s"]);
        assert!(files(&store.join("objects")).len() < kept - 15);
        assert!(files(&store.join("trash")).is_empty());
        place.unfill();
        succeed(&store, &["import", "-q", source.path().to_str().unwrap(), "again"]);
        succeed(&store, &["export", "again", source.path().join("out").to_str().unwrap()]);
        assert_eq!(fs::read(source.path().join("out/7")).unwrap(), vec![7; 50_000]);
    }
}

#[test]
fn a_store_that_is_read_only_can_be_mounted_and_keeps_what_is_mounted() {
    if !possible(&["mkfs.ext4"]) {
        return;
    }
    let place = Place::ext4(8, &[]);
    let store = store_on(&place);
    assert!(place.remount("ro"));
    let daemon = Daemon::start(&store, &[]);
    assert_eq!(fs::read(daemon.at("big")).unwrap(), noise(BIG));
    let said = fail(&store, &["mount", "base", daemon.at("").to_str().unwrap(), "--layer", "new"]);
    assert!(said.contains("help: "), "{said}");
    daemon.stop();
    assert!(place.remount("rw"));
    // Seen read-only in one place and writable in another, as by a container and its host.
    let view = tempfile::tempdir().unwrap();
    let at = view.path().to_str().unwrap();
    assert!(run("mount", &["--bind", place.at("").to_str().unwrap(), at]));
    assert!(run("mount", &["-o", "remount,ro,bind", at]));
    let daemon = Daemon::start(&view.path().join("store"), &[]);
    assert_eq!(files(&store.join("leases")), Vec::<PathBuf>::new());
    succeed(&store, &["rm", "ref", "base"]);
    let said = succeed(&store, &["gc", "--grace", "0s"]);
    assert_eq!(fs::read(daemon.at("big")).unwrap(), noise(BIG), "{said}");
    assert_eq!(fs::read(daemon.at("dir/clean")).unwrap(), b"clean\n");
    daemon.stop();
    succeed(&store, &["gc", "-q", "--grace", "0s", "--allow-no-roots"]);
    assert_eq!(files(&store.join("objects")), Vec::<PathBuf>::new());
    assert!(run("umount", &[at]));
}

/// Others fill at once what is freed: deleting goes on all the same.
#[test]
fn deleting_works_beside_others_that_fill_the_disk() {
    if !possible(&[]) {
        return;
    }
    let place = Place::tmpfs("size=8m,nr_inodes=6000");
    let store = store_on(&place);
    let mut daemon = Daemon::start(&store, &["--layer", "work"]);
    let root = daemon.at("");
    let dirs: Vec<PathBuf> = (0..500).map(|number| root.join(format!("dir{number}"))).collect();
    dirs.iter().for_each(|dir| fs::create_dir(dir).unwrap());
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = File::create(place.at("greedy")).unwrap();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                while file.write_all(&[1; 4096]).is_ok() {}
            }
        });
        wait_until("the disk is full", || place.free() == 0);
        let outcome: Vec<_> = dirs.iter().map(fs::remove_dir).collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let failed: Vec<_> = outcome.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
        assert!(failed.is_empty(), "{} of {}: {:?}", failed.len(), dirs.len(), failed[0]);
    });
    daemon.assert_well();
    fs::remove_file(place.at("greedy")).unwrap();
    daemon.stop();
}

/// A store into a hole that has no room is SIGBUS, as on ext4 and tmpfs, for the program alone.
#[test]
fn a_mapped_hole_without_room_is_the_programs_sigbus() {
    if !possible(&["mkfs.ext4", "python3"]) {
        return;
    }
    const SCRIPT: &str = "import mmap, sys
with open(sys.argv[1], 'r+b') as f:
    f.truncate(64 << 20)
    m = mmap.mmap(f.fileno(), 0)
    for at in range(0, 64 << 20, 4096): m[at] = 1";
    for place in [Place::tmpfs("size=4m,nr_inodes=1200"), Place::ext4(8, &[])] {
        let store = store_on(&place);
        let mut daemon = Daemon::start(&store, &["--layer", "work"]);
        fs::write(daemon.at("precious"), "kept").unwrap();
        fs::write(daemon.at("holes"), "start").unwrap();
        for file in [daemon.at("holes"), place.at("plain")] {
            // what was freed before comes back at the kernel's pace
            wait_until("there is room for a start", || full_or("write", fs::write(&file, "start")).is_some());
            let output = std::process::Command::new("python3").args(["-c", SCRIPT]).arg(&file).output().unwrap();
            assert_eq!(
                output.status.signal(),
                Some(libc::SIGBUS),
                "{} {}: {}",
                place.kind,
                file.display(),
                text(&output)
            );
            if file.starts_with(place.at("")) {
                fs::remove_file(file).unwrap();
            } else {
                daemon.assert_well();
                fs::remove_file(file).unwrap();
            }
        }
        assert_eq!(fs::read(daemon.at("precious")).unwrap(), b"kept");
        daemon.stop();
    }
}
