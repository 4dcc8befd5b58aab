#!/bin/sh
# What can be shown in a small root filesystem without a network: dpkg, perl, python, files by the thousand, locks.
set -eu
dir=/srv/quick
if [ "$1" = make ]; then
  mkdir -p $dir
  cp -a /usr/share/perl5 /etc $dir/
  find $dir/etc -type f -exec sh -c 'for f; do echo "# changed" >>"$f"; done' sh {} +
  mv $dir/perl5 $dir/moved
  ln $dir/etc/passwd $dir/linked
  tar -C /usr -cf - share/doc | tar -C $dir -xf -
  rm -rf $dir/share/doc/apt
  (cd $dir && find . -type f -print0 | sort -z | xargs -0 sha256sum >/srv/sums)
fi
(cd $dir && sha256sum --quiet -c /srv/sums)
[ "$(stat -c %h $dir/linked)" = 2 ]
[ ! -e $dir/share/doc/apt ]
tail -n 1 $dir/linked | grep -q changed
# The package manager's own record of every file it has put there.
[ -z "$(dpkg --verify)" ]
if command -v python3 >/dev/null; then
  python3 - <<'PY'
import fcntl, os
with open("/srv/quick-lock", "w+") as f:
    fcntl.flock(f, fcntl.LOCK_EX)
    fcntl.lockf(f, fcntl.LOCK_EX)
    os.ftruncate(f.fileno(), 1 << 20)
    os.pwrite(f.fileno(), b"hello", 500_000)
    assert os.pread(f.fileno(), 7, 499_999) == b"\0hello\0"
    assert os.fstat(f.fileno()).st_size == 1 << 20
PY
fi
echo "quick: $(wc -l </srv/sums) files as they should be, dpkg --verify clean"
