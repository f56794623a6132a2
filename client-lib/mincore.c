/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse_mincore. mincore(2) on a mapping of Muse would tell which pages the memfd has, valid or not.
 * So the server says which of them are valid, and the kernel's page tables which ones this process
 * has anyway, private copies among them. Anonymous memory only the kernel knows.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client-lib/call.h"
#include "client-lib/error.h"
#include "client-lib/handle.h"
#include "common/base/own.h"
#include "proto/client.pb-c.h"

/* What the server says of a page; another number counts as absent. */
enum { PAGE_IS_VALID = 1, PAGE_IS_ANONYMOUS = 2 };

/* Documentation/admin-guide/mm/pagemap.rst: one u64 a page */
#define PAGEMAP_PRESENT ((uint64_t)1 << 63)
#define PAGEMAP_BATCH   512u

/* The pages that a touch would find without anybody's help. */
static void add_present(int pagemap, uint64_t addr, unsigned char *vec, size_t n_pages)
{
    uint64_t entries[PAGEMAP_BATCH];
    size_t at = 0;

    while (at < n_pages) {
        const size_t n = n_pages - at < PAGEMAP_BATCH ? n_pages - at : PAGEMAP_BATCH;
        const off_t offset = (off_t)((addr / PAGE_BYTES + at) * sizeof(entries[0]));

        if (pread(pagemap, entries, n * sizeof(entries[0]), offset) !=
            (ssize_t)(n * sizeof(entries[0])))
            return; /* no /proc: what the server says has to do */
        for (size_t i = 0; i < n; i++)
            vec[at + i] |= (entries[i] & PAGEMAP_PRESENT) != 0;
        at += n;
    }
}

/* From what the server says of each page to mincore(2)'s answer. */
static void translate(uint64_t addr, unsigned char *vec, const uint8_t *said, size_t n_pages)
{
    CLEAN(fd_close_p) int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

    for (size_t i = 0; i < n_pages; i++) {
        vec[i] = said[i] == PAGE_IS_VALID;
        if (said[i] == PAGE_IS_ANONYMOUS &&
            mincore(address_pointer(addr + i * PAGE_BYTES), PAGE_BYTES, &vec[i]) < 0)
            vec[i] = 0;
    }
    if (pagemap >= 0)
        add_present(pagemap, addr, vec, n_pages);
}

/* The first pages of the range. @ret_done: how many; at most @n_pages. */
static int ask_resident(struct muse *muse, uint64_t addr, unsigned char *vec, size_t n_pages,
                        size_t *ret_done)
{
    Muse__Wire__Mincore message = MUSE__WIRE__MINCORE__INIT;
    const struct question question = {
        .type = FRAME_MINCORE, .message = &message.base, .fd = -1, .answer = FRAME_RESIDENT};
    CLEAN(mail_free_p) struct mail *answer = NULL;
    Muse__Wire__Resident *resident;
    int r;

    message.addr = addr;
    message.length = n_pages * PAGE_BYTES;
    r = call_ask(muse, &question, &answer);
    if (r < 0)
        return r;
    resident = muse__wire__resident__unpack(NULL, answer->n_payload, answer->payload);
    if (!resident || resident->pages.len == 0 || resident->pages.len > n_pages) {
        muse__wire__resident__free_unpacked(resident, NULL);
        call_garbled(muse);
        return -EPROTO;
    }
    *ret_done = resident->pages.len;
    translate(addr, vec, resident->pages.data, *ret_done);
    muse__wire__resident__free_unpacked(resident, NULL);
    return 0;
}

static int core(struct muse *muse, uint64_t addr, size_t len, unsigned char *vec)
{
    const size_t n_pages = len / PAGE_BYTES + (len % PAGE_BYTES != 0);
    size_t n_done = 0;
    int r = handle_check(muse);

    if (r < 0)
        return r;
    if (addr % PAGE_BYTES != 0)
        return -EINVAL;
    if (len > ADDRESS_END || addr > ADDRESS_END - len)
        return -ENOMEM;
    if (!vec && n_pages > 0)
        return -EFAULT;
    while (r == 0 && n_done < n_pages) {
        size_t n = 0;

        r = ask_resident(muse, addr + n_done * PAGE_BYTES, vec + n_done, n_pages - n_done, &n);
        n_done += n;
    }
    return r;
}

int muse_mincore(struct muse *muse, void *addr, size_t len, unsigned char *vec)
{
    error_clear();
    return error_return("muse_mincore", core(muse, (uintptr_t)addr, len, vec));
}
