/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Errors as errno instead of SIGBUS: muse_copy_from and muse_error_at. The copy is the kernel's own
 * of this process's memory, so a page that fails is a short count; what failed is then asked of the
 * server.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "client-lib/call.h"
#include "client-lib/error.h"
#include "client-lib/handle.h"
#include "proto/client.pb-c.h"
#include "proto/status.h"

static void copy_text(char *to, size_t size, const char *text)
{
    (void)snprintf(to, size, "%s", text ? text : ""); /* cut when too long */
}

static int ask_error(struct muse *muse, uint64_t addr, struct muse_error *ret)
{
    Muse__Wire__ErrorAt message = MUSE__WIRE__ERROR_AT__INIT;
    const struct question question = {
        .type = FRAME_ERROR_AT, .message = &message.base, .fd = -1, .answer = FRAME_ERROR_IS};
    CLEAN(mail_free_p) struct mail *answer = NULL;
    Muse__Wire__ErrorIs *error;
    int r = handle_check(muse);

    if (r < 0)
        return r;
    if (!ret)
        return -EFAULT;
    message.addr = addr;
    r = call_ask(muse, &question, &answer);
    if (r < 0)
        return r;
    error = muse__wire__error_is__unpack(NULL, answer->n_payload, answer->payload);
    if (!error) {
        call_garbled(muse);
        return -EPROTO;
    }
    *ret = (struct muse_error){.error = -status_to_result(error->error, -EIO)};
    if (ret->error != 0) {
        ret->offset = error->has_offset ? error->offset : 0;
        copy_text(ret->driver, sizeof(ret->driver), error->driver);
        copy_text(ret->object, sizeof(ret->object), error->object);
        copy_text(ret->hook, sizeof(ret->hook), error->hook);
        copy_text(ret->text, sizeof(ret->text), error->text);
    }
    muse__wire__error_is__free_unpacked(error, NULL);
    return 0;
}

int muse_error_at(struct muse *muse, const void *addr, struct muse_error *ret)
{
    error_clear();
    return error_return("muse_error_at", ask_error(muse, (uintptr_t)addr, ret));
}

/* Why the byte at @src cannot be had. Return: -errno, sentence set where the server knows one. */
static int explain(struct muse *muse, uint64_t src)
{
    struct muse_error error;
    int r = ask_error(muse, src, &error);

    if (r < 0)
        return r;
    if (error.error == 0)
        return -EFAULT;
    if (error.text[0] != '\0')
        error_say("%s", error.text);
    return -error.error;
}

static int copy_from(struct muse *muse, void *dst, uint64_t src, size_t len, size_t *ret_done)
{
    int r = handle_check(muse);
    size_t n_done = 0;

    if (r < 0)
        return r;
    if (len > SSIZE_MAX)
        return -EINVAL;
    while (n_done < len) {
        const struct iovec to = {.iov_base = (char *)dst + n_done, .iov_len = len - n_done};
        const struct iovec from = {.iov_base = address_pointer(src + n_done),
                                   .iov_len = len - n_done};
        ssize_t n = process_vm_readv(getpid(), &to, 1, &from, 1, 0);

        if (n > 0) {
            n_done += (size_t)n;
            continue;
        }
        if (n_done > 0)
            break; /* the next call says why */
        if (n < 0 && errno != EFAULT)
            return -errno;
        return explain(muse, src);
    }
    *ret_done = n_done;
    return 0;
}

ssize_t muse_copy_from(struct muse *muse, void *dst, const void *src, size_t len)
{
    size_t n_done = 0;
    int r;

    error_clear();
    r = error_return("muse_copy_from", copy_from(muse, dst, (uintptr_t)src, len, &n_done));
    return r < 0 ? r : (ssize_t)n_done;
}
