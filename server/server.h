/* SPDX-License-Identifier: BSD-3-Clause */
/* The composition root: makes every part, wires the callbacks, tears down in reverse. */
#ifndef MUSE_SERVER_SERVER_H
#define MUSE_SERVER_SERVER_H

#include "common/base/must.h"
#include "server/config/config.h"

struct server;

/**
 * server_new() - sockets, engine, supervised drivers; nothing runs before server_run()
 * @config:  borrowed, finished
 * @run:     captive mode: the command to run, NULL otherwise
 * @ret_why: on failure: a static sentence
 *
 * Return: 0 or -errno.
 */
MUST_CHECK int server_new(struct server **ret_server, const struct config *config, const char *run,
                          const char **ret_why);

/** server_run() - until SIGTERM, SIGINT or the captive command's end. Return: the exit status. */
int server_run(struct server *server);

/** server_free() - after server_run() */
void server_free(struct server *server);

#endif
