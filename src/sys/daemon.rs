//! A process in the background, and descriptors that aren't to be held: by it, and by a thread that nobody may wait for.

use nix::unistd::{ForkResult, Pid, fork};
use rustix::process::{WaitOptions, waitpid};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

/// Which of two processes this is.
pub enum Fork {
    /// The one that forked, and its child.
    Parent(Pid),
    /// The child.
    Child,
}

/// Forks a process that has no other threads than the caller; it is refused for one that has.
pub fn fork_alone() -> io::Result<Fork> {
    if std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() > 1) {
        return Err(io::Error::other("the process has several threads, so it can't be forked"));
    }
    // SAFETY: no other thread holds a lock that the child would wait for, or has left anything half done.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(Fork::Parent(child)),
        ForkResult::Child => Ok(Fork::Child),
    }
}

/// Waits for a child's end.
pub fn end_of(child: Pid) -> io::Result<ExitStatus> {
    let ended = waitpid(rustix::process::Pid::from_raw(child.as_raw()), WaitOptions::empty())?;
    let (_, status) = ended.ok_or(io::ErrorKind::NotFound)?;
    Ok(ExitStatus::from_raw(status.as_raw()))
}

/// Closes every descriptor but standard input, output and error: what the command has open isn't the daemon's to hold. To be called while no value of the
/// process owns one of them.
pub fn close_inherited() {
    // SAFETY: close_range(2) touches no memory of ours, and by the contract above no value of this process owns a descriptor from 3 up.
    // A kernel without it (before 5.9) leaves them open, which harms nobody but who waits for their end.
    unsafe {
        libc::close_range(3, libc::c_uint::MAX, 0);
    }
}

/// Gives the calling thread a table of descriptors of its own, with none but standard input, output and error. From then on the thread may use and
/// drop only what it has opened itself, and it has to end before anything else is to be done by it.
pub fn own_descriptors() -> io::Result<()> {
    // SAFETY: close_range(2) touches no memory of ours. The table is no longer shared when the descriptors are closed, so all other threads keep theirs.
    let outcome = unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE.cast_signed()) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
