//! Memory maps of files, for tests of what programs see that map them.
#![allow(unsafe_code, reason = "mmap(2) has no safe form")]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr::{NonNull, null_mut};

/// A map of a whole file.
pub struct Map {
    start: NonNull<u8>,
    length: usize,
}

impl Map {
    pub fn read(file: &File) -> Self {
        Self::new(file, libc::PROT_READ, libc::MAP_SHARED)
    }

    pub fn read_write(file: &File) -> Self {
        Self::new(file, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED)
    }

    /// What is written to it stays in this process.
    pub fn private(file: &File) -> Self {
        Self::new(file, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE)
    }

    fn new(file: &File, access: i32, sharing: i32) -> Self {
        let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
        // SAFETY: the kernel chooses the place, so nothing that exists is overlaid.
        let start = unsafe { libc::mmap(null_mut(), length, access, sharing, file.as_raw_fd(), 0) };
        assert_ne!(start, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        let start = NonNull::new(start.cast()).expect("the kernel never chooses 0");
        Self { start, length }
    }

    /// The byte at `offset` now.
    pub fn get(&self, offset: usize) -> u8 {
        assert!(offset < self.length);
        // SAFETY: inside the map, which lives as long as `self`; volatile, for others may change the file.
        unsafe { self.start.add(offset).read_volatile() }
    }

    /// Changes the byte at `offset`; the map must be writable.
    pub fn set(&self, offset: usize, byte: u8) {
        assert!(offset < self.length);
        // SAFETY: inside the map, which lives as long as `self`, and of which no reference is ever given out.
        unsafe { self.start.add(offset).write_volatile(byte) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped, and nobody keeps a reference into it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}
