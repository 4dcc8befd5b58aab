//! POSIX ACLs as archives hold them: `user::rw-,user:1000:r--,group::r--,mask::r--,other::---`.

use super::Problem;
use crate::format::{AclEntry, AclTag, decode_acl, encode_acl};
use crate::ingest::ShownPath;

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
    entries.sort_by_key(|entry| entry.tag);
    Ok(encode_acl(&entries))
}

fn entry(line: &[u8]) -> Result<AclEntry, Problem> {
    let bad = || Problem::Acl(ShownPath::new(line).to_string());
    let fields: Vec<&[u8]> = line.split(|&byte| byte == b':').collect();
    let (kind, who, permissions, number) = match fields[..] {
        [kind, permissions] => (kind, &b""[..], permissions, None),
        [kind, who, permissions] => (kind, who, permissions, None),
        [kind, who, permissions, number] => (kind, who, permissions, Some(number)),
        _ => return Err(bad()),
    };
    let (tag, named, what) = match kind {
        b"user" | b"u" => (AclTag::UserObj, AclTag::User, "user"),
        b"group" | b"g" => (AclTag::GroupObj, AclTag::Group, "group"),
        b"mask" | b"m" => (AclTag::Mask, AclTag::Mask, "mask"),
        b"other" | b"o" => (AclTag::Other, AclTag::Other, "other"),
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
        return Ok(AclEntry { tag, perm: mode, id: AclEntry::NO_ID });
    }
    let id = super::pax::decimal(number.unwrap_or(who)).and_then(|id| u32::try_from(id).ok());
    match id.or((who == b"root").then_some(0)) {
        Some(id) if tag != named && id != AclEntry::NO_ID => Ok(AclEntry { tag: named, perm: mode, id }),
        Some(_) => Err(bad()),
        None => Err(Problem::AclName(what, ShownPath::new(who).to_string())),
    }
}

/// The text form of an attribute's value; `None` for one that the text couldn't give back byte by byte.
pub(in crate::ingest) fn to_text(value: &[u8]) -> Option<String> {
    let mut lines = Vec::new();
    for AclEntry { tag, perm, id } in decode_acl(value).ok()? {
        let (kind, who) = match tag {
            AclTag::UserObj => ("user", String::new()),
            AclTag::User => ("user", id.to_string()),
            AclTag::GroupObj => ("group", String::new()),
            AclTag::Group => ("group", id.to_string()),
            AclTag::Mask => ("mask", String::new()),
            AclTag::Other => ("other", String::new()),
        };
        let letter = |bit, letter| if perm & bit == 0 { '-' } else { letter };
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
        assert_eq!(value.len(), 4 + 7 * 8);
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
