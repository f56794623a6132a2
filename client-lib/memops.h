/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Carrying out the memory calls the server asks for inside a dialogue. Decides nothing but whether
 * an instruction is one that a correct server can give: inside the arena, or inside the range the
 * caller of this very dialogue named.
 */
#ifndef MUSE_CLIENT_LIB_MEMOPS_H
#define MUSE_CLIENT_LIB_MEMOPS_H

#include <stdbool.h>
#include <stdint.h>

#include "client-lib/handle.h"
#include "client-lib/request.h"
#include "common/base/must.h"
#include "common/base/range.h"

/* What muse_pwrite() may be told to write. */
struct memops_source {
    const char *data;   /* the caller's buffer */
    struct range bytes; /* of the file, that it holds; from 0 on when is_append */
    bool is_append;     /* where they go is the server's to say */
    uint64_t file_id;
};

struct memops_result {
    uint32_t n_done; /* how many calls succeeded */
    uint32_t error;  /* errno of the one that failed, 0 when all succeeded; EINVAL: not allowed */
    bool ends_call;  /* when all succeeded, that is the answer to the question */
};

/**
 * memops_run() - do the calls of one MEM_OPS frame, in order, up to the first that fails
 * @muse:       the handle
 * @own:        two ranges outside the arena that this dialogue may change; may be empty
 * @source:     what this dialogue may write; NULL: nothing
 * @mail:       the frame, untrusted; its fds are used, not taken
 * @ret_result: set on success
 *
 * Return: 0; -EPROTO not a list of 0..MEM_OPS_MAX calls, nothing was done.
 */
MUST_CHECK int memops_run(struct muse *muse, const struct range own[2],
                          const struct memops_source *source, struct mail *mail,
                          struct memops_result *ret_result);

/**
 * memops_keep_from_children() - MADV_DONTFORK: a child would have the mapping without userfaultfd,
 * and read zeros
 *
 * Return: 0 or -errno.
 */
MUST_CHECK int memops_keep_from_children(struct range range);

/**
 * memops_reserve() - turn a range of the arena, or the new arena itself, into bare addresses
 * @range: page-aligned. Children inherit it, so that nothing else gets in there.
 * @flags: MAP_FIXED or MAP_FIXED_NOREPLACE
 *
 * Return: 0; -errno of mmap(2) or madvise(2).
 */
MUST_CHECK int memops_reserve(struct range range, int flags);

#endif
