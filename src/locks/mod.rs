//! The locks that the program's threads share, and threads that take them.
//!
//! They are `parking_lot`'s. In unit tests they are the same, except within [`explored::explore`]: there `shuttle` decides at every lock
//! which thread goes on, so that a test of a protocol that spans several locks meets the orders that chance would rarely bring. Which
//! protocols there are, what each must keep and which test explores it: `explored`.
//!
//! Who takes which lock when is told by the module that owns it, under *Locking*.

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
    std::thread::Builder::new().name(name.to_owned()).spawn(work)
}
