/* SPDX-License-Identifier: BSD-3-Clause */
/* The part of the store that backs page caches by large folios; see large.c. For store.c only. */
#ifndef MUSE_SERVER_STORE_LARGE_H
#define MUSE_SERVER_STORE_LARGE_H

#include "server/store/store.h"

/** large_init() - find out whether and how this kernel gives large folios; without, memfds with
 * small ones are used, and nothing else changes */
void large_init(struct store *store);

/** large_done() - give the mount and the addresses back; a no-op when there are none */
void large_done(struct store *store);

/** large_unmap() - give a backing's window back, if it has one; no block of it is in use */
void large_unmap(struct backing *backing);

#endif
