/* SPDX-License-Identifier: BSD-3-Clause */
/* The rules for requests, registrations, answers. Owns nothing; every refusal has one sentence. */
#include "server/map/map_check.h"

#include <errno.h>
#include <linux/mman.h>
#include <sys/mman.h>

#include "common/base/linux_abi.h"
#include "proto/hooks.h"
#include "proto/limits.h"
#include "server/vm/aspace.h"
#include "server/vm/vma.h"

#define PAGE VMA_PAGE_BYTES

#define ABOVE_4G 0x80u /* MAP_ABOVE4G of arch/x86, Linux 6.6 */

/* LEGACY_MAP_MASK of include/linux/mman.h: all that MAP_SHARED_VALIDATE takes. Not in it, in Linux
 * either: MAP_FIXED_NOREPLACE. */
#define KNOWN_MAP_FLAGS                                                                            \
    ((uint32_t)(MAP_SHARED | MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_DENYWRITE |             \
                MAP_EXECUTABLE | MAP_GROWSDOWN | MAP_LOCKED | MAP_NORESERVE | MAP_POPULATE |       \
                MAP_NONBLOCK | MAP_STACK | MAP_HUGETLB | MAP_32BIT | MAP_HUGE_2MB |                \
                MAP_HUGE_1GB) |                                                                    \
     ABOVE_4G)

static int refuse(int error, const char *why, const char **ret_why)
{
    *ret_why = why;
    return error;
}

/* Where MAP_FIXED wants it: steps 8 and 9. */
static int check_fixed(const struct map_args *args, uint64_t len, const char **ret_why)
{
    if (!(args->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)))
        return 0;
    if (args->addr > ASPACE_TASK_END - len)
        return refuse(-ENOMEM, "the range does not fit the address space", ret_why);
    if (args->addr % PAGE != 0)
        return refuse(-EINVAL, "the fixed address is not a multiple of the page size", ret_why);
    if ((args->flags & MAP_FIXED_NOREPLACE) && args->is_taken)
        return refuse(-EEXIST, "something is mapped there", ret_why);
    return 0;
}

/* Steps 1 to 12 of the kernel's order: lengths, offsets, addresses. (Step 5, EOVERFLOW for what
 * wraps around in pages, cannot happen with 64-bit offsets in bytes.) */
static int check_shape(const struct map_args *args, struct map_plan *plan, const char **ret_why)
{
    const uint64_t len = (args->length + args->page_bytes - 1) & ~(args->page_bytes - 1);
    int r;

    if (args->offset % PAGE != 0)
        return refuse(-EINVAL, "the offset is not a multiple of the page size", ret_why);
    if ((args->flags & MAP_HUGETLB) && args->anonymous)
        return refuse(-EOPNOTSUPP, "MAP_HUGETLB: not for anonymous memory", ret_why);
    if ((args->flags & MAP_HUGETLB) && args->page_bytes == PAGE)
        return refuse(-EINVAL, "MAP_HUGETLB: the object has no huge pages", ret_why);
    if (args->length == 0)
        return refuse(-EINVAL, "the length is 0", ret_why);
    if (len < args->length || len > ASPACE_TASK_END)
        return refuse(-ENOMEM, "the length does not fit the address space", ret_why);
    r = check_fixed(args, len, ret_why);
    if (r < 0)
        return r;
    if (!args->anonymous && args->offset > (uint64_t)INT64_MAX - len)
        return refuse(-EOVERFLOW, "the mapping ends beyond the largest file offset", ret_why);
    if (args->offset % args->page_bytes != 0)
        return refuse(-EINVAL, "the offset is not a multiple of the object's page size", ret_why);
    plan->length = len;
    plan->pgoff = args->offset / PAGE;
    return 0;
}

static uint32_t access_flags(uint32_t prot)
{
    return ((prot & PROT_READ) ? VMF_READ : 0u) | ((prot & PROT_WRITE) ? VMF_WRITE : 0u) |
           ((prot & PROT_EXEC) ? VMF_EXEC : 0u);
}

/* Steps 13 to 22: map type and the file's permissions. Return: 0, vm_flags are set; -errno. */
static int check_type(const struct map_args *args, struct map_plan *plan, const char **ret_why)
{
    const uint32_t type = args->flags & MAP_TYPE;
    const uint32_t known = KNOWN_MAP_FLAGS | (args->map_sync ? (uint32_t)MAP_SYNC : 0u);
    uint32_t vm_flags = access_flags(args->prot) | VMF_MAYREAD | VMF_MAYWRITE | VMF_MAYEXEC;

    if (type == MAP_SHARED_VALIDATE && (args->flags & ~(known | MAP_TYPE)))
        return refuse(-EOPNOTSUPP, "unknown flags with MAP_SHARED_VALIDATE", ret_why);
    if (type == MAP_SHARED || type == MAP_SHARED_VALIDATE) {
        if ((args->prot & PROT_WRITE) && !args->writable)
            return refuse(-EACCES, "shared and writable needs a file opened for writing", ret_why);
        vm_flags |= VMF_SHARED | VMF_MAYSHARE;
        if (!args->writable)
            vm_flags &= ~(uint32_t)(VMF_MAYWRITE | VMF_SHARED);
    } else if (type != MAP_PRIVATE) {
        return refuse(-EINVAL, "neither MAP_SHARED nor MAP_PRIVATE", ret_why);
    }
    if (!args->readable)
        return refuse(-EACCES, "the file is not open for reading", ret_why);
    if (args->noexec && (vm_flags & VMF_EXEC))
        return refuse(-EPERM, "the file may not be executed (noexec)", ret_why);
    if (args->noexec)
        vm_flags &= ~(uint32_t)VMF_MAYEXEC;
    if (args->flags & MAP_GROWSDOWN)
        return refuse(-EINVAL, "MAP_GROWSDOWN needs anonymous memory", ret_why);
    plan->vm_flags = vm_flags;
    return 0;
}

/* Step 24, instead of 13 to 22. */
static int check_anonymous(const struct map_args *args, struct map_plan *plan, const char **ret_why)
{
    const uint32_t type = args->flags & MAP_TYPE;

    if (type != MAP_SHARED && type != MAP_PRIVATE)
        return refuse(-EINVAL, "anonymous memory is MAP_SHARED or MAP_PRIVATE", ret_why);
    if (args->flags & MAP_GROWSDOWN) {
        return type == MAP_SHARED
                   ? refuse(-EINVAL, "MAP_GROWSDOWN needs private memory", ret_why)
                   : refuse(-EOPNOTSUPP,
                            "MAP_GROWSDOWN: mappings of Muse do not grow by themselves", ret_why);
    }
    plan->vm_flags = access_flags(args->prot) | VMF_MAYREAD | VMF_MAYWRITE | VMF_MAYEXEC;
    plan->vm_flags |= type == MAP_SHARED ? VMF_SHARED | VMF_MAYSHARE : 0u;
    return 0;
}

int map_check_args(const struct map_args *args, struct map_plan *ret_plan, const char **ret_why)
{
    struct map_plan plan = {.prot = args->prot & (PROT_READ | PROT_WRITE | PROT_EXEC)};
    int r = check_shape(args, &plan, ret_why);

    if (r < 0)
        return r;
    r = args->anonymous ? check_anonymous(args, &plan, ret_why) : check_type(args, &plan, ret_why);
    if (r < 0)
        return r;
    plan.noreplace = args->flags & MAP_FIXED_NOREPLACE;
    plan.fixed = plan.noreplace || (args->flags & MAP_FIXED);
    plan.locked = args->flags & MAP_LOCKED;
    plan.populate = plan.locked || ((args->flags & MAP_POPULATE) && !(args->flags & MAP_NONBLOCK));
    plan.vm_flags |= plan.locked ? VMF_LOCKED : 0;
    plan.vm_flags |= (args->flags & MAP_NORESERVE) ? VMF_NORESERVE : 0;
    *ret_plan = plan;
    return 0;
}

int map_check_data(const struct map_args *args, const struct map_plan *plan, uint64_t n_replaced)
{
    if ((plan->vm_flags & (VMF_WRITE | VMF_SHARED)) != VMF_WRITE || plan->length <= n_replaced)
        return 0;
    return plan->length - n_replaced > args->data_room ? -ENOMEM : 0;
}

int map_check_unmap(uint64_t addr, uint64_t length, struct range *ret_range)
{
    const uint64_t len = (length + PAGE - 1) & ~(PAGE - 1);

    if (addr % PAGE != 0 || len == 0 || addr > ASPACE_TASK_END || len > ASPACE_TASK_END - addr)
        return -EINVAL;
    *ret_range = range_make(addr, addr + len);
    return 0;
}

int map_check_hooks(uint32_t file_hooks, const char **ret_why)
{
    const bool prepare = file_hooks & FILE_HOOK_MMAP_PREPARE;
    const bool complete = file_hooks & FILE_HOOK_MMAP_COMPLETE;

    if (file_hooks & ~FILE_HOOKS_ALL)
        return refuse(-EINVAL, "unknown file hooks", ret_why);
    if (!(file_hooks & FILE_HOOK_OPEN))
        return refuse(-EINVAL, "a driver needs open", ret_why);
    if (complete && !prepare)
        return refuse(-EINVAL, "mmap_complete needs mmap_prepare", ret_why);
    if ((file_hooks & FILE_HOOK_MMAP_ABORT) && !(prepare && complete))
        return refuse(-EINVAL, "mmap_abort needs mmap_prepare and mmap_complete", ret_why);
    if ((file_hooks & FILE_HOOK_MMAP) && prepare)
        return refuse(-EINVAL, "mmap and mmap_prepare exclude each other", ret_why);
    return 0;
}

/* Contract, section 4. LOCKED is checked apart: it has a limit. */
#define MAY_SET                                                                                    \
    ((uint64_t)(VMF_IO | VMF_PFNMAP | VMF_MIXEDMAP | VMF_DONTEXPAND | VMF_DONTDUMP |               \
                VMF_DONTCOPY | VMF_HUGEPAGE | VMF_NORESERVE | VMF_LOCKED))
#define MAY_CLEAR ((uint64_t)(VMF_MAYWRITE | VMF_MAYEXEC | VMF_MAYREAD))

int map_check_answer(const struct map_answer *answer, const char **ret_why)
{
    const uint64_t set = answer->new_flags & ~answer->old_flags;
    const uint64_t cleared = answer->old_flags & ~answer->new_flags;

    if (set & ~MAY_SET)
        return refuse(-EINVAL, "vm_flags: set a flag that a driver may not set", ret_why);
    if (cleared & ~MAY_CLEAR)
        return refuse(-EINVAL, "vm_flags: cleared a flag that a driver may not clear", ret_why);
    if ((set & VMF_LOCKED) && answer->lock_unknown)
        return refuse(-EINVAL, "vm_flags: LOCKED, but the client's limit cannot be read", ret_why);
    if ((set & VMF_LOCKED) && !answer->may_lock)
        return refuse(-EINVAL, "vm_flags: LOCKED is over the client's limit", ret_why);
    if (answer->new_prot & ~answer->old_prot)
        return refuse(-EINVAL, "page_prot: widened", ret_why);
    if (answer->new_pgoff > (uint64_t)INT64_MAX / PAGE - answer->length / PAGE)
        return refuse(-EINVAL, "pgoff: the mapping would end beyond the largest offset", ret_why);
    return 0;
}

int map_check_action(const struct map_action *action, const char **ret_why)
{
    if (action->address % PAGE != 0 || action->length % PAGE != 0 || action->length == 0)
        return refuse(-EINVAL, "action: not page aligned", ret_why);
    if (action->address < action->start || action->address >= action->end ||
        action->length > action->end - action->address)
        return refuse(-EINVAL, "action: outside the mapping", ret_why);
    if (!action->is_remap)
        return 0;
    if (action->fd_offset % PAGE != 0 || action->fd_offset > (uint64_t)INT64_MAX - action->length)
        return refuse(-EINVAL, "action: the fd's offset is not page aligned", ret_why);
    if (action->can_cow &&
        (action->address != action->start || action->length != action->end - action->start))
        return refuse(-EINVAL, "action: copy-on-write needs all of the mapping", ret_why);
    return 0;
}
