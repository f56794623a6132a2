/* SPDX-License-Identifier: BSD-3-Clause */
/* Parses and decides. Owns nothing. */
#include "drivers/pseudolock/group.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/number.h"

/* As in cpuset(7), "List format". */
static bool parse_cpus(const char *text, cpu_set_t *ret_cpus)
{
    CPU_ZERO(ret_cpus);
    do {
        uint64_t first, last;

        if (number_take(text, 10, &first, &text) < 0)
            return false;
        last = first;
        if (*text == '-') {
            text++;
            if (number_take(text, 10, &last, &text) < 0)
                return false;
        }
        if (first > last || last >= CPU_SETSIZE)
            return false;
        for (uint64_t cpu = first; cpu <= last; cpu++)
            CPU_SET(cpu, ret_cpus);
    } while (*text++ == ',');
    return text[-1] == '\0';
}

static bool parse_whole_pages(const char *text, uint64_t *ret_bytes)
{
    return size_parse(text, ret_bytes) == 0 && *ret_bytes <= GROUP_BYTES_MAX &&
           *ret_bytes % MUSE_PAGE_BYTES == 0;
}

const char *group_parse(char *text, struct group *ret_group)
{
    const char *name = strsep(&text, ":");
    const char *size = strsep(&text, ":");
    const char *cpus = strsep(&text, ":");

    *ret_group = (struct group){.fd = -1, .path = text};
    if (!cpus)
        return "a group is NAME:SIZE:CPUS[:FILE]";
    if (name[0] == '\0' || strlen(name) > GROUP_NAME_MAX || strchr(name, '/') || name[0] == '.')
        return "the group's name is 1 to 32 letters, without '/', and does not begin with '.'";
    if (!parse_whole_pages(size, &ret_group->size_bytes))
        return "the group's SIZE is whole pages, at most 1024M";
    if (!parse_cpus(cpus, &ret_group->cpus))
        return "the group's CPUS are a list as in 0-2,5";
    (void)strcpy(ret_group->name, name); /* NOLINT: its length was looked at */
    return NULL;
}

static bool is_inside(const cpu_set_t *cpus, const cpu_set_t *allowed)
{
    cpu_set_t both;

    CPU_AND(&both, cpus, allowed);
    return CPU_EQUAL(&both, cpus);
}

int group_check(const struct group *group, const cpu_set_t *cpus, const struct muse_vma_desc *desc,
                const char **ret_why)
{
    const uint64_t offset = desc->pgoff * MUSE_PAGE_BYTES;

    *ret_why = "the group is gone";
    if (!group || group->is_removed)
        return -ENODEV;
    *ret_why = "the group has no pseudo-locked region";
    if (group->size_bytes == 0)
        return -ENODEV;
    *ret_why = "the task may run where the region's cache is not";
    if (!is_inside(cpus, &group->cpus))
        return -EINVAL;
    *ret_why = "the offset lies behind the region";
    if (offset > group->size_bytes)
        return -ENOSPC;
    *ret_why = "the region is mapped shared and writable, or not at all";
    if (!(desc->vm_flags & MUSE_VM_SHARED))
        return -EINVAL;
    *ret_why = "the mapping ends behind the region";
    if (muse_vma_desc_size(desc) > group->size_bytes - offset)
        return -ENOSPC;
    return 0;
}
