/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The arguments of the calls that change existing mappings: mprotect, mremap, madvise, mlock. In
 * the order and with the errno of Linux 6.18. Pure: what is mapped where is looked at later.
 */
#ifndef MUSE_SERVER_MAP_RANGE_CHECK_H
#define MUSE_SERVER_MAP_RANGE_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/must.h"
#include "common/base/range.h"

/**
 * range_check_protect() - the arguments of mprotect(2)
 * @ret_range: page aligned; empty when there is nothing to do. Its end may lie beyond all mappings.
 * @ret_grows: PROT_GROWSDOWN or PROT_GROWSUP was asked for: EINVAL once something is mapped there
 *
 * Source: do_mprotect_pkey(). Return: 0; -EINVAL, -ENOMEM.
 */
MUST_CHECK int range_check_protect(uint64_t addr, uint64_t length, uint32_t prot,
                                   struct range *ret_range, bool *ret_grows);

/**
 * range_check_advise() - the arguments of madvise(2)
 * @ret_range: as above
 *
 * Advice that Muse does not know is EINVAL, also some that Linux knows: MERGEABLE, HWPOISON,
 * COLLAPSE, GUARD_INSTALL and their relatives. Source: is_valid_madvise(). Return: 0; -EINVAL.
 */
MUST_CHECK int range_check_advise(uint64_t addr, uint64_t length, uint32_t advice,
                                  struct range *ret_range);

/** range_check_lock() - the arguments of mlock(2) and munlock(2). Return: 0; -EINVAL it wraps. */
MUST_CHECK int range_check_lock(uint64_t addr, uint64_t length, struct range *ret_range);

/* mremap(2)'s arguments, lengths rounded up by range_check_remap(). */
struct remap_args {
    uint64_t addr, old_length, new_length, new_addr; /* bytes */
    uint32_t flags;                                  /* MREMAP_ */
};

/**
 * range_check_remap() - the arguments of mremap(2)
 * @args: untrusted; the lengths are rounded up to pages
 *
 * Source: check_mremap_params(). Return: 0; -EINVAL.
 */
MUST_CHECK int range_check_remap(struct remap_args *args);

/** remap_names_target() - whether new_addr means something: FIXED, or a hint of DONTUNMAP */
bool remap_names_target(const struct remap_args *args);

/* What mremap finds at the old address. */
struct remap_vma {
    uint32_t flags; /* VMF_ */
    uint64_t start, end, pgoff;
    bool anonymous;
    uint64_t page_bytes; /* of its object */
};

/**
 * range_check_remap_vma() - may this mapping be changed so?
 * @args: checked
 * @vma:  what stands at args->addr
 *
 * Source: check_prep_vma(), but for limits, which the client's kernel knows.
 * Return: 0; -EFAULT, -EINVAL.
 */
MUST_CHECK int range_check_remap_vma(const struct remap_args *args, const struct remap_vma *vma);

/**
 * range_check_remap_data() - is the client's RLIMIT_DATA kept? In the arena its kernel does not look.
 * @args:      checked
 * @vma_flags: VMF_, of what stands at args->addr
 * @room:      bytes that the limit leaves
 *
 * Source: check_prep_vma(), mremap_to(). Return: 0; -ENOMEM.
 */
MUST_CHECK int range_check_remap_data(const struct remap_args *args, uint32_t vma_flags,
                                      uint64_t room);

#endif
