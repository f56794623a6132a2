/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fork(2) when something goes wrong: each of the processes dies at each step, limits are met, a
 * peer breaks the rules. A child that cannot take the mappings over meets SIGSEGV and ENOTCONN,
 * never zeros; the driver hears close for each open and complete; nothing stays behind.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <muse/muse.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "tests/support/client.h"
#include "tests/support/fork_point.h"
#include "tests/support/kernel.h"
#include "tests/support/raw.h"
#include "tests/support/unit.h"

#define N_PAGES  16u
#define FORK_MS  300u
#define CONFIG   "[deadlines]\nfork_ms = 300\n"
#define DONTCOPY "0x20000"
#define NOBODY   65534u

static const char *const faulty[] = {"muse-faulty", NULL};

static struct rig rig;
/* Of the process that forks: never the test's own, so that nothing but the test's children die. */
static struct muse *muse;
static char *shared, *private;
static int results[2]; /* a pipe: whoever outlives the others tells here what it saw */

static void begin(const char *config)
{
    fork_point.prepared = fork_point.parent = fork_point.child = NULL;
    ck_assert_int_eq(pipe2(results, O_CLOEXEC), 0);
    rig_start(&rig, config, faulty);
}

/* Each complete and each open has had its close. */
static bool all_are_closed(const struct rig *unused, void *arg)
{
    (void)unused;
    (void)arg;
    return rig_counter("close") == rig_counter("open") + rig_counter("complete");
}

static void end(void)
{
    rig_wait(all_are_closed, &rig, NULL, "each open and complete to have its close");
    ck_assert_uint_eq(rig_counter("in_flight"), 0);
    rig_stop(&rig);
    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(close(results[i]), 0);
}

static void expect_words(const void *mapped, size_t n_pages)
{
    for (size_t i = 1; i < n_pages * 512; i += 64) {
        if (faulty_word(mapped, i / 512, i % 512) != i)
            ck_abort_msg("word %zu is %#llx", i,
                         (unsigned long long)faulty_word(mapped, i / 512, i % 512));
    }
}

/* Two mappings, half touched, one of them with private bytes. */
static void become_client(void)
{
    muse = client_connect();
    shared =
        client_map(muse, "faulty/x", O_RDWR, N_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
    private =
        client_map(muse, "faulty/x", O_RDWR, N_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    ck_assert_ptr_ne(shared, MAP_FAILED);
    ck_assert_ptr_ne(private, MAP_FAILED);
    expect_words(shared, 1);
    private[PAGE] = 'p';
}

static void expect_alive(void)
{
    ck_assert_int_eq(private[PAGE], 'p');
    expect_words(private, N_PAGES);
    expect_words(shared, N_PAGES);
    expect_words(client_map_ro(muse, "faulty/y", 4), 4);
}

static void expect_copy(void)
{
    ck_assert_str_ne(muse_last_error_text(), "");
    for (size_t page = 0; page < N_PAGES; page++) {
        ck_assert_int_eq(probe_read(shared + page * PAGE).signal, SIGSEGV);
        ck_assert_int_eq(probe_read(private + page * PAGE).signal, SIGSEGV);
    }
    ck_assert_int_eq(muse_munmap(muse, shared, PAGE), -1);
    ck_assert_int_eq(errno, ENOTCONN);
    ck_assert_ptr_nonnull(strstr(muse_last_error_text(), "forked child"));
    muse_disconnect(muse);
}

static void expect_copy_that_can_connect(void)
{
    struct muse *own;

    expect_copy();
    own = client_connect();
    expect_words(client_map_ro(own, "faulty/x", N_PAGES), N_PAGES);
    muse_disconnect(own);
}

static void tell(char what)
{
    ck_assert_int_eq(write(results[1], &what, 1), 1);
}

static void expect_told(char what)
{
    char byte = 0;

    ck_assert_int_eq(read(results[0], &byte, 1), 1);
    ck_assert_int_eq(byte, what);
}

static void expect_killed(pid_t pid)
{
    int status = 0;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void die(void)
{
    (void)kill(getpid(), SIGKILL);
}

/* NOLINTBEGIN(bugprone-signal-handler): one test forks in a handler, as no program should */
/* A client that forks; its child runs @child. */
static void fork_and_join(void (*child)(void))
{
    pid_t pid;

    (void)fflush(NULL);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        child();
        _exit(0);
    }
    client_join(pid);
}
/* NOLINTEND(bugprone-signal-handler) */

/* ---- deaths ---- */

static void parent_dies_before(void *ctx)
{
    (void)ctx;
    become_client();
    fork_point.prepared = die;
    (void)fork();
}

START_TEST(a_parent_that_dies_before_it_forks_leaves_nothing)
{
    begin(CONFIG);
    expect_killed(client_fork(parent_dies_before, NULL));
    end();
}
END_TEST

static void parent_dies_after(void *ctx)
{
    (void)ctx;
    become_client();
    fork_point.parent = die;
    if (fork() == 0) {
        expect_alive();
        tell('a');
    }
}

START_TEST(a_parent_that_dies_as_soon_as_it_has_forked_does_not_take_the_child_with_it)
{
    begin(CONFIG);
    expect_killed(client_fork(parent_dies_after, NULL));
    expect_told('a');
    end();
}
END_TEST

static void child_dies_at_once(void *ctx)
{
    pid_t pid;

    (void)ctx;
    become_client();
    fork_point.child = die;
    pid = fork();
    expect_killed(pid);
    expect_alive();
}

START_TEST(a_child_that_dies_before_it_has_attached_leaves_nothing)
{
    begin(CONFIG);
    client_join(client_fork(child_dies_at_once, NULL));
    end();
}
END_TEST

static void child_dies_later(void *ctx)
{
    pid_t pid;

    (void)ctx;
    become_client();
    (void)fflush(NULL);
    pid = fork();
    if (pid == 0) {
        expect_alive();
        die();
    }
    expect_killed(pid);
    expect_alive();
}

START_TEST(a_child_that_dies_leaves_nothing)
{
    begin(CONFIG);
    client_join(client_fork(child_dies_later, NULL));
    end();
}
END_TEST

static void sleep_too_long(void)
{
    client_sleep_ms(3 * FORK_MS);
}

static void child_is_late(void *ctx)
{
    (void)ctx;
    become_client();
    fork_point.child = sleep_too_long;
    fork_and_join(expect_copy_that_can_connect);
    expect_alive();
}

START_TEST(a_child_that_comes_too_late_has_no_mappings)
{
    begin(CONFIG);
    client_join(client_fork(child_is_late, NULL));
    end();
}
END_TEST

static void parent_is_late(void *ctx)
{
    (void)ctx;
    become_client();
    fork_point.prepared = sleep_too_long;
    fork_and_join(expect_copy_that_can_connect);
    expect_alive();
}

START_TEST(a_parent_that_takes_too_long_has_a_child_without_mappings)
{
    begin(CONFIG);
    client_join(client_fork(parent_is_late, NULL));
    end();
}
END_TEST

static void kill_server(void)
{
    (void)kill(rig.server, SIGKILL);
}

static void server_dies(void *ctx)
{
    (void)ctx;
    become_client();
    fork_point.child = kill_server;
    fork_and_join(expect_copy);
}

START_TEST(a_child_of_a_dead_server_has_no_mappings)
{
    begin(CONFIG);
    client_join(client_fork(server_dies, NULL));
    rig_kill(&rig);
}
END_TEST

static void server_is_dead(void *ctx)
{
    (void)ctx;
    become_client();
    kill_server();
    while (muse_munmap(muse, shared, PAGE) == 0) {}
    ck_assert_int_eq(errno, ENOTCONN);
    fork_and_join(expect_copy);
}

START_TEST(a_child_of_a_client_whose_server_is_dead_has_no_mappings)
{
    begin(CONFIG);
    client_join(client_fork(server_is_dead, NULL));
    rig_kill(&rig);
}
END_TEST

/* ---- the parent goes on while the child comes ---- */

static void sleep_a_little(void)
{
    client_sleep_ms(FORK_MS / 3);
}

static void parent_disconnects(void *ctx)
{
    pid_t pid;

    (void)ctx;
    become_client();
    fork_point.child = sleep_a_little;
    (void)fflush(NULL);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        expect_alive();
        _exit(0);
    }
    private[PAGE] = 'q';
    ck_assert_int_eq(muse_munmap(muse, private, 4 * PAGE), 0);
    muse_disconnect(muse);
    client_join(pid);
}

START_TEST(what_the_parent_does_after_the_fork_does_not_change_the_child)
{
    begin(CONFIG);
    client_join(client_fork(parent_disconnects, NULL));
    end();
}
END_TEST

/* ---- refusals ---- */

static void over_the_limit(void *ctx)
{
    (void)ctx;
    become_client();
    fork_and_join(expect_copy);
    expect_alive();
}

START_TEST(a_fork_over_a_limit_gives_a_child_without_mappings)
{
    begin(CONFIG "[quota]\nvmas = 3\n");
    client_join(client_fork(over_the_limit, NULL));
    end();
}
END_TEST

/* fork(2) and its relatives fail with EAGAIN from here on. */
static void forbid_forks(void)
{
    static struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
    };
    const struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};

    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static void fork_fails(void *ctx)
{
    (void)ctx;
    become_client();
    forbid_forks();
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(fork(), -1);
        ck_assert_int_eq(errno, EAGAIN);
        expect_alive();
    }
}

START_TEST(a_fork_that_fails_changes_nothing)
{
    begin(CONFIG);
    client_join(client_fork(fork_fails, NULL));
    end();
}
END_TEST

static void unmaps_behind_the_servers_back(void *ctx)
{
    (void)ctx;
    become_client();
    ck_assert_int_eq(kernel_munmap(shared + 2 * PAGE, PAGE), 0);
    fork_and_join(expect_copy_that_can_connect);
    ck_assert_int_eq(private[PAGE], 'p');
    expect_words(private, N_PAGES);
}

START_TEST(a_client_that_unmapped_behind_the_servers_back_has_a_child_without_mappings)
{
    begin(CONFIG);
    client_join(client_fork(unmaps_behind_the_servers_back, NULL));
    end();
}
END_TEST

static void on_alarm(int number)
{
    (void)number;
    fork_and_join(expect_copy);
}

static void forks_inside_a_call(void *ctx)
{
    const struct itimerval soon = {.it_value = {.tv_usec = 50000}};

    (void)ctx;
    become_client();
    ck_assert_ptr_ne(signal(SIGALRM, on_alarm), SIG_ERR);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &soon, NULL), 0);
    expect_words(client_map_ro(muse, "faulty/y,prepare-delay-ms=200", 4), 4);
    expect_alive();
}

START_TEST(a_signal_handler_that_forks_inside_a_call_does_not_hang)
{
#ifdef __SANITIZE_THREAD__
    return; /* it stops whatever allocates in a signal handler, as the handlers of fork(3) do */
#endif
    begin(CONFIG);
    client_join(client_fork(forks_inside_a_call, NULL));
    end();
}
END_TEST

/* ---- somebody else takes the place of what is not inherited ---- */

static char *left_out;

static void take_the_place(void)
{
    char *got = kernel_mmap(left_out, PAGE, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

    if (got != left_out)
        _exit(77);
    *got = 'o';
}

static void expect_place_taken(void)
{
    expect_alive();
    for (unsigned i = 0; i < 8; i++) {
        char *mapped = client_map_ro(muse, "faulty/z", 4);

        ck_assert(mapped + 4 * PAGE <= left_out || mapped >= left_out + 4 * PAGE);
        expect_words(mapped, 4);
    }
    ck_assert_int_eq(*left_out, 'o');
    muse_disconnect(muse);
}

static void place_is_taken(void *ctx)
{
    (void)ctx;
    become_client();
    left_out = client_map_ro(muse, "faulty/x,set-flags=" DONTCOPY, 4);
    fork_point.child = take_the_place;
    fork_and_join(expect_place_taken);
    fork_point.child = NULL;
    expect_words(left_out, 4);
}

START_TEST(what_an_earlier_handler_has_mapped_into_a_hole_stays)
{
    begin(CONFIG);
    client_join(client_fork(place_is_taken, NULL));
    end();
}
END_TEST

/* ---- peers that break the rules ---- */

static void raw_begin(struct raw *raw, uint8_t *token)
{
    struct frame *frame = raw_answer(raw, FRAME_FORK_BEGUN, raw_ask(raw, FRAME_FORK_BEGIN, NULL));
    Muse__Wire__ForkBegun *begun =
        muse__wire__fork_begun__unpack(NULL, frame->n_payload, frame->payload);

    ck_assert_ptr_nonnull(begun);
    ck_assert_uint_eq(begun->token.len, FORK_TOKEN_BYTES);
    memcpy(token, begun->token.data, FORK_TOKEN_BYTES);
    muse__wire__fork_begun__free_unpacked(begun, NULL);
}

static uint64_t raw_end(struct raw *raw, bool keep)
{
    Muse__Wire__ForkEnd message = MUSE__WIRE__FORK_END__INIT;

    message.keep = keep;
    return raw_ask(raw, FRAME_FORK_END, &message.base);
}

/* Say a token on a new connection. Return: 0 attached, or the errno. */
static int raw_claim(struct raw *raw, const uint8_t *token, size_t n_bytes, const uint64_t *taken,
                     size_t n_taken)
{
    Muse__Wire__ForkAttach message = MUSE__WIRE__FORK_ATTACH__INIT;
    Muse__Wire__Failed *failed;
    struct frame *frame;
    uint8_t copy[FORK_TOKEN_BYTES]; /* the message wants to write */
    uint64_t numbers[8];
    uint64_t id;
    int error;

    raw_hello(raw, &rig);
    raw_uffd(raw);
    id = ++raw->next_id;
    for (size_t i = 0; i < n_taken; i++)
        numbers[i] = taken[i];
    memcpy(copy, token, n_bytes);
    message.token = (ProtobufCBinaryData){.len = n_bytes, .data = copy};
    message.taken = numbers;
    message.n_taken = n_taken;
    ck_assert_int_eq(chan_send(&raw->chan, FRAME_FORK_ATTACH, id, &message.base, &raw->uffd, 1), 0);
    ck_assert_int_eq(chan_recv(&raw->chan, &frame), 0);
    if (frame->header.type == FRAME_ATTACHED)
        return 0;
    ck_assert_int_eq(frame->header.type, FRAME_FAILED);
    failed = muse__wire__failed__unpack(NULL, frame->n_payload, frame->payload);
    ck_assert_ptr_nonnull(failed);
    error = (int)failed->error;
    muse__wire__failed__free_unpacked(failed, NULL);
    return error;
}

static int claim_once(const uint8_t *token, size_t n_bytes, const uint64_t *taken, size_t n_taken)
{
    struct raw raw;
    int error = raw_claim(&raw, token, n_bytes, taken, n_taken);

    raw_done(&raw);
    return error;
}

START_TEST(a_token_works_once_and_must_be_right)
{
    uint8_t token[FORK_TOKEN_BYTES], wrong[FORK_TOKEN_BYTES];
    struct raw parent, child;

    begin(CONFIG);
    raw_hello(&parent, &rig);
    raw_attach(&parent);
    raw_begin(&parent, token);
    (void)raw_answer(&parent, FRAME_DONE, raw_end(&parent, true));
    memcpy(wrong, token, sizeof(wrong));
    wrong[15] ^= 1;
    ck_assert_int_eq(claim_once(wrong, sizeof(wrong), NULL, 0), ESTALE);
    ck_assert_int_eq(claim_once(token, sizeof(token) - 1, NULL, 0), ESTALE);
    ck_assert_int_eq(claim_once(token, 0, NULL, 0), ESTALE);
    ck_assert_int_eq(raw_claim(&child, token, sizeof(token), NULL, 0), 0);
    ck_assert_int_eq(claim_once(token, sizeof(token), NULL, 0), ESTALE);
    (void)raw_open(&child, "faulty/x");
    raw_done(&child);
    raw_done(&parent);
    end();
}
END_TEST

static void claim_as_nobody(void *ctx)
{
    ck_assert_int_eq(setgroups(0, NULL), 0);
    ck_assert_int_eq(setgid(NOBODY), 0);
    ck_assert_int_eq(setuid(NOBODY), 0);
    ck_assert_int_eq(claim_once(ctx, FORK_TOKEN_BYTES, NULL, 0), ESTALE);
}

START_TEST(a_token_is_for_the_same_user_only)
{
    uint8_t token[FORK_TOKEN_BYTES];
    struct raw parent;

    if (geteuid() != 0)
        exit(77);
    begin(CONFIG);
    raw_hello(&parent, &rig);
    raw_attach(&parent);
    raw_begin(&parent, token);
    client_join(client_fork(claim_as_nobody, token));
    ck_assert_int_eq(claim_once(token, sizeof(token), NULL, 0), 0);
    raw_done(&parent);
    end();
}
END_TEST

START_TEST(ranges_that_make_no_sense_end_the_copy)
{
    static const struct {
        uint64_t numbers[4];
        size_t n;
    } wrong[] = {
        {{1}, 1},                      /* half a range */
        {{0, 4096}, 2},                /* not in the arena */
        {{8192, 4096}, 2},             /* ends before it starts */
        {{5, 4096}, 2},                /* not aligned */
        {{UINT64_MAX - 4095, 0}, 2},   /* wraps */
        {{0, UINT64_MAX & ~4095u}, 2}, /* everything */
    };

    begin(CONFIG);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        uint8_t token[FORK_TOKEN_BYTES];
        struct raw parent;

        raw_hello(&parent, &rig);
        raw_attach(&parent);
        raw_begin(&parent, token);
        ck_assert_int_eq(claim_once(token, sizeof(token), wrong[i].numbers, wrong[i].n), EINVAL);
        ck_assert_int_eq(claim_once(token, sizeof(token), NULL, 0), ESTALE);
        raw_done(&parent);
    }
    end();
}
END_TEST

START_TEST(begin_and_end_come_in_order_and_the_lock_has_a_deadline)
{
    uint8_t token[FORK_TOKEN_BYTES];
    Muse__Wire__ForkFrom from = MUSE__WIRE__FORK_FROM__INIT;
    struct raw raw;
    uint64_t file_id, map_id;

    begin(CONFIG);
    raw_hello(&raw, &rig);
    raw_attach(&raw);
    file_id = raw_open(&raw, "faulty/x");
    ck_assert_int_eq(raw_failure(&raw, raw_end(&raw, true)), ETIMEDOUT);
    ck_assert_int_eq(raw_failure(&raw, raw_ask(&raw, FRAME_FORK_RANGES, &from.base)), ETIMEDOUT);
    raw_begin(&raw, token);
    ck_assert_int_eq(raw_failure(&raw, raw_ask(&raw, FRAME_FORK_BEGIN, NULL)), EBUSY);
    (void)raw_answer(&raw, FRAME_FORK_RANGES_ARE, raw_ask(&raw, FRAME_FORK_RANGES, &from.base));
    map_id = raw_map(&raw, file_id, 0, PAGE, 0); /* waits for the lock, and gets it in the end */
    (void)raw_answer(&raw, FRAME_MEM_OPS, map_id);
    raw_ops_done(&raw, map_id, ENOMEM);
    (void)raw_answer(&raw, FRAME_MEM_OPS, map_id); /* undo */
    raw_ops_done(&raw, map_id, 0);
    ck_assert_int_eq(raw_failure(&raw, map_id), ENOMEM);
    ck_assert_int_eq(raw_failure(&raw, raw_end(&raw, true)), ETIMEDOUT);
    ck_assert_int_eq(claim_once(token, sizeof(token), NULL, 0), ESTALE);
    raw_begin(&raw, token);
    (void)raw_answer(&raw, FRAME_DONE, raw_end(&raw, false)); /* there will be no child */
    ck_assert_int_eq(claim_once(token, sizeof(token), NULL, 0), ESTALE);
    raw_done(&raw);
    wait_for_counter("abort", 1);
    end();
}
END_TEST

/* Maps a memfd of its own where it was told to map the object. */
static void map_as_told(struct raw *raw, uint64_t id)
{
    struct frame *frame = raw_answer(raw, FRAME_MEM_OPS, id);
    Muse__Wire__MemOps *ops = muse__wire__mem_ops__unpack(NULL, frame->n_payload, frame->payload);
    int fd = memfd_create("own", MFD_CLOEXEC);

    ck_assert_int_eq(ftruncate(fd, (off_t)PAGE), 0);
    ck_assert_ptr_ne(kernel_mmap((void *)(uintptr_t)ops->ops[0]->addr, PAGE, PROT_READ,
                                 MAP_SHARED | MAP_FIXED, fd, 0),
                     MAP_FAILED);
    ck_assert_int_eq(close(fd), 0);
    muse__wire__mem_ops__free_unpacked(ops, NULL);
    raw_ops_done(raw, id, 0);
    (void)raw_answer(raw, FRAME_MAPPED, id);
}

START_TEST(a_child_without_the_memory_it_claims_is_refused)
{
    uint8_t token[FORK_TOKEN_BYTES];
    struct raw parent;
    uint64_t id;

    begin(CONFIG);
    raw_hello(&parent, &rig);
    raw_attach(&parent);
    id = raw_map(&parent, raw_open(&parent, "faulty/x"), 0, PAGE, 0);
    map_as_told(&parent, id);
    raw_begin(&parent, token);
    /* this very process: its mapping belongs to another userfaultfd already */
    ck_assert_int_eq(claim_once(token, sizeof(token), NULL, 0), EBUSY);
    raw_done(&parent);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("fork_loss");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_parent_that_dies_before_it_forks_leaves_nothing);
    tcase_add_test(tcase,
                   a_parent_that_dies_as_soon_as_it_has_forked_does_not_take_the_child_with_it);
    tcase_add_test(tcase, a_child_that_dies_before_it_has_attached_leaves_nothing);
    tcase_add_test(tcase, a_child_that_dies_leaves_nothing);
    tcase_add_test(tcase, a_child_that_comes_too_late_has_no_mappings);
    tcase_add_test(tcase, a_parent_that_takes_too_long_has_a_child_without_mappings);
    tcase_add_test(tcase, a_child_of_a_dead_server_has_no_mappings);
    tcase_add_test(tcase, a_child_of_a_client_whose_server_is_dead_has_no_mappings);
    tcase_add_test(tcase, what_the_parent_does_after_the_fork_does_not_change_the_child);
    tcase_add_test(tcase, a_fork_over_a_limit_gives_a_child_without_mappings);
    tcase_add_test(tcase, a_fork_that_fails_changes_nothing);
    tcase_add_test(tcase,
                   a_client_that_unmapped_behind_the_servers_back_has_a_child_without_mappings);
    tcase_add_test(tcase, a_signal_handler_that_forks_inside_a_call_does_not_hang);
    tcase_add_test(tcase, what_an_earlier_handler_has_mapped_into_a_hole_stays);
    tcase_add_test(tcase, a_token_works_once_and_must_be_right);
    tcase_add_test(tcase, a_token_is_for_the_same_user_only);
    tcase_add_test(tcase, ranges_that_make_no_sense_end_the_copy);
    tcase_add_test(tcase, begin_and_end_come_in_order_and_the_lock_has_a_deadline);
    tcase_add_test(tcase, a_child_without_the_memory_it_claims_is_refused);
    return unit_run("fork_loss", tcase);
}
