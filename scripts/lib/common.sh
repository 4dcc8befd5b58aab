# shellcheck shell=bash
# What the scripts share: messages, clean-up at exit, running commands with a log. Source it; it changes to the project's folder.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$ROOT" || exit 1
# Debian leaves these out of a plain user's PATH; rustup and our own tools may be in neither.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:${CARGO_HOME:-$HOME/.cargo}/bin:$ROOT/target/tools/bin
export PATH
LOGS=$ROOT/target/logs
mkdir -p "$LOGS"

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
  bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
else
  bold='' dim='' green='' red='' plain=''
fi

title() { printf '\n%s== %s ==%s\n' "$bold" "$*" "$plain"; }
say() { printf '%s\n' "$*"; }
note() { printf '%s%s%s\n' "$dim" "$*" "$plain"; }
warn() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }
die() { warn "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
is_root() { [ "$(id -u)" = 0 ]; }

# Shows a command as a person would type it, then runs it.
run() {
  printf '%s$ %s%s\n' "$green" "$*" "$plain"
  "$@"
}

# logged NAME COMMAND...: the command's output goes to a log, which is shown only when the command fails.
logged() {
  local log=$LOGS/$1.log rc=0
  shift
  "$@" >"$log" 2>&1 </dev/null || rc=$?
  if [ "$rc" != 0 ]; then
    warn "failed with status $rc: $*"
    warn "the last lines of $log:"
    tail -n 40 "$log" | sed 's/^/    /' >&2
  fi
  return "$rc"
}

# at_exit COMMAND...: runs it when the script ends, however it ends, the last one added first.
_at_exit=()
at_exit() { _at_exit+=("$(printf '%q ' "$@")"); }
_run_at_exit() {
  local rc=$? i
  trap '' INT TERM HUP
  set +e
  for ((i = ${#_at_exit[@]} - 1; i >= 0; i--)); do eval "${_at_exit[i]}"; done
  exit "$rc"
}
trap _run_at_exit EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# Takes a mount away: properly, else lazily. Quiet when nothing is mounted there.
unmount() {
  local dir=$1
  mountpoint -q "$dir" 2>/dev/null || [ -n "$(findmnt -n -o TARGET "$dir" 2>/dev/null)" ] || return 0
  "${CAIRNFS:-cairnfs}" umount "$dir" >/dev/null 2>&1 && return 0
  umount "$dir" 2>/dev/null || fusermount3 -u "$dir" 2>/dev/null ||
    umount -l "$dir" 2>/dev/null || fusermount3 -u -z "$dir" 2>/dev/null
}

# need_space DIR GIB WHAT-FOR
need_space() {
  local free
  free=$(df -Pk "$1" | awk 'NR == 2 { print int($4 / 1048576) }')
  [ "$free" -ge "$2" ] || die "$3 needs $2 GiB free in $1, but only $free GiB are. Free some, or point TMPDIR elsewhere."
}

# Results of tests, added up.
passed=0 failed=0 skipped=0

# count PASSED FAILED SKIPPED
count() {
  passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
}

# The last line of every script that tests; the status is 0 only when nothing failed.
summary() {
  say "$passed passed, $failed failed, $skipped skipped"
  [ "$failed" = 0 ]
}

# counting NAME COMMAND...: a program that ends with `summary`, shown as it goes and counted. If it fails without having counted a failure, or
# doesn't say, that's a failure.
counting() {
  local log=$LOGS/test-$1.log name=$1 rc=0 p f s
  shift
  "$@" </dev/null 2>&1 | tee "$log" || rc=$?
  if read -r p f s < <(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped$/\1 \2 \3/p' "$log" | tail -n 1); then
    if [ "$rc" != 0 ] && [ "$f" = 0 ]; then f=1; fi
    count "$p" "$f" "$s"
  else
    say "$name: status $rc, without a result"
    count 0 1 0
  fi
}

# cargo_results LOG: what all `test result:` lines of cargo add up to, as `PASSED FAILED SKIPPED`. Tests that found they can't run here have told
# so in $CAIRNFS_TEST_SKIPS; for cargo they passed.
cargo_results() {
  local told=0
  [ ! -s "$CAIRNFS_TEST_SKIPS" ] || told=$(cut -f1 "$CAIRNFS_TEST_SKIPS" | sort -u | wc -l)
  sed -nE 's/^test result: .* ([0-9]+) passed; ([0-9]+) failed; ([0-9]+) ignored;.*/\1 \2 \3/p' "$1" |
    awk -v told="$told" '{ p += $1; f += $2; s += $3 } END { print p - told, f + 0, s + told }'
}

# Names an empty file for those skips, and shows them afterwards.
begin_skips() {
  export CAIRNFS_TEST_SKIPS=$LOGS/$1.skips
  : >"$CAIRNFS_TEST_SKIPS"
}
show_skips() { sort -u "$CAIRNFS_TEST_SKIPS" | sed -E 's/^([^\t]*)\t(.*)/skipped: \1: \2/'; }

# All that the tests make is in a folder of their own, so that what one leaves when it is killed can be found and taken away.
private_tmp() {
  local tmp
  tmp=$(mktemp -d "${TMPDIR:-/tmp}/cairnfs-test.XXXXXX")
  chmod 755 "$tmp"
  export TMPDIR=$tmp
  at_exit rm -rf --one-file-system "$tmp"
  at_exit unmount_below "$tmp"
}

unmount_below() {
  local dir
  awk -v top="$1/" 'index($5, top) == 1 { print $5 }' /proc/self/mountinfo | tac | while read -r dir; do
    warn "a test left a mount at $dir"
    umount -l "$dir" 2>/dev/null || fusermount3 -u -z "$dir" 2>/dev/null
  done
}
