//! Little-endian reading and writing with bounds checks, and the frame that the binary objects share.
//!
//! ```text
//! header │ index: count × u32 │ records │ attribute sets
//! ```
//! Each index word is the offset of a record from the start of the records, so that record `n` is found without reading those
//! before it. Invariant of [`Table`]: once an object's decoder has accepted it, index words ascend and end inside the records.

use super::{Digest, FormatError, Xattrs};

/// Reads a byte range from front to back; `at` is the offset in the whole object, for errors.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from `at` to their end.
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The next `length` bytes.
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], FormatError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest.get(..length).ok_or(FormatError::Truncated { at: self.bytes.len() })?;
        self.at += length;
        Ok(taken)
    }

    /// The next byte, not taken yet.
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Bytes not taken yet.
    pub(super) fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, FormatError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, FormatError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, FormatError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, FormatError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, FormatError> {
        self.array().map(i64::from_le_bytes)
    }

    pub(super) fn digest(&mut self) -> Result<Digest, FormatError> {
        self.array().map(Digest::from_bytes)
    }

    /// Magic and version, which start every binary object.
    pub(super) fn stamp(&mut self, what: &'static str, magic: &[u8; 8], known: u32) -> Result<(), FormatError> {
        if self.take(magic.len())? != magic {
            return Err(FormatError::Magic { expected: what });
        }
        match self.u32()? {
            found if found == known => Ok(()),
            found => Err(FormatError::Version { what, found, known }),
        }
    }
}

/// Appends fields in the byte order of the format.
pub(super) trait Put {
    fn bytes(&mut self, bytes: &[u8]);

    fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }
    fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }
    fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }
    fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }
    fn i64(&mut self, value: i64) {
        self.bytes(&value.to_le_bytes());
    }
}

impl Put for Vec<u8> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// A length or count as the format's 32-bit field.
pub(super) fn count32(count: usize, what: &'static str) -> Result<u32, FormatError> {
    u32::try_from(count).map_err(|_| FormatError::TooMany { what })
}

const INDEX_WORD: usize = size_of::<u32>();

/// An object's sections: where each starts, derived from the one before.
#[derive(Debug, Clone, Copy)]
struct Layout {
    count: u32,
    index: usize,
    records: usize,
    sets: usize,
}

/// The bytes of an object with its records found by index, and its attribute sets.
#[derive(Debug)]
pub(super) struct Table {
    bytes: Vec<u8>,
    layout: Layout,
    sets: Vec<Xattrs>,
}

/// The header's fields that say how long each section is.
pub(super) struct Lengths {
    /// Length of the header itself.
    pub(super) header: usize,
    /// Records.
    pub(super) count: u32,
    /// Bytes of all records.
    pub(super) records: u32,
    /// Attribute sets.
    pub(super) sets: u32,
    /// Bytes of all attribute sets.
    pub(super) set_bytes: u32,
}

impl Table {
    /// Lays the sections out and reads the sets. The claimed lengths must add up to the bytes that are there, so nothing is
    /// allocated for a claim that isn't backed. The caller then checks each record, once, in order.
    pub(super) fn new(bytes: Vec<u8>, lengths: &Lengths) -> Result<Self, FormatError> {
        // In 64 bits, no sum of 32-bit lengths overflows.
        let records = lengths.header as u64 + INDEX_WORD as u64 * u64::from(lengths.count);
        let sets = records + u64::from(lengths.records);
        let end = sets + u64::from(lengths.set_bytes);
        let actual = bytes.len() as u64;
        if end > actual {
            return Err(FormatError::Truncated { at: bytes.len() });
        }
        if end < actual {
            return Err(FormatError::Trailing { extra: (actual - end) as usize });
        }
        let layout =
            Layout { count: lengths.count, index: lengths.header, records: records as usize, sets: sets as usize };
        let sets = super::sets::read(Reader::new(&bytes, layout.sets), lengths.sets)?;
        Ok(Self { bytes, layout, sets })
    }

    pub(super) fn len(&self) -> u32 {
        self.layout.count
    }

    pub(super) fn sets(&self) -> &[Xattrs] {
        &self.sets
    }

    /// All records, to be read in order.
    pub(super) fn records(&self) -> Reader<'_> {
        Reader::new(&self.bytes[..self.layout.sets], self.layout.records)
    }

    /// Whether record `index` starts where `reader` is, as the index must say.
    pub(super) fn starts_at(&self, index: usize, reader: &Reader<'_>) -> Result<(), FormatError> {
        if self.layout.records + self.word(index) != reader.at() {
            return Err(FormatError::Field { index, field: "offset in the index" });
        }
        Ok(())
    }

    /// Whether `reader` has come to the end of the records.
    pub(super) fn ends_at(&self, reader: &Reader<'_>) -> Result<(), FormatError> {
        if reader.at() != self.layout.sets {
            return Err(FormatError::Header { field: "length of the records" });
        }
        Ok(())
    }

    fn word(&self, index: usize) -> usize {
        read_u32(&self.bytes, self.layout.index + INDEX_WORD * index) as usize
    }

    /// The bytes of record `index` of a table that was accepted. Panics when `index >= len()`.
    pub(super) fn record(&self, index: usize) -> &[u8] {
        let count = self.layout.count as usize;
        assert!(index < count, "record {index} of {count}");
        let start = self.layout.records + self.word(index);
        let end = if index + 1 < count { self.layout.records + self.word(index + 1) } else { self.layout.sets };
        &self.bytes[start..end]
    }

    /// Bytes of memory held.
    pub(super) fn weight(&self) -> usize {
        let attribute =
            |(name, value): &(Box<[u8]>, Box<[u8]>)| size_of::<(Box<[u8]>, Box<[u8]>)>() + name.len() + value.len();
        let set = |set: &Xattrs| size_of::<Xattrs>() + set.as_slice().iter().map(attribute).sum::<usize>();
        self.bytes.capacity() + self.sets.iter().map(set).sum::<usize>()
    }
}

/// The word at `at`, which the caller knows to lie inside `bytes`.
pub(super) fn read_u32(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

/// The double word at `at`, which the caller knows to lie inside `bytes`.
pub(super) fn read_u64(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}
