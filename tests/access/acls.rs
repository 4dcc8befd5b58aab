//! POSIX access control lists.

use crate::common::spec::Spec;
use crate::people::{NOBODY, as_nobody, as_user, with_umask};
use crate::places::{everywhere, mode, said};
use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";
const NO_ID: u32 = u32::MAX;
const USER_OBJ: u16 = 1;
const USER: u16 = 2;
const GROUP_OBJ: u16 = 4;
const GROUP: u16 = 8;
const MASK: u16 = 16;
const OTHER: u16 = 32;

/// A list as `linux/posix_acl_xattr.h` has it.
fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, perm, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(perm.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// As `getfacl` shows it, with the mode.
fn shown(path: &Path) -> String {
    let read = |name| {
        let value = xattr::get(path, name).unwrap()?;
        let entries = value[4..].chunks_exact(8).map(|entry| {
            let number = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
            let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
            format!("{}:{}:{:o}", number(0), if id == NO_ID { String::new() } else { id.to_string() }, number(2))
        });
        Some(entries.collect::<Vec<_>>().join(" "))
    };
    format!("{:o} access {:?} default {:?}", mode(path), read(ACCESS), read(DEFAULT))
}

fn full(user: u16, group: u16, mask: u16) -> Vec<u8> {
    list(&[
        (USER_OBJ, 6, NO_ID),
        (USER, user, NOBODY),
        (GROUP_OBJ, 4, NO_ID),
        (GROUP, group, 1234),
        (MASK, mask, NO_ID),
        (OTHER, 0, NO_ID),
    ])
}

#[test]
fn list_and_mode_follow_each_other() {
    let spec = Spec::new().file("file", "x").mode("file", 0o4755).dir("dir");
    everywhere(&spec, |dir| {
        let (file, sub) = (dir.join("file"), dir.join("dir"));
        let mut all = Vec::new();
        for path in [&file, &sub] {
            xattr::set(path, ACCESS, &full(7, 5, 6)).unwrap();
            all.push(shown(path));
            for bits in [0o640, 0o6777, 0o000, 0o751] {
                fs::set_permissions(path, Permissions::from_mode(bits)).unwrap();
                all.push(shown(path));
            }
            // Says no more than the mode, so it isn't kept.
            xattr::set(path, ACCESS, &list(&[(USER_OBJ, 6, NO_ID), (GROUP_OBJ, 2, NO_ID), (OTHER, 1, NO_ID)])).unwrap();
            all.push(shown(path));
            xattr::set(path, ACCESS, &full(1, 1, 1)).unwrap();
            xattr::remove(path, ACCESS).unwrap();
            all.push(shown(path));
            all.push(said(xattr::remove(path, ACCESS)));
            all.push(said(xattr::set(path, ACCESS, &list(&[]))));
            all.push(shown(path));
        }
        all
    });
}

#[test]
fn lists_are_obeyed() {
    let spec = ["user", "group", "masked"].iter().fold(Spec::new(), |spec, name| spec.file(name, name.as_bytes()));
    let all = everywhere(&spec, |dir| {
        xattr::set(dir.join("user"), ACCESS, &full(4, 0, 7)).unwrap();
        xattr::set(dir.join("group"), ACCESS, &full(0, 6, 7)).unwrap();
        xattr::set(dir.join("masked"), ACCESS, &full(7, 7, 0)).unwrap();
        let look = || {
            ["user", "group", "masked"].map(|name| {
                let appended = OpenOptions::new().append(true).open(dir.join(name)).map(drop);
                (said(fs::read_to_string(dir.join(name))), said(appended))
            })
        };
        (as_nobody(look), as_user(1000, 1000, &[1234], look), as_user(1000, 1000, &[], look))
    });
    let granted = |text: &str| format!("{text:?}");
    assert_eq!(all.0[0], (granted("user"), "EACCES".into()));
    assert_eq!(all.0[1].0, "EACCES", "the user's entry counts before the group's");
    assert_eq!(all.1[1], (granted("group"), "()".into()));
    assert_eq!(all.1[2].0, "EACCES");
}

#[test]
fn what_is_new_inherits_the_default_list() {
    let spec = Spec::new().dir("plain").dir("full").dir("minimal").dir("setgid").mode("setgid", 0o2775);
    everywhere(&spec, |dir| {
        let minimal = list(&[(USER_OBJ, 7, NO_ID), (GROUP_OBJ, 5, NO_ID), (OTHER, 0, NO_ID)]);
        xattr::set(dir.join("full"), DEFAULT, &full(7, 7, 7)).unwrap();
        xattr::set(dir.join("minimal"), DEFAULT, &minimal).unwrap();
        xattr::set(dir.join("setgid"), DEFAULT, &full(7, 5, 5)).unwrap();
        let mut all = Vec::new();
        for parent in ["plain", "full", "minimal", "setgid"] {
            for (mask, bits) in [(0o022, 0o666), (0o077, 0o777), (0, 0o640), (0o777, 0o2755)] {
                let at = |name: &str| dir.join(parent).join(format!("{name}-{bits:o}"));
                with_umask(mask, || {
                    let made = OpenOptions::new().write(true).create_new(true).mode(bits).open(at("file"));
                    made.unwrap();
                    fs::DirBuilder::new().mode(bits).create(at("dir")).unwrap();
                    rustix::fs::mknodat(
                        rustix::fs::CWD,
                        at("fifo"),
                        rustix::fs::FileType::Fifo,
                        rustix::fs::Mode::from_raw_mode(bits),
                        0,
                    )
                    .unwrap();
                    std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
                    fs::create_dir(at("dir").join("deeper")).unwrap();
                    fs::write(at("dir").join("deeper/file"), "").unwrap();
                });
                for name in ["file", "dir", "fifo", "socket"] {
                    all.push(format!("{parent} {name} {}", shown(&at(name))));
                }
                all.push(shown(&at("dir").join("deeper")));
                all.push(shown(&at("dir").join("deeper/file")));
            }
            symlink("x", dir.join(parent).join("link")).unwrap();
            all.push(format!("{:o}", mode(&dir.join(parent).join("link"))));
        }
        all
    });
}

#[test]
fn lists_that_are_wrong_are_refused() {
    let spec = Spec::new().file("file", "").dir("dir").symlink("link", "file").fifo("fifo");
    everywhere(&spec, |dir| {
        let three = [(USER_OBJ, 6, NO_ID), (GROUP_OBJ, 4, NO_ID), (OTHER, 0, NO_ID)];
        let mut bad = vec![
            list(&three[..2]),
            list(&[three[0], (USER, 6, 1), three[1], three[2]]),
            list(&[three[0], (USER, 6, 1), (USER, 4, 1), three[1], (MASK, 7, NO_ID), three[2]]),
            list(&[three[0], (USER, 6, 9), (USER, 4, 1), three[1], (MASK, 7, NO_ID), three[2]]),
            list(&[three[1], three[0], three[2]]),
            list(&[three[0], three[0], three[1], three[2]]),
            list(&[three[0], three[1], (MASK, 7, NO_ID), three[2]]),
            list(&[(USER_OBJ, 9, NO_ID), three[1], three[2]]),
            list(&[(USER_OBJ, 6, NO_ID), three[1], (64, 1, NO_ID), three[2]]),
            list(&three)[..7].to_vec(),
            vec![],
            vec![2, 0],
        ];
        bad.push([&1u32.to_le_bytes()[..], &list(&three)[4..]].concat());
        let mut all = Vec::new();
        for name in ["file", "dir", "fifo"] {
            for list in &bad {
                all.push(said(xattr::set(dir.join(name), ACCESS, list)));
                all.push(said(xattr::set(dir.join(name), DEFAULT, list)));
            }
            all.push(said(xattr::set(dir.join(name), DEFAULT, &list(&three))));
            all.push(said(xattr::set(dir.join(name), DEFAULT, &list(&[]))));
            all.push(said(xattr::remove(dir.join(name), DEFAULT)));
            all.push(shown(&dir.join(name)));
        }
        all.push(said(xattr::set(dir.join("link"), ACCESS, &list(&three))));
        all.push(said(as_nobody(|| xattr::set(dir.join("file"), ACCESS, &list(&three)))));
        all.push(said(as_nobody(|| xattr::remove(dir.join("file"), ACCESS))));
        all
    });
}

#[test]
fn setting_a_list_takes_setgid_from_a_foreign_group() {
    let spec = Spec::new()
        .file("foreign", "")
        .mode("foreign", 0o2755)
        .owner("foreign", NOBODY, 7777)
        .file("own", "")
        .mode("own", 0o2755)
        .owner("own", NOBODY, 1234);
    let modes = everywhere(&spec, |dir| {
        as_user(NOBODY, NOBODY, &[1234], || {
            ["foreign", "own"].map(|name| {
                xattr::set(dir.join(name), ACCESS, &full(7, 7, 7)).unwrap();
                mode(&dir.join(name))
            })
        })
    });
    assert_eq!(modes, [0o670, 0o2670]);
}
