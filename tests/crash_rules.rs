//! The rules by which a layer loses nothing that was synced, each with the power cut that it is against. The filesystem is used without a mount; its
//! disk is shut down with what it hadn't written, but for the log where that makes names newer than content.
#![allow(clippy::unwrap_used, reason = "a test may end so")]

#[path = "store_util/bench.rs"]
mod bench;
#[path = "store_util/disk.rs"]
mod disk;
#[path = "common/skip.rs"]
mod skip;

use bench::{Bench, ROOT, WRITE, base, name};
use cairnfs::format::{Ino, Mode};
use cairnfs::layer::{Body, FileContent};
use cairnfs::vfs::freeze::Source;
use cairnfs::vfs::{Copying, Fs, HandleId, OpenMode, RenameMode};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use skip::possible;
use std::time::{Duration, Instant};

fn bench() -> Option<Bench> {
    Bench::new(Copying::Auto)
}

fn ino(fs: &Fs, path: &str) -> Option<Ino> {
    Some(fs.lookup(Ino::ROOT, name(path)).unwrap()?.ino)
}

fn read(fs: &Fs, path: &str) -> Option<Vec<u8>> {
    let of = ino(fs, path)?;
    let mut bytes = vec![0; usize::try_from(fs.attr(of).unwrap().size).unwrap() + 1];
    let opened = fs.open(of, OpenMode::default()).unwrap();
    let count = fs.read(opened.handle, 0, &mut bytes).unwrap();
    bytes.truncate(count);
    fs.release(opened.handle);
    Some(bytes)
}

fn create(fs: &Fs, path: &str, content: &[u8], sync: bool) {
    let (_, opened) = fs.create(ROOT, Ino::ROOT, name(path), Mode::from_bits(0o644), 0, WRITE).unwrap();
    finish(fs, opened.handle, 0, content, sync);
}

fn write(fs: &Fs, path: &str, at: u64, content: &[u8], sync: bool) {
    finish(fs, fs.open(ino(fs, path).unwrap(), WRITE).unwrap().handle, at, content, sync);
}

fn finish(fs: &Fs, handle: HandleId, at: u64, content: &[u8], sync: bool) {
    fs.write(handle, at, content).unwrap();
    if sync {
        fs.fsync(handle, false).unwrap();
    }
    fs.release(handle);
}

/// As the kernel does when the last name went and nobody uses the inode.
fn forget(fs: &Fs, of: Ino) {
    fs.forget(of);
}

fn written() -> Vec<u8> {
    [b"NEW".to_vec(), base()[3..].to_vec()].concat()
}

#[test]
fn a_copy_that_was_not_synced_goes_back_to_the_base() {
    let Some(bench) = bench() else { return };
    for flush_log in [false, true] {
        let fs = bench.open();
        write(&fs, "base", 0, b"NEW", false);
        // Puts the copy's record on disk, and not the copy.
        create(&fs, &format!("other{flush_log}"), b"x", true);
        let fs = bench.cut(fs, flush_log);
        assert_eq!(read(&fs, "base").unwrap(), base());
        assert_eq!(fs.layer().unwrap().recovered().reverted, 1);
        fs.close().unwrap();
    }
}

#[test]
fn what_was_synced_or_closed_is_not_taken_back() {
    let Some(bench) = bench() else { return };
    for closed in [false, true] {
        let fs = bench.open();
        write(&fs, "base", 0, if closed { b"one" } else { b"two" }, false);
        let fs = if closed {
            fs.close().unwrap();
            drop(fs);
            bench.open()
        } else {
            fs.sync().unwrap();
            fs
        };
        let expected = read(&fs, "base").unwrap();
        create(&fs, &format!("other{closed}"), b"x", true);
        let fs = bench.cut(fs, true);
        assert!(read(&fs, "base").unwrap() == expected, "closed: {closed}");
    }
}

#[test]
fn a_copy_settles_by_itself() {
    let Some(bench) = bench() else { return };
    let fs = bench.open();
    write(&fs, "base", 0, b"NEW", false);
    let of = ino(&fs, "base").unwrap();
    let pending = |fs: &Fs| {
        let record = fs.layer().unwrap().db().inode(of).unwrap().unwrap();
        matches!(record.body, Body::File { content: FileContent::Data { origin: Some(_) }, .. })
    };
    assert!(pending(&fs));
    // A daemon that was killed and started again settles what the other left.
    drop(fs);
    let fs = bench.open();
    let start = Instant::now();
    while pending(&fs) {
        assert!(start.elapsed() < Duration::from_secs(60), "it never settles");
        std::thread::sleep(Duration::from_millis(10));
    }
    create(&fs, "other", b"x", true);
    let fs = bench.cut(fs, false);
    assert!(read(&fs, "base").unwrap() == written());
}

#[test]
fn a_synced_file_outlives_its_replacement_that_was_not() {
    let Some(bench) = bench() else { return };
    let fs = bench.open();
    create(&fs, "file", b"old", true);
    create(&fs, "removed", b"removed", true);
    let (old, removed) = (ino(&fs, "file").unwrap(), ino(&fs, "removed").unwrap());
    create(&fs, "new", b"new", true);
    fs.rename((Ino::ROOT, name("new")), (Ino::ROOT, name("file")), RenameMode::Replace).unwrap();
    fs.unlink(Ino::ROOT, name("removed")).unwrap();
    forget(&fs, old);
    forget(&fs, removed);
    // The host's log has all that happened to names of the host; the layer's records are as they were synced.
    let fs = bench.cut(fs, true);
    let found = read(&fs, "file").unwrap();
    assert!(found == b"old" || found == b"new", "{:?}", String::from_utf8_lossy(&found));
    let found = read(&fs, "removed");
    assert!(found.is_none() || found.as_deref() == Some(b"removed"), "{found:?}");
    assert_eq!(fs.layer().unwrap().recovered().emptied, 0);
}

/// Programs replace files so without fsync, and ext4 puts the content on disk no later than the name (`auto_da_alloc`).
#[test]
fn a_replacement_is_whole_once_its_name_is_on_disk() {
    // Much, so that writing it out takes longer than what comes before the cut.
    let much = base().repeat(240);
    for bench in ["ext4", "xfs"].into_iter().filter_map(|kind| Bench::on(kind, Copying::Auto)) {
        for flush_log in [false, true] {
            let fs = bench.open();
            let path = format!("file{flush_log}");
            create(&fs, &path, b"old", true);
            create(&fs, "new", &much, false);
            // Lets the disk's block that names go to be there, so that nothing but that block is written with the name.
            fs.fsync_dir(Ino::ROOT).unwrap();
            fs.rename((Ino::ROOT, name("new")), (Ino::ROOT, name(&path)), RenameMode::Replace).unwrap();
            fs.fsync_dir(Ino::ROOT).unwrap();
            let fs = bench.cut(fs, flush_log);
            let found = read(&fs, &path).unwrap();
            assert!(found == much, "{} bytes of {}", found.len(), much.len());
            fs.close().unwrap();
        }
    }
}

#[test]
fn sealed_content_outlives_a_write_that_was_not_synced() {
    let Some(bench) = bench() else { return };
    let fs = bench.open();
    create(&fs, "file", &base(), true);
    {
        // A snapshot that fails: its sealed content stays the layer's own.
        let _frozen = fs.freeze().unwrap();
    }
    write(&fs, "file", 100_000, b"more", false);
    create(&fs, "other", b"x", true);
    let fs = bench.cut(fs, true);
    let found = read(&fs, "file").unwrap();
    assert!(found.starts_with(&base()), "{} bytes", found.len());
}

#[test]
fn a_snapshot_that_seals_a_copy_loses_nothing_of_the_base() {
    let Some(bench) = bench() else { return };
    let fs = bench.open();
    write(&fs, "base", 0, b"NEW", false);
    {
        let _frozen = fs.freeze().unwrap();
    }
    create(&fs, "other", b"x", true);
    let fs = bench.cut(fs, true);
    let found = read(&fs, "base").unwrap();
    assert!(found == base() || found == written(), "{} bytes", found.len());
}

/// The store's copy of the file and the layer's are one file on the host: were the layer to write it again, a blob would change.
#[test]
fn what_a_snapshot_has_sealed_stays_sealed_after_a_power_cut() {
    let Some(bench) = bench() else { return };
    let fs = bench.open();
    create(&fs, "new", b"what the snapshot takes", true);
    let taken = {
        let frozen = fs.freeze().unwrap();
        let Some(Source::Sealed(path)) = frozen.content.values().next() else { panic!("{:?}", frozen.content) };
        let taken = path.with_extension("taken");
        std::fs::hard_link(path, &taken).unwrap();
        std::fs::File::open(&taken).and_then(|file| file.sync_all()).unwrap();
        std::fs::File::open(taken.parent().unwrap()).and_then(|folder| folder.sync_all()).unwrap();
        taken
    };
    let fs = bench.cut(fs, true);
    assert!(taken.exists());
    write(&fs, "new", 0, b"OTHER", true);
    assert_eq!(std::fs::read(&taken).unwrap(), b"what the snapshot takes");
}

#[test]
fn content_that_is_gone_without_a_power_cut_is_not_taken_for_empty() {
    let Some(bench) = bench() else { return };
    let fs = bench.open();
    create(&fs, "new", b"content", true);
    let data = fs.layer().unwrap().data().path().to_owned();
    drop(fs); // as when the daemon is killed
    std::fs::rename(&data, data.with_extension("away")).unwrap();
    let error = bench.try_open().unwrap_err().to_string();
    assert!(error.contains("1 file") && error.contains("fsck"), "{error}");
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(data.with_extension("away"), &data).unwrap();
    assert_eq!(read(&bench.open(), "new").unwrap(), b"content");
}

#[test]
fn the_same_memory_by_another_mount_is_no_power_cut() {
    if !possible(&[]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [memory, bound] = ["memory", "bound"].map(|name| folder.path().join(name));
    [&memory, &bound].iter().for_each(|path| std::fs::create_dir(path).unwrap());
    let nothing: Option<&str> = None;
    mount(Some("tmpfs"), &memory, Some("tmpfs"), MsFlags::empty(), nothing).unwrap();
    let mounted = mount(Some(&memory), &bound, nothing, MsFlags::MS_BIND, nothing);
    let told = [&memory, &bound].map(|path| cairnfs::layer::instance::instance(path));
    for path in [&bound, &memory] {
        let _gone = umount2(path, MntFlags::MNT_DETACH);
    }
    mounted.unwrap();
    assert!(told[0].is_some() && told[0] == told[1], "{told:?}");
}
