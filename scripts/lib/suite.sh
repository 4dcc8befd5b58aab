# shellcheck shell=bash
# What the suites `tests/NAME/run` share. A suite sources this, defines the functions
#
#   prepare DIR       puts into DIR what the suite wants to find there, so that it can come from a base
#   suite DIR         runs in the prepared DIR; calls `pass`, `fail`, `skip` or `count`
#   on_program        optional: what to do on cairnfs, where that isn't `suite` over the prepared tree alone
#
# and ends with `suite_main "$@"`, so that each has the same command line:
#
#   run PROGRAM [OPTION]...       on layers that it mounts, over a base that has the prepared tree
#   run --on DIR [OPTION]...      in DIR/NAME of any filesystem, prepared there if that isn't there yet
#   run --prepare DIR             only prepares DIR/NAME, for a base or a lower directory
#
#   --long                the long version
#   --remount COMMAND     with --on: the filesystem is the suite's own, and COMMAND takes it away and mounts it again
#   --results FILE        adds a line `pass|fail|skip<tab>NAME<tab>WHY` for each result
#   --logs DIR            where the logs go
#
# A suite that an ordinary user can run on layers sets `needs_root=`. The last line is `N passed, N failed, N skipped`, the status 0 only when
# nothing failed.
# For the suite there are: $work, a folder of its own, gone at the end; $long; $logs; $NAME.

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

NAME=$(basename "$(dirname "$0")")
long='' needs_root=yes logs=$LOGS/$NAME results=/dev/null again='' work='' _mounts=0

pass() {
  count 1 0 0
  printf 'pass\t%s\t%s\n' "$1" "${2:-}" >>"$results"
}

# fail NAME WHY
fail() {
  count 0 1 0
  say "failed: $1: $2"
  printf 'fail\t%s\t%s\n' "$1" "${2//[$'\t\n']/ }" >>"$results"
}

# skip NAME WHY
skip() {
  count 0 0 1
  say "skipped: $1: $2"
  printf 'skip\t%s\t%s\n' "$1" "${2//[$'\t\n']/ }" >>"$results"
}

# The last lines of a log that say something, indented.
tail_of() {
  grep -av '^[[:space:]]*$' "$1" | tail -n "${2:-8}" | cut -c1-300 | sed 's/^/    /'
}

# report JUDGE COMMAND...: takes the results that the command prints, as scripts/lib/checks.py has them. JUDGE is called with `pass`, `fail` or
# `skip`, the name and the reason; `as_told` takes them as they are.
report() {
  local judge=$1 state name why lines=$work/report.$RANDOM
  shift
  if ! "$@" >"$lines" 2>"$logs/checks.log"; then
    fail "all checks" "they ended early: $(tail -n 1 "$logs/checks.log")"
  fi
  while IFS=$'\t' read -r state name why; do "$judge" "$state" "$name" "$why"; done <"$lines"
}

as_told() { "$@"; }

# A folder of the suite's own. Its path is short, for a Unix socket's name has 107 bytes at most.
_make_work() {
  local base=${TMPDIR:-/tmp}
  [ ${#base} -lt 16 ] || base=/tmp
  work=$(mktemp -d "$base/cairnfs.XXXXXX")
  chmod 755 "$work"
  at_exit rm -rf --one-file-system "$work"
}

# mount_layer TREE LAYER: TREE becomes a base, and `$mounted` a mount of it with the layer. Several may be there at once.
mount_layer() {
  local ref=base-$2
  export CAIRNFS_STORE=$work/store
  [ -d "$CAIRNFS_STORE" ] || "$CAIRNFS" init >/dev/null
  "$CAIRNFS" import "$1" "$ref" >/dev/null
  mounted=$work/m$((_mounts += 1))
  mkdir "$mounted"
  at_exit unmount "$mounted"
  again="'$CAIRNFS' umount '$mounted' >/dev/null && '$CAIRNFS' mount '$ref' '$mounted' --layer '$2' >/dev/null"
  "$CAIRNFS" mount "$ref" "$mounted" --layer "$2" >/dev/null
}

# Takes the filesystem under the suite away and mounts it again. Fails when that can't be done here: see `can_mount_again`.
mount_again() { eval "$again"; }
can_mount_again() { [ -n "$again" ]; }

suite_main() {
  [ $# -ge 1 ] || die "usage: run PROGRAM [OPTION]... | run --on DIR [OPTION]... | run --prepare DIR"
  local place='' program='' tree=''
  case $1 in
    -h | --help)
      sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
      echo
      sed -nE '/^#   run|^#   --/s/^# //p' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    --on) unset CAIRNFS; place=$(readlink -f "${2:?a directory}"); shift 2 ;;
    --prepare) tree=${2:?a directory}; shift 2 ;;
    *) program=$(readlink -f "$1"); shift ;;
  esac
  while [ $# -gt 0 ]; do
    case $1 in
      --long) long=yes; shift ;;
      --remount) again=$2; shift 2 ;;
      --results) results=$2; shift 2 ;;
      --logs) logs=$2; shift 2 ;;
      *) die "unknown option '$1'" ;;
    esac
  done
  mkdir -p "$logs"
  if [ -n "$tree" ]; then
    mkdir -p "$tree/$NAME"
    prepare "$tree/$NAME"
    exit
  fi
  if [ -z "$place" ] && [ -n "$needs_root" ] && ! is_root; then
    skip "$NAME" "needs root, to mount with passthrough and make files of all owners"
  else
    _make_work
    if [ -n "$place" ]; then _on_place "$place"; else _on_program "$program"; fi
  fi
  summary
}

_on_place() {
  local where=$1/$NAME
  if [ ! -d "$where" ]; then
    mkdir "$where"
    prepare "$where"
  fi
  at_exit rm -rf --one-file-system "$where"
  suite "$where"
}

_on_program() {
  CAIRNFS=$1
  if declare -F on_program >/dev/null; then
    on_program
    return
  fi
  mkdir -p "$work/base/$NAME"
  prepare "$work/base/$NAME"
  mount_layer "$work/base" layer
  suite "$mounted/$NAME"
}
