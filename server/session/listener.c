/* SPDX-License-Identifier: BSD-3-Clause */
/* The three doors of the server. Owns the listening socket and its name in the file system. */
#include "server/session/listener.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/own.h"
#include "common/ipc/fd.h"

static struct listener *listener_of(struct watcher *watcher)
{
    return CONTAINER_OF(watcher, struct listener, watcher);
}

static void on_pause_over(struct deadline *deadline)
{
    struct listener *listener = CONTAINER_OF(deadline, struct listener, pause);

    watcher_want(&listener->watcher, true, false);
}

static void pause_accepting(struct listener *listener, int error)
{
    log_write(LOG_LEVEL_WARN, "listener.accept", "socket=%s errno=%s", listener->path,
              strerrorname_np(error));
    watcher_want(&listener->watcher, false, false);
    listener->pause.fn = on_pause_over;
    deadline_set(listener->loop, &listener->pause, loop_now_ns() + LISTENER_PAUSE_NS);
}

static void on_ready(struct watcher *watcher, bool readable, bool writable)
{
    struct listener *listener = listener_of(watcher);

    (void)readable;
    (void)writable;
    for (unsigned i = 0; i < LISTENER_ACCEPTS_PER_TURN; i++) {
        CLEAN_FD int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd < 0) {
            if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
                pause_accepting(listener, errno);
            return;
        }
        listener->accepted(listener, &fd);
    }
}

static void on_closed(struct watcher *watcher)
{
    struct listener *listener = listener_of(watcher);

    fd_close(&listener->fd);
    listener->closed(listener);
}

/* Whether somebody has a socket there, of whatever type, with room for one more or not: then the
 * name is not ours to take. */
static bool is_alive(const struct sockaddr_un *addr)
{
    CLEAN_FD int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd < 0 || connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 ||
           errno != ECONNREFUSED;
}

static int bind_path(int fd, const char *path, mode_t mode)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct stat st;
    int r;

    if (strlen(path) >= sizeof(addr.sun_path))
        return -ENAMETOOLONG;
    memcpy(addr.sun_path, path, strlen(path) + 1);
    if (lstat(path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode) || is_alive(&addr))
            return -EADDRINUSE;
        if (unlink(path) < 0)
            return -errno;
    }
    /* fchmod before bind sets the mode the name is made with: there is no moment of a wider one */
    if (fchmod(fd, mode) < 0 || bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
        return -errno;
    if (chmod(path, mode) < 0 || listen(fd, 128) < 0) {
        r = -errno;
        (void)unlink(path);
        return r;
    }
    return 0;
}

int listener_open(struct listener *listener, struct loop *loop, const char *path, mode_t mode)
{
    CLEAN_FD int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int r;

    if (fd < 0)
        return -errno;
    listener->path = strdup(path);
    if (!listener->path)
        return -ENOMEM;
    listener->watcher.ready = on_ready;
    listener->watcher.closed = on_closed;
    listener->loop = loop;
    r = bind_path(fd, path, mode);
    if (r == 0) {
        r = watcher_open(loop, &listener->watcher, fd);
        if (r < 0)
            (void)unlink(path);
    }
    if (r < 0) {
        free(listener->path);
        listener->path = NULL;
        return r;
    }
    listener->fd = fd_take(&fd);
    return 0;
}

void listener_close(struct listener *listener)
{
    (void)unlink(listener->path); /* somebody may have cleaned up before us */
    free(listener->path);
    listener->path = NULL;
    deadline_clear(listener->loop, &listener->pause);
    watcher_close(&listener->watcher);
}
