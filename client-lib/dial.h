/* SPDX-License-Identifier: BSD-3-Clause */
/* Reaching the server: the address of its socket, the connection, hello and welcome. */
#ifndef MUSE_CLIENT_LIB_DIAL_H
#define MUSE_CLIENT_LIB_DIAL_H

#include <sys/un.h>

#include "client-lib/handle.h"
#include "common/base/must.h"
#include "proto/client.pb-c.h"

/**
 * dial_address() - where the server is
 * @rundir: the folder; NULL: from the environment, see muse_connect()
 *
 * Return: 0; -ENOTCONN no folder is known; -ENAMETOOLONG; -errno of getcwd(3).
 */
MUST_CHECK int dial_address(const char *rundir, struct sockaddr_un *ret_address);

/**
 * dial() - connect to muse->address, and hello
 * @muse:          its requests are made here
 * @ret_welcome:   to be freed by muse__wire__client_welcome__free_unpacked()
 * @ret_device_fd: /dev/userfaultfd, the caller's; or -1
 *
 * Nothing waits for longer than ten seconds, until dial_done().
 *
 * Return: 0; -errno as muse_connect().
 */
MUST_CHECK int dial(struct muse *muse, Muse__Wire__ClientWelcome **ret_welcome, int *ret_device_fd);

/** dial_done() - attached: from now on answers may take as long as the server thinks right. Return:
 * 0 or -errno. */
MUST_CHECK int dial_done(struct muse *muse);

#endif
