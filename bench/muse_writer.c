/* SPDX-License-Identifier: BSD-3-Clause */
/* muse_writer DRIVER/OBJECT SIZE_BYTES [OPS SEED]: the same as writer.c through libmuse; the server is found by
 * MUSE_RUNDIR. Called by bench/run. */
#include <fcntl.h>
#include <muse/muse.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "bench/write_work.h"

struct muse_ctx {
    struct muse *muse;      /* owned */
    struct muse_file *file; /* owned */
};

static void *object_map(void *ctx, size_t len, int flags)
{
    struct muse_ctx *c = ctx;

    return muse_mmap(c->muse, NULL, len, PROT_READ | PROT_WRITE, flags, c->file, 0);
}

static int object_unmap(void *ctx, void *addr, size_t len)
{
    struct muse_ctx *c = ctx;

    return muse_munmap(c->muse, addr, len);
}

static int object_sync(void *ctx, void *addr, size_t len)
{
    struct muse_ctx *c = ctx;

    return muse_msync(c->muse, addr, len, MS_SYNC);
}

static int object_advise(void *ctx, void *addr, size_t len, int advice)
{
    struct muse_ctx *c = ctx;

    return muse_madvise(c->muse, addr, len, advice);
}

int main(int argc, char **argv)
{
    struct muse_ctx ctx = {NULL, NULL};
    const struct write_target target = {&ctx, object_map, object_unmap, object_sync, object_advise};
    int status;

    if (argc < 2)
        return write_main(&target, argc, argv); /* says how it is used */
    if (muse_connect(&ctx.muse, NULL) < 0 || muse_open(ctx.muse, argv[1], O_RDWR, &ctx.file) < 0) {
        fprintf(stderr, "muse_writer: %s: %s\n", argv[1], muse_last_error_text());
        muse_disconnect(ctx.muse);
        return 1;
    }
    status = write_main(&target, argc, argv);
    (void)muse_close(ctx.file); /* the disconnect ends it anyway */
    muse_disconnect(ctx.muse);
    return status;
}
