#!/usr/bin/env python3
"""The checks of tests/unprivileged/run, made as the user: a mount, what is seen in it, what may be changed, a snapshot, the end.

    checks.py PHASE STATE      phases: mount, work, end; in a folder of the user's own, with $CAIRNFS and $CAIRNFS_STORE

An ordinary user owns what it imports, but an archive has owners of its own. In a user namespace that maps root alone, the user is root, 0 is its
number, and every other number is that of nobody.
"""

import errno
import io
import json
import os
import stat
import subprocess
import sys
import tarfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../scripts/lib"))
from checks import Broken, check, fails_with, in_user_namespace, read, run_phase, same, write

FOREIGN = 1234
OVERFLOW = 65534
ME, GROUP = os.geteuid(), os.getegid()
IN_NAMESPACE = in_user_namespace()
MOUNT = "mnt"


def cairnfs(*args):
    done = subprocess.run([os.environ["CAIRNFS"], *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise Broken(f"`cairnfs {' '.join(args)}`: status {done.returncode}: {' '.join(done.stderr.split())[:300]}")
    return done.stdout


def shown(owner):
    """How a number of the archive is seen: in the namespace all but 0 are nobody's."""
    return owner if owner == 0 or not IN_NAMESPACE else OVERFLOW


def archive(path):
    """What a root filesystem has: several owners, setuid, files that are for their owner alone."""
    members = [
        ("", tarfile.DIRTYPE, 0o755, ME),
        ("mine", tarfile.REGTYPE, 0o640, ME),
        ("mine-too", tarfile.REGTYPE, 0o644, ME),
        ("suid", tarfile.REGTYPE, 0o4755, 0),
        ("readable", tarfile.REGTYPE, 0o644, FOREIGN),
        ("secret", tarfile.REGTYPE, 0o600, FOREIGN),
        ("closed", tarfile.DIRTYPE, 0o700, FOREIGN),
        ("open", tarfile.DIRTYPE, 0o1777, FOREIGN),
        ("open/theirs", tarfile.REGTYPE, 0o666, FOREIGN),
        ("fifo", tarfile.FIFOTYPE, 0o622, FOREIGN),
        ("null", tarfile.CHRTYPE, 0o666, 0),
        ("work", tarfile.DIRTYPE, 0o755, ME),
    ]
    with tarfile.open(path, "w") as tar:
        for name, kind, mode, owner in members:
            member = tarfile.TarInfo("./" + name)
            member.type, member.mode, member.uid, member.gid, member.mtime = kind, mode, owner, owner, 10**9
            if kind == tarfile.CHRTYPE:
                member.devmajor, member.devminor = 1, 3
            content = name.encode() * 100 if kind == tarfile.REGTYPE else b""
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return members


def at(name):
    return os.path.join(MOUNT, name)


def mount_line():
    real = os.path.realpath(MOUNT)
    found = [line.split() for line in open("/proc/self/mountinfo") if line.split()[4] == real]
    return found[-1] if found else None


@check("store, import and mount", "mount")
def mount(_):
    cairnfs("init")
    archive("base.tar")
    cairnfs("import", "base.tar", "base")
    os.makedirs(MOUNT, exist_ok=True)
    cairnfs("mount", "base", MOUNT, "--layer", "user")


@check("the mount is the user's, nosuid and nodev; root's of a namespace has neither by name", "mount")
def mount_options(_):
    fields = mount_line()
    if fields is None:
        raise Broken("nothing is mounted")
    end = fields.index("-")
    same("type", fields[end + 1], "fuse.cairnfs")
    options = fields[5].split(",")
    # The kernel sees to it that a namespace's mount gives no rights outside, whatever its options say.
    same("nosuid, nodev", ("nosuid" in options, "nodev" in options), (not IN_NAMESPACE, not IN_NAMESPACE))
    superblock = fields[end + 3].split(",")
    same("default_permissions", "default_permissions" in superblock, True)
    same("allow_other", "allow_other" in superblock, IN_NAMESPACE)


@check("owners, modes and times are the archive's", "work")
def owners(_):
    for name, kind, mode, owner in archive("again.tar"):
        found = os.lstat(at(name))
        same(f"mode of {name or '/'}", oct(stat.S_IMODE(found.st_mode)), oct(mode))
        same(f"owner of {name or '/'}", (found.st_uid, found.st_gid), (shown(owner), shown(owner)) if owner != ME else (ME, ME))
        if name not in ("", "work"):
            same(f"mtime of {name}", found.st_mtime, 1e9)
        if kind == tarfile.CHRTYPE:
            same(f"device of {name}", found.st_rdev, os.makedev(1, 3))


@check("the kernel enforces them", "work")
def permissions(_):
    same("content of readable", read(at("readable")), b"readable" * 100)
    # In its namespace the user is root, but not over files of owners that aren't mapped.
    fails_with(errno.EACCES, "reading another's secret", read, at("secret"))
    fails_with(errno.EACCES, "listing another's directory", os.listdir, at("closed"))
    fails_with(errno.EACCES, "writing another's file", write, at("readable"), b"x")
    # EOVERFLOW is what the kernel says where the owner has no number in the namespace.
    not_owner = errno.EOVERFLOW if IN_NAMESPACE else errno.EPERM
    fails_with(not_owner, "chmod of another's file", os.chmod, at("readable"), 0o666)
    fails_with(not_owner, "removing another's file in a sticky directory", os.unlink, at("open/theirs"))
    if not IN_NAMESPACE:
        write(at("open/mine"), b"x", os.O_CREAT)
        os.unlink(at("open/mine"))


@check("another's file that all may write is written and stays theirs; in a namespace nobody may", "work")
def write_theirs(_):
    if IN_NAMESPACE:
        # Nobody may write what belongs to somebody who has no number here, file or directory: the kernel's rule.
        fails_with(errno.EACCES, "writing", write, at("open/theirs"), b"x")
        fails_with(errno.EACCES, "creating beside it", write, at("open/mine"), b"x", os.O_CREAT)
        return
    write(at("open/theirs"), b"changed")
    found = os.stat(at("open/theirs"))
    same("owner", (found.st_uid, found.st_gid), (shown(FOREIGN), shown(FOREIGN)))
    same("content", read(at("open/theirs"))[:7], b"changed")


@check("new files are the user's; links, renames, modes, truncation, removal", "work")
def own_files(_):
    folder = at("work/folder")
    os.mkdir(folder)
    file = f"{folder}/file"
    content = os.urandom(3 << 20)
    write(file, content, os.O_CREAT | os.O_EXCL)
    found = os.stat(file)
    same("owner", (found.st_uid, found.st_gid), (ME, GROUP))
    same("content", read(file) == content, True)
    os.link(file, at("work/link"))
    os.symlink("link", at("work/symlink"))
    os.mkfifo(at("work/fifo"))
    os.chmod(file, 0o4710)
    same("mode by the other link", oct(os.stat(at("work/symlink")).st_mode & 0o7777), oct(0o4710))
    os.truncate(file, 12345)
    os.rename(folder, at("work/renamed"))
    same("content", read(at("work/link")) == content[:12345], True)
    os.unlink(at("work/link"))
    same("nlink", os.stat(at("work/renamed/file")).st_nlink, 1)
    os.setxattr(at("work/renamed/file"), "user.name", b"value")
    same("xattr", os.getxattr(at("work/renamed/file"), "user.name"), b"value")
    os.unlink(at("mine-too"))


@check("truncation takes setuid away", "work")
def suid_after_truncation(_):
    file = at("work/set")
    write(file, b"content", os.O_CREAT)
    os.chmod(file, 0o4710)
    os.truncate(file, 3)
    mode = os.stat(file).st_mode & 0o7777
    same("mode", oct(mode), oct(0o710))


@check("what takes privilege is refused", "work")
def refused(_):
    # chown to an owner that the namespace doesn't map is EINVAL, before anyone asks who wants it.
    fails_with(errno.EINVAL if IN_NAMESPACE else errno.EPERM, "chown to another", os.chown, at("mine"), FOREIGN, FOREIGN)
    fails_with(errno.EPERM, "mknod of a device", os.mknod, at("work/device"), stat.S_IFCHR | 0o666, os.makedev(1, 3))
    fails_with(errno.EACCES, "opening a device on a nodev mount", read, at("null"))
    fails_with(errno.EPERM, "a trusted xattr", os.setxattr, at("mine"), "trusted.name", b"x")


@check("`.ctl` answers the mount's owner", "work")
def control(_):
    same("stats has lines", len(read(at(".ctl/stats")).splitlines()) > 3, True)
    write(at(".ctl/cmd"), b"sync\n")
    same("diff names a change", b"work/renamed" in read(at(".ctl/diff")), True)


@check("a snapshot of the live mount", "work")
def snapshot(state):
    cairnfs("snapshot", MOUNT, "taken")
    os.makedirs("mnt2", exist_ok=True)
    cairnfs("mount", "taken", "mnt2")
    try:
        same("listing", sorted(os.listdir("mnt2/work")), sorted(os.listdir(at("work"))))
        same("content", read("mnt2/work/renamed/file") == read(at("work/renamed/file")), True)
        same("what was removed", os.path.exists("mnt2/mine-too"), False)
        for name in ("", "mine", "suid", "open/theirs", "work/renamed/file"):
            was, now = os.lstat(at(name)), os.lstat(os.path.join("mnt2", name))
            same(f"owner, mode, mtime of {name or '/'}", (now.st_uid, now.st_mode, now.st_mtime_ns), (was.st_uid, was.st_mode, was.st_mtime_ns))
        fails_with(errno.EROFS, "writing to it", write, "mnt2/mine", b"x")
    finally:
        cairnfs("umount", "mnt2")


@check("unmount, and all is there when it is mounted again", "end")
def again(_):
    before = sorted(os.listdir(at("work"))), read(at("work/renamed/file")), os.lstat(at("open/theirs")).st_ino
    cairnfs("umount", MOUNT)
    same("mount", mount_line(), None)
    cairnfs("mount", "base", MOUNT, "--layer", "user")
    same("tree", (sorted(os.listdir(at("work"))), read(at("work/renamed/file")), os.lstat(at("open/theirs")).st_ino), before)


@check("a killed daemon loses nothing that had returned", "end")
def killed(_):
    write(at("work/last"), b"returned", os.O_CREAT)
    os.kill(json.loads(cairnfs("--json", "mounts"))["mounts"][0]["pid"], 9)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.stat(at("work"))
        except OSError as error:
            # A request that was under way is told that the connection was aborted.
            if error.errno != errno.ECONNABORTED:
                same("errno of a dead mount", errno.errorcode[error.errno], "ENOTCONN")
                break
        time.sleep(0.01)
    else:
        raise Broken("the mount still answers")
    cairnfs("umount", MOUNT)
    cairnfs("mount", "base", MOUNT, "--layer", "user")
    same("content", read(at("work/last")), b"returned")


@check("unmount", "end")
def unmount(_):
    cairnfs("umount", MOUNT)
    same("mount", mount_line(), None)
    same("mounts that are known", "mnt" in cairnfs("mounts"), False)


if __name__ == "__main__":
    run_phase(*sys.argv[1:])
