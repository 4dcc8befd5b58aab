//! Formats, by property: what is encoded comes back, and what a decoder accepts is what the encoder writes.

#![expect(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use cairnfs::format::*;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;

// ---- values ----

fn name() -> impl Strategy<Value = NameBuf> {
    let length = prop_oneof![8 => 1..12usize, 1 => 250..=255usize];
    let byte = prop_oneof![4 => b'a'..=b'e', 1 => any::<u8>()];
    length
        .prop_flat_map(move |length| vec(byte.clone(), length))
        .prop_filter_map("a name", |bytes| NameBuf::new(bytes).ok())
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    let secs = prop_oneof![any::<i64>(), -5..5i64, Just(i64::MIN), Just(i64::MAX)];
    let nanos = prop_oneof![0..1_000_000_000u32, Just(0), Just(999_999_999)];
    (secs, nanos).prop_map(|(secs, nanos)| Timestamp::new(secs, nanos).unwrap())
}

fn xattrs() -> impl Strategy<Value = Xattrs> {
    let byte = prop_oneof![b'a'..=b'd', 1..=255u8];
    let attribute = (vec(byte, 1..6), vec(any::<u8>(), 0..9));
    btree_map_of(attribute).prop_map(|all| {
        Xattrs::new(all.into_iter().map(|(name, value)| (name.into(), value.into())).collect()).unwrap()
    })
}

fn btree_map_of<K: Ord + std::fmt::Debug, V: std::fmt::Debug>(
    pair: impl Strategy<Value = (K, V)>,
) -> impl Strategy<Value = BTreeMap<K, V>> {
    vec(pair, 0..4).prop_map(|pairs| pairs.into_iter().collect())
}

/// Attribute sets for several inodes to share.
fn pool() -> impl Strategy<Value = Vec<Xattrs>> {
    vec(xattrs(), 1..4)
}

/// Metadata without attributes, and which set of a pool to give it.
fn meta() -> impl Strategy<Value = (Meta, Index)> {
    (any::<(u32, u32, u32, Index)>(), timestamp()).prop_map(|((mode, uid, gid, set), mtime)| {
        (Meta { mode: Mode::from_bits(mode), uid, gid, mtime, xattrs: Xattrs::default() }, set)
    })
}

fn content() -> impl Strategy<Value = Content> {
    let size = prop_oneof![4 => 0..100_000u64, 1 => 0..=(i64::MAX as u64 >> 6)];
    let target = prop_oneof![8 => vec(1..=255u8, 1..30), 1 => vec(1..=255u8, 4090..=4095)];
    let device = any::<(u32, u32)>().prop_map(|(major, minor)| Device { major, minor });
    prop_oneof![
        (digest(), size).prop_map(|(digest, size)| Content::File { digest, size }),
        target.prop_map(|target| Content::Symlink(target.into())),
        device.clone().prop_map(Content::Char),
        device.prop_map(Content::Block),
        Just(Content::Fifo),
        Just(Content::Socket),
    ]
}

fn subtree() -> impl Strategy<Value = Subtree> {
    let entries = prop_oneof![0..20u64, 0..(1u64 << 34)];
    (digest(), entries, 0..=(i64::MAX as u64 >> 6), any::<u32>()).prop_map(|(tree, entries, bytes, subdirs)| {
        let subdirs = subdirs.min(u32::try_from(entries / 2).unwrap_or(u32::MAX));
        let bytes = if entries == 0 { 0 } else { bytes };
        Subtree { tree, entries, bytes, dirs: u64::from(subdirs), subdirs }
    })
}

fn entry() -> impl Strategy<Value = (Entry, Index)> {
    let node = prop_oneof![3 => content().prop_map(Node::Leaf), 2 => subtree().prop_map(Node::Dir)];
    prop_oneof![
        5 => (meta(), node).prop_map(|((meta, set), node)| (Entry::Inode(meta, node), set)),
        1 => any::<(u32, Index)>().prop_map(|(number, set)| (Entry::Linked(LinkNumber(number)), set)),
    ]
}

fn entries() -> impl Strategy<Value = Vec<(NameBuf, Entry)>> {
    (pool(), btree_map(name(), entry(), 0..24)).prop_map(|(pool, entries)| {
        let shared = |(name, (mut entry, set)): (NameBuf, (Entry, Index))| {
            if let Entry::Inode(meta, _) = &mut entry {
                meta.xattrs = set.get(&pool).clone();
            }
            (name, entry)
        };
        entries.into_iter().map(shared).collect()
    })
}

fn slots() -> impl Strategy<Value = Vec<Option<LinkedInode>>> {
    let inode = (meta(), 1..=u32::MAX, content());
    let slot = prop_oneof![1 => Just(None), 3 => inode.prop_map(Some)];
    (pool(), vec(slot, 0..16)).prop_map(|(pool, slots)| {
        let shared = |((mut meta, set), nlink, content): ((Meta, Index), u32, Content)| {
            meta.xattrs = set.get(&pool).clone();
            LinkedInode { meta, nlink, content }
        };
        let mut slots: Vec<_> = slots.into_iter().map(|slot| slot.map(shared)).collect();
        while let Some(None) = slots.last() {
            slots.pop();
        }
        slots
    })
}

fn manifest() -> impl Strategy<Value = Manifest> {
    let kind = prop_oneof![Just(ManifestKind::Rootfs), Just(ManifestKind::Snapshot), Just(ManifestKind::CloneBase)];
    let created_at = prop_oneof![
        Just("2025-01-31T23:59:59Z".to_owned()),
        (1..=9999u16, 0..=999_999u32).prop_map(|(year, fraction)| format!("{year:04}-02-28T00:00:00.{fraction:06}Z")),
    ];
    let root = (subtree(), meta(), xattrs())
        .prop_map(|(subtree, (meta, _), xattrs)| RootMeta { subtree, meta: Meta { xattrs, ..meta } });
    let totals = any::<(u64, u64, u64)>().prop_map(|(entries, files, bytes)| Totals { entries, files, bytes });
    let labels = btree_map(any::<String>(), any::<String>(), 0..4);
    let parents = (proptest::option::of(digest()), proptest::option::of(digest()));
    ("[A-Za-z0-9_][A-Za-z0-9._-]{0,8}(/[a-z0-9]{1,4}){0,2}", created_at, parents, kind, labels, root, totals).prop_map(
        |(name, created_at, (parent, links), kind, labels, root, totals)| Manifest {
            name: name.parse().unwrap(),
            created_at,
            parent,
            kind,
            labels,
            root,
            links,
            totals,
        },
    )
}

// ---- one encoding for each value, one value for each encoding ----

fn owned(tree: &Tree) -> Vec<(NameBuf, Entry)> {
    tree.iter().map(|(name, entry)| (name.to_buf(), entry)).collect()
}

/// If `bytes` are a tree, they are what the encoder writes for it, and every lookup answers.
fn tree_is_refused_or_canonical(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Ok(tree) = Tree::decode(bytes.to_vec()) else { return Ok(()) };
    let encoded = encode_tree(&owned(&tree)).unwrap();
    prop_assert_eq!(&encoded.bytes, bytes);
    prop_assert_eq!(tree.subtree(encoded.subtree.tree), encoded.subtree);
    for index in 0..tree.len() {
        prop_assert_eq!(tree.find(tree.name(index)), Some(index));
        prop_assert_eq!(tree.find_offset(tree.offset(index)), Some(index));
    }
    Ok(())
}

fn links_are_refused_or_canonical(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Ok(table) = LinkTable::decode(bytes.to_vec()) else { return Ok(()) };
    let slots: Vec<_> = table.iter().collect();
    prop_assert_eq!(encode_links(&slots).unwrap(), bytes);
    Ok(())
}

fn manifest_is_refused_or_canonical(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Ok(manifest) = Manifest::decode(bytes) else { return Ok(()) };
    prop_assert_eq!(manifest.encode(), bytes);
    Ok(())
}

// ---- damage ----

#[derive(Debug, Clone)]
enum Damage {
    Set(Index, u8),
    Add(Index, u8),
    Cut(Index),
    Insert(Index, u8),
    Remove(Index),
    Copy(Index, Index, usize),
}

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let one = prop_oneof![
        any::<(Index, u8)>().prop_map(|(at, byte)| Damage::Set(at, byte)),
        (any::<Index>(), prop_oneof![Just(1u8), Just(255)]).prop_map(|(at, by)| Damage::Add(at, by)),
        any::<Index>().prop_map(Damage::Cut),
        any::<(Index, u8)>().prop_map(|(at, byte)| Damage::Insert(at, byte)),
        any::<Index>().prop_map(Damage::Remove),
        (any::<Index>(), any::<Index>(), 1..16usize).prop_map(|(from, to, length)| Damage::Copy(from, to, length)),
    ];
    vec(one, 1..4)
}

fn damaged(mut bytes: Vec<u8>, damage: &[Damage]) -> Vec<u8> {
    for one in damage.iter().cloned() {
        if bytes.is_empty() {
            break;
        }
        let at = |index: Index| index.index(bytes.len());
        match one {
            Damage::Set(index, byte) => {
                let at = at(index);
                bytes[at] = byte;
            }
            Damage::Add(index, by) => {
                let at = at(index);
                bytes[at] = bytes[at].wrapping_add(by);
            }
            Damage::Cut(index) => bytes.truncate(at(index)),
            Damage::Insert(index, byte) => bytes.insert(at(index), byte),
            Damage::Remove(index) => {
                bytes.remove(at(index));
            }
            Damage::Copy(from, to, length) => {
                let (from, to) = (at(from), at(to));
                let length = length.min(bytes.len() - from).min(bytes.len() - to);
                bytes.copy_within(from..from + length, to);
            }
        }
    }
    bytes
}

/// Noise, with and without the stamp that gets it past the first check.
fn noise(magic: &'static [u8; 8]) -> impl Strategy<Value = Vec<u8>> {
    let small = prop_oneof![3 => Just(0u8), 1 => 0..4u8, 1 => any::<u8>()];
    let stamped = vec(small, 0..300).prop_map(move |rest| [&magic[..], &[1, 0, 0, 0], &rest].concat());
    prop_oneof![vec(any::<u8>(), 0..300), stamped]
}

proptest! {
    #[test]
    fn trees_come_back(entries in entries()) {
        let encoded = encode_tree(&entries).unwrap();
        let tree = Tree::decode(encoded.bytes.clone()).unwrap();
        prop_assert_eq!(owned(&tree), entries);
        prop_assert_eq!(Digest::of(&encoded.bytes), encoded.subtree.tree);
        tree_is_refused_or_canonical(&encoded.bytes)?;
    }

    #[test]
    fn lookups_agree_with_a_walk(entries in entries(), other in name(), far in any::<u64>()) {
        let tree = Tree::decode(encode_tree(&entries).unwrap().bytes).unwrap();
        let names: Vec<_> = entries.iter().map(|(name, _)| name.clone()).collect();
        prop_assert_eq!(tree.find(other.as_name()), names.iter().position(|name| *name == other));
        let mut next = 1;
        for (index, (_, entry)) in entries.iter().enumerate() {
            let (first, kind, beneath) = match entry {
                Entry::Inode(_, Node::Dir(subtree)) => (next, Some(Kind::Dir), subtree.entries),
                Entry::Inode(_, node) => (next, Some(node.kind()), 0),
                Entry::Linked(_) => (next, None, 0),
            };
            prop_assert_eq!(tree.offset(index), first);
            prop_assert_eq!(tree.kind(index), kind);
            for offset in [first, first + beneath / 2, first + beneath] {
                prop_assert_eq!(tree.find_offset(offset), Some(index));
            }
            next = first + beneath + 1;
        }
        prop_assert_eq!(tree.find_offset(0), None);
        prop_assert_eq!(tree.find_offset(far.max(next)), None);
        prop_assert_eq!(tree.subtree(Digest::of(b"")).entries, next - 1);
    }

    #[test]
    fn link_tables_come_back(slots in slots()) {
        let bytes = encode_links(&slots).unwrap();
        let table = LinkTable::decode(bytes.clone()).unwrap();
        prop_assert_eq!(table.iter().collect::<Vec<_>>(), slots);
        links_are_refused_or_canonical(&bytes)?;
    }

    #[test]
    fn manifests_come_back(manifest in manifest()) {
        prop_assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
    }

    #[test]
    fn damaged_trees_are_refused_or_canonical(entries in entries(), damage in damage()) {
        tree_is_refused_or_canonical(&damaged(encode_tree(&entries).unwrap().bytes, &damage))?;
    }

    #[test]
    fn damaged_link_tables_are_refused_or_canonical(slots in slots(), damage in damage()) {
        links_are_refused_or_canonical(&damaged(encode_links(&slots).unwrap(), &damage))?;
    }

    #[test]
    fn damaged_manifests_are_refused_or_canonical(manifest in manifest(), damage in damage()) {
        manifest_is_refused_or_canonical(&damaged(manifest.encode(), &damage))?;
    }

    #[test]
    fn noise_is_refused_or_canonical(tree in noise(b"CRN-TREE"), links in noise(b"CRN-LINK")) {
        tree_is_refused_or_canonical(&tree)?;
        links_are_refused_or_canonical(&links)?;
        manifest_is_refused_or_canonical(&tree)?;
    }

    #[test]
    fn every_cut_is_refused(entries in entries(), slots in slots(), at in any::<Index>()) {
        let tree = encode_tree(&entries).unwrap().bytes;
        let links = encode_links(&slots).unwrap();
        prop_assert!(Tree::decode(tree[..at.index(tree.len())].to_vec()).is_err());
        prop_assert!(LinkTable::decode(links[..at.index(links.len())].to_vec()).is_err());
    }
}
