#!/usr/bin/env bash
# as-nobody.sh WORK: what tests/unprivileged/run does as root, in a mount namespace of its own. Prints result lines.
set -euo pipefail
work=$1 kit=$1/kit phases=$1/kit/tests/unprivileged/phases.sh

# A /dev/fuse that everybody may open, and a fusermount3 that is setuid, whatever the machine has.
mkdir -p "$work/view" "$work/other"
mount -t tmpfs -o mode=755 tmpfs "$work/view"
mount -t tmpfs -o mode=1777,size=64m tmpfs "$work/other"
mknod -m 666 "$work/view/fuse" c 10 229
mount --bind "$work/view/fuse" /dev/fuse
fusermount=$(command -v fusermount3)
if [ ! -u "$fusermount" ]; then
  install -m 4755 "$fusermount" "$work/view/fusermount3"
  mount --bind "$work/view/fusermount3" "$fusermount"
fi
chown nobody "$kit/logs"

as_nobody() { setpriv --reuid=nobody --regid=nogroup --clear-groups --inh-caps=-all -- "$@"; }

phases() { as_nobody "$phases" "$work" "$@"; }

install -d -o nobody -g nogroup "$work/user" "$work/namespace"
phases user mount
# The mount is for its user alone, without allow_other: root is refused too.
if why=$(LC_ALL=C stat "$work/user/mnt/mine" 2>&1); then
  printf 'fail\tordinary user: others have no access, nor has root\tit has\n'
elif [[ $why = *"Permission denied"* ]]; then
  printf 'pass\tordinary user: others have no access, nor has root\t\n'
else
  printf 'fail\tordinary user: others have no access, nor has root\t%s\n' "$why"
fi
phases user work suites end
if as_nobody unshare -U -r -m true 2>/dev/null; then
  as_nobody unshare -U -r -m "$phases" "$work" namespace mount work suites end
else
  printf 'skip\tuser namespace\tusers may make none on this machine\n'
fi
