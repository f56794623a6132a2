/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One connection to the control socket: requests come in and are checked against a table of
 * commands, documents go out in pieces, at the pace of the reader. Knows no command and no JSON.
 *
 * A reader that is slow costs one document's memory, and, when it follows, loses documents; it
 * never holds the loop up.
 */
#ifndef MUSE_SERVER_ADMIN_ADMIN_H
#define MUSE_SERVER_ADMIN_ADMIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "server/conn/conn.h"
#include "server/loop/loop.h"

#define ADMIN_VERSION          1u
/* Text of one reply; with its header and escapes well under FRAME_BYTES_MAX. */
#define ADMIN_PIECE_BYTES      49152u
/* A follower with more than this unread loses what comes: chosen, some hundred documents. */
#define ADMIN_FOLLOW_BYTES_MAX 65536u

/* What can be asked. A table of them belongs to who accepts. */
struct admin_command {
    const char *word;
    unsigned min_args, max_args;
    bool can_follow;
    const char *syntax, *help;
};

/* A request that fits its command. */
struct admin_request {
    unsigned command;        /* index in the table */
    const char *const *args; /* untrusted text */
    unsigned n_args;
    bool follow;
};

struct admin;

struct admin_ops {
    /**
     * answer() - @request: borrowed
     *
     * Return: 0 and the document in @ret_text, which is taken (from malloc), or NULL for a
     * follower that has nothing to say yet; 1 and its beginning: the rest comes from more();
     * -errno and a static sentence in @ret_why.
     */
    int (*answer)(struct admin *admin, const struct admin_request *request, char **ret_text,
                  const char **ret_why);
    /* what comes next of a long document, taken. Called in a later turn of the loop.
     * Return: 0 that was the end; 1 there is more; -errno: the connection ends. */
    int (*more)(struct admin *admin, char **ret_text);
    /* a follower that lost documents has read all it had: tell it, with admin_follow_send() */
    void (*caught_up)(struct admin *admin);
    /* the connection is over: memory may go in here */
    void (*ended)(struct admin *admin);
};

struct admin {
    struct conn conn;
    struct loop *loop;
    const struct admin_command *commands; /* borrowed */
    unsigned n_commands;
    const struct admin_ops *ops;
    char *text;      /* owned: the document on its way, or a part; NULL: none */
    bool unfinished; /* ops->more() has the next part */
    size_t n_text, n_sent;
    uint64_t request_id;
    bool following;
    uint64_t n_lost;       /* documents a slow follower was not sent since it was last told */
    struct turn_hook turn; /* goes on when the socket has taken what was queued */
    bool turn_added;
    struct deadline again;
};

/**
 * admin_open() - adopt an accepted socket
 * @admin:    caller's memory until ops->ended()
 * @fd:       takes on success
 * @commands: borrowed, outlives it
 *
 * Return: 0 or -errno.
 */
MUST_CHECK int admin_open(struct admin *admin, struct loop *loop, int *fd,
                          const struct admin_command *commands, unsigned n_commands,
                          const struct admin_ops *ops);

/** admin_close() - end it; ended() comes in a later turn. May be called twice. */
void admin_close(struct admin *admin);

/** admin_has_room() - would a follower's document be sent now? Counts it as lost when not. */
bool admin_has_room(struct admin *admin);

/**
 * admin_follow_send() - one more document for a follower; after admin_has_room() said yes
 * @text: at most ADMIN_PIECE_BYTES; borrowed
 */
void admin_follow_send(struct admin *admin, const char *text);

#endif
