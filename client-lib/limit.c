/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads this process's limits of locked memory and of data, and what it has of both. Owns nothing, remembers
 * nothing. */
#include "client-lib/limit.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KIB 1024ull

struct range limit_named_range(uint64_t addr, uint64_t len, uint64_t page_bytes)
{
    const struct range none = {0};
    struct range range;

    if (range_from_len(addr, len, &range) < 0 || range_align_out(range, page_bytes, &range) < 0)
        return none;
    return range;
}

static bool may_lock_anything(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};

    if (syscall(SYS_capget, &header, data) < 0)
        return false;
    return (data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective & CAP_TO_MASK(CAP_IPC_LOCK)) != 0;
}

uint64_t limit_status_bytes(const char *name)
{
    unsigned long long kib = 0;
    FILE *status = fopen("/proc/self/status", "re");
    char line[256];

    if (!status)
        return 0;
    while (fgets(line, sizeof(line), status)) {
        if (strncmp(line, name, strlen(name)) == 0)
            kib = strtoull(line + strlen(name), NULL, 10);
    }
    (void)fclose(status);
    return kib * KIB;
}

int limit_lock_room(uint64_t *ret_bytes)
{
    struct rlimit limit;
    uint64_t n_locked;

    *ret_bytes = UINT64_MAX;
    if (may_lock_anything() || getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
        return 0;
    if (limit.rlim_cur == 0)
        return -EPERM;
    if (limit.rlim_cur == RLIM_INFINITY)
        return 0;
    n_locked = limit_status_bytes("VmLck:");
    *ret_bytes = n_locked < limit.rlim_cur ? limit.rlim_cur - n_locked : 0;
    return 0;
}

bool limit_data_room(uint64_t *ret_bytes)
{
    struct rlimit limit;
    uint64_t max, used;

    if (getrlimit(RLIMIT_DATA, &limit) < 0)
        return false;
    max = limit.rlim_cur == 0 ? limit.rlim_max : limit.rlim_cur; /* 0: as it was before 4.5 */
    if (max == RLIM_INFINITY)
        return false;
    used = limit_status_bytes("VmData:");
    *ret_bytes = used < max ? max - used : 0;
    return true;
}
