//! Finds the long runs of zeros in a blob.
//!
//! The result depends on the content alone, not on which zeros the filesystem happens to keep as holes: so an archive of the same manifest is the
//! same everywhere.

use crate::sys::sparse;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Zeros are looked for in blocks of this size.
const BLOCK: u64 = 64 * 1024;
/// Files with fewer bytes of zeros to save are taken as they are.
const WORTHWHILE: u64 = 1 << 20;

/// The pieces of `blob` that aren't zeros, as offsets and lengths; `None` when there is little to save.
pub(super) fn pieces(blob: &File, size: u64) -> io::Result<Option<Vec<(u64, u64)>>> {
    if size < WORTHWHILE {
        return Ok(None);
    }
    let mut pieces: Vec<(u64, u64)> = Vec::new();
    let mut buffer = vec![0; BLOCK as usize];
    let (mut at, mut known_data, mut sum) = (0, 0, 0);
    while at < size {
        if at >= known_data {
            let Some(data) = sparse::data(blob, at)? else { break };
            at = data / BLOCK * BLOCK;
            known_data = sparse::hole(blob, data)?.unwrap_or(size);
        }
        let length = BLOCK.min(size - at);
        let block = &mut buffer[..length as usize];
        blob.read_exact_at(block, at)?;
        if !is_zero(block) {
            match pieces.last_mut() {
                Some((start, run)) if *start + *run == at => *run += length,
                _ => pieces.push((at, length)),
            }
            sum += length;
        }
        at += length;
    }
    Ok((size - sum >= WORTHWHILE).then_some(pieces))
}

fn is_zero(block: &[u8]) -> bool {
    let (words, rest) = block.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && rest.iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_and_written_zeros_are_the_same() {
        let (written, holed) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let size = 5 * WORTHWHILE + 10;
        written.write_all_at(&vec![0; size as usize], 0).unwrap();
        holed.set_len(size).unwrap();
        for file in [&written, &holed] {
            file.write_all_at(b"x", BLOCK - 1).unwrap();
            file.write_all_at(b"yz", 3 * BLOCK - 1).unwrap();
            file.write_all_at(b"end", size - 3).unwrap();
        }
        let expected = vec![(0, BLOCK), (2 * BLOCK, 2 * BLOCK), (5 * WORTHWHILE, 10)];
        assert_eq!(pieces(&written, size).unwrap().as_ref(), Some(&expected));
        assert_eq!(pieces(&holed, size).unwrap(), Some(expected));
    }

    #[test]
    fn little_to_save_is_left() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&vec![1; 2 << 20], 0).unwrap();
        file.set_len((2 << 20) + WORTHWHILE - 1).unwrap();
        assert_eq!(pieces(&file, (2 << 20) + WORTHWHILE - 1).unwrap(), None);
    }
}
