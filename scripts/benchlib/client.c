/* The programs that are timed where starting one process per operation, or an interpreter's loop, would hide what is measured.
 *
 *   client lstat LIST ROOT             lstat(2) of every path that LIST names, in its order
 *   client open LIST ROOT [REPEAT]     open, read to the end, close
 *   client seqread FILE                read(2) in pieces of 1 MiB
 *   client randread FILE COUNT         pread(2) of 4 KiB at random places
 *   client mmapread FILE               sums every page through a mapping
 *   client seqwrite FILE MIB           makes the file, or overwrites it; no fsync
 *   client randwrite FILE COUNT        pwrite(2) of 4 KiB at random places
 *   client syncwrite FILE COUNT        appends 4 KiB and fsyncs, COUNT times
 *   client install DIR COUNT           what a package manager does: COUNT small files in packages, written aside and renamed
 *   client append FILE                 one byte
 *   client page FILE                   overwrites one page in the middle
 *   client rename FROM TO              rename(2); fails as that does
 *   client wait PATH COMMAND...        runs COMMAND, then stats PATH: from the start of the one to the end of the other
 *
 * LIST holds paths relative to ROOT, each ended by a NUL. Prints `NANOSECONDS COUNT SUM`: how long the loop took, how many operations
 * succeeded, and what was seen, so that two filesystems can be held to having done the same. Random places come from a fixed seed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t seed = 88172645463325252u, count, sum;
static struct timespec began, ended;
static char *buffer;
enum { PIECE = 1 << 20, PAGE = 4096 };

static void die(const char *what) {
  fprintf(stderr, "client: %s: %s\n", what, strerror(errno));
  exit(1);
}
static uint64_t chance(void) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  return seed ^= seed << 17;
}
/* The first call counts, so that what opens its file as part of the work begins before that. */
static void begin(void) {
  if (!began.tv_sec) clock_gettime(CLOCK_MONOTONIC, &began);
}
static void end(void) { clock_gettime(CLOCK_MONOTONIC, &ended); }

static int must_open(int dir, const char *path, int flags) {
  int fd = openat(dir, path, flags, 0644);
  if (fd < 0) die(path);
  return fd;
}
static off_t size_of(int fd) {
  struct stat st;
  if (fstat(fd, &st)) die("fstat");
  return st.st_size;
}

/* The paths of LIST as one array of pointers, ended by a null. */
static char **paths(const char *list) {
  int fd = must_open(AT_FDCWD, list, O_RDONLY);
  off_t size = size_of(fd), have = 0;
  char *text = malloc(size + 1);
  while (have < size) {
    ssize_t got = read(fd, text + have, size - have);
    if (got <= 0) die(list);
    have += got;
  }
  text[size] = 0;
  size_t n = 0;
  for (off_t i = 0; i < size; i++) n += !text[i];
  char **all = calloc(n + 1, sizeof *all), *at = text;
  for (size_t i = 0; i < n; i++, at += strlen(at) + 1) all[i] = at;
  close(fd);
  return all;
}

static void lstats(char **all, int root) {
  struct stat st;
  begin();
  for (; *all; all++) {
    if (fstatat(root, *all, &st, AT_SYMLINK_NOFOLLOW)) die(*all);
    count++;
    if (!S_ISDIR(st.st_mode)) sum += st.st_size;
    sum += st.st_mode;
  }
  end();
}

static void opens(char **all, int root, int repeat) {
  begin();
  for (int i = 0; i < repeat; i++)
    for (char **path = all; *path; path++) {
      int fd = must_open(root, *path, O_RDONLY);
      ssize_t got;
      while ((got = read(fd, buffer, PIECE)) > 0) sum += got;
      if (got < 0) die(*path);
      close(fd);
      count++;
    }
  end();
}

static void random_pages(int fd, int times, int writes) {
  uint64_t pages = size_of(fd) / PAGE;
  begin();
  for (int i = 0; i < times; i++) {
    off_t at = (off_t)(chance() % pages) * PAGE;
    ssize_t done = writes ? pwrite(fd, buffer, PAGE, at) : pread(fd, buffer, PAGE, at);
    if (done != PAGE) die("a page");
    count++;
    sum += writes ? 0 : (unsigned char)buffer[7];
  }
  end();
}

static void map_read(int fd) {
  off_t size = size_of(fd);
  begin();
  const volatile char *map = mmap(0, size, PROT_READ, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) die("mmap");
  for (off_t at = 0; at < size; at += PAGE, count++) sum += (unsigned char)map[at];
  munmap((void *)map, size);
  end();
}

static void installs(const char *dir, int files) {
  char path[4200], temporary[4300];
  begin();
  for (int i = 0; i < files; i++) {
    int package = i / 20, within = i % 20;
    if (within == 0) {
      const char *parts[] = {"", "/lib", "/dist", "/test"};
      for (int p = 0; p < 4; p++) {
        snprintf(path, sizeof path, "%s/package-%d%s", dir, package, parts[p]);
        if (mkdir(path, 0755)) die(path);
      }
    }
    const char *where = within < 3 ? "" : within < 10 ? "/lib" : within < 16 ? "/dist" : "/test";
    snprintf(path, sizeof path, "%s/package-%d%s/module-%d.js", dir, package, where, within);
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    int fd = must_open(AT_FDCWD, temporary, O_WRONLY | O_CREAT | O_EXCL);
    size_t length = 200 + chance() % 6000;
    if (write(fd, buffer, length) != (ssize_t)length) die(temporary);
    if (fchmod(fd, within == 0 ? 0755 : 0644)) die(temporary);
    close(fd);
    if (rename(temporary, path)) die(path);
    count++;
    sum += length;
    if (within == 0) {
      snprintf(temporary, sizeof temporary, "%s/bin-%d", dir, package);
      if (symlink(path, temporary)) die(temporary);
    }
  }
  end();
}

static void waits(const char *path, char **command) {
  struct stat st;
  int status;
  begin();
  pid_t pid = vfork();
  if (pid == 0) {
    dup2(2, 1);
    execvp(command[0], command);
    _exit(127);
  }
  if (pid < 0 || waitpid(pid, &status, 0) != pid) die(command[0]);
  if (status) {
    fprintf(stderr, "client: %s: status %d\n", command[0], status);
    exit(1);
  }
  if (lstat(path, &st)) die(path);
  end();
  count = 1;
  sum = st.st_size;
}

static void writes(int fd, const char *what, long amount) {
  if (!strcmp(what, "seqwrite")) {
    for (; count < (uint64_t)amount; count++)
      if (write(fd, buffer, PIECE) != PIECE) die("write");
  } else if (!strcmp(what, "syncwrite")) {
    for (; count < (uint64_t)amount; count++)
      if (write(fd, buffer, PAGE) != PAGE || fsync(fd)) die("write or fsync");
  } else if (!strcmp(what, "append")) {
    if (lseek(fd, 0, SEEK_END) < 0 || write(fd, "x", 1) != 1) die("append");
    count = 1;
  } else {
    random_pages(fd, amount, 1);
  }
  if (close(fd)) die("close");
  end();
}

int main(int argc, char **argv) {
  buffer = malloc(PIECE);
  memset(buffer, 'c', PIECE);
  if (argc < 3) die("usage");
  const char *what = argv[1], *path = argv[2];
  long amount = argc > 3 ? atol(argv[3]) : 0;
  int root = argc > 3 && (!strcmp(what, "lstat") || !strcmp(what, "open")) ? must_open(AT_FDCWD, argv[3], O_PATH | O_DIRECTORY) : -1;
  if (!strcmp(what, "lstat")) {
    lstats(paths(path), root);
  } else if (!strcmp(what, "open")) {
    opens(paths(path), root, argc > 4 ? atoi(argv[4]) : 1);
  } else if (!strcmp(what, "seqread")) {
    int fd = must_open(AT_FDCWD, path, O_RDONLY);
    begin();
    for (ssize_t got; (got = read(fd, buffer, PIECE)) != 0; count++) {
      if (got < 0) die(path);
      sum += got;
    }
    end();
  } else if (!strcmp(what, "randread")) {
    random_pages(must_open(AT_FDCWD, path, O_RDONLY), amount, 0);
  } else if (!strcmp(what, "mmapread")) {
    map_read(must_open(AT_FDCWD, path, O_RDONLY));
  } else if (!strcmp(what, "seqwrite")) {
    begin();
    writes(must_open(AT_FDCWD, path, O_WRONLY | O_CREAT), what, amount);
  } else if (!strcmp(what, "randwrite") || !strcmp(what, "syncwrite") || !strcmp(what, "append")) {
    begin();
    writes(must_open(AT_FDCWD, path, !strcmp(what, "syncwrite") ? O_WRONLY | O_CREAT : O_WRONLY), what, amount);
  } else if (!strcmp(what, "page")) {
    begin();
    int fd = must_open(AT_FDCWD, path, O_WRONLY);
    if (pwrite(fd, buffer, PAGE, size_of(fd) / 2 / PAGE * PAGE) != PAGE || close(fd)) die(path);
    end();
    count = 1;
  } else if (!strcmp(what, "install")) {
    installs(path, amount);
  } else if (!strcmp(what, "rename")) {
    begin();
    if (rename(path, argv[3])) die("rename");
    end();
    count = 1;
  } else if (!strcmp(what, "wait") && argc > 3) {
    waits(path, argv + 3);
  } else {
    die("unknown");
  }
  int64_t took = (ended.tv_sec - began.tv_sec) * 1000000000LL + ended.tv_nsec - began.tv_nsec;
  printf("%lld %llu %llu\n", (long long)took, (unsigned long long)count, (unsigned long long)sum);
  return 0;
}
