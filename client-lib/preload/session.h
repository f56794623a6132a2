/* SPDX-License-Identifier: BSD-3-Clause */
/* The one connection of this process: made at the first name under /muse, made again in a child. */
#ifndef MUSE_CLIENT_LIB_PRELOAD_SESSION_H
#define MUSE_CLIENT_LIB_PRELOAD_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "client-lib/preload/shim.h"

/* The range of addresses in which the server places mappings; both 0 before the first connection.
 */
extern _Atomic uintptr_t session_arena_start, session_arena_end;

/**
 * session_get() - the connection
 * @ret_generation: counts connections: files of an older one have to be opened again. May be NULL.
 *
 * Return: the handle; NULL and errno.
 */
struct muse *session_get(unsigned *ret_generation);

/** session_begin() - at start: remember what of the environment is needed later */
void session_begin(void);

/** session_forked() - in a child: the connection may be the parent's */
void session_forked(void);

/** session_env() - "NAME=VALUE" that a child's environment needs to be served, too
 * @index: 0.. Return: borrowed; NULL: no more. */
const char *session_env(unsigned index);

#endif
