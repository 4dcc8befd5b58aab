"""What is damaged, missing or in use: refused with a message that a person can act on, nothing written, nothing silently wrong."""

import contextlib
import errno
import glob
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile

from harness import Failed, require, shell

CONTENT = b"the content of one file\n"


def run(context):
    report = context.report
    report.section("Bad input", "Each line is what a person sees. Checked: the exit status, that what matters is named, that nothing panicked.")
    cases = (corrupt_root, corrupt_below, truncated_tree, missing_tree, corrupt_manifest, missing_blob, corrupt_gc, unknown_version,
             damaged_stamp, no_store, truncated_layer, emptied_layer, unwritable_store, mountpoint_missing, mountpoint_file,
             mountpoint_busy, second_mount, removed_in_use, unknown_ref, bad_command, truncated_archive, escaping_archive, missing_source)
    for case in cases:
        report.check(case.__doc__.rstrip("."), one, context, case)


def one(context, case):
    """Gives the case a store of its own with a small tree in it, as ref `base`."""
    cairn = context.fresh_store("bad")
    source = context.path("bad-source")
    shutil.rmtree(context.path("bad-out"), ignore_errors=True)
    shutil.rmtree(source, ignore_errors=True)
    os.makedirs(f"{source}/dir/below")
    os.makedirs(f"{source}/fine")
    for name, content in (("dir/file", CONTENT), ("dir/below/deep", b"deep\n"), ("fine/other", b"other\n"), ("top", b"top\n")):
        with open(f"{source}/{name}", "wb") as file:
            file.write(content)
    cairn.run("import", source, "base")
    try:
        return "messages\n" + "\n".join(case(context, cairn))
    finally:
        shell("umount", "-l", context.path("mnt"), ok=False)
        shutil.rmtree(cairn.store, ignore_errors=True)


def refused(cairn, *args, names=(), code=None):
    """Runs it, wants it to fail, and returns what was shown, for the report."""
    done = cairn.run(*args, ok=False, timeout=60)
    said = done.stderr.strip()
    shown = f"$ cairnfs {' '.join(args)}\n{said}\n(status {done.returncode})".replace(cairn.store, "STORE")
    require(done.returncode != 0, f"it succeeded:\n{shown}\n{done.stdout}")
    require(code is None or done.returncode == code, f"status {code} was wanted:\n{shown}")
    require(done.returncode < 100, f"it was killed or panicked:\n{shown}")
    require(said and "panicked" not in said, f"no message for a person:\n{shown}")
    for name in names:
        require(name in said, f"the message doesn't name {name}:\n{shown}")
    return shown


def damage(path, change):
    """Replaces an object's file: objects are read-only, so that nobody does this by accident."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    data = change(data)
    os.unlink(path)
    with open(path, "wb") as file:
        file.write(data)


def flip(data):
    data[len(data) // 2] ^= 0x55
    return data


def half(data):
    return data[: len(data) // 2]


def root_tree(cairn):
    return cairn.manifest("base")["root"]["tree"]


def tree_with(cairn, name):
    """The digest of the tree object that has an entry of this name."""
    for path in glob.glob(f"{cairn.store}/objects/??/*"):
        with open(path, "rb") as file:
            data = file.read()
        if data.startswith(b"CRN-TREE") and name in data:
            return path.replace("/", "")[-64:]
    raise Failed(f"no tree with {name}")


def reading(path, want=errno.EIO):
    """Reads a file or lists a directory, wants it to fail, and returns what was shown."""
    try:
        if os.path.isdir(path):
            os.listdir(path)
        else:
            with open(path, "rb") as file:
                file.read()
    except OSError as error:
        require(error.errno == want, f"{path}: {error}")
        return f"reading {os.path.basename(path)} in the mount: {error.strerror}"
    raise Failed(f"{path} could be read")


@contextlib.contextmanager
def mounted(context, cairn, *options):
    with cairn.mounted("base", context.path("mnt"), *options) as mnt:
        yield mnt


def log_of(cairn):
    """What the daemon logged, from the files that it leaves in the store."""
    lines = []
    for path in glob.glob(f"{cairn.store}/run/*log*"):
        with open(path, errors="replace") as file:
            lines += [line.rstrip()[:300] for line in file if "ERROR" in line or "WARN" in line]
    return [f"log: {line}" for line in lines[-2:]]


def corrupt_root(context, cairn):
    """Corrupt root tree."""
    digest = root_tree(cairn)
    damage(cairn.object_path(digest), flip)
    os.makedirs(context.path("mnt"), exist_ok=True)
    yield refused(cairn, "mount", "base", context.path("mnt"), names=(digest[:12],), code=32)
    yield refused(cairn, "ls", "base", names=(digest[:12],), code=5)


def corrupt_below(context, cairn):
    """Corrupt tree further down: the rest stays readable."""
    digest = tree_with(cairn, b"below")
    damage(cairn.object_path(digest), flip)
    with mounted(context, cairn) as mnt:
        yield reading(f"{mnt}/dir")
        with open(f"{mnt}/fine/other") as file:
            require(file.read() == "other\n", "another directory's file")
        yield from log_of(cairn)
    yield refused(cairn, "export", "base", context.path("bad-out"), names=(digest[:12],))


def truncated_tree(context, cairn):
    """Truncated tree."""
    digest = root_tree(cairn)
    damage(cairn.object_path(digest), half)
    yield refused(cairn, "mount", "base", context.path("mnt"), names=(digest[:12],), code=32)


def missing_tree(context, cairn):
    """Missing tree."""
    digest = root_tree(cairn)
    os.unlink(cairn.object_path(digest))
    yield refused(cairn, "mount", "base", context.path("mnt"), names=(digest[:12],), code=32)


def corrupt_manifest(context, cairn):
    """Corrupt manifest."""
    with open(f"{cairn.store}/refs/base") as file:
        digest = file.read().strip()
    damage(cairn.object_path(digest), flip)
    yield refused(cairn, "mount", "base", context.path("mnt"), names=(digest[:12],), code=32)


def missing_blob(context, cairn):
    """Missing blob: the rest stays readable."""
    digest = hashlib.sha256(CONTENT).hexdigest()
    os.unlink(cairn.object_path(digest))
    for options in (), ("--tmpfs",):
        with mounted(context, cairn, *options) as mnt:
            require(os.stat(f"{mnt}/dir/file").st_size == len(CONTENT), "its size")
            yield reading(f"{mnt}/dir/file")
            with open(f"{mnt}/fine/other") as file:
                require(file.read() == "other\n", "another file")
            yield from log_of(cairn)
    yield refused(cairn, "export", "base", context.path("bad-out"), names=(digest[:12],))


def corrupt_gc(context, cairn):
    """Collection with a tree that can't be read: nothing is collected."""
    digest = tree_with(cairn, b"below")
    damage(cairn.object_path(digest), flip)
    before = sorted(glob.glob(f"{cairn.store}/objects/??/*"))
    yield refused(cairn, "gc", "--grace", "0s", names=(digest[:12],))
    require(sorted(glob.glob(f"{cairn.store}/objects/??/*")) == before, "objects are gone")


def unknown_version(context, cairn):
    """Store of an unknown version."""
    path = f"{cairn.store}/format"
    with open(path) as file:
        stamp = json.load(file)
    stamp["format"] = 99
    os.unlink(path)
    with open(path, "w") as file:
        json.dump(stamp, file)
    before = shell("find", cairn.store).stdout
    for args in ("init",), ("refs",), ("mount", "base", context.path("mnt")), ("gc", "--grace", "0s"), ("import", context.path("bad-source"), "x"):
        yield refused(cairn, *args, names=("99", "1"))
    require(shell("find", cairn.store).stdout == before, "the store was changed")


def damaged_stamp(context, cairn):
    """Store whose version stamp is damaged."""
    path = f"{cairn.store}/format"
    os.unlink(path)
    with open(path, "w") as file:
        file.write("{")
    yield refused(cairn, "refs", names=("format",))


def no_store(context, cairn):
    """No store there."""
    shutil.rmtree(cairn.store)
    yield refused(cairn, "refs", names=(cairn.store,))
    require(not os.path.exists(cairn.store), "it was made")


def use_layer(context, cairn):
    with mounted(context, cairn, "--layer", "used") as mnt:
        for number in range(300):
            with open(f"{mnt}/new-{number}", "w") as file:
                file.write(str(number))
    return f"{cairn.store}/layers/used/index"


def truncated_layer(context, cairn):
    """Layer database cut to half."""
    index = use_layer(context, cairn)
    for folder, _, names in os.walk(index):
        for name in names:
            path = os.path.join(folder, name)
            os.truncate(path, os.stat(path).st_size // 2)
    yield refused(cairn, "mount", "base", context.path("mnt"), "--layer", "used", names=("used",), code=32)


def emptied_layer(context, cairn):
    """Layer database gone: not taken for an empty layer."""
    shutil.rmtree(use_layer(context, cairn))
    yield refused(cairn, "mount", "base", context.path("mnt"), "--layer", "used", names=("used",), code=32)


def unwritable_store(context, cairn):
    """Store on a read-only filesystem."""
    shell("mount", "--bind", cairn.store, cairn.store)
    try:
        shell("mount", "-o", "remount,bind,ro", cairn.store)
        yield refused(cairn, "import", context.path("bad-source"), "new", names=(cairn.store,))
        yield refused(cairn, "mount", "base", context.path("mnt"), "--layer", "new", names=(cairn.store,), code=32)
    finally:
        shell("umount", "-l", cairn.store)


def mountpoint_missing(context, cairn):
    """Mountpoint missing."""
    where = context.path("nowhere")
    yield refused(cairn, "mount", "base", where, names=(where,), code=32)


def mountpoint_file(context, cairn):
    """Mountpoint is a file."""
    where = context.path("bad-source", "top")
    yield refused(cairn, "mount", "base", where, names=(where,), code=32)


def mountpoint_busy(context, cairn):
    """Mountpoint busy with another mount of ours."""
    with mounted(context, cairn) as mnt:
        yield refused(cairn, "mount", "base", mnt, names=(mnt,), code=32)


def second_mount(context, cairn):
    """Second mount of the same layer."""
    other = context.path("mnt2")
    os.makedirs(other, exist_ok=True)
    with mounted(context, cairn, "--layer", "one") as mnt:
        yield refused(cairn, "mount", "base", other, "--layer", "one", names=("one", mnt), code=32)
        with open(f"{mnt}/still", "w") as file:
            file.write("works")


def removed_in_use(context, cairn):
    """Removing a layer that is mounted."""
    with mounted(context, cairn, "--layer", "one"):
        yield refused(cairn, "rm", "layer", "one", names=("one",), code=4)


def unknown_ref(context, cairn):
    """Ref that isn't there."""
    yield refused(cairn, "mount", "bsae", context.path("mnt"), names=("bsae",), code=32)
    yield refused(cairn, "show", "bsae", names=("bsae",), code=3)


def bad_command(context, cairn):
    """Bad command to the control file."""
    with mounted(context, cairn, "--tmpfs") as mnt:
        try:
            with open(f"{mnt}/.ctl/cmd", "wb", buffering=0) as file:
                file.write(b"nonsense\n")
        except OSError as error:
            require(error.errno == errno.EINVAL, str(error))
            with open(f"{mnt}/.ctl/cmd") as file:
                yield f"$ echo nonsense > .ctl/cmd\nwrite error: {error.strerror}\n$ cat .ctl/cmd\n{file.read().strip()}"
            return
        raise Failed("write(2) succeeded")


def archive(*members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def import_archive(cairn, data):
    path = f"{cairn.store}.tar"
    with open(path, "wb") as file:
        file.write(data)
    try:
        return refused(cairn, "import", path, "bad")
    finally:
        os.unlink(path)
        require(not os.path.exists(f"{cairn.store}/refs/bad"), "a ref was made")


def truncated_archive(context, cairn):
    """Truncated archive."""
    yield import_archive(cairn, archive(("a", b"a" * 3000), ("b", b"b" * 3000))[:5000])


def escaping_archive(context, cairn):
    """Archive with a name that climbs out."""
    yield import_archive(cairn, archive(("a/../../../../outside", b"x")))


def missing_source(context, cairn):
    """Source that isn't there."""
    where = context.path("no-such-source")
    yield refused(cairn, "import", where, "bad", names=(where,))
    done = subprocess.run(cairn.command("import", "-", "bad"), input=b"not an archive" * 100, capture_output=True, timeout=60)
    require(done.returncode != 0 and done.stderr, "garbage on standard input was imported")
    yield "$ cairnfs import - bad < garbage\n" + done.stderr.decode(errors="replace").strip()
