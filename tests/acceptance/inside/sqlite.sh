#!/bin/sh
# SQLite in WAL mode (shared memory by mmap): writers at once, integrity check, and a database left without a checkpoint.
set -eu
dir=/srv/sqlite
if [ "$1" = make ]; then
  mkdir -p $dir
  [ "$(sqlite3 $dir/a.db 'pragma journal_mode=wal; create table t(id integer primary key, who int, body blob);')" = wal ]
  pids=
  for who in 1 2 3; do
    for i in $(seq 200); do echo "insert into t(who, body) values($who, randomblob(2000));"; done |
      sqlite3 -cmd '.timeout 60000' $dir/a.db &
    pids="$pids $!"
  done
  for pid in $pids; do wait "$pid"; done
  sqlite3 $dir/a.db 'update t set body = zeroblob(100) where id % 7 = 0; vacuum;' 
  # A copy of the files of a database in use has its last changes in the log only.
  python3 - <<'PY'
import os, shutil, sqlite3
db = sqlite3.connect("/srv/sqlite/b.db", isolation_level=None)
db.execute("pragma journal_mode=wal")
db.execute("create table t(x)")
for i in range(300):
    db.execute("insert into t values(?)", (os.urandom(500),))
for end in "", "-wal":
    shutil.copy("/srv/sqlite/b.db" + end, "/srv/sqlite/left.db" + end)
PY
fi
for db in a b left; do
  [ "$(sqlite3 $dir/$db.db 'pragma integrity_check')" = ok ] || { echo "$db.db is damaged"; exit 1; }
done
[ "$(sqlite3 $dir/a.db 'select count(*), count(distinct who) from t')" = "600|3" ]
[ "$(sqlite3 $dir/left.db 'select count(*) from t')" = 300 ]
echo "sqlite: WAL, 600 rows by three writers, integrity_check ok"
