/* SPDX-License-Identifier: BSD-3-Clause */
/* libmuse doing what a scripted server asks of existing mappings: mprotect, madvise, mlock, mremap;
 * and what it refuses, whoever asks. */
#include <muse/muse.h>
#include <sys/mman.h>

#include "proto/limits.h"
#include "tests/unit/scripted_server.h"

#define PAGE       4096ull
#define KIND(name) MUSE__WIRE__MEM_OPS__KIND__##name
#define RW         (PROT_READ | PROT_WRITE)

typedef Muse__Wire__MemOps__Op Op;

static Op op_prot(Muse__Wire__MemOps__Kind kind, uint64_t addr, uint64_t length, uint32_t prot)
{
    Op op = op_make(kind, addr, length);

    op.has_prot = op.has_flags = true;
    op.prot = prot;
    op.flags = MAP_PRIVATE;
    return op;
}

static Op op_advise(uint64_t addr, uint64_t length, uint32_t advice)
{
    Op op = op_make(KIND(MADVISE), addr, length);

    op.has_advice = true;
    op.advice = advice;
    return op;
}

static Op op_to(Muse__Wire__MemOps__Kind kind, uint64_t addr, uint64_t length, uint64_t to,
                uint64_t new_length)
{
    Op op = op_make(kind, addr, length);

    op.has_to = op.has_new_length = op.has_prot = true;
    op.to = to;
    op.new_length = new_length;
    op.prot = RW;
    return op;
}

/* The client asks for something of one page at the start of the arena; the script is its answer. */
static int ask(struct server *server, struct muse *muse)
{
    void *start = (void *)(uintptr_t)server->arena_start; /* NOLINT(performance-no-int-to-ptr) */

    return muse_mprotect(muse, start, PAGE, PROT_READ);
}

#define DOES(wanted, ...) REQUIRE(server_do(server, id, (__VA_ARGS__), -1) == (wanted))

/* --- what it may ask --- */

static void script_allowed(struct server *server)
{
    uint64_t id, at;
    Op closed;

    server_greet(server);
    at = server->arena_start;
    id = server_await(server, FRAME_PROTECT);
    DOES(0, op_prot(KIND(MMAP_ANON), at, 4 * PAGE, RW));
    DOES(0, op_prot(KIND(MPROTECT), at + PAGE, PAGE, PROT_NONE));
    DOES(0, op_advise(at + PAGE, PAGE, MADV_DONTNEED));
    DOES(0, op_advise(at, PAGE, MADV_POPULATE_WRITE));
    DOES(0, op_make(KIND(MLOCK), at, PAGE));
    DOES(0, op_make(KIND(MUNLOCK), at, PAGE));
    /* longer, and the source is a hole that becomes arena */
    DOES(0, op_to(KIND(REMAP), at + 3 * PAGE, PAGE, at + 16 * PAGE, 2 * PAGE));
    DOES(0, op_make(KIND(RESERVE_FREE), at + 3 * PAGE, PAGE));
    /* the pages leave, the mapping stays without access */
    DOES(0, op_to(KIND(SPLIT_OFF), at + 2 * PAGE, PAGE, at + 20 * PAGE, 0));
    closed = op_to(KIND(SPLIT_OFF), at, PAGE, at + 24 * PAGE, 0);
    closed.has_closed = closed.closed = true;
    DOES(0, closed);
    DOES(0, op_prot(KIND(MPROTECT), at, PAGE, RW));
    server_done(server, id);
    server_expect_end(server);
}

START_TEST(existing_mappings_are_changed_as_the_server_says)
{
    struct map_line line;
    struct server server;
    struct muse *muse;

    server_start(&server, script_allowed, NULL, 0);
    muse = server_connect(&server);
    ck_assert_int_eq(ask(&server, muse), 0);
    ck_assert(find_map(server.arena_start, &line));
    ck_assert_str_eq(line.perms, "rw-p");
    ck_assert_uint_eq(line.end - line.start, PAGE);
    for (unsigned i = 1; i < 4; i++) {
        ck_assert(find_map(server.arena_start + i * PAGE, &line));
        ck_assert_str_eq(line.perms, "---p");
    }
    ck_assert(find_map(server.arena_start + 17 * PAGE, &line));
    ck_assert_str_eq(line.perms, "rw-p");
    ck_assert(find_map(server.arena_start + 20 * PAGE, &line));
    ck_assert_str_eq(line.perms, "rw-p");
    ck_assert(find_map(server.arena_start + 24 * PAGE, &line));
    ck_assert_str_eq(line.perms, "---p");
    muse_disconnect(muse);
    ck_assert(!find_map(server.arena_start, &line));
    server_stop(&server);
}
END_TEST

/* Another thread's mmap was given the hole that a move has left: here the test's. */
static void script_stolen(struct server *server)
{
    uint64_t id, at;

    server_greet(server);
    at = server->arena_start;
    id = server_await(server, FRAME_PROTECT);
    DOES(0, op_prot(KIND(MMAP_ANON), at, 2 * PAGE, RW));
    DOES(EEXIST, op_make(KIND(RESERVE_FREE), at + PAGE, PAGE));
    server_done(server, id);
    id = server_await(server, FRAME_UNMAP); /* of all of it */
    DOES(0, op_make(KIND(MMAP_RESERVE), at, 4 * PAGE));
    server_done(server, id);
    server_expect_end(server);
}

START_TEST(what_others_have_mapped_in_the_arena_is_left_alone)
{
    struct map_line line;
    struct server server;
    struct muse *muse;
    char *stolen;

    server_start(&server, script_stolen, NULL, 0);
    muse = server_connect(&server);
    ck_assert_int_eq(ask(&server, muse), 0);
    stolen = (char *)(uintptr_t)(server.arena_start + PAGE); /* NOLINT(performance-no-int-to-ptr) */
    *stolen = 's';
    ck_assert_int_eq(muse_munmap(muse, stolen - PAGE, 4 * PAGE), 0);
    ck_assert_int_eq(*stolen, 's');
    ck_assert(find_map(server.arena_start, &line));
    ck_assert_str_eq(line.perms, "---p");
    muse_disconnect(muse);
    ck_assert_int_eq(*stolen, 's');
    ck_assert(!find_map(server.arena_start, &line));
    ck_assert(!find_map(server.arena_start + 2 * PAGE, &line));
    server_stop(&server);
    (void)munmap(stolen, PAGE);
}
END_TEST

/* --- what it may not ask --- */

static void script_forbidden(struct server *server)
{
    const uint64_t outside = (uintptr_t)server->ctx;
    uint64_t id, at;
    Op op;

    server_greet(server);
    at = server->arena_start;
    id = server_await(server, FRAME_PROTECT);
    DOES(EINVAL, op_prot(KIND(MMAP_ANON), outside, PAGE, RW));
    DOES(EINVAL, op_prot(KIND(MMAP_ANON), at, PAGE, 0x100));
    DOES(EINVAL, op_make(KIND(MMAP_ANON), at, PAGE)); /* no prot, no flags */
    DOES(EINVAL, op_prot(KIND(MPROTECT), outside, PAGE, PROT_NONE));
    DOES(EINVAL, op_prot(KIND(MPROTECT), at, PAGE, 0x100));
    DOES(EINVAL, op_make(KIND(MPROTECT), at, PAGE));
    DOES(EINVAL, op_advise(outside, PAGE, MADV_DONTNEED));
    DOES(EINVAL, op_advise(at, PAGE, MADV_HWPOISON));
    DOES(EINVAL, op_advise(at, PAGE, MADV_MERGEABLE));
    DOES(EINVAL, op_advise(at, PAGE, MADV_NORMAL));
    DOES(EINVAL, op_make(KIND(MLOCK), outside, PAGE));
    DOES(EINVAL, op_make(KIND(MUNLOCK), outside, PAGE));
    DOES(EINVAL, op_make(KIND(RESERVE_FREE), outside, PAGE));
    DOES(EINVAL, op_to(KIND(REMAP), outside, PAGE, at, PAGE));
    DOES(EINVAL, op_to(KIND(REMAP), at, PAGE, outside, PAGE));
    DOES(EINVAL, op_to(KIND(REMAP), at, 2 * PAGE, at + PAGE, 2 * PAGE));
    DOES(EINVAL, op_to(KIND(REMAP), at, 2 * PAGE, at + 8 * PAGE, PAGE));
    DOES(EINVAL, op_to(KIND(REMAP), at, PAGE, at + 8 * PAGE, UINT64_MAX - PAGE + 1));
    DOES(EINVAL, op_to(KIND(REMAP), at, PAGE, at + 8 * PAGE, server->arena_bytes));
    DOES(EINVAL, op_to(KIND(DUPLICATE), outside, PAGE, at, PAGE));
    DOES(EINVAL, op_to(KIND(DUPLICATE), at, PAGE, outside, PAGE));
    DOES(EINVAL, op_to(KIND(SPLIT_OFF), outside, PAGE, at, 0));
    DOES(EINVAL, op_to(KIND(SPLIT_OFF), at, PAGE, outside, 0));
    DOES(EINVAL, op_to(KIND(GROW), outside, PAGE, 0, 2 * PAGE));
    DOES(EINVAL, op_to(KIND(GROW), at, PAGE, 0, PAGE));
    op = op_to(KIND(GROW), at, PAGE, 0, UINT64_MAX - PAGE + 1);
    DOES(EINVAL, op);
    server_fail(server, id, ENOMEM, "that did not work");
    server_expect_end(server);
}

START_TEST(the_server_cannot_change_what_is_not_its_own)
{
    char *own = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct map_line line;
    struct server server;
    struct muse *muse;

    own[0] = 'o';
    server_start(&server, script_forbidden, own, 0);
    muse = server_connect(&server);
    ck_assert_int_eq(ask(&server, muse), -1);
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_int_eq(own[0], 'o');
    ck_assert(find_map((uintptr_t)own, &line));
    ck_assert_str_eq(line.perms, "rw-p");
    ck_assert(find_map(server.arena_start, &line));
    ck_assert_str_eq(line.perms, "---p");
    ck_assert_uint_ge(line.end, server.arena_start + server.arena_bytes);
    muse_disconnect(muse);
    server_stop(&server);
    (void)munmap(own, PAGE);
}
END_TEST

/* --- mincore --- */

static void answer_mincore(struct server *server, uint64_t addr, uint64_t length, uint8_t *pages,
                           size_t n_pages)
{
    struct frame *frame = server_read(server, FRAME_MINCORE);
    Muse__Wire__Mincore *asked =
        muse__wire__mincore__unpack(NULL, frame->n_payload, frame->payload);
    Muse__Wire__Resident answer = MUSE__WIRE__RESIDENT__INIT;

    REQUIRE(asked && asked->addr == addr && asked->length == length);
    muse__wire__mincore__free_unpacked(asked, NULL);
    answer.pages.data = pages;
    answer.pages.len = n_pages;
    server_send(server, FRAME_RESIDENT, frame->header.id, &answer, -1);
}

static void script_mincore(struct server *server)
{
    uint8_t pages[] = {1, 0, 7, 1, 1};

    server_greet(server);
    answer_mincore(server, server->arena_start, 5 * PAGE, pages, 2);
    answer_mincore(server, server->arena_start + 2 * PAGE, 3 * PAGE, pages + 2, 3);
    answer_mincore(server, server->arena_start, PAGE, pages, 2); /* more than was asked */
    server_expect_end(server);
}

START_TEST(mincore_is_asked_until_all_is_known_and_nonsense_ends_it)
{
    unsigned char vec[5] = {9, 9, 9, 9, 9};
    struct server server;
    struct muse *muse;
    char *start;

    server_start(&server, script_mincore, NULL, 0);
    muse = server_connect(&server);
    start = (char *)(uintptr_t)server.arena_start; /* NOLINT(performance-no-int-to-ptr) */
    ck_assert_int_eq(muse_mincore(muse, start, 4 * PAGE + 1, vec), 0);
    ck_assert_mem_eq(vec, ((unsigned char[]){1, 0, 0, 1, 1}), 5);
    ck_assert_int_eq(muse_mincore(muse, start, PAGE, vec), -1);
    ck_assert_int_eq(errno, EPROTO);
    muse_disconnect(muse);
    server_stop(&server);
}
END_TEST

int main(void)
{
    SRunner *runner;
    Suite *suite = suite_create("client_ops");
    TCase *tcase = tcase_create("ops");
    int n_failed;

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, existing_mappings_are_changed_as_the_server_says);
    tcase_add_test(tcase, what_others_have_mapped_in_the_arena_is_left_alone);
    tcase_add_test(tcase, the_server_cannot_change_what_is_not_its_own);
    tcase_add_test(tcase, mincore_is_asked_until_all_is_known_and_nonsense_ends_it);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed == 0 ? 0 : 1;
}
