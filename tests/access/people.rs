//! Threads with another user, group or umask. On Linux each thread has its own.

use nix::sched::{CloneFlags, unshare};
use rustix::fs::Mode;
use rustix::process::umask;
use rustix::thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// The user and group `nobody`.
pub const NOBODY: u32 = 65534;

/// Runs `act` in a thread of user `uid`, group `gid`, and supplementary `groups`.
pub fn as_user<T: Send>(uid: u32, gid: u32, groups: &[u32], act: impl FnOnce() -> T + Send) -> T {
    apart(|| {
        let groups: Vec<Gid> = groups.iter().map(|&group| Gid::from_raw(group)).collect();
        let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
        set_thread_groups(&groups).unwrap();
        set_thread_res_gid(group, group, group).unwrap();
        set_thread_res_uid(user, user, user).unwrap();
        act()
    })
}

pub fn as_nobody<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    as_user(NOBODY, NOBODY, &[], act)
}

/// Runs `act` with this umask.
pub fn with_umask<T: Send>(mask: u32, act: impl FnOnce() -> T + Send) -> T {
    apart(|| {
        umask(Mode::from_raw_mode(mask));
        act()
    })
}

/// Runs `act` in a thread whose working directory and umask are its own.
pub fn apart<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_FS).unwrap();
            act()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
