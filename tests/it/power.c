/* A disk that keeps only what was synced. Before each sync of a file below the folder DISK its content is copied to PLATTER:
   that is what is there after a power cut. Loaded before the C library (LD_PRELOAD).

   While PLATTER has a file "fail", the next sync of a write-ahead log fails, and as on Linux what it should have written is
   forgotten: later syncs succeed, but nothing of the log reaches the platter until all of it has been written anew. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static void copy(int from, const char *name, const char *platter)
{
    char unfinished[PATH_MAX * 2], whole[PATH_MAX * 2], block[65536];
    snprintf(unfinished, sizeof unfinished, "%s/.%s", platter, name);
    snprintf(whole, sizeof whole, "%s/%s", platter, name);
    int to = open(unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    off_t at = 0;
    for (ssize_t length; (length = pread(from, block, sizeof block, at)) > 0; at += length)
        if (pwrite(to, block, length, at) != length)
            abort();
    close(to);
    rename(unfinished, whole);
}

/* The log, how much of it was forgotten, and how much from its beginning on has been written since. */
static char forgotten_log[PATH_MAX];
static off_t forgotten, written;

static int keep(int file)
{
    const char *disk = getenv("DISK"), *platter = getenv("PLATTER");
    char link[64], path[PATH_MAX];
    struct stat is;
    if (!disk || !platter || fstat(file, &is) || !S_ISREG(is.st_mode))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    if (strncmp(path, disk, strlen(disk)))
        return 0;
    const char *name = strrchr(path, '/') + 1;
    char fail[PATH_MAX];
    snprintf(fail, sizeof fail, "%s/fail", platter);
    pthread_mutex_lock(&one_at_a_time);
    if (length > 4 && !strcmp(path + length - 4, "-wal")) {
        if (!unlink(fail)) {
            strcpy(forgotten_log, path);
            forgotten = is.st_size;
            written = 0;
            pthread_mutex_unlock(&one_at_a_time);
            return -1;
        }
        if (forgotten > written) {
            pthread_mutex_unlock(&one_at_a_time);
            return 0;
        }
        forgotten = 0;
    }
    /* A second handle is made only of a file that cannot be read by this one: closing it takes SQLite's locks away. */
    if ((fcntl(file, F_GETFL) & O_ACCMODE) == O_WRONLY) {
        int readable = open(path, O_RDONLY | O_CLOEXEC);
        copy(readable, name, platter);
        close(readable);
    } else {
        copy(file, name, platter);
    }
    pthread_mutex_unlock(&one_at_a_time);
    return 0;
}

ssize_t write(int file, const void *from, size_t length)
{
    off_t at = forgotten ? lseek(file, 0, SEEK_CUR) : -1;
    ssize_t done = ((ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write"))(file, from, length);
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t named = at < 0 ? -1 : readlink(link, path, sizeof path - 1);
    if (named > 0) {
        path[named] = 0;
        if (!strcmp(path, forgotten_log) && at <= written && at + done > written)
            written = at + done;
    }
    return done;
}

int fsync(int file)
{
    if (keep(file)) {
        errno = EIO;
        return -1;
    }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(file);
}

int fdatasync(int file)
{
    if (keep(file)) {
        errno = EIO;
        return -1;
    }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(file);
}
