#!/bin/sh
# Compiles, links and runs: a program of several files by make, a static one, and a shared library opened at run time.
set -eu
dir=/srv/gcc
if [ "$1" = make ]; then
  mkdir -p $dir
  cd $dir
  for i in 1 2 3 4 5 6 7 8; do echo "int part$i(int x) { return x + $i; }" >"part$i.c"; done
  {
    echo '#include <stdio.h>'
    for i in 1 2 3 4 5 6 7 8; do echo "int part$i(int);"; done
    echo 'int main(void) { int x = 0;'
    for i in 1 2 3 4 5 6 7 8; do echo "x = part$i(x);"; done
    printf '%s\n' 'printf("sum %d\n", x); return 0; }'
  } >main.c
  {
    printf 'CFLAGS = -O2 -Wall\nall: prog prog-static libpart.so\n'
    printf 'prog: main.o part1.o part2.o part3.o part4.o part5.o part6.o part7.o part8.o\n\t$(CC) -o $@ $^\n'
    printf 'prog-static: main.o part1.o part2.o part3.o part4.o part5.o part6.o part7.o part8.o\n\t$(CC) -static -o $@ $^\n'
    printf 'libpart.so: part1.c\n\t$(CC) -shared -fPIC -o $@ $<\n'
  } >Makefile
  make -j2 CC=gcc
fi
cd $dir
# Nothing to do: the times that make goes by are what they were.
make -q CC=gcc || { echo "make thinks that something is out of date"; exit 1; }
[ "$(./prog)" = "sum 36" ]
[ "$(./prog-static)" = "sum 36" ]
[ "$(python3 -c 'import ctypes; print(ctypes.CDLL("/srv/gcc/libpart.so").part1(1))')" = 2 ]
[ "$(perl -e 'print join ",", map { s/\.o$//r } sort glob("/srv/gcc/part*.o")' | tr -cd , | wc -c)" = 7 ]
echo "gcc, make, perl, ctypes: fine"
