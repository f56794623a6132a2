/* SPDX-License-Identifier: BSD-3-Clause */
/* The asking end of the control socket: one request, its document or documents. Every wait ends. */
#ifndef MUSE_COMMON_CONTROL_CONTROL_H
#define MUSE_COMMON_CONTROL_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/must.h"

/* A server that does not answer for this long is stuck. */
#define CONTROL_TIMEOUT_MS 5000

struct control;

/**
 * control_open() - connect
 * @rundir:  folder of the sockets
 * @ret_why: on failure: what failed, static
 *
 * Return: 0 or -errno.
 */
MUST_CHECK int control_open(struct control **ret_control, const char *rundir, const char **ret_why);

struct control *control_free(struct control *control);

/** control_ask() - send a request. @args: borrowed, @n_args of them. Return: 0 or -errno. */
MUST_CHECK int control_ask(struct control *control, const char *command, char *const *args,
                           unsigned n_args, bool follow);

/**
 * control_document() - wait for a whole document
 * @ret_text:  from malloc, the caller's: the document, or with @ret_error the server's sentence
 * @ret_error: 0, or why the server refused, an errno
 *
 * Return: 0; -ETIMEDOUT; -ECONNRESET the server has gone; -EPROTO; -ENOMEM.
 */
MUST_CHECK int control_document(struct control *control, char **ret_text, int *ret_error);

/**
 * control_query() - one request on a connection of its own, to its document
 * @rundir: folder of the sockets
 * @words:  the command and its arguments, with single spaces between them
 * @ret_text: from malloc, the caller's
 *
 * Return: 0; -E2BIG too many words; -errno of the server's refusal; as control_open() and
 * control_document().
 */
MUST_CHECK int control_query(const char *rundir, const char *words, char **ret_text);

/** control_next() - as control_document(), for a follower's next document; waits without limit */
MUST_CHECK int control_next(struct control *control, char **ret_text, int *ret_error);

#endif
