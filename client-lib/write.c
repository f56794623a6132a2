/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What changes an object: muse_pwrite, muse_ftruncate, muse_fallocate; and what makes changes last:
 * muse_msync, muse_fsync. All of it is the server's business but for one thing: the bytes of a
 * muse_pwrite go straight into the page cache, when the server says so.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>

#include "client-lib/call.h"
#include "client-lib/error.h"
#include "client-lib/file.h"
#include "client-lib/handle.h"
#include "proto/client.pb-c.h"

/* Chosen: what a server may hold up for one writer; more goes in pieces, as write(2) may, too. */
#define PWRITE_PIECE_BYTES ((size_t)8 << 20)

/* ---- pwrite ---- */

struct piece {
    const char *data;
    size_t len;
    off_t offset; /* changed to where it began, of one that is appended */
    bool is_append;
};

static int write_piece(struct muse_file *file, struct piece *piece, size_t *ret_len)
{
    Muse__Wire__Pwrite message = MUSE__WIRE__PWRITE__INIT;
    const uint64_t start = piece->is_append ? 0 : (uint64_t)piece->offset;
    const struct memops_source source = {
        .data = piece->data,
        .bytes = {start, start + piece->len},
        .is_append = piece->is_append,
        .file_id = file->id,
    };
    const struct question question = {.type = FRAME_PWRITE,
                                      .message = &message.base,
                                      .fd = -1,
                                      .answer = FRAME_WRITTEN,
                                      .source = &source};
    CLEAN(mail_free_p) struct mail *answer = NULL;
    Muse__Wire__Written *written;
    int r;

    message.file_id = file->id;
    message.offset = (uint64_t)piece->offset;
    message.length = piece->len;
    message.has_append = message.append = piece->is_append;
    r = call_ask(file->muse, &question, &answer);
    if (r < 0)
        return r;
    written = muse__wire__written__unpack(NULL, answer->n_payload, answer->payload);
    if (!written) {
        call_garbled(file->muse);
        return -EPROTO;
    }
    *ret_len = written->length < piece->len ? (size_t)written->length : piece->len;
    if (written->has_offset)
        piece->offset = (off_t)written->offset;
    muse__wire__written__free_unpacked(written, NULL);
    return 0;
}

/* @ret_start: where the first byte went */
static int write_file(struct muse_file *file, struct piece all, size_t *ret_done, off_t *ret_start)
{
    struct piece piece = all;
    size_t n;
    off_t end;
    int r;

    *ret_done = 0;
    *ret_start = all.offset;
    if (!file)
        return -EBADF;
    if (all.offset < 0 || all.len > SSIZE_MAX)
        return -EINVAL;
    if (!all.data && all.len > 0)
        return -EFAULT;
    if (__builtin_add_overflow(all.offset, (off_t)all.len, &end))
        return -EFBIG;
    r = handle_check(file->muse);
    if (r < 0)
        return r;
    do { /* nothing, too: the server knows whether the file is open for writing */
        const size_t left = all.len - *ret_done;

        piece.data = all.data + *ret_done;
        piece.len = left < PWRITE_PIECE_BYTES ? left : PWRITE_PIECE_BYTES;
        r = write_piece(file, &piece, &n);
        if (r == 0 && *ret_done == 0)
            *ret_start = piece.offset;
        if (r == 0) {
            *ret_done += n;
            piece.offset += (off_t)n;
        }
    } while (r == 0 && n > 0 && *ret_done < all.len);
    return r;
}

ssize_t muse_pwrite(struct muse_file *file, const void *buf, size_t len, off_t offset)
{
    const struct piece all = {.data = buf, .len = len, .offset = offset};
    size_t n_done = 0;
    off_t start;
    int r;

    error_clear();
    r = write_file(file, all, &n_done, &start);
    if (n_done > 0) {
        error_clear();
        return (ssize_t)n_done;
    }
    return error_return("muse_pwrite", r);
}

ssize_t muse_append(struct muse_file *file, const void *buf, size_t len, off_t *ret_offset)
{
    struct piece all = {.data = buf, .len = len, .is_append = true};
    size_t n_done = 0;
    struct stat stat;
    off_t start = 0;
    int r;

    if (muse_fstat(file, &stat) < 0) /* for a server that does not know how to append */
        return -1;
    error_clear();
    all.offset = stat.st_size;
    r = write_file(file, all, &n_done, &start);
    if (r == 0 || n_done > 0) {
        error_clear();
        if (ret_offset)
            *ret_offset = start;
        return (ssize_t)n_done;
    }
    return error_return("muse_append", r);
}

/* ---- sizes ---- */

static int ask_done(struct muse *muse, enum frame_type type, const ProtobufCMessage *message)
{
    const struct question question = {
        .type = type, .message = message, .fd = -1, .answer = FRAME_DONE};
    int r = handle_check(muse);

    return r < 0 ? r : call_ask(muse, &question, NULL);
}

int muse_ftruncate(struct muse_file *file, off_t size)
{
    Muse__Wire__Truncate message = MUSE__WIRE__TRUNCATE__INIT;

    error_clear();
    if (!file || size < 0)
        return error_return("muse_ftruncate", file ? -EINVAL : -EBADF);
    message.file_id = file->id;
    message.size = (uint64_t)size;
    return error_return("muse_ftruncate", ask_done(file->muse, FRAME_TRUNCATE, &message.base));
}

int muse_fallocate(struct muse_file *file, int mode, off_t offset, off_t len)
{
    Muse__Wire__Fallocate message = MUSE__WIRE__FALLOCATE__INIT;

    error_clear();
    if (!file || offset < 0 || len <= 0)
        return error_return("muse_fallocate", file ? -EINVAL : -EBADF);
    message.file_id = file->id;
    message.mode = (uint32_t)mode;
    message.offset = (uint64_t)offset;
    message.length = (uint64_t)len;
    return error_return("muse_fallocate", ask_done(file->muse, FRAME_FALLOCATE, &message.base));
}

/* ---- making it last ---- */

int muse_fsync(struct muse_file *file)
{
    Muse__Wire__FileRef message = MUSE__WIRE__FILE_REF__INIT;

    error_clear();
    if (!file)
        return error_return("muse_fsync", -EBADF);
    message.file_id = file->id;
    return error_return("muse_fsync", ask_done(file->muse, FRAME_FSYNC, &message.base));
}

int muse_msync(struct muse *muse, void *addr, size_t len, int flags)
{
    Muse__Wire__Msync message = MUSE__WIRE__MSYNC__INIT;

    error_clear();
    message.addr = (uintptr_t)addr;
    message.length = len;
    message.flags = (uint32_t)flags;
    return error_return("muse_msync", ask_done(muse, FRAME_MSYNC, &message.base));
}
