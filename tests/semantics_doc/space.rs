//! Section "Space". Full disks under load are in `tests/layer_full_disk.rs`.

use crate::common::mount::TestMount;
use crate::common::spec::Spec;
use crate::common::wait_until;
use crate::support::{LARGE, append, errno};
use cairnfs::layer::Layer;
use cairnfs::vfs::Fs;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use tempfile::TempDir;

/// A tmpfs of its own, for a layer.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn new(size: &str) -> Self {
        let dir = TempDir::with_prefix("cairnfs-disk-").unwrap();
        let options = format!("size={size}");
        mount(None::<&str>, dir.path(), Some("tmpfs"), MsFlags::empty(), Some(options.as_str())).unwrap();
        Self(dir)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _unmounted = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

fn on(disk: &SmallDisk, spec: &Spec) -> TestMount {
    let bench = crate::common::mount::Bench::new(spec);
    let path = disk.0.path().join("layer");
    fs::create_dir_all(&path).unwrap();
    let fs = Fs::with_layer(&bench.store, bench.manifest, Layer::open(&path).unwrap()).unwrap();
    TestMount::mount(&bench, fs.into(), |_| {}, None)
}

#[test]
fn a_full_disk_is_enospc_and_removing_works() {
    let disk = SmallDisk::new("30M");
    let spec = Spec::new().file("clean", vec![1; 31 << 20]).file("large", vec![1; 40 << 20]).file("small", "x");
    let mount = on(&disk, &spec);
    // A copy-up needs room for the whole file, and leaves it as it was when there is none.
    assert_eq!(errno(File::options().write(true).open(mount.at("clean"))), libc::ENOSPC);
    assert_eq!(fs::metadata(mount.at("clean")).unwrap().len(), 31 << 20);
    // Of a large file, room for the blocks that are written.
    append(&mount.at("large"), "+");
    assert_eq!(fs::metadata(mount.at("large")).unwrap().len(), (40 << 20) + 1);
    let mut file = File::create(mount.at("filler")).unwrap();
    let refused = loop {
        if let Err(error) = file.write_all(&[1; 65536]) {
            break error.raw_os_error().unwrap();
        }
    };
    assert_eq!(refused, libc::ENOSPC);
    drop(file);
    fs::remove_file(mount.at("filler")).unwrap();
    fs::remove_file(mount.at("clean")).unwrap();
    // The kernel tells of the last close a moment later.
    wait_until("the room is free", || rustix::fs::statvfs(mount.root()).unwrap().f_bavail * 4096 > 16 << 20);
    append(&mount.at("small"), "+");
    assert_eq!(fs::read_to_string(mount.at("small")).unwrap(), "x+");
    mount.stop();
}

#[test]
fn content_is_freed_when_nothing_has_it_open() {
    let disk = SmallDisk::new("64M");
    let mount = on(&disk, &Spec::new());
    let free = || rustix::fs::statvfs(mount.root()).unwrap().f_bfree;
    let file = File::create(mount.at("file")).unwrap();
    let before = free();
    file.write_all_at(&vec![1; 8 * LARGE], 0).unwrap();
    let blocks = (8 * LARGE) as u64 / rustix::fs::statvfs(mount.root()).unwrap().f_frsize;
    assert!(free() <= before - blocks);
    fs::remove_file(mount.at("file")).unwrap();
    assert!(free() <= before - blocks, "it is open");
    drop(file);
    wait_until("it is freed", || free() > before - blocks);
    mount.stop();
}
