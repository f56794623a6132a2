/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Check tells its parent process about every assertion that holds, with a write to a pipe, so that
 * it can name the last one before a crash. Model tests have millions of them. Every test is linked
 * with this and "--wrap=_mark_point": only the first ones are told, enough for all but loops.
 */
#include <stdatomic.h>

#include <check.h>

/* Chosen: more assertions than any test has that is written out line by line. */
#define N_TOLD 2000U

/* NOLINTBEGIN(readability-identifier-naming): ld(1), "--wrap", makes these names */
void __real__mark_point(const char *file, int line);
void __wrap__mark_point(const char *file, int line);

void __wrap__mark_point(const char *file, int line)
{
    static atomic_uint n_told; /* assertions may be made in any thread */

    if (atomic_load_explicit(&n_told, memory_order_relaxed) >= N_TOLD)
        return;
    (void)atomic_fetch_add_explicit(&n_told, 1, memory_order_relaxed);
    __real__mark_point(file, line);
}
/* NOLINTEND(readability-identifier-naming) */
