/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reaching the server: where its socket is, connecting, hello and welcome. Called for a new
 * handle, and once more in a forked child. Knows nothing of arenas and mappings.
 */
#define _GNU_SOURCE
#include "client-lib/dial.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "client-lib/call.h"
#include "client-lib/error.h"
#include "common/base/own.h"
#include "proto/limits.h"

/* Chosen: a server that does not answer for this long is broken; the hello waits for no driver. */
#define HELLO_TIMEOUT_S 10

/* --- socket --- */

/* A relative folder is meant from here, also for a forked child that is elsewhere by then. */
static int make_absolute(struct sockaddr_un *address)
{
    char here[sizeof(address->sun_path)];
    char path[sizeof(address->sun_path)];
    int n;

    if (address->sun_path[0] == '/')
        return 0;
    if (!getcwd(here, sizeof(here)))
        return errno == ERANGE ? 0 : -errno; /* too long: the relative one has to do */
    n = snprintf(path, sizeof(path), "%s/%s", here, address->sun_path);
    if (n > 0 && (size_t)n < sizeof(path))
        memcpy(address->sun_path, path, (size_t)n + 1);
    return 0;
}

int dial_address(const char *rundir, struct sockaddr_un *ret_address)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *below = "";
    int r;
    int n;

    if (!rundir)
        rundir = secure_getenv("MUSE_RUNDIR");
    if (!rundir && geteuid() == 0)
        rundir = "/run/muse";
    if (!rundir) {
        rundir = secure_getenv("XDG_RUNTIME_DIR");
        below = "/muse";
    }
    if (!rundir) {
        error_say("no server: neither MUSE_RUNDIR nor XDG_RUNTIME_DIR is set");
        return -ENOTCONN;
    }
    n = snprintf(address.sun_path, sizeof(address.sun_path), "%s%s/client.sock", rundir, below);
    if (n < 0 || (size_t)n >= sizeof(address.sun_path)) {
        error_say("the name of the run-time folder is too long for a socket: %s", rundir);
        return -ENAMETOOLONG;
    }
    r = make_absolute(&address);
    if (r == 0)
        *ret_address = address;
    return r;
}

/* How long connecting, sending and receiving may take; 0 for ever. */
static int set_timeouts(int fd, time_t seconds)
{
    const struct timeval timeout = {.tv_sec = seconds};

    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0)
        return -errno;
    return 0;
}

static int connect_error(int error, const char *path)
{
    char buf[128];

    error_say("cannot reach the server at %s: %s", path, strerror_r(error, buf, sizeof(buf)));
    switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ECONNREFUSED:
    case ECONNRESET:
    case EPROTOTYPE:
        return -ENOTCONN;
    case EAGAIN:
        return -ETIMEDOUT;
    default:
        return -error;
    }
}

static int open_socket(struct muse *muse)
{
    CLEAN(fd_close_p) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    int r;

    if (fd < 0)
        return -errno;
    r = set_timeouts(fd, HELLO_TIMEOUT_S);
    if (r < 0)
        return r;
    do {
        r = connect(fd, (const struct sockaddr *)&muse->address, sizeof(muse->address));
    } while (r < 0 && errno == EINTR); /* AF_UNIX: an interrupted connect has not begun */
    if (r < 0)
        return connect_error(errno, muse->address.sun_path);
    fd = handle_place_fd(muse, fd_take(&fd));
    return requests_init(&muse->requests, &fd);
}

/* --- hello --- */

static int check_welcome(struct muse *muse, const Muse__Wire__ClientWelcome *welcome)
{
    if (welcome->version < PROTO_VERSION_MIN || welcome->version > PROTO_VERSION_MAX) {
        error_say("the server speaks protocol version %u, this library %u to %u", welcome->version,
                  PROTO_VERSION_MIN, PROTO_VERSION_MAX);
        return -EPROTO;
    }
    if (welcome->arena_bytes < ARENA_BYTES_MIN || welcome->arena_bytes > ARENA_BYTES_MAX) {
        call_garbled(muse);
        return -EPROTO;
    }
    return 0;
}

/* @ret_welcome:   to be freed by muse__wire__client_welcome__free_unpacked()
 * @ret_device_fd: the caller's, or -1 */
static int say_hello(struct muse *muse, Muse__Wire__ClientWelcome **ret_welcome, int *ret_device_fd)
{
    Muse__Wire__ClientHello hello = MUSE__WIRE__CLIENT_HELLO__INIT;
    const struct question question = {.type = FRAME_CLIENT_HELLO,
                                      .message = &hello.base,
                                      .fd = -1,
                                      .answer = FRAME_CLIENT_WELCOME};
    CLEAN(mail_free_p) struct mail *answer = NULL;
    char program[PROGRAM_NAME_BYTES_MAX + 1];
    Muse__Wire__ClientWelcome *welcome;
    int r;

    (void)snprintf(program, sizeof(program), "%s", program_invocation_short_name);
    hello.version_min = PROTO_VERSION_MIN;
    hello.version_max = PROTO_VERSION_MAX;
    hello.program = program;
    r = call_ask(muse, &question, &answer);
    if (r < 0)
        return r;
    welcome = muse__wire__client_welcome__unpack(NULL, answer->n_payload, answer->payload);
    if (!welcome) {
        call_garbled(muse);
        return -EPROTO;
    }
    r = check_welcome(muse, welcome);
    if (r < 0) {
        muse__wire__client_welcome__free_unpacked(welcome, NULL);
        return r;
    }
    muse->knows_setattr = welcome->knows_setattr;
    *ret_welcome = welcome;
    *ret_device_fd = fd_take(&answer->fds[0]);
    return 0;
}

int dial(struct muse *muse, Muse__Wire__ClientWelcome **ret_welcome, int *ret_device_fd)
{
    int r = open_socket(muse);

    return r < 0 ? r : say_hello(muse, ret_welcome, ret_device_fd);
}

int dial_done(struct muse *muse)
{
    return set_timeouts(muse->requests.chan.fd, 0);
}
