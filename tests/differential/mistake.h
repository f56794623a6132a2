/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mistakes that the fuzzer makes on purpose in Muse's world, so that a test can see that it finds
 * and shrinks them.
 */
#ifndef MUSE_TESTS_DIFFERENTIAL_MISTAKE_H
#define MUSE_TESTS_DIFFERENTIAL_MISTAKE_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/differential/script.h"

enum mistake {
    MISTAKE_NONE,
    MISTAKE_PROTECT, /* mprotect of several pages leaves out the last one */
    MISTAKE_STORE,   /* what a forked child stores is lost */
    MISTAKE_CRASH,   /* MADV_DONTNEED of four pages or more ends the process */
    MISTAKE_HANG,    /* munlock of two pages or more never returns */
    N_MISTAKES,
};

/** mistake_find() - by its name. Return: whether there is such a one. */
static inline bool mistake_find(const char *name, enum mistake *ret)
{
    static const char *const names[N_MISTAKES] = {"none", "protect", "store", "crash", "hang"};

    for (unsigned i = 0; i < N_MISTAKES; i++) {
        if (strcmp(names[i], name) == 0) {
            *ret = (enum mistake)i;
            return true;
        }
    }
    return false;
}

/** mistake_bend() - what Muse's world is told to do instead. @is_child: the process was forked. */
static inline struct step mistake_bend(enum mistake mistake, struct step step, bool is_child)
{
    if (mistake == MISTAKE_PROTECT && step.op == OP_MPROTECT && step.len > PAGE)
        step.len -= PAGE;
    if (mistake == MISTAKE_STORE && step.op == OP_STORE && is_child)
        step.op = OP_LOAD;
    if (mistake == MISTAKE_CRASH && step.op == OP_MADVISE && step.flags == MADV_DONTNEED &&
        step.len >= 4 * PAGE)
        abort();
    while (mistake == MISTAKE_HANG && step.op == OP_MUNLOCK && step.len >= 2 * PAGE)
        (void)pause();
    return step;
}

#endif
