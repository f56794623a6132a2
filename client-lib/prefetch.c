/* SPDX-License-Identifier: BSD-3-Clause */
/* muse_prefetch: the server gets a copy of the eventfd, answers at once, and adds to it later. */
#include <errno.h>
#include <fcntl.h>

#include "client-lib/call.h"
#include "client-lib/error.h"
#include "client-lib/handle.h"
#include "proto/client.pb-c.h"

/* Return: 0; -ENOMEM a part is not mapped. */
static int read_answer(struct muse *muse, const struct mail *answer)
{
    Muse__Wire__Prefetched *prefetched =
        muse__wire__prefetched__unpack(NULL, answer->n_payload, answer->payload);
    int r;

    if (!prefetched) {
        call_garbled(muse);
        return -EPROTO;
    }
    r = prefetched->has_hole ? -ENOMEM : 0;
    if (r < 0)
        error_say("a part of the range is not mapped");
    muse__wire__prefetched__free_unpacked(prefetched, NULL);
    return r;
}

static int prefetch(struct muse *muse, uint64_t addr, uint64_t len, int eventfd)
{
    Muse__Wire__Prefetch message = MUSE__WIRE__PREFETCH__INIT;
    const struct question question = {.type = FRAME_PREFETCH,
                                      .message = &message.base,
                                      .fd = eventfd,
                                      .answer = FRAME_PREFETCHED};
    CLEAN(mail_free_p) struct mail *answer = NULL;
    int r = handle_check(muse);

    if (r < 0)
        return r;
    if (addr % PAGE_BYTES != 0)
        return -EINVAL;
    /* sendmsg(2) would fail, which looks like a lost connection */
    if (eventfd < 0 || fcntl(eventfd, F_GETFD) < 0)
        return -EBADF;
    message.addr = addr;
    message.length = len;
    r = call_ask(muse, &question, &answer);
    if (r == -ENOMEM)
        return -EAGAIN; /* ENOMEM says that it has begun */
    return r < 0 ? r : read_answer(muse, answer);
}

int muse_prefetch(struct muse *muse, const void *addr, size_t len, int eventfd)
{
    error_clear();
    return error_return("muse_prefetch", prefetch(muse, (uintptr_t)addr, len, eventfd));
}
