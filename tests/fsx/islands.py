#!/usr/bin/env python3
"""islands.py make SEED FILE | islands.py exercise SEED OPERATIONS FILE MODEL

What fsx can't do: it begins with writing all of a file. Here a file of 1 GiB that is there, most of it a hole with islands of bytes, is written in place, by
every operation that fsx has and zeroing, and never truncated; MODEL, made by the same seed on another filesystem, gets the same by plain writes. After each
operation what lies around it is compared, and at the end all of both.
"""

import ctypes
import mmap
import os
import random
import sys

LENGTH = (1 << 30) + 77
STEP = 8 << 20
MOST = 1 << 20
PUNCH, ZERO = 0x02 | 0x01, 0x10 | 0x01
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def make(seed, path):
    rnd = random.Random(seed)
    with open(path, "wb") as file:
        file.truncate(LENGTH)
        for at in range(0, LENGTH - STEP, STEP):
            file.seek(at + rnd.randrange(STEP))
            file.write(rnd.randbytes(rnd.randrange(1, 300_000)))
        file.seek(LENGTH - 100_000)
        file.write(rnd.randbytes(100_000))


def pieces(at, end):
    return ((place, min(MOST, end - place)) for place in range(at, end, MOST))


def read(fd, at, length):
    data = b""
    while len(data) < length and (more := os.pread(fd, length - len(data), at + len(data))):
        data += more
    return data


def write(fd, at, data):
    while data:
        count = os.pwrite(fd, data, at)
        at, data = at + count, data[count:]


def fallocate(fd, mode, at, length):
    if libc.fallocate(fd, mode, at, length) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def copy(source, target, at, to, length):
    done = 0
    while done < length and (count := os.copy_file_range(source, target, length - done, at + done, to + done)):
        done += count
    return done


class Run:
    def __init__(self, seed, path, model):
        self.rnd, self.path = random.Random(f"{seed} operations"), path
        self.file, self.model = os.open(path, os.O_RDWR), os.open(model, os.O_RDWR)
        self.done = []

    def place(self):
        """Half of all places lie at the ends of blocks, and most in a part of the file, so that some blocks stay untouched."""
        part = self.rnd.choice([LENGTH, LENGTH, LENGTH // 16, 4 << 20])
        at = self.rnd.randrange(part)
        if self.rnd.random() < 0.5:
            at = max(0, at - at % self.rnd.choice([4096, 1 << 18]) + self.rnd.randrange(-2, 3))
        length = self.rnd.choice([self.rnd.randrange(1, 100), self.rnd.randrange(1, 70_000), 4096, 1 << 18, self.rnd.randrange(1, MOST)])
        return at, min(length, LENGTH - at)

    def compare(self, at, length):
        for at, length in pieces(max(0, at), min(LENGTH, at + length)):
            found, right = read(self.file, at, length), read(self.model, at, length)
            if found != right:
                differs = next((i for i, two in enumerate(zip(found, right)) if two[0] != two[1]), min(len(found), len(right)))
                sys.exit("\n".join(self.done[-20:]) + f"\ndiffers at {at + differs}")

    def step(self):
        kinds = {"write": 10, "read": 5, "map_read": 5, "map_write": 3, "punch": 2, "zero": 2, "allocate": 1, "copy": 3, "sendfile": 2}
        kinds |= {"sync": 0.4, "reopen": 1, "invalidate": 1, "holes": 1}
        kind = self.rnd.choices(list(kinds), kinds.values())[0]
        at, length = self.place()
        self.done.append(f"{kind} {at} {length}")
        getattr(self, kind)(at, length)
        self.compare(at - 5000, length + 10_000)

    def write(self, at, length):
        data = self.rnd.randbytes(length)
        write(self.file, at, data)
        write(self.model, at, data)

    def read(self, at, length):
        pass  # `step` does it

    def map(self, at, length):
        base = at - at % mmap.PAGESIZE
        return mmap.mmap(self.file, at + length - base, offset=base), slice(at - base, at - base + length)

    def map_read(self, at, length):
        mapped, part = self.map(at, length)
        if mapped[part] != read(self.model, at, length):
            sys.exit("\n".join(self.done[-20:]) + "\na mapping differs")
        mapped.close()

    def map_write(self, at, length):
        mapped, part = self.map(at, length)
        mapped[part] = data = self.rnd.randbytes(length)
        mapped.flush()
        mapped.close()
        write(self.model, at, data)

    def punch(self, at, length):
        fallocate(self.file, PUNCH, at, length)
        fallocate(self.model, PUNCH, at, length)

    def zero(self, at, length):
        fallocate(self.file, ZERO, at, length)
        fallocate(self.model, PUNCH, at, length)

    def allocate(self, at, length):
        fallocate(self.file, 0, at, length)

    def copy(self, at, length):
        to, _ = self.place()
        length = min(length, LENGTH - to)
        if at < to + length and to < at + length:
            return
        if copy(self.file, self.file, at, to, length) != length:
            sys.exit("\n".join(self.done[-20:]) + "\na copy ended early")
        write(self.model, to, read(self.model, at, length))
        self.compare(to - 5000, length + 10_000)

    def sendfile(self, at, length):
        target = os.memfd_create("sent")
        while (count := os.lseek(target, 0, os.SEEK_CUR)) < length:
            os.sendfile(target, self.file, at + count, length - count)
        if read(target, 0, length) != read(self.model, at, length):
            sys.exit("\n".join(self.done[-20:]) + "\nwhat was sent differs")
        os.close(target)

    def sync(self, at, length):
        os.fsync(self.file) if at % 2 else os.fdatasync(self.file)

    def reopen(self, at, length):
        os.close(self.file)
        self.file = os.open(self.path, os.O_RDWR)

    def invalidate(self, at, length):
        os.posix_fadvise(self.file, 0, 0, os.POSIX_FADV_DONTNEED)

    def holes(self, at, length):
        """What is told as a hole is zeros."""
        try:
            data = os.lseek(self.file, at, os.SEEK_DATA)
        except OSError:
            data = LENGTH
        for place, length in pieces(at, min(data, at + 16 * MOST)):
            if read(self.model, place, length).strip(b"\0"):
                sys.exit("\n".join(self.done[-20:]) + f"\nno hole from {at} to {data}")


def main():
    if sys.argv[1] == "make":
        return make(int(sys.argv[2]), sys.argv[3])
    seed, operations, path, model = int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
    make(seed, model)
    run = Run(seed, path, model)
    for _ in range(operations):
        run.step()
    run.reopen(0, 0)
    run.compare(0, LENGTH)
    if os.stat(path).st_size != LENGTH:
        sys.exit("its length changed")
    os.unlink(model)


main()
