//! The bytes of a journal: which batches are in it. No I/O.
//!
//! ```text
//! batch         start: 1u8, items u32, sequence u64 │ items │ end: 3u8, xxh3 of the items u64, `FJL\x03`
//! item          2u8, type u8, compression u8 (0: none), keyspace u64, key length u16, value length u32, the same on disk u32, key, value
//! clear         4u8, keyspace u64
//! ```
//! (fjall 3, `src/journal/entry.rs`; little-endian.)

use crate::layer::db::COUNT;
use xxhash_rust::xxh3::xxh3_64;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const MAGIC: &[u8] = b"FJL\x03";
/// Of a batch, after its items.
const TAIL: usize = 1 + 8 + MAGIC.len();
/// Of an item, before its key.
const ITEM_HEAD: usize = 1 + 1 + 1 + 8 + 2 + 4 + 4;

/// Length of the whole batches that `bytes` begins with.
pub(super) fn whole_batches(bytes: &[u8]) -> usize {
    let mut whole = 0;
    while let Part::Batch(length) = batch(&bytes[whole..]) {
        whole += length;
    }
    whole
}

/// The number of the batch that `batches` ends with: the value of its last item (`db`).
pub(super) fn last_number(batches: &[u8]) -> Option<u64> {
    let items = batches.get(..batches.len().checked_sub(TAIL)?)?;
    let (rest, number) = items.split_last_chunk::<8>()?;
    rest.ends_with(COUNT).then(|| u64::from_le_bytes(*number))
}

/// Whether `rest` is the beginning of a batch, and zeros. What ends as a batch ends was written whole, and has a wrong length in it.
pub(super) fn is_cut_short(rest: &[u8]) -> bool {
    let written = &rest[..rest.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)];
    !written.ends_with(MAGIC) && batch(written) == Part::CutShort
}

/// What bytes begin with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A whole batch of this length.
    Batch(usize),
    /// A batch, as far as there are bytes. Zeros at its end may be missing.
    CutShort,
    /// Nothing that a batch can be.
    Other,
}

pub(super) fn batch(bytes: &[u8]) -> Part {
    const HEAD: usize = 1 + 4 + 8;
    if bytes.first().is_some_and(|&tag| tag != START) {
        return Part::Other;
    }
    let Some(items) = bytes.get(1..5).and_then(|count| count.first_chunk()).map(|count| u32::from_le_bytes(*count))
    else {
        return Part::CutShort;
    };
    let mut at = HEAD;
    for _ in 0..items {
        match item(bytes.get(at..).unwrap_or_default()) {
            Part::Batch(length) => at += length,
            other => return other,
        }
    }
    let end = bytes.get(at..).unwrap_or_default();
    if end.first().is_some_and(|&tag| tag != END) {
        return Part::Other;
    }
    let Some((sum, magic)) = end.get(1..9 + MAGIC.len()).and_then(|rest| rest.split_first_chunk::<8>()) else {
        return Part::CutShort;
    };
    let is_whole = magic == MAGIC && u64::from_le_bytes(*sum) == xxh3_64(&bytes[HEAD..at]);
    if is_whole { Part::Batch(at + TAIL) } else { Part::Other }
}

fn item(bytes: &[u8]) -> Part {
    let length = match bytes.first() {
        None => return Part::CutShort,
        Some(&CLEAR) => 1 + 8,
        Some(&ITEM) => {
            let Some(head) = bytes.get(..ITEM_HEAD) else { return Part::CutShort };
            let (key, value) = (u16::from_le_bytes([head[11], head[12]]), &head[13..17]);
            if head[2] != 0 || value != &head[17..21] {
                return Part::Other;
            }
            ITEM_HEAD + usize::from(key) + u32::from_le_bytes([value[0], value[1], value[2], value[3]]) as usize
        }
        Some(_) => return Part::Other,
    };
    if bytes.len() < length { Part::CutShort } else { Part::Batch(length) }
}
