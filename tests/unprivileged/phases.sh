#!/usr/bin/env bash
# phases.sh WORK PLACE PHASE...: the phases of tests/unprivileged as whoever runs it, in WORK/PLACE. Prints result lines.
set -euo pipefail
work=$1 place=$2 kit=$1/kit
shift 2
case $place in
  user) label='ordinary user' ;;
  namespace) label='user namespace' ;;
esac
export CAIRNFS=$kit/bin/cairnfs CAIRNFS_STORE=$work/$place/store HOME=$work/$place PATH=$kit/bin:$PATH
mkdir -p "$work/$place/native"
cd "$work/$place"

result() { printf '%s\t%s: %s\t%s\n' "$1" "$label" "$2" "${3:-}"; }

labelled() { sed -E "s/^(pass|fail|skip)\t/&$label: /"; }

# failing_tests LOG DIR: pjdfstest there; what fails. The suite skips by itself what needs root.
failing_tests() {
  timeout 300 pjdfstest -c "$kit/tests/pjdfstest/pjdfstest.toml" -p "$2" -s "$work/other" >"$1" 2>&1 </dev/null || true
  grep -qa '^Summary' "$1" || { echo "pjdfstest-did-not-finish"; return; }
  awk '/ FAILED *$/ { print $1 }' "$1" | sort
}

pjdfstest_as_user() {
  local here native='' new
  here=$(failing_tests "$kit/logs/$place-pjdfstest.log" mnt/work)
  [ -z "$here" ] || native=$(failing_tests "$kit/logs/$place-pjdfstest-native.log" native)
  new=$(comm -23 <(echo "$here") <(echo "$native"))
  local summary
  summary=$(sed -nE 's/^Summary: (.*), [0-9]+ expected.*/\1/p' "$kit/logs/$place-pjdfstest.log")
  if [ -z "$new" ]; then
    result pass "pjdfstest: nothing fails that doesn't fail beside the mount" "$summary"
  else
    result fail "pjdfstest: nothing fails that doesn't fail beside the mount" "$(echo $new): $summary"
  fi
}

fsx_as_user() {
  if timeout 120 fsx -f "$kit/tests/fsx/fsx.toml" -P "$work/$place" -S 1 -N 1000 mnt/work/fsx >"$kit/logs/$place-fsx.log" 2>&1 </dev/null; then
    result pass "fsx"
  else
    result fail "fsx" "$(tail -n 1 "$kit/logs/$place-fsx.log")"
  fi
}

# On a layer of its own, for the tree to come from a base.
departures_as_user() {
  mkdir tree mnt3
  python3 -B "$kit/tests/departures/checks.py" prepare tree
  cairnfs import tree departures >/dev/null
  cairnfs mount departures mnt3 --layer departures >/dev/null
  python3 -B "$kit/tests/departures/checks.py" change mnt3 "$PWD/departures.json"
  cairnfs umount mnt3 >/dev/null
  cairnfs mount departures mnt3 --layer departures >/dev/null
  python3 -B "$kit/tests/departures/checks.py" remounted mnt3 "$PWD/departures.json"
  cairnfs umount mnt3 >/dev/null
}

for phase in "$@"; do
  if [ "$phase" = suites ]; then
    pjdfstest_as_user
    fsx_as_user
    # Documented in docs/SEMANTICS.md: no O_TMPFILE, and reads leave st_atime alone.
    departures_as_user | sed -E '/\t(O_TMPFILE|reading moves st_atime)\t/s/^fail(.*)\t.*/skip\1\tdocumented in docs\/SEMANTICS.md/' | labelled
  else
    python3 -B "$kit/tests/unprivileged/checks.py" "$phase" "$work/$place/state.json" | labelled
  fi
done
