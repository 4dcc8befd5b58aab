"""Processes, filesystems and caches of the machine that measures.

`clean_up` undoes, in reverse order, what `at_end` was told, also when a signal ends the run. Every mount and loop device is told at once when it is
made.
"""

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from lib.commands import Unusable, run, say

LIMIT = 900  # seconds that a command may take which is timed

_undo = []


@dataclasses.dataclass
class Sample:
    """One measurement: wall seconds, CPU seconds of the client and of what serves it, peak resident bytes of whoever matters."""

    wall: float
    client_cpu: float = 0.0
    server_cpu: float = 0.0
    rss: int = 0
    figure: float | None = None  # what the row is about, when that isn't the wall time
    proof: object = None  # what was done, the same on every contestant
    beside: dict = dataclasses.field(default_factory=dict)  # further figures, by name

    @property
    def value(self):
        return self.wall if self.figure is None else self.figure


def at_end(function, *args):
    """Has `function(*args)` called when the run ends, unless `undone` was told; returns the token for that."""
    token = (function, args)
    _undo.append(token)
    return token


def undo(token):
    """Does now what was to be done at the end."""
    if token in _undo:
        _undo.remove(token)
        token[0](*token[1])


def clean_up():
    while _undo:
        function, args = _undo.pop()
        try:
            function(*args)
        except (Unusable, OSError, subprocess.SubprocessError) as why:
            say(f"clean-up: {why}")


def end_on_signals():
    """Signals end the run as exceptions do, so that it cleans up."""

    def stop(number, _):
        sys.exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)


def cpu_of(pid):
    """CPU seconds that a process has used, all its threads together; 0 for none."""
    return time.clock_gettime((~pid << 3) | 2) if pid else 0.0


def status_of(pid, key):
    """A figure of /proc/PID/status, in bytes; 0 for none."""
    if not pid:
        return 0
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024
    return 0


def forget_peak(pid):
    """Begins the process's peak of resident memory anew."""
    if pid:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/clear_refs", "w") as file:
            file.write("5")


def text_of(file):
    file.seek(0)
    return file.read().decode(errors="replace")


def kill_groups(processes):
    """Kills those that haven't been waited for, with all that they have started."""
    for process in processes:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def end_groups(processes):
    """Those too, and waits until they are gone, so that what they used can be unmounted."""
    kill_groups(processes)
    for process in processes:
        if process.returncode is None:
            process.wait()


def timed(commands, server=None, cwd=None, env=None):
    """Runs commands at once and waits for all of them: one Sample. Peak memory is the server's where there is one, else the largest client's.

    Returns the sample and what each has printed.
    """
    forget_peak(server)
    before = cpu_of(server)
    with contextlib.ExitStack() as stack:
        # Files, not pipes: nobody who is timed may wait for us to read.
        files = [(stack.enter_context(tempfile.TemporaryFile(dir="/dev/shm")), stack.enter_context(tempfile.TemporaryFile())) for _ in commands]
        started = []
        # Whatever ends this ends what it has started, and a command that hangs doesn't hang the run.
        stack.callback(end_groups, started)
        watch = threading.Timer(LIMIT, kill_groups, [started])
        watch.daemon = True
        watch.start()
        stack.callback(watch.cancel)
        began = time.monotonic()
        for command, (out, wrong) in zip(commands, files):
            started.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=wrong, cwd=cwd, env=env, start_new_session=True))
        cpu, peak = 0.0, 0
        for process in started:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            cpu += usage.ru_utime + usage.ru_stime
            peak = max(peak, usage.ru_maxrss * 1024)
        wall = time.monotonic() - began
        printed = [text_of(out) for out, _ in files]
        for process, (_, wrong) in zip(started, files):
            if process.returncode:
                raise Unusable(f"`{' '.join(process.args)}`: status {process.returncode}: {' '.join(text_of(wrong).split())[-300:]}")
    return Sample(wall, cpu, cpu_of(server) - before, status_of(server, "VmHWM") if server else peak), printed


def drop_caches():
    """Cold caches: content, names and attributes."""
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("3")


def sync_filesystem(path):
    """Seconds that one syncfs(2) of a filesystem takes."""
    began = time.monotonic()
    run("sync", "-f", path)
    return time.monotonic() - began


def unmount(path):
    """Takes a mount away, whatever state it is in."""
    for options in ((), ("-l",)):
        if not is_mounted(path):
            return
        for _ in range(50 if not options else 1):
            if subprocess.run(["umount", *options, path], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
                break
            time.sleep(0.1)  # somebody who was told to end still holds it


def is_mounted(path):
    with open("/proc/self/mountinfo") as file:
        return any(line.split()[4] == path for line in file)


class Disk:
    """A fresh ext4 of its own on a loop device, at `path`."""

    def __init__(self, work, name, gib, inodes=None):
        self.path, self.image = f"{work}/{name}", f"{work}/{name}.img"
        os.makedirs(self.path)
        with open(self.image, "wb") as image:
            image.truncate(gib << 30)
        self._file = at_end(self._remove)
        run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", *(["-N", str(inodes)] if inodes else []), self.image)
        self.device = run("losetup", "--find", "--show", self.image)
        self._loop = at_end(run, "losetup", "-d", self.device)
        run("mount", self.device, self.path)
        self._mount = at_end(unmount, self.path)

    def gone(self):
        for token in (self._mount, self._loop, self._file):
            undo(token)

    def used(self):
        """Bytes in use."""
        os.sync()
        found = os.statvfs(self.path)
        return (found.f_blocks - found.f_bfree) * found.f_frsize

    def _remove(self):
        os.remove(self.image)
        shutil.rmtree(self.path, ignore_errors=True)
