//! PAX extended headers: records `LENGTH KEY=VALUE\n`, whose values may hold any byte, newlines included.

use super::Problem;
use super::acl;
use super::sparse::SparseRecords;
use crate::format::{AclKind, Timestamp, Xattrs};
use std::collections::BTreeMap;

/// What extended headers say of a member instead of its own header.
#[derive(Clone, Default, Debug)]
pub(super) struct Overrides {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<Timestamp>,
    pub(super) file_type: Option<Vec<u8>>,
    pub(super) sparse: SparseRecords,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// ACLs in text form, which count where the attribute itself isn't given.
    acls: Vec<(AclKind, Vec<u8>)>,
}

const SCHILY: &[u8] = b"SCHILY.xattr.";
const LIBARCHIVE: &[u8] = b"LIBARCHIVE.xattr.";
/// Keys that only a single member can have.
const SINGLE: [&[u8]; 4] = [b"path", b"linkpath", b"size", b"SCHILY.filetype"];

impl Overrides {
    /// Takes the records of a member's extended header; later ones win.
    pub(super) fn apply(&mut self, records: &[u8]) -> Result<(), Problem> {
        let mut rest = records;
        while !rest.is_empty() {
            let (key, value, after) = split(rest).ok_or(Problem::Records)?;
            self.set(key, value)?;
            rest = after;
        }
        Ok(())
    }

    /// Takes the records of a global header.
    pub(super) fn apply_global(&mut self, records: &[u8]) -> Result<(), Problem> {
        let mut rest = records;
        while !rest.is_empty() {
            let (key, _, after) = split(rest).ok_or(Problem::Records)?;
            if SINGLE.contains(&key) || key.starts_with(b"GNU.sparse.") {
                return Err(Problem::Global(shown(key)));
            }
            rest = after;
        }
        self.apply(records)
    }

    /// The attributes, ACLs included.
    pub(super) fn take_xattrs(&mut self) -> Result<Xattrs, Problem> {
        for (kind, text) in std::mem::take(&mut self.acls) {
            if !text.is_empty() && !self.xattrs.contains_key(kind.xattr()) {
                self.xattrs.insert(kind.xattr().to_vec(), acl::from_text(&text)?);
            }
        }
        let pairs = std::mem::take(&mut self.xattrs).into_iter();
        Xattrs::new(pairs.map(|(name, value)| (name.into(), value.into())).collect()).map_err(Problem::Format)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        let bad = || Problem::Record(shown(key));
        // an empty value takes back what came before
        let bytes = || Some(value.to_vec()).filter(|value| !value.is_empty());
        let count = || if value.is_empty() { Ok(None) } else { decimal(value).map(Some).ok_or_else(bad) };
        match key {
            b"path" => self.path = bytes(),
            b"linkpath" => self.link = bytes(),
            b"size" => self.size = count()?,
            b"uid" => self.uid = count()?,
            b"gid" => self.gid = count()?,
            b"mtime" if value.is_empty() => self.mtime = None,
            b"mtime" => self.mtime = Some(time(value).ok_or_else(bad)?),
            b"SCHILY.filetype" => self.file_type = bytes(),
            b"SCHILY.acl.access" => self.set_acl(AclKind::Access, value),
            b"SCHILY.acl.default" => self.set_acl(AclKind::Default, value),
            b"SCHILY.acl.ace" => return Err(Problem::Acl("NFSv4".to_owned())),
            b"RHT.security.selinux" => {
                self.xattrs.insert(b"security.selinux".to_vec(), [value, b"\0"].concat());
            }
            _ => return self.set_prefixed(key, value).ok_or_else(bad),
        }
        Ok(())
    }

    /// Keys that carry a name; others are comments to us.
    fn set_prefixed(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        if let Some(name) = key.strip_prefix(SCHILY) {
            self.xattrs.insert(unescape_key(name), value.to_vec());
        } else if let Some(name) = key.strip_prefix(LIBARCHIVE) {
            self.xattrs.entry(percent_decode(name)).or_insert(base64(value)?);
        } else if let Some(name) = key.strip_prefix(b"GNU.sparse.") {
            return self.sparse.set(name, value);
        }
        Some(())
    }

    fn set_acl(&mut self, kind: AclKind, text: &[u8]) {
        self.acls.retain(|(other, _)| *other != kind);
        self.acls.push((kind, text.to_vec()));
    }
}

fn shown(key: &[u8]) -> String {
    crate::ingest::ShownPath::new(key).to_string()
}

/// First record: key, value, and what comes after it.
fn split(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().take(20).position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(&records[..space])?).ok()?;
    let (record, after) = records.split_at_checked(length)?;
    let pair = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = pair.iter().position(|&byte| byte == b'=')?;
    Some((&pair[..equals], &pair[equals + 1..], after))
}

/// A decimal number without sign.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    let number = std::str::from_utf8(text).ok()?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse().ok()
}

/// Seconds with a fraction, which may be negative: `-1.25` is a quarter second before second -1.
fn time(text: &[u8]) -> Option<Timestamp> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let dot = text.iter().position(|&byte| byte == b'.').unwrap_or(text.len());
    let secs = i64::try_from(decimal(&text[..dot])?).ok()?;
    let fraction = text.get(dot + 1..).unwrap_or_default();
    if dot == 0 || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanos = (0..9).fold(0, |sum, at| sum * 10 + u32::from(fraction.get(at).map_or(0, |digit| digit - b'0')));
    match (negative, nanos) {
        (false, _) => Timestamp::new(secs, nanos),
        (true, 0) => Timestamp::new(-secs, 0),
        (true, _) => Timestamp::new(-secs - 1, 1_000_000_000 - nanos),
    }
}

/// GNU tar writes `%` and `=` of an attribute's name as `%25` and `%3D`.
fn unescape_key(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&first, after)) = rest.split_first() {
        let (byte, after) = match rest {
            [b'%', b'3', b'D', after @ ..] => (b'=', after),
            [b'%', b'2', b'5', after @ ..] => (b'%', after),
            _ => (first, after),
        };
        plain.push(byte);
        rest = after;
    }
    plain
}

fn percent_decode(name: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&first, after)) = rest.split_first() {
        let escaped = match rest {
            [b'%', high, low, after @ ..] => digit(*high).zip(digit(*low)).map(|(high, low)| (high << 4 | low, after)),
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((first, after));
        plain.push(byte);
        rest = after;
    }
    plain
}

/// Base 64, with or without padding.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text.trim_ascii();
    let digits = digits.strip_suffix(b"==").or(digits.strip_suffix(b"=")).unwrap_or(digits);
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for group in digits.chunks(4) {
        let mut bits = 0_u32;
        for at in 0..4 {
            bits = bits << 6 | u32::from(group.get(at).map_or(Some(0), |&byte| value(byte))?);
        }
        let [_, decoded @ ..] = bits.to_be_bytes();
        bytes.extend_from_slice(decoded.get(..group.len().checked_sub(1).filter(|&n| n > 0)?)?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_hold_newlines_and_equals_signs() {
        let record = |body: &str| {
            let length = (1..).find(|n: &usize| n.to_string().len() + 1 + body.len() + 1 == *n).unwrap();
            format!("{length} {body}\n").into_bytes()
        };
        let mut overrides = Overrides::default();
        overrides
            .apply(&[record("SCHILY.xattr.user.a=1\n2=3"), record("path=x"), record("mtime=-1.5")].concat())
            .unwrap();
        assert_eq!(overrides.path.as_deref(), Some(&b"x"[..]));
        assert_eq!(overrides.mtime, Timestamp::new(-2, 500_000_000));
        assert_eq!(overrides.take_xattrs().unwrap().get(b"user.a"), Some(&b"1\n2=3"[..]));
        assert!(matches!(overrides.apply_global(&record("path=y")), Err(Problem::Global(_))));
        for malformed in [&b"10 path=xy\n"[..], b"8 path=x\n", b"99 path=x\n", b"path=x\n", b"7 path\n", b"3 \n"] {
            assert!(matches!(overrides.apply(malformed), Err(Problem::Records)), "{malformed:?}");
        }
    }

    #[test]
    fn times_keep_nanoseconds() {
        assert_eq!(time(b"1700000000.123456789"), Timestamp::new(1_700_000_000, 123_456_789));
        assert_eq!(time(b"12.5"), Timestamp::new(12, 500_000_000));
        assert_eq!(time(b"-3"), Timestamp::new(-3, 0));
        assert_eq!(time(b"1.0000000009"), Timestamp::new(1, 0));
        for bad in [&b""[..], b".5", b"1.x", b"+1", b"1e3", b"99999999999999999999"] {
            assert_eq!(time(bad), None);
        }
    }

    #[test]
    fn encodings_of_names_and_values() {
        assert_eq!(base64(b"AQIDBA==").unwrap(), [1, 2, 3, 4]);
        assert_eq!(base64(b"AQID").unwrap(), [1, 2, 3]);
        assert_eq!(base64(b"AQIDBA").unwrap(), [1, 2, 3, 4]);
        assert_eq!(base64(b"A"), None);
        assert_eq!(base64(b"A*=="), None);
        assert_eq!(percent_decode(b"user.%41%zz%2"), b"user.A%zz%2");
        assert_eq!(unescape_key(b"user.%3D%25%41"), b"user.=%%41");
    }
}
