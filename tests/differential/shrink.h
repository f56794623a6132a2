/* SPDX-License-Identifier: BSD-3-Clause */
/* The shortest script that still fails in the same way, or nearly so. */
#ifndef MUSE_TESTS_DIFFERENTIAL_SHRINK_H
#define MUSE_TESTS_DIFFERENTIAL_SHRINK_H

#include "tests/differential/attempt.h"

/**
 * shrink() - make a failing script small
 * @script:  in: fails; out: the smallest that was found
 * @finding: in: how; out: how the small one does
 *
 * Return: how many attempts it took.
 */
unsigned shrink(struct script *script, const struct attempt_options *options,
                struct finding *finding);

#endif
