/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Open objects: open, close, locks, fstat, pread. Owns struct muse_file and the table of them in a handle.
 * A reference is held by the table and by whoever maps the file's fd at the moment.
 */
#include "client-lib/file.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client-lib/call.h"
#include "client-lib/error.h"
#include "proto/client.pb-c.h"
#include "proto/limits.h"

/* Chosen: what one PREAD makes valid. Large enough to make the question's cost vanish, small enough
 * that the pages are still there when they are read. */
#define PREAD_PIECE_BYTES ((size_t)4 << 20)

#define CREATE_MODE 0666u

#define NS_PER_S 1000000000ll

static void file_free(struct muse_file *file)
{
    fd_close_p(&file->fd);
    free(file);
}

struct muse_file *file_find(struct muse *muse, uint64_t id)
{
    struct muse_file *file;

    (void)pthread_mutex_lock(&muse->lock);
    file = idmap_get(&muse->files, id);
    if (file)
        file->n_refs++;
    (void)pthread_mutex_unlock(&muse->lock);
    return file;
}

void file_unref(struct muse_file *file)
{
    struct muse *muse;
    bool is_last;

    if (!file)
        return;
    muse = file->muse;
    (void)pthread_mutex_lock(&muse->lock);
    is_last = --file->n_refs == 0;
    (void)pthread_mutex_unlock(&muse->lock);
    if (is_last)
        file_free(file);
}

void file_close_all(struct muse *muse)
{
    struct muse_file *file;
    size_t cursor = 0;

    while ((file = idmap_next(&muse->files, &cursor))) {
        MUST(file->n_refs == 1); /* no call may be running */
        file_free(file);
    }
}

/* --- open --- */

static int file_add(struct muse *muse, const Muse__Wire__Opened *opened, int *fd,
                    struct muse_file **ret)
{
    struct muse_file *file = malloc(sizeof(*file));
    int r;

    if (!file)
        return -ENOMEM;
    *file = (struct muse_file){.muse = muse,
                               .id = opened->file_id,
                               .page_bytes = opened->page_bytes,
                               .fd = -1,
                               .n_refs = 1};
    (void)pthread_mutex_lock(&muse->lock);
    r = idmap_put(&muse->files, file->id, file);
    (void)pthread_mutex_unlock(&muse->lock);
    if (r < 0) {
        free(file);
        return r;
    }
    file->fd = handle_place_fd(muse, fd_take(fd));
    *ret = file;
    return 0;
}

/* Tell the server that a file is not wanted any more. */
static int say_close(struct muse *muse, uint64_t id)
{
    Muse__Wire__FileRef message = MUSE__WIRE__FILE_REF__INIT;
    const struct question question = {
        .type = FRAME_CLOSE, .message = &message.base, .fd = -1, .answer = FRAME_DONE};

    message.file_id = id;
    return call_ask(muse, &question, NULL);
}

static int take_opened(struct muse *muse, struct mail *answer, struct muse_file **ret)
{
    Muse__Wire__Opened *opened =
        muse__wire__opened__unpack(NULL, answer->n_payload, answer->payload);
    int r = -EPROTO;

    if (opened && (opened->page_bytes == PAGE_BYTES || opened->page_bytes == HUGE_PAGE_BYTES))
        r = file_add(muse, opened, &answer->fds[0], ret);
    if (r == -ENOMEM)
        (void)!say_close(muse, opened->file_id); /* the call fails in any case */
    if (r == -EPROTO || r == -EEXIST) {          /* a number that is taken is nonsense, too */
        call_garbled(muse);
        r = -EPROTO;
    }
    muse__wire__opened__free_unpacked(opened, NULL);
    return r;
}

/* @mode: counts with O_CREAT */
static int open_file(struct muse *muse, const char *name, int oflags, mode_t mode,
                     struct muse_file **ret)
{
    Muse__Wire__Open message = MUSE__WIRE__OPEN__INIT;
    const struct question question = {
        .type = FRAME_OPEN, .message = &message.base, .fd = -1, .answer = FRAME_OPENED};
    CLEAN(mail_free_p) struct mail *answer = NULL;
    int r = handle_check(muse);

    if (r < 0)
        return r;
    if (!name || !ret)
        return -EFAULT;
    if (strnlen(name, NAME_BYTES_MAX + 1) > NAME_BYTES_MAX)
        return -ENAMETOOLONG;
    message.name =
        address_pointer((uintptr_t)name); /* only read, but the generated struct says otherwise */
    message.oflags = (uint32_t)oflags;
    message.has_mode = (oflags & O_CREAT) != 0;
    message.mode = mode & 07777u;
    r = call_ask(muse, &question, &answer);
    return r < 0 ? r : take_opened(muse, answer, ret);
}

int muse_open(struct muse *muse, const char *name, int oflags, struct muse_file **ret)
{
    error_clear();
    return error_return("muse_open", open_file(muse, name, oflags, CREATE_MODE, ret));
}

int muse_create(struct muse *muse, const char *name, int oflags, mode_t mode,
                struct muse_file **ret)
{
    error_clear();
    return error_return("muse_create", open_file(muse, name, oflags | O_CREAT, mode, ret));
}

/* --- close --- */

static int close_file(struct muse_file *file)
{
    struct muse *muse;
    int r;

    if (!file)
        return -EBADF;
    muse = file->muse;
    r = handle_check(muse);
    if (r < 0) { /* forked child: the table and the lock are the parent's matter */
        file_free(file);
        return r;
    }
    r = say_close(muse, file->id);
    (void)pthread_mutex_lock(&muse->lock);
    (void)idmap_take(&muse->files, file->id);
    (void)pthread_mutex_unlock(&muse->lock);
    file_unref(file);
    return r;
}

int muse_close(struct muse_file *file)
{
    error_clear();
    return error_return("muse_close", close_file(file));
}

/* --- locks --- */

static int lock_file(struct muse_file *file, int oflags, int *ret_fd)
{
    Muse__Wire__LockFile message = MUSE__WIRE__LOCK_FILE__INIT;
    const struct question question = {
        .type = FRAME_LOCK_FILE, .message = &message.base, .fd = -1, .answer = FRAME_LOCK_FILE_IS};
    CLEAN(mail_free_p) struct mail *answer = NULL;
    int r;

    if (!file)
        return -EBADF;
    r = handle_check(file->muse);
    if (r < 0)
        return r;
    message.file_id = file->id;
    message.oflags = (uint32_t)oflags;
    r = call_ask(file->muse, &question, &answer);
    if (r == 0 && answer->fds[0] < 0) {
        call_garbled(file->muse);
        r = -EPROTO;
    }
    if (r == 0)
        *ret_fd = fd_take(&answer->fds[0]);
    return r;
}

int muse_lock_file(struct muse_file *file, int oflags)
{
    int fd = -1, r;

    error_clear();
    r = error_return("muse_lock_file", lock_file(file, oflags, &fd));
    return r < 0 ? r : fd;
}

/* --- fstat --- */

static void to_stat(const Muse__Wire__Stat *from, uint64_t page_bytes, struct stat *ret)
{
    int64_t ns = from->mtime_ns % NS_PER_S;
    int64_t s = from->mtime_ns / NS_PER_S;

    *ret = (struct stat){.st_size = (off_t)from->size,
                         .st_mode = from->mode,
                         .st_ino = from->inode,
                         .st_uid = from->uid,
                         .st_gid = from->gid,
                         .st_nlink = from->nlink,
                         .st_blksize = (blksize_t)page_bytes,
                         .st_blocks = (blkcnt_t)(from->size / 512 + (from->size % 512 != 0))};
    if (ns < 0) {
        ns += NS_PER_S;
        s--;
    }
    ret->st_mtim.tv_sec = s;
    ret->st_mtim.tv_nsec = ns;
}

int file_take_stat(struct muse *muse, const struct mail *answer, uint64_t page_bytes,
                   struct stat *ret)
{
    Muse__Wire__Stat *stat = muse__wire__stat__unpack(NULL, answer->n_payload, answer->payload);

    if (!stat) {
        call_garbled(muse);
        return -EPROTO;
    }
    to_stat(stat, page_bytes, ret);
    muse__wire__stat__free_unpacked(stat, NULL);
    return 0;
}

static int stat_file(struct muse_file *file, struct stat *ret)
{
    Muse__Wire__FileRef message = MUSE__WIRE__FILE_REF__INIT;
    const struct question question = {
        .type = FRAME_FSTAT, .message = &message.base, .fd = -1, .answer = FRAME_STAT};
    CLEAN(mail_free_p) struct mail *answer = NULL;
    int r;

    if (!file)
        return -EBADF;
    if (!ret)
        return -EFAULT;
    r = handle_check(file->muse);
    if (r < 0)
        return r;
    message.file_id = file->id;
    r = call_ask(file->muse, &question, &answer);
    return r < 0 ? r : file_take_stat(file->muse, answer, file->page_bytes, ret);
}

int muse_fstat(struct muse_file *file, struct stat *ret)
{
    error_clear();
    return error_return("muse_fstat", stat_file(file, ret));
}

/* --- pread --- */

/* The server may evict what it kept for this read. A failure ends the connection, or is one of
 * memory, and then they stay until it ends. */
static void say_read(struct muse *muse, uint64_t pin)
{
    Muse__Wire__ReadDone message = MUSE__WIRE__READ_DONE__INIT;

    message.pin = pin;
    if (pin != 0)
        (void)!call_tell(muse, FRAME_READ_DONE, &message.base);
}

/* Have bytes of the object made valid in its memfd. @ret_len: how many are, 0 at the end; at most
 * @len. @ret_pin: for say_read(). */
static int make_readable(struct muse_file *file, off_t offset, size_t len, size_t *ret_len,
                         uint64_t *ret_pin)
{
    Muse__Wire__Pread message = MUSE__WIRE__PREAD__INIT;
    const struct question question = {
        .type = FRAME_PREAD, .message = &message.base, .fd = -1, .answer = FRAME_READABLE};
    CLEAN(mail_free_p) struct mail *answer = NULL;
    Muse__Wire__Readable *readable;
    int r;

    message.file_id = file->id;
    message.offset = (uint64_t)offset;
    message.length = len;
    r = call_ask(file->muse, &question, &answer);
    if (r < 0)
        return r;
    readable = muse__wire__readable__unpack(NULL, answer->n_payload, answer->payload);
    if (!readable) {
        call_garbled(file->muse);
        return -EPROTO;
    }
    *ret_len = readable->length < len ? (size_t)readable->length : len;
    *ret_pin = readable->has_pin ? readable->pin : 0;
    muse__wire__readable__free_unpacked(readable, NULL);
    return 0;
}

/* How often pages were taken back that a call of this handle may have been reading. */
static uint64_t n_taken(const struct muse *muse)
{
    return muse->taken ? atomic_load_explicit(muse->taken, memory_order_acquire) : 0;
}

/* One piece. @ret_len: bytes read; 0 at the end.
 * Return: 1 what was read may be a hole that a revoke made meanwhile, and is worth nothing. */
static int read_piece(struct muse_file *file, char *buf, size_t len, off_t offset, size_t *ret_len)
{
    const uint64_t before = n_taken(file->muse);
    size_t n_valid = 0;
    uint64_t pin = 0;
    ssize_t n;
    int r = make_readable(file, offset, len, &n_valid, &pin);

    *ret_len = 0;
    if (r < 0 || n_valid == 0)
        return r;
    if (file->fd < 0) {
        say_read(file->muse, pin);
        error_say("this object cannot be read, only mapped");
        return -EOPNOTSUPP;
    }
    do {
        n = pread(file->fd, buf, n_valid, offset);
    } while (n < 0 && errno == EINTR);
    r = n < 0 ? -errno : 0;
    if (r == 0 && n_taken(file->muse) != before)
        r = 1;
    say_read(file->muse, pin);
    if (r == 0)
        *ret_len = (size_t)n;
    return r;
}

static int read_file(struct muse_file *file, char *buf, size_t len, off_t offset, size_t *ret_done)
{
    size_t most = PREAD_PIECE_BYTES;
    size_t n = 1;
    int r;

    if (!file)
        return -EBADF;
    if (offset < 0 || len > SSIZE_MAX)
        return -EINVAL;
    r = handle_check(file->muse);
    *ret_done = 0;
    while (r >= 0 && (r > 0 || n > 0) && *ret_done < len) {
        size_t piece = len - *ret_done;

        if (__builtin_add_overflow(offset, (off_t)*ret_done, &(off_t){0}))
            break;
        if (r > 0) /* a driver that revokes all the time is outrun page by page */
            most = file->page_bytes;
        if (piece > most)
            piece = most;
        r = read_piece(file, buf + *ret_done, piece, offset + (off_t)*ret_done, &n);
        *ret_done += n;
    }
    return r;
}

ssize_t muse_pread(struct muse_file *file, void *buf, size_t len, off_t offset)
{
    size_t n_done = 0;
    int r;

    error_clear();
    r = read_file(file, buf, len, offset, &n_done);
    if (n_done > 0) {
        error_clear();
        return (ssize_t)n_done;
    }
    return error_return("muse_pread", r);
}
