//! Pure bytes and types of the on-disk formats: no I/O happens here.
//!
//! ```text
//! digest    SHA-256 names               name     path components, ref and layer names
//! meta      mode, owner, time, xattrs   entry    what a directory entry or linked inode is
//! tree      one directory, binary       links    table of hard-linked inodes, binary
//! manifest  root filesystem, JSON       error    why bytes were refused
//! ino       inode numbers               view     trees and link tables as JSON, to be looked at
//! acl       access control lists as attributes hold them
//! file_cache  what an import remembers of the files that it read
//! inode, sets                           the bytes of inodes and of attribute sets, in trees and link tables alike
//! codec, text                           fields as bytes, bytes as text
//! ```
//!
//! Invariant: every value has exactly one encoding, and every decoder refuses all other bytes, so a digest names a meaning.
//! `docs/FORMAT.md` draws the bytes.

mod acl;
mod codec;
mod digest;
mod entry;
mod error;
mod file_cache;
mod ino;
mod inode;
mod links;
mod manifest;
mod meta;
mod name;
mod sets;
mod text;
mod tree;
mod view;

pub use acl::{AclEntry, AclKind, AclTag, BadAcl, decode_acl, encode_acl};
pub use digest::{BadDigest, Digest, Hasher};
pub use entry::{Content, Device, Entry, Kind, LinkNumber, Node, Subtree};
pub use error::FormatError;
pub use file_cache::{CachedFile, FileCache, FileCacheEncoder};
pub use ino::Ino;
pub use links::{LinkTable, LinkedInode, encode_links};
pub use manifest::{Manifest, ManifestKind, RootMeta, Totals};
pub use meta::{Meta, Mode, Timestamp, Xattr, Xattrs};
pub use name::{BadLabel, BadName, CONTROL_NAME, LayerName, NAME_MAX, Name, NameBuf, RefName};
pub(crate) use text::seconds;
pub use tree::{EncodedTree, Tree, encode_tree};
pub use view::{links_json, tree_json};
