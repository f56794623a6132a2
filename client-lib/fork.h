/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fork(3): the child goes on with a copy of every handle's mappings. What fork.c keeps in a handle
 * for that, and how connecting and disconnecting stay out of its way.
 */
#ifndef MUSE_CLIENT_LIB_FORK_H
#define MUSE_CLIENT_LIB_FORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/list.h"
#include "common/base/range.h"
#include "proto/limits.h"

struct muse;

/* Ranges in the order they were added. */
struct fork_ranges {
    struct range *ranges; /* owned */
    size_t n;
    size_t n_allocated;
};

/* Written by the thread that forks only; all but @node and @why mean something from prepare to the
 * end of parent or child. */
struct fork {
    struct list node; /* in the list of handles */
    bool has_begun;   /* the server holds a copy of the space for @token */
    bool is_paused;   /* other threads' calls wait */
    bool is_locked;
    uint8_t token[FORK_TOKEN_BYTES];
    struct fork_ranges kept;        /* mapped, and inherited */
    struct fork_ranges dropped;     /* mapped, and not inherited */
    char why[ERROR_TEXT_BYTES_MAX]; /* in a copy: why it is one; else empty */
};

/** fork_wait() - no fork happens until fork_go_on(); other threads may be here, too */
void fork_wait(void);

/** fork_go_on() - forks may happen again */
void fork_go_on(void);

/** fork_enlist() - a child inherits this handle from now on; between fork_wait() and fork_go_on()
 */
void fork_enlist(struct muse *muse);

/** fork_delist() - no more; between fork_wait() and fork_go_on() */
void fork_delist(struct muse *muse);

/** fork_done() - free what is left in a handle that goes away; safe on a zeroed struct */
void fork_done(struct fork *fork);

#endif
