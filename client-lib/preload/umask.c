/* SPDX-License-Identifier: BSD-3-Clause */
/* Sees each umask(3). Who changes it by a raw system call goes on with what was known. */
#define _GNU_SOURCE
#include "client-lib/preload/umask.h"

#include <stdatomic.h>
#include <sys/stat.h>

#include "client-lib/preload/shim.h"

static _Atomic mode_t current;

EXPORT mode_t umask(mode_t mask)
{
    mode_t before = REAL(umask)(mask);

    atomic_store_explicit(&current, mask & 0777u, memory_order_relaxed);
    return before;
}

mode_t umask_apply(mode_t mode)
{
    return mode & ~atomic_load_explicit(&current, memory_order_relaxed);
}

void umask_begin(void)
{
    const mode_t mask = REAL(umask)(0);

    (void)umask(mask);
}
