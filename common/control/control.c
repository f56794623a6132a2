/* SPDX-License-Identifier: BSD-3-Clause */
/* One blocking connection to control.sock. */
#include "common/control/control.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/own.h"
#include "common/ipc/chan.h"
#include "common/ipc/fd.h"
#include "proto/admin.pb-c.h"

#define CONTROL_VERSION    1u
#define WORDS_MAX          8u /* of a query; chosen */
/* Chosen: a million mappings; whoever sends more is no server of ours. */
#define DOCUMENT_BYTES_MAX ((size_t)1 << 29)

struct control {
    struct chan chan;
    uint64_t next_id;
};

DEFINE_CLEANUP(struct control *, control_free)

struct control *control_free(struct control *control)
{
    if (control)
        chan_done(&control->chan);
    free(control);
    return NULL;
}

/* A full backlog makes connect(2) wait, and a full socket send(2): the same limit for both. */
static int limit_sends(int fd)
{
    const struct timeval limit = {.tv_sec = CONTROL_TIMEOUT_MS / 1000};

    return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ? -errno : 0;
}

static int connect_to(const char *rundir, int *ret_fd, const char **ret_why)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    CLEAN_FD int fd = -1;
    int r;

    *ret_why = "the name of the run-time folder is too long";
    r = snprintf(address.sun_path, sizeof(address.sun_path), "%s/control.sock", rundir);
    if (r < 0 || (size_t)r >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    *ret_why = "no socket";
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    r = limit_sends(fd);
    if (r < 0)
        return r;
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        r = -errno;
        *ret_why = r == -EACCES || r == -EPERM ? "its control.sock is not for this user"
                                               : "no server there";
        return r;
    }
    *ret_fd = fd_take(&fd);
    return 0;
}

int control_open(struct control **ret_control, const char *rundir, const char **ret_why)
{
    CLEAN(control_free_p) struct control *control = calloc(1, sizeof(*control));
    CLEAN_FD int fd = -1;
    int r;

    *ret_why = "out of memory";
    if (!control)
        return -ENOMEM;
    control->chan.fd = -1;
    list_init(&control->chan.out);
    r = connect_to(rundir, &fd, ret_why);
    if (r == 0)
        r = chan_init(&control->chan, &fd, 0, 0);
    if (r == 0)
        *ret_control = TAKE(control);
    return r;
}

int control_ask(struct control *control, const char *command, char *const *args, unsigned n_args,
                bool follow)
{
    Muse__Wire__AdminRequest message = MUSE__WIRE__ADMIN_REQUEST__INIT;
    CLEAN(free_p) char *word = strdup(command);
    CLEAN(free_p) char **copies = calloc(n_args + 1, sizeof(*copies));

    if (!word || !copies)
        return -ENOMEM;
    (void)memcpy(copies, args, n_args * sizeof(*copies));
    message.version = CONTROL_VERSION;
    message.command = word;
    message.args = copies;
    message.n_args = n_args;
    message.has_follow = follow;
    message.follow = follow;
    return chan_send(&control->chan, FRAME_ADMIN_REQUEST, ++control->next_id, &message.base, NULL,
                     0);
}

/* @timeout_ms: -1 for ever. Return: 0, the frame is borrowed; -ETIMEDOUT; -errno. */
static int wait_frame(struct control *control, int timeout_ms, struct frame **ret_frame)
{
    struct pollfd pollfd = {.fd = control->chan.fd, .events = POLLIN};
    int r;

    do {
        r = poll(&pollfd, 1, timeout_ms);
    } while (r < 0 && errno == EINTR);
    if (r < 0)
        return -errno;
    return r == 0 ? -ETIMEDOUT : chan_recv(&control->chan, ret_frame);
}

/* Return: 0, @ret_reply to be freed; -errno. */
static int wait_reply(struct control *control, int timeout_ms, Muse__Wire__AdminReply **ret_reply)
{
    struct frame *frame = NULL;
    int r = wait_frame(control, timeout_ms, &frame);

    if (r < 0)
        return r;
    if (!frame || frame->header.type != FRAME_ADMIN_REPLY || frame->header.id != control->next_id)
        return -EPROTO;
    *ret_reply = muse__wire__admin_reply__unpack(NULL, frame->n_payload, frame->payload);
    return *ret_reply ? 0 : -EPROTO;
}

static int wait_document(struct control *control, FILE *out, size_t *n_text, int *ret_error)
{
    bool more = true;

    while (more) {
        Muse__Wire__AdminReply *reply = NULL;
        int r = wait_reply(control, CONTROL_TIMEOUT_MS, &reply);

        if (r < 0)
            return r;
        *ret_error = (int)(reply->error & 0xfff);
        more = reply->more && *ret_error == 0;
        *n_text += strlen(reply->text);
        (void)fputs(reply->text, out);
        muse__wire__admin_reply__free_unpacked(reply, NULL);
        if (*n_text > DOCUMENT_BYTES_MAX)
            return -EPROTO;
    }
    return 0;
}

int control_document(struct control *control, char **ret_text, int *ret_error)
{
    CLEAN(free_p) char *text = NULL;
    size_t size, n_text = 0;
    int error = 0;
    int r;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        return -ENOMEM;
    r = wait_document(control, out, &n_text, &error);
    if (fclose(out) != 0 && r == 0)
        r = -ENOMEM;
    if (r < 0)
        return r;
    *ret_text = TAKE(text);
    *ret_error = error;
    return 0;
}

int control_next(struct control *control, char **ret_text, int *ret_error)
{
    Muse__Wire__AdminReply *reply = NULL;
    char *text;
    int r = wait_reply(control, -1, &reply);

    if (r < 0)
        return r;
    text = strdup(reply->text);
    if (text) {
        *ret_text = text;
        *ret_error = (int)(reply->error & 0xfff);
    }
    muse__wire__admin_reply__free_unpacked(reply, NULL);
    return text ? 0 : -ENOMEM;
}

/* Return: 0, @words cut up in place; -E2BIG. */
static int cut_words(char *words, char **args, unsigned *ret_n_args)
{
    unsigned n_args = 0;

    for (char *word; (word = strsep(&words, " ")) != NULL;) {
        if (n_args == WORDS_MAX)
            return -E2BIG;
        args[n_args++] = word;
    }
    *ret_n_args = n_args;
    return 0;
}

int control_query(const char *rundir, const char *words, char **ret_text)
{
    CLEAN(control_free_p) struct control *control = NULL;
    CLEAN(free_p) char *copy = strdup(words);
    CLEAN(free_p) char *text = NULL;
    char *args[WORDS_MAX];
    unsigned n_args = 0;
    const char *why;
    int error = 0;
    int r = copy ? cut_words(copy, args, &n_args) : -ENOMEM;

    if (r == 0)
        r = control_open(&control, rundir, &why);
    if (r == 0)
        r = control_ask(control, args[0], args + 1, n_args - 1, false);
    if (r == 0)
        r = control_document(control, &text, &error);
    if (r == 0)
        r = -error;
    if (r == 0)
        *ret_text = TAKE(text);
    return r;
}
