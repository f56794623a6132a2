/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What changes existing mappings: muse_mprotect, muse_mremap, muse_madvise, muse_mlock,
 * muse_munlock. The arguments go to the server as they are, which answers as the kernel would;
 * checked here is only what the server cannot know: this process's limit of locked memory.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <sys/mman.h>

#include "client-lib/call.h"
#include "client-lib/error.h"
#include "client-lib/handle.h"
#include "client-lib/limit.h"
#include "common/base/linux_abi.h"
#include "proto/client.pb-c.h"

/* --- mprotect --- */

static int protect(struct muse *muse, uint64_t addr, uint64_t len, int prot)
{
    Muse__Wire__Protect message = MUSE__WIRE__PROTECT__INIT;
    const struct question question = {.type = FRAME_PROTECT,
                                      .message = &message.base,
                                      .fd = -1,
                                      .answer = FRAME_DONE,
                                      .own = limit_named_range(addr, len, PAGE_BYTES)};
    int r = handle_check(muse);

    if (r < 0)
        return r;
    message.addr = addr;
    message.length = len;
    message.prot = (uint32_t)prot;
    return call_ask(muse, &question, NULL);
}

int muse_mprotect(struct muse *muse, void *addr, size_t len, int prot)
{
    error_clear();
    return error_return("muse_mprotect", protect(muse, (uintptr_t)addr, len, prot));
}

/* --- madvise --- */

static int advise(struct muse *muse, uint64_t addr, uint64_t len, int advice)
{
    Muse__Wire__Madvise message = MUSE__WIRE__MADVISE__INIT;
    const struct question question = {.type = FRAME_MADVISE,
                                      .message = &message.base,
                                      .fd = -1,
                                      .answer = FRAME_DONE,
                                      .own = limit_named_range(addr, len, PAGE_BYTES)};
    int r = handle_check(muse);

    if (r < 0)
        return r;
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

/* --- mlock, munlock --- */

static int lock(struct muse *muse, uint64_t addr, uint64_t len, bool unlock)
{
    Muse__Wire__Lock message = MUSE__WIRE__LOCK__INIT;
    const struct question question = {.type = FRAME_LOCK,
                                      .message = &message.base,
                                      .fd = -1,
                                      .answer = FRAME_DONE,
                                      .own = limit_named_range(addr, len, PAGE_BYTES)};
    int r = handle_check(muse);

    if (r < 0)
        return r;
    message.addr = addr;
    message.length = len;
    message.unlock = unlock;
    if (!unlock) {
        r = limit_lock_room(&message.room_bytes);
        if (r < 0)
            return r;
    }
    return call_ask(muse, &question, NULL);
}

int muse_mlock(struct muse *muse, const void *addr, size_t len)
{
    error_clear();
    return error_return("muse_mlock", lock(muse, (uintptr_t)addr, len, false));
}

int muse_munlock(struct muse *muse, const void *addr, size_t len)
{
    error_clear();
    return error_return("muse_munlock", lock(muse, (uintptr_t)addr, len, true));
}

/* --- mremap --- */

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static int remap(struct muse *muse, Muse__Wire__Remap *message, uint64_t *ret_addr)
{
    struct question question = {
        .type = FRAME_REMAP, .message = &message->base, .fd = -1, .answer = FRAME_MAPPED};
    CLEAN(mail_free_p) struct mail *answer = NULL;
    Muse__Wire__Mapped *mapped;
    int r = handle_check(muse);

    if (r < 0)
        return r;
    if (message->new_length > message->old_length || (message->flags & MREMAP_DONTUNMAP))
        message->has_data_room = limit_data_room(&message->data_room);
    question.own = limit_named_range(message->addr,
                                     larger(message->old_length, message->new_length), PAGE_BYTES);
    question.also = limit_named_range(message->new_addr, message->new_length, PAGE_BYTES);
    r = call_ask(muse, &question, &answer);
    if (r < 0)
        return r;
    mapped = muse__wire__mapped__unpack(NULL, answer->n_payload, answer->payload);
    if (!mapped) {
        call_garbled(muse);
        return -EPROTO;
    }
    *ret_addr = mapped->addr;
    muse__wire__mapped__free_unpacked(mapped, NULL);
    return 0;
}

void *muse_mremap(struct muse *muse, void *old, size_t old_len, size_t new_len, int flags, ...)
{
    Muse__Wire__Remap message = MUSE__WIRE__REMAP__INIT;
    uint64_t got = 0;
    va_list args;

    message.addr = (uintptr_t)old;
    message.old_length = old_len;
    message.new_length = new_len;
    message.flags = (uint32_t)flags;
    if ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0) {
        va_start(args, flags);
        message.new_addr = (uintptr_t)va_arg(args, void *);
        va_end(args);
    }
    error_clear();
    if (error_return("muse_mremap", remap(muse, &message, &got)) < 0)
        return MAP_FAILED;
    return address_pointer(got);
}
