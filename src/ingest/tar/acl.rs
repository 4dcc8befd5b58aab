//! POSIX ACLs as archives hold them (text) and as the kernel does (the value of an extended attribute).
//!
//! ```text
//! attribute: version u32 = 2, then per entry: tag u16, permissions u16, id u32 (0xffffffff: none); little-endian
//! text:      user::rw-,user:1000:r--,group::r--,mask::r--,other::---
//! ```

use super::Problem;
use crate::ingest::ShownPath;

/// Which of a file's two ACLs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::ingest) enum AclKind {
    Access,
    Default,
}

impl AclKind {
    pub(in crate::ingest) const fn xattr(self) -> &'static [u8] {
        match self {
            Self::Access => b"system.posix_acl_access",
            Self::Default => b"system.posix_acl_default",
        }
    }
}

const VERSION: [u8; 4] = 2_u32.to_le_bytes();
const NO_ID: u32 = u32::MAX;
const ENTRY: usize = 8;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// The attribute's value for an ACL in text form. Owners must be numbers, or followed by one as star writes them.
pub(super) fn from_text(text: &[u8]) -> Result<Vec<u8>, Problem> {
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    let mut entries = Vec::new();
    for line in text.split(|&byte| byte == b',' || byte == b'\n') {
        let line = line.split(|&byte| byte == b'#').next().unwrap_or_default().trim_ascii();
        if !line.is_empty() {
            entries.push(entry(line)?);
        }
    }
    entries.sort_by_key(|&(tag, ..)| tag);
    let mut value = VERSION.to_vec();
    for (tag, permissions, id) in entries {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&permissions.to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    Ok(value)
}

fn entry(line: &[u8]) -> Result<(u16, u16, u32), Problem> {
    let bad = || Problem::Acl(ShownPath::new(line).to_string());
    let fields: Vec<&[u8]> = line.split(|&byte| byte == b':').collect();
    let (kind, who, permissions, number) = match fields[..] {
        [kind, permissions] => (kind, &b""[..], permissions, None),
        [kind, who, permissions] => (kind, who, permissions, None),
        [kind, who, permissions, number] => (kind, who, permissions, Some(number)),
        _ => return Err(bad()),
    };
    let (tag, named, what) = match kind {
        b"user" | b"u" => (USER_OBJ, USER, "user"),
        b"group" | b"g" => (GROUP_OBJ, GROUP, "group"),
        b"mask" | b"m" => (MASK, MASK, "mask"),
        b"other" | b"o" => (OTHER, OTHER, "other"),
        _ => return Err(bad()),
    };
    let mode = permissions.iter().try_fold(0, |mode, letter| match letter {
        b'r' => Some(mode | 4),
        b'w' => Some(mode | 2),
        b'x' => Some(mode | 1),
        b'-' => Some(mode),
        _ => None,
    });
    let mode = mode.ok_or_else(bad)?;
    if who.is_empty() {
        return Ok((tag, mode, NO_ID));
    }
    let id = super::pax::decimal(number.unwrap_or(who)).and_then(|id| u32::try_from(id).ok());
    match id.or((who == b"root").then_some(0)) {
        Some(id) if tag != named && id != NO_ID => Ok((named, mode, id)),
        Some(_) => Err(bad()),
        None => Err(Problem::AclName(what, ShownPath::new(who).to_string())),
    }
}

/// The text form of an attribute's value; `None` for one that the text couldn't give back byte by byte.
pub(in crate::ingest) fn to_text(value: &[u8]) -> Option<String> {
    let entries = value.strip_prefix(&VERSION)?;
    let mut lines = Vec::new();
    for entry in entries.chunks(ENTRY) {
        let &[tag_low, tag_high, mode, _, ref id @ ..] = entry else { return None };
        let id = u32::from_le_bytes(id.try_into().ok()?);
        let (kind, who) = match u16::from_le_bytes([tag_low, tag_high]) {
            USER_OBJ => ("user", String::new()),
            USER => ("user", id.to_string()),
            GROUP_OBJ => ("group", String::new()),
            GROUP => ("group", id.to_string()),
            MASK => ("mask", String::new()),
            OTHER => ("other", String::new()),
            _ => return None,
        };
        let letter = |bit, letter| if mode & bit == 0 { '-' } else { letter };
        lines.push(format!("{kind}:{who}:{}{}{}", letter(4, 'r'), letter(2, 'w'), letter(1, 'x')));
    }
    let text = lines.join(",");
    (from_text(text.as_bytes()).ok()? == value).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_attribute_are_the_same_acl() {
        let text = "user::rw-,user:1000:r--,user:7:-w-,group::r-x,group:5:---,mask::rwx,other::---";
        let value = from_text(text.as_bytes()).unwrap();
        assert_eq!(value.len(), 4 + 7 * ENTRY);
        assert_eq!(to_text(&value).as_deref(), Some(text));
        assert_eq!(from_text(b"other::---\nuser::rw-  # me\n").unwrap(), from_text(b"u::rw,o:-").unwrap());
    }

    #[test]
    fn owners_by_name_need_a_number() {
        assert_eq!(from_text(b"user:joe:rwx:1000").unwrap(), from_text(b"user:1000:rwx").unwrap());
        assert_eq!(from_text(b"group:root:r--").unwrap(), from_text(b"group:0:r--").unwrap());
        assert!(matches!(from_text(b"user:joe:rwx"), Err(Problem::AclName("user", name)) if name == "joe"));
        assert!(matches!(from_text(b"user:joe:rwz"), Err(Problem::Acl(_))));
        assert!(matches!(from_text(b"mask:5:rwx"), Err(Problem::Acl(_))));
    }

    #[test]
    fn odd_attributes_have_no_text() {
        let value = from_text(b"user::rw-,other::---").unwrap();
        assert_eq!(to_text(&value[..10]), None);
        let mut odd = value.clone();
        odd[7] = 1;
        assert_eq!(to_text(&odd), None);
        assert_eq!(to_text(b""), None);
    }
}
