//! Sets of extended attributes: the last section of a binary object.
//!
//! ```text
//! set:        length u32 (of the rest) │ count u16 │ count × attribute
//! attribute:  name_len u8 │ value_len u32 │ name │ value
//! ```
//! Records name a set by number, 1 being the first and 0 none. Invariants: a set is never empty, its attributes ascend by name, no
//! set is there twice, and sets come in the order in which records first use them; so there is one way to write them.

use super::codec::{Put, Reader, count32};
use super::{FormatError, Xattr, Xattrs};
use std::collections::{HashMap, HashSet};

/// Numbers sets as records come to use them, and writes each once.
#[derive(Default)]
pub(super) struct SetWriter<'a> {
    numbers: HashMap<&'a Xattrs, u32>,
    bytes: Vec<u8>,
}

impl<'a> SetWriter<'a> {
    /// The number of `set`, written now if it is new.
    pub(super) fn number(&mut self, set: &'a Xattrs) -> Result<u32, FormatError> {
        if set.is_empty() {
            return Ok(0);
        }
        if let Some(number) = self.numbers.get(set) {
            return Ok(*number);
        }
        let number = count32(self.numbers.len() + 1, "sets of extended attributes")?;
        write(set, &mut self.bytes)?;
        self.numbers.insert(set, number);
        Ok(number)
    }

    /// How many sets there are, and their bytes.
    pub(super) fn finish(self) -> Result<(u32, Vec<u8>), FormatError> {
        Ok((count32(self.numbers.len(), "sets of extended attributes")?, self.bytes))
    }
}

/// Writes a set.
pub(super) fn write(set: &Xattrs, out: &mut Vec<u8>) -> Result<(), FormatError> {
    let attributes = set.as_slice();
    let too_many = |_| FormatError::TooMany { what: "extended attributes" };
    let mut body = Vec::new();
    body.u16(u16::try_from(attributes.len()).map_err(too_many)?);
    for (name, value) in attributes {
        body.u8(u8::try_from(name.len()).map_err(|_| FormatError::BadXattrs)?);
        body.u32(count32(value.len(), "bytes of an extended attribute")?);
        body.bytes(name);
        body.bytes(value);
    }
    out.u32(count32(body.len(), "bytes of extended attributes")?);
    out.bytes(&body);
    Ok(())
}

/// Reads `count` sets, which must fill `reader` to its end.
pub(super) fn read(mut reader: Reader<'_>, count: u32) -> Result<Vec<Xattrs>, FormatError> {
    let mut sets = Vec::new();
    let mut seen = HashSet::new();
    for _ in 0..count {
        let length = reader.u32()? as usize;
        let body = reader.take(length)?;
        if !seen.insert(body) {
            return Err(FormatError::BadXattrs);
        }
        sets.push(read_set(body)?);
    }
    match reader.left() {
        0 => Ok(sets),
        _ => Err(FormatError::Header { field: "number of sets of extended attributes" }),
    }
}

fn read_set(body: &[u8]) -> Result<Xattrs, FormatError> {
    let cut = |_| FormatError::BadXattrs;
    let mut reader = Reader::new(body, 0);
    let count = reader.u16().map_err(cut)?;
    let mut attributes: Vec<Xattr> = Vec::new();
    for _ in 0..count {
        let name_len = reader.u8().map_err(cut)?;
        let value_len = reader.u32().map_err(cut)?;
        let name = reader.take(name_len.into()).map_err(cut)?;
        let value = reader.take(value_len as usize).map_err(cut)?;
        if attributes.last().is_some_and(|(before, _)| **before >= *name) {
            return Err(FormatError::BadXattrs);
        }
        attributes.push((name.into(), value.into()));
    }
    if attributes.is_empty() || reader.left() != 0 {
        return Err(FormatError::BadXattrs);
    }
    Xattrs::new(attributes)
}

/// Checks that records use the sets in order, and all of them.
pub(super) struct FirstUse {
    used: u32,
    declared: u32,
}

impl FirstUse {
    pub(super) fn new(declared: usize) -> Self {
        // A count that was read from 32 bits.
        Self { used: 0, declared: declared as u32 }
    }

    /// Record `index` uses `set`.
    pub(super) fn note(&mut self, set: u32, index: usize) -> Result<(), FormatError> {
        let next = set == self.used + 1 && set <= self.declared;
        self.used += u32::from(next);
        if set <= self.used { Ok(()) } else { Err(FormatError::Field { index, field: "set of extended attributes" }) }
    }

    /// All records were noted.
    pub(super) fn finish(self) -> Result<(), FormatError> {
        if self.used == self.declared { Ok(()) } else { Err(FormatError::BadXattrs) }
    }
}
