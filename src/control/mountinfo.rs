//! What is mounted in this process's namespace, from `/proc/self/mountinfo`; no mount is touched by asking.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// One line of `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub mountpoint: PathBuf,
    /// `fuse.cairnfs`, `ext4`, ...
    pub fs_type: String,
    /// What: for cairnfs the ref.
    pub source: String,
}

/// The type that findmnt shows for a mount of this program.
pub const FS_TYPE: &str = "fuse.cairnfs";

/// All mounts, in the order they were made: of several at one place the last is the one seen.
pub fn all() -> io::Result<Vec<Mount>> {
    Ok(parse(&std::fs::read("/proc/self/mountinfo")?))
}

/// The mount seen at exactly `path`, which must be absolute and free of links.
pub fn at(path: &Path) -> io::Result<Option<Mount>> {
    Ok(all()?.into_iter().rfind(|mount| mount.mountpoint == path))
}

fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|&b| b == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    // ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS [TAG...] - TYPE SOURCE SUPER
    let fields: Vec<&[u8]> = line.split(|&b| b == b' ').collect();
    let dash = fields.iter().skip(6).position(|field| *field == b"-")? + 6;
    Some(Mount {
        mountpoint: OsString::from_vec(octal(fields.get(4)?)).into(),
        fs_type: String::from_utf8_lossy(&octal(fields.get(dash + 1)?)).into_owned(),
        source: String::from_utf8_lossy(&octal(fields.get(dash + 2)?)).into_owned(),
    })
}

/// The kernel writes blanks and backslashes as `\ooo`.
fn octal(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        rest = match (first, after) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                after
            }
            _ => {
                bytes.push(first);
                after
            }
        };
    }
    bytes
}

/// `path` made absolute with links resolved in its parent only: the last component may be a dead mount, which must not be touched.
pub fn absolute(path: &Path) -> io::Result<PathBuf> {
    let whole = std::path::absolute(path)?;
    match (whole.parent(), whole.file_name()) {
        (Some(parent), Some(name)) if !path.as_os_str().as_bytes().ends_with(b"..") => {
            Ok(parent.canonicalize()?.join(name))
        }
        _ => whole.canonicalize(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_at_the_dash_and_unescaped() {
        let text = b"36 35 98:0 /mnt1 /mnt/a\\040b rw,noatime master:1 shared:2 - fuse.cairnfs web/base rw\n\
                     1 1 0:1 / / rw - rootfs none rw\nbroken\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].mountpoint, Path::new("/mnt/a b"));
        assert_eq!((mounts[0].fs_type.as_str(), mounts[0].source.as_str()), ("fuse.cairnfs", "web/base"));
        assert!(at(Path::new("/proc")).unwrap().is_some_and(|mount| mount.fs_type == "proc"));
    }

    #[test]
    fn paths_become_absolute_without_touching_the_last_part() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        std::os::unix::fs::symlink(&real, real.join("link")).unwrap();
        assert_eq!(absolute(&real.join("link/gone")).unwrap(), real.join("gone"));
        assert_eq!(absolute(&real.join("x/../link")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(absolute(Path::new("/")).unwrap(), Path::new("/"));
    }
}
