/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A number that the server counts up and one client can see: a page of shared memory, which only the
 * server writes to. Says without a message that something has happened.
 */
#ifndef MUSE_SERVER_STORE_COUNT_H
#define MUSE_SERVER_STORE_COUNT_H

#include <stdatomic.h>
#include <stdint.h>

#include "common/base/must.h"

/**
 * count_new() - a number, 0
 * @ret_count: the caller's, for count_free()
 * @ret_fd:    the caller's: sealed, cannot be resized, and mapped for reading only
 *
 * Return: 0; -EMFILE, -ENFILE, -ENOMEM.
 */
MUST_CHECK int count_new(_Atomic uint64_t **ret_count, int *ret_fd);

/** count_free() - NULL is fine. Return: NULL. */
_Atomic uint64_t *count_free(_Atomic uint64_t *count);

#endif
