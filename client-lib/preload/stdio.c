/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Entry points of stdio. The C library's streams read by calls of its own, which nobody sees; so a
 * stream of a served descriptor is one of fopencookie(3), whose reads come here. Its descriptor is
 * the served one, as fileno() says.
 */
#define _GNU_SOURCE
#include "client-lib/preload/stdio.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client-lib/preload/names.h"

/* Chosen: a read of the server costs as much as copying some 64 KiB. */
#define BUFFER_BYTES 65536u

struct stream {
    struct stream *next; /* in the list of all */
    FILE *file;          /* the C library's */
    int fd;              /* owned */
    int flags;           /* of open(2), as its mode says */
    char buffer[BUFFER_BYTES];
};

static struct stream *_Atomic streams;
static void forget_standard(const FILE *file);
static FILE **standard_stream(int fd);
static pthread_mutex_t streams_lock = PTHREAD_MUTEX_INITIALIZER;

static bool has_streams(void)
{
    return atomic_load_explicit(&streams, memory_order_acquire) != NULL;
}

/* Return: NULL: none of ours. */
static struct stream *find(const FILE *file)
{
    struct stream *stream;

    (void)pthread_mutex_lock(&streams_lock);
    stream = atomic_load(&streams);
    while (stream && stream->file != file)
        stream = stream->next;
    (void)pthread_mutex_unlock(&streams_lock);
    return stream;
}

bool stdio_is_served(const FILE *file)
{
    return has_streams() && find(file) != NULL;
}

/* Return: the caller's; NULL: none of ours. */
static struct stream *unlist(const FILE *file)
{
    struct stream *before = NULL;
    struct stream *stream;

    (void)pthread_mutex_lock(&streams_lock);
    stream = atomic_load(&streams);
    while (stream && stream->file != file) {
        before = stream;
        stream = stream->next;
    }
    if (stream && before)
        before->next = stream->next;
    else if (stream)
        atomic_store(&streams, stream->next);
    (void)pthread_mutex_unlock(&streams_lock);
    return stream;
}

static ssize_t cookie_read(void *cookie, char *buf, size_t size)
{
    return read(((struct stream *)cookie)->fd, buf, size);
}

static ssize_t cookie_write(void *cookie, const char *buf, size_t size)
{
    ssize_t n = write(((struct stream *)cookie)->fd, buf, size);

    return n < 0 ? 0 : n; /* fopencookie(3): a failing write says 0 */
}

static int cookie_seek(void *cookie, off64_t *offset, int whence)
{
    off_t at = lseek(((struct stream *)cookie)->fd, *offset, whence);

    if (at < 0)
        return -1;
    *offset = at;
    return 0;
}

static int cookie_close(void *cookie)
{
    return close(((struct stream *)cookie)->fd);
}

/* fopen(3)'s mode as open(2)'s flags. Return: -1, EINVAL: none. */
static int mode_flags(const char *mode)
{
    int flags;

    switch (mode[0]) {
    case 'r':
        flags = O_RDONLY;
        break;
    case 'w':
        flags = O_WRONLY | O_CREAT | O_TRUNC;
        break;
    case 'a':
        flags = O_WRONLY | O_CREAT | O_APPEND;
        break;
    default: /* the program's text */
        return fail(EINVAL);
    }
    for (const char *more = mode + 1; *more && *more != ','; more++) {
        if (*more == '+')
            flags = (flags & ~O_ACCMODE) | O_RDWR;
        flags |= *more == 'e' ? O_CLOEXEC : *more == 'x' ? O_EXCL : 0;
    }
    return flags;
}

/* @fd: taken on success */
static FILE *stream_open(int fd, const char *mode)
{
    static const cookie_io_functions_t functions = {
        .read = cookie_read, .write = cookie_write, .seek = cookie_seek, .close = cookie_close};
    struct stream *stream = malloc(sizeof(*stream));

    if (!stream)
        return NULL;
    stream->fd = fd;
    stream->flags = mode_flags(mode);
    stream->file = fopencookie(stream, mode, functions);
    if (!stream->file) {
        free(stream);
        return NULL;
    }
    (void)setvbuf(stream->file, stream->buffer, _IOFBF, sizeof(stream->buffer));
    (void)pthread_mutex_lock(&streams_lock);
    stream->next = atomic_load(&streams);
    atomic_store_explicit(&streams, stream, memory_order_release);
    (void)pthread_mutex_unlock(&streams_lock);
    return stream->file;
}

EXPORT FILE *fopen(const char *path, const char *mode)
{
    struct where where;
    bool is_outside;
    FILE *file;
    int fd, flags;

    if (!where_follows(AT_FDCWD, path, &where))
        return REAL(fopen)(where.path, mode);
    flags = mode_flags(mode);
    if (flags < 0)
        return NULL;
    fd = names_open(&where, flags, 0666, &is_outside);
    if (is_outside)
        return REAL(fopen)(where.path, mode);
    if (fd < 0)
        return NULL;
    file = stream_open(fd, mode);
    if (!file)
        (void)close(fd);
    return file;
}
EXPORT_AS(fopen64, fopen);

/* fdopen(3)'s mode has to be one of the descriptor's, which "a" makes one that appends. Return: whether it is; else
 * errno is set. */
static bool is_mode_possible(int fd, const char *mode)
{
    const int wanted = mode_flags(mode), has = fcntl(fd, F_GETFL);

    if (wanted < 0 || has < 0)
        return false;
    if ((has & O_ACCMODE) != O_RDWR && (has & O_ACCMODE) != (wanted & O_ACCMODE)) {
        errno = EINVAL;
        return false;
    }
    return !(wanted & ~has & O_APPEND) || fcntl(fd, F_SETFL, has | O_APPEND) == 0;
}

EXPORT FILE *fdopen(int fd, const char *mode)
{
    if (shim_depth > 0 || (!fds_is_served(fd) && !fds_adopt(fd)))
        return REAL(fdopen)(fd, mode);
    return is_mode_possible(fd, mode) ? stream_open(fd, mode) : NULL;
}

EXPORT int fclose(FILE *file)
{
    struct stream *stream = has_streams() ? unlist(file) : NULL;
    int r = REAL(fclose)(file);

    if (stream)
        forget_standard(file);

    free(stream); /* only now: the buffer was in it */
    return r;
}

EXPORT int fileno(FILE *file)
{
    const struct stream *stream = has_streams() ? find(file) : NULL;

    return stream ? stream->fd : REAL(fileno)(file);
}
EXPORT_AS(fileno_unlocked, fileno);

/* ---- printing to a descriptor: the C library writes what it has made without us ---- */

EXPORT int __dprintf_chk(int fd, int flag, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
EXPORT int __vdprintf_chk(int fd, int flag, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

static bool is_served(int fd)
{
    return shim_depth == 0 && fds_is_served(fd);
}

__attribute__((format(printf, 2, 0))) static int print(int fd, const char *format, va_list args)
{
    char *text;
    int n = vasprintf(&text, format, args);
    int done = 0;

    if (n < 0)
        return -1;
    while (n >= 0 && done < n) {
        const ssize_t written = write(fd, text + done, (size_t)(n - done));

        if (written < 0)
            n = -1;
        else
            done += (int)written;
    }
    free(text);
    return n;
}

/* The kernel would not write: perhaps it is one of ours that came by exec. */
static bool is_ours_after(int fd, int n)
{
    return n < 0 && (errno == EPERM || errno == EBADF) && fds_adopt(fd);
}

EXPORT int vdprintf(int fd, const char *format, va_list args)
{
    va_list again;
    int n = 0;

    va_copy(again, args);
    if (!is_served(fd))
        n = REAL(vdprintf)(fd, format, args);
    if (is_served(fd) || is_ours_after(fd, n))
        n = print(fd, format, again);
    va_end(again);
    return n;
}

EXPORT int __vdprintf_chk(int fd, int flag, const char *format, va_list args)
{
    va_list again;
    int n = 0;

    va_copy(again, args);
    if (!is_served(fd))
        n = REAL(__vdprintf_chk)(fd, flag, format, args);
    if (is_served(fd) || is_ours_after(fd, n))
        n = print(fd, format, again);
    va_end(again);
    return n;
}

EXPORT int dprintf(int fd, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vdprintf(fd, format, args);
    va_end(args);
    return n;
}

EXPORT int __dprintf_chk(int fd, int flag, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = __vdprintf_chk(fd, flag, format, args);
    va_end(args);
    return n;
}

/* ---- freopen ---- */

/* A stream of the C library's own cannot be turned into one of fopencookie(3). So it gets a copy of
 * what the object holds now. Return: a memfd; -1 and errno. */
static int snapshot(int fd)
{
    const int copy = memfd_create("muse-freopen", MFD_CLOEXEC);
    char *buffer = malloc(BUFFER_BYTES);
    ssize_t n = buffer && copy >= 0 ? 1 : -1;

    while (n > 0) {
        n = read(fd, buffer, BUFFER_BYTES);
        if (n > 0 && REAL(write)(copy, buffer, (size_t)n) != n)
            n = -1;
    }
    free(buffer);
    if (n < 0 && copy >= 0)
        (void)close(copy);
    return n < 0 ? -1 : copy;
}

static FILE *reopen_copy(struct where *where, const char *mode, FILE *file, bool *ret_outside)
{
    char path[40];
    int fd, copy;

    *ret_outside = false;
    if (mode[0] != 'r' || strchr(mode, '+')) {
        errno = EOPNOTSUPP;
        return NULL;
    }
    fd = names_open(where, O_RDONLY | O_CLOEXEC, 0, ret_outside);
    if (fd < 0)
        return NULL;
    copy = snapshot(fd);
    (void)close(fd);
    if (copy < 0)
        return NULL;
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", copy);
    file = REAL(freopen)(path, mode, file);
    (void)close(copy);
    return file;
}

/* To write to: a standard stream becomes one of ours when its descriptor does. */
static FILE *reopen_standard(const char *path, const char *mode, FILE *file)
{
    const int wanted = file == stdout ? STDOUT_FILENO : STDERR_FILENO;
    const int flags = mode_flags(mode);
    int fd;

    if (flags < 0)
        return NULL;
    (void)fflush(file);
    fd = open(path, flags, 0666);
    if (fd < 0)
        return NULL;
    if (fd != wanted) {
        (void)dup3(fd, wanted, flags & O_CLOEXEC);
        (void)close(fd);
    }
    return *standard_stream(wanted);
}

/* The other way round: one of fopencookie(3) stays one, and gets another descriptor, which may be
 * anybody's. Whether it reads or writes cannot be changed. */
static FILE *reopen_ours(struct stream *stream, const char *path, const char *mode)
{
    const int flags = mode_flags(mode);
    int fd;

    if (flags < 0)
        return NULL;
    if (!path || (flags & O_ACCMODE) != (stream->flags & O_ACCMODE)) {
        errno = EOPNOTSUPP;
        return NULL;
    }
    (void)fflush(stream->file);
    fd = open(path, flags, 0666);
    if (fd < 0)
        return NULL;
    (void)close(stream->fd);
    stream->fd = fd;
    __fpurge(stream->file);
    rewind(stream->file);
    return stream->file;
}

EXPORT FILE *freopen(const char *path, const char *mode, FILE *file)
{
    struct stream *stream = has_streams() ? find(file) : NULL;
    struct where where;
    bool is_outside;
    FILE *result;

    if (stream)
        return reopen_ours(stream, path, mode);
    if (!where_follows(AT_FDCWD, path, &where))
        return REAL(freopen)(where.path, mode, file);
    if ((file == stdout || file == stderr) && mode[0] != 'r')
        return reopen_standard(path, mode, file);
    result = reopen_copy(&where, mode, file, &is_outside);
    return is_outside ? REAL(freopen)(where.path, mode, file) : result;
}
EXPORT_AS(freopen64, freopen);

/* ---- the standard streams ---- */

/* stdin, stdout and stderr are the C library's own at first, and one of fopencookie(3) while their
 * descriptor is a served one. That one stays: it reads and writes whatever the number is by then.
 * What the own one still has in its buffer stays there: in a child it is the parent's. */
static struct standard {
    FILE *own;    /* the C library's; NULL: not looked at yet */
    FILE *served; /* ours; NULL: none yet */
} standard[3];

static FILE **standard_stream(int fd)
{
    return fd == STDIN_FILENO ? &stdin : fd == STDOUT_FILENO ? &stdout : &stderr;
}

static void follow(struct standard *at, FILE **stream, int fd)
{
    if (fds_is_served(fd) == (at->served && *stream == at->served))
        return;
    if (!fds_is_served(fd)) {
        (void)fflush(*stream);
        *stream = at->own;
        return;
    }
    if (!at->served) {
        at->own = *stream;
        at->served = stream_open(fd, fd == STDIN_FILENO ? "r" : "w");
        if (at->served && fd == STDERR_FILENO)
            (void)setvbuf(at->served, NULL, _IONBF, 0);
    }
    if (at->served)
        *stream = at->served;
}

void stdio_changed(int fd)
{
    if (shim_depth > 0)
        return;
    for (int i = STDIN_FILENO; i <= STDERR_FILENO; i++) {
        if (i == fd)
            follow(&standard[i], standard_stream(i), i);
    }
}

static void forget_standard(const FILE *file)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (standard[fd].served == file)
            standard[fd].served = NULL; /* closed by the program */
    }
}

void stdio_begin(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fds_adopt(fd))
            stdio_changed(fd);
    }
}
