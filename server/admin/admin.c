/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket's conversation. A long document is sent piece by piece: as much as the socket
 * takes, then the rest at the end of the turn in which the socket took what was queued. So no more
 * than one frame waits in memory besides the document itself.
 */
#include "server/admin/admin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/own.h"
#include "proto/admin.pb-c.h"

/* Pieces of one document in one turn, so that a fast reader leaves time for faults. */
#define PIECES_PER_TURN 4

/* @text: NUL-terminated. Return: 0, or -errno: the connection ends. */
static int send_reply(struct admin *admin, int error, char *text, bool more)
{
    Muse__Wire__AdminReply message = MUSE__WIRE__ADMIN_REPLY__INIT;

    message.error = (uint32_t)error;
    message.text = text;
    message.more = more;
    return conn_send(&admin->conn, FRAME_ADMIN_REPLY, admin->request_id, &message.base, NULL, 0);
}

static void send_error(struct admin *admin, int error, const char *why)
{
    char *text = strdup(why);
    char nothing[] = "";

    (void)send_reply(admin, -error, text ? text : nothing,
                     false); /* a failure ends the connection */
    free(text);
}

/* ---- a document in pieces ---- */

static void stop_sending(struct admin *admin)
{
    free(TAKE(admin->text));
    admin->unfinished = false;
    deadline_clear(admin->loop, &admin->again);
    if (admin->turn_added)
        turn_hook_remove(&admin->turn);
    admin->turn_added = false;
}

/* The end of the piece at @start: whole characters of UTF-8, as a frame's text must be valid. */
static size_t piece_end(const char *text, size_t start, size_t n_text)
{
    size_t end = start + ADMIN_PIECE_BYTES;

    if (end >= n_text)
        return n_text;
    while (end > start + 1 && ((unsigned char)text[end] & 0xc0u) == 0x80u)
        end--;
    return end;
}

static int send_piece(struct admin *admin)
{
    const size_t start = admin->n_sent;
    const size_t end = piece_end(admin->text, start, admin->n_text);
    const char kept = admin->text[end];
    int r;

    admin->text[end] = '\0';
    r = send_reply(admin, 0, admin->text + start, end < admin->n_text || admin->unfinished);
    admin->text[end] = kept;
    admin->n_sent = end;
    return r;
}

static void set_text(struct admin *admin, char *text)
{
    free(admin->text);
    admin->text = text;
    admin->n_text = strlen(text);
    admin->n_sent = 0;
}

static int next_part(struct admin *admin)
{
    char *text;
    int r = admin->ops->more(admin, &text);

    if (r < 0)
        return r;
    set_text(admin, text);
    admin->unfinished = r > 0;
    return 0;
}

static void wait_for_room(struct admin *admin)
{
    if (!admin->turn_added)
        turn_hook_add(admin->loop, &admin->turn);
    admin->turn_added = true;
}

static void send_on(struct admin *admin)
{
    for (unsigned i = 0; i < PIECES_PER_TURN; i++) {
        int r = 0;

        if (chan_wants_write(&admin->conn.chan))
            return; /* the turn in which it has gone calls again */
        if (admin->n_sent == admin->n_text && admin->unfinished)
            r = next_part(admin);
        if (r == 0)
            r = send_piece(admin);
        if (r < 0)
            conn_close(&admin->conn, r);
        if (r < 0 || (admin->n_sent == admin->n_text && !admin->unfinished)) {
            stop_sending(admin);
            return;
        }
    }
    deadline_set(admin->loop, &admin->again, loop_now_ns());
}

static void on_turn(struct turn_hook *hook)
{
    struct admin *admin = CONTAINER_OF(hook, struct admin, turn);

    if (!admin->following) {
        if (!admin->again.is_set)
            send_on(admin);
    } else if (!chan_wants_write(&admin->conn.chan)) {
        stop_sending(admin);
        if (admin->n_lost > 0)
            admin->ops->caught_up(admin);
    }
}

static void on_again(struct deadline *deadline)
{
    send_on(CONTAINER_OF(deadline, struct admin, again));
}

/* Takes @text. */
static void send_document(struct admin *admin, char *text, bool unfinished)
{
    set_text(admin, text);
    admin->unfinished = unfinished;
    wait_for_room(admin);
    send_on(admin);
}

/* ---- followers ---- */

bool admin_has_room(struct admin *admin)
{
    if (!admin->conn.closing && admin->conn.chan.out_bytes <= ADMIN_FOLLOW_BYTES_MAX)
        return true;
    admin->n_lost++;
    wait_for_room(admin);
    return false;
}

void admin_follow_send(struct admin *admin, const char *text)
{
    char *copy = strdup(text);

    if (!copy || strlen(copy) > ADMIN_PIECE_BYTES || send_reply(admin, 0, copy, true) < 0)
        admin->n_lost++;
    else
        admin->n_lost = 0;
    free(copy);
}

/* ---- requests ---- */

static int find_command(const struct admin *admin, const char *word)
{
    for (unsigned i = 0; i < admin->n_commands; i++) {
        if (strcmp(admin->commands[i].word, word) == 0)
            return (int)i;
    }
    return -1;
}

/* Return: NULL, or why the request cannot be answered. */
static const char *check_request(const struct admin *admin, const Muse__Wire__AdminRequest *message,
                                 int *ret_error, struct admin_request *ret_request)
{
    const struct admin_command *command;
    const int i = find_command(admin, message->command);

    *ret_error = -EINVAL;
    if (message->version != ADMIN_VERSION) {
        *ret_error = -EPROTONOSUPPORT;
        return "the server speaks version 1 of the control protocol";
    }
    if (i < 0) {
        *ret_error = -ENOSYS;
        return "no such command";
    }
    command = &admin->commands[i];
    if (message->n_args < command->min_args || message->n_args > command->max_args)
        return command->syntax;
    if (message->follow && !command->can_follow)
        return "this cannot be followed";
    *ret_request = (struct admin_request){.command = (unsigned)i,
                                          .args = (const char *const *)message->args,
                                          .n_args = (unsigned)message->n_args,
                                          .follow = message->has_follow && message->follow};
    return NULL;
}

static void answer(struct admin *admin, const Muse__Wire__AdminRequest *message)
{
    struct admin_request request = {.command = 0};
    char *text = NULL;
    int error = 0;
    const char *why = check_request(admin, message, &error, &request);

    if (!why) {
        admin->following = request.follow;
        error = admin->ops->answer(admin, &request, &text, &why);
        if (error < 0)
            admin->following = false;
        if (error >= 0 && text)
            send_document(admin, text, error > 0);
        if (error >= 0)
            return;
    }
    send_error(admin, error, why);
}

static int on_frame(struct conn *conn, struct frame *frame)
{
    struct admin *admin = CONTAINER_OF(conn, struct admin, conn);
    Muse__Wire__AdminRequest *message;

    /* one request at a time: an answer's end tells when the next may come; none follows a follow */
    if (frame->header.type != FRAME_ADMIN_REQUEST || admin->text || admin->following)
        return -EPROTO;
    message = muse__wire__admin_request__unpack(NULL, frame->n_payload, frame->payload);
    if (!message)
        return -EPROTO;
    admin->request_id = frame->header.id;
    answer(admin, message);
    muse__wire__admin_request__free_unpacked(message, NULL);
    return 0;
}

static void on_ended(struct conn *conn, int why)
{
    struct admin *admin = CONTAINER_OF(conn, struct admin, conn);

    (void)why; /* admins come and go */
    stop_sending(admin);
    admin->ops->ended(admin);
}

int admin_open(struct admin *admin, struct loop *loop, int *fd,
               const struct admin_command *commands, unsigned n_commands,
               const struct admin_ops *ops)
{
    static const struct conn_ops conn_ops = {.frame = on_frame, .ended = on_ended};

    *admin =
        (struct admin){.loop = loop, .commands = commands, .n_commands = n_commands, .ops = ops};
    list_init(&admin->turn.node);
    admin->turn.fn = on_turn;
    admin->again.fn = on_again;
    return conn_open(&admin->conn, loop, fd, 0, &conn_ops);
}

void admin_close(struct admin *admin)
{
    conn_close(&admin->conn, 0);
}
