/* SPDX-License-Identifier: BSD-3-Clause */
/* Entry points that read, write and seek. The offset is the placeholder's own, kept by the kernel.
 */
#define _GNU_SOURCE
#include "client-lib/preload/rw.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

#include "client-lib/preload/names.h"

EXPORT ssize_t __read_chk(int fd, void *buf, size_t len, size_t buf_len);
EXPORT ssize_t __pread_chk(int fd, void *buf, size_t len, off_t offset, size_t buf_len);
void __chk_fail(void) __attribute__((noreturn)); /* the C library's */

/* What the kernel would not do with a descriptor: perhaps it is one of ours that came by exec. */
static struct served *get_after(int fd, bool has_failed)
{
    if (has_failed && (errno == EBADF || errno == EPERM || errno == EACCES) && fds_adopt(fd))
        return fds_get(fd);
    return NULL;
}

/* ---- one piece, the lock of @served held ---- */

static ssize_t read_piece(struct served *served, void *buf, size_t len, off_t offset)
{
    struct muse_file *file;

    if ((served->oflags & O_ACCMODE) == O_WRONLY)
        return fail(EBADF);
    file = fds_file(served);
    return file ? INSIDE(muse_pread(file, buf, len, offset)) : -1;
}

static ssize_t write_piece(struct served *served, const void *buf, size_t len, off_t offset)
{
    struct muse_file *file;

    if ((served->oflags & O_ACCMODE) == O_RDONLY)
        return fail(EBADF);
    file = fds_file(served);
    return file ? INSIDE(muse_pwrite(file, buf, len, offset)) : -1;
}

/* ---- several pieces ---- */

typedef ssize_t piece_fn(struct served *served, const struct iovec *piece, off_t offset);

static ssize_t read_iovec(struct served *served, const struct iovec *piece, off_t offset)
{
    return read_piece(served, piece->iov_base, piece->iov_len, offset);
}

static ssize_t write_iovec(struct served *served, const struct iovec *piece, off_t offset)
{
    return write_piece(served, piece->iov_base, piece->iov_len, offset);
}

/* Return: how many bytes they are; -1 and errno. */
static ssize_t total_of(const struct iovec *pieces, int n)
{
    ssize_t total = 0;

    if (n < 0 || n > IOV_MAX)
        return fail(EINVAL);
    for (int i = 0; i < n; i++) {
        if (__builtin_add_overflow(total, pieces[i].iov_len, &total))
            return fail(EINVAL);
    }
    return total;
}

static ssize_t all_pieces(struct served *served, piece_fn *fn, const struct iovec *pieces, int n,
                          off_t offset)
{
    ssize_t done = 0;

    if (total_of(pieces, n) < 0)
        return -1;
    for (int i = 0; i < n; i++) {
        ssize_t got = fn(served, &pieces[i], offset + done);

        if (got < 0)
            return done > 0 ? done : -1;
        done += got;
        if ((size_t)got < pieces[i].iov_len)
            break;
    }
    return n == 0 ? 0 : done;
}

static off_t size_of(struct served *served)
{
    struct muse_file *file = fds_file(served);
    struct stat stat;

    return file && INSIDE(muse_fstat(file, &stat)) == 0 ? stat.st_size : -1;
}

static ssize_t append_bytes(struct served *served, const void *buf, size_t len, off_t *ret_start)
{
    struct muse_file *file;

    if ((served->oflags & O_ACCMODE) == O_RDONLY)
        return fail(EBADF);
    file = fds_file(served);
    return file ? INSIDE(muse_append(file, buf, len, ret_start)) : -1;
}

/* All in one, so that nobody else's bytes come between them. @ret_start: where the first one went. */
static ssize_t append_pieces(struct served *served, const struct iovec *pieces, int n,
                             off_t *ret_start)
{
    const ssize_t len = total_of(pieces, n);
    ssize_t done = 0;
    char *bytes;

    if (len < 0)
        return -1;
    if (n == 1)
        return append_bytes(served, pieces[0].iov_base, pieces[0].iov_len, ret_start);
    bytes = malloc((size_t)len + 1);
    if (!bytes)
        return -1;
    for (int i = 0; i < n; done += (ssize_t)pieces[i++].iov_len)
        memcpy(bytes + done, pieces[i].iov_base, pieces[i].iov_len);
    done = append_bytes(served, bytes, (size_t)len, ret_start);
    free(bytes);
    return done;
}

/* What holds for each write of an open description, as the flags that hold for one. */
static int flags_of(int fd, const struct served *served, int flags)
{
    if (!(flags & RWF_APPEND) && (REAL(fcntl)(fd, F_GETFL) & O_APPEND))
        flags |= RWF_APPEND;
    return served->oflags & O_DSYNC ? flags | RWF_DSYNC : flags;
}

/* Return: @done; -1 and errno. */
static ssize_t finish_write(struct served *served, ssize_t done, int flags)
{
    struct muse_file *file = done > 0 && (flags & (RWF_DSYNC | RWF_SYNC)) ? fds_file(served) : NULL;

    return file && INSIDE(muse_fsync(file)) < 0 ? -1 : done;
}

/* Other processes may write through the same description: what one of them takes no other one gets. Return: where to
 * write; -1 and errno. */
static off_t take_place(int fd, ssize_t len)
{
    const off_t end = len < 0 ? -1 : REAL(lseek)(fd, len, SEEK_CUR);

    return end < 0 ? -1 : end - len;
}

/* From the offset on, which moves. */
static ssize_t read_on(int fd, struct served *served, const struct iovec *pieces, int n)
{
    const off_t offset = REAL(lseek)(fd, 0, SEEK_CUR);
    const ssize_t done = offset < 0 ? -1 : all_pieces(served, read_iovec, pieces, n, offset);

    if (done > 0)
        (void)REAL(lseek)(fd, offset + done, SEEK_SET);
    return done;
}

static ssize_t write_on(int fd, struct served *served, const struct iovec *pieces, int n, int flags)
{
    const ssize_t len = total_of(pieces, n);
    ssize_t done = -1;
    off_t offset;

    if (flags & RWF_APPEND) {
        done = append_pieces(served, pieces, n, &offset);
        if (done > 0)
            (void)REAL(lseek)(fd, offset + done, SEEK_SET);
        return finish_write(served, done, flags);
    }
    offset = take_place(fd, len);
    if (offset >= 0)
        done = all_pieces(served, write_iovec, pieces, n, offset);
    if (offset >= 0 && done < len)
        (void)REAL(lseek)(fd, offset + (done > 0 ? done : 0), SEEK_SET);
    return finish_write(served, done, flags);
}

/* One of the two. Takes the reference. */
static ssize_t at_offset(int fd, struct served *served, piece_fn *fn, const struct iovec *pieces,
                         int n, int flags)
{
    ssize_t done;

    (void)pthread_mutex_lock(&served->lock);
    if (fn == write_iovec)
        done = write_on(fd, served, pieces, n, flags_of(fd, served, flags));
    else
        done = read_on(fd, served, pieces, n);
    (void)pthread_mutex_unlock(&served->lock);
    fds_put(served);
    return done;
}

/* Takes the reference. */
static ssize_t elsewhere(int fd, struct served *served, piece_fn *fn, const struct iovec *pieces,
                         int n, off_t offset, int flags)
{
    const bool is_write = fn == write_iovec;
    ssize_t done;

    if (offset < 0) {
        fds_put(served);
        return fail(EINVAL);
    }
    (void)pthread_mutex_lock(&served->lock);
    if (is_write)
        flags = flags_of(fd, served, flags);
    if (is_write && (flags & RWF_APPEND)) /* pwrite(2), BUGS: it does append */
        done = append_pieces(served, pieces, n, &offset);
    else
        done = all_pieces(served, fn, pieces, n, offset);
    if (is_write)
        done = finish_write(served, done, flags);
    (void)pthread_mutex_unlock(&served->lock);
    fds_put(served);
    return done;
}

/* Those of preadv2(2) and pwritev2(2) are wishes, but for RWF_APPEND and RWF_DSYNC; what
 * RWF_NOWAIT asks for cannot be told here. Return: whether they can be done; else errno is set. */
static bool are_flags_good(struct served *served, int flags)
{
    const int known = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_APPEND;

    if (!(flags & ~known))
        return true;
    fds_put(served);
    errno = EOPNOTSUPP;
    return false;
}

ssize_t rw_pread(int fd, void *buf, size_t len, off_t offset)
{
    const struct iovec piece = {.iov_base = buf, .iov_len = len};
    struct served *served = fds_get(fd);

    return served ? elsewhere(fd, served, read_iovec, &piece, 1, offset, 0) : fail(EBADF);
}

/* ---- entry points ---- */

EXPORT ssize_t read(int fd, void *buf, size_t len)
{
    const struct iovec piece = {.iov_base = buf, .iov_len = len};
    struct served *served = fds_get(fd);
    ssize_t n = 0;

    if (!served) {
        n = REAL(read)(fd, buf, len);
        served = get_after(fd, n < 0);
    }
    return served ? at_offset(fd, served, read_iovec, &piece, 1, 0) : n;
}
EXPORT_AS(__read, read);

EXPORT ssize_t pread(int fd, void *buf, size_t len, off_t offset)
{
    const struct iovec piece = {.iov_base = buf, .iov_len = len};
    struct served *served = fds_get(fd);
    ssize_t n = 0;

    if (!served) {
        n = REAL(pread)(fd, buf, len, offset);
        served = get_after(fd, n < 0);
    }
    return served ? elsewhere(fd, served, read_iovec, &piece, 1, offset, 0) : n;
}
EXPORT_AS(pread64, pread);
EXPORT_AS(__pread64, pread);

EXPORT ssize_t __read_chk(int fd, void *buf, size_t len, size_t buf_len)
{
    if (len > buf_len)
        __chk_fail();
    return read(fd, buf, len);
}

EXPORT ssize_t __pread_chk(int fd, void *buf, size_t len, off_t offset, size_t buf_len)
{
    if (len > buf_len)
        __chk_fail();
    return pread(fd, buf, len, offset);
}
EXPORT_AS(__pread64_chk, __pread_chk);

EXPORT ssize_t readv(int fd, const struct iovec *pieces, int n_pieces)
{
    struct served *served = fds_get(fd);
    ssize_t n = 0;

    if (!served) {
        n = REAL(readv)(fd, pieces, n_pieces);
        served = get_after(fd, n < 0);
    }
    return served ? at_offset(fd, served, read_iovec, pieces, n_pieces, 0) : n;
}

EXPORT ssize_t preadv(int fd, const struct iovec *pieces, int n_pieces, off_t offset)
{
    struct served *served = fds_get(fd);
    ssize_t n = 0;

    if (!served) {
        n = REAL(preadv)(fd, pieces, n_pieces, offset);
        served = get_after(fd, n < 0);
    }
    return served ? elsewhere(fd, served, read_iovec, pieces, n_pieces, offset, 0) : n;
}
EXPORT_AS(preadv64, preadv);

EXPORT ssize_t preadv2(int fd, const struct iovec *pieces, int n_pieces, off_t offset, int flags)
{
    struct served *served = fds_get(fd);
    ssize_t n = 0;

    if (!served) {
        n = REAL(preadv2)(fd, pieces, n_pieces, offset, flags);
        served = get_after(fd, n < 0);
    }
    if (!served)
        return n;
    if (!are_flags_good(served, flags))
        return -1;
    return offset == -1 ? at_offset(fd, served, read_iovec, pieces, n_pieces, 0)
                        : elsewhere(fd, served, read_iovec, pieces, n_pieces, offset, 0);
}
EXPORT_AS(preadv64v2, preadv2);

EXPORT ssize_t write(int fd, const void *buf, size_t len)
{
    const struct iovec piece = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};
    struct served *served = fds_get(fd);
    ssize_t n = 0;

    if (!served) {
        n = REAL(write)(fd, buf, len);
        served = get_after(fd, n < 0);
    }
    return served ? at_offset(fd, served, write_iovec, &piece, 1, 0) : n;
}
EXPORT_AS(__write, write);

EXPORT ssize_t pwrite(int fd, const void *buf, size_t len, off_t offset)
{
    const struct iovec piece = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};
    struct served *served = fds_get(fd);
    ssize_t n = 0;

    if (!served) {
        n = REAL(pwrite)(fd, buf, len, offset);
        served = get_after(fd, n < 0);
    }
    return served ? elsewhere(fd, served, write_iovec, &piece, 1, offset, 0) : n;
}
EXPORT_AS(pwrite64, pwrite);
EXPORT_AS(__pwrite64, pwrite);

EXPORT ssize_t writev(int fd, const struct iovec *pieces, int n_pieces)
{
    struct served *served = fds_get(fd);
    ssize_t n = 0;

    if (!served) {
        n = REAL(writev)(fd, pieces, n_pieces);
        served = get_after(fd, n < 0);
    }
    return served ? at_offset(fd, served, write_iovec, pieces, n_pieces, 0) : n;
}

EXPORT ssize_t pwritev(int fd, const struct iovec *pieces, int n_pieces, off_t offset)
{
    struct served *served = fds_get(fd);
    ssize_t n = 0;

    if (!served) {
        n = REAL(pwritev)(fd, pieces, n_pieces, offset);
        served = get_after(fd, n < 0);
    }
    return served ? elsewhere(fd, served, write_iovec, pieces, n_pieces, offset, 0) : n;
}
EXPORT_AS(pwritev64, pwritev);

EXPORT ssize_t pwritev2(int fd, const struct iovec *pieces, int n_pieces, off_t offset, int flags)
{
    struct served *served = fds_get(fd);
    ssize_t n = 0;

    if (!served) {
        n = REAL(pwritev2)(fd, pieces, n_pieces, offset, flags);
        served = get_after(fd, n < 0);
    }
    if (!served)
        return n;
    if (!are_flags_good(served, flags))
        return -1;
    return offset == -1 ? at_offset(fd, served, write_iovec, pieces, n_pieces, flags)
                        : elsewhere(fd, served, write_iovec, pieces, n_pieces, offset, flags);
}
EXPORT_AS(pwritev64v2, pwritev2);

/* An object has no holes. @size: of it */
static off_t seek_target(off_t now, off_t size, off_t offset, int whence)
{
    off_t target = offset;

    switch (whence) {
    case SEEK_SET:
    case SEEK_CUR:
    case SEEK_END:
        if (__builtin_add_overflow(whence == SEEK_SET   ? 0
                                   : whence == SEEK_CUR ? now
                                                        : size,
                                   offset, &target))
            return fail(EOVERFLOW);
        return target < 0 ? fail(EINVAL) : target;
    case SEEK_DATA:
    case SEEK_HOLE:
        if (offset < 0 || offset >= size)
            return fail(ENXIO);
        return whence == SEEK_DATA ? offset : size;
    default: /* the program's number */
        return fail(EINVAL);
    }
}

EXPORT off_t lseek(int fd, off_t offset, int whence)
{
    struct served *served = fds_get(fd);
    const bool needs_size = whence != SEEK_SET && whence != SEEK_CUR;
    off_t size = 0;

    if (!served && needs_size && fds_adopt(fd)) /* the kernel's answer would be the placeholder's */
        served = fds_get(fd);
    if (!served)
        return REAL(lseek)(fd, offset, whence);
    (void)pthread_mutex_lock(&served->lock);
    if (needs_size && !served->is_folder)
        size = size_of(served);
    if (size >= 0)
        offset = seek_target(REAL(lseek)(fd, 0, SEEK_CUR), size, offset, whence);
    if (size < 0 || offset == -1)
        offset = -1;
    else
        offset = REAL(lseek)(fd, offset, SEEK_SET);
    (void)pthread_mutex_unlock(&served->lock);
    fds_put(served);
    return offset;
}
EXPORT_AS(lseek64, lseek);
EXPORT_AS(__lseek, lseek);

/* Calls between two descriptors, and those that change a file's length. */

static bool is_served(int fd)
{
    return fds_is_served(fd) && shim_depth == 0;
}

EXPORT ssize_t copy_file_range(int from, off64_t *from_offset, int to, off64_t *to_offset,
                               size_t len, unsigned int flags)
{
    ssize_t n;

    if (is_served(from) || is_served(to))
        return fail(EXDEV); /* programs then read and write */
    n = REAL(copy_file_range)(from, from_offset, to, to_offset, len, flags);
    return n < 0 && (fds_adopt(from) || fds_adopt(to)) ? fail(EXDEV) : n;
}

EXPORT ssize_t sendfile(int to, int from, off_t *offset, size_t len)
{
    ssize_t n;

    if (is_served(from) || is_served(to))
        return fail(EINVAL);
    n = REAL(sendfile)(to, from, offset, len);
    return n < 0 && (fds_adopt(from) || fds_adopt(to)) ? fail(EINVAL) : n;
}
EXPORT_AS(sendfile64, sendfile);

EXPORT ssize_t splice(int from, off64_t *from_offset, int to, off64_t *to_offset, size_t len,
                      unsigned int flags)
{
    ssize_t n;

    if (is_served(from) || is_served(to))
        return fail(EINVAL);
    n = REAL(splice)(from, from_offset, to, to_offset, len, flags);
    return n < 0 && (fds_adopt(from) || fds_adopt(to)) ? fail(EINVAL) : n;
}

/* How much there is left to read. Takes the reference. */
static int count_readable(int fd, struct served *served, int *ret_n)
{
    off_t size, left;

    (void)pthread_mutex_lock(&served->lock);
    size = served->is_folder ? fail(ENOTTY) : size_of(served);
    left = size - REAL(lseek)(fd, 0, SEEK_CUR);
    (void)pthread_mutex_unlock(&served->lock);
    fds_put(served);
    if (size < 0)
        return -1;
    *ret_n = (int)left;
    return 0;
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
    void *argument;
    va_list args;

    va_start(args, request);
    argument = va_arg(args, void *); /* as the C library does: a pointer, a number, or nothing */
    va_end(args);
    if (is_served(fd)) {
        struct served *served = request == FIONREAD ? fds_get(fd) : NULL;

        if (served)
            return count_readable(fd, served, argument);
        if (request == FICLONE || request == FICLONERANGE || request == FIDEDUPERANGE)
            return fail(EOPNOTSUPP); /* programs then copy */
    }
    return REAL(ioctl)(fd, request, argument);
}

/* The open object for one call; the lock is held. Return: NULL and errno: not ours, or an error. */
static struct muse_file *begin(struct served *served, bool for_writing)
{
    struct muse_file *file = NULL;

    (void)pthread_mutex_lock(&served->lock);
    if (for_writing && (served->oflags & O_ACCMODE) == O_RDONLY)
        errno = EINVAL; /* ftruncate(2): not open for writing */
    else
        file = fds_file(served);
    return file;
}

static int end(struct served *served, int r)
{
    (void)pthread_mutex_unlock(&served->lock);
    fds_put(served);
    return r;
}

EXPORT int ftruncate(int fd, off_t length)
{
    struct served *served = fds_get(fd);
    struct muse_file *file;

    if (!served)
        return REAL(ftruncate)(fd, length);
    file = begin(served, true);
    return end(served, file ? INSIDE(muse_ftruncate(file, length)) : -1);
}
EXPORT_AS(ftruncate64, ftruncate);

static int sync_served(struct served *served)
{
    struct muse_file *file;
    int r;

    if (served->is_folder || (served->oflags & O_ACCMODE) == O_RDONLY) {
        fds_put(served);
        return 0; /* nothing of this one to be written */
    }
    file = begin(served, false);
    r = file ? INSIDE(muse_fsync(file)) : -1;
    return end(served, r);
}

EXPORT int fsync(int fd)
{
    struct served *served = fds_get(fd);

    return served ? sync_served(served) : REAL(fsync)(fd);
}

EXPORT int fdatasync(int fd)
{
    struct served *served = fds_get(fd);

    return served ? sync_served(served) : REAL(fdatasync)(fd);
}

EXPORT int fallocate(int fd, int mode, off_t offset, off_t len)
{
    struct served *served = fds_get(fd);
    struct muse_file *file;

    if (!served)
        return REAL(fallocate)(fd, mode, offset, len);
    if ((served->oflags & O_ACCMODE) == O_RDONLY) {
        fds_put(served);
        return fail(EBADF);
    }
    file = begin(served, true);
    return end(served, file ? INSIDE(muse_fallocate(file, mode, offset, len)) : -1);
}
EXPORT_AS(fallocate64, fallocate);

EXPORT int posix_fallocate(int fd, off_t offset, off_t len)
{
    const int saved = errno;
    int r = 0;

    if (!is_served(fd))
        return REAL(posix_fallocate)(fd, offset, len);
    if (fallocate(fd, 0, offset, len) < 0)
        r = errno;
    errno = saved;
    return r;
}
EXPORT_AS(posix_fallocate64, posix_fallocate);

EXPORT ssize_t readahead(int fd, off64_t offset, size_t len)
{
    return is_served(fd) ? 0 : REAL(readahead)(fd, offset, len);
}

EXPORT int sync_file_range(int fd, off64_t offset, off64_t len, unsigned int flags)
{
    return is_served(fd) ? fsync(fd) : REAL(sync_file_range)(fd, offset, len, flags);
}
