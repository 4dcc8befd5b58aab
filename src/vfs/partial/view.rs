//! Where the bytes of a partial file are: in its data file or in the blob. Pure.

use crate::layer::{CHUNK_BLOCKS, Chunk, Partial};
use std::collections::BTreeMap;

/// Which bytes are where, for as many chunks as were read.
#[derive(Clone, Debug)]
pub(in crate::vfs) struct View {
    pub(super) partial: Partial,
    pub(super) chunks: BTreeMap<u32, Chunk>,
}

/// Bytes that lie in one place, as far as they go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::vfs) struct Run {
    pub(in crate::vfs) from: u64,
    pub(in crate::vfs) to: u64,
    /// In the blob.
    pub(in crate::vfs) remote: bool,
}

/// A block's chunk, and its place there.
pub(super) fn place(block: u64) -> (u32, u64) {
    // A blob is shorter than 2^63 and a block at least 2^12, so a chunk's number is below 2^39 in theory and below 2^32 for files up to 2^56.
    (u32::try_from(block / CHUNK_BLOCKS).unwrap_or(u32::MAX), block % CHUNK_BLOCKS)
}

impl View {
    /// The number of the block that has a byte.
    pub(super) fn block_of(&self, at: u64) -> u64 {
        at >> self.partial.shift
    }

    pub(super) fn start_of(&self, block: u64) -> u64 {
        block << self.partial.shift
    }

    /// The end of what a block has of the blob.
    pub(super) fn end_of(&self, block: u64) -> u64 {
        ((block + 1) << self.partial.shift).min(self.partial.visible)
    }

    /// Blocks that begin where the blob is visible.
    pub(super) fn blocks(&self) -> u64 {
        self.partial.visible.div_ceil(1 << self.partial.shift)
    }

    fn is_remote(&self, block: u64) -> bool {
        let (chunk, index) = place(block);
        !self.chunks.get(&chunk).is_some_and(|chunk| chunk.holds(index))
    }

    /// Where the bytes from `from` to `to` are.
    pub(in crate::vfs) fn runs(&self, from: u64, to: u64) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let mut at = from;
        while at < to {
            let (end, remote) = if at >= self.partial.visible {
                (to, false)
            } else {
                let block = self.block_of(at);
                (self.end_of(block).min(to), self.is_remote(block))
            };
            match runs.last_mut() {
                Some(last) if last.remote == remote => last.to = end,
                _ => runs.push(Run { from: at, to: end, remote }),
            }
            at = end;
        }
        runs
    }

    /// Blocks that aren't held among those with bytes from `from` to `to`.
    pub(super) fn missing(&self, from: u64, to: u64) -> Vec<u64> {
        let to = to.min(self.partial.visible);
        if from >= to {
            return Vec::new();
        }
        (self.block_of(from)..=self.block_of(to - 1)).filter(|&block| self.is_remote(block)).collect()
    }

    /// How many blocks below `length` aren't held. All chunks must have been read.
    pub(super) fn count_missing(&self, length: u64) -> u64 {
        let blocks = length.min(self.partial.visible).div_ceil(1 << self.partial.shift);
        let held = self.chunks.iter().map(|(&number, chunk)| {
            let before = u64::from(number) * CHUNK_BLOCKS;
            chunk.count(blocks.saturating_sub(before).min(CHUNK_BLOCKS))
        });
        blocks.saturating_sub(held.sum())
    }

    /// Bytes below `length` that are in the blob, in whole pages. All chunks must have been read.
    pub(in crate::vfs) fn remote_bytes(&self, length: u64) -> u64 {
        let bytes = self.count_missing(length) << self.partial.shift;
        bytes.min(length.min(self.partial.visible).next_multiple_of(4096))
    }

    /// Whether nothing is left in the blob. All chunks must have been read.
    pub(super) fn is_whole(&self) -> bool {
        self.count_missing(u64::MAX) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Digest;
    use crate::layer::BlobRef;
    use proptest::prelude::*;

    fn view(visible: u64, held: &[u64]) -> View {
        let blob = BlobRef { digest: Digest::of(b""), size: 1 << 40 };
        let partial = Partial { blob, visible, shift: 12, settled: false };
        let mut view = View { partial, chunks: BTreeMap::new() };
        for &block in held {
            let (chunk, index) = place(block);
            view.chunks.entry(chunk).or_default().hold(index);
        }
        view
    }

    #[test]
    fn blocks_that_are_not_held_are_the_blobs_as_far_as_it_is_visible() {
        let view = view(10_000, &[1]);
        let run = |from, to, remote| Run { from, to, remote };
        assert_eq!(
            view.runs(100, 20_000),
            [run(100, 4096, true), run(4096, 8192, false), run(8192, 10_000, true), run(10_000, 20_000, false)]
        );
        assert_eq!(view.runs(50_000, u64::MAX), [run(50_000, u64::MAX, false)]);
        assert_eq!(view.runs(5, 5), []);
        assert_eq!(view.missing(0, u64::MAX), [0, 2]);
        assert!(view.missing(4096, 8192).is_empty());
        assert_eq!((view.count_missing(u64::MAX), view.count_missing(4096), view.count_missing(1)), (2, 1, 1));
        assert_eq!((view.remote_bytes(10_000), view.is_whole()), (8192, false));
        assert!(self::view(10_000, &[0, 1, 2]).is_whole() && self::view(0, &[]).is_whole());
    }

    proptest! {
        #[test]
        fn runs_are_what_each_byte_says(
            visible in 0..200_000u64, held in proptest::collection::vec(0..60u64, 0..30), from in 0..200_000u64, length in 0..100_000u64,
        ) {
            let view = view(visible, &held);
            let runs = view.runs(from, from + length);
            let remote = |at: u64| at < visible && !held.contains(&(at / 4096));
            let mut at = from;
            for run in &runs {
                prop_assert!(run.from == at && run.to > run.from);
                for at in [run.from, (run.from + run.to) / 2, run.to - 1] {
                    prop_assert_eq!(remote(at), run.remote);
                }
                at = run.to;
            }
            prop_assert_eq!(at, from + length);
            prop_assert!(runs.windows(2).all(|two| two[0].remote != two[1].remote));
            prop_assert_eq!(view.missing(0, u64::MAX).len() as u64, view.count_missing(u64::MAX));
        }
    }
}
