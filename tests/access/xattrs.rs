//! Extended attributes: namespaces, limits, errors.

use crate::common::spec::Spec;
use crate::people::as_nobody;
use crate::places::{everywhere, said};
use rustix::fs::{
    XattrFlags, getxattr, lgetxattr, listxattr, llistxattr, lremovexattr, lsetxattr, removexattr, setxattr,
};
use std::ffi::OsStr;
use std::path::Path;

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = xattr::list(path).unwrap().map(|name| name.to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn attributes_are_made_replaced_and_removed() {
    everywhere(&Spec::new().file("file", "").dir("dir").file("has", "").xattr("has", "user.had", b"base"), |dir| {
        let mut all = Vec::new();
        for name in ["file", "dir", "has"] {
            let path = &dir.join(name);
            let set = |name: &str, value: &[u8], flags| said(setxattr(path, name, value, flags));
            let mut room = [0u8; 100];
            all.extend([
                set("user.a", b"one", XattrFlags::CREATE),
                set("user.a", b"two", XattrFlags::CREATE),
                set("user.b", b"two", XattrFlags::REPLACE),
                set("user.a", b"three", XattrFlags::REPLACE),
                set("user.empty", b"", XattrFlags::empty()),
                set("user.had", b"other", XattrFlags::CREATE),
                set("user.a", b"", XattrFlags::CREATE | XattrFlags::REPLACE),
                said(getxattr(path, "user.a", &mut room)),
                said(getxattr(path, "user.a", &mut room[..4])),
                said(getxattr(path, "user.a", &mut room[..0])),
                said(getxattr(path, "user.none", &mut room)),
                said(getxattr(path, "user.empty", &mut room)),
                said(listxattr(path, &mut room[..0])),
                said(listxattr(path, &mut room[..3])),
                format!("{:?}", names(path)),
                said(removexattr(path, "user.none")),
                said(removexattr(path, "user.a")),
                said(removexattr(path, "user.a")),
                format!("{:?} {:?}", names(path), xattr::get(path, "user.had").unwrap()),
            ]);
        }
        all
    });
}

#[test]
fn names_and_values_have_limits() {
    let spec = Spec::new().file("file", "");
    let said = everywhere(&spec, |dir| {
        let path = &dir.join("file");
        let long = |length: usize| format!("user.{}", "n".repeat(length - 5));
        let set = |name: &str, value: &[u8]| said(setxattr(path, name, value, XattrFlags::empty()));
        let mut room = [0u8; 10];
        [
            set(&long(255), b"x"),
            set(&long(256), b"x"),
            said(getxattr(path, long(256).as_str(), &mut room)),
            said(removexattr(path, long(256).as_str())),
            set("user.value", &[7; 65537]),
            set("user.", b"x"),
            set("user", b"x"),
            set("", b"x"),
            set("nothing", b"x"),
            set("other.name", b"x"),
            set("system.other", b"x"),
            said(getxattr(path, "other.name", &mut room)),
            said(getxattr(path, "system.other", &mut room)),
            said(removexattr(path, "other.name")),
        ]
    });
    assert_eq!(said[..5], ["()", "ERANGE", "ERANGE", "ERANGE", "E2BIG"]);
}

#[test]
fn values_of_64_kib_are_kept() {
    // On the host, how much fits is the filesystem's own limit: ext4 has one block for all attributes of a file.
    let spec = Spec::new().file("file", "");
    let mount = crate::common::mount::TestMount::writable(&spec);
    let (path, value) = (mount.at("file"), vec![7; 65536]);
    for name in ["user.a", "user.b", "trusted.c"] {
        setxattr(&path, name, &value, XattrFlags::empty()).unwrap();
    }
    let mount = mount.remount();
    assert_eq!(xattr::get(mount.at("file"), "user.b").unwrap().as_deref(), Some(&value[..]));
    let mut room = vec![0; 65535];
    assert_eq!(said(getxattr(mount.at("file"), "user.a", &mut room)), "ERANGE");
    mount.stop();
}

#[test]
fn the_list_of_names_has_a_limit_and_all_names_below_it_are_listed() {
    let mount = crate::common::mount::TestMount::writable(&Spec::new().file("file", ""));
    let path = mount.at("file");
    let count = 65536 / 256;
    let name = |at: usize| format!("user.{at:0250}");
    for at in 0..count {
        setxattr(&path, name(at).as_str(), b"", XattrFlags::empty()).unwrap();
    }
    assert_eq!(names(&path), (0..count).map(name).collect::<Vec<_>>());
    mount.stop();
}

#[test]
fn each_namespace_has_its_people() {
    let spec = Spec::new()
        .file("file", "")
        .mode("file", 0o666)
        .xattr("file", "trusted.hidden", b"t")
        .xattr("file", "user.seen", b"u")
        .xattr("file", "security.seen", b"s")
        .file("closed", "")
        .mode("closed", 0o600)
        .xattr("closed", "user.secret", b"x")
        .dir("sticky")
        .mode("sticky", 0o1777);
    everywhere(&spec, |dir| {
        let act = || {
            let mut all = Vec::new();
            for file in ["file", "closed", "sticky"] {
                let path = &dir.join(file);
                let mut room = [0u8; 100];
                all.push(format!("{:?}", names(path)));
                for name in ["trusted.hidden", "user.seen", "user.secret", "security.seen"] {
                    all.push(format!("{file} {name}"));
                    all.push(said(getxattr(path, name, &mut room)));
                    all.push(said(setxattr(path, name, b"new", XattrFlags::empty())));
                }
                all.push(said(removexattr(path, "trusted.hidden")));
                all.push(said(removexattr(path, "security.seen")));
                all.push(said(removexattr(path, "user.seen")));
            }
            all
        };
        (as_nobody(act), act())
    });
}

#[test]
fn only_files_and_directories_have_user_attributes() {
    let spec = Spec::new().file("file", "").symlink("link", "file").fifo("fifo").char_device("device", 1, 3);
    let all = everywhere(&spec, |dir| {
        let mut all = Vec::new();
        let mut room = [0u8; 100];
        for name in ["link", "fifo", "device"] {
            let path = &dir.join(name);
            for name in ["user.x", "trusted.x", "security.x"] {
                all.push(said(lsetxattr(path, name, b"value", XattrFlags::empty())));
                all.push(said(lgetxattr(path, name, &mut room)));
            }
            all.push(said(llistxattr(path, &mut room)));
            all.push(said(lremovexattr(path, "user.x")));
            all.push(said(lremovexattr(path, "trusted.x")));
        }
        // Through the link it is the file's.
        setxattr(dir.join("link"), "user.x", b"file's", XattrFlags::empty()).unwrap();
        all.push(format!("{:?}", xattr::get(dir.join("file"), "user.x").unwrap()));
        all
    });
    assert_eq!(all[0], "EPERM");
    assert_eq!(all[2], "()", "a link can have trusted attributes");
}

#[test]
fn attributes_of_the_base_last_over_changes() {
    let spec = Spec::new().file("file", "x").xattr("file", "user.kept", b"\0\xff any").link("other", "file");
    everywhere(&spec, |dir| {
        std::fs::write(dir.join("file"), "copied up").unwrap();
        std::fs::rename(dir.join("file"), dir.join("moved")).unwrap();
        let ctime = |path: &Path| {
            let metadata = std::os::unix::fs::MetadataExt::ctime_nsec(&path.metadata().unwrap());
            (std::os::unix::fs::MetadataExt::ctime(&path.metadata().unwrap()), metadata)
        };
        let before = ctime(&dir.join("other"));
        std::thread::sleep(std::time::Duration::from_millis(10));
        setxattr(dir.join("other"), "user.new", b"n", XattrFlags::empty()).unwrap();
        assert!(ctime(&dir.join("moved")) > before, "an attribute is a change");
        let value = xattr::get(dir.join("moved"), OsStr::new("user.kept")).unwrap();
        (value, names(&dir.join("moved")))
    });
}
