"""Commands that the scripts run, and the program that they are about."""

import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Unusable(Exception):
    """What can't be had or done here; the message says why."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(*command, timeout=900, **options):
    """What a command prints; `Unusable` with the end of that when it fails."""
    options.setdefault("stdin", subprocess.DEVNULL)
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=timeout, **options)
    except OSError as why:
        raise Unusable(f"`{command[0]}`: {why.strerror}") from why
    except subprocess.TimeoutExpired as why:
        raise Unusable(f"`{' '.join(command)}`: not done after {timeout} s") from why
    if done.returncode:
        raise Unusable(f"`{' '.join(command)}`: {' '.join(done.stdout.split())[-300:] or done.returncode}")
    return done.stdout.strip()


def program():
    """The program of $CAIRNFS, else one that is built now."""
    if os.environ.get("CAIRNFS"):
        return os.path.abspath(os.environ["CAIRNFS"])
    say("building")
    run("cargo", "build", "--release", "--locked", timeout=1800, cwd=ROOT)
    return f"{ROOT}/target/release/cairnfs"
