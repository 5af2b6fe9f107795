/* A disk and a clock that fail on demand, between a process and the C library: LD_PRELOAD. tests/faults/shim.py builds
 * it, describes the page and writes it; nothing happens without TEC_SHIM, the path of that page.
 *
 * Writes and syncs of files below a prefix fail, hang, lie, or end the process at the n-th of them. Every honest sync
 * copies what it made durable to a folder, so that a test can cut the power: what was never synced is not there then.
 * The wall clock is off by what the page says. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct page {
    int32_t write_error; /* errno, 0 = none */
    int32_t sync_error;
    int32_t slow_ms; /* each sync */
    int32_t lie;     /* syncs do nothing and say that they did */
    int64_t clock_us;
    int32_t kill_at; /* counts down with each call below the prefix; SIGKILL to oneself when it comes to 0 */
    int32_t hits;    /* calls that failed, hung or lied */
    char prefix[512];
    char images[512]; /* folder of what was synced, "" = keep none */
};

static struct page *page;

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("TEC_SHIM");
    int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *at = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED) page = at;
    close(fd);
}

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static int below(const char *path, const char *prefix) {
    size_t length = strlen(prefix);
    return length && !strncmp(path, prefix, length);
}

static int mine(int fd, char *path, size_t size) {
    char link[64];
    if (!page || (!page->write_error && !page->sync_error && !page->slow_ms && !page->lie && !page->kill_at &&
                  !page->images[0]))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t got = readlink(link, path, size - 1);
    if (got <= 0) return 0;
    path[got] = 0;
    return below(path, page->prefix);
}

static void maybe_die(void) {
    if (page->kill_at > 0 && __atomic_sub_fetch(&page->kill_at, 1, __ATOMIC_SEQ_CST) == 0) {
        kill(getpid(), SIGKILL);
        pause();
    }
}

static int refused(int fd, int error) {
    char path[4096];
    if (!mine(fd, path, sizeof path)) return 0;
    maybe_die();
    if (!error) return 0;
    __atomic_add_fetch(&page->hits, 1, __ATOMIC_RELAXED);
    errno = error;
    return 1;
}

/* What changed since the last sync of a descriptor; the first sync of one copies the whole file. */
struct dirty {
    int known;
    off_t low, high;
};
static struct dirty dirty[4096];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void wrote(int fd, off_t at, ssize_t count) {
    if (!page || !page->images[0] || count <= 0 || fd < 0 || fd >= 4096) return;
    pthread_mutex_lock(&lock);
    struct dirty *one = &dirty[fd];
    if (one->known) {
        if (one->low == one->high) one->low = at, one->high = at + count;
        if (at < one->low) one->low = at;
        if (at + count > one->high) one->high = at + count;
    }
    pthread_mutex_unlock(&lock);
}

static void keep(int fd) {
    struct stat found;
    char name[700], part[720];
    static char buffer[1 << 16];
    unsigned long generation = 0;
    ssize_t (*read_at)(int, void *, size_t, off_t) = pread;
    ssize_t (*write_at)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite");
    int (*cut)(int, off_t) = dlsym(RTLD_NEXT, "ftruncate");
    if (fstat(fd, &found) || !S_ISREG(found.st_mode) || fd >= 4096) return;
    ioctl(fd, FS_IOC_GETVERSION, &generation);
    /* the file itself, since a descriptor may be for writing only */
    snprintf(part, sizeof part, "/proc/self/fd/%d", fd);
    int from = open(part, O_RDONLY | O_CLOEXEC);
    if (from < 0) return;
    pthread_mutex_lock(&lock);
    struct dirty *one = &dirty[fd];
    off_t low = 0, high = found.st_size;
    snprintf(name, sizeof name, "%s/%lu-%u", page->images, (unsigned long)found.st_ino, (unsigned)generation);
    int to = open(name, O_RDWR | O_CLOEXEC);
    if (to >= 0 && one->known) {
        low = one->low, high = one->high < found.st_size ? one->high : found.st_size;
    } else if (to < 0) {
        to = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    }
    while (to >= 0 && low < high) {
        ssize_t got = read_at(from, buffer, high - low < (off_t)sizeof buffer ? high - low : (off_t)sizeof buffer, low);
        if (got <= 0 || write_at(to, buffer, got, low) != got) break;
        low += got;
    }
    if (to >= 0) cut(to, found.st_size), close(to);
    one->known = 1, one->low = one->high = 0;
    pthread_mutex_unlock(&lock);
    close(from);
}

static int synced(int fd, int (*real)(int)) {
    char path[4096];
    if (!mine(fd, path, sizeof path)) return real(fd);
    maybe_die();
    if (page->slow_ms) {
        struct timespec left = {page->slow_ms / 1000, page->slow_ms % 1000 * 1000000L};
        __atomic_add_fetch(&page->hits, 1, __ATOMIC_RELAXED);
        while (nanosleep(&left, &left) && errno == EINTR) {}
    }
    if (page->sync_error) {
        __atomic_add_fetch(&page->hits, 1, __ATOMIC_RELAXED);
        errno = page->sync_error;
        return -1;
    }
    if (page->lie) {
        __atomic_add_fetch(&page->hits, 1, __ATOMIC_RELAXED);
        return 0;
    }
    int status = real(fd);
    if (!status && page->images[0]) keep(fd);
    return status;
}

int fsync(int fd) {
    REAL(fsync);
    return synced(fd, real);
}

int fdatasync(int fd) {
    REAL(fdatasync);
    return synced(fd, real);
}

ssize_t write(int fd, const void *data, size_t count) {
    REAL(write);
    if (refused(fd, page ? page->write_error : 0)) return -1;
    ssize_t done = real(fd, data, count);
    if (page && page->images[0] && done > 0) {
        off_t after = lseek(fd, 0, SEEK_CUR);
        if (after >= done) wrote(fd, after - done, done);
    }
    return done;
}

#define PWRITE(name) \
    ssize_t name(int fd, const void *data, size_t count, off_t at) { \
        REAL(name); \
        if (refused(fd, page ? page->write_error : 0)) return -1; \
        ssize_t done = real(fd, data, count, at); \
        wrote(fd, at, done); \
        return done; \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define TRUNCATE(name) \
    int name(int fd, off_t size) { \
        REAL(name); \
        return refused(fd, page ? page->write_error : 0) ? -1 : real(fd, size); \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

#define FALLOCATE(name) \
    int name(int fd, off_t at, off_t size) { \
        REAL(name); \
        return refused(fd, page ? page->write_error : 0) ? errno : real(fd, at, size); \
    }
FALLOCATE(posix_fallocate)
FALLOCATE(posix_fallocate64)

int close(int fd) {
    REAL(close);
    if (fd >= 0 && fd < 4096) dirty[fd].known = 0;
    return real(fd);
}

static int named(const char *path) {
    if (!page || (!page->write_error && !page->kill_at) || !below(path, page->prefix)) return 0;
    maybe_die();
    /* what has room may still be renamed and removed on a disk that is full */
    if (!page->write_error || page->write_error == ENOSPC) return 0;
    __atomic_add_fetch(&page->hits, 1, __ATOMIC_RELAXED);
    errno = page->write_error;
    return 1;
}

int rename(const char *from, const char *to) {
    REAL(rename);
    return named(to) ? -1 : real(from, to);
}

int link(const char *from, const char *to) {
    REAL(link);
    return named(to) ? -1 : real(from, to);
}

int unlink(const char *path) {
    REAL(unlink);
    return named(path) ? -1 : real(path);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(clock_gettime);
    int status = real(clock, now);
    if (!status && page && clock == CLOCK_REALTIME && page->clock_us) {
        int64_t ns = now->tv_sec * 1000000000LL + now->tv_nsec + page->clock_us * 1000;
        now->tv_sec = ns / 1000000000LL, now->tv_nsec = ns % 1000000000LL;
    }
    return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &exact)) return -1;
    now->tv_sec = exact.tv_sec, now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *where) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (where) *where = exact.tv_sec;
    return exact.tv_sec;
}
