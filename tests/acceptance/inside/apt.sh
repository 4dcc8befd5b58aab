#!/bin/sh
# Packages: update, install, and dpkg's own verification of every file it has put there.
#   make    installs $PACKAGES and $SERVER
#   check   every package is configured and every file is what its package says
set -eu
if [ "$1" = make ]; then
  # No services start in a chroot; without this their packages would try.
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod 755 /usr/sbin/policy-rc.d
  apt-get -q update
  # shellcheck disable=SC2086
  apt-get -q -y -o Dpkg::Use-Pty=0 install --no-install-recommends $PACKAGES
fi
for p in $PACKAGES; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$p")" = installed ] || { echo "$p isn't installed"; exit 1; }
done
audit=$(dpkg --audit)
[ -z "$audit" ] || { echo "dpkg --audit: $audit"; exit 1; }
changed=$(dpkg --verify)
[ -z "$changed" ] || { echo "dpkg --verify: $changed"; exit 1; }
echo "$(dpkg-query -W | wc -l) packages installed, dpkg --verify clean"
