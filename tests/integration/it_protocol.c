/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bytes that no well-behaved library sends, to the client's and the admin's socket. The sender is
 * cut off or refused; the server lives, its fds come back, and a client beside it never notices.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "proto/admin.pb-c.h"
#include "tests/support/client.h"
#include "tests/support/raw.h"
#include "tests/support/unit.h"

static const char *const faulty[] = {"muse-faulty", NULL};

static struct rig rig;
static pid_t bystander;
static int bystander_fd; /* closing it ends the bystander */
static unsigned n_fds_before;

/* ---- somebody who must not notice ---- */

static void stand_by(void *ctx)
{
    const int *pipe_fds = ctx;
    struct muse *own = client_connect();
    struct muse_file *file = client_open(own, "faulty/bystander,fault-single", O_RDONLY);
    char byte = 0;

    (void)close(pipe_fds[1]);
    ck_assert_int_eq(fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK), 0);
    while (read(pipe_fds[0], &byte, 1) < 0) {
        char *mapped = muse_mmap(own, NULL, 16 * PAGE, PROT_READ, MAP_SHARED, file, 0);

        ck_assert_ptr_ne(mapped, MAP_FAILED);
        for (size_t page = 0; page < 16; page++)
            ck_assert_uint_eq(faulty_word(mapped, page, 3), page * 512 + 3);
        ck_assert_int_eq(muse_munmap(own, mapped, 16 * PAGE), 0);
        client_sleep_ms(1);
    }
    muse_disconnect(own);
}

static unsigned count_server_fds(void)
{
    char path[64];
    unsigned n = 0;
    DIR *dir;

    (void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)rig.server);
    dir = opendir(path);
    ck_assert_ptr_nonnull(dir);
    while (readdir(dir))
        n++;
    (void)closedir(dir);
    return n;
}

static void begin(void)
{
    int pipe_fds[2];

    rig_start(&rig, NULL, faulty);
    ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
    bystander = client_fork(stand_by, pipe_fds);
    (void)close(pipe_fds[0]);
    bystander_fd = pipe_fds[1];
    while (rig_stat(&rig, "unmaps") < 3)
        client_sleep_ms(2);
    n_fds_before = count_server_fds();
}

/* After each wrong: alive, nothing kept, nobody hurt. */
static void all_is_well(const char *what)
{
    const uint64_t n_unmaps = rig_stat(&rig, "unmaps");

    ck_assert_msg(kill(rig.server, 0) == 0, "%s: the server has gone", what);
    for (unsigned ms = 0; ms < 10000 && count_server_fds() > n_fds_before; ms++)
        client_sleep_ms(1);
    ck_assert_msg(count_server_fds() <= n_fds_before, "%s: the server keeps fds", what);
    while (rig_stat(&rig, "unmaps") < n_unmaps + 2) {
        ck_assert_msg(waitpid(bystander, NULL, WNOHANG) == 0, "%s: the bystander fell", what);
        client_sleep_ms(2);
    }
}

static void end(void)
{
    (void)close(bystander_fd);
    client_join(bystander);
    rig_stop(&rig);
}

/* ---- one datagram ---- */

struct wrong {
    const char *what;
    uint16_t type;
    size_t n_payload;
    unsigned n_fds, n_fds_said;
};

static const uint8_t nonsense[512] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static void expect_cut_off(int sock, const char *what)
{
    ck_assert_msg(raw_is_cut_off(sock), "%s: not cut off", what);
}

/* Sends one wrong frame from the given socket, which is then closed. */
static void send_wrong(int sock, const struct wrong *wrong)
{
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    (void)raw_frame(sock, wrong->type, nonsense, wrong->n_payload, null_fd, wrong->n_fds,
                    wrong->n_fds_said);
    expect_cut_off(sock, wrong->what);
    (void)close(null_fd);
}

static const struct wrong first_words[] = {
    {"unknown type", 0xffff, 0, 0, 0},
    {"type 0", 0, 0, 0, 0},
    {"OPEN before HELLO", FRAME_OPEN, 0, 0, 0},
    {"MAP before HELLO", FRAME_MAP, 0, 0, 0},
    {"ATTACH before HELLO", FRAME_ATTACH, 0, 1, 1},
    {"a driver's hello", FRAME_DRIVER_HELLO, 0, 0, 0},
    {"an admin's request", FRAME_ADMIN_REQUEST, 0, 0, 0},
    {"HELLO that does not decode", FRAME_CLIENT_HELLO, 32, 0, 0},
    {"HELLO with nothing in it", FRAME_CLIENT_HELLO, 0, 0, 0},
    {"HELLO with an fd", FRAME_CLIENT_HELLO, 0, 1, 1},
    {"HELLO with an fd it does not mention", FRAME_CLIENT_HELLO, 0, 1, 0},
    {"HELLO without the fd it mentions", FRAME_CLIENT_HELLO, 0, 0, 1},
    {"HELLO with 16 fds", FRAME_CLIENT_HELLO, 0, 16, 16},
    {"HELLO with 60 fds", FRAME_CLIENT_HELLO, 0, 60, 16},
    {"HELLO that mentions 200 fds", FRAME_CLIENT_HELLO, 0, 2, 200},
};

START_TEST(wrong_first_words_end_the_connection_and_nothing_else)
{
    begin();
    for (size_t i = 0; i < N_ELEMENTS(first_words); i++) {
        int sock = raw_socket(&rig, "client.sock");

        send_wrong(sock, &first_words[i]);
        (void)close(sock);
        if (i % 4 == 0)
            all_is_well(first_words[i].what);
    }
    all_is_well("first words");
    end();
}
END_TEST

static void send_bytes(const char *door, const void *bytes, size_t n_bytes, const char *what)
{
    int sock = raw_socket(&rig, door);

    (void)raw_send(sock, bytes, n_bytes, -1, 0);
    expect_cut_off(sock, what);
    (void)close(sock);
}

/* Headers with one thing wrong in each. */
static void send_headers(const char *door, uint16_t type)
{
    static const size_t places[] = {0, 1, 2, 3, 6, 7}; /* magic, version, n_fds, flags */
    const struct frame_header header = {.type = type, .id = 1};
    uint8_t bytes[FRAME_HEADER_BYTES];

    for (size_t i = 0; i < N_ELEMENTS(places); i++) {
        frame_encode(&header, bytes);
        bytes[places[i]] ^= 0x55;
        send_bytes(door, bytes, sizeof(bytes), "a header with a wrong byte");
    }
}

START_TEST(garbage_on_any_socket_ends_the_connection_and_nothing_else)
{
    static const struct {
        const char *name;
        uint16_t hello;
    } doors[] = {{"client.sock", FRAME_CLIENT_HELLO},
                 {"driver.sock", FRAME_DRIVER_HELLO},
                 {"control.sock", FRAME_ADMIN_REQUEST}};
    uint64_t seed = unit_seed();
    uint8_t *bytes = malloc(FRAME_BYTES_MAX * 2);

    begin();
    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < FRAME_BYTES_MAX * 2; i++)
        bytes[i] = (uint8_t)unit_random(&seed);
    for (size_t i = 0; i < N_ELEMENTS(doors); i++) {
        send_bytes(doors[i].name, bytes, 64, "random bytes");
        send_bytes(doors[i].name, bytes, 1, "one byte");
        send_bytes(doors[i].name, bytes, FRAME_HEADER_BYTES - 1, "a short header");
        send_bytes(doors[i].name, bytes, FRAME_BYTES_MAX + 1, "too long a datagram");
        send_bytes(doors[i].name, bytes, FRAME_BYTES_MAX * 2, "far too long a datagram");
        send_headers(doors[i].name, doors[i].hello);
        all_is_well(doors[i].name);
    }
    free(bytes);
    end();
}
END_TEST

START_TEST(a_hello_of_another_version_is_refused_with_a_reason)
{
    Muse__Wire__ClientHello hello = MUSE__WIRE__CLIENT_HELLO__INIT;
    struct raw raw = {.uffd = -1, .device = -1};
    int sock;
    uint64_t id;

    begin();
    sock = raw_socket(&rig, "client.sock");
    ck_assert_int_eq(chan_init(&raw.chan, &sock, FRAME_FDS_MAX, 0), 0);
    hello.version_min = PROTO_VERSION_MAX + 1;
    hello.version_max = PROTO_VERSION_MAX + 7;
    id = raw_ask(&raw, FRAME_CLIENT_HELLO, &hello.base);
    ck_assert_int_eq(raw_failure(&raw, id), EPROTO);
    expect_cut_off(raw.chan.fd, "another version");
    raw_done(&raw);
    all_is_well("another version");
    end();
}
END_TEST

/* ---- attach ---- */

struct arena {
    const char *what;
    uint64_t start, n_bytes;
};

static const struct arena absurd_arenas[] = {
    {"empty", UINT64_C(0x10000000), 0},
    {"not aligned", UINT64_C(0x10000001), UINT64_C(1) << 30},
    {"a length that is not aligned", UINT64_C(0x10000000), (UINT64_C(1) << 30) + 1},
    {"too large", UINT64_C(0x10000000), UINT64_C(1) << 46},
    {"beyond the address space", UINT64_C(1) << 47, UINT64_C(1) << 30},
    {"kernel addresses", UINT64_C(0xffff800000000000), UINT64_C(1) << 30},
    {"wrapping around", UINT64_MAX - PAGE + 1, UINT64_C(1) << 30},
    {"everything", 0, UINT64_MAX},
};

static void try_arena(const struct arena *arena)
{
    Muse__Wire__Attach attach = MUSE__WIRE__ATTACH__INIT;
    struct raw raw;

    raw_hello(&raw, &rig);
    raw_uffd(&raw);
    attach.arena_start = arena->start;
    attach.arena_bytes = arena->n_bytes;
    ck_assert_int_eq(chan_send(&raw.chan, FRAME_ATTACH, 9, &attach.base, &raw.uffd, 1), 0);
    ck_assert_msg(raw_failure(&raw, 9) == EINVAL, "%s", arena->what);
    expect_cut_off(raw.chan.fd, arena->what);
    raw_done(&raw);
}

/* ATTACH with something that is no userfaultfd. */
static void try_fd(int fd, const char *what)
{
    Muse__Wire__Attach attach = MUSE__WIRE__ATTACH__INIT;
    struct raw raw;

    ck_assert_int_ge(fd, 0);
    raw_hello(&raw, &rig);
    attach.arena_start = UINT64_C(0x10000000);
    attach.arena_bytes = UINT64_C(1) << 30;
    ck_assert_int_eq(chan_send(&raw.chan, FRAME_ATTACH, 9, &attach.base, &fd, 1), 0);
    ck_assert_msg(raw_failure(&raw, 9) != 0, "%s", what);
    expect_cut_off(raw.chan.fd, what);
    raw_done(&raw);
    (void)close(fd);
}

START_TEST(an_attach_that_makes_no_sense_is_refused)
{
    static const struct wrong wrongs[] = {
        {"HELLO twice", FRAME_CLIENT_HELLO, 0, 0, 0},
        {"OPEN before ATTACH", FRAME_OPEN, 0, 0, 0},
        {"ATTACH without an fd", FRAME_ATTACH, 0, 0, 0},
        {"ATTACH with two fds", FRAME_ATTACH, 0, 2, 2},
        {"ATTACH that does not decode", FRAME_ATTACH, 32, 1, 1},
    };
    struct raw raw;

    begin();
    for (size_t i = 0; i < N_ELEMENTS(absurd_arenas); i++)
        try_arena(&absurd_arenas[i]);
    try_fd(open("/dev/null", O_RDONLY | O_CLOEXEC), "/dev/null");
    try_fd(memfd_create("none", MFD_CLOEXEC), "a memfd");
    try_fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "a socket");
    try_fd(raw_socket(&rig, "client.sock"), "a socket of the server's own");
    raw_hello(&raw, &rig);
    raw_done(&raw);
    for (size_t i = 0; i < N_ELEMENTS(wrongs); i++) {
        raw_hello(&raw, &rig);
        send_wrong(raw.chan.fd, &wrongs[i]);
        raw_done(&raw);
    }
    all_is_well("attach");
    end();
}
END_TEST

START_TEST(a_userfaultfd_that_never_did_its_handshake_is_refused)
{
    struct raw raw;

    begin();
    raw_hello(&raw, &rig);
    raw_uffd(&raw);
    try_fd(fcntl(raw.chan.fd, F_DUPFD_CLOEXEC, 0), "the client's own socket");
    raw_done(&raw);
    all_is_well("handshake");
    end();
}
END_TEST

/* ---- ready ---- */

START_TEST(wrong_requests_end_the_connection_and_nothing_else)
{
    static const struct wrong wrongs[] = {
        {"an answer to nothing", FRAME_MEM_OPS_DONE, 0, 0, 0},
        {"ATTACH again", FRAME_ATTACH, 0, 1, 1},
        {"HELLO again", FRAME_CLIENT_HELLO, 0, 0, 0},
        {"a server's word", FRAME_MAPPED, 0, 0, 0},
        {"OPEN that does not decode", FRAME_OPEN, 32, 0, 0},
        {"CLOSE that does not decode", FRAME_CLOSE, 32, 0, 0},
        {"FSTAT that does not decode", FRAME_FSTAT, 32, 0, 0},
        {"LOCK_FILE that does not decode", FRAME_LOCK_FILE, 32, 0, 0},
        {"LOCK_FILE_IS, the server's word", FRAME_LOCK_FILE_IS, 0, 0, 0},
        {"PREAD that does not decode", FRAME_PREAD, 32, 0, 0},
        {"MAP that does not decode", FRAME_MAP, 32, 0, 0},
        {"UNMAP that does not decode", FRAME_UNMAP, 32, 0, 0},
        {"ERROR_AT that does not decode", FRAME_ERROR_AT, 32, 0, 0},
        {"MADVISE that does not decode", FRAME_MADVISE, 32, 0, 0},
        {"PROTECT that does not decode", FRAME_PROTECT, 32, 0, 0},
        {"REMAP that does not decode", FRAME_REMAP, 32, 0, 0},
        {"LOCK that does not decode", FRAME_LOCK, 32, 0, 0},
        {"MINCORE that does not decode", FRAME_MINCORE, 32, 0, 0},
        {"RESIDENT, the server's word", FRAME_RESIDENT, 0, 0, 0},
        {"MPROTECT, a driver's", FRAME_MPROTECT, 0, 0, 0},
        {"MAP without its fields", FRAME_MAP, 0, 0, 0},
        {"MAP with an fd", FRAME_MAP, 0, 1, 1},
        {"OPEN with 16 fds", FRAME_OPEN, 0, 16, 16},
        {"a driver's word", FRAME_PREPARED, 0, 0, 0},
    };
    Muse__Wire__MemOpsDone done = MUSE__WIRE__MEM_OPS_DONE__INIT;
    struct raw raw;

    begin();
    for (size_t i = 0; i < N_ELEMENTS(wrongs); i++) {
        raw_hello(&raw, &rig);
        raw_attach(&raw);
        send_wrong(raw.chan.fd, &wrongs[i]);
        raw_done(&raw);
    }
    raw_hello(&raw, &rig);
    raw_attach(&raw);
    (void)raw_ask(&raw, FRAME_MEM_OPS_DONE, &done.base);
    expect_cut_off(raw.chan.fd, "a well-formed answer to nothing");
    raw_done(&raw);
    all_is_well("requests");
    end();
}
END_TEST

static void try_file_id(struct raw *raw, uint64_t file_id)
{
    static const uint16_t types[] = {FRAME_CLOSE, FRAME_FSTAT};
    Muse__Wire__FileRef ref = MUSE__WIRE__FILE_REF__INIT;
    Muse__Wire__Pread pread = MUSE__WIRE__PREAD__INIT;
    Muse__Wire__LockFile lock_file = MUSE__WIRE__LOCK_FILE__INIT;

    ref.file_id = pread.file_id = lock_file.file_id = file_id;
    pread.length = 10;
    for (size_t i = 0; i < N_ELEMENTS(types); i++)
        ck_assert_int_eq(raw_failure(raw, raw_ask(raw, types[i], &ref.base)), EBADF);
    ck_assert_int_eq(raw_failure(raw, raw_ask(raw, FRAME_PREAD, &pread.base)), EBADF);
    ck_assert_int_eq(raw_failure(raw, raw_ask(raw, FRAME_LOCK_FILE, &lock_file.base)), EBADF);
    ck_assert_int_eq(raw_failure(raw, raw_map(raw, file_id, 0, PAGE, 0)), EBADF);
}

START_TEST(files_that_are_not_the_clients_own_are_ebadf)
{
    struct raw raw, other;
    uint64_t theirs;

    begin();
    raw_hello(&raw, &rig);
    raw_attach(&raw);
    raw_hello(&other, &rig);
    raw_attach(&other);
    theirs = raw_open(&other, "faulty/secret");
    try_file_id(&raw, 0);
    try_file_id(&raw, 424242);
    try_file_id(&raw, UINT64_MAX);
    try_file_id(&raw, theirs);
    raw_done(&raw);
    raw_done(&other);
    all_is_well("file ids");
    end();
}
END_TEST

static int try_name(struct raw *raw, const char *name)
{
    Muse__Wire__Open open_message = MUSE__WIRE__OPEN__INIT;

    open_message.name = (char *)(uintptr_t)name; /* only read */
    return raw_failure(raw, raw_ask(raw, FRAME_OPEN, &open_message.base));
}

START_TEST(names_that_make_no_sense_are_errors_not_the_end)
{
    static char long_name[20000];
    struct raw raw;

    begin();
    raw_hello(&raw, &rig);
    raw_attach(&raw);
    ck_assert_int_eq(try_name(&raw, ""), ENODEV);
    ck_assert_int_eq(try_name(&raw, "/"), ENODEV);
    ck_assert_int_eq(try_name(&raw, "faulty"), ENODEV);
    ck_assert_int_eq(try_name(&raw, "nobody/x"), ENODEV);
    ck_assert_int_eq(try_name(&raw, "faulty/x,no-such-key=1"), EINVAL);
    (void)raw_open(&raw, "faulty/\xff\xfe\n\x01"); /* a driver's own business; logs quote it */
    memset(long_name, 'x', sizeof(long_name) - 1);
    memcpy(long_name, "faulty/", 7);
    ck_assert_int_eq(try_name(&raw, long_name), ENAMETOOLONG);
    (void)raw_open(&raw, "faulty/all"); /* still served */
    raw_done(&raw);
    all_is_well("names");
    end();
}
END_TEST

/* ---- too much ---- */

static uint64_t server_kib(const char *key)
{
    char path[64], line[256];
    uint64_t value = 0;
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)rig.server);
    file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof(line), file)) {
        if (strncmp(line, key, strlen(key)) == 0)
            value = strtoull(line + strlen(key) + 1, NULL, 10);
    }
    (void)fclose(file);
    return value;
}

/* What a flood may cost the server. ThreadSanitizer keeps four bytes of its own for each byte,
 * AddressSanitizer keeps what was freed. */
#ifdef __SANITIZE_THREAD__
#define FLOOD_KIB_MAX (5 * 32 * 1024)
#elif defined(__SANITIZE_ADDRESS__)
#define FLOOD_KIB_MAX (4 * 32 * 1024)
#else
#define FLOOD_KIB_MAX (32 * 1024)
#endif

/* Sends until the server cuts the connection. Return: how many went. */
static unsigned flood(struct raw *raw, uint16_t type, const ProtobufCMessage *message)
{
    unsigned n = 0;

    while (n < 1000000 && chan_send(&raw->chan, type, ++raw->next_id, message, NULL, 0) == 0)
        n++;
    return n;
}

START_TEST(a_client_that_asks_and_does_not_read_is_cut_off_and_memory_stays_bounded)
{
    Muse__Wire__ErrorAt error_at = MUSE__WIRE__ERROR_AT__INIT;
    Muse__Wire__FileRef ref = MUSE__WIRE__FILE_REF__INIT;
    Muse__Wire__Open open_message = MUSE__WIRE__OPEN__INIT;
    char name[] = "faulty/flood";
    uint64_t kib;
    struct raw raw;

    begin();
    open_message.name = name;
    kib = server_kib("VmRSS");
    for (unsigned i = 0; i < 3; i++) {
        raw_hello(&raw, &rig);
        raw_attach(&raw);
        ck_assert_uint_lt(i == 0   ? flood(&raw, FRAME_ERROR_AT, &error_at.base)
                          : i == 1 ? flood(&raw, FRAME_FSTAT, &ref.base)
                                   : flood(&raw, FRAME_OPEN, &open_message.base),
                          1000000);
        raw_done(&raw);
        all_is_well("flood");
    }
    ck_assert_uint_lt(server_kib("VmRSS"), kib + FLOOD_KIB_MAX);
    end();
}
END_TEST

START_TEST(map_calls_beyond_the_limit_of_requests_are_refused_and_the_rest_ends_with_the_client)
{
    uint64_t file_id, kib;
    struct raw raw;

    rig_start(&rig, NULL, faulty); /* nobody stands by: the limit is on a user */
    ck_assert_int_eq(rig_ctl_status(&rig, "limits requests 100"), 0);
    raw_hello(&raw, &rig);
    raw_attach(&raw);
    file_id = raw_open(&raw, "faulty/x,lock");
    kib = server_kib("VmRSS");
    for (unsigned i = 0; i < 500; i++) /* the first waits for its install, the others for it */
        (void)raw_map(&raw, file_id, 0, PAGE, 0);
    while (rig_stat(&rig, "charges_refused") < 400)
        client_sleep_ms(2);
    ck_assert_uint_lt(server_kib("VmRSS"), kib + 8 * 1024);
    ck_assert_int_eq(rig_ctl_status(&rig, "limits requests 65536"), 0);
    raw_done(&raw);
    wait_for_counter("abort", 1);
    ck_assert_uint_eq(rig_counter("locked"), 0);
    rig_stop(&rig);
}
END_TEST

START_TEST(storms_of_connections_pass)
{
    static const char *const doors[] = {"client.sock", "driver.sock", "control.sock"};
    int socks[150];

    begin();
    for (unsigned i = 0; i < 600; i++)
        (void)close(raw_socket(&rig, doors[i % 3]));
    all_is_well("a storm");
    for (unsigned i = 0; i < 150; i++) /* silent ones, all at once */
        socks[i] = raw_socket(&rig, doors[i % 3]);
    ck_assert_int_eq(rig_ctl_status(&rig, "status"), 0);
    muse_disconnect(client_connect());
    for (unsigned i = 0; i < 150; i++)
        (void)close(socks[i]);
    all_is_well("a crowd");
    end();
}
END_TEST

/* ---- the control socket ---- */

static int admin_error(const char *command, size_t n_args, uint32_t version)
{
    Muse__Wire__AdminRequest request = MUSE__WIRE__ADMIN_REQUEST__INIT;
    struct raw raw = {.uffd = -1, .device = -1};
    Muse__Wire__AdminReply *reply;
    char arg[] = "1";
    char *args[64];
    struct frame *frame;
    int sock = raw_socket(&rig, "control.sock");
    int error;

    for (size_t i = 0; i < n_args; i++)
        args[i] = arg;
    request.version = version;
    request.command = (char *)(uintptr_t)command; /* only read */
    request.n_args = n_args;
    request.args = args;
    ck_assert_int_eq(chan_init(&raw.chan, &sock, 0, 0), 0);
    frame = raw_answer(&raw, FRAME_ADMIN_REPLY, raw_ask(&raw, FRAME_ADMIN_REQUEST, &request.base));
    reply = muse__wire__admin_reply__unpack(NULL, frame->n_payload, frame->payload);
    ck_assert_ptr_nonnull(reply);
    error = (int)reply->error;
    muse__wire__admin_reply__free_unpacked(reply, NULL);
    raw_done(&raw);
    return error;
}

START_TEST(the_control_socket_answers_nonsense_with_errors)
{
    static const struct wrong wrongs[] = {
        {"a client's hello", FRAME_CLIENT_HELLO, 0, 0, 0},
        {"a request that does not decode", FRAME_ADMIN_REQUEST, 32, 0, 0},
        {"a request with an fd", FRAME_ADMIN_REQUEST, 0, 1, 1},
        {"a reply", FRAME_ADMIN_REPLY, 0, 0, 0},
    };

    begin();
    ck_assert_int_eq(admin_error("status", 0, 1), 0);
    ck_assert_int_ne(admin_error("no-such-command", 0, 1), 0);
    ck_assert_int_ne(admin_error("", 0, 1), 0);
    ck_assert_int_ne(admin_error("status", 60, 1), 0);
    ck_assert_int_ne(admin_error("maps", 0, 1), 0);
    ck_assert_int_ne(admin_error("maps", 2, 1), 0);
    ck_assert_int_ne(admin_error("status", 0, 77), 0);
    for (size_t i = 0; i < N_ELEMENTS(wrongs); i++) {
        int sock = raw_socket(&rig, "control.sock");

        send_wrong(sock, &wrongs[i]);
        (void)close(sock);
    }
    all_is_well("control");
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("protocol");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, wrong_first_words_end_the_connection_and_nothing_else);
    tcase_add_test(tcase, garbage_on_any_socket_ends_the_connection_and_nothing_else);
    tcase_add_test(tcase, a_hello_of_another_version_is_refused_with_a_reason);
    tcase_add_test(tcase, an_attach_that_makes_no_sense_is_refused);
    tcase_add_test(tcase, a_userfaultfd_that_never_did_its_handshake_is_refused);
    tcase_add_test(tcase, wrong_requests_end_the_connection_and_nothing_else);
    tcase_add_test(tcase, files_that_are_not_the_clients_own_are_ebadf);
    tcase_add_test(tcase, names_that_make_no_sense_are_errors_not_the_end);
    tcase_add_test(tcase, a_client_that_asks_and_does_not_read_is_cut_off_and_memory_stays_bounded);
    tcase_add_test(
        tcase,
        map_calls_beyond_the_limit_of_requests_are_refused_and_the_rest_ends_with_the_client);
    tcase_add_test(tcase, storms_of_connections_pass);
    tcase_add_test(tcase, the_control_socket_answers_nonsense_with_errors);
    return unit_run("protocol", tcase);
}
