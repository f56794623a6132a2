/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * File actions of posix_spawn(3) about names of ours. The C library does them in the child, where nobody
 * knows /muse, so its own set has something else in their place:
 *
 *     addopen     a dup2 of a spare descriptor, which is the object while posix_spawn(3) runs, else nothing
 *     addchdir    nothing: the folder is in the child's environment
 */
#ifndef MUSE_CLIENT_LIB_PRELOAD_SPAWN_H
#define MUSE_CLIENT_LIB_PRELOAD_SPAWN_H

#include <spawn.h>

#include "client-lib/preload/where.h"

struct spawn_actions;

/**
 * spawn_begin() - open what file actions name below /muse, for a child that is about to be started
 * @actions: may be NULL
 * @ret:     for spawn_end(); NULL: none of them is about us
 *
 * Return: 0; an errno: what is to be opened, or to be the working folder, cannot be.
 */
int spawn_begin(const posix_spawn_file_actions_t *actions, struct spawn_actions **ret);

/** spawn_end() - the child has what it was given. NULL is a no-op. */
void spawn_end(struct spawn_actions *mine);

/** spawn_is_served() - as where_is_served(), seen from the folder that the child will be in. @mine: may be NULL. */
bool spawn_is_served(const struct spawn_actions *mine, const char *path, struct where *ret);

/** spawn_env() - as where_env(), of that folder */
const char *spawn_env(const struct spawn_actions *mine, char *buf, size_t size);

/** spawn_forked() - in a child: whoever was in posix_spawn(3) is not in it */
void spawn_forked(void);

#endif
