//! Memory maps of files, for tests of what programs see that map them.
#![allow(unsafe_code, reason = "mmap(2) has no safe form")]

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use std::ffi::c_void;
use std::fs::File;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

/// A shared map of a whole file.
pub struct Map {
    start: NonNull<c_void>,
    length: usize,
}

impl Map {
    pub fn read(file: &File) -> Self {
        Self::new(file, ProtFlags::PROT_READ)
    }

    pub fn read_write(file: &File) -> Self {
        Self::new(file, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)
    }

    fn new(file: &File, access: ProtFlags) -> Self {
        let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
        let room = NonZeroUsize::new(length).expect("an empty file can't be mapped");
        // SAFETY: the kernel chooses the place, so nothing that exists is overlaid.
        let start = unsafe { mmap(None, room, access, MapFlags::MAP_SHARED, file, 0) }.unwrap();
        Self { start, length }
    }

    /// The byte at `offset` now.
    pub fn get(&self, offset: usize) -> u8 {
        assert!(offset < self.length);
        // SAFETY: inside the map, which lives as long as `self`; volatile, for others may change the file.
        unsafe { self.start.cast::<u8>().add(offset).read_volatile() }
    }

    /// Changes the byte at `offset`; the map must be writable.
    pub fn set(&self, offset: usize, byte: u8) {
        assert!(offset < self.length);
        // SAFETY: inside the map, which lives as long as `self`, and of which no reference is ever given out.
        unsafe { self.start.cast::<u8>().add(offset).write_volatile(byte) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped, and nobody keeps a reference into it.
        unsafe { munmap(self.start, self.length) }.unwrap();
    }
}
