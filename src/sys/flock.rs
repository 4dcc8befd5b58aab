//! Locks on open files (flock(2)): held by the open file description, so a fork shares them, and the kernel drops them with its last user.

use std::fs::{File, TryLockError};
use std::io;

fn retry(mut call: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Waits for the exclusive lock.
pub fn exclusive(file: &File) -> io::Result<()> {
    retry(|| file.lock())
}

/// Waits for a shared lock.
pub fn shared(file: &File) -> io::Result<()> {
    retry(|| file.lock_shared())
}

/// Takes the exclusive lock if nobody has any; `false` when somebody has.
pub fn try_exclusive(file: &File) -> io::Result<bool> {
    tried(file.try_lock())
}

/// Takes a shared lock if nobody has the exclusive one; `false` when somebody has.
pub fn try_shared(file: &File) -> io::Result<bool> {
    tried(file.try_lock_shared())
}

/// Gives the lock back.
pub fn unlock(file: &File) -> io::Result<()> {
    retry(|| file.unlock())
}

fn tried(outcome: Result<(), TryLockError>) -> io::Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
