//! Open files and what is in them.

use super::{Body, Done, Fault, Id, Model, Slot, Stamp};
use crate::model::answer::Expect;
use crate::model::fail::Fail;
use crate::model::op::{Access, How, Path, Space, UMASK};

/// As `resize`, which is slow without optimisation.
fn grow(bytes: &mut Vec<u8>, length: usize, fill: u8) {
    if bytes.len() < length {
        let mut longer = vec![fill; length];
        longer[..bytes.len()].copy_from_slice(bytes);
        *bytes = longer;
    }
}

impl Model {
    pub(super) fn open(&mut self, slot: u8, path: &Path, how: How, mode: u32) -> Done {
        self.close_slot(slot);
        let writes = how.access != Access::Read;
        let found = if path.0.is_empty() { Some(super::ROOT) } else { self.place(path)?.2 };
        let id = match found {
            None if how.create => {
                let (dir, name, _) = self.place(path)?;
                self.make(dir, name, Body::File(Vec::new()), mode & 0o7777 & !UMASK)
            }
            None => return Err(Fail::NoEntry),
            Some(_) if how.create && how.excl => return Err(Fail::Exists),
            Some(id) => {
                match &self.inode(id).body {
                    Body::Symlink(_) => return Err(Fail::Loop),
                    Body::Node(_) => return Err(Fail::Special),
                    Body::Dir { .. } if how.create || how.trunc || writes => return Err(Fail::IsDir),
                    Body::Dir { .. } | Body::File(_) => {}
                }
                if how.trunc {
                    self.bytes_mut(id).clear();
                    self.modified(id);
                }
                id
            }
        };
        let read = how.access != Access::Write;
        self.slots[usize::from(slot)] = Some(Slot { id, read, write: writes, append: how.append });
        Ok(Expect::Done)
    }

    pub(super) fn close(&mut self, slot: u8) -> Done {
        self.slot(slot)?;
        self.close_slot(slot);
        Ok(Expect::Done)
    }

    fn close_slot(&mut self, slot: u8) {
        if let Some(slot) = self.slots[usize::from(slot)].take() {
            self.drop_unused(slot.id);
        }
    }

    /// Closes what is open for reading alone.
    pub(super) fn close_readers(&mut self) {
        for slot in 0..self.slots.len() as u8 {
            if self.slot(slot).is_ok_and(|slot| !slot.write) {
                self.close_slot(slot);
            }
        }
    }

    pub(super) fn close_all(&mut self) {
        (0..self.slots.len() as u8).for_each(|slot| self.close_slot(slot));
        (0..self.listings.len() as u8).for_each(|slot| self.drop_listing(slot));
    }

    fn bytes(&self, id: Id) -> &[u8] {
        match &self.inode(id).body {
            Body::File(bytes) => bytes,
            _ => &[],
        }
    }

    fn bytes_mut(&mut self, id: Id) -> &mut Vec<u8> {
        match &mut self.inode_mut(id).body {
            Body::File(bytes) => bytes,
            _ => unreachable!("only files are open for writing"),
        }
    }

    /// A slot whose file may be written.
    fn writer(&self, slot: u8) -> Result<Slot, Fail> {
        self.slot(slot).and_then(|slot| if slot.write { Ok(slot) } else { Err(Fail::BadFile) })
    }

    pub(super) fn read(&mut self, slot: u8, offset: u64, length: usize) -> Done {
        let slot = self.slot(slot)?;
        if !slot.read {
            return Err(Fail::BadFile);
        }
        if self.is_dir(slot.id) {
            return Err(Fail::IsDir);
        }
        if self.has(Fault::UnlinkedIsEmpty) && self.inode(slot.id).names == 0 {
            return Ok(Expect::Bytes(Vec::new()));
        }
        let bytes = self.bytes(slot.id);
        let start = bytes.len().min(offset as usize);
        let end = bytes.len().min(start + length);
        Ok(Expect::Bytes(bytes[start..end].to_vec()))
    }

    pub(super) fn write(&mut self, slot: u8, offset: u64, length: usize, byte: u8) -> Done {
        let slot = self.writer(slot)?;
        if length == 0 {
            return Ok(Expect::Count(0));
        }
        let appends = slot.append && !self.has(Fault::AppendWritesAtOffset);
        let offset = if appends { self.bytes(slot.id).len() } else { offset as usize };
        self.store(slot.id, offset, &vec![byte; length]);
        Ok(Expect::Count(length as u64))
    }

    fn store(&mut self, id: Id, offset: usize, new: &[u8]) {
        let bytes = self.bytes_mut(id);
        let end = offset + new.len();
        if bytes.len() < end {
            grow(bytes, end, 0);
        }
        bytes[offset..end].copy_from_slice(new);
        self.modified(id);
    }

    pub(super) fn ftruncate(&mut self, slot: u8, size: u64) -> Done {
        let slot = self.slot(slot)?;
        if !slot.write {
            return Err(Fail::Invalid);
        }
        self.resize(slot.id, size);
        self.modified(slot.id);
        Ok(Expect::Done)
    }

    pub(super) fn truncate(&mut self, path: &Path, size: u64) -> Done {
        let id = self.find(path)?;
        let before = match &self.inode(id).body {
            Body::File(bytes) => bytes.len() as u64,
            Body::Dir { .. } => return Err(Fail::IsDir),
            Body::Symlink(_) => return Err(Fail::NoEntry),
            Body::Node(_) => return Err(Fail::Invalid),
        };
        self.resize(id, size);
        if before == size {
            // POSIX leaves it open whether the times move when the length doesn't.
            let maybe = Stamp::Maybe(self.clock);
            let inode = self.inode_mut(id);
            (inode.mtime, inode.ctime) = (maybe, maybe);
        } else {
            self.modified(id);
        }
        Ok(Expect::Done)
    }

    fn resize(&mut self, id: Id, size: u64) {
        let fill = if self.has(Fault::CutContentComesBack) { 1 } else { 0 };
        let bytes = self.bytes_mut(id);
        bytes.truncate(size as usize);
        grow(bytes, size as usize, fill);
    }

    pub(super) fn fallocate(&mut self, slot: u8, space: Space, offset: u64, length: u64) -> Done {
        let slot = self.slot(slot)?;
        if length == 0 {
            return Err(Fail::Invalid);
        }
        if !slot.write {
            return Err(Fail::BadFile);
        }
        let (start, end) = (offset as usize, (offset + length) as usize);
        let bytes = self.bytes_mut(slot.id);
        if matches!(space, Space::Allocate | Space::Zero) && bytes.len() < end {
            grow(bytes, end, 0);
        }
        if matches!(space, Space::Punch | Space::Zero | Space::ZeroKeepSize) {
            let size = bytes.len();
            bytes[start.min(size)..end.min(size)].fill(0);
        }
        // Linux filesystems differ in whether reserving space, or zeroing what was a hole, is a modification.
        let maybe = Stamp::Maybe(self.clock);
        let inode = self.inode_mut(slot.id);
        (inode.mtime, inode.ctime) = (maybe, maybe);
        Ok(Expect::Done)
    }

    pub(super) fn seek(&mut self, slot: u8, offset: u64, data: bool) -> Done {
        let slot = self.slot(slot)?;
        if self.is_dir(slot.id) {
            return Ok(Expect::Anything);
        }
        let bytes = self.bytes(slot.id);
        if offset as usize >= bytes.len() {
            return Err(Fail::NoData);
        }
        Ok(if data { Expect::Data(offset, bytes.to_vec()) } else { Expect::Hole(offset, bytes.to_vec()) })
    }

    pub(super) fn copy_range(&mut self, from: (u8, u64), to: (u8, u64), length: u64) -> Done {
        let (source, target) = (self.slot(from.0)?, self.slot(to.0)?);
        if self.is_dir(source.id) || self.is_dir(target.id) {
            return Err(Fail::IsDir);
        }
        if !source.read || !target.write || target.append {
            return Err(Fail::BadFile);
        }
        let bytes = self.bytes(source.id);
        let (start, at) = (bytes.len().min(from.1 as usize), to.1 as usize);
        let chunk = bytes[start..bytes.len().min(start + length as usize)].to_vec();
        let (count, first) = (chunk.len(), from.1 as usize);
        if source.id == target.id && at + count > first && at < first + count {
            return Err(Fail::Invalid);
        }
        if count > 0 {
            self.store(target.id, at, &chunk);
        }
        Ok(Expect::Count(count as u64))
    }
}
