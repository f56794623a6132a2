/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The end of the program after a bug of ours. Owns the panic hook, one of the two mutable globals.
 * Called by MUST() everywhere. Deliberately writes to stderr itself, without stdio: at this point
 * no lock, buffer or log sink can be trusted.
 */
#include "common/base/must.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static muse_panic_hook_fn *panic_hook;

void muse_panic_set_hook(muse_panic_hook_fn *hook)
{
    panic_hook = hook;
}

_Noreturn void muse_panic(const char *file, int line, const char *func, const char *cond)
{
    muse_panic_hook_fn *hook = panic_hook;
    char text[512];

    (void)snprintf(text, sizeof(text), "level=error event=panic at=%s:%d func=%s must=\"%s\"\n",
                   file, line, func, cond);
    /* Nothing is left to do about a failing write. */
    (void)!write(STDERR_FILENO, text, strlen(text));
    panic_hook = NULL; /* a MUST() broken inside the hook ends here, not in a loop */
    if (hook)
        hook(file, line, func, cond);
    abort();
}
