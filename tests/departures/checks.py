#!/usr/bin/env python3
"""The checks of tests/departures/run: what programs expect of a filesystem and layered ones are known to break.

    checks.py prepare DIR              makes the tree that becomes the base
    checks.py change DIR STATE         the checks, in the order of the file; STATE takes what the next phase compares with
    checks.py remounted DIR STATE      what has to hold after the filesystem was mounted again

Prints what `run_phase` in scripts/lib/checks.py prints.
"""

import fcntl
import mmap
import os
import stat
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../scripts/lib"))
from checks import Broken, CantTell, check, in_user_namespace, read, run_phase, same, write

SMALL, LARGE = 16 << 10, 4 << 20


def identity(path):
    at = os.lstat(path)
    return (at.st_dev, at.st_ino)


def prepare():
    for name in ("moved/below", "listed", "removed-dir"):
        os.makedirs(name)
    for name in ("moved/file", "moved/below/file", "identity", "locked", "linked", "removed", "removed-dir/file", "dated"):
        with open(name, "wb") as file:
            file.write(name.encode() * 10)
    for name, size in (("open-small", SMALL), ("open-large", LARGE), ("mapped", SMALL)):
        with open(name, "wb") as file:
            file.write(b"o" * size)
    for name in "abcdef":
        with open(f"listed/{name}", "w") as file:
            file.write(name)
    for group in ("copied", "fewer"):
        with open(f"{group}-1", "wb") as file:
            file.write(b"old")
        os.link(f"{group}-1", f"{group}-2")
        os.link(f"{group}-1", f"listed/{group}-3")
    # Any user may make this one: to the kernel it is overlayfs's whiteout.
    os.mknod("device", stat.S_IFCHR | 0o600, os.makedev(0, 0))


@check("rename(2) of a directory of the base", "change")
def rename_directory(_):
    before = identity("moved"), identity("moved/below/file")
    os.rename("moved", "moved-away")
    same("what is below", read("moved-away/below/file"), b"moved/below/file" * 10)
    same("identity", (identity("moved-away"), identity("moved-away/below/file")), before)


@check("a hard link is kept on copy-up", "change")
def link_kept(_):
    write("copied-1", b"new")
    for name in ("copied-2", "listed/copied-3"):
        same(f"content of {name}", read(name), b"new")
        same(f"identity of {name}", identity(name), identity("copied-1"))
        same(f"nlink of {name}", os.stat(name).st_nlink, 3)


@check("nlink after unlink of a hard link of the base", "change")
def fewer_links(_):
    os.unlink("fewer-2")
    same("nlink", (os.stat("fewer-1").st_nlink, os.stat("listed/fewer-3").st_nlink), (2, 2))
    fd = os.open("fewer-1", os.O_RDONLY)
    os.unlink("fewer-1")
    os.unlink("listed/fewer-3")
    found = os.fstat(fd).st_nlink
    os.close(fd)
    same("nlink of the open file", found, 0)


@check("link(2) to a file of the base: one inode", "change")
def link_to_base(_):
    before = identity("linked")
    os.link("linked", "linked-too")
    same("identity", (identity("linked"), identity("linked-too")), (before, before))
    same("nlink", os.stat("linked").st_nlink, 2)


@check("st_ino and st_dev stable across copy-up, chmod and rename", "change")
def stable_identity(state):
    before = identity("identity")
    fd = os.open("identity", os.O_RDONLY)
    write("identity", b"changed")
    same("after a write", identity("identity"), before)
    os.chmod("identity", 0o600)
    same("after chmod", identity("identity"), before)
    os.rename("identity", "identity-moved")
    same("after rename", identity("identity-moved"), before)
    held = os.fstat(fd)
    os.close(fd)
    same("by a descriptor from before", (held.st_dev, held.st_ino), before)
    state["ino"] = before[1]


@check("d_ino = st_ino, before and after a change", "change")
def directory_entries(_):
    def compare(when):
        for entry in os.scandir("listed"):
            same(f"{when}, d_ino of {entry.name}", entry.inode(), os.lstat(entry.path).st_ino)

    compare("before")
    write("listed/b", b"x")
    os.rename("listed/c", "listed/g")
    with open("listed/new", "w"):
        pass
    compare("after")


@check("st_dev is one in the whole filesystem", "change")
def one_device(_):
    found = set()
    for folder, folders, files in os.walk("."):
        found |= {os.lstat(os.path.join(folder, name)).st_dev for name in folders + files}
    same("number of st_dev", len(found), 1)


@check("character device 0:0, of the base and new", "change")
def device(_):
    os.mknod("device-new", stat.S_IFCHR | 0o600, os.makedev(0, 0))
    for name in ("device", "device-new"):
        at = os.lstat(name)
        same(name, (stat.S_ISCHR(at.st_mode), at.st_rdev), (True, 0))
        same(f"{name} is listed", name in os.listdir("."), True)


@check("names like `.wh.file` are ordinary", "change")
def whiteout_names(_):
    with open(".wh.linked", "w") as file:
        file.write("x")
    same("the file beside it", os.path.exists("linked"), True)
    same("listed", ".wh.linked" in os.listdir("."), True)
    os.unlink(".wh.linked")


@check("xattr of any trusted name", "change")
def trusted_xattr(_):
    if os.geteuid() != 0 or in_user_namespace():
        raise CantTell("needs root")
    os.setxattr("linked", "trusted.overlay.opaque", b"y")
    same("value", os.getxattr("linked", "trusted.overlay.opaque"), b"y")
    same("listed", "trusted.overlay.opaque" in os.listxattr("linked"), True)


def open_reader(name, size):
    fd = os.open(name, os.O_RDONLY)
    os.pread(fd, size, 0)
    write(name, b"N" * size)
    found = os.pread(fd, size, 0)
    os.close(fd)
    same("what the descriptor from before reads first", found[:1], b"N")


@check("a reader that is open sees a later write, 16 KiB", "change")
def open_small(_):
    open_reader("open-small", SMALL)


@check("a reader that is open sees a later write, 4 MiB", "change")
def open_large(_):
    open_reader("open-large", LARGE)


@check("a shared mapping sees a later write, 16 KiB", "change")
def mapped(_):
    fd = os.open("mapped", os.O_RDONLY)
    view = mmap.mmap(fd, SMALL, mmap.MAP_SHARED, mmap.PROT_READ)
    same("first", view[:1], b"o")
    write("mapped", b"N" * SMALL)
    found = view[:1]
    view.close()
    os.close(fd)
    same("what the mapping shows", found, b"N")


@check("a lock from before copy-up holds after it", "change")
def lock(_):
    holder = os.open("locked", os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    write("locked", b"x")
    other = os.open("locked", os.O_RDWR)
    try:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        raise Broken("a second exclusive lock was given")
    except BlockingIOError:
        pass
    finally:
        os.close(other)
        os.close(holder)


@check("reading moves st_atime", "change")
def access_time(_):
    os.utime("dated", ns=(10**18, 10**18))
    read("dated")
    if os.stat("dated").st_atime_ns == 10**18:
        raise Broken("it doesn't, though st_atime was older than a day")


@check("O_TMPFILE", "change")
def unnamed_file(_):
    fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600)
    os.write(fd, b"unnamed")
    open_files = os.open("/proc/self/fd", os.O_RDONLY)
    os.link(str(fd), "named", src_dir_fd=open_files, follow_symlinks=True)
    os.close(open_files)
    os.close(fd)
    same("content", read("named"), b"unnamed")


@check("a directory removed and made again is empty", "change")
def made_again(_):
    os.unlink("removed-dir/file")
    os.rmdir("removed-dir")
    os.mkdir("removed-dir")
    same("listing", os.listdir("removed-dir"), [])
    os.unlink("removed")


@check("what was deleted stays deleted after a remount", "remounted")
def still_deleted(_):
    same("the file", os.path.lexists("removed"), False)
    same("listed", "removed" in os.listdir("."), False)
    same("the directory's listing", os.listdir("removed-dir"), [])
    same("fewer-2", os.path.lexists("fewer-2"), False)


@check("what was renamed stays so after a remount", "remounted")
def still_renamed(_):
    same("the old name", os.path.lexists("moved"), False)
    same("what is below", read("moved-away/below/file"), b"moved/below/file" * 10)


@check("hard links are one inode after a remount", "remounted")
def still_linked(_):
    same("identity", identity("copied-2"), identity("copied-1"))
    same("content", read("copied-2"), b"new")
    same("nlink", os.stat("copied-1").st_nlink, 3)


@check("st_ino is the same after a remount", "remounted")
def still_identical(state):
    if "ino" not in state:
        raise Broken("it changed before the remount")
    same("st_ino", os.lstat("identity-moved").st_ino, state["ino"])


def main(phase, directory, state_file=None):
    os.chdir(directory)
    if phase == "prepare":
        prepare()
    else:
        run_phase(phase, state_file)


if __name__ == "__main__":
    main(*sys.argv[1:])
