/* SPDX-License-Identifier: BSD-3-Clause */
/* The C library's own functions, looked up when first needed: before any constructor has run, too.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "client-lib/preload/shim.h"

_Thread_local int shim_depth __attribute__((tls_model("initial-exec")));

void *real_find(void *_Atomic *slot, const char *name)
{
    void *function = atomic_load_explicit(slot, memory_order_relaxed);

    if (function)
        return function;
    function = dlsym(RTLD_NEXT, name);
    if (!function)
        abort();
    atomic_store_explicit(slot, function, memory_order_relaxed);
    return function;
}
