//! Descriptors that aren't to be held: of a process in the background, and of a thread that nobody may wait for.

use std::io;

/// Closes every descriptor but standard input, output and error: what the command inherited isn't the daemon's to hold open. To be called
/// first of all, while the process has opened nothing yet.
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
