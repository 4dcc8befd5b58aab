//! Sparse members: which pieces of a file an archive holds, in the four forms that GNU tar has written.
//!
//! ```text
//! old GNU   type `S`, the pieces in the header and in blocks after it
//! PAX 0.0   records GNU.sparse.size, and .offset and .numbytes once per piece
//! PAX 0.1   records GNU.sparse.size, .name, and .map = offset,length,offset,length...
//! PAX 1.0   records GNU.sparse.major, .minor, .name, .realsize; the map is text at the start of the data, padded to a block
//! ```

use super::Problem;
use super::header::BLOCK;
use super::pax::decimal;
use std::io::{self, Read};

/// Pieces of data in a file that is zeros elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SparseMap {
    pieces: Vec<(u64, u64)>,
    /// Length of the file.
    pub(super) size: u64,
}

impl SparseMap {
    /// Checks that the pieces are in order, lie within the file, and are `stored` bytes together.
    pub(super) fn new(pieces: Vec<(u64, u64)>, size: u64, stored: u64) -> Result<Self, Problem> {
        let (mut end, mut sum) = (0_u64, 0_u64);
        for &(offset, length) in &pieces {
            if offset < end {
                return Err(Problem::Sparse("its pieces overlap or are out of order"));
            }
            if length > 0 && !sum.is_multiple_of(BLOCK as u64) {
                return Err(Problem::Sparse("a piece doesn't start at a block"));
            }
            end = offset.checked_add(length).ok_or(Problem::Sparse("a piece is longer than any file"))?;
            sum += length;
        }
        if end > size {
            return Err(Problem::Sparse("a piece lies past the end of the file"));
        }
        if sum != stored {
            return Err(Problem::Sparse("its pieces are not as long as its data"));
        }
        Ok(Self { pieces, size })
    }

    /// Bytes that the archive doesn't hold.
    pub(super) fn hole_bytes(&self) -> u64 {
        self.size - self.pieces.iter().map(|&(_, length)| length).sum::<u64>()
    }

    /// The whole file, its pieces read from `data`.
    pub(super) fn expand<R: Read>(self, data: R) -> Expand<R> {
        Expand { data, pieces: self.pieces.into_iter().peekable(), at: 0, size: self.size }
    }
}

/// Reads a sparse file whole, holes as zeros.
pub(super) struct Expand<R> {
    data: R,
    pieces: std::iter::Peekable<std::vec::IntoIter<(u64, u64)>>,
    at: u64,
    size: u64,
}

impl<R: Read> Read for Expand<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.pieces.next_if(|&(offset, length)| offset + length <= self.at).is_some() {}
        let within = |end: u64, at: u64| buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
        let got = match self.pieces.peek() {
            Some(&(offset, length)) if offset <= self.at => {
                let room = within(offset + length, self.at);
                self.data.read(&mut buffer[..room])?
            }
            next => {
                let room = within(next.map_or(self.size, |&(offset, _)| offset), self.at);
                buffer[..room].fill(0);
                room
            }
        };
        self.at += got as u64;
        Ok(got)
    }
}

/// What `GNU.sparse.*` records say.
#[derive(Clone, Default, Debug)]
pub(super) struct SparseRecords {
    pub(super) name: Option<Vec<u8>>,
    size: Option<u64>,
    version: (Option<u64>, u64),
    map: Option<Vec<(u64, u64)>>,
    /// An offset whose length hasn't come yet.
    offset: Option<u64>,
}

impl SparseRecords {
    /// Takes a record by the end of its key; `None`: a bad value.
    pub(super) fn set(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match key {
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.size = Some(decimal(value)?),
            b"major" => self.version.0 = Some(decimal(value)?),
            b"minor" => self.version.1 = decimal(value)?,
            b"numblocks" => {}
            b"offset" => self.offset = Some(decimal(value)?),
            b"numbytes" => {
                let piece = (self.offset.take()?, decimal(value)?);
                self.map.get_or_insert_default().push(piece);
            }
            b"map" => {
                let numbers = value.split(|&byte| byte == b',').filter(|number| !number.is_empty());
                let numbers = numbers.map(decimal).collect::<Option<Vec<u64>>>()?;
                let pairs = numbers.chunks(2).map(|pair| Some((*pair.first()?, *pair.get(1)?)));
                self.map = Some(pairs.collect::<Option<_>>()?);
            }
            _ => return None,
        }
        Some(())
    }

    /// How the member is to be read.
    pub(super) fn form(self) -> Result<Form, Problem> {
        match (self.version, self.size, self.map) {
            ((None, _), None, None) => Ok(Form::Whole),
            ((Some(1), 0), Some(size), _) => Ok(Form::MapInData { size }),
            ((None | Some(0), _), Some(size), map) => Ok(Form::Map { size, pieces: map.unwrap_or_default() }),
            ((Some(_), _), Some(_), _) => Err(Problem::Sparse("it has an unknown version")),
            (_, None, _) => Err(Problem::Sparse("it doesn't say how long the file is")),
        }
    }
}

/// How a member's data are to be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As they are.
    Whole,
    /// By a map in the header.
    Map {
        /// Length of the file.
        size: u64,
        /// The map.
        pieces: Vec<(u64, u64)>,
    },
    /// By a map at the start of the data.
    MapInData {
        /// Length of the file.
        size: u64,
    },
}

/// Collects the map at the start of a member's data, block by block.
#[derive(Default)]
pub(super) struct MapText {
    numbers: Vec<u64>,
    partial: Vec<u8>,
}

impl MapText {
    /// Takes a block; true when the map is complete.
    pub(super) fn add(&mut self, block: &[u8]) -> Result<bool, Problem> {
        const DIGITS_MAX: usize = 20;
        for &byte in block {
            if byte == b'\n' {
                let number = decimal(&self.partial).ok_or(Problem::Sparse("a bad number"))?;
                self.numbers.push(number);
                self.partial.clear();
                if self.is_complete() {
                    return Ok(true);
                }
            } else if self.partial.len() < DIGITS_MAX {
                self.partial.push(byte);
            } else {
                return Err(Problem::Sparse("a bad number"));
            }
        }
        Ok(false)
    }

    fn is_complete(&self) -> bool {
        let Some((&count, numbers)) = self.numbers.split_first() else { return false };
        numbers.len() as u64 == count.saturating_mul(2)
    }

    /// The pieces.
    pub(super) fn pieces(self) -> Vec<(u64, u64)> {
        let numbers = self.numbers.get(1..).unwrap_or_default();
        numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_put_where_they_belong() {
        let data: Vec<u8> = (0..600).map(|n| n as u8).collect();
        let map = SparseMap::new(vec![(1000, 512), (3000, 88), (5000, 0)], 5000, 600).unwrap();
        assert_eq!(map.hole_bytes(), 4400);
        let mut whole = Vec::new();
        map.expand(&data[..]).read_to_end(&mut whole).unwrap();
        let mut expected = vec![0; 5000];
        expected[1000..1512].copy_from_slice(&data[..512]);
        expected[3000..3088].copy_from_slice(&data[512..]);
        assert!(whole == expected);
    }

    #[test]
    fn bad_maps_are_refused() {
        for (pieces, size, stored) in [
            (vec![(10, 5), (12, 5)], 100, 10),
            (vec![(0, 512), (600, 10)], 605, 522),
            (vec![(0, 5)], 100, 6),
            (vec![(0, 5), (10, 5)], 100, 10),
            (vec![(u64::MAX, 512)], u64::MAX, 512),
        ] {
            assert!(SparseMap::new(pieces.clone(), size, stored).is_err(), "{pieces:?}");
        }
    }

    #[test]
    fn a_map_in_the_data_may_span_blocks() {
        let mut map = MapText::default();
        assert!(!map.add(b"2\n0\n5").unwrap());
        assert!(!map.add(b"12\n1024\n1").unwrap());
        assert!(map.add(b"00\n\0\0\0").unwrap());
        assert_eq!(map.pieces(), [(0, 512), (1024, 100)]);
        assert!(MapText::default().add(b"x\n").is_err());
        assert!(MapText::default().add(&[b'1'; 30]).is_err());
        let mut none = MapText::default();
        assert!(none.add(b"0\n").unwrap());
        assert_eq!(none.pieces(), []);
    }
}
