//! Each rule of the binary formats, broken alone: what the decoder says to it.
//!
//! Offsets are written out here on purpose: they are those that `docs/FORMAT.md` draws, not those that the code derives.

#![expect(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use cairnfs::format::*;

const HEADER: usize = 56;
const COUNT: usize = 12;
const ENTRIES_BENEATH: usize = 16;
const BYTES_BENEATH: usize = 24;
const SUBDIRS: usize = 40;
const SETS: usize = 44;
const ENTRIES_LEN: usize = 48;
const SETS_LEN: usize = 52;

// within an entry
const KIND: usize = 0;
const NAME_LEN: usize = 1;
const MODE: usize = 2;
const UID: usize = 4;
const NANOS: usize = 20;
const SET: usize = 24;
const OFFSET: usize = 28;
const PAYLOAD: usize = 36;

fn meta(xattrs: &[(&str, &str)]) -> Meta {
    let pairs = xattrs.iter().map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into()));
    Meta { xattrs: Xattrs::new(pairs.collect()).unwrap(), ..Meta::default() }
}

fn leaf(content: Content, xattrs: &[(&str, &str)]) -> Entry {
    Entry::Inode(meta(xattrs), Node::Leaf(content))
}

fn file(size: u64) -> Entry {
    leaf(Content::File { digest: Digest::of(b"x"), size }, &[])
}

fn tree(entries: &[(&str, Entry)]) -> Vec<u8> {
    let named = entries.iter().map(|(name, entry)| (NameBuf::new(name.as_bytes()).unwrap(), entry.clone()));
    encode_tree(&named.collect::<Vec<_>>()).unwrap().bytes
}

/// `bytes` with `patch` at `at`.
fn patched(bytes: &[u8], at: usize, patch: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + patch.len()].copy_from_slice(patch);
    bytes
}

/// Where entry `index` starts.
fn entry_at(bytes: &[u8], index: usize) -> usize {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    HEADER + 4 * word(COUNT) + word(HEADER + 4 * index)
}

#[track_caller]
fn refused(bytes: Vec<u8>) -> FormatError {
    Tree::decode(bytes).expect_err("the tree should be refused")
}

#[track_caller]
fn bad_field(bytes: Vec<u8>, index: usize, field: &'static str) {
    assert_eq!(refused(bytes), FormatError::Field { index, field });
}

#[test]
fn stamp_and_length() {
    let good = tree(&[("a", file(1))]);
    assert_eq!(refused(patched(&good, 7, b"X")), FormatError::Magic { expected: "tree object" });
    let version = FormatError::Version { what: "tree object", found: 2, known: 1 };
    assert_eq!(refused(patched(&good, 8, &[2])), version);
    for length in 0..good.len() {
        let error = refused(good[..length].to_vec());
        assert!(matches!(error, FormatError::Truncated { at } if at == length), "{length}: {error}");
    }
    assert_eq!(refused([&good[..], b"xyz"].concat()), FormatError::Trailing { extra: 3 });
}

#[test]
fn header_counts() {
    let good = tree(&[("a", file(1)), ("b", leaf(Content::Fifo, &[("user.a", "1")]))]);
    let sums = FormatError::Header { field: "sums over the entries" };
    assert_eq!(refused(patched(&good, ENTRIES_BENEATH, &[3])), sums);
    assert_eq!(refused(patched(&good, BYTES_BENEATH, &[2])), sums);
    assert_eq!(refused(patched(&good, SUBDIRS, &[1])), sums);
    assert!(matches!(refused(patched(&good, COUNT, &[3])), FormatError::Truncated { .. }));
    assert!(matches!(refused(patched(&good, COUNT, &[1])), FormatError::Trailing { .. }));
    assert!(matches!(refused(patched(&good, SETS, &[2])), FormatError::Truncated { .. }));
    assert!(matches!(refused(patched(&good, SETS, &[0])), FormatError::Header { .. }));
    // One byte moved from a section to the next.
    let (entries, sets) = (good[ENTRIES_LEN], good[SETS_LEN]);
    assert!(Tree::decode(patched(&patched(&good, ENTRIES_LEN, &[entries + 1]), SETS_LEN, &[sets - 1])).is_err());
    assert!(Tree::decode(patched(&patched(&good, ENTRIES_LEN, &[entries - 1]), SETS_LEN, &[sets + 1])).is_err());
}

#[test]
fn claims_that_nothing_backs_cost_nothing() {
    let good = tree(&[]);
    for field in [COUNT, ENTRIES_LEN, SETS_LEN, SETS] {
        assert!(matches!(refused(patched(&good, field, &[255; 4])), FormatError::Truncated { .. }), "{field}");
    }
}

#[test]
fn index() {
    let good = tree(&[("a", file(1)), ("b", file(2))]);
    let field = "offset in the index";
    bad_field(patched(&good, HEADER, &[1]), 0, field);
    bad_field(patched(&good, HEADER + 4, &[0]), 1, field);
    bad_field(patched(&good, HEADER + 4, &[255; 4]), 1, field);
}

#[test]
fn names() {
    let good = tree(&[("aa", file(1)), ("bb", file(2))]);
    let last = good.len() - 2;
    let first = entry_at(&good, 1) - 2;
    let name = |bytes, index, why| assert_eq!(refused(bytes), FormatError::Name { index, why });
    name(patched(&good, first, b"a/"), 0, BadName::Forbidden);
    name(patched(&good, first, b"a\0"), 0, BadName::Forbidden);
    name(patched(&good, first, b".."), 0, BadName::Dots);
    name(patched(&tree(&[("a", file(1))]), tree(&[("a", file(1))]).len() - 1, b"."), 0, BadName::Dots);
    name(patched(&good, entry_at(&good, 0) + NAME_LEN, &[0]), 0, BadName::Empty);
    assert_eq!(refused(patched(&good, last, b"aa")), FormatError::Order { index: 1 });
    assert_eq!(refused(patched(&good, last, b"Zz")), FormatError::Order { index: 1 });
    let longer = entry_at(&good, 1) + NAME_LEN;
    assert!(matches!(refused(patched(&good, longer, &[3])), FormatError::Truncated { .. }));
    let shorter = FormatError::Header { field: "length of the records" };
    assert_eq!(refused(patched(&good, longer, &[1])), shorter);
}

#[test]
fn fields_of_an_entry() {
    let good = tree(&[("a", file(1)), ("b", file(2))]);
    let at = entry_at(&good, 1);
    bad_field(patched(&good, at + KIND, &[0]), 1, "kind");
    bad_field(patched(&good, at + KIND, &[9]), 1, "kind");
    bad_field(patched(&good, at + MODE, &0o10000u16.to_le_bytes()), 1, "mode");
    bad_field(patched(&good, at + NANOS, &1_000_000_000u32.to_le_bytes()), 1, "mtime");
    bad_field(patched(&good, at + SET, &[1]), 1, "set of extended attributes");
    bad_field(patched(&good, at + OFFSET, &[3]), 1, "pre-order offset");
    bad_field(patched(&good, at + OFFSET, &[255; 8]), 1, "pre-order offset");
    bad_field(patched(&good, at + PAYLOAD + 32, &(1u64 << 63).to_le_bytes()), 1, "size");
    let sum = patched(&good, at + PAYLOAD + 32, &i64::MAX.to_le_bytes());
    assert_eq!(refused(sum), FormatError::TooMany { what: "bytes of files" });
}

#[test]
fn symlink_targets() {
    let good = tree(&[("a", leaf(Content::Symlink(b"to"[..].into()), &[]))]);
    let at = entry_at(&good, 0) + PAYLOAD;
    bad_field(patched(&good, at + 2, b"t\0"), 0, "target");
    bad_field(patched(&good, at, &[0, 0]), 0, "target");
    assert!(matches!(refused(patched(&good, at, &[0, 16])), FormatError::Truncated { .. }));
    let longest = tree(&[("a", leaf(Content::Symlink(vec![b'x'; 4095].into()), &[]))]);
    assert!(Tree::decode(longest).is_ok());
}

#[test]
fn sums_of_a_subdirectory() {
    let beneath = Subtree { tree: Digest::of(b"t"), entries: 3, bytes: 4, dirs: 2, subdirs: 2 };
    let good = tree(&[("a", Entry::Inode(meta(&[]), Node::Dir(beneath)))]);
    let at = entry_at(&good, 0) + PAYLOAD + 32;
    bad_field(patched(&good, at + 24, &[3]), 0, "subdirectories");
    bad_field(patched(&good, at + 24, &[0]), 0, "subdirectories");
    bad_field(patched(&good, at + 16, &[4]), 0, "directories beneath");
    bad_field(patched(&good, at + 16, &[3]), 0, "bytes beneath");
    bad_field(patched(&good, at + 8, &[255; 8]), 0, "bytes beneath");
    bad_field(patched(&good, at, &(1u64 << 40).to_le_bytes()), 0, "entries beneath");
    bad_field(patched(&good, at, &[255; 8]), 0, "entries beneath");
    let too_many = patched(&good, at, &((1u64 << 40) - 1).to_le_bytes());
    assert_eq!(refused(too_many), FormatError::TooMany { what: "entries" });
    assert_eq!(refused(patched(&good, at, &[5])), FormatError::Header { field: "sums over the entries" });
}

#[test]
fn hard_links_have_no_metadata() {
    let good = tree(&[("a", Entry::Linked(LinkNumber(7)))]);
    let at = entry_at(&good, 0);
    for field in [MODE, UID, UID + 4, UID + 8, NANOS, SET] {
        bad_field(patched(&good, at + field, &[1]), 0, "metadata of a hard link");
    }
}

#[test]
fn attribute_sets() {
    let fifo = |attributes: &[(&str, &str)]| leaf(Content::Fifo, attributes);
    let good =
        tree(&[("a", fifo(&[("user.a", "1"), ("user.b", "2")])), ("b", fifo(&[("user.a", "1"), ("user.c", "2")]))]);
    let (first, second) = (entry_at(&good, 0) + SET, entry_at(&good, 1) + SET);
    let set = "set of extended attributes";
    bad_field(patched(&good, first, &[2]), 0, set); // the second set is used first
    bad_field(patched(&good, second, &[3]), 1, set); // no such set
    bad_field(patched(&good, second, &[255; 4]), 1, set);
    assert_eq!(refused(patched(&good, second, &[1])), FormatError::BadXattrs); // the second set is never used

    let sets = good.len() - 2 * 30; // length 4, count 2, and twice 1 + 4 + 6 + 1
    let (count, names) = (sets + 4, sets + 6);
    let bad = |at: usize, patch: &[u8]| assert_eq!(refused(patched(&good, at, patch)), FormatError::BadXattrs, "{at}");
    assert_eq!(&good[names + 5..names + 11], b"user.a");
    bad(good.len() - 2, b"b"); // both sets alike
    bad(names + 10, b"c"); // attributes out of order
    bad(names + 10, b"b"); // an attribute twice
    bad(names + 10, &[0]); // NUL in a name
    bad(count, &[0]);
    bad(count, &[1]);
    bad(count, &[3]);
    bad(names, &[0]);
    bad(names + 1, &[255; 4]);
    bad(sets, &[25]);
    assert!(matches!(refused(patched(&good, sets, &[255; 4])), FormatError::Truncated { .. }));
}

#[test]
fn link_tables() {
    const HEADER: usize = 28;
    const NLINK: usize = 28;
    let inode = LinkedInode { meta: meta(&[]), nlink: 2, content: Content::Fifo };
    let good = encode_links(&[Some(inode.clone()), None, Some(inode)]).unwrap();
    assert_eq!(LinkTable::decode(good.clone()).unwrap().len(), 3);
    let refused = |bytes: Vec<u8>| LinkTable::decode(bytes).expect_err("the table should be refused");
    let field = |at: usize, patch: &[u8], index, field| {
        assert_eq!(refused(patched(&good, at, patch)), FormatError::Field { index, field });
    };
    let first = HEADER + 3 * 4;
    assert_eq!(refused(patched(&good, 4, b"TREE")), FormatError::Magic { expected: "table of linked inodes" });
    let version = FormatError::Version { what: "table of linked inodes", found: 9, known: 1 };
    assert_eq!(refused(patched(&good, 8, &[9])), version);
    field(HEADER + 4, &[31], 1, "offset in the index");
    field(first + NLINK, &[0], 0, "nlink");
    field(first + NAME_LEN, &[1], 0, "name length");
    field(first + KIND, &[9], 0, "kind");
    field(first + SET, &[1], 0, "set of extended attributes");
    field(first + 32, &[6], 1, "name length"); // the free slot made a pipe, which runs into slot 2
    for length in 0..good.len() {
        assert!(matches!(refused(good[..length].to_vec()), FormatError::Truncated { .. }), "{length}");
    }
    assert_eq!(refused([&good[..], b"x"].concat()), FormatError::Trailing { extra: 1 });

    // Slot 2 made free, its bytes gone.
    let mut free_last = good[..first + 32 + 1].to_vec();
    free_last.push(0);
    free_last[20..24].copy_from_slice(&34u32.to_le_bytes());
    assert_eq!(refused(free_last), FormatError::Field { index: 2, field: "kind: the last slot is free" });
}

#[test]
fn no_directory_and_no_link_in_a_link_table() {
    let device = Content::Char(Device { major: 1, minor: 0 });
    let good = encode_links(&[Some(LinkedInode { meta: meta(&[]), nlink: 2, content: device })]).unwrap();
    let at = 28 + 4;
    // A link's number is as long as half a device; a directory is longer than either.
    let mut link = patched(&good, at + KIND, &[8]);
    link.truncate(link.len() - 4);
    link[20..24].copy_from_slice(&36u32.to_le_bytes());
    assert_eq!(LinkTable::decode(link).unwrap_err(), FormatError::Field { index: 0, field: "kind" });
    let mut dir = patched(&good, at + KIND, &[2]);
    dir.truncate(dir.len() - 8);
    dir.extend([0; 32 + 8 + 8 + 8 + 4]);
    dir[20..24].copy_from_slice(&92u32.to_le_bytes());
    assert_eq!(LinkTable::decode(dir).unwrap_err(), FormatError::Field { index: 0, field: "kind" });
}
