#!/bin/sh
# PostgreSQL: its own cluster, pgbench, clean stop; then started again, with the same rows.
#   make    makes and fills it; leaves it stopped
#   check   starts it, counts, adds a little, stops
#   hold    starts it and runs pgbench until killed: for a snapshot of a database in use
set -eu
dir=/srv/postgres
bin=$(echo /usr/lib/postgresql/*/bin)
as() { setpriv --reuid=postgres --regid=postgres --init-groups env HOME=$dir PGHOST=$dir PATH="$bin:$PATH" "$@"; }
start() { as pg_ctl -s -w -t 60 -D $dir/data -l $dir/log start || { tail -n 20 $dir/log; exit 1; }; }
stop() { as pg_ctl -s -w -t 60 -D $dir/data -m fast stop; }
if [ "$1" = make ]; then
  mkdir -p $dir
  chown postgres:postgres $dir
  as initdb -D $dir/data -A trust --data-checksums >/dev/null
  echo "listen_addresses = ''
unix_socket_directories = '$dir'" >>$dir/data/postgresql.conf
  start
  as createdb bench
  as pgbench -q -i -s 2 bench 2>/dev/null
  stop
fi
# A crashed cluster's lock file names a process of another machine's life.
rm -f $dir/data/postmaster.pid
start
if [ "$1" = hold ]; then
  as pgbench -n -c 2 -j 2 -T 600 bench >/dev/null 2>&1 &
  echo running
  wait
fi
as pgbench -n -c 2 -j 2 -t 300 bench | grep -E 'transactions actually|tps' | tr '\n' ' '
# pgbench keeps these sums equal in every transaction.
sums=$(as psql -qtAX bench -c 'select (select sum(abalance) from pgbench_accounts) = (select sum(bbalance) from pgbench_branches) and
  (select sum(tbalance) from pgbench_tellers) = (select sum(delta) from pgbench_history), (select count(*) from pgbench_accounts)')
[ "$sums" = "t|200000" ] || { echo "sums: $sums"; exit 1; }
stop
as pg_checksums -c -D $dir/data | grep -E 'Bad checksums: *0' >/dev/null
echo "postgres: balanced, page checksums good"
