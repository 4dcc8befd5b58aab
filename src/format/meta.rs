//! What every inode has, whatever its type: permissions, owner, time, extended attributes.

use super::FormatError;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time: seconds since the epoch, negative before it, and 0 to 999,999,999 nanoseconds after that second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "RawTimestamp")]
pub struct Timestamp {
    secs: i64,
    nanos: u32,
}

/// What a serialised time may hold before it is checked.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTimestamp {
    secs: i64,
    nanos: u32,
}

impl TryFrom<RawTimestamp> for Timestamp {
    type Error = &'static str;

    fn try_from(raw: RawTimestamp) -> Result<Self, Self::Error> {
        Self::new(raw.secs, raw.nanos).ok_or("nanoseconds aren't below 1,000,000,000")
    }
}

impl Timestamp {
    /// A time from its parts; `None` when `nanos` isn't below 1,000,000,000.
    pub const fn new(secs: i64, nanos: u32) -> Option<Self> {
        if nanos < 1_000_000_000 { Some(Self { secs, nanos }) } else { None }
    }

    /// The clock's time.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Whole seconds since the epoch.
    pub const fn secs(self) -> i64 {
        self.secs
    }

    /// Nanoseconds within the second.
    pub const fn nanos(self) -> u32 {
        self.nanos
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self { secs: i64::try_from(after.as_secs()).unwrap_or(i64::MAX), nanos: after.subsec_nanos() },
            Err(before) => {
                let before = before.duration();
                let whole = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
                match before.subsec_nanos() {
                    0 => Self { secs: -whole, nanos: 0 },
                    nanos => Self { secs: (-whole).saturating_sub(1), nanos: 1_000_000_000 - nanos },
                }
            }
        }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        let whole = Duration::from_secs(time.secs.unsigned_abs());
        let base = if time.secs >= 0 { UNIX_EPOCH.checked_add(whole) } else { UNIX_EPOCH.checked_sub(whole) };
        base.and_then(|base| base.checked_add(Duration::from_nanos(time.nanos.into()))).unwrap_or(UNIX_EPOCH)
    }
}

/// Permission bits: `rwxrwxrwx`, setuid, setgid, sticky (`0o7777`); never the type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, PartialOrd, Ord)]
pub struct Mode(u16);

impl Mode {
    /// The permission bits of `st_mode`; others are dropped.
    pub const fn from_bits(st_mode: u32) -> Self {
        Self((st_mode & 0o7777) as u16)
    }

    /// The bits.
    pub const fn bits(self) -> u16 {
        self.0
    }
}

/// One extended attribute: full name with its namespace, and value.
pub type Xattr = (Box<[u8]>, Box<[u8]>);

/// Extended attributes, sorted by name, each name once. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, PartialOrd, Ord)]
pub struct Xattrs(Option<Arc<[Xattr]>>);

impl Xattrs {
    /// The longest value, in bytes (Linux `XATTR_SIZE_MAX`).
    pub const VALUE_MAX: usize = 65_536;
    /// The longest name, in bytes (Linux `XATTR_NAME_MAX`).
    pub const NAME_MAX: usize = 255;

    /// Sorts `attributes`; refuses empty or over-long names, NUL in names, over-long values and duplicates.
    pub fn new(mut attributes: Vec<Xattr>) -> Result<Self, FormatError> {
        attributes.sort();
        let named_twice = attributes.windows(2).any(|pair| pair[0].0 == pair[1].0);
        let bad = |(name, value): &Xattr| {
            name.is_empty() || name.len() > Self::NAME_MAX || name.contains(&0) || value.len() > Self::VALUE_MAX
        };
        if named_twice || attributes.iter().any(bad) {
            return Err(FormatError::BadXattrs);
        }
        Ok(if attributes.is_empty() { Self(None) } else { Self(Some(attributes.into())) })
    }

    /// All, sorted by name.
    pub fn as_slice(&self) -> &[Xattr] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The value of `name`.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let all = self.as_slice();
        all.binary_search_by(|(have, _)| (**have).cmp(name)).ok().map(|at| &*all[at].1)
    }

    /// Bytes of all names, each with its end, as listxattr(2) has them; and of all names and values.
    pub fn size(&self) -> (usize, usize) {
        self.as_slice()
            .iter()
            .fold((0, 0), |(names, all), (name, value)| (names + name.len() + 1, all + name.len() + 1 + value.len()))
    }

    /// A copy with `name` set to `value`.
    pub fn with(&self, name: &[u8], value: &[u8]) -> Result<Self, FormatError> {
        let mut all = self.without(name).as_slice().to_vec();
        all.push((name.into(), value.into()));
        Self::new(all)
    }

    /// A copy without `name`.
    pub fn without(&self, name: &[u8]) -> Self {
        let rest: Vec<Xattr> = self.as_slice().iter().filter(|(have, _)| **have != *name).cloned().collect();
        if rest.is_empty() { Self(None) } else { Self(Some(rest.into())) }
    }
}

/// Permissions, owner, modification time and extended attributes of an inode.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Meta {
    /// Permission bits.
    pub mode: Mode,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last modification of the content.
    pub mtime: Timestamp,
    /// Extended attributes, POSIX ACLs and capabilities included.
    pub xattrs: Xattrs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_standard_library() {
        for (secs, nanos) in [(0, 0), (1, 1), (-1, 0), (-1, 999_999_999), (4_102_444_800, 5), (-2_000_000_000, 123)] {
            let time = Timestamp::new(secs, nanos).unwrap();
            assert_eq!(Timestamp::from(SystemTime::from(time)), time);
        }
        assert_eq!(Timestamp::new(0, 1_000_000_000), None);
    }

    #[test]
    fn xattrs_are_sorted_and_unique() {
        let pair = |n: &str, v: &str| (n.as_bytes().into(), v.as_bytes().into());
        let set = Xattrs::new(vec![pair("user.b", "2"), pair("user.a", "1")]).unwrap();
        assert_eq!(set.get(b"user.a"), Some(&b"1"[..]));
        assert_eq!(set.as_slice()[0].0.as_ref(), b"user.a");
        assert!(Xattrs::new(vec![pair("user.a", ""), pair("user.a", "1")]).is_err());
        assert!(set.without(b"user.a").without(b"user.b").is_empty());
        assert_eq!(set.with(b"user.a", b"9").unwrap().get(b"user.a"), Some(&b"9"[..]));
    }
}
