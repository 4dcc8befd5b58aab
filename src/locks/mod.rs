//! The locks that the program's threads share, and threads that take them.
//!
//! They are `parking_lot`'s. In unit tests they are the same, except within [`explored::explore`]: there `shuttle` decides at every lock
//! which thread goes on, so that a test of a protocol that spans several locks meets the orders that chance would rarely bring. Which
//! protocols there are, what each must keep and which test explores it: `explored`.
//!
//! Who takes which lock when is told by the module that owns it, under *Locking*.
//!
//! Threads
//!
//! * [`spawn`]: a thread that takes part in a protocol. It is a task while an exploration runs.
//! * [`spawn_outside`]: a thread that waits for something that shuttle doesn't schedule, so that an exploration with it in it would never end. It holds
//!   no lock while it waits, and all it does then is one call, which tests make from a task of their own:
//!
//!   | thread | waits for | then calls | explored as |
//!   |---|---|---|---|
//!   | `settle` | time, by a condition variable | `Upper::settle` | `vfs::explored`, which calls it |
//!   | `fuse-session` | the kernel's requests | methods of `Adapter` | `fuse::explored`, which calls them |
//!   | `scout` | answers of its own mount | nothing that takes a lock of ours | |
//!   | `control-open`, `control-write` | the kernel, which takes the reply | `ControlDir`, `Engine::run` | `control::explored` |
//!   | `control`, `control-client` | the socket | `Engine::run` | `control::explored` |
//!   | `signals` | signals | `MountHandle` | atomics only |
//!   | `progress` | time | nothing that takes a lock of ours | |
//!
//! * `std::thread::scope`: workers of one call (imports, checks, snapshots). They end before the call does, and what they share belongs to it.

#[cfg(test)]
pub mod explored;

#[cfg(not(test))]
pub use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard};

#[cfg(test)]
pub use explored::{Mutex, MutexGuard, RwLock, RwLockReadGuard, spawn};

/// Starts a thread.
///
/// # Errors
/// The operating system can't start one.
#[cfg(not(test))]
pub fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<std::thread::JoinHandle<T>> {
    spawn_outside(name, work)
}

/// Starts a thread that shuttle never sees: why not is told above, of each.
///
/// # Errors
/// The operating system can't start one.
pub fn spawn_outside<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<std::thread::JoinHandle<T>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work)
}
