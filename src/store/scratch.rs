//! A buffer per thread for content on its way into the store, so that a small file costs no allocation.

use std::cell::RefCell;

/// Content shorter than this is read whole and hashed before anything is written.
pub(super) const SIZE: usize = 1 << 20;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Runs `work` with a buffer of [`SIZE`] bytes of any content. Nested calls get a buffer of their own.
pub(super) fn with_scratch<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut buffer = BUFFER.take();
    buffer.resize(SIZE, 0);
    let outcome = work(&mut buffer);
    BUFFER.set(buffer);
    outcome
}
