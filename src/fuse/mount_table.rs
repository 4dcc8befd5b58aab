//! The mounts that this process sees, from `/proc/self/mountinfo`. Reading it touches no mount.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The type of our mounts, as the kernel and `findmnt` show it.
pub(super) const FILESYSTEM_TYPE: &str = "fuse.cairnfs";

/// A cairnfs mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// The source: the ref.
    pub source: String,
    /// The minor device number, which is also the number of the FUSE connection.
    pub connection: u32,
}

/// All cairnfs mounts, in the order of mounting.
pub fn mounts() -> io::Result<Vec<MountEntry>> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    Ok(table.split(|&byte| byte == b'\n').filter_map(parse).collect())
}

/// Whether the mount with this number in the table is one of cairnfs.
pub(super) fn is_ours(mount_id: &str) -> io::Result<bool> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    let has_id = |line: &&[u8]| line.split(|&byte| byte == b' ').next() == Some(mount_id.as_bytes());
    Ok(table.split(|&byte| byte == b'\n').find(has_id).and_then(parse).is_some())
}

/// `36 35 0:57 / /mnt rw,noatime shared:1 - fuse.cairnfs debian rw,user_id=0`; other types are left out.
fn parse(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|&byte| byte == b' ');
    let device = std::str::from_utf8(fields.nth(2)?).ok()?;
    let connection = device.split_once(':')?.1.parse().ok()?;
    let mountpoint = unescape(fields.nth(1)?);
    let mut kind_and_source = fields.skip_while(|field| field != b"-").skip(1);
    if kind_and_source.next()? != FILESYSTEM_TYPE.as_bytes() {
        return None;
    }
    let source = String::from_utf8_lossy(&unescape(kind_and_source.next()?)).into_owned();
    Some(MountEntry { mountpoint: OsString::from_vec(mountpoint).into(), source, connection })
}

/// The kernel writes blanks and backslashes as a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let octal = after.first_chunk::<3>().filter(|_| first == b'\\');
        let code = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match code {
            Some(byte) => {
                plain.push(byte);
                rest = &after[3..];
            }
            None => plain.push(first),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_proc_5_says() {
        let line = br"36 35 0:57 / /mnt/a\040b\134c rw,noatime shared:1 master:2 - fuse.cairnfs web/base rw,user_id=0";
        let entry = parse(line).unwrap();
        assert_eq!(entry.mountpoint, PathBuf::from("/mnt/a b\\c"));
        assert_eq!((entry.source.as_str(), entry.connection), ("web/base", 57));
        assert_eq!(parse(br"36 35 0:57 / /mnt rw - ext4 /dev/sda rw"), None);
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"36 35 garbage"), None);
    }

    #[test]
    fn this_machines_table_can_be_read() {
        mounts().unwrap();
    }
}
