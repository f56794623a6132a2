/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel as the oracle: two windows of addresses, one on a plain file, one on Muse, in which the
 * same calls are made. Afterwards results, rights, signals and bytes have to be the same. The window
 * of Muse lies in the arena, where unmapped addresses are reserved (SEGV_ACCERR instead of
 * SEGV_MAPERR).
 */
#ifndef MUSE_TESTS_SUPPORT_PAIR_H
#define MUSE_TESTS_SUPPORT_PAIR_H

#include <muse/muse.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/support/client.h"

#define PAIR_PAGES      48u /* of each window */
#define PAIR_FILE_PAGES 20u /* the last one is not full */
#define PAIR_FILE_BYTES ((PAIR_FILE_PAGES - 1) * PAGE + 1000)

struct pair {
    struct rig rig;
    struct muse *muse;
    char *kernel, *ours; /* the windows */
    int fd_ro, fd_rw;
    struct muse_file *file_ro, *file_rw;
};

/* One mmap of both sides, in pages. */
struct pair_map {
    size_t page, n_pages;
    int prot, flags; /* MAP_FIXED is added; MAP_ANONYMOUS: no file */
    bool rw;         /* of the file opened for writing */
    size_t pgoff;
};

/** pair_begin() - server, driver, file, two empty windows */
void pair_begin(struct pair *pair);

/** pair_end() - unmap all, stop all; checks what rig_stop() checks */
void pair_end(struct pair *pair);

/** pair_map() - must succeed on both sides */
void pair_map(struct pair *pair, const struct pair_map *map);

/** pair_layout() - empty both windows, and fill them with one mapping of every kind, see pair.c */
void pair_layout(struct pair *pair);

/** pair_same() - fail the test unless both results are the same. @what: for the message */
void pair_same(const struct pair *pair, const char *what, int64_t kernel, int64_t ours);

/** pair_write() - write a byte at @offset of both windows; the outcome must be the same */
void pair_write(struct pair *pair, const char *what, size_t offset, unsigned char byte);

/** pair_compare() - every page of both windows: rights as /proc/self/maps has them, signals, bytes */
void pair_compare(const struct pair *pair, const char *what);

/** pair_result() - 0 or -errno, of a call that returns 0 or -1 */
int64_t pair_result(int r);

/** pair_place() - bytes from the start of @window, or -errno, of a call that returns an address */
int64_t pair_place(const char *window, const void *got);

#endif
