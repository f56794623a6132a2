/* SPDX-License-Identifier: BSD-3-Clause */
/* muse_madvise: hints about reading go to the server, which does the reading ahead. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>

#include "client-lib/call.h"
#include "client-lib/error.h"
#include "client-lib/handle.h"
#include "proto/client.pb-c.h"

static int advise(struct muse *muse, uint64_t addr, uint64_t len, int advice)
{
    Muse__Wire__Madvise message = MUSE__WIRE__MADVISE__INIT;
    const struct question question = {
        .type = FRAME_MADVISE, .message = &message.base, .fd = -1, .answer = FRAME_DONE};
    int r = handle_check(muse);

    if (r < 0)
        return r;
    if (addr % PAGE_BYTES != 0)
        return -EINVAL;
    if (len == 0 && (advice == MADV_NORMAL || advice == MADV_RANDOM || advice == MADV_SEQUENTIAL ||
                     advice == MADV_WILLNEED))
        return 0;
    message.addr = addr;
    message.length = len;
    message.advice = (uint32_t)advice;
    return call_ask(muse, &question, NULL);
}

int muse_madvise(struct muse *muse, void *addr, size_t len, int advice)
{
    error_clear();
    return error_return("muse_madvise", advise(muse, (uintptr_t)addr, len, advice));
}
