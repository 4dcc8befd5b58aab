//! Becoming a process in the background.

/// Closes every descriptor but standard input, output and error: what the command inherited isn't the daemon's to hold open. To be called
/// first of all, while the process has opened nothing yet.
pub fn close_inherited() {
    // SAFETY: close_range(2) touches no memory of ours, and by the contract above no value of this process owns a descriptor from 3 up.
    // A kernel without it (before 5.9) leaves them open, which harms nobody but who waits for their end.
    unsafe {
        libc::close_range(3, libc::c_uint::MAX, 0);
    }
}
