/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A script is played: by a server and a driver of its own, and by a process for each actor, who
 * take turns. What all of them share, and who looks after them sees, is the board.
 */
#ifndef MUSE_TESTS_DIFFERENTIAL_PLAY_H
#define MUSE_TESTS_DIFFERENTIAL_PLAY_H

#include <stdatomic.h>

#include "tests/differential/compare.h"
#include "tests/differential/mistake.h"

#define STAGE_MANAGER ACTORS_MAX /* its place among the actors */

struct board {
    _Atomic uint32_t turn[ACTORS_MAX + 1]; /* futexes: 0, or number of the step to do plus one */
    _Atomic int pid[ACTORS_MAX];           /* 0: not there */
    _Atomic uint32_t step;                 /* which one is being done */
    _Atomic uint32_t beat;                 /* changes as long as something happens */
    struct finding finding;
    struct rig rig; /* rig.dir[0] == 0: none yet */
};

struct play {
    const struct script *script;
    struct board *board; /* shared memory */
    enum mistake mistake;
    unsigned deadline_ms; /* of one step */
};

/**
 * play() - play a script to its end, or to the first difference, which is on the board then
 * @play: the board is all zeros
 *
 * For a process of its own, that is the leader of its process group: when it returns after a
 * difference others of the group may be left.
 */
void play(const struct play *play);

#endif
