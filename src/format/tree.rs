//! Tree objects: one directory each. `docs/FORMAT.md` draws them.
//!
//! ```text
//! header │ index │ entries, ascending by raw name bytes │ sets of extended attributes
//! entry:  head (see `inode`) │ pre-order offset u64 │ payload │ name
//! ```
//! An entry ends with its name, so that entry and index alone give the name, whatever the kind.
//!
//! Invariants: bytes in a [`Tree`] are exactly what [`encode_tree`] writes for its entries; offsets and sums are those that
//! follow from the entries. A tree is immutable: there is nothing to lock.

use super::codec::{Lengths, Put, Reader, Table, count32, read_u64};
use super::inode::{BYTES_MAX, ENTRIES_END, HEAD_LEN, Head, KIND_AT, NAME_LEN_AT, Payload, kind_of};
use super::sets::{FirstUse, SetWriter};
use super::{Digest, Entry, FormatError, Kind, Name, NameBuf, Node, Subtree};

const WHAT: &str = "tree object";
const MAGIC: &[u8; 8] = b"CRN-TREE";
/// magic, version, count, entries beneath, bytes beneath, subdirectories, sets, length of entries, length of sets.
const HEADER_LEN: usize = 8 + 4 + 4 + 8 + 8 + 8 + 4 + 4 + 4 + 4;
/// Where an entry has its pre-order offset.
const OFFSET_AT: usize = HEAD_LEN;

/// A tree object, checked whole when it was decoded and searched in place since.
#[derive(Debug)]
pub struct Tree {
    table: Table,
    sums: Sums,
}

/// A tree object's bytes with the sums that the parent's entry carries.
#[derive(Debug, Clone)]
pub struct EncodedTree {
    /// The object.
    pub bytes: Vec<u8>,
    /// Its digest and sums, as the parent's entry holds them.
    pub subtree: Subtree,
}

/// What a directory's entries add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    entries: u64,
    bytes: u64,
    dirs: u64,
    subdirs: u32,
}

impl Sums {
    /// Pre-order offset of the entry that is added next.
    fn next_offset(&self) -> u64 {
        self.entries + 1
    }

    /// Adds an entry that [`Payload::check`] allowed.
    fn add(&mut self, payload: &Payload<'_>) -> Result<(), FormatError> {
        // No sum overflows: both operands are under 2^63, by the checks here and in `Payload::check`.
        self.entries += 1;
        match payload {
            Payload::File { size, .. } => self.bytes += size,
            Payload::Dir(beneath) => {
                self.entries += beneath.entries;
                self.bytes += beneath.bytes;
                self.dirs += 1 + beneath.dirs;
                self.subdirs += 1;
            }
            _ => {}
        }
        if self.entries >= ENTRIES_END {
            return Err(FormatError::TooMany { what: "entries" });
        }
        if self.bytes > BYTES_MAX {
            return Err(FormatError::TooMany { what: "bytes of files" });
        }
        Ok(())
    }

    fn subtree(self, tree: Digest) -> Subtree {
        let Self { entries, bytes, dirs, subdirs } = self;
        Subtree { tree, entries, bytes, dirs, subdirs }
    }
}

/// Encodes a directory; `entries` must be strictly ascending by raw name bytes.
pub fn encode_tree(entries: &[(NameBuf, Entry)]) -> Result<EncodedTree, FormatError> {
    let count = count32(entries.len(), "entries")?;
    let mut sums = Sums::default();
    let mut sets = SetWriter::default();
    let mut index = Vec::with_capacity(entries.len() * size_of::<u32>());
    let mut records = Vec::with_capacity(entries.len() * 96);
    for (number, (name, entry)) in entries.iter().enumerate() {
        if number > 0 && entries[number - 1].0 >= *name {
            return Err(FormatError::Order { index: number });
        }
        index.u32(count32(records.len(), "bytes of entries")?);
        let name_len = name.as_bytes().len() as u8; // a name has at most 255 bytes
        let (head, payload) = match entry {
            Entry::Inode(meta, node) => {
                let payload = Payload::of_node(node);
                payload.check(number)?;
                (Head::new(&payload, name_len, meta, sets.number(&meta.xattrs)?), payload)
            }
            Entry::Linked(link) => (Head::of_link(name_len), Payload::Linked(*link)),
        };
        head.write(&mut records);
        records.u64(sums.next_offset());
        payload.write(&mut records);
        records.bytes(name.as_bytes());
        sums.add(&payload)?;
    }
    let (set_count, set_bytes) = sets.finish()?;
    let mut bytes = Vec::with_capacity(HEADER_LEN + index.len() + records.len() + set_bytes.len());
    bytes.bytes(MAGIC);
    bytes.u32(Tree::VERSION);
    bytes.u32(count);
    bytes.u64(sums.entries);
    bytes.u64(sums.bytes);
    bytes.u64(sums.dirs);
    bytes.u32(sums.subdirs);
    bytes.u32(set_count);
    bytes.u32(count32(records.len(), "bytes of entries")?);
    bytes.u32(count32(set_bytes.len(), "bytes of extended attributes")?);
    debug_assert_eq!(bytes.len(), HEADER_LEN);
    bytes.bytes(&index);
    bytes.bytes(&records);
    bytes.bytes(&set_bytes);
    let subtree = sums.subtree(Digest::of(&bytes));
    Ok(EncodedTree { bytes, subtree })
}

/// One entry as its bytes have it.
struct Record<'a> {
    head: Head,
    offset: u64,
    payload: Payload<'a>,
    name: &'a [u8],
}

impl<'a> Record<'a> {
    fn read(reader: &mut Reader<'a>, index: usize) -> Result<Self, FormatError> {
        let head = Head::read(reader, index)?;
        let offset = reader.u64()?;
        let payload = Payload::read(head.kind, reader, index)?;
        if matches!(payload, Payload::Linked(_)) && head != Head::of_link(head.name_len) {
            return Err(FormatError::Field { index, field: "metadata of a hard link" });
        }
        let name = reader.take(head.name_len.into())?;
        Ok(Self { head, offset, payload, name })
    }
}

impl Tree {
    /// The version that is written, and the only one that is read.
    pub const VERSION: u32 = 1;

    /// Decodes strictly: everything that [`encode_tree`] would not have written is refused.
    pub fn decode(bytes: Vec<u8>) -> Result<Self, FormatError> {
        let mut header = Reader::new(&bytes, 0);
        header.stamp(WHAT, MAGIC, Self::VERSION)?;
        let count = header.u32()?;
        let claimed =
            Sums { entries: header.u64()?, bytes: header.u64()?, dirs: header.u64()?, subdirs: header.u32()? };
        let (sets, records, set_bytes) = (header.u32()?, header.u32()?, header.u32()?);
        let table = Table::new(bytes, &Lengths { header: HEADER_LEN, count, records, sets, set_bytes })?;
        let sums = check_entries(&table)?;
        if sums != claimed {
            return Err(FormatError::Header { field: "sums over the entries" });
        }
        Ok(Self { table, sums })
    }

    /// Entries directly inside.
    pub fn len(&self) -> usize {
        self.table.len() as usize
    }

    /// Whether the directory is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sums over the directory, with `digest` as the tree's name.
    pub fn subtree(&self, digest: Digest) -> Subtree {
        self.sums.subtree(digest)
    }

    /// Entries, bytes and directories beneath, and directories directly inside: what [`Tree::subtree`] says without the digest.
    pub(super) fn sums(&self) -> (u64, u64, u64, u32) {
        (self.sums.entries, self.sums.bytes, self.sums.dirs, self.sums.subdirs)
    }

    /// Index of the entry called `name`: a binary search over the raw bytes.
    pub fn find(&self, name: Name<'_>) -> Option<usize> {
        let at = self.partition_point(|index| self.raw_name(index) < name.as_bytes());
        (at < self.len() && self.raw_name(at) == name.as_bytes()).then_some(at)
    }

    /// Index of the entry whose own number or subtree holds pre-order `offset` (counted from the directory itself, which is 0;
    /// its first entry is 1). `None` for 0 and past the end.
    pub fn find_offset(&self, offset: u64) -> Option<usize> {
        if offset > self.sums.entries {
            return None;
        }
        self.partition_point(|index| self.offset(index) <= offset).checked_sub(1)
    }

    /// The first index for which `before` is false.
    fn partition_point(&self, before: impl Fn(usize) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if before(middle) { low = middle + 1 } else { high = middle }
        }
        low
    }

    fn raw_name(&self, index: usize) -> &[u8] {
        let record = self.table.record(index);
        &record[record.len() - usize::from(record[NAME_LEN_AT])..]
    }

    /// Name of entry `index`. Panics when `index >= len()`.
    pub fn name(&self, index: usize) -> Name<'_> {
        Name::checked_before(self.raw_name(index))
    }

    /// Pre-order offset of entry `index` from the directory: 1 for the first, and for each later one the offset of the one before,
    /// plus 1, plus the entries beneath the one before. Panics when `index >= len()`.
    pub fn offset(&self, index: usize) -> u64 {
        read_u64(self.table.record(index), OFFSET_AT)
    }

    /// Type of entry `index`; `None` for a hard link, whose type the table of linked inodes knows. Panics when `index >= len()`.
    pub fn kind(&self, index: usize) -> Option<Kind> {
        kind_of(self.table.record(index)[KIND_AT])
    }

    /// Entry `index`, decoded. Panics when `index >= len()`.
    pub fn entry(&self, index: usize) -> Entry {
        let record = Record::read(&mut Reader::new(self.table.record(index), 0), index)
            .expect("entries were checked when the tree was decoded");
        let meta = record.head.meta(self.table.sets());
        match record.payload {
            Payload::Linked(link) => Entry::Linked(link),
            Payload::Dir(subtree) => Entry::Inode(meta, Node::Dir(subtree)),
            payload => {
                let content = payload.into_content().expect("directories and links are the arms above");
                Entry::Inode(meta, Node::Leaf(content))
            }
        }
    }

    /// All entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (Name<'_>, Entry)> + '_ {
        (0..self.len()).map(|index| (self.name(index), self.entry(index)))
    }

    /// Bytes of memory held.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.table.weight()
    }
}

/// One pass over all entries: each by itself, their order, offsets, use of sets, and what they add up to.
fn check_entries(table: &Table) -> Result<Sums, FormatError> {
    let mut reader = table.records();
    let mut sums = Sums::default();
    let mut sets = FirstUse::new(table.sets().len());
    let mut before: &[u8] = b"";
    for index in 0..table.len() as usize {
        table.starts_at(index, &reader)?;
        let record = Record::read(&mut reader, index)?;
        Name::new(record.name).map_err(|why| FormatError::Name { index, why })?;
        if record.name <= before {
            return Err(FormatError::Order { index });
        }
        if record.offset != sums.next_offset() {
            return Err(FormatError::Field { index, field: "pre-order offset" });
        }
        sets.note(record.head.set, index)?;
        sums.add(&record.payload)?;
        before = record.name;
    }
    table.ends_at(&reader)?;
    sets.finish()?;
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::super::{Content, LinkNumber, Meta, Mode, Timestamp, Xattrs};
    use super::*;

    fn file(size: u64) -> Entry {
        let digest = Digest::of(b"content");
        Entry::Inode(
            Meta { mode: Mode::from_bits(0o644), ..Meta::default() },
            Node::Leaf(Content::File { digest, size }),
        )
    }

    fn dir(entries: u64, bytes: u64, subdirs: u32) -> Entry {
        let tree = Digest::of(b"tree");
        Entry::Inode(Meta::default(), Node::Dir(Subtree { tree, entries, bytes, dirs: u64::from(subdirs), subdirs }))
    }

    fn tree(entries: &[(&[u8], Entry)]) -> Result<EncodedTree, FormatError> {
        let named = entries.iter().map(|(name, entry)| (NameBuf::new(*name).unwrap(), entry.clone()));
        encode_tree(&named.collect::<Vec<_>>())
    }

    #[test]
    fn the_empty_directory_round_trips() {
        let encoded = tree(&[]).unwrap();
        let decoded = Tree::decode(encoded.bytes.clone()).unwrap();
        assert_eq!(encoded.bytes.len(), HEADER_LEN);
        assert!(decoded.is_empty());
        assert_eq!(decoded.find(Name::new(b"a").unwrap()), None);
        assert_eq!(decoded.find_offset(0), None);
        assert_eq!(decoded.find_offset(1), None);
    }

    #[test]
    fn entries_are_found_by_name_and_by_offset() {
        let entries: [(&[u8], Entry); 4] =
            [(b"a", file(5)), (b"d", dir(10, 7, 3)), (b"l", Entry::Linked(LinkNumber(9))), (b"\xff\xfe", file(1))];
        let encoded = tree(&entries).unwrap();
        assert_eq!((encoded.subtree.entries, encoded.subtree.bytes, encoded.subtree.subdirs), (14, 13, 1));
        let decoded = Tree::decode(encoded.bytes.clone()).unwrap();
        assert_eq!(decoded.subtree(encoded.subtree.tree), encoded.subtree);
        for (index, (name, entry)) in entries.iter().enumerate() {
            let name = Name::new(name).unwrap();
            assert_eq!(decoded.find(name), Some(index));
            assert_eq!(decoded.name(index), name);
            assert_eq!(decoded.entry(index), *entry);
        }
        assert_eq!(decoded.find(Name::new(b"b").unwrap()), None);
        assert_eq!((0..4).map(|index| decoded.offset(index)).collect::<Vec<_>>(), [1, 2, 13, 14]);
        let found: Vec<_> = (0..=15).map(|offset| decoded.find_offset(offset)).collect();
        let expected = [None, Some(0)].into_iter().chain([Some(1); 11]).chain([Some(2), Some(3), None]);
        assert_eq!(found, expected.collect::<Vec<_>>());
        assert_eq!(decoded.kind(1), Some(Kind::Dir));
        assert_eq!(decoded.kind(2), None);
    }

    #[test]
    fn equal_attribute_sets_are_stored_once() {
        let set = Xattrs::new(vec![(b"user.a"[..].into(), vec![7; 1000].into())]).unwrap();
        let with = |name: &[u8]| {
            let meta = Meta { xattrs: set.clone(), mtime: Timestamp::new(-1, 5).unwrap(), ..Meta::default() };
            (NameBuf::new(name).unwrap(), Entry::Inode(meta, Node::Leaf(Content::Fifo)))
        };
        let entries = [with(b"a"), with(b"b"), with(b"c")];
        let encoded = encode_tree(&entries).unwrap();
        assert!(encoded.bytes.len() < 1300, "{}", encoded.bytes.len());
        let decoded = Tree::decode(encoded.bytes).unwrap();
        assert_eq!(decoded.entry(2), entries[2].1);
    }

    #[test]
    fn the_encoder_refuses_what_the_decoder_would() {
        assert_eq!(tree(&[(b"b", file(1)), (b"a", file(1))]).unwrap_err(), FormatError::Order { index: 1 });
        assert_eq!(tree(&[(b"a", file(1)), (b"a", file(1))]).unwrap_err(), FormatError::Order { index: 1 });
        assert!(tree(&[(b"a", file(u64::MAX))]).is_err());
        assert!(tree(&[(b"a", file(BYTES_MAX)), (b"b", file(1))]).is_err());
        assert!(tree(&[(b"a", dir(1, 0, 2))]).is_err());
        assert!(tree(&[(b"a", dir(ENTRIES_END - 2, 0, 2))]).is_ok());
        assert!(tree(&[(b"a", dir(ENTRIES_END - 1, 0, 2))]).is_err());
        for target in [&b""[..], b"a\0b", &[b'x'; 4096]] {
            let link = Entry::Inode(Meta::default(), Node::Leaf(Content::Symlink(target.into())));
            assert!(tree(&[(b"a", link)]).is_err());
        }
    }
}
