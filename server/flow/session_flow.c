/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client's connection, from accept to its end:
 *
 *   accept -> HELLO   version; /dev/userfaultfd handed over
 *          -> ATTACH  arena, userfaultfd: the space is made
 *          -> READY
 *
 * READY takes requests by the table below. A frame of a type that the stage does not know, with
 * another number of fds than the table says, or that does not decode, ends the connection: a client
 * that breaks the protocol is not worth guessing at.
 */
#include "server/flow/session_flow.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/linux_abi.h"
#include "common/base/log.h"
#include "common/ipc/fd.h"
#include "proto/client.pb-c.h"
#include "proto/status.h"
#include "server/config/config.h"
#include "server/flow/fault_flow.h"
#include "server/flow/fork_flow.h"
#include "server/flow/loss_flow.h"
#include "server/flow/requests.h"
#include "server/flow/waits.h"
#include "server/store/count.h"

struct client_call {
    struct list node; /* in session.client_calls */
    struct session *session;
    uint64_t id;
    const char *what; /* for people: the first of the calls it was told to make */
    uint64_t since_ns;
    struct deadline deadline;
    client_end_fn *end; /* NULL: nobody wants to hear of it any more */
    void *ctx;
};

static struct session *session_of(struct conn *conn)
{
    return CONTAINER_OF(conn, struct session, conn);
}

/* ---- replies ---- */

void space_reply_fds(struct space *space, uint64_t id, uint16_t type,
                     const ProtobufCMessage *message, const int *fds, unsigned n_fds)
{
    if (space->session)
        (void)conn_send(&space->session->conn, type, id, message, fds, n_fds); /* failing ends it */
}

void space_reply(struct space *space, uint64_t id, uint16_t type, const ProtobufCMessage *message)
{
    space_reply_fds(space, id, type, message, NULL, 0);
}

static void session_fail(struct session *session, uint64_t id, int error, const char *text)
{
    Muse__Wire__Failed message = MUSE__WIRE__FAILED__INIT;
    char cut[ERROR_TEXT_BYTES_MAX];

    (void)snprintf(cut, sizeof(cut), "%s", text ? text : "");
    message.error = status_from_result(error);
    message.text = cut;
    (void)conn_send(&session->conn, FRAME_FAILED, id, &message.base, NULL, 0);
}

void space_fail(struct space *space, uint64_t id, int error, const char *text)
{
    if (space->session)
        session_fail(space->session, id, error, text);
}

/* ---- calls to the client ---- */

static void client_call_free(struct client_call *call)
{
    list_del(&call->node);
    deadline_clear(&call->session->engine->loop, &call->deadline);
    free(call);
}

static void on_client_deadline(struct deadline *deadline)
{
    struct client_call *call = CONTAINER_OF(deadline, struct client_call, deadline);
    client_end_fn *end = call->end;

    call->end = NULL; /* the answer is still owed, and kept apart from those of later calls */
    if (end)
        end(call->ctx, CLIENT_DEADLINE, -ETIMEDOUT);
}

static void build_op(Muse__Wire__MemOps__Op *wire, const struct mem_op *op, int *fds,
                     unsigned *n_fds)
{
    muse__wire__mem_ops__op__init(wire);
    wire->kind = (Muse__Wire__MemOps__Kind)op->kind;
    wire->addr = op->range.start;
    wire->length = range_len(op->range);
    wire->has_prot = wire->has_flags = wire->has_offset = wire->has_to = true;
    wire->prot = op->prot;
    wire->flags = op->flags;
    wire->offset = op->offset;
    wire->to = op->to;
    wire->has_new_length = wire->has_advice = true;
    wire->new_length = op->new_length;
    wire->advice = op->advice;
    wire->has_direct = wire->direct = op->direct;
    wire->has_closed = wire->closed = op->closed;
    if (op->fd >= 0) {
        wire->has_fd_index = true;
        wire->fd_index = *n_fds;
        fds[(*n_fds)++] = op->fd;
    } else if (op->file_id != 0) {
        wire->has_file_id = true;
        wire->file_id = op->file_id;
    }
}

static const char *op_name(int kind)
{
    switch ((Muse__Wire__MemOps__Kind)kind) {
    case MUSE__WIRE__MEM_OPS__KIND__MMAP_FILE:
    case MUSE__WIRE__MEM_OPS__KIND__MMAP_ANON:
        return "mmap";
    case MUSE__WIRE__MEM_OPS__KIND__MMAP_RESERVE:
    case MUSE__WIRE__MEM_OPS__KIND__RESERVE_FREE:
    case MUSE__WIRE__MEM_OPS__KIND__MUNMAP:
        return "munmap";
    case MUSE__WIRE__MEM_OPS__KIND__MOVE:
    case MUSE__WIRE__MEM_OPS__KIND__REMAP:
    case MUSE__WIRE__MEM_OPS__KIND__DUPLICATE:
    case MUSE__WIRE__MEM_OPS__KIND__SPLIT_OFF:
    case MUSE__WIRE__MEM_OPS__KIND__GROW:
        return "mremap";
    case MUSE__WIRE__MEM_OPS__KIND__MPROTECT:
        return "mprotect";
    case MUSE__WIRE__MEM_OPS__KIND__MADVISE:
        return "madvise";
    case MUSE__WIRE__MEM_OPS__KIND__MLOCK:
        return "mlock";
    case MUSE__WIRE__MEM_OPS__KIND__MUNLOCK:
        return "munlock";
    case MUSE__WIRE__MEM_OPS__KIND__PWRITE:
        return "pwrite";
    case _MUSE__WIRE__MEM_OPS__KIND_IS_INT_SIZE:
        break;
    }
    return "change its memory";
}

bool wait_of_client_call(const struct list *node, struct wait_view *ret_view)
{
    const struct client_call *call = CONTAINER_OF_CONST(node, struct client_call, node);

    *ret_view = (struct wait_view){.what = call->what,
                                   .stage = call->end ? "told" : "late",
                                   .space = call->session->space,
                                   .request_id = call->id,
                                   .whom = WAITS_FOR_CLIENT,
                                   .hook = call->what,
                                   .since_ns = call->since_ns,
                                   .stage_since_ns = call->since_ns,
                                   .deadline_ns = call->deadline.is_set ? call->deadline.at_ns : 0};
    return true;
}

struct instruction {
    const struct mem_op *ops;
    unsigned n_ops;
    bool ends_call; /* the client answers no more than this, and gets no other answer */
};

static int send_ops(struct session *session, uint64_t id, const struct instruction *told)
{
    Muse__Wire__MemOps message = MUSE__WIRE__MEM_OPS__INIT;
    Muse__Wire__MemOps__Op wire[MEM_OPS_MAX], *wire_ptrs[MEM_OPS_MAX];
    int fds[MEM_OPS_MAX];
    unsigned n_fds = 0;

    MUST(told->n_ops <= MEM_OPS_MAX);
    for (unsigned i = 0; i < told->n_ops; i++) {
        build_op(&wire[i], &told->ops[i], fds, &n_fds);
        wire_ptrs[i] = &wire[i];
    }
    message.n_ops = told->n_ops;
    message.ops = wire_ptrs;
    message.has_ends_call = message.ends_call = told->ends_call;
    return conn_send(&session->conn, FRAME_MEM_OPS, id, &message.base, fds, n_fds);
}

/* What the client owes from now on. Return: NULL: no memory. */
static struct client_call *client_call_new(struct session *session, uint64_t id, const char *what,
                                           client_end_fn *end, void *ctx)
{
    struct client_call *call = calloc(1, sizeof(*call));

    if (!call)
        return NULL;
    call->session = session;
    call->id = id;
    call->what = what;
    call->since_ns = loop_now_ns();
    call->end = end;
    call->ctx = ctx;
    call->deadline.fn = on_client_deadline;
    list_add_tail(&session->client_calls, &call->node);
    return call;
}

static int tell(struct space *space, uint64_t id, const struct instruction *told,
                uint64_t deadline_ns, client_end_fn *end, void *ctx)
{
    struct session *session = space->session;
    struct client_call *call;

    if (!session || session->conn.closing)
        return -ENOTCONN;
    call = client_call_new(session, id, told->n_ops > 0 ? op_name(told->ops[0].kind) : "nothing",
                           end, ctx);
    if (!call)
        return -ENOMEM;
    if (send_ops(session, id, told) < 0) {
        client_call_free(call);
        return -ENOTCONN;
    }
    if (deadline_ns > 0)
        deadline_set(&session->engine->loop, &call->deadline, loop_now_ns() + deadline_ns);
    return 0;
}

int session_mem_ops(struct space *space, uint64_t id, const struct mem_op *ops, unsigned n_ops,
                    uint64_t deadline_ns, client_end_fn *end, void *ctx)
{
    const struct instruction told = {.ops = ops, .n_ops = n_ops};

    return tell(space, id, &told, deadline_ns, end, ctx);
}

int session_last_ops(struct space *space, uint64_t id, const struct mem_op *ops, unsigned n_ops,
                     client_end_fn *end, void *ctx)
{
    const struct instruction told = {.ops = ops, .n_ops = n_ops, .ends_call = true};

    return tell(space, id, &told, 0, end, ctx);
}

void session_orphan(struct space *space, const void *ctx)
{
    struct list *pos;

    if (!space->session)
        return;
    list_for_each(pos, &space->session->client_calls) {
        struct client_call *call = CONTAINER_OF(pos, struct client_call, node);

        if (call->ctx == ctx)
            call->end = NULL;
    }
}

static int on_mem_ops_done(struct session *session, struct frame *frame)
{
    Muse__Wire__MemOpsDone *message =
        muse__wire__mem_ops_done__unpack(NULL, frame->n_payload, frame->payload);
    struct list *pos;
    int error;

    if (!message)
        return -EPROTO;
    error = status_to_result(message->error, -EPROTO);
    muse__wire__mem_ops_done__free_unpacked(message, NULL);
    list_for_each(pos, &session->client_calls) {
        struct client_call *call = CONTAINER_OF(pos, struct client_call, node);
        client_end_fn *end = call->end;
        void *ctx = call->ctx;

        if (call->id != frame->header.id)
            continue;
        client_call_free(call);
        if (end)
            end(ctx, CLIENT_ANSWERED, error);
        return 0;
    }
    return -EPROTO; /* answers nothing */
}

static void lose_client_calls(struct session *session)
{
    struct list *node;

    while ((node = list_first(&session->client_calls))) {
        struct client_call *call = CONTAINER_OF(node, struct client_call, node);
        client_end_fn *end = call->end;
        void *ctx = call->ctx;

        client_call_free(call);
        if (end)
            end(ctx, CLIENT_LOST, -ENOTCONN);
    }
}

/* ---- hello and attach ---- */

static int on_hello(struct session *session, struct frame *frame)
{
    Muse__Wire__ClientHello *hello =
        muse__wire__client_hello__unpack(NULL, frame->n_payload, frame->payload);
    Muse__Wire__ClientWelcome welcome = MUSE__WIRE__CLIENT_WELCOME__INIT;
    const struct config *config = session->engine->config;
    uint32_t version_max;
    bool version_ok;
    int fd;

    if (!hello)
        return -EPROTO;
    version_ok = hello->version_min <= PROTO_VERSION_MAX && hello->version_max >= PROTO_VERSION_MIN;
    version_max = hello->version_max;
    (void)snprintf(session->program, sizeof(session->program), "%.64s",
                   hello->program ? hello->program : "?");
    muse__wire__client_hello__free_unpacked(hello, NULL);
    if (!version_ok) {
        session_fail(session, frame->header.id, -EPROTO,
                     "no protocol version in common with this server");
        return -EPROTO;
    }
    fd = config_hands_out_uffd(config, session->conn.uid) ? session->engine->uffd_device : -1;
    welcome.version = version_max < PROTO_VERSION_MAX ? version_max : PROTO_VERSION_MAX;
    welcome.has_uffd_device = fd >= 0;
    welcome.arena_bytes = config->arena_bytes;
    welcome.arena_bytes_max = ARENA_BYTES_MAX;
    welcome.uffd_features = uffd_port_features();
    welcome.has_knows_setattr = welcome.knows_setattr = true;
    session->stage = SESSION_ATTACH;
    return conn_send(&session->conn, FRAME_CLIENT_WELCOME, frame->header.id, &welcome.base, &fd,
                     fd >= 0 ? 1 : 0);
}

/* Attached, or ended before: it does not count among those that have yet to say who they are. */
static void end_hello(struct session *session)
{
    if (session->stage == SESSION_READY)
        return;
    session->engine->n_unattached--;
    deadline_clear(&session->engine->loop, &session->hello);
}

static void on_hello_deadline(struct deadline *deadline)
{
    conn_close(&CONTAINER_OF(deadline, struct session, hello)->conn, -ETIMEDOUT);
}

int space_new(struct engine *engine, const struct space_peer *peer, struct range arena,
              struct space **ret_space)
{
    struct space *space;

    if (charge_take(&engine->quotas, peer->uid, QUOTA_SPACES, 1) != 0)
        return -EAGAIN;
    space = calloc(1, sizeof(*space));
    if (space)
        space->id = engine_id(engine);
    if (!space || idmap_put(&engine->spaces, space->id, space) < 0) {
        free(space);
        charge_drop(&engine->quotas, peer->uid, QUOTA_SPACES, 1);
        return -ENOMEM;
    }
    space->n_refs = 1; /* the session's */
    space->engine = engine;
    space->uid = peer->uid;
    space->gid = peer->gid;
    space->pid = peer->pid;
    (void)snprintf(space->program, sizeof(space->program), "%s", peer->program);
    space->connected_ns = loop_now_ns();
    aspace_init(&space->aspace, arena, (uint32_t)engine->config->max_vmas);
    idmap_init(&space->files);
    list_init(&space->mm_queue);
    list_init(&space->unmap_ops);
    list_init(&space->prefetches);
    fault_flow_space_init(space);
    *ret_space = space;
    return 0;
}

/* The session's space has a userfaultfd from here on. @fd: takes on success. */
static int adopt(struct session *session, struct space *space, int *fd, const char **ret_why)
{
    int r = uffd_port_open(&space->uffd, &session->engine->loop, fd, &fault_flow_uffd_ops, space);

    if (r < 0) {
        *ret_why = "the fd is no userfaultfd with the features asked for";
        return r;
    }
    space->uffd_open = true;
    space_ref(space); /* the uffd port's */
    space->session = session;
    session->space = space;
    end_hello(session);
    session->stage = SESSION_READY;
    return 0;
}

static int attach(struct session *session, const Muse__Wire__Attach *request, int *fd,
                  const char **ret_why)
{
    const struct range arena = {request->arena_start, request->arena_start + request->arena_bytes};
    const struct space_peer peer = {.uid = session->conn.uid,
                                    .gid = session->conn.gid,
                                    .pid = session->conn.pid,
                                    .program = session->program};
    struct space *space;
    int r;

    if (request->arena_bytes < ARENA_BYTES_MIN || request->arena_bytes > ARENA_BYTES_MAX ||
        arena.end < arena.start || !aspace_arena_is_sane(arena)) {
        *ret_why = "the arena is no sane range";
        return -EINVAL;
    }
    r = space_new(session->engine, &peer, arena, &space);
    if (r < 0) {
        *ret_why = r == -EAGAIN ? "too many clients of this user" : "out of memory";
        return r;
    }
    r = adopt(session, space, fd, ret_why);
    if (r < 0) {
        space_unref(space);
        return r;
    }
    log_write(LOG_LEVEL_INFO, "client.attached", "client=%" PRIu64 " uid=%u pid=%d", space->id,
              space->uid, (int)space->pid);
    return 0;
}

/* A forked child: its space is there already, with all mappings. */
static int attach_fork(struct session *session, const Muse__Wire__ForkAttach *request, int *fd,
                       const char **ret_why)
{
    struct space *space;
    int r = fork_claim(session->engine, request, session->conn.uid, &space);

    *ret_why = r == -ESTALE ? "no fork waits for this child (any more)"
                            : "the ranges that are taken make no sense, or are too many";
    if (r < 0)
        return r;
    r = adopt(session, space, fd, ret_why);
    if (r < 0) {
        fork_abandon(space);
        return r;
    }
    space->pid = session->conn.pid;
    space->gid = session->conn.gid;
    (void)snprintf(space->program, sizeof(space->program), "%s", session->program);
    space->connected_ns = loop_now_ns();
    *ret_why = "a mapping of the child cannot be registered";
    r = fork_register(space);
    if (r == 0)
        log_write(LOG_LEVEL_INFO, "client.forked", "client=%" PRIu64 " uid=%u pid=%d", space->id,
                  space->uid, (int)space->pid);
    return r;
}

static int decode_and_attach(struct session *session, struct frame *frame, const char **ret_why)
{
    CLEAN_FD int fd = frame_fd_take(frame, 0);
    int r = -EPROTO;

    if (frame->header.type == FRAME_FORK_ATTACH) {
        Muse__Wire__ForkAttach *request =
            muse__wire__fork_attach__unpack(NULL, frame->n_payload, frame->payload);

        if (request)
            r = attach_fork(session, request, &fd, ret_why);
        muse__wire__fork_attach__free_unpacked(request, NULL);
    } else {
        Muse__Wire__Attach *request =
            muse__wire__attach__unpack(NULL, frame->n_payload, frame->payload);

        if (request)
            r = attach(session, request, &fd, ret_why);
        muse__wire__attach__free_unpacked(request, NULL);
    }
    return r;
}

/* @ret_fd: of the number that the client is to see; the caller's */
static int attach_and_count(struct session *session, struct frame *frame, int *ret_fd,
                            const char **ret_why)
{
    _Atomic uint64_t *taken;
    int r;

    *ret_why = "out of memory, or of file descriptors";
    r = count_new(&taken, ret_fd);
    if (r < 0)
        return r;
    r = decode_and_attach(session, frame, ret_why);
    if (r < 0)
        (void)count_free(taken);
    else
        session->space->taken = taken;
    return r;
}

static int on_attach(struct session *session, struct frame *frame)
{
    Muse__Wire__Attached reply = MUSE__WIRE__ATTACHED__INIT;
    CLEAN_FD int fd = -1;
    const char *why;
    int r = attach_and_count(session, frame, &fd, &why);

    if (r == -EPROTO)
        return r;
    if (r < 0) {
        log_write(LOG_LEVEL_WARN, "client.refused", "pid=%d uid=%u error=%d reason=\"%s\"",
                  (int)session->conn.pid, session->conn.uid, -r, why);
        session->engine->stats.sessions_refused++;
        session_fail(session, frame->header.id, r, why);
        return r;
    }
    reply.space_id = session->space->id;
    space_reply_fds(session->space, frame->header.id, FRAME_ATTACHED, &reply.base, &fd, 1);
    return 0;
}

/* ---- dispatch ---- */

static const struct request_row {
    uint16_t type;
    request_fn *fn;
} request_table[] = {
    {FRAME_OPEN, request_open},
    {FRAME_CLOSE, request_close},
    {FRAME_FSTAT, request_fstat},
    {FRAME_PREAD, request_pread},
    {FRAME_MAP, request_map},
    {FRAME_UNMAP, request_unmap},
    {FRAME_ERROR_AT, request_error_at},
    {FRAME_ACCESS, request_access},
    {FRAME_MADVISE, request_madvise},
    {FRAME_PROTECT, request_protect},
    {FRAME_LOCK, request_lock},
    {FRAME_REMAP, request_remap},
    {FRAME_MINCORE, request_mincore},
    {FRAME_MSYNC, request_msync},
    {FRAME_FSYNC, request_fsync},
    {FRAME_PWRITE, request_pwrite},
    {FRAME_TRUNCATE, request_truncate},
    {FRAME_FALLOCATE, request_fallocate},
    {FRAME_FORK_BEGIN, request_fork_begin},
    {FRAME_FORK_RANGES, request_fork_ranges},
    {FRAME_FORK_END, request_fork_end},
    {FRAME_PREFETCH, request_prefetch},
    {FRAME_READ_DONE, request_read_done},
    {FRAME_LOCK_FILE, request_lock_file},
    {FRAME_STATAT, request_path},
    {FRAME_READDIR, request_path},
    {FRAME_READLINK, request_path},
    {FRAME_UNLINK, request_path},
    {FRAME_RENAME, request_path},
    {FRAME_MKDIR, request_path},
    {FRAME_SETATTR, request_setattr},
};

/* How many fds come with a request. */
static uint8_t n_fds_of(uint16_t type)
{
    return type == FRAME_PREFETCH ? 1 : 0;
}

static int dispatch_ready(struct session *session, struct frame *frame)
{
    if (frame->header.n_fds != n_fds_of(frame->header.type))
        return -EPROTO;
    if (frame->header.type == FRAME_MEM_OPS_DONE)
        return on_mem_ops_done(session, frame);
    for (size_t i = 0; i < sizeof(request_table) / sizeof(request_table[0]); i++)
        if (request_table[i].type == frame->header.type)
            return request_table[i].fn(session->space, frame);
    return -EPROTO;
}

static int dispatch(struct session *session, struct frame *frame)
{
    switch (session->stage) {
    case SESSION_HELLO:
        if (frame->header.type != FRAME_CLIENT_HELLO || frame->header.n_fds != 0)
            return -EPROTO;
        return on_hello(session, frame);
    case SESSION_ATTACH:
        if ((frame->header.type != FRAME_ATTACH && frame->header.type != FRAME_FORK_ATTACH) ||
            frame->header.n_fds != 1)
            return -EPROTO;
        return on_attach(session, frame);
    case SESSION_READY:
        return dispatch_ready(session, frame);
    }
    return -EPROTO;
}

static int on_frame(struct conn *conn, struct frame *frame)
{
    struct session *session = session_of(conn);
    const uint64_t came_ns = loop_now_ns();
    int r = dispatch(session, frame);

    if (r == 0)
        engine_served(session->engine, came_ns); /* the next frame is often an answer to ours */
    if (r == -EPROTO) {
        session->engine->stats.protocol_errors++;
        log_write(LOG_LEVEL_WARN, "client.protocol", "client=%" PRIu64 " pid=%d type=%s n_fds=%u",
                  session->space ? session->space->id : 0, (int)conn->pid,
                  frame_type_name(frame->header.type), frame->header.n_fds);
    }
    return r;
}

static void session_part_closed(struct session *session)
{
    struct space *space = session->space;

    if (--session->n_open > 0)
        return;
    end_hello(session);
    if (space) {
        log_write(LOG_LEVEL_INFO, "client.gone", "client=%" PRIu64 " pid=%d reason=\"%s\"",
                  space->id, (int)session->conn.pid, strerror(-session->why));
        space->dead = true;
        lose_client_calls(session);
        space->session = NULL;
        loss_client_gone(space);
        space_unref(space);
    }
    list_del(&session->link);
    free(session);
}

static void on_death(struct watcher *watcher, bool readable, bool writable)
{
    struct session *session = CONTAINER_OF(watcher, struct session, death);

    (void)readable;
    (void)writable;
    conn_close(&session->conn, -ECONNRESET);
}

static void on_death_closed(struct watcher *watcher)
{
    struct session *session = CONTAINER_OF(watcher, struct session, death);

    fd_close(&session->pidfd);
    session_part_closed(session);
}

static void on_ended(struct conn *conn, int why)
{
    struct session *session = session_of(conn);

    session->why = why;
    if (session->pidfd >= 0)
        watcher_close(&session->death);
    session_part_closed(session);
}

/* Without it (old kernel, client of another pid namespace) the socket alone tells of the end. */
static void watch_death(struct session *session)
{
    socklen_t len = sizeof(session->pidfd);

    if (getsockopt(session->conn.chan.fd, SOL_SOCKET, SO_PEERPIDFD, &session->pidfd, &len) < 0)
        session->pidfd = -1;
    if (session->pidfd < 0)
        return;
    session->death.ready = on_death;
    session->death.closed = on_death_closed;
    if (watcher_open(&session->engine->loop, &session->death, session->pidfd) < 0)
        fd_close(&session->pidfd);
    else
        session->n_open++;
}

static const struct conn_ops session_conn_ops = {.frame = on_frame, .ended = on_ended};

void session_accept(struct engine *engine, int *fd)
{
    struct session *session;
    int r;

    session = engine->n_unattached < SESSION_UNATTACHED_MAX ? calloc(1, sizeof(*session)) : NULL;
    if (!session) {
        engine->stats.sessions_refused++;
        return;
    }
    session->engine = engine;
    session->pidfd = -1;
    list_init(&session->client_calls);
    r = conn_open(&session->conn, &engine->loop, fd, 1, &session_conn_ops);
    if (r < 0) {
        log_write(LOG_LEVEL_WARN, "client.accept", "error=%d", -r);
        free(session);
        return;
    }
    session->n_open = 1;
    list_add_tail(&engine->sessions, &session->link);
    engine->n_unattached++;
    session->hello.fn = on_hello_deadline;
    deadline_set(&engine->loop, &session->hello, loop_now_ns() + SESSION_HELLO_NS);
    watch_death(session);
}

unsigned session_count(const struct engine *engine)
{
    unsigned n = 0;
    struct list *pos;

    list_for_each(pos, &engine->sessions)
        n++;
    return n;
}

void session_close_all(struct engine *engine)
{
    struct list *pos;

    list_for_each(pos, &engine->sessions)
        conn_close(&CONTAINER_OF(pos, struct session, link)->conn, -ESHUTDOWN);
}
