"""Programs that work in the tree as their root filesystem."""

from lib.commands import ROOT, Unusable

from .rows import Goal, Sequence, Step
from .sites import LAYERED
from .world import REPOSITORY

FAMILY = "Programs in a chroot"
GOAL = (Goal("overlayfs", 1.1),)

PYTHON = "import django.conf, numpy, json, asyncio, http.server, unittest; print(numpy.arange(10).sum())"
NODE = "for (const m of ['http', 'https', 'zlib', 'crypto', 'vm']) require(m); console.log(45)"
GCC = """mkdir -p /srv/work/c && cd /srv/work/c
for i in $(seq 20); do printf '#include <stdio.h>\\n#include <stdlib.h>\\n#include <string.h>\\nint f%d(int x) { printf("%%d", x); return x + %d; }\\n' $i $i >f$i.c; done
for i in $(seq 20); do gcc -O1 -c f$i.c; done
ls *.o | wc -l"""
STATUS = f"for i in 1 2 3 4 5; do git -C /{REPOSITORY} status --porcelain; done; echo clean"
SQLITE = """import os, sqlite3
db = sqlite3.connect('/srv/work/bench.db', isolation_level=None)
db.execute('create table if not exists t(id integer primary key, body blob)')
for i in range(500): db.execute('insert into t(body) values(?)', (b'x' * 100,))
print(db.execute('select count(*) from t').fetchone()[0], db.execute('pragma integrity_check').fetchone()[0])"""


def program(expected, *command, warm=1):
    """Runs a command in the tree `warm` times unmeasured, then measured; it has to print what is expected."""

    def act(site):
        for _ in range(warm):
            site.time(lambda _: site.inside(*command))
        sample, printed = site.time(lambda _: site.inside(*command))
        sample.proof = [text.strip().split("\n")[-1] for text in printed]
        if any(text != expected for text in sample.proof):
            raise Unusable(f"it has printed {sample.proof}, not {expected}")
        return sample

    return act


def postgres(site, phase):
    return site.time(lambda _: [f"{ROOT}/scripts/in-root", site.root, "/bin/sh", "-c", POSTGRES, "sh", phase])


POSTGRES = """set -eu
dir=/srv/work/postgres; bin=$(echo /usr/lib/postgresql/*/bin)
as() { setpriv --reuid=postgres --regid=postgres --init-groups env HOME=$dir PGHOST=$dir PATH="$bin:$PATH" "$@"; }
if [ "$1" = make ]; then
  mkdir -p $dir; chown postgres:postgres $dir
  as initdb -D $dir/data -A trust >/dev/null
  echo "listen_addresses = ''
unix_socket_directories = '$dir'" >>$dir/data/postgresql.conf
fi
as pg_ctl -s -w -t 60 -D $dir/data -l $dir/log start
if [ "$1" = make ]; then as createdb bench; as pgbench -q -i -s 5 bench 2>/dev/null; fi
[ "$1" = make ] || as pgbench -n -c 2 -j 2 -t 500 bench
as pg_ctl -s -w -t 60 -D $dir/data -m fast stop"""


def pgbench(site):
    """Microseconds for one transaction, as pgbench has them; the database is made and stopped before."""
    postgres(site, "make")
    sample, printed = postgres(site, "run")
    figures = dict(line.split(" = ", 1) for line in printed[0].splitlines() if " = " in line)
    if "transactions actually processed: 1000/1000" not in printed[0]:
        raise Unusable(f"pgbench: {printed[0][-200:]}")
    sample.figure = 1e6 / float(figures["tps"].split()[0])
    sample.proof = 1000
    return sample


SEQUENCES = (
    Sequence(
        "programs", FAMILY, LAYERED, tree="debian", mode="layer",
        steps=(
            Step("python", "python with numpy and django", program("45", "python3", "-B", "-c", PYTHON), GOAL, apart=True),
            Step("node", "node", program("45", "node", "-e", NODE), GOAL, apart=True),
            Step("gcc", "gcc, 20 files", program("20", "sh", "-c", GCC), GOAL, apart=True),
            Step("git.status", "git status of 5,000 files, 5 times", program("clean", "sh", "-c", STATUS), GOAL, apart=True),
        ),
    ),
    Sequence(
        "sqlite", FAMILY, LAYERED, tree="debian", mode="layer",
        steps=(Step("sqlite", "sqlite, 500 autocommits", program("500 ok", "python3", "-B", "-c", SQLITE, warm=0), (Goal("overlayfs", 1.15),)),),
    ),
    Sequence(
        "postgres", FAMILY, LAYERED, tree="debian", mode="layer",
        steps=(Step("postgres", "postgres, one transaction of pgbench with 2 clients", pgbench, (Goal("overlayfs", 1.15),), unit="µs", quick=False),),
    ),
)
