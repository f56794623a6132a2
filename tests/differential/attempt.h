/* SPDX-License-Identifier: BSD-3-Clause */
/* One run of a script, in processes that cannot harm whoever asks: they may crash, hang, leave things. */
#ifndef MUSE_TESTS_DIFFERENTIAL_ATTEMPT_H
#define MUSE_TESTS_DIFFERENTIAL_ATTEMPT_H

#include "tests/differential/play.h"

struct attempt_options {
    enum mistake mistake;
    unsigned deadline_ms; /* of one step */
    bool shows_log;       /* of the server, on stderr, when something was found */
};

/**
 * attempt() - play a script in a process group of its own
 * @ret: what was found, FOUND_NOTHING if nothing
 *
 * When it returns no process of it is left, and no file. To be called by a process without other
 * children.
 */
void attempt(const struct script *script, const struct attempt_options *options,
             struct finding *ret);

#endif
