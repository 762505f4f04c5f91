/* Preloaded into a process: writes down, in order, what it does to the database's files and what it tells others.
 *
 * RECORD_TO names the log, RECORD_DIR the folder (absolute, without a slash at the end). A record is a line of text,
 *     KIND inode offset length path\n
 * followed by `length` bytes. Kinds: W write, T truncate (offset = new size), F sync begins, S sync ended well, C file
 * created, R renamed (bytes: the new name), U unlinked, M message sent through a socket or printed. Sync of the folder
 * itself has the path ".".
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -1;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Return the path below RECORD_DIR, "." for the folder itself, NULL for anything but the database's files. */
static const char *ours(const char *path) {
    const char *folder = getenv("RECORD_DIR");
    size_t length;
    if (!folder || !path) return NULL;
    length = strlen(folder);
    if (strncmp(path, folder, length)) return NULL;
    if (!path[length]) return ".";
    if (path[length] != '/' || strncmp(path + length + 1, "edge-monitor.db", 15)) return NULL;
    if (strstr(path, "-shm")) return NULL;
    return path + length + 1;
}

static const char *of_descriptor(int fd, char *buffer) {
    char link[64];
    ssize_t length;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, buffer, PATH_MAX - 1);
    if (length < 0) return NULL;
    buffer[length] = 0;
    return ours(buffer);
}

static unsigned long inode_of(int fd) {
    struct stat status;
    return fstat(fd, &status) ? 0 : (unsigned long)status.st_ino;
}

static void record(char kind, unsigned long inode, long offset, const void *data, size_t length, const char *path) {
    char head[PATH_MAX + 100];
    int size = snprintf(head, sizeof head, "%c %lu %ld %zu %s\n", kind, inode, offset, length, path);
    pthread_mutex_lock(&lock);
    if (log_fd < 0) log_fd = REAL(open)(getenv("RECORD_TO"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (REAL(write)(log_fd, head, size) != size) abort();
    if (length && REAL(write)(log_fd, data, length) != (ssize_t)length) abort();
    pthread_mutex_unlock(&lock);
}

static ssize_t written(int fd, const void *data, ssize_t done, long offset) {
    char buffer[PATH_MAX];
    const char *path = done > 0 ? of_descriptor(fd, buffer) : NULL;
    if (path) record('W', inode_of(fd), offset, data, done, path);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    return written(fd, data, REAL(pwrite)(fd, data, size, offset), offset);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    return written(fd, data, REAL(pwrite64)(fd, data, size, offset), offset);
}
ssize_t write(int fd, const void *data, size_t size) {
    off_t offset = lseek(fd, 0, SEEK_CUR);
    ssize_t done = REAL(write)(fd, data, size);
    if (fd == 2 && done > 0) record('M', 0, 0, data, done, "printed");
    return offset < 0 ? done : written(fd, data, done, offset);
}
ssize_t send(int fd, const void *data, size_t size, int flags) {
    ssize_t done = REAL(send)(fd, data, size, flags);
    if (done > 0) record('M', 0, 0, data, done, "sent");
    return done;
}
static int synced(int fd, int (*real)(int)) {
    char buffer[PATH_MAX];
    const char *path = of_descriptor(fd, buffer);
    int result;
    if (path) record('F', inode_of(fd), 0, NULL, 0, path);
    result = real(fd);
    if (path && !result) record('S', inode_of(fd), 0, NULL, 0, path);
    return result;
}
int fsync(int fd) { return synced(fd, REAL(fsync)); }
int fdatasync(int fd) { return synced(fd, REAL(fdatasync)); }

static int truncated(int fd, long size, int result) {
    char buffer[PATH_MAX];
    const char *path = result ? NULL : of_descriptor(fd, buffer);
    if (path) record('T', inode_of(fd), size, NULL, 0, path);
    return result;
}
int ftruncate(int fd, off_t size) { return truncated(fd, size, REAL(ftruncate)(fd, size)); }
int ftruncate64(int fd, off64_t size) { return truncated(fd, size, REAL(ftruncate64)(fd, size)); }

static int opened(const char *path, int existed, int fd) {
    const char *name = fd < 0 || existed ? NULL : ours(path);
    if (name) record('C', inode_of(fd), 0, NULL, 0, name);
    return fd;
}
static int exists(const char *path) {
    struct stat status;
    return !stat(path, &status);
}
#define OPEN(name)                                                        \
    int name(const char *path, int flags, ...) {                          \
        mode_t mode = 0;                                                  \
        int existed = exists(path);                                       \
        if (flags & (O_CREAT | O_TMPFILE)) {                              \
            va_list more;                                                 \
            va_start(more, flags);                                        \
            mode = va_arg(more, mode_t);                                  \
            va_end(more);                                                 \
        }                                                                 \
        return opened(path, existed, REAL(name)(path, flags, mode));      \
    }
OPEN(open)
OPEN(open64)

int rename(const char *from, const char *to) {
    struct stat status;
    unsigned long inode = stat(from, &status) ? 0 : (unsigned long)status.st_ino;
    int result = REAL(rename)(from, to);
    const char *old = ours(from), *new = ours(to);
    if (!result && old && new) record('R', inode, 0, new, strlen(new), old);
    return result;
}
int unlink(const char *path) {
    int result = REAL(unlink)(path);
    const char *name = result ? NULL : ours(path);
    if (name) record('U', 0, 0, NULL, 0, name);
    return result;
}
