/* SPDX-License-Identifier: BSD-3-Clause */
/* The standard streams: their descriptors may be served, from the start or after a dup2. */
#ifndef MUSE_CLIENT_LIB_PRELOAD_STDIO_H
#define MUSE_CLIENT_LIB_PRELOAD_STDIO_H

#include <stdbool.h>
#include <stdio.h>

/** stdio_changed() - the number may be that of a served object now, or not any more. Others than 0,
 * 1 and 2 are ignored. */
void stdio_changed(int fd);

/** stdio_is_served() - whether a stream is one of ours */
bool stdio_is_served(const FILE *file);

/** stdio_begin() - at start, before main */
void stdio_begin(void);

#endif
