//! Inode numbers, devices and link counts: the same through all that happens to a file.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod common;

use cairnfs::snapshot::{self, Request};
use common::mount::TestMount;
use common::spec::Spec;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirEntryExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

const LARGE: usize = 2 << 20;

/// Drops the kernel's names and inodes that nobody uses.
fn drop_caches() {
    fs::write("/proc/sys/vm/drop_caches", "2").unwrap();
}

fn take(mount: &TestMount, name: &str) {
    let request = Request { name: name.parse().unwrap(), labels: Default::default(), created_at: None, parent: None };
    snapshot::take(&mount.fs, &request, &mut |_| Ok(())).unwrap();
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn tree() -> Spec {
    Spec::new()
        .file("a/small", "small")
        .file("a/large", vec![1; LARGE])
        .file("a/linked", "linked")
        .link("b/linked", "a/linked")
        .link("b/third", "a/linked")
        .dir("a/dir/sub")
        .symlink("a/link", "small")
        .fifo("a/fifo")
        .char_device("a/device", 1, 3)
}

/// (device, number) of every path.
fn identities(root: &Path) -> BTreeMap<PathBuf, (u64, u64)> {
    fn visit(root: &Path, dir: &Path, all: &mut BTreeMap<PathBuf, (u64, u64)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.path().symlink_metadata().unwrap();
            assert_eq!(entry.ino(), metadata.ino(), "{}: the listing's number", entry.path().display());
            all.insert(entry.path().strip_prefix(root).unwrap().to_owned(), (metadata.dev(), metadata.ino()));
            if metadata.is_dir() {
                visit(root, &entry.path(), all);
            }
        }
    }
    let mut all = BTreeMap::new();
    visit(root, root, &mut all);
    all
}

type Step<'a> = &'a dyn Fn(&TestMount);

#[test]
fn numbers_last_over_every_change() {
    let mut mount = TestMount::writable(&tree());
    fs::write(mount.at("a/new"), "new").unwrap();
    let first = identities(mount.root());
    let numbers: std::collections::BTreeSet<u64> = first.values().map(|(_, ino)| *ino).collect();
    assert_eq!(numbers.len(), first.len() - 2, "three names are one inode, all others differ");
    let steps: [(&str, Step<'_>); 10] = [
        ("copy-up", &|mount| {
            for path in ["a/small", "a/large", "b/third", "a/new"] {
                append(&mount.at(path), "+");
            }
        }),
        ("metadata", &|mount| {
            for path in ["a/small", "a/dir", "a/fifo", "a/linked"] {
                fs::set_permissions(mount.at(path), PermissionsExt::from_mode(0o700)).unwrap();
                std::os::unix::fs::lchown(mount.at(path), Some(1), Some(1)).unwrap();
            }
            xattr::set(mount.at("a/dir"), "user.x", b"x").unwrap();
        }),
        ("link", &|mount| {
            fs::hard_link(mount.at("a/device"), mount.at("b/device")).unwrap();
            fs::remove_file(mount.at("b/device")).unwrap();
        }),
        ("rename there and back", &|mount| {
            fs::rename(mount.at("a"), mount.at("moved")).unwrap();
            fs::rename(mount.at("moved/dir"), mount.at("b/dir")).unwrap();
            fs::rename(mount.at("b/dir"), mount.at("moved/dir")).unwrap();
            fs::rename(mount.at("moved"), mount.at("a")).unwrap();
        }),
        ("eviction", &|_| drop_caches()),
        ("snapshot", &|mount| take(mount, "one")),
        ("write after the snapshot", &|mount| append(&mount.at("a/small"), "+")),
        ("second snapshot", &|mount| take(mount, "two")),
        ("eviction after the snapshot", &|_| drop_caches()),
        ("truncation", &|mount| fs::write(mount.at("a/large"), "").unwrap()),
    ];
    for (name, step) in steps {
        step(&mount);
        assert_eq!(identities(mount.root()), first, "after {name}");
    }
    mount = mount.remount();
    let again = identities(mount.root());
    let numbers = |all: &BTreeMap<PathBuf, (u64, u64)>| -> Vec<u64> { all.values().map(|(_, ino)| *ino).collect() };
    assert_eq!(numbers(&again), numbers(&first), "after a remount");
    mount.stop();
}

#[test]
fn a_removed_number_is_not_given_out_again() {
    let mount = TestMount::writable(&tree());
    let mut seen: std::collections::HashSet<u64> = identities(mount.root()).values().map(|(_, ino)| *ino).collect();
    fs::remove_file(mount.at("a/small")).unwrap();
    drop_caches();
    for round in 0..50 {
        fs::write(mount.at("a/small"), "x").unwrap();
        assert!(seen.insert(fs::metadata(mount.at("a/small")).unwrap().ino()), "round {round}");
        fs::remove_file(mount.at("a/small")).unwrap();
    }
    let mount = mount.remount();
    fs::write(mount.at("a/small"), "x").unwrap();
    assert!(seen.insert(fs::metadata(mount.at("a/small")).unwrap().ino()));
    mount.stop();
}

#[test]
fn all_names_of_the_base_are_one_inode_before_and_after_a_change() {
    let names = ["a/linked", "b/linked", "b/third"];
    for changed in names {
        let mount = TestMount::writable(&tree());
        let look = |what: &str, names: &[&str], content: &str| {
            let first = fs::metadata(mount.at(names[0])).unwrap();
            for name in names {
                let metadata = fs::metadata(mount.at(name)).unwrap();
                assert_eq!(
                    (metadata.ino(), metadata.nlink(), metadata.mode(), metadata.mtime_nsec()),
                    (first.ino(), names.len() as u64, first.mode(), first.mtime_nsec()),
                    "{what}: {name}"
                );
                assert_eq!(fs::read_to_string(mount.at(name)).unwrap(), content, "{what}: {name}");
                assert_eq!(
                    xattr::get(mount.at(name), "user.x").unwrap(),
                    xattr::get(mount.at(names[0]), "user.x").unwrap()
                );
            }
        };
        look("clean", &names, "linked");
        fs::set_permissions(mount.at(changed), PermissionsExt::from_mode(0o600)).unwrap();
        look("chmod", &names, "linked");
        xattr::set(mount.at(changed), "user.x", b"x").unwrap();
        look("xattr", &names, "linked");
        append(&mount.at(changed), "+");
        look("written", &names, "linked+");
        drop_caches();
        look("evicted", &names, "linked+");
        take(&mount, "snap");
        look("after a snapshot", &names, "linked+");
        append(&mount.at(changed), "+");
        look("written again", &names, "linked++");
        let rest: Vec<&str> = names.into_iter().filter(|name| *name != changed).collect();
        fs::remove_file(mount.at(changed)).unwrap();
        look("one name removed", &rest, "linked++");
        fs::rename(mount.at(rest[0]), mount.at(rest[1])).unwrap();
        look("renamed onto itself", &rest, "linked++");
        fs::remove_file(mount.at(rest[0])).unwrap();
        look("the last name", &rest[1..], "linked++");
        mount.stop();
    }
}

#[test]
fn link_counts_are_right_at_all_times() {
    let mount = TestMount::writable(&tree());
    let nlink = |path: &str| fs::symlink_metadata(mount.at(path)).unwrap().nlink();
    for (path, of_dir) in [("a/small", "a"), ("a/large", "a"), ("a/link", "a"), ("a/fifo", "a"), ("a/linked", "a")] {
        let start = nlink(path);
        let dir_links = nlink(of_dir);
        for more in 1..=3 {
            fs::hard_link(mount.at(path), mount.at(&format!("b/l{more}"))).unwrap();
            assert_eq!(nlink(path), start + more, "{path}");
            assert_eq!(nlink(&format!("b/l{more}")), start + more);
        }
        // Straight after a removal, before anybody has asked: link(2) looks at what the kernel holds.
        fs::remove_file(mount.at("b/l1")).unwrap();
        fs::hard_link(mount.at(path), mount.at("b/l1")).unwrap();
        fs::remove_file(mount.at("b/l1")).unwrap();
        assert_eq!(nlink(path), start + 2);
        fs::remove_file(mount.at("b/l2")).unwrap();
        fs::remove_file(mount.at("b/l3")).unwrap();
        fs::hard_link(mount.at(path), mount.at("b/l3")).unwrap();
        fs::remove_file(mount.at("b/l3")).unwrap();
        assert_eq!(nlink(path), start);
        assert_eq!(nlink(of_dir), dir_links);
    }
    let open = File::open(mount.at("a/small")).unwrap();
    fs::write(mount.at("over"), "").unwrap();
    fs::rename(mount.at("over"), mount.at("a/small")).unwrap();
    assert_eq!(open.metadata().unwrap().nlink(), 0, "replaced");
    assert_eq!(nlink("a"), 3);
    fs::create_dir(mount.at("a/more")).unwrap();
    assert_eq!((nlink("a"), nlink("a/more")), (4, 2));
    fs::rename(mount.at("a/more"), mount.at("b/more")).unwrap();
    assert_eq!((nlink("a"), nlink("b")), (3, 3));
    fs::create_dir(mount.at("other")).unwrap();
    fs::rename(mount.at("other"), mount.at("b/more")).unwrap();
    assert_eq!((nlink("a"), nlink("b"), nlink("")), (3, 3, 4));
    rustix::fs::renameat_with(
        rustix::fs::CWD,
        mount.at("a/dir"),
        rustix::fs::CWD,
        mount.at("b/linked"),
        rustix::fs::RenameFlags::EXCHANGE,
    )
    .unwrap();
    assert_eq!((nlink("a"), nlink("b"), nlink("b/linked")), (2, 4, 3));
    fs::remove_dir(mount.at("b/linked/sub")).unwrap();
    assert_eq!(nlink("b/linked"), 2);
    drop(open);
    mount.stop();
}

#[test]
fn a_name_removed_while_others_look_leaves_the_right_count() {
    let mount = TestMount::writable(&tree());
    let (stay, go) = (mount.at("a/linked"), mount.at("b/go"));
    for round in 0..300 {
        fs::hard_link(&stay, &go).unwrap();
        std::thread::scope(|scope| {
            let looker = scope.spawn(|| {
                for _ in 0..3 {
                    let nlink = fs::metadata(&stay).unwrap().nlink();
                    assert!(nlink == 3 || nlink == 4, "{nlink}");
                }
            });
            fs::remove_file(&go).unwrap();
            looker.join().unwrap();
        });
        assert_eq!(fs::metadata(&stay).unwrap().nlink(), 3, "round {round}");
    }
    // The same with an inode whose count falls to 1: what the kernel holds for it mustn't be 0.
    let single = mount.at("a/small");
    for round in 0..300 {
        fs::hard_link(&single, &go).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(fs::metadata(&single).unwrap().nlink() > 0));
            fs::remove_file(&go).unwrap();
        });
        fs::hard_link(&single, &go).unwrap_or_else(|error| panic!("round {round}: {error}"));
        fs::remove_file(&go).unwrap();
    }
    mount.stop();
}
