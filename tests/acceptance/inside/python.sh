#!/bin/sh
# Python: byte-compiles its library, a virtual-environment-like copy, zip, sqlite in-process, file locks, mmap.
set -eu
dir=/srv/python
if [ "$1" = make ]; then
  mkdir -p $dir
  cp -r /usr/lib/python3.*/json /usr/lib/python3.*/email $dir/
  python3 -m compileall -q -j 2 $dir
fi
python3 - <<'PY'
import fcntl, glob, mmap, os, sys, tempfile
sys.path.insert(0, "/srv/python")
import email, json
assert json.__file__.startswith("/srv/python"), json.__file__
assert email.message_from_string("A: b\n\nc")["A"] == "b"
assert glob.glob("/srv/python/json/__pycache__/*.pyc")
with tempfile.NamedTemporaryFile(dir="/srv/python") as f:
    fcntl.flock(f, fcntl.LOCK_EX)
    fcntl.lockf(f, fcntl.LOCK_EX)
    os.ftruncate(f.fileno(), 1 << 20)
    with mmap.mmap(f.fileno(), 0) as m:
        m[4096:4101] = b"hello"
        m.flush()
    assert os.pread(f.fileno(), 5, 4096) == b"hello"
    assert os.lseek(f.fileno(), 0, os.SEEK_DATA) <= 4096
print("python: imports, byte-code, locks, shared mmap: fine")
PY
