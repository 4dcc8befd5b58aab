//! The table of hard-linked inodes: a binary object that the manifest names. `docs/FORMAT.md` draws it.
//!
//! ```text
//! header │ index │ slots, by number │ sets of extended attributes
//! slot:  kind 0 alone (free), or  head (see `inode`; its name_len is 0) │ nlink u32 │ payload
//! ```
//! Numbers stay what they are while an inode lives on in later manifests, so a number that a snapshot no longer needs becomes a
//! free slot. Invariants: the last slot isn't free; a linked inode is no directory; bytes are exactly what [`encode_links`] writes.

use super::codec::{Lengths, Put, Reader, Table, count32};
use super::inode::{FREE, Head, KIND_AT, Payload};
use super::sets::{FirstUse, SetWriter};
use super::{Content, FormatError, LinkNumber, Meta};

const WHAT: &str = "table of linked inodes";
const MAGIC: &[u8; 8] = b"CRN-LINK";
/// magic, version, count, sets, length of slots, length of sets.
const HEADER_LEN: usize = 8 + 4 + 4 + 4 + 4 + 4;

/// An inode with several names.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LinkedInode {
    /// Its metadata.
    pub meta: Meta,
    /// Names it has; at least 1.
    pub nlink: u32,
    /// Its content.
    pub content: Content,
}

/// A decoded table, looked up by number in place.
#[derive(Debug)]
pub struct LinkTable {
    /// `None` is the table without slots.
    table: Option<Table>,
}

/// Encodes a table. A `None` is a free number (of an inode that a snapshot no longer has); the last slot may not be free.
pub fn encode_links(slots: &[Option<LinkedInode>]) -> Result<Vec<u8>, FormatError> {
    let count = count32(slots.len(), "linked inodes")?;
    if let Some(None) = slots.last() {
        return Err(FormatError::Field { index: slots.len() - 1, field: "kind: the last slot is free" });
    }
    let mut sets = SetWriter::default();
    let mut index = Vec::with_capacity(slots.len() * size_of::<u32>());
    let mut records = Vec::with_capacity(slots.len() * 72);
    for (number, slot) in slots.iter().enumerate() {
        index.u32(count32(records.len(), "bytes of linked inodes")?);
        let Some(LinkedInode { meta, nlink, content }) = slot else {
            records.u8(FREE);
            continue;
        };
        if *nlink == 0 {
            return Err(FormatError::Field { index: number, field: "nlink" });
        }
        let payload = Payload::of_content(content);
        payload.check(number)?;
        Head::new(&payload, 0, meta, sets.number(&meta.xattrs)?).write(&mut records);
        records.u32(*nlink);
        payload.write(&mut records);
    }
    let (set_count, set_bytes) = sets.finish()?;
    let mut bytes = Vec::with_capacity(HEADER_LEN + index.len() + records.len() + set_bytes.len());
    bytes.bytes(MAGIC);
    bytes.u32(LinkTable::VERSION);
    bytes.u32(count);
    bytes.u32(set_count);
    bytes.u32(count32(records.len(), "bytes of linked inodes")?);
    bytes.u32(count32(set_bytes.len(), "bytes of extended attributes")?);
    debug_assert_eq!(bytes.len(), HEADER_LEN);
    bytes.bytes(&index);
    bytes.bytes(&records);
    bytes.bytes(&set_bytes);
    Ok(bytes)
}

/// A slot in use, as its bytes have it.
struct Record<'a> {
    head: Head,
    nlink: u32,
    payload: Payload<'a>,
}

impl<'a> Record<'a> {
    fn read(reader: &mut Reader<'a>, index: usize) -> Result<Self, FormatError> {
        let bad = |field| FormatError::Field { index, field };
        let head = Head::read(reader, index)?;
        let nlink = reader.u32()?;
        let payload = Payload::read(head.kind, reader, index)?;
        if head.name_len != 0 {
            return Err(bad("name length"));
        }
        if nlink == 0 {
            return Err(bad("nlink"));
        }
        if matches!(payload, Payload::Dir(_) | Payload::Linked(_)) {
            return Err(bad("kind"));
        }
        Ok(Self { head, nlink, payload })
    }
}

impl LinkTable {
    /// The version that is written, and the only one that is read.
    pub const VERSION: u32 = 1;

    /// Decodes strictly.
    pub fn decode(bytes: Vec<u8>) -> Result<Self, FormatError> {
        let mut header = Reader::new(&bytes, 0);
        header.stamp(WHAT, MAGIC, Self::VERSION)?;
        let (count, sets, records, set_bytes) = (header.u32()?, header.u32()?, header.u32()?, header.u32()?);
        let table = Table::new(bytes, &Lengths { header: HEADER_LEN, count, records, sets, set_bytes })?;
        check_slots(&table)?;
        Ok(Self { table: Some(table) })
    }

    /// A table without inodes, for manifests that have none.
    pub fn empty() -> Self {
        Self { table: None }
    }

    /// Slots, free ones included.
    pub fn len(&self) -> u32 {
        self.table.as_ref().map_or(0, Table::len)
    }

    /// Whether there are no slots.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The inode of `number`; `None` when it is free or out of range.
    pub fn get(&self, number: LinkNumber) -> Option<LinkedInode> {
        let table = self.table.as_ref().filter(|table| number.0 < table.len())?;
        let index = number.0 as usize;
        let bytes = table.record(index);
        if bytes[KIND_AT] == FREE {
            return None;
        }
        let Record { head, nlink, payload } =
            Record::read(&mut Reader::new(bytes, 0), index).expect("slots were checked when the table was decoded");
        let content = payload.into_content().expect("a slot was checked to be no directory and no link");
        Some(LinkedInode { meta: head.meta(table.sets()), nlink, content })
    }

    /// All slots in order; `None` is a free one.
    pub fn iter(&self) -> impl Iterator<Item = Option<LinkedInode>> + '_ {
        (0..self.len()).map(|number| self.get(LinkNumber(number)))
    }

    /// Bytes of memory held.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.table.as_ref().map_or(0, Table::weight)
    }
}

/// One pass over all slots: each by itself, their use of sets, and that the last isn't free.
fn check_slots(table: &Table) -> Result<(), FormatError> {
    let mut reader = table.records();
    let mut sets = FirstUse::new(table.sets().len());
    let mut last_free = false;
    for index in 0..table.len() as usize {
        table.starts_at(index, &reader)?;
        last_free = reader.peek() == Some(FREE);
        if last_free {
            reader.u8()?;
        } else {
            let record = Record::read(&mut reader, index)?;
            sets.note(record.head.set, index)?;
        }
    }
    table.ends_at(&reader)?;
    sets.finish()?;
    if last_free {
        return Err(FormatError::Field { index: table.len() as usize - 1, field: "kind: the last slot is free" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Device, Digest};
    use super::*;

    fn inode(content: Content, nlink: u32) -> Option<LinkedInode> {
        Some(LinkedInode { meta: Meta::default(), nlink, content })
    }

    #[test]
    fn slots_round_trip_with_free_ones_between() {
        let device = Device { major: 8, minor: 1 };
        let file = Content::File { digest: Digest::of(b"x"), size: 3 };
        let slots = [None, inode(file, 2), None, inode(Content::Block(device), 7)];
        let bytes = encode_links(&slots).unwrap();
        let table = LinkTable::decode(bytes.clone()).unwrap();
        assert_eq!(table.iter().collect::<Vec<_>>(), slots);
        assert_eq!(table.get(LinkNumber(4)), None);
        assert_eq!(table.get(LinkNumber(u32::MAX)), None);
        assert_eq!(encode_links(&table.iter().collect::<Vec<_>>()).unwrap(), bytes);
    }

    #[test]
    fn a_table_without_slots_is_the_empty_one() {
        let table = LinkTable::decode(encode_links(&[]).unwrap()).unwrap();
        assert!(table.is_empty() && LinkTable::empty().is_empty());
        assert_eq!(LinkTable::empty().get(LinkNumber(0)), None);
    }

    #[test]
    fn no_names_and_a_free_last_slot_are_refused() {
        assert!(encode_links(&[inode(Content::Fifo, 0)]).is_err());
        assert!(encode_links(&[inode(Content::Fifo, 1), None]).is_err());
    }
}
