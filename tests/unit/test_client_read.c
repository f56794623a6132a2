/* SPDX-License-Identifier: BSD-3-Clause */
/* libmuse's pread against a server that follows a script: pieces, ends, pages that are taken back. */
#include <muse/muse.h>
#include <sys/mman.h>

#include "tests/support/unit.h"
#include "tests/unit/scripted_server.h"

#define PIECE_BYTES (4ull << 20)

/* One PREAD, which must be for this range. Return: its id. */
static uint64_t read_pread(struct server *server, uint64_t offset, uint64_t length)
{
    struct frame *frame = server_read(server, FRAME_PREAD);
    Muse__Wire__Pread *message = muse__wire__pread__unpack(NULL, frame->n_payload, frame->payload);

    REQUIRE(message && message->file_id == SERVER_FILE_ID);
    REQUIRE(message->offset == offset && message->length == length);
    muse__wire__pread__free_unpacked(message, NULL);
    return frame->header.id;
}

static void send_readable(struct server *server, uint64_t id, int64_t n_readable)
{
    Muse__Wire__Readable readable = MUSE__WIRE__READABLE__INIT;

    readable.length = (uint64_t)n_readable;
    server_send(server, FRAME_READABLE, id, &readable, -1);
}

/* Answer one PREAD with @n_readable or, if negative, an errno. */
static void answer_pread(struct server *server, uint64_t offset, uint64_t length,
                         int64_t n_readable)
{
    const uint64_t id = read_pread(server, offset, length);

    if (n_readable < 0)
        server_fail(server, id, (int)-n_readable, "page 3 is bad");
    else
        send_readable(server, id, n_readable);
}

/* Pages are taken back while the client reads the first time, and not any more. */
static void script_taken(struct server *server)
{
    const int fd = memfd_create("count", MFD_CLOEXEC);
    const uint64_t count = 7;
    uint64_t id;

    REQUIRE(fd >= 0 && ftruncate(fd, 4096) == 0);
    server_greet_with(server, fd);
    server_open(server);
    id = read_pread(server, 0, 8192);
    REQUIRE(pwrite(fd, &count, sizeof(count), 0) == (ssize_t)sizeof(count));
    send_readable(server, id, 8192);
    answer_pread(server, 0, 4096, 4096); /* by single pages from there on */
    answer_pread(server, 4096, 4096, 4096);
    (void)close(fd);
    server_expect_end(server);
}

START_TEST(a_read_whose_pages_were_taken_back_meanwhile_is_done_again)
{
    struct muse_file *file;
    struct server server;
    struct muse *muse;
    char buf[8192];

    server_start(&server, script_taken, NULL, 2);
    muse = server_connect(&server);
    file = open_object(muse);
    ck_assert_int_eq(muse_pread(file, buf, sizeof(buf), 0), sizeof(buf));
    ck_assert_int_eq(buf[0], 'a');
    ck_assert_int_eq(buf[4096], 'b');
    muse_disconnect(muse);
    server_stop(&server);
}
END_TEST

static void script_pread(struct server *server)
{
    server_greet(server);
    server_open(server);
    answer_pread(server, 1, PIECE_BYTES, (int64_t)PIECE_BYTES); /* in pieces, up to the end */
    answer_pread(server, 1 + PIECE_BYTES, 8192, 8191);
    answer_pread(server, 1 + PIECE_BYTES + 8191, 1, 0);
    answer_pread(server, 0, 12288, 4096); /* up to an error */
    answer_pread(server, 4096, 8192, -EIO);
    answer_pread(server, 4096, 8192, -EIO);  /* at an error */
    answer_pread(server, 1ull << 40, 10, 0); /* behind the end */
    server_expect_end(server);
}

START_TEST(pread_goes_in_pieces_and_stops_at_the_end_or_before_an_error)
{
    const size_t len = PIECE_BYTES + 8192;
    char *buf = malloc(len);
    struct muse_file *file;
    struct server server;
    struct muse *muse;

    ck_assert_ptr_nonnull(buf);
    server_start(&server, script_pread, NULL, 1024 + 2);
    muse = server_connect(&server);
    file = open_object(muse);
    ck_assert_int_eq(muse_pread(file, buf, len, 1), (ssize_t)len - 1);
    ck_assert_int_eq(buf[4095], 'b');
    ck_assert_int_eq(buf[PIECE_BYTES - 1], 'a' + 1024 % 26);
    ck_assert_int_eq(muse_pread(file, buf, 12288, 0), 4096);
    ck_assert_str_eq(muse_last_error_text(), "");
    ck_assert_int_eq(muse_pread(file, buf, 8192, 4096), -1);
    ck_assert_int_eq(errno, EIO);
    ck_assert_str_eq(muse_last_error_text(), "page 3 is bad");
    ck_assert_int_eq(muse_pread(file, buf, 10, (off_t)1 << 40), 0);
    ck_assert_int_eq(muse_pread(file, buf, 0, 0), 0);
    ck_assert_int_eq(muse_pread(file, buf, 1, -1), -1);
    ck_assert_int_eq(errno, EINVAL);
    muse_disconnect(muse);
    server_stop(&server);
    free(buf);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("client_read");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, pread_goes_in_pieces_and_stops_at_the_end_or_before_an_error);
    tcase_add_test(tcase, a_read_whose_pages_were_taken_back_meanwhile_is_done_again);
    return unit_run("client_read", tcase);
}
