/* What a disk can do to a process, at its n-th call that changes a folder: end the process there (a write is then
   half done), or be full from there on. With STOP_IMAGE it also keeps what the disk would hold after a power cut: of a
   file what it held when it was last forced to the disk, of a folder the names it had when it was.

   STOP_HOME  the folder        STOP_AT  n, 0 for never      STOP_HOW  kill | full
   STOP_IMAGE folder of inode numbers; a folder's holds lines "inode name"      STOP_COUNT file to write n to at exit */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REAL(result, name, ...) \
  static result (*real)(__VA_ARGS__); \
  if (!real) real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static long calls;

static int inside(const char *path) {
  const char *home = getenv("STOP_HOME");
  size_t length = home ? strlen(home) : 0;
  char here[PATH_MAX], whole[2 * PATH_MAX];
  if (path && *path != '/' && getcwd(here, sizeof here)) {
    snprintf(whole, sizeof whole, "%s/%s", here, path);
    path = whole;
  }
  return length && path && !strncmp(path, home, length) && (path[length] == '/' || !path[length]);
}

static int held(int fd) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  if (n < 0 || *path != '/') return 0; /* a pipe has no place */
  path[n] = 0;
  return inside(path) && !strstr(path, "-shm"); /* an index in memory, which SQLite makes anew */
}

/* 0: go on, 1: the disk is full, 2: this is the end */
static int fate(int room) {
  const char *at = getenv("STOP_AT"), *how = getenv("STOP_HOW");
  long n = __sync_add_and_fetch(&calls, 1), stop = at ? atol(at) : 0;
  if (!stop || n < stop) return 0;
  if (how && !strcmp(how, "full")) return room;
  return n == stop ? 2 : 0;
}

static void die(void) { kill(getpid(), SIGKILL); for (;;) pause(); }

static void image(int fd) {
  const char *to = getenv("STOP_IMAGE");
  struct stat st;
  char part[PATH_MAX], whole[PATH_MAX], buffer[1 << 16];
  if (!to || fstat(fd, &st)) return;
  snprintf(part, sizeof part, "%s/.%ld", to, (long)getpid());
  snprintf(whole, sizeof whole, "%s/%lu", to, (unsigned long)st.st_ino);
  FILE *out = fopen(part, "w");
  if (!out) return;
  if (S_ISDIR(st.st_mode)) {
    DIR *folder = fdopendir(openat(fd, ".", O_RDONLY));
    struct dirent *e;
    while (folder && (e = readdir(folder)))
      if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..")) fprintf(out, "%lu %s\n", (unsigned long)e->d_ino, e->d_name);
    if (folder) closedir(folder);
  } else {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    FILE *in = fopen(link, "r");
    size_t n;
    while (in && (n = fread(buffer, 1, sizeof buffer, in))) fwrite(buffer, 1, n, out);
    if (in) fclose(in);
  }
  fclose(out);
  rename(part, whole);
}

ssize_t write(int fd, const void *data, size_t size) {
  REAL(ssize_t, "write", int, const void *, size_t);
  int end = held(fd) ? fate(1) : 0;
  if (end == 1) { errno = ENOSPC; return -1; }
  if (end == 2) { real(fd, data, size / 2); die(); }
  return real(fd, data, size);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
  REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
  int end = held(fd) ? fate(1) : 0;
  if (end == 1) { errno = ENOSPC; return -1; }
  if (end == 2) { real(fd, data, size / 2, at); die(); }
  return real(fd, data, size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return pwrite64(fd, data, size, at); }

/* What is about to lose its name stays under another beside the image: were its number given to a new file, that file
   would seem to hold on the disk what the old one held. */
static void outlive(int folder, const char *path) {
  const char *to = getenv("STOP_IMAGE");
  struct stat st;
  char name[PATH_MAX];
  if (!to || fstatat(folder, path, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode)) return;
  snprintf(name, sizeof name, "%s/.gone-%lu", to, (unsigned long)st.st_ino);
  linkat(folder, path, AT_FDCWD, name, 0); /* where it is there already, so is the file */
}

/* A folder cannot be kept so: what the disk held of it goes with it. */
static void forget(ino_t number) {
  const char *to = getenv("STOP_IMAGE");
  char name[PATH_MAX];
  if (!to) return;
  snprintf(name, sizeof name, "%s/%lu", to, (unsigned long)number);
  syscall(SYS_unlinkat, AT_FDCWD, name, 0);
}

static int synced(int fd, int (*real)(int)) {
  int ours = held(fd), end = ours ? fate(0) : 0, done;
  if (end == 2) die();
  done = real(fd);
  if (ours && !done) image(fd);
  return done;
}

int fsync(int fd) { REAL(int, "fsync", int); return synced(fd, real); }
int fdatasync(int fd) { REAL(int, "fdatasync", int); return synced(fd, real); }

int ftruncate64(int fd, off64_t size) {
  REAL(int, "ftruncate64", int, off64_t);
  if (held(fd) && fate(0) == 2) die();
  return real(fd, size);
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int rename(const char *from, const char *to) {
  REAL(int, "rename", const char *, const char *);
  if (inside(to) && fate(0) == 2) die();
  if (inside(to)) outlive(AT_FDCWD, to);
  return real(from, to);
}

int unlink(const char *path) {
  REAL(int, "unlink", const char *);
  if (inside(path) && fate(0) == 2) die();
  if (inside(path)) outlive(AT_FDCWD, path);
  return real(path);
}

int unlinkat(int folder, const char *path, int flags) {
  REAL(int, "unlinkat", int, const char *, int);
  struct stat st = {0};
  int ours = folder == AT_FDCWD || *path == '/' ? inside(path) : held(folder), done;
  if (ours && fate(0) == 2) die();
  if (ours && flags & AT_REMOVEDIR) fstatat(folder, path, &st, 0);
  else if (ours) outlive(folder, path);
  done = real(folder, path, flags);
  if (ours && !done && flags & AT_REMOVEDIR) forget(st.st_ino);
  return done;
}

int rmdir(const char *path) {
  REAL(int, "rmdir", const char *);
  struct stat st = {0};
  int ours = inside(path), done;
  if (ours && fate(0) == 2) die();
  if (ours) stat(path, &st);
  done = real(path);
  if (ours && !done) forget(st.st_ino);
  return done;
}

__attribute__((destructor)) static void count(void) {
  const char *to = getenv("STOP_COUNT");
  FILE *out = to && calls ? fopen(to, "w") : 0;
  if (out) { fprintf(out, "%ld", calls); fclose(out); }
}
