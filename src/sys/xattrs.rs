//! Extended attributes of open files, and of files named by directory and name without following symbolic links.
//!
//! The second form goes through `/proc/self/fd`, for the calls that take a directory are younger than the kernels this runs on.

use nix::errno::Errno;
use std::ffi::{CStr, CString, c_int, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// One attribute: full name and value.
pub type Pair = (Box<[u8]>, Box<[u8]>);

/// A file whose attributes are meant.
#[derive(Clone, Copy, Debug)]
pub enum Of<'a> {
    /// An open file.
    Fd(BorrowedFd<'a>),
    /// A name in a directory.
    At(BorrowedFd<'a>, &'a [u8]),
}

enum Resolved {
    Fd(c_int),
    Path(CString),
}

fn resolve(of: Of<'_>) -> io::Result<Resolved> {
    Ok(match of {
        Of::Fd(fd) => Resolved::Fd(fd.as_raw_fd()),
        Of::At(dir, name) => {
            let mut path = format!("/proc/self/fd/{}/", dir.as_fd().as_raw_fd()).into_bytes();
            path.extend_from_slice(name);
            Resolved::Path(CString::new(path).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?)
        }
    })
}

/// All attributes that the caller may list; none where the filesystem has no attributes.
pub fn read_all(of: Of<'_>) -> io::Result<Vec<Pair>> {
    let file = resolve(of)?;
    let mut small = [0u8; 512];
    let listed = match list(&file, &mut small) {
        Ok(length) => small[..length].to_vec(),
        Err(Errno::ENOTSUP) => Vec::new(),
        Err(Errno::ERANGE) => grown(|buffer| list(&file, buffer))?,
        Err(errno) => return Err(errno.into()),
    };
    let mut pairs = Vec::new();
    for name in listed.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let key = CString::new(name).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        match get(&file, &key, &mut small) {
            Ok(length) => pairs.push((name.into(), small[..length].into())),
            Err(Errno::ERANGE) => pairs.push((name.into(), grown(|buffer| get(&file, &key, buffer))?.into())),
            // removed since it was listed
            Err(Errno::ENODATA) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(pairs)
}

/// Sets an attribute, whether or not it was there.
pub fn set(of: Of<'_>, name: &[u8], value: &[u8]) -> io::Result<()> {
    let file = resolve(of)?;
    let name = CString::new(name).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let data = value.as_ptr().cast::<c_void>();
    let done = match &file {
        // SAFETY: `name` is NUL-terminated and `data` points to `value.len()` readable bytes, both alive during the call.
        Resolved::Fd(fd) => unsafe { libc::fsetxattr(*fd, name.as_ptr(), data, value.len(), 0) },
        // SAFETY: as above, and `path` is NUL-terminated.
        Resolved::Path(path) => unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), data, value.len(), 0) },
    };
    Ok(Errno::result(done).map(drop)?)
}

/// Removes an attribute; one that isn't there, or a filesystem without attributes, is no error.
pub fn remove(of: Of<'_>, name: &[u8]) -> io::Result<()> {
    let file = resolve(of)?;
    let name = CString::new(name).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let done = match &file {
        // SAFETY: `name` is NUL-terminated and alive during the call.
        Resolved::Fd(fd) => unsafe { libc::fremovexattr(*fd, name.as_ptr()) },
        // SAFETY: both are NUL-terminated and alive during the call.
        Resolved::Path(path) => unsafe { libc::lremovexattr(path.as_ptr(), name.as_ptr()) },
    };
    match Errno::result(done) {
        Ok(_) | Err(Errno::ENODATA | Errno::ENOTSUP) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Calls `fill` with a larger buffer until what it fetches fits: the kernel gives up to 64 KiB.
fn grown(fill: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0u8; 4096];
    loop {
        match fill(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::ERANGE) if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 4, 0),
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn list(file: &Resolved, buffer: &mut [u8]) -> Result<usize, Errno> {
    let (to, room) = (buffer.as_mut_ptr().cast(), buffer.len());
    let length = match file {
        // SAFETY: `to` points to `room` writable bytes.
        Resolved::Fd(fd) => unsafe { libc::flistxattr(*fd, to, room) },
        // SAFETY: as above, and `path` is NUL-terminated.
        Resolved::Path(path) => unsafe { libc::llistxattr(path.as_ptr(), to, room) },
    };
    Errno::result(length).map(|length| length.unsigned_abs())
}

fn get(file: &Resolved, name: &CStr, buffer: &mut [u8]) -> Result<usize, Errno> {
    let (to, room) = (buffer.as_mut_ptr().cast(), buffer.len());
    let length = match file {
        // SAFETY: `name` is NUL-terminated and `to` points to `room` writable bytes.
        Resolved::Fd(fd) => unsafe { libc::fgetxattr(*fd, name.as_ptr(), to, room) },
        // SAFETY: as above, and `path` is NUL-terminated.
        Resolved::Path(path) => unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), to, room) },
    };
    Errno::result(length).map(|length| length.unsigned_abs())
}
