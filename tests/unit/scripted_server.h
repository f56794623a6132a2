/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A server for tests of libmuse: one thread of the test process that speaks the protocol by hand,
 * as its script says. Owns the socket, the folder it lies in, and the client's userfaultfd. A
 * surprise in the thread aborts the test.
 */
#ifndef MUSE_TESTS_UNIT_SCRIPTED_SERVER_H
#define MUSE_TESTS_UNIT_SCRIPTED_SERVER_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <check.h>

#include "common/base/linux_abi.h"
#include "common/base/own.h"
#include "common/ipc/chan.h"
#include "proto/client.pb-c.h"

#define REQUIRE(cond)                                                                              \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            (void)fprintf(stderr, "%s:%d: the server expected %s\n", __FILE__, __LINE__, #cond);   \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define SERVER_ARENA_BYTES (64ull << 20)
#define SERVER_FILE_ID     77u
#define SERVER_PATIENCE_S  20

struct server;
typedef void server_script_fn(struct server *server);

struct server {
    char dir[64];
    struct sockaddr_un address;
    int listen_fd;
    server_script_fn *script;
    void *ctx; /* the test's */
    pthread_t thread;
    struct chan chan;
    int uffd;             /* the client's, from ATTACH; -1 until then */
    uint64_t arena_start; /* as the client says */
    uint64_t arena_bytes;
    bool is_user_mode_only; /* the test runs without the privilege for a full userfaultfd */
    bool knows_setattr;     /* set by the script, before it greets */
    int memfd;              /* the object's; -1 for none */
    size_t n_fds_before;
};

static inline size_t count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    size_t n = 0;

    ck_assert_ptr_nonnull(dir);
    while (readdir(dir))
        n++;
    (void)closedir(dir);
    return n;
}

/* The next frame; must be of that type. Borrowed until the next call. */
static inline struct frame *server_read(struct server *server, enum frame_type type)
{
    struct frame *frame = NULL;

    REQUIRE(chan_recv(&server->chan, &frame) == 0);
    if (frame->header.type != type) {
        (void)fprintf(stderr, "the server wanted %s and got %s\n", frame_type_name((uint16_t)type),
                      frame_type_name(frame->header.type));
        abort();
    }
    return frame;
}

/* As server_read(), for who only wants the id. */
static inline uint64_t server_await(struct server *server, enum frame_type type)
{
    return server_read(server, type)->header.id;
}

static inline void server_send(struct server *server, enum frame_type type, uint64_t id,
                               const void *message, int fd)
{
    REQUIRE(chan_send(&server->chan, (uint16_t)type, id, message, &fd, fd >= 0 ? 1 : 0) == 0);
}

static inline void server_done(struct server *server, uint64_t id)
{
    Muse__Wire__Done done = MUSE__WIRE__DONE__INIT;

    server_send(server, FRAME_DONE, id, &done, -1);
}

static inline void server_fail(struct server *server, uint64_t id, int error, const char *text)
{
    Muse__Wire__Failed failed = MUSE__WIRE__FAILED__INIT;
    char copy[256];

    (void)snprintf(copy, sizeof(copy), "%s", text ? text : "");
    failed.error = (uint32_t)error;
    failed.text = text ? copy : NULL;
    server_send(server, FRAME_FAILED, id, &failed, -1);
}

static inline void server_welcome(struct server *server, uint64_t id, uint32_t version)
{
    Muse__Wire__ClientWelcome welcome = MUSE__WIRE__CLIENT_WELCOME__INIT;

    welcome.version = version;
    welcome.arena_bytes = SERVER_ARENA_BYTES;
    welcome.arena_bytes_max = 4 * SERVER_ARENA_BYTES;
    welcome.uffd_features = UFFD_FEATURE_EVENT_REMAP;
    welcome.has_knows_setattr = welcome.knows_setattr = server->knows_setattr;
    server_send(server, FRAME_CLIENT_WELCOME, id, &welcome, -1);
}

/* HELLO and ATTACH, answered well. @fd: of the count of pages taken back, or -1 */
static inline void server_greet_with(struct server *server, int fd)
{
    Muse__Wire__Attached attached = MUSE__WIRE__ATTACHED__INIT;
    Muse__Wire__Attach *attach;
    struct frame *frame;

    server_welcome(server, server_await(server, FRAME_CLIENT_HELLO), 1);
    frame = server_read(server, FRAME_ATTACH);
    attach = muse__wire__attach__unpack(NULL, frame->n_payload, frame->payload);
    REQUIRE(attach);
    server->arena_start = attach->arena_start;
    server->arena_bytes = attach->arena_bytes;
    server->is_user_mode_only = attach->user_mode_only;
    server->uffd = frame_fd_take(frame, 0);
    REQUIRE(server->uffd >= 0);
    muse__wire__attach__free_unpacked(attach, NULL);
    attached.space_id = 5;
    server_send(server, FRAME_ATTACHED, frame->header.id, &attached, fd);
}

static inline void server_greet(struct server *server)
{
    server_greet_with(server, -1);
}

/* An object of @n_pages pages; each begins with its letter: 'a', 'b', ... */
static inline void server_make_object(struct server *server, unsigned n_pages)
{
    server->memfd = memfd_create("object", MFD_CLOEXEC);
    REQUIRE(server->memfd >= 0);
    REQUIRE(ftruncate(server->memfd, (off_t)n_pages * 4096) == 0);
    for (unsigned i = 0; i < n_pages; i++) {
        const char letter = (char)('a' + i % 26);

        REQUIRE(pwrite(server->memfd, &letter, 1, (off_t)i * 4096) == 1);
    }
}

/* OPEN, answered with the object as file SERVER_FILE_ID. */
static inline void server_open(struct server *server)
{
    Muse__Wire__Opened opened = MUSE__WIRE__OPENED__INIT;
    Muse__Wire__Stat stat = MUSE__WIRE__STAT__INIT;

    opened.file_id = SERVER_FILE_ID;
    opened.stat = &stat;
    opened.page_bytes = 4096;
    server_send(server, FRAME_OPENED, server_await(server, FRAME_OPEN), &opened, server->memfd);
}

/* The ops a test sends; fields the kind does not use stay unset. */
static inline Muse__Wire__MemOps__Op op_make(Muse__Wire__MemOps__Kind kind, uint64_t addr,
                                             uint64_t length)
{
    Muse__Wire__MemOps__Op op = MUSE__WIRE__MEM_OPS__OP__INIT;

    op.kind = kind;
    op.addr = addr;
    op.length = length;
    return op;
}

static inline Muse__Wire__MemOps__Op op_map(uint64_t addr, uint64_t length, int prot, int flags)
{
    Muse__Wire__MemOps__Op op = op_make(MUSE__WIRE__MEM_OPS__KIND__MMAP_FILE, addr, length);

    op.has_prot = true;
    op.prot = (uint32_t)prot;
    op.has_flags = true;
    op.flags = (uint32_t)flags;
    op.has_file_id = true;
    op.file_id = SERVER_FILE_ID;
    return op;
}

static inline Muse__Wire__MemOps__Op op_move(uint64_t addr, uint64_t length, uint64_t to)
{
    Muse__Wire__MemOps__Op op = op_make(MUSE__WIRE__MEM_OPS__KIND__MOVE, addr, length);

    op.has_to = true;
    op.to = to;
    return op;
}

static inline void server_send_ops(struct server *server, uint64_t id, Muse__Wire__MemOps__Op *ops,
                                   size_t n_ops, int fd)
{
    Muse__Wire__MemOps message = MUSE__WIRE__MEM_OPS__INIT;
    Muse__Wire__MemOps__Op *list[32];

    REQUIRE(n_ops <= N_ELEMENTS(list));
    for (size_t i = 0; i < n_ops; i++)
        list[i] = &ops[i];
    message.ops = list;
    message.n_ops = n_ops;
    server_send(server, FRAME_MEM_OPS, id, &message, fd);
}

/* Wait for MEM_OPS_DONE of a request. Return: the error; @ret_n_done may be NULL. */
static inline int server_ops_result(struct server *server, uint64_t id, uint32_t *ret_n_done)
{
    struct frame *frame = server_read(server, FRAME_MEM_OPS_DONE);
    Muse__Wire__MemOpsDone *done =
        muse__wire__mem_ops_done__unpack(NULL, frame->n_payload, frame->payload);
    int error;

    REQUIRE(frame->header.id == id && done);
    error = (int)done->error;
    if (ret_n_done)
        *ret_n_done = done->n_done;
    muse__wire__mem_ops_done__free_unpacked(done, NULL);
    return error;
}

/* One op, its result. This server serves no fault: what it has had mapped is the kernel's alone. */
static inline int server_do(struct server *server, uint64_t id, Muse__Wire__MemOps__Op op, int fd)
{
    struct uffdio_range range = {.start = op.addr, .len = op.length};
    int error;

    server_send_ops(server, id, &op, 1, fd);
    error = server_ops_result(server, id, NULL);
    if (error == 0 && op.kind == MUSE__WIRE__MEM_OPS__KIND__MMAP_FILE)
        REQUIRE(ioctl(server->uffd, UFFDIO_UNREGISTER, &range) == 0);
    return error;
}

static inline void server_mapped(struct server *server, uint64_t id, uint64_t addr)
{
    Muse__Wire__Mapped mapped = MUSE__WIRE__MAPPED__INIT;

    mapped.addr = addr;
    server_send(server, FRAME_MAPPED, id, &mapped, -1);
}

/* MAP, answered by mapping the object's first @n_pages at the start of the arena. */
static inline void server_map(struct server *server, unsigned n_pages)
{
    const uint64_t id = server_await(server, FRAME_MAP);

    REQUIRE(server_do(server, id,
                      op_map(server->arena_start, n_pages * 4096ull, PROT_READ, MAP_PRIVATE),
                      -1) == 0);
    server_mapped(server, id, server->arena_start);
}

/* The client must close the connection, and say nothing before. */
static inline void server_expect_end(struct server *server)
{
    struct frame *frame;

    REQUIRE(chan_recv(&server->chan, &frame) == -ECONNRESET);
}

static inline void *server_main(void *arg)
{
    const struct timeval patience = {.tv_sec = SERVER_PATIENCE_S};
    struct server *server = arg;
    int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);

    REQUIRE(fd >= 0);
    REQUIRE(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0);
    REQUIRE(chan_init(&server->chan, &fd, FRAME_FDS_MAX, 0) == 0);
    server->script(server);
    chan_done(&server->chan);
    return NULL;
}

/* Listen, and run @script on the first connection; have an object of @n_pages pages. */
static inline void server_start(struct server *server, server_script_fn *script, void *ctx,
                                unsigned n_pages)
{
    *server = (struct server){.dir = "/tmp/muse-test-XXXXXX",
                              .address = {.sun_family = AF_UNIX},
                              .script = script,
                              .ctx = ctx,
                              .uffd = -1,
                              .memfd = -1,
                              .n_fds_before = count_fds()};
    if (n_pages > 0)
        server_make_object(server, n_pages);
    ck_assert_ptr_nonnull(mkdtemp(server->dir));
    (void)snprintf(server->address.sun_path, sizeof(server->address.sun_path), "%s/client.sock",
                   server->dir);
    server->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(server->listen_fd, 0);
    ck_assert_int_eq(
        bind(server->listen_fd, (const struct sockaddr *)&server->address, sizeof(server->address)),
        0);
    ck_assert_int_eq(listen(server->listen_fd, 4), 0);
    ck_assert_int_eq(pthread_create(&server->thread, NULL, server_main, server), 0);
}

/* Connect to it. */
static inline struct muse *server_connect(const struct server *server)
{
    const struct muse_options options = {.struct_size = sizeof(options), .rundir = server->dir};
    struct muse *muse = NULL;

    if (muse_connect(&muse, &options) < 0)
        ck_abort_msg("muse_connect: %s", muse_last_error_text());
    return muse;
}

static inline struct muse_file *open_object(struct muse *muse)
{
    struct muse_file *file = NULL;

    if (muse_open(muse, "test/object", O_RDONLY, &file) < 0)
        ck_abort_msg("muse_open: %s", muse_last_error_text());
    return file;
}

/* Wait for the script's end and check that no fd is left. */
static inline void server_stop(struct server *server)
{
    ck_assert_int_eq(pthread_join(server->thread, NULL), 0);
    fd_close_p(&server->listen_fd);
    fd_close_p(&server->uffd);
    fd_close_p(&server->memfd);
    ck_assert_int_eq(unlink(server->address.sun_path), 0);
    ck_assert_int_eq(rmdir(server->dir), 0);
    ck_assert_uint_eq(count_fds(), server->n_fds_before);
}

/* A line of /proc/self/maps. */
struct map_line {
    uint64_t start;
    uint64_t end;
    char perms[8];
    char rest[256];
};

/* The mapping at an address. Return: whether there is one. */
static inline bool find_map(uint64_t addr, struct map_line *ret_line)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    bool is_found = false;
    char text[512];

    REQUIRE(maps);
    while (!is_found && fgets(text, sizeof(text), maps)) {
        struct map_line line = {0};
        char *rest = NULL;

        line.start = strtoull(text, &rest, 16);
        line.end = strtoull(rest + 1, &rest, 16);
        (void)snprintf(line.perms, sizeof(line.perms), "%.4s", rest + 1);
        (void)snprintf(line.rest, sizeof(line.rest), "%s", rest + 5);
        is_found = addr >= line.start && addr < line.end;
        if (is_found)
            *ret_line = line;
    }
    (void)fclose(maps);
    return is_found;
}

#endif
