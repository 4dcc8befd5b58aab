//! Large files of the base that are written through a mount: only what is touched comes into the layer, and a file of which most was touched becomes
//! ordinary.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod common;
#[path = "common/skip.rs"]
mod skip;

use cairnfs::snapshot;
use cairnfs::vfs::{Copying, Fs};
use common::mount::{Bench, TestMount};
use common::spec::Spec;
use rustix::fs::{FallocateFlags, fallocate};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// Just more than is copied whole.
const LENGTH: usize = (33 << 20) + 77;
const BLOCK: u64 = 256 << 10;

fn content() -> Vec<u8> {
    (0..LENGTH).map(|at| (at / 5 % 251) as u8).collect()
}

/// `None` where the filesystem shares extents, so that nothing is copied by range.
fn mount(copying: Copying) -> Option<TestMount> {
    let bench = Bench::new(&Spec::new().file("large", content()));
    let (from, to) =
        (tempfile::tempfile_in(bench.store.path()).unwrap(), tempfile::tempfile_in(bench.store.path()).unwrap());
    from.write_all_at(&[1; 4096], 0).unwrap();
    if rustix::fs::ioctl_ficlone(&to, &from).is_ok() {
        skip::skipped("this filesystem shares extents");
        return None;
    }
    Some(TestMount::mount(&bench, bench.with_layer("layer"), |options| options.copying = copying, None))
}

fn writer(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

/// Writes an `M` through a shared mapping: in another process, for unmapping waits for the daemon with the process's memory map locked.
fn set_by_mapping(path: &Path, at: usize) {
    let script =
        "import mmap, sys; f = open(sys.argv[1], 'r+b'); m = mmap.mmap(f.fileno(), 0); m[int(sys.argv[2])] = 77";
    let status = Command::new("python3").args(["-I", "-S", "-c", script]).arg(path).arg(at.to_string()).status();
    assert!(status.unwrap().success());
}

/// Bytes on disk of the layer's data files.
fn held(mount: &TestMount) -> u64 {
    fn sum(dir: &Path) -> u64 {
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| if path.is_dir() { sum(&path) } else { fs::metadata(path).unwrap().blocks() * 512 }).sum()
    }
    sum(&mount.bench.layer_path("layer").join("data"))
}

#[test]
fn a_byte_costs_a_block_at_most() {
    let Some(mount) = mount(Copying::Auto) else { return };
    let path = mount.at("large");
    let before = fs::metadata(&path).unwrap();
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"!").unwrap();
    let mut right = content();
    right.push(b'!');
    assert!(held(&mount) <= 4096);
    writer(&path).write_all_at(b"here", 5 << 20).unwrap();
    right[5 << 20..][..4].copy_from_slice(b"here");
    set_by_mapping(&path, 9 << 20);
    right[9 << 20] = b'M';
    assert!(held(&mount) <= 2 * BLOCK + 16384, "{} bytes", held(&mount));
    let after = fs::metadata(&path).unwrap();
    assert_eq!((after.ino(), after.len()), (before.ino(), before.len() + 1));
    assert!(after.blocks() * 512 >= LENGTH as u64 && after.blocks() * 512 <= LENGTH as u64 + 4 * BLOCK);
    assert!(fs::read(&path).unwrap() == right);
    let mount = mount.remount();
    assert!(fs::read(mount.at("large")).unwrap() == right);
    mount.stop();
}

#[test]
fn truncation_allocation_and_holes_are_those_of_any_file() {
    let Some(mount) = mount(Copying::Auto) else { return };
    let path = mount.at("large");
    let file = writer(&path);
    let mut right = content();
    fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 1_000_000, 2_000_000).unwrap();
    right[1_000_000..3_000_000].fill(0);
    file.set_len(20_000_001).unwrap();
    file.set_len(25_000_000).unwrap();
    right.resize(20_000_001, 0);
    right.resize(25_000_000, 0);
    file.write_all_at(b"end", 30_000_000).unwrap();
    right.resize(30_000_000, 0);
    right.extend(b"end");
    assert!(fs::read(&path).unwrap() == right);
    let hole = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(0)).unwrap();
    let data = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(1_500_000)).unwrap();
    // Blocks of the host's filesystem have up to 64 KiB.
    assert!(
        (1_000_000..1_000_000 + 65536).contains(&hole) && (3_000_000 - 65536..=3_000_000).contains(&data),
        "{hole} {data}"
    );
    drop(file);
    let mount = mount.remount();
    assert!(fs::read(mount.at("large")).unwrap() == right);
    mount.stop();
}

#[test]
fn a_file_of_which_most_was_written_becomes_ordinary() {
    let Some(mount) = mount(Copying::Auto) else { return };
    let path = mount.at("large");
    let mut right = content();
    {
        let file = writer(&path);
        for at in (0..LENGTH as u64).step_by(2 * BLOCK as usize) {
            file.write_all_at(b"W", at + 5).unwrap();
            right[at as usize + 5] = b'W';
        }
        for at in (0..20 * BLOCK).step_by(2 * BLOCK as usize) {
            file.write_all_at(b"X", at + BLOCK).unwrap();
            right[(at + BLOCK) as usize] = b'X';
        }
        let before = mount.count("opens_cached");
        assert!(fs::read(&path).unwrap() == right);
        assert_eq!(mount.count("opens_cached"), before + 1);
    }
    mount.fs.sync().unwrap();
    let before = mount.count("opens_passthrough");
    common::wait_until("the next open is by passthrough", || {
        assert!(fs::read(&path).unwrap() == right);
        mount.count("opens_passthrough") > before || mount.count("opens_passthrough") == 0
    });
    mount.stop();
}

#[test]
fn a_snapshot_takes_all_of_it_while_it_is_open_for_writing() {
    let Some(mount) = mount(Copying::Auto) else { return };
    let file = writer(&mount.at("large"));
    let take = |name: &str| {
        let name = name.parse().unwrap();
        let request = snapshot::Request { name, labels: Default::default(), created_at: None, parent: None };
        snapshot::take(&mount.fs, &request, &mut |_| Ok(())).unwrap()
    };
    let mut right = content();
    for (number, at) in [(1, 7 << 20), (2, 8 << 20), (3, 100)] {
        file.write_all_at(b"written", at).unwrap();
        right[at as usize..][..7].copy_from_slice(b"written");
        let report = take(&format!("snap{number}"));
        assert_eq!(report.being_written, ["large"]);
        let taken = Arc::new(Fs::read_only(&mount.bench.store, report.manifest).unwrap());
        let taken = TestMount::mount(&mount.bench, taken, |_| {}, None);
        assert!(fs::read(taken.at("large")).unwrap() == right, "snapshot {number}");
        taken.stop();
        assert!(fs::read(mount.at("large")).unwrap() == right);
        assert!(held(&mount) <= BLOCK + 16384, "what the store has now isn't kept twice: {} bytes", held(&mount));
    }
    drop(file);
    let mount = mount.remount();
    assert!(fs::read(mount.at("large")).unwrap() == right);
    mount.stop();
}

#[test]
fn whole_copies_can_be_had() {
    let Some(mount) = mount(Copying::Whole) else { return };
    drop(writer(&mount.at("large")));
    assert!(held(&mount) >= LENGTH as u64);
    mount.stop();
}
