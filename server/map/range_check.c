/* SPDX-License-Identifier: BSD-3-Clause */
/* The rules of range_check.h. Owns nothing. */
#define _GNU_SOURCE
#include "server/map/range_check.h"

#include <errno.h>
#include <sys/mman.h>

#include "common/base/linux_abi.h"
#include "server/vm/aspace.h"
#include "server/vm/vma.h"

#define PAGE     VMA_PAGE_BYTES
#define PROT_SEM 0x8u /* asm-generic/mman-common.h: taken, and without effect */

static bool is_aligned(uint64_t addr)
{
    return addr % PAGE == 0;
}

/* [addr, addr + length rounded up). Return: whether it does not wrap around. */
static bool rounded(uint64_t addr, uint64_t length, struct range *ret_range)
{
    uint64_t end;

    if (length > UINT64_MAX - (PAGE - 1) ||
        __builtin_add_overflow(addr, (length + PAGE - 1) & ~(PAGE - 1), &end))
        return false;
    *ret_range = range_make(addr, end);
    return true;
}

int range_check_protect(uint64_t addr, uint64_t length, uint32_t prot, struct range *ret_range,
                        bool *ret_grows)
{
    const uint32_t grows = prot & (uint32_t)(PROT_GROWSDOWN | PROT_GROWSUP);
    const uint32_t known = (uint32_t)(PROT_READ | PROT_WRITE | PROT_EXEC) | PROT_SEM;
    struct range range = {addr, addr};

    if (grows == (uint32_t)(PROT_GROWSDOWN | PROT_GROWSUP) || !is_aligned(addr))
        return -EINVAL;
    if (length > 0) {
        if (!rounded(addr, length, &range) || range_is_empty(range))
            return -ENOMEM;
        if ((prot & ~grows & ~known) != 0)
            return -EINVAL;
    }
    *ret_range = range;
    *ret_grows = grows != 0;
    return 0;
}

static bool is_known_advice(uint32_t advice)
{
    static const int known[] = {
        MADV_NORMAL,   MADV_RANDOM,        MADV_SEQUENTIAL,     MADV_WILLNEED,
        MADV_DONTNEED, MADV_FREE,          MADV_REMOVE,         MADV_DONTFORK,
        MADV_DOFORK,   MADV_HUGEPAGE,      MADV_NOHUGEPAGE,     MADV_DONTDUMP,
        MADV_DODUMP,   MADV_WIPEONFORK,    MADV_KEEPONFORK,     MADV_COLD,
        MADV_PAGEOUT,  MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_DONTNEED_LOCKED,
    };

    for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if ((uint32_t)known[i] == advice)
            return true;
    }
    return false;
}

int range_check_advise(uint64_t addr, uint64_t length, uint32_t advice, struct range *ret_range)
{
    struct range range;

    if (!is_known_advice(advice) || !is_aligned(addr) || !rounded(addr, length, &range))
        return -EINVAL;
    *ret_range = range;
    return 0;
}

int range_check_lock(uint64_t addr, uint64_t length, struct range *ret_range)
{
    const uint64_t start = addr & ~(PAGE - 1);
    struct range range;

    /* PAGE_ALIGN(len + offset_in_page(start)) of mlock(): what wraps there has no length */
    length += addr - start;
    if (length > UINT64_MAX - (PAGE - 1))
        length = 0;
    if (!rounded(start, length, &range))
        return -EINVAL;
    *ret_range = range;
    return 0;
}

bool remap_names_target(const struct remap_args *args)
{
    return (args->flags & (uint32_t)(MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0;
}

static int check_target(const struct remap_args *args)
{
    if (args->new_addr > ASPACE_TASK_END - args->new_length || !is_aligned(args->new_addr) ||
        !(args->flags & MREMAP_MAYMOVE))
        return -EINVAL;
    if ((args->flags & MREMAP_DONTUNMAP) && args->old_length != args->new_length)
        return -EINVAL;
    /* as vrm_overlaps(): a length of 0 overlaps nothing */
    if (args->addr + args->old_length > args->new_addr &&
        args->new_addr + args->new_length > args->addr)
        return -EINVAL;
    return 0;
}

int range_check_remap(struct remap_args *args)
{
    const uint32_t known = (uint32_t)(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP);

    /* PAGE_ALIGN(): what wraps becomes 0 */
    args->old_length = (args->old_length + PAGE - 1) & ~(PAGE - 1);
    args->new_length = (args->new_length + PAGE - 1) & ~(PAGE - 1);
    if ((args->flags & ~known) || !is_aligned(args->addr) || args->new_length == 0 ||
        args->new_length > ASPACE_TASK_END)
        return -EINVAL;
    return remap_names_target(args) ? check_target(args) : 0;
}

/* Huge pages: whole ones, and never more of them. Source: align_hugetlb(). */
static bool is_huge_change(const struct remap_args *args, uint64_t page_bytes)
{
    const uint64_t mask = page_bytes - 1;

    return ((args->addr | args->old_length | args->new_length) & mask) == 0 &&
           (!remap_names_target(args) || (args->new_addr & mask) == 0) &&
           args->new_length <= args->old_length;
}

int range_check_remap_vma(const struct remap_args *args, const struct remap_vma *vma)
{
    const uint64_t old = args->new_length < args->old_length ? args->new_length : args->old_length;
    const uint64_t pgoff = vma->pgoff + (args->addr - vma->start) / PAGE;
    const bool fixed_size = vma->flags & (VMF_DONTEXPAND | VMF_PFNMAP);

    if (!vma->anonymous && vma->page_bytes > PAGE && !is_huge_change(args, vma->page_bytes))
        return -EINVAL;
    if (args->old_length == 0 && !(vma->flags & (VMF_SHARED | VMF_MAYSHARE)))
        return -EINVAL;
    if ((args->flags & MREMAP_DONTUNMAP) && (fixed_size || vma->page_bytes > PAGE))
        return -EINVAL;
    if (old == args->old_length && !remap_names_target(args) && old == args->new_length)
        return 0; /* nothing is asked for */
    if (old > vma->end - args->addr)
        return -EFAULT;
    if (args->new_length == old)
        return 0;
    if (pgoff + args->new_length / PAGE > (uint64_t)INT64_MAX / PAGE && !vma->anonymous)
        return -EINVAL;
    return fixed_size ? -EFAULT : 0;
}

int range_check_remap_data(const struct remap_args *args, uint32_t vma_flags, uint64_t room)
{
    uint64_t n_more = 0;

    if ((vma_flags & (uint32_t)(VMF_WRITE | VMF_SHARED)) != VMF_WRITE)
        return 0;
    if (args->flags & MREMAP_DONTUNMAP)
        n_more = args->old_length;
    else if (args->new_length > args->old_length)
        n_more = args->new_length - args->old_length;
    return n_more > room ? -ENOMEM : 0;
}
