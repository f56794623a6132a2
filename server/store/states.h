/* SPDX-License-Identifier: BSD-3-Clause */
/* The page-state arena's begin and end; for store.c only. */
#ifndef MUSE_SERVER_STORE_STATES_H
#define MUSE_SERVER_STORE_STATES_H

#include "server/store/store.h"

/** states_init() - make and map the arena. @store: zeroed. Return: 0 or -errno. */
MUST_CHECK int states_init(struct store *store);

/** states_done() - unmap and close it; every table must be back (MUST) */
void states_done(struct store *store);

#endif
