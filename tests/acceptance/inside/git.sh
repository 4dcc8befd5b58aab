#!/bin/sh
# git: init, commits, branches, merge, clone, repack, gc, fsck.
set -eu
export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.org GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@example.org
dir=/srv/git
if [ "$1" = make ]; then
  mkdir -p $dir
  cd $dir
  git init -q -b main one
  cd one
  cp -r /usr/share/perl/5.*.*/ src
  git add -A
  git commit -q -m first
  git checkout -q -b side
  find src -type f | sort | head -200 | while read -r f; do echo "# changed" >>"$f"; done
  git commit -q -a -m side
  git checkout -q main
  git mv src lib
  git commit -q -m renamed
  git merge -q -m merged side
  cd ..
  git clone -q --no-hardlinks one two
  git clone -q one three
  git -C one gc -q --aggressive --prune=now
  git -C two repack -q -a -d
fi
for r in one two three; do
  git -C $dir/$r fsck --full --strict --no-progress
  [ -z "$(git -C $dir/$r status --porcelain)" ] || { echo "$r has changes"; exit 1; }
  [ "$(git -C $dir/$r rev-list --count HEAD)" = 4 ]
done
echo "git: $(git -C $dir/one ls-files | wc -l) files in three repositories, fsck clean"
