/* SPDX-License-Identifier: BSD-3-Clause */
/* Random scripts. Pure: the same seed is the same script. */
#ifndef MUSE_TESTS_DIFFERENTIAL_GENERATE_H
#define MUSE_TESTS_DIFFERENTIAL_GENERATE_H

#include "tests/differential/script.h"

/**
 * generate() - a script from a seed
 * @seed:     any number
 * @n_steps:  how many
 * @n_actors: 1..ACTORS_MAX; with 1 nobody forks or connects
 * @ret:      to be given to script_done()
 */
void generate(uint64_t seed, size_t n_steps, unsigned n_actors, struct script *ret);

#endif
