/* Preloaded into a process: makes the disk below SLOW_DIR as slow as the file SLOW_HOW says at this moment.
 *
 * It holds two numbers: the megabytes that the disk takes in a second, from all threads and processes together (0: as
 * many as it can), and the seconds that each fsync takes besides. An empty or missing file: the disk is as fast as it
 * is. The file SLOW_HOW.taken keeps, for all of them, until when the disk is busy.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define SHORTEST_S 0.002 /* a shorter debt is not slept off yet: sleeping takes longer than it was asked for */
#define CREDIT_S 0.01
#define READ_EVERY_S 0.02

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic long *taken_at_ns; /* when the disk will have taken everything that was given to it */
static double read_at_s = -1.0;
static double mb_per_s, fsync_s;

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static void rest(double seconds) {
    struct timespec left = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
    while (nanosleep(&left, &left)) {}
}

/* Read the control file anew if it is time to; with the lock held. */
static void look(double now) {
    char text[64] = {0};
    const char *name = getenv("SLOW_HOW");
    int fd;
    if (read_at_s >= 0.0 && now < read_at_s + READ_EVERY_S) return;
    read_at_s = now;
    mb_per_s = fsync_s = 0.0;
    fd = name ? REAL(open)(name, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    if (read(fd, text, sizeof text - 1) > 0) sscanf(text, "%lf %lf", &mb_per_s, &fsync_s);
    close(fd);
}

static int slow(int fd) {
    char link[64], path[PATH_MAX];
    const char *folder = getenv("SLOW_DIR");
    ssize_t length;
    if (!folder) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return !strncmp(path, folder, strlen(folder));
}

/* Map what all processes share; with the lock held. */
static void share(void) {
    char name[PATH_MAX];
    int fd;
    if (taken_at_ns) return;
    snprintf(name, sizeof name, "%s.taken", getenv("SLOW_HOW"));
    fd = REAL(open)(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof *taken_at_ns)) abort();
    taken_at_ns = mmap(NULL, sizeof *taken_at_ns, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (taken_at_ns == MAP_FAILED) abort();
    close(fd);
}

static ssize_t written(int fd, ssize_t size) {
    double now, rate, wait;
    long free, before, after;
    if (size <= 0 || !slow(fd)) return size;
    pthread_mutex_lock(&lock);
    now = now_s();
    look(now);
    rate = mb_per_s;
    if (rate > 0.0) share();
    pthread_mutex_unlock(&lock);
    if (rate <= 0.0) return size;
    free = (long)((now - CREDIT_S) * 1e9); /* a sleep that took too long is made up for */
    before = atomic_load(taken_at_ns);
    do {
        after = (before < free ? free : before) + (long)(size / rate * 1e3);
    } while (!atomic_compare_exchange_weak(taken_at_ns, &before, after));
    wait = after / 1e9 - now;
    if (wait >= SHORTEST_S) rest(wait);
    return size;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    return written(fd, REAL(pwrite)(fd, data, size, offset));
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    return written(fd, REAL(pwrite64)(fd, data, size, offset));
}
ssize_t write(int fd, const void *data, size_t size) { return written(fd, REAL(write)(fd, data, size)); }

static int synced(int fd, int (*real)(int)) {
    double seconds = 0.0;
    if (slow(fd)) {
        pthread_mutex_lock(&lock);
        look(now_s());
        seconds = fsync_s;
        pthread_mutex_unlock(&lock);
    }
    if (seconds > 0.0) rest(seconds);
    return real(fd);
}
int fsync(int fd) { return synced(fd, REAL(fsync)); }
int fdatasync(int fd) { return synced(fd, REAL(fdatasync)); }
