"""What the acceptance's parts share: running the program, mounts that go away again, checks, and the report."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Failed(Exception):
    """A check that didn't hold; the message says why."""


class Skipped(Exception):
    """A check that can't be made here; the message says why."""


def require(condition, message):
    if not condition:
        raise Failed(message)


def shell(*command, ok=True, timeout=900, **options):
    """Runs a command, with its output captured as text; fails the check when the command fails and `ok` says it mustn't."""
    options.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", timeout=timeout, **options)
    if ok and done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-25:])
        raise Failed(f"status {done.returncode}: {' '.join(command)}\n{tail}")
    return done


def tree(source, other):
    """Compares two trees by scripts/compare-trees; returns its summary."""
    done = shell(f"{ROOT}/scripts/compare-trees", source, other, ok=False)
    require(done.returncode == 0, done.stdout + done.stderr)
    return done.stdout.strip().splitlines()[-1]


def inside(root, *command, ok=True, **options):
    """Runs a command with `root` as its root filesystem."""
    return shell(f"{ROOT}/scripts/in-root", root, *command, ok=ok, **options)


class Report:
    """Checks and what they found: lines on standard output as they come, markdown at the end."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.text = []

    def section(self, title, intro=""):
        print(f"\n== {title} ==", flush=True)
        self.text.append(f"\n## {title}\n" + (f"\n{intro}\n" if intro else ""))

    def check(self, name, function, *args):
        """Runs one check; returns what it returns, or None. A check that fails doesn't stop those after it."""
        began = time.monotonic()
        result, detail = None, ""
        try:
            result = function(*args)
            detail = result if isinstance(result, str) else ""
            state = "pass"
            self.passed += 1
        except Skipped as why:
            state, detail = "skip", str(why)
            self.skipped += 1
        except Exception as why:  # whatever goes wrong is this check's failure
            state, detail = "FAIL", str(why) if isinstance(why, Failed) else traceback.format_exc()
            self.failed += 1
        took = time.monotonic() - began
        first, _, rest = detail.strip().partition("\n")
        print(f"{state}  {name} ({took:.1f} s){': ' + first if first else ''}", flush=True)
        if rest:
            print("      " + rest.replace("\n", "\n      "), flush=True)
        self.text.append(f"- **{state}** {name} ({took:.1f} s){': ' + first if first else ''}")
        if rest:
            self.block(rest, indent="  ")
        return result

    def block(self, text, indent=""):
        lines = ["```", *text.strip("\n").splitlines(), "```"]
        self.text.append("\n".join(indent + line for line in lines))

    def table(self, head, rows):
        lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
        for line in lines:
            print("  " + line, flush=True)
        self.text.append("\n" + "\n".join(lines) + "\n")

    def counts(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"

    def write(self, path, title):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as out:
            out.write(f"# {title}\n\n{self.counts()}\n" + "\n".join(self.text) + "\n")


class Cairn:
    """The program on one store."""

    def __init__(self, program, store):
        self.program, self.store = program, store

    def command(self, *args):
        return [self.program, "--store", self.store, *args]

    def run(self, *args, ok=True, **options):
        return shell(*self.command(*args), ok=ok, **options)

    def json(self, *args):
        return json.loads(self.run("--json", *args).stdout)

    @contextlib.contextmanager
    def mounted(self, ref, directory, *options):
        """A mount that is gone afterwards, also when the check within fails."""
        os.makedirs(directory, exist_ok=True)
        self.run("mount", ref, directory, *options)
        try:
            yield directory
        except BaseException:
            unmount(self, directory)
            raise
        self.run("umount", directory)

    def pid_of(self, directory):
        for mount in self.json("mounts")["mounts"]:
            if mount["mountpoint"] == directory:
                return mount["pid"]
        raise Failed(f"`cairnfs mounts` doesn't list {directory}")

    def object_path(self, digest):
        return os.path.join(self.store, "objects", digest[:2], digest[2:])

    def manifest(self, ref):
        """A ref's manifest, read by the layout in docs/FORMAT.md rather than by the program."""
        with open(os.path.join(self.store, "refs", ref)) as file:
            digest = file.read().strip()
        with open(self.object_path(digest)) as file:
            return json.load(file)


def unmount(cairn, directory):
    """Takes a mount away by whatever works."""
    for command in (cairn.command("umount", directory), ["umount", directory], ["umount", "-l", directory]):
        if not os.path.ismount(directory) and directory not in open("/proc/self/mounts").read():
            return
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Context:
    """What every part is given."""

    def __init__(self, cairn, report, work, quick):
        self.cairn, self.report, self.work, self.quick = cairn, report, work, quick

    def path(self, *names):
        return os.path.join(self.work, *names)

    def fresh_store(self, name):
        """Another store, empty."""
        path = self.path("stores", name)
        shutil.rmtree(path, ignore_errors=True)
        cairn = Cairn(self.cairn.program, path)
        cairn.run("init")
        return cairn


def drop_caches():
    """Cold caches, where root may; says whether it could."""
    os.sync()
    try:
        with open("/proc/sys/vm/drop_caches", "w") as file:
            file.write("3")
        return True
    except OSError:
        return False


def timed(function, *args):
    began = time.monotonic()
    result = function(*args)
    return time.monotonic() - began, result


def log(text):
    print(text, file=sys.stderr, flush=True)
