/* Preloaded into a process: makes the disk below FAIL_DIR fail as the file FAIL_HOW says at this moment.
 *
 * Its first letter: E fsync fails with EIO, R writing fails with EROFS as after the kernel has gone read-only,
 * F writing fails with ENOSPC as on a full disk, S fsync takes as many seconds as the number behind it says. An empty or
 * missing file: all is well.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int below(const char *path) {
    const char *folder = getenv("FAIL_DIR");
    return folder && path && !strncmp(path, folder, strlen(folder));
}

static int descriptor_below(int fd) {
    char link[64], path[PATH_MAX];
    ssize_t length;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

static char how(int *seconds) {
    char text[16] = {0};
    const char *name = getenv("FAIL_HOW");
    int fd = name ? REAL(open)(name, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return 0;
    if (read(fd, text, sizeof text - 1) < 0) text[0] = 0;
    close(fd);
    if (seconds) *seconds = atoi(text + 1);
    return text[0];
}

static int refused(int fd) {
    char fault = descriptor_below(fd) ? how(NULL) : 0;
    if (fault != 'R' && fault != 'F') return 0;
    errno = fault == 'R' ? EROFS : ENOSPC;
    return 1;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    return refused(fd) ? -1 : REAL(pwrite)(fd, data, size, offset);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    return refused(fd) ? -1 : REAL(pwrite64)(fd, data, size, offset);
}
ssize_t write(int fd, const void *data, size_t size) { return refused(fd) ? -1 : REAL(write)(fd, data, size); }
int ftruncate(int fd, off_t size) { return refused(fd) ? -1 : REAL(ftruncate)(fd, size); }
int ftruncate64(int fd, off64_t size) { return refused(fd) ? -1 : REAL(ftruncate64)(fd, size); }

static int synced(int fd, int (*real)(int)) {
    int seconds = 0;
    char fault = descriptor_below(fd) ? how(&seconds) : 0;
    if (fault == 'E' || fault == 'R') {
        errno = EIO;
        return -1;
    }
    if (fault == 'S') sleep(seconds);
    return real(fd);
}
int fsync(int fd) { return synced(fd, REAL(fsync)); }
int fdatasync(int fd) { return synced(fd, REAL(fdatasync)); }

#define OPEN(name)                                                                              \
    int name(const char *path, int flags, ...) {                                                \
        mode_t mode = 0;                                                                        \
        struct stat status;                                                                     \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                    \
            va_list more;                                                                       \
            va_start(more, flags);                                                              \
            mode = va_arg(more, mode_t);                                                        \
            va_end(more);                                                                       \
        }                                                                                       \
        if (below(path) && ((flags & O_ACCMODE) != O_RDONLY || stat(path, &status)) && how(NULL) == 'R') { \
            errno = EROFS;                                                                      \
            return -1;                                                                          \
        }                                                                                       \
        return REAL(name)(path, flags, mode);                                                   \
    }
OPEN(open)
OPEN(open64)
