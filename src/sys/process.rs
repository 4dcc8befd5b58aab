//! Other processes, held by a descriptor (pidfd_open(2)): a number may come to mean another process, a descriptor can't.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

/// A process, running or ended.
#[derive(Debug)]
pub struct Process(OwnedFd);

impl Process {
    /// The process that has the number `pid` now; `None` when none has. An error where the kernel knows no such descriptors.
    pub fn open(pid: u32) -> io::Result<Option<Self>> {
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => Ok(Some(Self(fd))),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits until it has ended with all its threads, and so has let go of every file and lock; `false` when it hasn't within `limit`.
    ///
    /// Its first thread alone doesn't tell: /proc shows the process as a zombie while others still run and share its files.
    pub fn ends_within(&self, limit: Duration) -> io::Result<bool> {
        let until = Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) if left.is_zero() => return Ok(false),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(true),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::process::{Command, Stdio};

    extern "C" fn end_this_thread(_: libc::c_int) {
        // SAFETY: a system call that ends the calling thread alone; it touches no memory.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    }

    /// Not a test of its own: a process whose first thread ends while this one goes on until it is told to end.
    #[test]
    #[ignore = "run by another test, as a process of its own"]
    fn process_without_its_first_thread() {
        let pid = i64::from(std::process::id());
        // SAFETY: the handler makes one system call, which may be made at any point of a thread.
        unsafe { libc::signal(libc::SIGUSR1, end_this_thread as *const () as libc::sighandler_t) };
        // SAFETY: takes three numbers; the first thread has the process's number.
        unsafe { libc::syscall(libc::SYS_tgkill, pid, pid, i64::from(libc::SIGUSR1)) };
        let _told = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    }

    #[test]
    fn a_process_has_not_ended_while_one_of_its_threads_runs() {
        let name = "sys::process::tests::process_without_its_first_thread";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--ignored"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let state = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
            stat.rsplit_once(") ").unwrap().1.chars().next()
        };
        let start = Instant::now();
        while state() != Some('Z') {
            assert!(start.elapsed() < Duration::from_secs(60), "its first thread doesn't end");
            std::thread::sleep(Duration::from_millis(1));
        }
        let process = Process::open(child.id()).unwrap().unwrap();
        assert!(!process.ends_within(Duration::from_millis(50)).unwrap(), "a thread of it still runs");
        child.stdin.take().unwrap().write_all(b"x").unwrap();
        assert!(process.ends_within(Duration::from_secs(60)).unwrap());
        child.wait().unwrap();
    }

    #[test]
    fn a_number_that_no_process_has_is_none() {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert!(Process::open(child.id()).unwrap().is_none());
        assert!(Process::open(0).unwrap().is_none());
        assert!(Process::open(u32::MAX).unwrap().is_none());
    }
}
