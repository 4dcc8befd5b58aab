//! Manifests: JSON objects that name a whole root filesystem.

use super::{Digest, FormatError, Meta, RefName, Subtree};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a manifest came from, and how it goes away.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ManifestKind {
    /// Imported.
    Rootfs,
    /// Made from a layer and named by a person; never deleted by itself.
    Snapshot,
    /// Made by cloning; deleted when nothing depends on it.
    CloneBase,
}

/// The root directory: its tree and its own metadata, which no parent's entry holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RootMeta {
    /// The root tree and its sums.
    pub subtree: Subtree,
    /// The root directory's metadata.
    pub meta: Meta,
}

/// Sums over a whole manifest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Entries, the root not counted.
    pub entries: u64,
    /// Inodes that aren't directories, a hard-linked one counted once.
    pub files: u64,
    /// Bytes of regular files, a hard-linked one counted once.
    pub bytes: u64,
}

/// A root filesystem: immutable, named by the SHA-256 of its JSON.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// The ref it was made for.
    pub name: RefName,
    /// When it was made, RFC 3339 in UTC.
    pub created_at: String,
    /// The manifest it was made from.
    pub parent: Option<Digest>,
    /// Its kind.
    pub kind: ManifestKind,
    /// Free labels, such as `project`.
    pub labels: BTreeMap<String, String>,
    /// The root directory.
    pub root: RootMeta,
    /// The table of linked inodes, when there are any.
    pub links: Option<Digest>,
    /// Sums.
    pub totals: Totals,
}

impl Manifest {
    /// The canonical JSON: the bytes that are stored and hashed.
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }

    /// Decodes strictly: unknown fields, and any spelling that [`Manifest::encode`] doesn't write, are refused.
    pub fn decode(_bytes: &[u8]) -> Result<Self, FormatError> {
        todo!()
    }
}
