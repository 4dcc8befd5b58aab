"""A tree of everything that a root filesystem may hold and most don't: what the Debian tree leaves untried."""

import os
import socket
import subprocess


def make(top):
    """Makes it beneath `top`, which mustn't be there."""
    os.makedirs(top)
    here = os.getcwd()
    os.chdir(top)
    try:
        names()
        kinds()
        modes_and_owners()
        links()
        attributes()
        sizes()
        times()
    finally:
        os.chdir(here)


def write(path, content=b"x\n"):
    with open(path, "wb") as file:
        file.write(content)


def names():
    os.mkdir("names")
    for name in (b"not utf-8 \xff\xfe", b"new\nline", b" space ", b"back\\slash", b"-dash", b"tab\t", "ünï\u0308".encode(), b"a" * 255,
                 b"..dots", b".ctl", b"*", b"~"):
        write(b"names/" + name)
    deep = "names/" + "/".join(["d" * 60] * 40)
    os.makedirs(deep)
    write(deep + "/bottom")
    os.mkdir("empty")
    os.makedirs("many")
    for i in range(3000):
        write(f"many/{i:05}", b"%d" % (i % 7))


def kinds():
    os.mkdir("kinds")
    os.mkfifo("kinds/fifo")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind("kinds/socket")
    os.mknod("kinds/null", 0o020666, os.makedev(1, 3))
    os.mknod("kinds/big-numbers", 0o020600, os.makedev(300, 70000))
    os.mknod("kinds/whiteout-like", 0o020000, os.makedev(0, 0))
    os.mknod("kinds/disk", 0o060660, os.makedev(8, 1))
    os.symlink("../sizes/empty", "kinds/symlink")
    os.symlink("nowhere/\udcff", "kinds/dangling")
    os.symlink("/" + "t" * 4000, "kinds/long")


def modes_and_owners():
    os.mkdir("modes")
    for mode in (0o0000, 0o0111, 0o0444, 0o0644, 0o4755, 0o2755, 0o6711, 0o1777, 0o7777):
        write(f"modes/file-{mode:04o}")
        os.mkdir(f"modes/dir-{mode:04o}")
        for kind in "file", "dir":
            os.chmod(f"modes/{kind}-{mode:04o}", mode)
    for uid, gid in ((1000, 1000), (65534, 65534), (0, 4), (2**31, 7), (2**32 - 2, 2**32 - 2)):
        write(f"modes/own-{uid}-{gid}")
        os.chown(f"modes/own-{uid}-{gid}", uid, gid)
    os.symlink("x", "modes/symlink-owned")
    os.chown("modes/symlink-owned", 1000, 1001, follow_symlinks=False)


def links():
    os.makedirs("links/a/b")
    os.mkdir("links/c")
    write("links/a/one", b"linked\n")
    for name in "links/a/b/two", "links/c/three", "links/a/four":
        os.link("links/a/one", name)
    # The same bytes and metadata, but another inode.
    write("links/a/not-linked", b"linked\n")
    os.mkfifo("links/fifo")
    os.link("links/fifo", "links/c/fifo")
    os.symlink("target", "links/sym")
    os.link("links/sym", "links/c/sym", follow_symlinks=False)


def attributes():
    os.mkdir("xattrs")
    write("xattrs/user")
    os.setxattr("xattrs/user", "user.empty", b"")
    os.setxattr("xattrs/user", "user.binary", bytes(range(256)))
    os.setxattr("xattrs/user", "user.long", b"v" * 2000)
    os.mkdir("xattrs/dir")
    os.setxattr("xattrs/dir", "user.on-dir", b"yes")
    os.setxattr("xattrs/user", "trusted.secret", b"root only")
    write("xattrs/capable")
    subprocess.run(["setcap", "cap_net_raw,cap_net_admin+ep", "xattrs/capable"], check=True)
    write("xattrs/acl")
    subprocess.run(["setfacl", "-m", "u:1000:rw,g:4:r", "xattrs/acl"], check=True)
    os.mkdir("xattrs/acl-dir")
    subprocess.run(["setfacl", "-m", "u:1000:rwx,d:u:1000:rwx,d:o::---", "xattrs/acl-dir"], check=True)


def sizes():
    os.mkdir("sizes")
    write("sizes/empty", b"")
    for size in (1, 4095, 4096, 4097, 65536, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5_000_000):
        write(f"sizes/{size}", bytes((i * 31 + size) & 255 for i in range(4096)) * (size // 4096 + 1))
        os.truncate(f"sizes/{size}", size)
    with open("sizes/sparse", "wb") as file:
        file.seek(200 << 20)
        file.write(b"end")
    with open("sizes/holes", "wb") as file:
        for part in range(5):
            file.seek(part * (3 << 20))
            file.write(b"data" * 1000)
    with open("sizes/all-hole", "wb") as file:
        file.truncate(10 << 20)


def times():
    os.mkdir("times")
    for name, ns in (("epoch", 0), ("one-ns", 1), ("nanoseconds", 1_234_567_890_123_456_789), ("before-1970", -1_500_000_001),
                     ("year-2200", 7_258_118_400_000_000_001)):
        write(f"times/{name}")
        os.utime(f"times/{name}", ns=(ns, ns))
    os.symlink("x", "times/symlink")
    os.utime("times/symlink", ns=(5, 1_000_000_000_000_000_007), follow_symlinks=False)
    os.mkdir("times/dir")
    os.utime("times/dir", ns=(5, 999_999_999_999_999_999))
