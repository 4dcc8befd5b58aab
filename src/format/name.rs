//! Names, validated once and then carried as types.
//!
//! * [`Name`] / [`NameBuf`]: one path component: 1 to 255 raw bytes (`NAME_MAX`), no `/`, no NUL, not `.` or `..`.
//! * [`RefName`]: a mutable name of a manifest: components of `[A-Za-z0-9._-]` joined by `/`, none starting with `.`.
//! * [`LayerName`]: one such component.

use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;

/// The longest path component, in bytes (Linux `NAME_MAX`).
pub const NAME_MAX: usize = 255;

/// The reserved name of the control directory at the root of a mount.
pub const CONTROL_NAME: &[u8] = b".ctl";

/// Why bytes aren't a path component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// No bytes.
    #[error("a name is empty")]
    Empty,
    /// Over [`NAME_MAX`] bytes.
    #[error("a name is longer than 255 bytes")]
    TooLong,
    /// `.` or `..`.
    #[error("a name is `.` or `..`")]
    Dots,
    /// A `/` or NUL byte.
    #[error("a name holds a `/` or a NUL byte")]
    Forbidden,
}

/// A borrowed path component.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// Validates `bytes`.
    pub fn new(bytes: &'a [u8]) -> Result<Self, BadName> {
        match bytes {
            [] => Err(BadName::Empty),
            b"." | b".." => Err(BadName::Dots),
            _ if bytes.len() > NAME_MAX => Err(BadName::TooLong),
            _ if bytes.iter().any(|&b| b == b'/' || b == 0) => Err(BadName::Forbidden),
            _ => Ok(Self(bytes)),
        }
    }

    /// A component that a decoder checked before, for lookups that come by often.
    pub(super) fn checked_before(bytes: &'a [u8]) -> Self {
        debug_assert!(Name::new(bytes).is_ok());
        Self(bytes)
    }

    /// The raw bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The raw bytes as the standard library names files.
    pub fn as_os_str(self) -> &'a OsStr {
        OsStr::from_bytes(self.0)
    }

    /// An owned copy.
    pub fn to_buf(self) -> NameBuf {
        NameBuf(self.0.into())
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// An owned path component.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameBuf(Box<[u8]>);

impl NameBuf {
    /// Validates and takes `bytes`.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Result<Self, BadName> {
        let bytes = bytes.into();
        Name::new(&bytes)?;
        Ok(Self(bytes))
    }

    /// Borrows it.
    pub fn as_name(&self) -> Name<'_> {
        Name(&self.0)
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for NameBuf {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for NameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_name().fmt(f)
    }
}

impl fmt::Debug for NameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_name())
    }
}

/// Text that can't name a ref or layer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` can't be a {what} name: {why}; use letters, digits, `.`, `_`, `-`{slash}", slash = if *.what == "ref" { ", with `/` between parts" } else { "" })]
pub struct BadLabel {
    /// The text refused.
    pub text: String,
    /// `ref` or `layer`.
    pub what: &'static str,
    /// What is wrong with it.
    pub why: &'static str,
}

fn check_part(part: &str) -> Result<(), &'static str> {
    if part.is_empty() {
        return Err("a part is empty");
    }
    if part.starts_with('.') || part.starts_with('-') {
        return Err("a part starts with `.` or `-`");
    }
    if part.len() > 200 {
        return Err("a part is longer than 200 bytes");
    }
    if !part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        return Err("it holds another character");
    }
    Ok(())
}

macro_rules! label {
    ($(#[$doc:meta])* $type:ident, $what:literal, $parts:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = BadLabel;

            fn from_str(text: &str) -> Result<Self, BadLabel> {
                let parts: fn(&str) -> Vec<&str> = $parts;
                for part in parts(text) {
                    check_part(part).map_err(|why| BadLabel { text: text.to_owned(), what: $what, why })?;
                }
                if text.len() > 1024 {
                    return Err(BadLabel { text: text.to_owned(), what: $what, why: "it is longer than 1024 bytes" });
                }
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = BadLabel;

            fn try_from(text: String) -> Result<Self, BadLabel> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(label: $type) -> String {
                label.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

label!(
    /// A mutable name of a manifest, such as `debian` or `web/base`.
    RefName, "ref", |text| text.split('/').collect()
);
label!(
    /// The name of a writable layer, such as `build-17`.
    LayerName, "layer", |text| vec![text]
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_validated() {
        assert_eq!(Name::new(b""), Err(BadName::Empty));
        assert_eq!(Name::new(b".."), Err(BadName::Dots));
        assert_eq!(Name::new(b"a/b"), Err(BadName::Forbidden));
        assert_eq!(Name::new(b"a\0"), Err(BadName::Forbidden));
        assert_eq!(Name::new(&[b'x'; 256]), Err(BadName::TooLong));
        assert!(Name::new(&[b'x'; 255]).is_ok());
        assert!(Name::new(b"\xff\xfe").is_ok());
        assert!(Name::new(b"...").is_ok());
    }

    #[test]
    fn refs_and_layers_are_validated() {
        for good in ["debian", "web/base", "a.b_c-d/1"] {
            assert!(good.parse::<RefName>().is_ok(), "{good}");
        }
        for bad in ["", "/", "a//b", "../x", "a/..", ".hidden", "a b", "é", "-x"] {
            assert!(bad.parse::<RefName>().is_err(), "{bad}");
        }
        assert!("a/b".parse::<LayerName>().is_err());
        assert!("a-b".parse::<LayerName>().is_ok());
    }
}
