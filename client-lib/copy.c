/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Errors as errno instead of SIGBUS: muse_copy_from and muse_error_at. The copy is the kernel's own
 * of this process's memory, so a page that fails is a short count; what failed is then asked of the
 * server. Where that says so, the mapping's driver may have the bytes though there is no memory.
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
#include "proto/limits.h"
#include "proto/status.h"

static void copy_text(char *to, size_t size, const char *text)
{
    (void)snprintf(to, size, "%s", text ? text : ""); /* cut when too long */
}

/* @ret_access: may ACCESS be asked for the byte? An older server never says so. */
static int ask_error(struct muse *muse, uint64_t addr, struct muse_error *ret, bool *ret_access)
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
    *ret_access = error->access;
    muse__wire__error_is__free_unpacked(error, NULL);
    return 0;
}

int muse_error_at(struct muse *muse, const void *addr, struct muse_error *ret)
{
    bool access;

    error_clear();
    return error_return("muse_error_at", ask_error(muse, (uintptr_t)addr, ret, &access));
}

/* Return: bytes copied; -errno: not even the first one. */
static ssize_t copy_memory(void *dst, void *src, size_t len)
{
    const struct iovec to = {.iov_base = dst, .iov_len = len};
    const struct iovec from = {.iov_base = src, .iov_len = len};
    ssize_t n = process_vm_readv(getpid(), &to, 1, &from, 1, 0);

    return n > 0 ? n : n == 0 ? -EFAULT : -errno;
}

/* From the driver, through the server. Return: as copy_memory(), or 0: it has nothing there. */
static ssize_t copy_access(struct muse *muse, void *dst, uint64_t src, size_t len)
{
    Muse__Wire__Access message = MUSE__WIRE__ACCESS__INIT;
    const struct question question = {
        .type = FRAME_ACCESS, .message = &message.base, .fd = -1, .answer = FRAME_ACCESSED};
    CLEAN(mail_free_p) struct mail *answer = NULL;
    Muse__Wire__Accessed *accessed;
    ssize_t n;

    message.addr = src;
    message.length = (uint32_t)len;
    n = call_ask(muse, &question, &answer);
    if (n < 0)
        return n;
    accessed = muse__wire__accessed__unpack(NULL, answer->n_payload, answer->payload);
    if (!accessed || accessed->data.len > len) {
        call_garbled(muse);
        n = -EPROTO;
    } else if (accessed->data.len > 0) { /* @dst may be no memory of ours */
        n = copy_memory(dst, accessed->data.data, accessed->data.len);
    }
    if (accessed)
        muse__wire__accessed__free_unpacked(accessed, NULL);
    return n;
}

/* There is no memory at @src. Return: bytes copied; -errno: why there are none, sentence set where
 * the server knows one. */
static ssize_t copy_no_memory(struct muse *muse, void *dst, uint64_t src, size_t len)
{
    struct muse_error error;
    bool access;
    ssize_t n = ask_error(muse, src, &error, &access);

    if (n == 0 && access)
        n = copy_access(muse, dst, src, len);
    if (n != 0)
        return n;
    if (error.error == 0)
        return -EFAULT;
    if (error.text[0] != '\0')
        error_say("%s", error.text);
    return -error.error;
}

static int copy_from(struct muse *muse, void *dst, uint64_t src, size_t len, size_t *ret_done)
{
    int r = handle_check(muse);
    bool is_short = false;
    size_t n_done = 0;

    if (r < 0)
        return r;
    if (len > SSIZE_MAX)
        return -EINVAL;
    while (n_done < len && !is_short) {
        const uint64_t at = src + n_done;
        char *to = (char *)dst + n_done;
        size_t left = len - n_done;
        ssize_t n = copy_memory(to, address_pointer(at), left);

        if (n == -EFAULT) { /* the next page may be memory, with what this process wrote there */
            const size_t in_page = ACCESS_BYTES_MAX - at % ACCESS_BYTES_MAX;

            left = left < in_page ? left : in_page;
            n = copy_no_memory(muse, to, at, left);
            is_short = n < (ssize_t)left;
        }
        if (n < 0 && n_done == 0)
            return (int)n;
        if (n < 0)
            break; /* the next call says why */
        n_done += (size_t)n;
    }
    error_clear();
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
