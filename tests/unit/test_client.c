/* SPDX-License-Identifier: BSD-3-Clause */
/* libmuse against a server that follows a script: connecting, files, errors, fork. Memory is
 * test_client_memory.c's. */
#include <muse/muse.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

#include "proto/limits.h"
#include "proto/path.pb-c.h"
#include "proto/status.h"
#include "tests/unit/scripted_server.h"

static int try_connect(const struct server *server, struct muse_options options)
{
    struct muse *muse = NULL;
    int r;

    options.struct_size = sizeof(options);
    if (!options.rundir)
        options.rundir = server->dir;
    r = muse_connect(&muse, &options);
    ck_assert_ptr_null(muse);
    return r;
}

/* --- connecting --- */

static void script_greet(struct server *server)
{
    server_greet(server);
    server_expect_end(server);
}

START_TEST(connecting_attaches_an_aligned_arena_without_access)
{
    struct map_line line;
    struct server server;
    struct muse *muse;

    server_start(&server, script_greet, NULL, 0);
    muse = server_connect(&server);
    ck_assert_uint_eq(server.arena_start % (2u << 20), 0);
    ck_assert_uint_eq(server.arena_bytes, SERVER_ARENA_BYTES);
    ck_assert(find_map(server.arena_start, &line));
    ck_assert_str_eq(line.perms, "---p");
    ck_assert_uint_ge(line.end, server.arena_start + server.arena_bytes);
    muse_disconnect(muse);
    ck_assert(!find_map(server.arena_start, &line));
    server_stop(&server);
}
END_TEST

START_TEST(an_arena_is_as_large_as_asked_for_rounded_up)
{
    struct muse_options options = {.struct_size = sizeof(options), .arena_bytes = (2u << 20) + 1};
    struct server server;
    struct muse *muse = NULL;

    server_start(&server, script_greet, NULL, 0);
    options.rundir = server.dir;
    ck_assert_int_eq(muse_connect(&muse, &options), 0);
    ck_assert_uint_eq(server.arena_bytes, 4u << 20);
    muse_disconnect(muse);
    server_stop(&server);
}
END_TEST

static void script_only_hello(struct server *server)
{
    server_welcome(server, server_await(server, FRAME_CLIENT_HELLO), *(uint32_t *)server->ctx);
    server_expect_end(server);
}

START_TEST(an_arena_larger_than_the_server_allows_is_EINVAL)
{
    uint32_t version = 1;
    struct server server;

    server_start(&server, script_only_hello, &version, 0);
    ck_assert_int_eq(
        try_connect(&server, (struct muse_options){.arena_bytes = 5 * SERVER_ARENA_BYTES}), -1);
    ck_assert_int_eq(errno, EINVAL);
    server_stop(&server);
}
END_TEST

START_TEST(another_protocol_version_is_EPROTO)
{
    uint32_t version = 2;
    struct server server;

    server_start(&server, script_only_hello, &version, 0);
    ck_assert_int_eq(try_connect(&server, (struct muse_options){0}), -1);
    ck_assert_int_eq(errno, EPROTO);
    ck_assert_ptr_nonnull(strstr(muse_last_error_text(), "version"));
    server_stop(&server);
}
END_TEST

static void script_refuse(struct server *server)
{
    server_fail(server, server_await(server, FRAME_CLIENT_HELLO), EACCES, "user 7 may not connect");
    server_expect_end(server);
}

START_TEST(a_refused_hello_is_the_servers_errno_and_sentence)
{
    struct server server;

    server_start(&server, script_refuse, NULL, 0);
    ck_assert_int_eq(try_connect(&server, (struct muse_options){0}), -1);
    ck_assert_int_eq(errno, EACCES);
    ck_assert_str_eq(muse_last_error_text(), "user 7 may not connect");
    server_stop(&server);
}
END_TEST

START_TEST(without_a_server_connecting_is_ENOTCONN)
{
    const struct server nobody = {.dir = "/nonexistent"};
    char long_name[200];

    ck_assert_int_eq(try_connect(&nobody, (struct muse_options){0}), -1);
    ck_assert_int_eq(errno, ENOTCONN);
    ck_assert_ptr_nonnull(strstr(muse_last_error_text(), "/nonexistent/client.sock"));

    memset(long_name, 'x', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    ck_assert_int_eq(try_connect(&nobody, (struct muse_options){.rundir = long_name}), -1);
    ck_assert_int_eq(errno, ENAMETOOLONG);
}
END_TEST

START_TEST(unknown_options_are_EINVAL)
{
    const struct muse_options small = {.struct_size = 1};
    const struct server nobody = {.dir = "/nonexistent"};
    struct muse *muse = NULL;

    ck_assert_int_eq(try_connect(&nobody, (struct muse_options){.flags = 2}), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(muse_connect(&muse, &small), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(muse_connect(NULL, NULL), -1);
    ck_assert_int_eq(errno, EFAULT);
}
END_TEST

/* --- files --- */

static void script_file(struct server *server)
{
    Muse__Wire__Stat stat = MUSE__WIRE__STAT__INIT;
    struct frame *frame;
    Muse__Wire__Open *open_message;
    Muse__Wire__Opened opened = MUSE__WIRE__OPENED__INIT;

    server_greet(server);
    frame = server_read(server, FRAME_OPEN);
    open_message = muse__wire__open__unpack(NULL, frame->n_payload, frame->payload);
    REQUIRE(open_message && strcmp(open_message->name, "test/object") == 0);
    REQUIRE(open_message->oflags == (O_RDWR | O_CREAT) && open_message->mode == 0666);
    muse__wire__open__free_unpacked(open_message, NULL);
    opened.file_id = SERVER_FILE_ID;
    opened.stat = &stat;
    opened.page_bytes = 4096;
    server_send(server, FRAME_OPENED, frame->header.id, &opened, server->memfd);

    stat.size = 513;
    stat.mode = S_IFREG | 0640;
    stat.inode = 9;
    stat.uid = 1;
    stat.gid = 2;
    stat.mtime_ns = -1;
    stat.nlink = 3;
    server_send(server, FRAME_STAT, server_await(server, FRAME_FSTAT), &stat, -1);
    server_done(server, server_await(server, FRAME_CLOSE));
    server_expect_end(server);
}

START_TEST(a_file_opens_tells_its_attributes_and_closes)
{
    struct muse_file *file = NULL;
    struct server server;
    struct muse *muse;
    struct stat st;

    server_start(&server, script_file, NULL, 0);
    muse = server_connect(&server);
    ck_assert_int_eq(muse_open(muse, "test/object", O_RDWR | O_CREAT, &file), 0);
    ck_assert_int_eq(muse_fstat(file, &st), 0);
    ck_assert_int_eq(st.st_size, 513);
    ck_assert_uint_eq(st.st_mode, S_IFREG | 0640);
    ck_assert_uint_eq(st.st_ino, 9);
    ck_assert_uint_eq(st.st_uid, 1);
    ck_assert_uint_eq(st.st_gid, 2);
    ck_assert_uint_eq(st.st_nlink, 3);
    ck_assert_int_eq(st.st_blocks, 2);
    ck_assert_int_eq(st.st_blksize, 4096);
    ck_assert_int_eq(st.st_mtim.tv_sec, -1);
    ck_assert_int_eq(st.st_mtim.tv_nsec, 999999999);
    ck_assert_int_eq(muse_close(file), 0);
    muse_disconnect(muse);
    server_stop(&server);
}
END_TEST

/* Nothing but the hellos: an older server would end the connection. */
static void script_older(struct server *server)
{
    server_greet(server);
    server_expect_end(server);
}

START_TEST(an_older_server_is_not_asked_to_change_attributes)
{
    const struct muse_setattr change = {.mask = MUSE_SETATTR_MODE};
    struct server server;
    struct muse *muse;

    server_start(&server, script_older, NULL, 0);
    muse = server_connect(&server);
    ck_assert_int_eq(muse_setattr(muse, "test/object", &change), -1);
    ck_assert_int_eq(errno, EROFS);
    ck_assert_ptr_nonnull(strstr(muse_last_error_text(), "older"));
    muse_disconnect(muse);
    server_stop(&server);
}
END_TEST

static void script_setattr(struct server *server)
{
    Muse__Wire__PathAsk *ask;
    struct frame *frame;

    server->knows_setattr = true;
    server_greet(server);
    frame = server_read(server, FRAME_SETATTR);
    ask = muse__wire__path_ask__unpack(NULL, frame->n_payload, frame->payload);
    REQUIRE(ask && strcmp(ask->name, "test/object") == 0 && !ask->has_file);
    REQUIRE(ask->flags == AT_SYMLINK_NOFOLLOW && ask->change);
    REQUIRE(ask->change->mask == (MUSE_SETATTR_MODE | MUSE_SETATTR_GID | MUSE_SETATTR_MTIME));
    REQUIRE(ask->change->has_mode && ask->change->mode == 07640 && !ask->change->has_uid);
    REQUIRE(ask->change->gid == 9 && !ask->change->has_atime_ns);
    REQUIRE(ask->change->mtime_ns == -1999999999);
    muse__wire__path_ask__free_unpacked(ask, NULL);
    server_done(server, frame->header.id);
    server_fail(server, server_await(server, FRAME_SETATTR), EPERM, NULL);
    server_expect_end(server);
}

START_TEST(a_change_of_attributes_says_what_its_mask_names)
{
    const struct muse_setattr change = {.mask = MUSE_SETATTR_MODE | MUSE_SETATTR_GID |
                                                MUSE_SETATTR_MTIME,
                                        .flags = AT_SYMLINK_NOFOLLOW,
                                        .mode = 0177640,
                                        .uid = 8,
                                        .gid = 9,
                                        .atime = {.tv_sec = 5},
                                        .mtime = {.tv_sec = -2, .tv_nsec = 1}};
    struct server server;
    struct muse *muse;

    server_start(&server, script_setattr, NULL, 0);
    muse = server_connect(&server);
    ck_assert_int_eq(muse_setattr(muse, "test/object", &change), 0);
    ck_assert_int_eq(muse_setattr(muse, "test/object", &change), -1);
    ck_assert_int_eq(errno, EPERM);
    muse_disconnect(muse);
    server_stop(&server);
}
END_TEST

static void script_fail_twice(struct server *server)
{
    server_greet(server);
    server_fail(server, server_await(server, FRAME_OPEN), ENODEV, "no driver \"a\nb\"");
    server_fail(server, server_await(server, FRAME_OPEN), 5000, NULL);
    server_expect_end(server);
}

START_TEST(a_failure_is_the_servers_errno_and_its_printable_sentence)
{
    struct muse_file *file = NULL;
    struct server server;
    struct muse *muse;

    server_start(&server, script_fail_twice, NULL, 0);
    muse = server_connect(&server);
    ck_assert_int_eq(muse_open(muse, "test/object", O_RDONLY, &file), -1);
    ck_assert_int_eq(errno, ENODEV);
    ck_assert_str_eq(muse_last_error_text(), "no driver \"a?b\"");
    ck_assert_int_eq(muse_open(muse, "test/object", O_RDONLY, &file), -1);
    ck_assert_int_eq(errno, EPROTO); /* 5000 is no errno */
    ck_assert_str_ne(muse_last_error_text(), "");
    ck_assert_ptr_null(file);
    muse_disconnect(muse);
    server_stop(&server);
}
END_TEST

START_TEST(bad_names_and_missing_arguments_never_reach_the_server)
{
    static char long_name[NAME_BYTES_MAX + 2];
    struct muse_file *file = NULL;
    struct server server;
    struct muse *muse;

    memset(long_name, 'x', sizeof(long_name) - 1);
    server_start(&server, script_greet, NULL, 0);
    muse = server_connect(&server);
    ck_assert_int_eq(muse_open(muse, long_name, O_RDONLY, &file), -1);
    ck_assert_int_eq(errno, ENAMETOOLONG);
    ck_assert_int_eq(muse_open(muse, NULL, O_RDONLY, &file), -1);
    ck_assert_int_eq(errno, EFAULT);
    ck_assert_int_eq(muse_open(NULL, "a/b", O_RDONLY, &file), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(muse_close(NULL), -1);
    ck_assert_int_eq(errno, EBADF);
    ck_assert_int_eq(muse_fstat(NULL, NULL), -1);
    ck_assert_int_eq(errno, EBADF);
    ck_assert_int_eq(muse_pread(NULL, NULL, 1, 0), -1);
    ck_assert_int_eq(errno, EBADF);
    ck_assert_int_eq(muse_lock_file(NULL, O_RDWR), -1);
    ck_assert_int_eq(errno, EBADF);
    muse_disconnect(NULL);
    muse_disconnect(muse);
    server_stop(&server);
}
END_TEST

/* The object's memfd stands for its lock file; then nothing does. */
static void script_lock_file(struct server *server)
{
    Muse__Wire__LockFile *asked;
    struct frame *frame;

    server_greet(server);
    server_make_object(server, 1);
    server_open(server);
    frame = server_read(server, FRAME_LOCK_FILE);
    asked = muse__wire__lock_file__unpack(NULL, frame->n_payload, frame->payload);
    REQUIRE(asked && asked->file_id == SERVER_FILE_ID && asked->oflags == (O_RDONLY | O_APPEND));
    muse__wire__lock_file__free_unpacked(asked, NULL);
    server_send(server, FRAME_LOCK_FILE_IS, frame->header.id, NULL, server->memfd);
    server_fail(server, server_await(server, FRAME_LOCK_FILE), EMFILE, "too many");
    server_send(server, FRAME_LOCK_FILE_IS, server_await(server, FRAME_LOCK_FILE), NULL, -1);
    server_expect_end(server);
}

START_TEST(a_lock_file_has_the_lowest_number_and_an_answer_without_one_is_EPROTO)
{
    struct muse_file *file = NULL;
    struct server server;
    struct muse *muse;
    int lowest, fd;

    server_start(&server, script_lock_file, NULL, 0);
    muse = server_connect(&server);
    ck_assert_int_eq(muse_open(muse, "test/object", O_RDWR, &file), 0);
    lowest = dup(STDIN_FILENO);
    (void)close(lowest);
    fd = muse_lock_file(file, O_RDONLY | O_APPEND);
    ck_assert_int_eq(fd, lowest);
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(muse_lock_file(file, O_RDONLY), -1);
    ck_assert_int_eq(errno, EMFILE);
    ck_assert_int_eq(muse_lock_file(file, O_RDONLY), -1);
    ck_assert_int_eq(errno, EPROTO);
    (void)close(fd);
    muse_disconnect(muse);
    server_stop(&server);
}
END_TEST

static void script_open(struct server *server)
{
    server_greet(server);
    server_open(server);
    server_expect_end(server);
}

START_TEST(disconnecting_closes_files_left_open)
{
    struct server server;
    struct muse *muse;

    server_start(&server, script_open, NULL, 1);
    muse = server_connect(&server);
    (void)open_object(muse);
    muse_disconnect(muse);
    server_stop(&server); /* counts the fds */
}
END_TEST

/* --- errors --- */

/* PREFETCH with the client's eventfd, which is told right away. */
static uint64_t read_prefetch(struct server *server)
{
    struct frame *frame = server_read(server, FRAME_PREFETCH);
    Muse__Wire__Prefetch *message =
        muse__wire__prefetch__unpack(NULL, frame->n_payload, frame->payload);
    const uint64_t one = 1;

    REQUIRE(message && message->addr == 8192 && message->length == 4097);
    REQUIRE(frame->header.n_fds == 1 &&
            write(frame->fds[0], &one, sizeof(one)) == (ssize_t)sizeof(one));
    muse__wire__prefetch__free_unpacked(message, NULL);
    return frame->header.id;
}

static void answer_prefetch(struct server *server, bool has_hole)
{
    Muse__Wire__Prefetched prefetched = MUSE__WIRE__PREFETCHED__INIT;
    const uint64_t id = read_prefetch(server);

    prefetched.has_hole = has_hole;
    server_send(server, FRAME_PREFETCHED, id, &prefetched, -1);
}

static void script_prefetch(struct server *server)
{
    server_greet(server);
    answer_prefetch(server, false);
    answer_prefetch(server, true);
    server_fail(server, read_prefetch(server), EBADF, "no eventfd");
    server_fail(server, read_prefetch(server), ENOMEM, NULL);
    server_expect_end(server);
}

START_TEST(prefetch_hands_the_eventfd_over_and_only_a_hole_is_ENOMEM)
{
    static const int errors[] = {0, ENOMEM, EBADF, EAGAIN};
    struct server server;
    struct muse *muse;
    int told = eventfd(0, EFD_CLOEXEC);
    uint64_t n = 0;

    server_start(&server, script_prefetch, NULL, 0);
    muse = server_connect(&server);
    ck_assert_int_eq(muse_prefetch(muse, (void *)1, 4096, told), -1); /* not asked at all */
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(muse_prefetch(muse, NULL, 4096, -1), -1);
    ck_assert_int_eq(errno, EBADF);
    for (size_t i = 0; i < N_ELEMENTS(errors); i++) {
        errno = 0;
        ck_assert_int_eq(muse_prefetch(muse, (void *)8192, 4097, told), errors[i] ? -1 : 0);
        ck_assert_int_eq(errno, errors[i]);
    }
    ck_assert_int_eq(read(told, &n, sizeof(n)), sizeof(n));
    ck_assert_uint_eq(n, N_ELEMENTS(errors));
    muse_disconnect(muse);
    server_stop(&server);
    (void)close(told);
}
END_TEST

static void script_error_at(struct server *server)
{
    Muse__Wire__ErrorIs error = MUSE__WIRE__ERROR_IS__INIT;
    char driver[100];

    server_greet(server);
    server_send(server, FRAME_ERROR_IS, server_await(server, FRAME_ERROR_AT), &error, -1);
    memset(driver, 'd', sizeof(driver) - 1);
    driver[sizeof(driver) - 1] = '\0';
    error.error = EIO;
    error.driver = driver;
    error.object = (char[]){"object"};
    error.hook = (char[]){"fault"};
    error.has_offset = true;
    error.offset = 8192;
    error.text = (char[]){"fault: bad sector"};
    server_send(server, FRAME_ERROR_IS, server_await(server, FRAME_ERROR_AT), &error, -1);
    server_expect_end(server);
}

START_TEST(error_at_tells_who_failed_or_that_nothing_is_known)
{
    struct muse_error error;
    struct server server;
    struct muse *muse;

    server_start(&server, script_error_at, NULL, 0);
    muse = server_connect(&server);
    ck_assert_int_eq(muse_error_at(muse, &server, &error), 0);
    ck_assert_int_eq(error.error, 0);
    ck_assert_str_eq(error.text, "");
    ck_assert_int_eq(muse_error_at(muse, &server, &error), 0);
    ck_assert_int_eq(error.error, EIO);
    ck_assert_uint_eq(strlen(error.driver), sizeof(error.driver) - 1); /* cut */
    ck_assert_str_eq(error.object, "object");
    ck_assert_str_eq(error.hook, "fault");
    ck_assert_uint_eq(error.offset, 8192);
    ck_assert_str_eq(error.text, "fault: bad sector");
    muse_disconnect(muse);
    server_stop(&server);
}
END_TEST

/* --- the server goes, or talks nonsense --- */

static void script_die(struct server *server)
{
    server_greet(server);
    (void)server_await(server, FRAME_OPEN); /* and the connection closes */
}

static void script_garbage_payload(struct server *server)
{
    struct frame *frame;

    server_greet(server);
    frame = server_read(server, FRAME_OPEN);
    server_send(server, FRAME_OPENED, frame->header.id, NULL, -1); /* required fields missing */
    server_expect_end(server);
}

static void script_garbage_type(struct server *server)
{
    server_greet(server);
    server_send(server, FRAME_DONE, server_await(server, FRAME_OPEN), NULL, -1);
    server_expect_end(server);
}

static void script_garbage_id(struct server *server)
{
    server_greet(server);
    server_send(server, FRAME_DONE, server_await(server, FRAME_OPEN) + 100, NULL, -1);
    server_expect_end(server);
}

static void script_garbage_bytes(struct server *server)
{
    server_greet(server);
    (void)server_await(server, FRAME_OPEN);
    REQUIRE(send(server->chan.fd, "hello, world, how are you", 25, MSG_NOSIGNAL) == 25);
    server_expect_end(server);
}

static const struct {
    server_script_fn *script;
    int error;
} breakers[] = {
    {script_die, ENOTCONN},        {script_garbage_payload, EPROTO}, {script_garbage_type, EPROTO},
    {script_garbage_id, ENOTCONN}, {script_garbage_bytes, ENOTCONN},
};

START_TEST(a_server_that_goes_or_talks_nonsense_is_ENOTCONN_ever_after)
{
    struct muse_file *file = NULL;
    struct server server;
    struct muse *muse;

    server_start(&server, breakers[_i].script, NULL, 0);
    muse = server_connect(&server);
    ck_assert_int_eq(muse_open(muse, "test/object", O_RDONLY, &file), -1);
    ck_assert_int_eq(errno, breakers[_i].error);
    ck_assert_str_ne(muse_last_error_text(), "");
    ck_assert_int_eq(muse_munmap(muse, NULL, 4096), -1);
    ck_assert_int_eq(errno, ENOTCONN);
    muse_disconnect(muse);
    server_stop(&server);
}
END_TEST

/* --- fork --- */

/* FORK_BEGIN, answered with a token and what is inherited: as many numbers as @n_kept. */
static void server_begin_fork(struct server *server, uint64_t *kept, size_t n_kept)
{
    Muse__Wire__ForkRanges ranges = MUSE__WIRE__FORK_RANGES__INIT;
    Muse__Wire__ForkBegun begun = MUSE__WIRE__FORK_BEGUN__INIT;
    uint8_t token[16] = "0123456789abcde";

    ranges.kept = kept;
    ranges.n_kept = n_kept;
    begun.token = (ProtobufCBinaryData){.len = sizeof(token), .data = token};
    begun.ranges = &ranges;
    server_send(server, FRAME_FORK_BEGUN, server_await(server, FRAME_FORK_BEGIN), &begun, -1);
}

static bool server_read_keep(struct server *server)
{
    struct frame *frame = server_read(server, FRAME_FORK_END);
    Muse__Wire__ForkEnd *end = muse__wire__fork_end__unpack(NULL, frame->n_payload, frame->payload);
    bool keep;

    REQUIRE(end);
    keep = end->keep;
    muse__wire__fork_end__free_unpacked(end, NULL);
    server_done(server, frame->header.id);
    return keep;
}

/* The parent's last words; those of a copy reach nobody. */
static void server_see_parent_off(struct server *server)
{
    server_done(server, server_await(server, FRAME_CLOSE));
    server_expect_end(server);
}

static void script_refuse_fork(struct server *server)
{
    server_greet(server);
    server_open(server);
    server_map(server, 1);
    server_fail(server, server_await(server, FRAME_FORK_BEGIN), ENOMEM, "no room");
    server_see_parent_off(server);
}

/* The child finds nobody at the socket. */
static void script_leave_child_alone(struct server *server)
{
    uint64_t kept[2];

    server_greet(server);
    server_open(server);
    server_map(server, 1);
    REQUIRE(shutdown(server->listen_fd, SHUT_RDWR) == 0);
    kept[0] = server->arena_start;
    kept[1] = kept[0] + 4096;
    server_begin_fork(server, kept, 2);
    REQUIRE(server_read_keep(server));
    server_see_parent_off(server);
}

static void script_name_foreign_memory(struct server *server)
{
    uint64_t kept[2];

    server_greet(server);
    server_open(server);
    server_map(server, 1);
    kept[0] = (uintptr_t)server & ~4095ull;
    kept[1] = kept[0] + 4096;
    server_begin_fork(server, kept, 2);
    server_expect_end(server);
}

static void script_name_half_a_range(struct server *server)
{
    uint64_t kept[1];

    server_greet(server);
    server_open(server);
    server_map(server, 1);
    kept[0] = server->arena_start;
    server_begin_fork(server, kept, 1);
    server_expect_end(server);
}

struct fork_case {
    server_script_fn *script;
    const char *text;   /* what the child is told */
    bool is_broken;     /* the connection has been ended */
    bool was_inherited; /* so that it had to be taken away again */
};

static const struct fork_case fork_cases[] = {
    {script_refuse_fork, "no room", false, false},
    {script_leave_child_alone, "cannot reach the server", false, true},
    {script_name_foreign_memory, "cannot be understood", true, false},
    {script_name_half_a_range, "cannot be understood", true, false},
};

static void child_checks(struct muse *muse, struct muse_file *file, uint64_t mapped,
                         const struct fork_case *wanted)
{
    struct map_line line;
    struct stat st;

    if (find_map(mapped, &line) ? !wanted->was_inherited || strcmp(line.perms, "---p") != 0
                                : wanted->was_inherited)
        _exit(2);
    if (muse_fstat(file, &st) != -1 || errno != ENOTCONN)
        _exit(3);
    if (muse_mmap(muse, NULL, 4096, PROT_READ, MAP_PRIVATE, file, 0) != MAP_FAILED ||
        errno != ENOTCONN)
        _exit(4);
    if (!strstr(muse_last_error_text(), wanted->text))
        _exit(5);
    if (muse_close(file) != -1 || errno != ENOTCONN)
        _exit(6);
    muse_disconnect(muse);
    _exit(0);
}

/* Each case of fork_cases. */
START_TEST(a_child_that_cannot_take_its_mappings_over_has_none_and_knows_why)
{
    const struct fork_case *wanted = &fork_cases[_i];
    struct muse_file *file;
    struct server server;
    struct muse *muse;
    int status = 0;
    pid_t child;
    char *p;

    server_start(&server, wanted->script, NULL, 1);
    muse = server_connect(&server);
    file = open_object(muse);
    p = muse_mmap(muse, NULL, 4096, PROT_READ, MAP_PRIVATE, file, 0);
    ck_assert_int_eq(p[0], 'a');
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        child_checks(muse, file, (uintptr_t)p, wanted);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(p[0], 'a');
    ck_assert_int_eq(muse_close(file), wanted->is_broken ? -1 : 0);
    muse_disconnect(muse);
    server_stop(&server);
}
END_TEST

static Suite *client_suite(void)
{
    Suite *suite = suite_create("client");
    TCase *tcase = tcase_create("dialogues");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, connecting_attaches_an_aligned_arena_without_access);
    tcase_add_test(tcase, an_arena_is_as_large_as_asked_for_rounded_up);
    tcase_add_test(tcase, an_arena_larger_than_the_server_allows_is_EINVAL);
    tcase_add_test(tcase, another_protocol_version_is_EPROTO);
    tcase_add_test(tcase, a_refused_hello_is_the_servers_errno_and_sentence);
    tcase_add_test(tcase, without_a_server_connecting_is_ENOTCONN);
    tcase_add_test(tcase, unknown_options_are_EINVAL);
    tcase_add_test(tcase, a_file_opens_tells_its_attributes_and_closes);
    tcase_add_test(tcase, an_older_server_is_not_asked_to_change_attributes);
    tcase_add_test(tcase, a_change_of_attributes_says_what_its_mask_names);
    tcase_add_test(tcase, a_lock_file_has_the_lowest_number_and_an_answer_without_one_is_EPROTO);
    tcase_add_test(tcase, a_failure_is_the_servers_errno_and_its_printable_sentence);
    tcase_add_test(tcase, bad_names_and_missing_arguments_never_reach_the_server);
    tcase_add_test(tcase, disconnecting_closes_files_left_open);
    tcase_add_test(tcase, prefetch_hands_the_eventfd_over_and_only_a_hole_is_ENOMEM);
    tcase_add_test(tcase, error_at_tells_who_failed_or_that_nothing_is_known);
    tcase_add_loop_test(tcase, a_server_that_goes_or_talks_nonsense_is_ENOTCONN_ever_after, 0,
                        (int)N_ELEMENTS(breakers));
    tcase_add_loop_test(tcase, a_child_that_cannot_take_its_mappings_over_has_none_and_knows_why, 0,
                        (int)N_ELEMENTS(fork_cases));
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(client_suite());
    int n_failed;

    srunner_run_all(runner, CK_NORMAL);
    n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed == 0 ? 0 : 1;
}
