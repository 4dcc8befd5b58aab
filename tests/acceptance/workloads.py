"""The mount as a root filesystem: what people do in one, a snapshot of it, and all of it again in the snapshot."""

import os
import select
import shutil
import subprocess
import time

from harness import Failed, ROOT, inside, require, shell, tree

PACKAGES = "sqlite3 postgresql procps"
FULL = ("apt", "gcc", "git", "sqlite", "python", "postgres")
HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "inside")


def run(context):
    report, cairn = context.report, context.cairn
    report.section("At work inside the mount", "Each by chroot, with /proc, /sys and /dev bound. `check` repeats a workload's verification.")
    names = ("quick",) if context.quick else FULL
    with cairn.mounted("base", context.path("root"), "--layer", "work") as root:
        copy_scripts(root)
        for name in names:
            report.check(f"{name}: do", workload, root, name, "make")
        report.check("apt: dpkg --verify after all that", workload, root, names[0], "check")
        report.check("snapshot of the live mount", snapshot, context, root, "worked")
        report.check("the snapshot, mounted read-only, equals the layer", equals, context, root, "worked")
        if not context.quick:
            report.check("snapshot while postgres runs pgbench", snapshot_under_load, context, root)
        report.check("the mount goes on: change, and the snapshot stays as it was", goes_on, context, root)
    checks(context, "worked", names, "the snapshot")
    if not context.quick:
        checks(context, "under-load", ("postgres",), "the snapshot taken under load, recovered")
    report.check("the layer after a remount has what it had", remounted, context, names)
    report.check("gc with everything in use frees nothing of it", collect, context, names)


def copy_scripts(root):
    to = os.path.join(root, "opt", "acceptance")
    os.makedirs(to, exist_ok=True)
    for name in os.listdir(HERE):
        shutil.copy(os.path.join(HERE, name), to)


def workload(root, name, phase):
    done = inside(root, "env", f"PACKAGES={PACKAGES}", f"/opt/acceptance/{name}.sh", phase)
    return done.stdout.strip().splitlines()[-1]


def snapshot(context, root, ref):
    return context.cairn.run("snapshot", root, ref).stdout.strip()


def equals(context, root, ref):
    with context.cairn.mounted(ref, context.path("snap")) as snap:
        return tree(root, snap)


def snapshot_under_load(context, root):
    command = [f"{ROOT}/scripts/in-root", root, "/opt/acceptance/postgres.sh", "hold"]
    holder = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        ready, _, _ = select.select([holder.stdout], [], [], 90)
        line = holder.stdout.readline() if ready else ""
        require(line.strip() == "running", f"postgres didn't start: {line}")
        time.sleep(2)  # let pgbench be in the midst of it; nothing depends on how far it is
        said = snapshot(context, root, "under-load")
        require(holder.poll() is None, "postgres ended meanwhile")
    finally:
        holder.kill()
        holder.wait()
    return said


def goes_on(context, root):
    note = os.path.join(root, "srv", "after")
    with open(note, "w") as file:
        file.write("after the snapshot\n")
    shell("rm", "-rf", os.path.join(root, "odd"))
    with context.cairn.mounted("worked", context.path("snap")) as snap:
        require(not os.path.exists(os.path.join(snap, "srv/after")), "the snapshot has a file made after it")
        require(os.path.exists(os.path.join(snap, "odd/links/a/one")), "the snapshot lost what was removed after it")


def checks(context, ref, names, label):
    layer = f"on-{ref}"
    try:
        with context.cairn.mounted(ref, context.path("again"), "--layer", layer) as root:
            for name in names:
                context.report.check(f"{name} in {label}: still there", workload, root, name, "check")
    except Failed as why:
        context.report.check(f"{label}: mounts", raise_again, why)


def raise_again(why):
    raise why


def remounted(context, names):
    with context.cairn.mounted("base", context.path("root"), "--layer", "work") as root:
        require(os.path.exists(os.path.join(root, "srv/after")), "a file of the layer is gone")
        require(not os.path.exists(os.path.join(root, "odd")), "a directory that was removed is back")
        return workload(root, names[0], "check")


def collect(context, names):
    context.cairn.run("gc", "--grace", "0s")
    with context.cairn.mounted("worked", context.path("again"), "--layer", "after-gc") as root:
        return workload(root, names[0], "check")
