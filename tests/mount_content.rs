//! Content through a mount: passthrough and page cache, and that what is open keeps what it had.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod common;

use cairnfs::fuse::IoChoice;
use common::map::Map;
use common::mount::{Bench, TestMount};
use common::spec::Spec;
use common::{as_nobody, wait_until};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

const LARGE: usize = 2 << 20;

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

fn read_all(file: &mut File) -> Vec<u8> {
    let mut content = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut content).unwrap();
    content
}

/// Every object of the store still is what its name says.
fn assert_blobs_are_unharmed(mount: &TestMount) {
    fn visit(dir: &Path, files: &mut usize) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, files);
            } else {
                let name: String = path
                    .iter()
                    .rev()
                    .take(3)
                    .map(|part| part.to_str().unwrap())
                    .collect::<Vec<_>>()
                    .into_iter()
                    .rev()
                    .collect();
                let digest = cairnfs::format::Digest::of(&fs::read(&path).unwrap()).to_string();
                assert!(digest == name || name.ends_with(&digest), "{} was changed", path.display());
                *files += 1;
            }
        }
    }
    let mut files = 0;
    visit(&mount.bench.store.path().join("objects"), &mut files);
    assert!(files > 0);
}

#[test]
fn a_read_only_mount_reads_by_passthrough() {
    let spec = Spec::new().file("small", "s").file("same", "s").file("large", pattern(LARGE));
    let mount = TestMount::read_only(&spec);
    assert_eq!(fs::read(mount.at("small")).unwrap(), b"s");
    assert_eq!(fs::read(mount.at("same")).unwrap(), b"s");
    assert_eq!(fs::read(mount.at("large")).unwrap(), pattern(LARGE));
    assert_eq!(mount.count("opens_passthrough"), 3);
    assert_eq!(mount.count("backings_registered"), 2, "equal content has one registration");
    assert_eq!(mount.count("backings_reused"), 1);
    assert_eq!(mount.count("read"), 0);
    mount.stop();
}

#[test]
fn small_clean_files_stay_in_the_page_cache() {
    let mount = TestMount::writable(&Spec::new().file("small", "content"));
    for _ in 0..3 {
        assert_eq!(fs::read(mount.at("small")).unwrap(), b"content");
    }
    assert_eq!(mount.count("opens_cached"), 3);
    assert_eq!(mount.count("read"), 1, "pages are kept from open to open");
    mount.stop();
}

#[test]
fn what_is_open_keeps_its_content_and_new_opens_have_the_new() {
    let old = pattern(LARGE);
    let mount = TestMount::writable(&Spec::new().file("dir/file", old.clone()).link("name", "dir/file"));
    let path = mount.at("dir/file");
    let mut reader = File::open(&path).unwrap();
    let map = Map::read(&reader);
    let inode = fs::metadata(&path).unwrap().ino();
    assert_eq!(map.get(LARGE - 1), old[LARGE - 1]);

    let mut writer = OpenOptions::new().append(true).open(&path).unwrap();
    writer.write_all(b"tail").unwrap();
    let writer_at = OpenOptions::new().write(true).open(&path).unwrap();
    writer_at.write_all_at(b"HEAD", 0).unwrap();

    assert_eq!(read_all(&mut reader), old);
    assert_eq!((map.get(0), map.get(LARGE - 1)), (old[0], old[LARGE - 1]));
    let mut new = old.clone();
    new.extend_from_slice(b"tail");
    new[..4].copy_from_slice(b"HEAD");
    assert!(fs::read(&path).unwrap() == new);
    assert!(fs::read(mount.at("name")).unwrap() == new, "the other name is the same file");

    assert_eq!(mount.count("reopens_elsewhere"), 1);
    for metadata in [
        fs::metadata(&path).unwrap(),
        fs::metadata(mount.at("name")).unwrap(),
        reader.metadata().unwrap(),
        writer.metadata().unwrap(),
    ] {
        assert_eq!((metadata.ino(), metadata.len()), (inode, new.len() as u64));
        assert_eq!(metadata.nlink(), 2);
    }
    // Changes through one name are seen through the other, however the kernel knows them.
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(fs::metadata(mount.at("name")).unwrap().mode() & 0o777, 0o600);
    fs::remove_file(mount.at("name")).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().nlink(), 1);

    drop((reader, map, writer, writer_at));
    assert!(fs::read(&path).unwrap() == new);
    assert_blobs_are_unharmed(&mount);
    let mount = mount.remount();
    assert!(fs::read(mount.at("dir/file")).unwrap() == new);
    assert_eq!(fs::metadata(mount.at("dir/file")).unwrap().ino(), inode);
    mount.stop();
}

#[test]
fn an_open_that_may_create_finds_the_new_content_too() {
    let mount = TestMount::writable(&Spec::new().file("file", pattern(LARGE)));
    let reader = File::open(mount.at("file")).unwrap();
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true);
    let writer = options.open(mount.at("file")).unwrap();
    writer.write_all_at(b"X", 1).unwrap();
    // And so does one that truncates.
    let truncated = File::create(mount.at("file")).unwrap();
    assert_eq!(fs::read(mount.at("file")).unwrap(), b"");
    truncated.write_all_at(b"new", 0).unwrap();
    assert_eq!(fs::read(mount.at("file")).unwrap(), b"new");
    assert_eq!(reader.metadata().unwrap().ino(), writer.metadata().unwrap().ino());
    let mut first = [0; 2];
    reader.read_exact_at(&mut first, 0).unwrap();
    assert_eq!(first, [0, 1]);
    let excl = options.create_new(true).open(mount.at("file")).unwrap_err();
    assert_eq!(excl.kind(), ErrorKind::AlreadyExists);
    drop((reader, writer, truncated));
    assert_blobs_are_unharmed(&mount);
    mount.stop();
}

#[test]
fn listings_of_a_file_known_twice_are_whole() {
    let mount = TestMount::writable(&Spec::new().file("dir/file", pattern(LARGE)).file("dir/other", ""));
    let path = mount.at("dir/file");
    let reader = File::open(&path).unwrap();
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"x").unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    let names: Vec<_> = fs::read_dir(mount.at("dir")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file", "other"]);
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!((metadata.ino(), metadata.len()), (inode, LARGE as u64 + 1));
    drop(reader);
    fs::rename(&path, mount.at("moved")).unwrap();
    assert_eq!(fs::metadata(mount.at("moved")).unwrap().ino(), inode);
    fs::remove_file(mount.at("moved")).unwrap();
    mount.stop();
}

#[test]
fn a_running_program_cannot_be_written_and_can_be_replaced_afterwards() {
    let spec = Spec::new().file("bin/sleep", fs::read("/bin/sleep").unwrap()).mode("bin/sleep", 0o755);
    let mount = TestMount::writable(&spec);
    let path = mount.at("bin/sleep");
    let mut running = Command::new(&path).arg("1000").stdin(Stdio::null()).spawn().unwrap();
    let exe = format!("/proc/{}/exe", running.id());
    wait_until("the program runs", || fs::read_link(&exe).is_ok_and(|exe| exe == path));
    let busy = OpenOptions::new().write(true).open(&path).unwrap_err();
    assert_eq!(busy.kind(), ErrorKind::ExecutableFileBusy);
    running.kill().unwrap();
    running.wait().unwrap();
    fs::write(&path, "#!/bin/sh\necho replaced\n").unwrap();
    let output = Command::new(&path).output().unwrap();
    assert_eq!(output.stdout, b"replaced\n");
    assert_blobs_are_unharmed(&mount);
    mount.stop();
}

#[test]
fn a_small_file_open_for_reading_and_writing_is_one_file() {
    let mount = TestMount::writable(&Spec::new().file("file", "0123456789"));
    let mut reader = File::open(mount.at("file")).unwrap();
    assert_eq!(read_all(&mut reader), b"0123456789");
    let writer = OpenOptions::new().write(true).open(mount.at("file")).unwrap();
    writer.write_all_at(b"AB", 3).unwrap();
    assert_eq!(read_all(&mut reader), b"012AB56789");
    writer.set_len(4).unwrap();
    assert_eq!(read_all(&mut reader), b"012A");
    drop((reader, writer));
    mount.wait_until_open(0);
    // Nothing is open, so the next opens go by passthrough; what was cached doesn't come back.
    let before = mount.count("opens_passthrough");
    OpenOptions::new().write(true).open(mount.at("file")).unwrap().write_all_at(b"Z", 0).unwrap();
    assert_eq!(fs::read(mount.at("file")).unwrap(), b"Z12A");
    assert!(mount.count("opens_passthrough") > before);
    mount.stop();
}

#[test]
fn a_shared_map_writes_the_layer_and_never_the_blob() {
    let content = pattern(LARGE);
    let mount = TestMount::writable(&Spec::new().file("large", content.clone()).file("small", "small content"));
    for name in ["large", "small"] {
        let file = OpenOptions::new().read(true).write(true).open(mount.at(name)).unwrap();
        let map = Map::read_write(&file);
        map.set(5, b'!');
        drop((map, file));
        let mut expected = if name == "large" { content.clone() } else { b"small content".to_vec() };
        expected[5] = b'!';
        assert!(fs::read(mount.at(name)).unwrap() == expected, "{name}");
    }
    assert_blobs_are_unharmed(&mount);
    mount.stop();
}

#[test]
fn without_passthrough_everything_goes_through_the_daemon() {
    let bench = Bench::new(&Spec::new().file("file", pattern(LARGE)));
    let mount = TestMount::mount(&bench, bench.with_layer("layer"), |options| options.io = IoChoice::Cached, None);
    let mut reader = File::open(mount.at("file")).unwrap();
    assert!(read_all(&mut reader) == pattern(LARGE));
    let writer = OpenOptions::new().write(true).open(mount.at("file")).unwrap();
    writer.write_all_at(b"changed", 0).unwrap();
    assert_eq!(&read_all(&mut reader)[..7], b"changed");
    assert_eq!(mount.count("opens_passthrough"), 0);
    assert_eq!(mount.count("reopens_elsewhere"), 0);
    assert!(mount.count("write") > 0 && mount.count("read") > 0);
    drop((reader, writer));
    mount.stop();
}

#[test]
fn attributes_are_right_after_writes_that_the_kernel_did_itself() {
    let mount = TestMount::writable(&Spec::new());
    let path = mount.at("file");
    let mut file = File::create(&path).unwrap();
    let before = fs::metadata(&path).unwrap();
    assert_eq!(before.len(), 0);
    file.write_all(&pattern(100_000)).unwrap();
    let after = fs::metadata(&path).unwrap();
    assert_eq!(after.len(), 100_000);
    assert_eq!(file.metadata().unwrap().len(), 100_000);
    assert!(after.modified().unwrap() > before.modified().unwrap());
    assert!(after.blocks() > 0);
    file.set_len(10).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 10);
    assert_eq!(mount.count("write"), 0);
    drop(file);
    mount.stop();
}

#[test]
fn an_unlinked_file_lives_as_long_as_it_is_open() {
    let mount = TestMount::writable(&Spec::new().file("clean", pattern(LARGE)));
    let data = mount.bench.layer_path("layer").join("data");
    let files = || {
        fn count(dir: &Path) -> usize {
            let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
            entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
        }
        count(&data)
    };
    fs::write(mount.at("new"), "new content").unwrap();
    let mut new = OpenOptions::new().read(true).write(true).open(mount.at("new")).unwrap();
    let mut clean = File::open(mount.at("clean")).unwrap();
    fs::remove_file(mount.at("new")).unwrap();
    fs::remove_file(mount.at("clean")).unwrap();
    assert_eq!(new.metadata().unwrap().nlink(), 0);
    assert_eq!(read_all(&mut new), b"new content");
    new.write_all_at(b"!", 0).unwrap();
    assert_eq!(read_all(&mut new), b"!ew content");
    assert!(read_all(&mut clean) == pattern(LARGE));
    assert_eq!(files(), 1);
    drop((new, clean));
    wait_until("the data file is gone", || files() == 0);
    mount.stop();
}

#[test]
fn space_can_be_reserved_punched_and_found() {
    let mount = TestMount::writable(&Spec::new().file("source", pattern(300_000)));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(mount.at("file")).unwrap();
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 1 << 20).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 1 << 20);
    let source = File::open(mount.at("source")).unwrap();
    let copied = rustix::fs::copy_file_range(&source, None, &file, Some(&mut 4096), 300_000).unwrap();
    assert_eq!(copied, 300_000);
    let mut back = vec![0; 300_000];
    file.read_exact_at(&mut back, 4096).unwrap();
    assert!(back == pattern(300_000));

    let sparse = File::create(mount.at("sparse")).unwrap();
    sparse.write_all_at(b"end", 1 << 20).unwrap();
    let data = rustix::fs::seek(&sparse, rustix::fs::SeekFrom::Data(0)).unwrap();
    assert_eq!(data, 1 << 20);
    assert_eq!(rustix::fs::seek(&sparse, rustix::fs::SeekFrom::Hole(0)).unwrap(), 0);
    let past = rustix::fs::seek(&sparse, rustix::fs::SeekFrom::Data(2 << 20)).unwrap_err();
    assert_eq!(past, rustix::io::Errno::NXIO);
    file.sync_all().unwrap();
    File::open(mount.root()).unwrap().sync_all().unwrap();
    drop((file, source, sparse));
    mount.stop();
}

fn snapshot(mount: &TestMount, name: &str) -> cairnfs::snapshot::Report {
    let request = cairnfs::snapshot::Request {
        name: name.parse().unwrap(),
        labels: Default::default(),
        created_at: None,
        parent: None,
    };
    cairnfs::snapshot::take(&mount.fs, &request, &mut |_| Ok(())).unwrap()
}

#[test]
fn a_snapshot_disturbs_nothing_that_is_open() {
    let mount = TestMount::writable(&Spec::new());
    let path = mount.at("file");
    fs::write(&path, pattern(LARGE)).unwrap();
    fs::write(mount.at("written"), "before").unwrap();
    mount.wait_until_open(0);
    let mut reader = File::open(&path).unwrap();
    let map = Map::read(&reader);
    let writer = OpenOptions::new().write(true).open(mount.at("written")).unwrap();

    let report = snapshot(&mount, "first");
    assert_eq!(report.being_written, ["written"]);
    // The same bytes under another name: no need to send new opens elsewhere.
    assert!(fs::read(&path).unwrap() == pattern(LARGE));
    assert_eq!(mount.count("reopens_elsewhere"), 0);
    writer.write_all_at(b"AFTER", 0).unwrap();
    assert_eq!(fs::read_to_string(mount.at("written")).unwrap(), "AFTERe");

    // What is written now must reach neither the store's blob nor those who have the old content open.
    OpenOptions::new().write(true).open(&path).unwrap().write_all_at(b"changed", 0).unwrap();
    assert_eq!(mount.count("reopens_elsewhere"), 1);
    assert_eq!(&fs::read(&path).unwrap()[..7], b"changed");
    assert!(read_all(&mut reader) == pattern(LARGE));
    assert_eq!(map.get(0), 0);
    drop((map, reader, writer));
    assert_blobs_are_unharmed(&mount);

    let taken = cairnfs::vfs::Fs::read_only(&mount.bench.store, report.manifest).unwrap();
    let shown = TestMount::mount(&mount.bench, Arc::new(taken), |_| {}, None);
    assert!(fs::read(shown.at("file")).unwrap() == pattern(LARGE));
    assert_eq!(fs::read_to_string(shown.at("written")).unwrap(), "before");
    shown.stop();
    mount.stop();
}

#[test]
fn small_files_that_a_snapshot_made_clean_are_read_anew() {
    let mount = TestMount::writable(&Spec::new().file("file", "base"));
    assert_eq!(fs::read_to_string(mount.at("file")).unwrap(), "base");
    fs::write(mount.at("file"), "next").unwrap();
    snapshot(&mount, "first");
    assert_eq!(fs::read_to_string(mount.at("file")).unwrap(), "next");
    fs::write(mount.at("file"), "last").unwrap();
    snapshot(&mount, "second");
    assert_eq!(fs::read_to_string(mount.at("file")).unwrap(), "last");
    assert_blobs_are_unharmed(&mount);
    mount.stop();
}

#[test]
fn the_kernel_asks_for_a_capability_once_not_with_every_write() {
    let mount = TestMount::writable(&Spec::new());
    let file = File::create(mount.at("file")).unwrap();
    for at in 0..100 {
        file.write_all_at(b"x", at).unwrap();
    }
    assert!(mount.count("getxattr") <= 1, "{} questions", mount.count("getxattr"));
    drop(file);
    mount.stop();
}

/// What takes setuid and setgid from a file in the mount's or any other directory, as (name, how, what stays).
fn privileges_after_changes(dir: &Path) -> Vec<(&'static str, u32)> {
    let run = |script: &str| assert_eq!(as_nobody(&format!("cd {} && {script}", dir.display())).0, 0, "{script}");
    let mode = |name: &str| fs::metadata(dir.join(name)).unwrap().mode() & 0o7777;
    let set = |name: &str, bits: u32| {
        let path = dir.join(name);
        fs::write(&path, "program").unwrap();
        chown(&path, Some(1), Some(1)).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(bits)).unwrap();
        path
    };
    let mut after = Vec::new();
    for (name, script) in [
        ("appended", "printf x >> appended"),
        ("overwritten", "printf x | dd of=overwritten conv=notrunc status=none"),
        ("opened to be cut", ": > 'opened to be cut'"),
        ("truncated", "truncate -s 3 truncated"),
        ("allocated", "fallocate -l 9000 allocated"),
        ("punched", "fallocate -p -o 0 -l 4 punched"),
        ("mark of a lock", "printf x >> 'mark of a lock'"),
        ("read", "cat read"),
    ] {
        set(name, if name == "mark of a lock" { 0o6767 } else { 0o6777 });
        run(script);
        after.push((name, mode(name)));
    }
    // Root keeps what it writes, and loses what it gives away.
    fs::write(set("written by root", 0o6755), "x").unwrap();
    chown(set("given away", 0o6755), Some(2), None).unwrap();
    chown(set("mark given away", 0o6745), Some(2), Some(2)).unwrap();
    fs::create_dir(dir.join("directory")).unwrap();
    fs::set_permissions(dir.join("directory"), PermissionsExt::from_mode(0o6755)).unwrap();
    chown(dir.join("directory"), Some(2), Some(2)).unwrap();
    // Set while somebody has it open for writing already.
    let path = set("opened before", 0o666);
    let mut writer = Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "sh",
            "-c",
            "exec 3<>\"$0\"; echo; read go; printf x >&3",
        ])
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    BufReader::new(writer.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o6755)).unwrap();
    writer.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert!(writer.wait().unwrap().success());
    for name in ["written by root", "given away", "mark given away", "directory", "opened before"] {
        after.push((name, mode(name)));
    }
    after
}

/// chown(2) of neither owner nor group takes setuid away, so it isn't for everybody.
/// `closed` waits until no file is open for writing any more.
fn chown_to_nobody_in_particular(dir: &Path, closed: impl Fn()) -> Vec<(i32, u32)> {
    let mut seen = Vec::new();
    for (owner, bits) in [(1, 0o6755), (65534, 0o6755), (1, 0o755)] {
        let path = dir.join(format!("{owner}-{bits:o}"));
        fs::write(&path, "program").unwrap();
        closed();
        chown(&path, Some(owner), Some(1)).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(bits)).unwrap();
        let script = "import os, sys; os.chown(sys.argv[1], -1, -1)";
        let status =
            as_nobody(&format!("/usr/bin/env -i PATH=/usr/bin:/bin python3 -c '{script}' {}", path.display())).0;
        seen.push((status, fs::metadata(&path).unwrap().mode() & 0o7777));
    }
    seen
}

#[test]
fn a_chown_that_changes_nothing_takes_privileges_from_the_callers_files_only() {
    let host = tempfile::tempdir().unwrap();
    fs::set_permissions(host.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let expected = chown_to_nobody_in_particular(host.path(), || ());
    assert_eq!(expected, [(1, 0o6755), (0, 0o755), (0, 0o755)]);
    let mount = TestMount::writable(&Spec::new());
    assert_eq!(chown_to_nobody_in_particular(mount.root(), || mount.wait_until_open(0)), expected);
    mount.stop();
}

#[test]
fn privileges_go_as_they_do_on_the_host() {
    let host = tempfile::tempdir().unwrap();
    fs::set_permissions(host.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let expected = privileges_after_changes(host.path());
    assert!(expected.contains(&("appended", 0o777)) && expected.contains(&("read", 0o6777)), "{expected:?}");
    let mount = TestMount::writable(&Spec::new());
    assert_eq!(privileges_after_changes(mount.root()), expected);
    mount.stop();
    let bench = Bench::new(&Spec::new());
    let cached = TestMount::mount(&bench, bench.with_layer("layer"), |options| options.io = IoChoice::Cached, None);
    assert_eq!(privileges_after_changes(cached.root()), expected);
    cached.stop();
}

#[test]
fn privileges_of_clean_files_go_when_somebody_else_writes() {
    let spec = ["written", "cut", "truncated"]
        .iter()
        .fold(Spec::new(), |spec, name| spec.file(name, "program").mode(name, 0o6777));
    let mount = TestMount::writable(&spec);
    let mode = |name: &str| fs::metadata(mount.at(name)).unwrap().mode() & 0o7777;
    let run =
        |script: &str| assert_eq!(as_nobody(&format!("cd {}; {script}", mount.root().display())).0, 0, "{script}");
    run("printf x >> written");
    run(": > cut");
    run("truncate -s 3 truncated");
    for name in ["written", "cut", "truncated"] {
        assert_eq!(mode(name), 0o777, "{name}");
    }
    mount.stop();
}

#[test]
fn direct_io_works_on_either_kind_of_content() {
    let mount = TestMount::writable(&Spec::new().file("clean", pattern(LARGE)));
    let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(mount.at("clean")).unwrap();
    // An aligned buffer: the part of a larger one that starts at a multiple of 4096.
    let mut room = vec![0u8; 8192 * 2];
    let start = room.as_ptr().align_offset(4096);
    file.read_exact_at(&mut room[start..start + 8192], 4096).unwrap();
    assert!(room[start..start + 8192] == pattern(LARGE)[4096..4096 + 8192]);
    drop(file);
    mount.stop();
}

#[test]
fn many_threads_opening_reading_and_writing_agree() {
    let mount = Arc::new(TestMount::writable(&Spec::new().file("shared", pattern(LARGE))));
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let mount = &mount;
            scope.spawn(move || {
                for round in 0..20u64 {
                    let own = mount.at(&format!("own-{thread}"));
                    fs::write(&own, format!("{thread} {round}")).unwrap();
                    assert_eq!(fs::read_to_string(&own).unwrap(), format!("{thread} {round}"));
                    let shared = OpenOptions::new().read(true).write(true).open(mount.at("shared")).unwrap();
                    shared.write_all_at(&[thread as u8], 3_000_000 + thread).unwrap();
                    let mut back = [0];
                    shared.read_exact_at(&mut back, 3_000_000 + thread).unwrap();
                    assert_eq!(back, [thread as u8]);
                    let mut first = [0; 4];
                    File::open(mount.at("shared")).unwrap().read_exact_at(&mut first, 0).unwrap();
                    assert_eq!(first, [0, 1, 2, 3]);
                    fs::rename(&own, mount.at(&format!("moved-{thread}"))).unwrap();
                }
            });
        }
    });
    assert_eq!(mount.count("panics"), 0);
    assert_blobs_are_unharmed(&mount);
    Arc::into_inner(mount).unwrap().stop();
}
