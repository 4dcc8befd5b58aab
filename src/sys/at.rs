//! Files by directory and name: every call resolves one component and never follows a symbolic link at its end, so that neither a path's
//! length nor what someone else does to its parents matters.
//!
//! Names are raw bytes without `/`; a NUL byte in one is refused by the kernel wrapper as an invalid argument.

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{self, Mode, SFlag, UtimensatFlags};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What a directory entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub enum FileType {
    Regular,
    Directory,
    Symlink,
    Char,
    Block,
    Fifo,
    Socket,
}

/// What stat(2) tells of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    /// Device that holds it.
    pub dev: u64,
    /// Its number there.
    pub ino: u64,
    /// Its type.
    pub file_type: FileType,
    /// Permission bits, setuid, setgid and sticky.
    pub mode: u32,
    /// Names it has.
    pub nlink: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device: major, minor.
    pub rdev: (u32, u32),
    /// Length in bytes.
    pub size: u64,
    /// 512-byte blocks allocated.
    pub blocks: u64,
    /// Modification time: seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Change time: seconds and nanoseconds.
    pub ctime: (i64, u32),
}

/// What `make_node_at` makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub enum NodeType {
    Char(u32, u32),
    Block(u32, u32),
    Fifo,
    Socket,
}

const DIR_FLAGS: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);
const READ_FLAGS: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_NOFOLLOW).union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);

/// Opens the directory at `path`, which the user named: symbolic links are followed.
pub fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    Ok(nix::fcntl::open(path, DIR_FLAGS, Mode::empty())?)
}

/// Opens the directory `name` in `dir`; `name` may be `..`.
pub fn open_dir_at(dir: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    Ok(nix::fcntl::openat(dir, name, DIR_FLAGS | OFlag::O_NOFOLLOW, Mode::empty())?)
}

/// Opens the file `name` in `dir` for reading, without touching its access time where that is allowed. A fifo or device that took the place of a
/// file doesn't block.
pub fn open_read_at(dir: impl AsFd, name: &[u8]) -> io::Result<File> {
    let quiet = nix::fcntl::openat(&dir, name, READ_FLAGS | OFlag::O_NOATIME, Mode::empty());
    let opened = match quiet {
        Err(Errno::EPERM) => nix::fcntl::openat(&dir, name, READ_FLAGS, Mode::empty()),
        other => other,
    };
    Ok(opened?.into())
}

/// Creates the file `name` in `dir`, which must not be there, with mode 0600.
pub fn create_at(dir: impl AsFd, name: &[u8]) -> io::Result<File> {
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(nix::fcntl::openat(dir, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?.into())
}

/// Stat of an open file.
pub fn stat_fd(fd: impl AsFd) -> io::Result<Stat> {
    from_raw(&stat::fstat(fd)?)
}

/// Stat of `name` in `dir`.
pub fn stat_at(dir: impl AsFd, name: &[u8]) -> io::Result<Stat> {
    from_raw(&stat::fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)?)
}

fn from_raw(raw: &stat::FileStat) -> io::Result<Stat> {
    let file_type = match SFlag::from_bits_truncate(raw.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFREG => FileType::Regular,
        SFlag::S_IFDIR => FileType::Directory,
        SFlag::S_IFLNK => FileType::Symlink,
        SFlag::S_IFCHR => FileType::Char,
        SFlag::S_IFBLK => FileType::Block,
        SFlag::S_IFIFO => FileType::Fifo,
        SFlag::S_IFSOCK => FileType::Socket,
        _ => return Err(io::Error::new(io::ErrorKind::Unsupported, "file of unknown type")),
    };
    let split = |device: u64| (part(stat::major(device)), part(stat::minor(device)));
    Ok(Stat {
        dev: raw.st_dev,
        ino: raw.st_ino,
        file_type,
        mode: raw.st_mode & 0o7777,
        nlink: raw.st_nlink,
        uid: raw.st_uid,
        gid: raw.st_gid,
        rdev: split(raw.st_rdev),
        size: u64::try_from(raw.st_size).unwrap_or(0),
        blocks: u64::try_from(raw.st_blocks).unwrap_or(0),
        mtime: (raw.st_mtime, nanos(raw.st_mtime_nsec)),
        ctime: (raw.st_ctime, nanos(raw.st_ctime_nsec)),
    })
}

fn part(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn nanos(raw: i64) -> u32 {
    u32::try_from(raw).ok().filter(|&nanos| nanos < 1_000_000_000).unwrap_or(0)
}

/// Names in a directory, without `.` and `..`, in the order of the filesystem.
pub fn list_dir(dir: BorrowedFd<'_>) -> io::Result<Vec<Box<[u8]>>> {
    let mut listing = nix::dir::Dir::from_fd(dir.try_clone_to_owned()?)?;
    let mut names = Vec::new();
    for entry in listing.iter() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.into());
        }
    }
    Ok(names)
}

/// Target of the symbolic link `name`.
pub fn read_link_at(dir: impl AsFd, name: &[u8]) -> io::Result<Vec<u8>> {
    Ok(nix::fcntl::readlinkat(dir, name)?.into_vec())
}

/// Makes a directory with mode 0700.
pub fn make_dir_at(dir: impl AsFd, name: &[u8]) -> io::Result<()> {
    Ok(stat::mkdirat(dir, name, Mode::S_IRWXU)?)
}

/// Makes a symbolic link.
pub fn make_symlink_at(dir: impl AsFd, name: &[u8], target: &[u8]) -> io::Result<()> {
    Ok(nix::unistd::symlinkat(target, dir, name)?)
}

/// Makes a device, fifo or socket with mode 0600.
pub fn make_node_at(dir: impl AsFd, name: &[u8], node: NodeType) -> io::Result<()> {
    let (kind, device) = match node {
        NodeType::Char(major, minor) => (SFlag::S_IFCHR, stat::makedev(major.into(), minor.into())),
        NodeType::Block(major, minor) => (SFlag::S_IFBLK, stat::makedev(major.into(), minor.into())),
        NodeType::Fifo => (SFlag::S_IFIFO, 0),
        NodeType::Socket => (SFlag::S_IFSOCK, 0),
    };
    Ok(stat::mknodat(dir, name, kind, Mode::S_IRUSR | Mode::S_IWUSR, device)?)
}

/// Makes `new_name` in `new_dir` another name of `name` in `dir`; a symbolic link gets the name itself.
pub fn link_at(dir: impl AsFd, name: &[u8], new_dir: impl AsFd, new_name: &[u8]) -> io::Result<()> {
    Ok(nix::unistd::linkat(dir, name, new_dir, new_name, AtFlags::empty())?)
}

/// Removes a name that isn't a directory.
pub fn unlink_at(dir: impl AsFd, name: &[u8]) -> io::Result<()> {
    Ok(nix::unistd::unlinkat(dir, name, UnlinkatFlags::NoRemoveDir)?)
}

/// Sets owner and group of `name`.
pub fn chown_at(dir: impl AsFd, name: &[u8], uid: u32, gid: u32) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    Ok(nix::unistd::fchownat(dir, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?)
}

/// Sets owner and group of an open file.
pub fn chown_fd(fd: impl AsFd, uid: u32, gid: u32) -> io::Result<()> {
    Ok(nix::unistd::fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?)
}

/// Sets the permission bits of `name`, which the caller has just made and which isn't a symbolic link.
pub fn chmod_at(dir: impl AsFd, name: &[u8], mode: u32) -> io::Result<()> {
    Ok(stat::fchmodat(dir, name, Mode::from_bits_truncate(mode), stat::FchmodatFlags::FollowSymlink)?)
}

/// Sets the permission bits of an open file.
pub fn chmod_fd(fd: impl AsFd, mode: u32) -> io::Result<()> {
    Ok(stat::fchmod(fd, Mode::from_bits_truncate(mode))?)
}

/// Sets access and modification time of `name` to `time`: seconds and nanoseconds.
pub fn set_times_at(dir: impl AsFd, name: &[u8], time: (i64, u32)) -> io::Result<()> {
    let time = TimeSpec::new(time.0, time.1.into());
    Ok(stat::utimensat(dir, name, &time, &time, UtimensatFlags::NoFollowSymlink)?)
}

/// Sets access and modification time of an open file.
pub fn set_times_fd(fd: impl AsFd, time: (i64, u32)) -> io::Result<()> {
    let time = TimeSpec::new(time.0, time.1.into());
    Ok(stat::futimens(fd, &time, &time)?)
}

/// Bytes of a path as the kernel takes it.
pub fn path_bytes(path: &Path) -> &[u8] {
    let text: &OsStr = path.as_os_str();
    text.as_bytes()
}

/// A path from its bytes.
pub fn to_path(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}
