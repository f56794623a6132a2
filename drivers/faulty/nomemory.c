/* SPDX-License-Identifier: BSD-3-Clause */
/* muse-faulty's access and vma_name: mappings that are no memory, as those of a device. */
#include <string.h>

#include "drivers/faulty/faulty.h"

/* Bytes the fault hook would not give: the complement of each. */
static void fill_inverted(const struct muse_vma *vma, uint64_t addr, uint8_t *buf, size_t len)
{
    const uint64_t page = vma->pgoff + (addr - vma->start) / MUSE_PAGE_BYTES;
    uint64_t words[MUSE_PAGE_BYTES / sizeof(uint64_t)];
    const uint8_t *from = (const uint8_t *)words + addr % MUSE_PAGE_BYTES;

    faulty_pattern(words, page, 1);
    for (size_t i = 0; i < len; i++)
        buf[i] = (uint8_t)~from[i];
}

int faulty_access(struct muse_vma *vma, uint64_t addr, void *buf, int len, int write)
{
    struct faulty_file *file = faulty_file_of(vma->file);
    const struct behaviour *behaviour = &file->behaviour;
    struct faulty *faulty = file->faulty;
    int n = -(int)behaviour->access_errno;

    (void)atomic_fetch_add(&faulty->n.access, 1);
    faulty_maybe_die(behaviour, "access");
    if (write || len <= 0 || addr < vma->start || addr >= vma->end ||
        (uint64_t)len > MUSE_PAGE_BYTES - addr % MUSE_PAGE_BYTES) {
        (void)atomic_fetch_add(&faulty->n.mismatch, 1);
        return 0;
    }
    if (lie_in_access(faulty, behaviour, (uint32_t)len))
        return 0;
    if (n < 0) {
        muse_set_error("access refused as asked for");
    } else if (!behaviour->access_nothing) {
        n = behaviour->access_short ? len / 2 : len;
        fill_inverted(vma, addr, buf, (size_t)n);
    }
    if (behaviour->access_delay_ms)
        delay_reply(&faulty->delays, behaviour->access_delay_ms, n);
    return n;
}

const char *faulty_vma_name(struct muse_vma *vma)
{
    const struct faulty_file *file = faulty_file_of(vma->file);
    const struct behaviour *behaviour = &file->behaviour;

    (void)atomic_fetch_add(&file->faulty->n.name, 1);
    faulty_maybe_die(behaviour, "name");
    faulty_sleep(behaviour->name_sleep_ms);
    if (lie_in_name(file->faulty, behaviour))
        return NULL;
    if (behaviour->name_delay_ms || behaviour->name_errno) /* only a deferred one has an errno */
        delay_reply(&file->faulty->delays, behaviour->name_delay_ms, -(int)behaviour->name_errno);
    return behaviour->name[0] ? behaviour->name : NULL;
}
