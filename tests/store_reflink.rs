//! Content is shared with its source where the filesystem can.
#![allow(clippy::unwrap_used, reason = "a test may end so")]

#[path = "store_util/disk.rs"]
mod disk;
#[path = "store_util/mod.rs"]
mod util;

use cairnfs::format::Digest;
use cairnfs::store::Store;
use disk::{Disk, run};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

#[test]
fn a_file_on_the_same_filesystem_takes_no_space_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut tried = 0;
    for kind in ["xfs", "btrfs"] {
        let Some(disk) = Disk::make(folder.path(), kind) else { continue };
        tried += 1;
        let store = Store::init(&disk.store()).unwrap();
        let path = disk.at.join("source");
        let bytes: Vec<u8> = (0..64 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 13) as u8 | 1).collect();
        fs::write(&path, &bytes).unwrap();
        File::open(&path).unwrap().sync_all().unwrap();
        let free = || {
            store.sync().unwrap();
            let stat = nix::sys::statvfs::statvfs(&disk.at).unwrap();
            stat.blocks_available() * stat.fragment_size()
        };
        let before = free();
        let writer = store.writer("import").unwrap();
        let put = writer.put_file(&File::open(&path).unwrap(), &path).unwrap();
        assert_eq!((put.digest, put.existed), (Digest::of(&bytes), false));
        assert!(writer.put_file(&File::open(&path).unwrap(), &path).unwrap().existed);
        let used = before.saturating_sub(free());
        assert!(used < 8 << 20, "{kind}: {used} bytes");
        // A source that changes later changes no object.
        fs::OpenOptions::new().write(true).open(&path).unwrap().write_all_at(b"changed", 1000).unwrap();
        store.verify_object(put.digest).unwrap();
    }
    let possible = nix::unistd::geteuid().is_root() && run("mkfs.xfs", &["-V"]);
    assert!(tried > 0 || !possible, "no disk could be made");
}
