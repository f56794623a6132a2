/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse_reader DRIVER/OBJECT: the same work as reader.c through libmuse; the server is found by
 * MUSE_RUNDIR. An object that nobody else has open is cold, because its cache goes with its last
 * close. Called by bench/run.
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <stdio.h>
#include <sys/mman.h>

#include "bench/work.h"

/* Weak, so that the other works can be measured with a library that cannot take advice. */
__attribute__((weak)) int muse_madvise(struct muse *muse, void *addr, size_t len, int advice);

struct muse_ctx {
    struct muse *muse;      /* owned */
    struct muse_file *file; /* owned */
};

static void *object_map(void *ctx, size_t len)
{
    struct muse_ctx *c = ctx;

    return muse_mmap(c->muse, NULL, len, PROT_READ, MAP_SHARED, c->file, 0);
}

static int object_unmap(void *ctx, void *addr, size_t len)
{
    struct muse_ctx *c = ctx;

    return muse_munmap(c->muse, addr, len);
}

static int object_advise(void *ctx, void *addr, size_t len, int advice)
{
    struct muse_ctx *c = ctx;

    if (!muse_madvise) {
        errno = ENOSYS;
        return -1;
    }
    return muse_madvise(c->muse, addr, len, advice);
}

static int object_mincore(void *ctx, void *addr, size_t len, unsigned char *vec)
{
    (void)ctx;
    /* The kernel's own: what is in the cache's memfd, whatever the server believes. */
    return mincore(addr, len, vec);
}

int main(int argc, char **argv)
{
    struct muse_ctx ctx = {NULL, NULL};
    struct work_target target = {&ctx, object_map, object_unmap, object_advise, object_mincore};
    struct work_options options;
    int status = work_parse(argc, argv, "DRIVER/OBJECT", &options);

    if (status != 0)
        return status < 0 ? 0 : status;
    if (muse_connect(&ctx.muse, NULL) < 0) {
        fprintf(stderr, "muse_reader: connect: %s\n", muse_last_error_text());
        return WORK_EXIT_FAILED;
    }
    if (muse_open(ctx.muse, options.target, O_RDONLY, &ctx.file) < 0) {
        fprintf(stderr, "muse_reader: %s: %s\n", options.target, muse_last_error_text());
        muse_disconnect(ctx.muse);
        return WORK_EXIT_FAILED;
    }
    status = work_run(&options, &target, false);
    (void)muse_close(ctx.file); /* the disconnect ends it anyway */
    muse_disconnect(ctx.muse);
    return status;
}
