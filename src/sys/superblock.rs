//! Which filesystem a file is on, as the kernel has it mounted now.

use rustix::fs::{AtFlags, StatxFlags, fstatfs, major, minor, statx};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

/// `f_type` of statfs(2), by include/uapi/linux/magic.h.
const EXT4: u64 = 0xef53;
const XFS: u64 = 0x5846_5342;
const BTRFS: u64 = 0x9123_683e;
const TMPFS: u64 = 0x0102_1994;

/// `STATX_MNT_ID_UNIQUE` of include/uapi/linux/stat.h: a mount's number that isn't given out again.
const MOUNT_ID_UNIQUE: u32 = 0x4000;

/// `struct fs_sysfs_path` of include/uapi/linux/fs.h.
#[repr(C)]
struct SysfsPath {
    length: u8,
    name: [u8; 128],
}

/// `struct btrfs_ioctl_fs_info_args` of include/uapi/linux/btrfs.h, of which only the filesystem's id is looked at.
#[repr(C)]
struct BtrfsInfo {
    max_id: u64,
    num_devices: u64,
    fsid: [u8; 16],
    rest: [u8; 1024 - 32],
}

mod request {
    use super::{BtrfsInfo, SysfsPath};
    nix::ioctl_read!(fs_ioc_getfssysfspath, 0x15, 1, SysfsPath);
    nix::ioctl_read!(btrfs_ioc_fs_info, 0x94, 31, BtrfsInfo);
}

/// Name of the mounted filesystem's folder in `/sys/fs`, such as `ext4/sda1`; `None` where it has none that can be told.
pub fn sysfs_name(file: &File) -> Option<String> {
    told_name(file).ok().or_else(|| found_name(file))
}

/// Whether the filesystem is in memory, so that all of it is there or nothing.
pub fn is_memory(file: &File) -> bool {
    fstatfs(file).is_ok_and(|found| found.f_type as u64 == TMPFS)
}

/// Whether the filesystem's change times tell every change of a file's content and attributes, by whoever has it open: those of ext2, ext3, ext4,
/// XFS and btrfs do. tmpfs doesn't: a page that was mapped for writing, and read first, is written without a trace. Network filesystems and FUSE
/// give what others say; f2fs leaves the time alone when an attribute is set.
pub fn tells_changes(file: &File) -> bool {
    fstatfs(file).is_ok_and(|found| [EXT4, XFS, BTRFS].contains(&(found.f_type as u64)))
}

/// Number of the mount by which `file` was opened, which isn't given out again; `None` before Linux 6.8.
pub fn mount_id(file: &File) -> io::Result<Option<u64>> {
    let found = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::from_bits_retain(MOUNT_ID_UNIQUE))?;
    Ok((found.stx_mask & MOUNT_ID_UNIQUE != 0).then_some(found.stx_mnt_id))
}

/// The folder's name where the kernel doesn't tell it: by device, or by id.
fn found_name(file: &File) -> Option<String> {
    let kind = match fstatfs(file).ok()?.f_type as u64 {
        EXT4 => "ext4",
        XFS => "xfs",
        BTRFS => return btrfs_name(file).ok(),
        _ => return None,
    };
    let device = file.metadata().ok()?.dev();
    let target = fs::read_link(format!("/sys/dev/block/{}:{}", major(device), minor(device))).ok()?;
    Some(format!("{kind}/{}", target.file_name()?.to_str()?))
}

/// By `FS_IOC_GETFSSYSFSPATH` (Linux 6.9). An error where the kernel or the filesystem doesn't tell.
fn told_name(file: &File) -> io::Result<String> {
    let mut path = SysfsPath { length: 0, name: [0; 128] };
    // SAFETY: the request writes a `struct fs_sysfs_path`, which is what it gets.
    unsafe { request::fs_ioc_getfssysfspath(file.as_raw_fd(), &raw mut path) }?;
    let name = path.name.get(..usize::from(path.length)).unwrap_or_default();
    String::from_utf8(name.to_vec()).map_err(io::Error::other)
}

/// The same for btrfs, which answers another request only (as of Linux 6.18).
fn btrfs_name(file: &File) -> io::Result<String> {
    let mut info = BtrfsInfo { max_id: 0, num_devices: 0, fsid: [0; 16], rest: [0; 1024 - 32] };
    // SAFETY: the request writes a `struct btrfs_ioctl_fs_info_args`, whose 1024 bytes it gets; the caller has seen that this is btrfs, so no
    // other driver takes the number for a request of its own.
    unsafe { request::btrfs_ioc_fs_info(file.as_raw_fd(), &raw mut info) }?;
    let hex = |part: &[u8]| part.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let id = &info.fsid;
    let uuid = [&id[..4], &id[4..6], &id[6..8], &id[8..10], &id[10..]].map(hex).join("-");
    Ok(format!("btrfs/{uuid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_older_kernels_need_names_the_same_folder() {
        let folder = File::open("/").unwrap();
        if let (Ok(told), Some(found)) = (told_name(&folder), found_name(&folder)) {
            assert_eq!(told, found);
        }
    }
}
