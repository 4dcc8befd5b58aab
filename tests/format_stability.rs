//! Version 1 of each format, pinned: the bytes under `fixtures/v1` and their digests never change. A change that fails here makes
//! stores unreadable or gives equal content two names: it needs a new version instead.

#![expect(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use cairnfs::format::*;
use std::path::Path;

const TREE: (&str, &str) = ("tree.bin", "f661484917cd4e3d0eec9ed737efc637c28d9d1354c00de9d237825d41fe2d07");
const LINKS: (&str, &str) = ("links.bin", "0c1494592591fd1c7964e73629d61bebad614ace3cef6732eb82612fde1b5df1");
const MANIFEST: (&str, &str) = ("manifest.json", "efec12b36c4f00dff28c720af8060337f4e0ea39d19554b706ea1df92708967f");
const EMPTY_TREE: &str = "d4ec92d763df97ed9fc777676a1e9344d20e89b06119299504c768c82092983d";

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The encoder writes the fixture's bytes, and they have the digest that they always had.
#[track_caller]
fn pinned((name, digest): (&str, &str), encoded: &[u8]) {
    assert_eq!(Digest::of(encoded).to_string(), digest, "{name} is encoded in another way");
    assert!(encoded == fixture(name), "{name} differs from the fixture");
}

fn xattrs(pairs: &[(&[u8], &[u8])]) -> Xattrs {
    Xattrs::new(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()).unwrap()
}

fn meta(mode: u32, uid: u32, gid: u32, (secs, nanos): (i64, u32), xattrs: &Xattrs) -> Meta {
    let mtime = Timestamp::new(secs, nanos).unwrap();
    Meta { mode: Mode::from_bits(mode), uid, gid, mtime, xattrs: xattrs.clone() }
}

/// Every kind, every field, negative and far times, names that aren't UTF-8, shared and lone attribute sets.
fn entries() -> Vec<(NameBuf, Entry)> {
    let none = Xattrs::default();
    let shared = xattrs(&[(b"security.capability", b"\x01\0\0\x02"), (b"user.shared", b"")]);
    let lone = xattrs(&[(b"user.\xff", b"lone")]);
    let leaf = |meta, content| Entry::Inode(meta, Node::Leaf(content));
    let file = |text: &[u8]| Content::File { digest: Digest::of(text), size: text.len() as u64 };
    let subtree = Subtree { tree: Digest::of(b"a tree"), entries: 1_234_567, bytes: 1 << 42, dirs: 1234, subdirs: 89 };
    let all: Vec<(&[u8], Entry)> = vec![
        (b" ", leaf(meta(0o4755, 0, 0, (1_700_000_000, 123_456_789), &shared), file(b"setuid"))),
        (b"...", leaf(meta(0, u32::MAX, u32::MAX, (-1, 999_999_999), &none), file(b""))),
        (b"block", leaf(meta(0o660, 0, 6, (0, 0), &lone), Content::Block(Device { major: 259, minor: 65_537 }))),
        (b"char", leaf(meta(0o666, 0, 0, (0, 1), &shared), Content::Char(Device { major: 1, minor: 3 }))),
        (b"dir", Entry::Inode(meta(0o1777, 1000, 100, (i64::MAX, 0), &none), Node::Dir(subtree))),
        (b"fifo", leaf(meta(0o600, 1, 2, (i64::MIN, 0), &none), Content::Fifo)),
        (b"linked", Entry::Linked(LinkNumber(0x0102_0304))),
        (b"socket", leaf(meta(0o2750, 3, 4, (5, 6), &none), Content::Socket)),
        (b"symlink", leaf(meta(0o777, 0, 0, (7, 8), &none), Content::Symlink(b"../to\xfe".as_slice().into()))),
        (b"\xc3\xa9", leaf(meta(0o644, 0, 0, (9, 10), &none), file("é".as_bytes()))),
        (b"\xff\xfe", leaf(meta(0o644, 0, 0, (11, 12), &none), file(b"not UTF-8"))),
    ];
    all.into_iter().map(|(name, entry)| (NameBuf::new(name).unwrap(), entry)).collect()
}

fn slots() -> Vec<Option<LinkedInode>> {
    let set = xattrs(&[(b"system.posix_acl_access", b"\x02\0\0\0")]);
    let digest = Digest::of(b"linked");
    let inode = |nlink, content| Some(LinkedInode { meta: meta(0o640, 7, 8, (-9, 10), &set), nlink, content });
    vec![
        inode(2, Content::File { digest, size: 6 }),
        None,
        inode(u32::MAX, Content::Symlink(b"target".as_slice().into())),
        inode(1, Content::Char(Device { major: 5, minor: 1 })),
        inode(3, Content::Block(Device { major: 8, minor: 0 })),
        inode(4, Content::Fifo),
        inode(5, Content::Socket),
    ]
}

fn manifest() -> Manifest {
    let set = xattrs(&[(b"user.a b%\xff", b"\0\x01"), (b"user.plain", b"")]);
    let subtree = Subtree { tree: Digest::of(b"root"), entries: 12, bytes: 345, dirs: 7, subdirs: 6 };
    Manifest {
        name: "web/base-1.0".parse().unwrap(),
        created_at: "2025-01-31T23:59:59.5Z".to_owned(),
        parent: Some(Digest::of(b"parent")),
        kind: ManifestKind::CloneBase,
        labels: [("project", "é \"quoted\"\n"), ("empty", "")].map(|(key, value)| (key.into(), value.into())).into(),
        root: RootMeta { subtree, meta: meta(0o755, 0, 1000, (-2, 3), &set) },
        links: Some(Digest::of(b"links")),
        totals: Totals { entries: 12, files: 5, bytes: 400 },
    }
}

#[test]
fn tree() {
    let encoded = encode_tree(&entries()).unwrap();
    pinned(TREE, &encoded.bytes);
    let decoded = Tree::decode(fixture(TREE.0)).unwrap();
    assert_eq!(decoded.iter().map(|(name, entry)| (name.to_buf(), entry)).collect::<Vec<_>>(), entries());
    assert_eq!(decoded.subtree(Digest::of(&encoded.bytes)), encoded.subtree);
}

#[test]
fn empty_tree() {
    assert_eq!(encode_tree(&[]).unwrap().subtree.tree.to_string(), EMPTY_TREE);
}

#[test]
fn links() {
    pinned(LINKS, &encode_links(&slots()).unwrap());
    let decoded = LinkTable::decode(fixture(LINKS.0)).unwrap();
    assert_eq!(decoded.iter().collect::<Vec<_>>(), slots());
}

#[test]
fn manifest_json() {
    pinned(MANIFEST, &manifest().encode());
    assert_eq!(Manifest::decode(&fixture(MANIFEST.0)).unwrap(), manifest());
}

/// The example in `docs/FORMAT.md`, byte for byte, is what the encoder writes for the directory that it describes.
#[test]
fn documented_example() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/FORMAT.md");
    let document = std::fs::read_to_string(document).unwrap();
    let (_, after) = document.split_once("```hexdump\n").expect("the document has an example");
    let (dump, _) = after.split_once("```").expect("the example ends");
    let documented: Vec<u8> = dump
        .lines()
        .flat_map(|line| line.split("  ").nth(1).unwrap_or_default().split_whitespace())
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();

    let set = xattrs(&[(b"user.k", b"v")]);
    let file = Content::File { digest: Digest::of(b"hello\n"), size: 6 };
    let file = Entry::Inode(meta(0o644, 1000, 1000, (1_700_000_000, 0), &set), Node::Leaf(file));
    let link = Entry::Inode(
        meta(0o777, 0, 0, (-1, 500_000_000), &Xattrs::default()),
        Node::Leaf(Content::Symlink(b"f".as_slice().into())),
    );
    let entries = [(NameBuf::new(*b"f").unwrap(), file), (NameBuf::new(*b"g").unwrap(), link)];
    assert_eq!(documented, encode_tree(&entries).unwrap().bytes);
}
