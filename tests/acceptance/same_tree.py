"""Import, mount and export: the tree that comes out is the tree that went in."""

import os

import odd_files
from harness import Skipped, require, shell, tree

RSYNC = ("rsync", "-aHAXn", "--numeric-ids", "--delete", "--itemize-changes")


def run(context, archive):
    report, cairn = context.report, context.cairn
    report.section("The same tree", "Compared by scripts/compare-trees (every path, type, mode, owner, time, extended attribute, link count, "
                   "link group, content) and by `rsync -aHAXn --delete --itemize-changes`; neither shares code with cairnfs.")
    source = context.path("source")
    if archive:
        report.check("unpack the Debian root filesystem by tar", unpack, archive, source)
        report.check("import of the archive and of the unpacked tree give the same root", import_both, context, archive, source)
    else:
        os.makedirs(source)
        shell("cp", "-a", os.path.dirname(os.__file__) + "/json", source)
    odd_files.make(os.path.join(source, "odd"))
    report.check("import the tree, with odd files of every kind added", lambda: cairn.run("import", source, "base").stdout.strip().splitlines()[-1])
    for label, options in (("read-only", ()), ("with a layer", ("--layer", "same")), ("with a layer in memory", ("--tmpfs",))):
        report.check(f"mounted {label}: equals the source", mounted_equals, context, "base", source, options)
    report.check("with a layer that had everything looked at, remounted: equals the source", mounted_equals, context, "base", source,
                 ("--layer", "same"))
    report.check("exported to a directory: equals the source", export_equals, context, source)
    report.check("export of the mount's ref to a tar, imported again: the same root", tar_round_trip, context)
    return source


def unpack(archive, to):
    os.makedirs(to)
    shell("tar", "-C", to, "--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf", archive)
    return f"{sum(len(d) + len(f) for _, d, f in os.walk(to))} entries"


def root_of(cairn, ref):
    manifest = cairn.manifest(ref)
    return manifest["root"], manifest["links"]


def import_both(context, archive, source):
    cairn = context.cairn
    cairn.run("import", archive, "from-tar")
    cairn.run("import", source, "from-dir")
    require(root_of(cairn, "from-tar") == root_of(cairn, "from-dir"), "the manifests' roots differ")
    return "tree " + cairn.manifest("from-dir")["root"]["tree"][:16]


def mounted_equals(context, ref, source, options):
    with context.cairn.mounted(ref, context.path("mnt"), *options) as mnt:
        summary = tree(source, mnt)
        differences = shell(*RSYNC, source + "/", mnt + "/").stdout
        require(not differences, "rsync found:\n" + differences[:2000])
    return summary + "; rsync: nothing"


def export_equals(context, source):
    out = context.path("exported")
    context.cairn.run("export", "base", out)
    summary = tree(source, out)
    differences = shell(*RSYNC, source + "/", out + "/").stdout
    require(not differences, "rsync found:\n" + differences[:2000])
    shell("rm", "-rf", out)
    return summary + "; rsync: nothing"


def tar_round_trip(context):
    if context.quick:
        raise Skipped("only in the full acceptance")
    out = context.path("exported.tar")
    context.cairn.run("export", "base", out)
    context.cairn.run("import", out, "again")
    os.unlink(out)
    require(root_of(context.cairn, "base") == root_of(context.cairn, "again"), "the manifests' roots differ")
