"""Checks of a filesystem by name, for the suites that are written in Python.

A suite registers functions by `@check(NAME, PHASE)`; `run_phase` runs one phase's in the order they were registered and prints a line
`pass|fail|skip<tab>NAME<tab>WHY` for each, which `report` in scripts/lib/suite.sh reads. Each gets the dictionary that the phases share.
"""

import errno
import json
import os

_checks = {}


class Broken(Exception):
    """The expectation doesn't hold; the message says how."""


class CantTell(Exception):
    """The check can't be made here; the message says why."""


def check(name, phase):
    def register(function):
        _checks.setdefault(phase, []).append((name, function))
        return function

    return register


def same(what, found, expected):
    if found != expected:
        raise Broken(f"{what} is {found}, not {expected}")


def fails_with(expected, what, function, *args, **options):
    """`function` has to fail with the errno `expected`."""
    try:
        function(*args, **options)
    except OSError as error:
        same(f"errno of {what}", errno.errorcode.get(error.errno), errno.errorcode[expected])
        return
    raise Broken(f"{what} is allowed")


def in_user_namespace():
    """Whether root here isn't root of the machine."""
    with open("/proc/self/uid_map") as file:
        return file.read().split() != ["0", "0", "4294967295"]


def write(path, content, flags=0):
    fd = os.open(path, os.O_WRONLY | flags, 0o644)
    try:
        os.write(fd, content)
    finally:
        os.close(fd)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def run_phase(phase, state_file):
    state = {}
    if os.path.exists(state_file):
        with open(state_file) as file:
            state = json.load(file)
    for name, function in _checks[phase]:
        try:
            function(state)
            result = "pass", ""
        except Broken as why:
            result = "fail", str(why)
        except CantTell as why:
            result = "skip", str(why)
        except OSError as why:
            result = "fail", f"{errno.errorcode.get(why.errno, why.errno)} {why.filename or ''}"
        print(result[0], name, " ".join(result[1].split())[:400], sep="\t", flush=True)
    with open(state_file, "w") as file:
        json.dump(state, file)
