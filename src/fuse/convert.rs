//! Between the kernel's types, as fuser decodes them, and the filesystem's.

use crate::format::{Device, Kind, Mode, Name, Timestamp};
use crate::vfs::{Attr, Caller, SetTime};
use fuser::{FileAttr, FileType, INodeNo, Request, TimeOrNow};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::errno::Fault;

/// How long the kernel may keep what nobody but the kernel itself can change: longer than any mount lives.
pub(super) const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);

/// Preferred size of reads and writes, as stat(2) tells it; what local filesystems say.
pub(super) const BLOCK_SIZE: u32 = 4096;

pub(super) fn caller(request: &Request) -> Caller {
    Caller { uid: request.uid(), gid: request.gid(), pid: request.pid() }
}

pub(super) fn name(name: &OsStr) -> Result<Name<'_>, Fault> {
    Ok(Name::new(name.as_bytes())?)
}

/// The type in a mode that mknod(2) was given; no type bits mean a regular file.
pub(super) fn kind_of_mode(mode: u32) -> Option<Kind> {
    match mode & libc::S_IFMT {
        0 | libc::S_IFREG => Some(Kind::File),
        libc::S_IFCHR => Some(Kind::Char),
        libc::S_IFBLK => Some(Kind::Block),
        libc::S_IFIFO => Some(Kind::Fifo),
        libc::S_IFSOCK => Some(Kind::Socket),
        _ => None,
    }
}

pub(super) fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Dir => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Char => FileType::CharDevice,
        Kind::Block => FileType::BlockDevice,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
    }
}

/// Device numbers in 32 bits, as the FUSE protocol has them: the low 8 bits of the minor number, 12 bits of major, the rest of the minor.
pub(super) fn device(rdev: u32) -> Device {
    Device { major: (rdev >> 8) & 0xfff, minor: (rdev & 0xff) | ((rdev >> 12) & 0xf_ff00) }
}

fn rdev(device: Device) -> u32 {
    (device.minor & 0xff) | ((device.major & 0xfff) << 8) | ((device.minor & 0xf_ff00) << 12)
}

/// `node`: the number by which the kernel shall know the inode. In an entry it is the node number; everywhere else it is `st_ino`.
pub(super) fn file_attr(attr: &Attr, node: u64) -> FileAttr {
    FileAttr {
        ino: INodeNo(node),
        size: attr.size,
        blocks: attr.blocks,
        atime: attr.atime.into(),
        mtime: attr.mtime.into(),
        ctime: attr.ctime.into(),
        crtime: UNIX_EPOCH,
        kind: file_type(attr.kind),
        perm: attr.mode.bits(),
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: rdev(attr.rdev),
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

/// An entry with node number 0, which the kernel keeps as "no such name".
pub(super) fn absent() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 0,
        flags: 0,
    }
}

pub(super) fn mode(bits: u32) -> Mode {
    Mode::from_bits(bits)
}

pub(super) fn set_time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(time) => SetTime::To(timestamp(time)),
    }
}

/// The time that the kernel sent. fuser decodes seconds before the epoch as `EPOCH - (|seconds| + nanoseconds)`, although nanoseconds count
/// forward from the second; this takes both parts back out as they came.
pub(super) fn timestamp(decoded: SystemTime) -> Timestamp {
    let Err(before) = decoded.duration_since(UNIX_EPOCH) else {
        return decoded.into();
    };
    let distance = before.duration();
    let seconds = 0i64.checked_sub_unsigned(distance.as_secs()).unwrap_or(i64::MIN);
    Timestamp::new(seconds, distance.subsec_nanos()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What fuser 0.18 makes of the kernel's pair (`system_time_from_time`).
    fn as_fuser_decodes(seconds: i64, nanos: u32) -> SystemTime {
        if seconds >= 0 {
            UNIX_EPOCH + Duration::new(seconds.unsigned_abs(), nanos)
        } else {
            UNIX_EPOCH - Duration::new(seconds.unsigned_abs(), nanos)
        }
    }

    #[test]
    fn times_before_the_epoch_come_through_as_the_kernel_sent_them() {
        for (seconds, nanos) in [(0, 0), (5, 999_999_999), (-1, 0), (-1, 1), (-2, 800_000_000), (-4_000_000_000, 7)] {
            let time = timestamp(as_fuser_decodes(seconds, nanos));
            assert_eq!((time.secs(), time.nanos()), (seconds, nanos));
        }
    }

    #[test]
    fn device_numbers_survive() {
        for (major, minor) in [(0, 0), (1, 3), (8, 255), (8, 256), (4095, 1_048_575)] {
            let there = Device { major, minor };
            assert_eq!(device(rdev(there)), there);
        }
        // makedev(8, 1) and a minor number over 8 bits, as the kernel's new_encode_dev has them.
        assert_eq!(rdev(Device { major: 8, minor: 1 }), 0x801);
        assert_eq!(rdev(Device { major: 259, minor: 0x12345 }), 0x1231_0345);
    }

    #[test]
    fn types_of_mknod() {
        assert_eq!(kind_of_mode(0o644), Some(Kind::File));
        assert_eq!(kind_of_mode(libc::S_IFCHR | 0o600), Some(Kind::Char));
        assert_eq!(kind_of_mode(libc::S_IFDIR | 0o755), None);
    }
}
