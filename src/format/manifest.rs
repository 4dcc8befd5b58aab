//! Manifests: JSON objects that name a whole root filesystem.
//!
//! ```text
//! {"cairnfs": 1, "name", "created_at", "parent", "kind", "labels",
//!  "root": {"tree", "entries", "bytes", "dirs", "subdirs", "mode", "uid", "gid", "mtime", "xattrs"}, "links", "totals"}
//! ```
//! Invariant: fields come in this order, indented by two spaces, keys of maps sorted, one newline at the end. The decoder writes
//! what it read again and refuses any difference, which leaves one spelling for each manifest without a parser of our own.

use super::inode::check_subtree;
use super::text::{escape, hex, unescape, unhex};
use super::view::mode_text;
use super::{Digest, FormatError, Meta, Mode, RefName, Subtree, Timestamp, Xattr, Xattrs};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const WHAT: &str = "manifest";
const VERSION: u32 = 1;

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
#[serde(deny_unknown_fields)]
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
    /// The canonical JSON: the bytes that are stored and hashed. [`Manifest::check`] tells beforehand whether they can be decoded.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes =
            serde_json::to_vec_pretty(&Json::from(self)).expect("all keys are strings and no value can fail");
        bytes.push(b'\n');
        bytes
    }

    /// Decodes strictly: unknown fields, and any spelling that [`Manifest::encode`] doesn't write, are refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let not_json = |error: serde_json::Error| FormatError::Json(error.to_string());
        match serde_json::from_slice::<Stamp>(bytes).map_err(not_json)?.cairnfs {
            VERSION => {}
            found => return Err(FormatError::Version { what: WHAT, found, known: VERSION }),
        }
        let manifest = Self::try_from(serde_json::from_slice::<Json>(bytes).map_err(not_json)?)?;
        manifest.check()?;
        if manifest.encode() != bytes {
            return Err(FormatError::Json("valid JSON, but not in the one spelling that is written".to_owned()));
        }
        Ok(manifest)
    }

    /// Refuses values that the decoder would refuse.
    pub fn check(&self) -> Result<(), FormatError> {
        let bad = |field, why| Err(FormatError::Manifest { field, why });
        if !is_utc(&self.created_at) {
            return bad("created_at", "isn't a time like 2025-01-31T23:59:59Z");
        }
        if let Err(field) = check_subtree(&self.root.subtree) {
            return bad("root", field_out_of_range(field));
        }
        Ok(())
    }
}

fn field_out_of_range(field: &'static str) -> &'static str {
    match field {
        "subdirectories" => "has more subdirectories than entries",
        "bytes beneath" => "has more bytes than can be",
        _ => "has more entries than can be",
    }
}

/// Whether `text` is a moment in UTC as RFC 3339 writes it: `2025-01-31T23:59:59Z`, or with up to nine digits of a second.
fn is_utc(text: &str) -> bool {
    let Some((shape, fraction)) = text.strip_suffix('Z').and_then(|text| text.split_at_checked(19)) else {
        return false;
    };
    let as_drawn = |(drawn, byte): (u8, u8)| if drawn == b'0' { byte.is_ascii_digit() } else { byte == drawn };
    let fraction_fits = match fraction.as_bytes() {
        [] => true,
        [b'.', digits @ ..] => (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let leap_second = shape.ends_with(":60"); // which the calendar would fold into the second before
    b"0000-00-00T00:00:00".iter().copied().zip(shape.bytes()).all(as_drawn)
        && fraction_fits
        && !leap_second
        && text.parse::<jiff::Timestamp>().is_ok()
}

/// The version alone, read first, so that a later version is named as such and not as a wrong field.
#[derive(Deserialize)]
struct Stamp {
    cairnfs: u32,
}

/// The fields in the order in which they are written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Json {
    cairnfs: u32,
    name: RefName,
    created_at: String,
    parent: Option<Digest>,
    kind: ManifestKind,
    labels: BTreeMap<String, String>,
    root: RootJson,
    links: Option<Digest>,
    totals: Totals,
}

/// The root directory's fields in the order in which they are written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RootJson {
    tree: Digest,
    entries: u64,
    bytes: u64,
    dirs: u64,
    subdirs: u32,
    /// Four octal digits.
    mode: String,
    uid: u32,
    gid: u32,
    mtime: Timestamp,
    /// Escaped name to hexadecimal value.
    xattrs: BTreeMap<String, String>,
}

impl From<&Manifest> for Json {
    fn from(manifest: &Manifest) -> Self {
        let Manifest { name, created_at, parent, kind, labels, root, links, totals } = manifest;
        Self {
            cairnfs: VERSION,
            name: name.clone(),
            created_at: created_at.clone(),
            parent: *parent,
            kind: *kind,
            labels: labels.clone(),
            root: root.into(),
            links: *links,
            totals: *totals,
        }
    }
}

impl TryFrom<Json> for Manifest {
    type Error = FormatError;

    fn try_from(json: Json) -> Result<Self, FormatError> {
        let Json { cairnfs: _, name, created_at, parent, kind, labels, root, links, totals } = json;
        Ok(Self { name, created_at, parent, kind, labels, root: root.try_into()?, links, totals })
    }
}

impl From<&RootMeta> for RootJson {
    fn from(root: &RootMeta) -> Self {
        let Subtree { tree, entries, bytes, dirs, subdirs } = root.subtree;
        let Meta { mode, uid, gid, mtime, xattrs } = &root.meta;
        Self {
            tree,
            entries,
            bytes,
            dirs,
            subdirs,
            mode: mode_text(*mode),
            uid: *uid,
            gid: *gid,
            mtime: *mtime,
            xattrs: xattrs.as_slice().iter().map(|(name, value)| (escape(name), hex(value))).collect(),
        }
    }
}

impl TryFrom<RootJson> for RootMeta {
    type Error = FormatError;

    fn try_from(json: RootJson) -> Result<Self, FormatError> {
        let RootJson { tree, entries, bytes, dirs, subdirs, mode, uid, gid, mtime, xattrs } = json;
        let bad = |field, why| FormatError::Manifest { field, why };
        let bits = u32::from_str_radix(&mode, 8).map_err(|_| bad("root.mode", "isn't four octal digits"))?;
        let xattr = |(name, value): (String, String)| -> Option<Xattr> {
            Some((unescape(&name)?.into(), unhex(&value)?.into()))
        };
        let xattrs: Option<Vec<Xattr>> = xattrs.into_iter().map(xattr).collect();
        let xattrs = Xattrs::new(xattrs.ok_or(bad("root.xattrs", "isn't escaped names with hexadecimal values"))?)?;
        let meta = Meta { mode: Mode::from_bits(bits), uid, gid, mtime, xattrs };
        Ok(Self { subtree: Subtree { tree, entries, bytes, dirs, subdirs }, meta })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let xattrs = Xattrs::new(vec![(b"user.\xff%"[..].into(), b"\0v"[..].into())]).unwrap();
        let mtime = Timestamp::new(-5, 999_999_999).unwrap();
        let meta = Meta { mode: Mode::from_bits(0o1755), uid: 1, gid: u32::MAX, mtime, xattrs };
        Manifest {
            name: "web/base".parse().unwrap(),
            created_at: "2025-01-31T23:59:59.25Z".to_owned(),
            parent: Some(Digest::of(b"parent")),
            kind: ManifestKind::Snapshot,
            labels: [("project", "p\u{1F980}\n"), ("a", "")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            root: RootMeta {
                subtree: Subtree { tree: Digest::of(b"t"), entries: 3, bytes: 9, dirs: 1, subdirs: 1 },
                meta,
            },
            links: None,
            totals: Totals { entries: 3, files: 2, bytes: 9 },
        }
    }

    #[test]
    fn it_round_trips() {
        let bytes = manifest().encode();
        assert_eq!(Manifest::decode(&bytes).unwrap(), manifest());
        assert!(bytes.starts_with(b"{\n  \"cairnfs\": 1,\n"));
    }

    #[test]
    fn another_spelling_is_refused() {
        let text = String::from_utf8(manifest().encode()).unwrap();
        let changes = [
            ("\n", ""),
            ("\"links\": null,", "\"links\": null, \"more\": 1,"),
            ("\"entries\": 3", "\"entries\": 3.0"),
            ("\"entries\": 3", "\"entries\": -3"),
            ("\"1755\"", "\"01755\""),
            ("\"1755\"", "\"17550\""),
            ("\"1755\"", "\"+755\""),
            ("%ff", "%FF"),
            ("%25", "%"),
            ("\"project\"", "\"a\""),
            ("999999999", "1000000000"),
            ("  \"links\": null,\n", ""),
        ];
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            let changed = text.replacen(from, to, 1);
            assert!(Manifest::decode(changed.as_bytes()).is_err(), "{from} -> {to}");
        }
        assert!(Manifest::decode(format!("{text}\n").as_bytes()).is_err());
    }

    #[test]
    fn an_unknown_version_is_named_even_when_fields_differ() {
        let error = Manifest::decode(b"{\"cairnfs\": 7, \"new\": true}").unwrap_err();
        assert_eq!(error, FormatError::Version { what: WHAT, found: 7, known: 1 });
        assert!(matches!(Manifest::decode(b"{}"), Err(FormatError::Json(_))));
    }

    #[test]
    fn only_utc_times_pass() {
        for good in ["2025-01-31T23:59:59Z", "1969-12-31T00:00:00.000000001Z", "2024-02-29T00:00:00.50Z"] {
            assert!(is_utc(good), "{good}");
        }
        for bad in [
            "",
            "Z",
            "2025-01-31",
            "2025-01-31T23:59:59",
            "2025-01-31T23:59:59z",
            "2025-01-31t23:59:59Z",
            "2025-01-31T23:59:59+00:00",
            "2025-01-31 23:59:59Z",
            "2025-02-29T00:00:00Z",
            "2025-13-01T00:00:00Z",
            "2025-01-31T24:00:00Z",
            "2016-12-31T23:59:60Z",
            "2025-01-31T23:59:59.Z",
            "2025-01-31T23:59:59.1234567890Z",
            "２025-01-31T23:59:59Z",
        ] {
            assert!(!is_utc(bad), "{bad}");
        }
    }
}
