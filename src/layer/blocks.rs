//! Which blocks of a file that was copied up by range its data file holds; see `record` for the file itself.
//!
//! ```text
//! meta   key    "blocks" │ number, u64 big-endian │ generation, u32 big-endian │ chunk, u32 big-endian
//!        value  held: 512 bytes │ settled: 512 bytes       bit b of byte n (from the lowest): block 8 n + b of the chunk
//! ```
//! A chunk is 4096 blocks; one that has no key holds none. A block that is *held* is in the data file; any other that begins below the length
//! up to which the blob is visible is in the blob. One that is *settled* is known to be on disk: after a power cut the others go back to the
//! blob. What is settled is held.

use super::data::DataId;
use super::record::BadRecord;
use crate::format::Ino;

/// Blocks of a chunk.
pub const CHUNK_BLOCKS: u64 = 4096;
const BITMAP: usize = (CHUNK_BLOCKS / 8) as usize;
const PREFIX: &[u8] = b"blocks";

/// What is known of the blocks of one chunk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    held: Box<[u8; BITMAP]>,
    settled: Box<[u8; BITMAP]>,
}

impl Default for Chunk {
    fn default() -> Self {
        Self { held: Box::new([0; BITMAP]), settled: Box::new([0; BITMAP]) }
    }
}

impl Chunk {
    /// Whether the data file holds block `index` of the chunk.
    pub fn holds(&self, index: u64) -> bool {
        self.held[(index / 8) as usize] & (1 << (index % 8)) != 0
    }

    /// The data file holds block `index` of the chunk from now on.
    pub fn hold(&mut self, index: u64) {
        self.held[(index / 8) as usize] |= 1 << (index % 8);
    }

    /// Blocks held among the first `count` of the chunk.
    pub fn count(&self, count: u64) -> u64 {
        let whole = (count / 8) as usize;
        let ones: u64 = self.held[..whole].iter().map(|byte| u64::from(byte.count_ones())).sum();
        let rest = self.held.get(whole).map_or(0, |byte| byte & ((1u16 << (count % 8)) - 1) as u8);
        ones + u64::from(rest.count_ones())
    }

    /// Whether every block that is held is settled.
    pub fn is_settled(&self) -> bool {
        self.held == self.settled
    }

    /// Whether no block is held.
    pub fn is_empty(&self) -> bool {
        self.held.iter().all(|&byte| byte == 0)
    }

    /// The blocks that `seen` held are on disk.
    pub fn settle(&mut self, seen: &Self) {
        for ((settled, held), seen) in self.settled.iter_mut().zip(self.held.iter()).zip(seen.held.iter()) {
            *settled |= held & seen;
        }
    }

    /// After a power cut: what isn't known to be on disk isn't held.
    pub fn drop_unsettled(&mut self) {
        self.held.copy_from_slice(&*self.settled);
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        [&self.held[..], &self.settled[..]].concat()
    }

    /// From its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        let (held, settled) = bytes.split_at_checked(BITMAP).ok_or(BadRecord::Damaged("blocks cut short"))?;
        let mut chunk = Self::default();
        if settled.len() != BITMAP {
            return Err(BadRecord::Damaged("length of blocks"));
        }
        chunk.held.copy_from_slice(held);
        chunk.settled.copy_from_slice(settled);
        if held.iter().zip(settled).any(|(held, settled)| settled & !held != 0) {
            return Err(BadRecord::Damaged("blocks settled that aren't held"));
        }
        Ok(chunk)
    }
}

/// Key of a chunk.
pub fn chunk_key(id: DataId, chunk: u32) -> Vec<u8> {
    [&prefix_of(id)[..], &chunk.to_be_bytes()].concat()
}

/// What all keys of an inode's chunks begin with, of whatever generation.
pub fn prefix_of_ino(ino: Ino) -> Vec<u8> {
    [PREFIX, &ino.0.to_be_bytes()].concat()
}

/// What all keys of a data file's chunks begin with.
pub fn prefix_of(id: DataId) -> Vec<u8> {
    [&prefix_of_ino(id.ino)[..], &id.generation.to_be_bytes()].concat()
}

/// What all keys of chunks begin with.
pub fn prefix_of_all() -> &'static [u8] {
    PREFIX
}

/// What the key of a chunk says; `None` when it is none.
pub fn parse_key(key: &[u8]) -> Option<(DataId, u32)> {
    let (ino, rest) = key.strip_prefix(PREFIX)?.split_first_chunk::<8>()?;
    let (generation, rest) = rest.split_first_chunk::<4>()?;
    let chunk = <[u8; 4]>::try_from(rest).ok()?;
    let id = DataId { ino: Ino(u64::from_be_bytes(*ino)), generation: u32::from_be_bytes(*generation) };
    Some((id, u32::from_be_bytes(chunk)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn keys_sort_as_numbers_do_and_come_back() {
        let id = |ino, generation| DataId { ino: Ino(ino), generation };
        let all = [(id(1, 2), 3), (id(1, 2), 256), (id(1, 256), 0), (id(256, 0), 0)];
        let keys: Vec<Vec<u8>> = all.iter().map(|(id, chunk)| chunk_key(*id, *chunk)).collect();
        assert!(keys.is_sorted());
        assert_eq!(keys.iter().map(|key| parse_key(key).unwrap()).collect::<Vec<_>>(), all);
        assert_eq!((parse_key(b"blocks"), parse_key(b"reserved")), (None, None));
    }

    #[test]
    fn bytes_that_no_chunk_has_are_refused() {
        let mut chunk = Chunk::default();
        chunk.hold(9);
        let mut bytes = chunk.encode();
        assert_eq!(Chunk::decode(&bytes), Ok(chunk));
        bytes[BITMAP + 1] |= 4;
        assert!(Chunk::decode(&bytes).is_err(), "settled, not held");
        assert!(Chunk::decode(&[0; BITMAP]).is_err());
        assert!(Chunk::decode(&[0; 2 * BITMAP + 1]).is_err());
    }

    proptest! {
        #[test]
        fn a_chunk_is_a_set(
            first in proptest::collection::btree_set(0..CHUNK_BLOCKS, 0..50),
            later in proptest::collection::btree_set(0..CHUNK_BLOCKS, 0..50),
            upto in 0..=CHUNK_BLOCKS,
        ) {
            let mut chunk = Chunk::default();
            first.iter().for_each(|&index| chunk.hold(index));
            let seen = chunk.clone();
            later.iter().for_each(|&index| chunk.hold(index));
            let all: BTreeSet<u64> = first.union(&later).copied().collect();
            prop_assert!((0..CHUNK_BLOCKS).all(|index| chunk.holds(index) == all.contains(&index)));
            prop_assert_eq!(chunk.count(upto), all.range(..upto).count() as u64);
            chunk.settle(&seen);
            prop_assert_eq!(chunk.is_settled(), later.is_subset(&first));
            let mut cut = Chunk::decode(&chunk.encode()).unwrap();
            prop_assert_eq!(&cut, &chunk);
            cut.drop_unsettled();
            prop_assert!((0..CHUNK_BLOCKS).all(|index| cut.holds(index) == first.contains(&index)));
        }
    }
}
