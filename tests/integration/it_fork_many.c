/* SPDX-License-Identifier: BSD-3-Clause */
/* fork(2) of processes with many mappings, again and again, and while other threads are at work. */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "tests/support/client.h"
#include "tests/support/unit.h"

#define N_PAGES    64u
#define FILE_BYTES (60u * PAGE + 100)

static const char *const writable[] = {"muse-file --writable %s", NULL};

static struct rig rig;
static struct muse *muse;

static void begin(const char *const *drivers)
{
    rig_start(&rig, NULL, drivers);
    rig_file(&rig, "data", FILE_BYTES);
    muse = client_connect();
}

static void end(void)
{
    muse_disconnect(muse);
    rig_stop(&rig);
}

static void *map_file(size_t n_pages, int prot, int flags)
{
    void *mapped = client_map(muse, "file/data", O_RDWR, n_pages * PAGE, prot, flags);

    ck_assert_msg(mapped != MAP_FAILED, "%s", muse_last_error_text());
    return mapped;
}

/* ---- many ---- */

static void child_reads_all(void *ctx)
{
    char *const *mapped = ctx;

    for (size_t i = 0; i < 1000; i++)
        ck_assert(file_is(mapped[i], i % 30 * 2 * PAGE, PAGE));
}

START_TEST(a_thousand_mappings_are_inherited)
{
    static char *mapped[1000];
    struct muse_file *file;

    begin(writable);
    file = client_open(muse, "file/data", O_RDWR);
    for (size_t i = 0; i < 1000; i++) { /* no two of them merge */
        mapped[i] =
            muse_mmap(muse, NULL, PAGE, PROT_READ | PROT_WRITE,
                      (i & 2) != 0 ? MAP_PRIVATE : MAP_SHARED, file, (off_t)(i % 30 * 2 * PAGE));
        ck_assert_ptr_ne(mapped[i], MAP_FAILED);
    }
    client_join(client_fork(child_reads_all, mapped));
    for (size_t i = 0; i < 1000; i += 2)
        ck_assert_int_eq(muse_munmap(muse, mapped[i], PAGE), 0);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

/* More ranges than one message has room for. */
static void child_reads_many(void *ctx)
{
    char *const *mapped = ctx;

    for (size_t i = 0; i < 5000; i += 2)
        ck_assert_int_eq(*(volatile char *)mapped[i], (char)rig_byte(i % 30 * 2 * PAGE));
    for (size_t i = 1; i < 5000; i += 2)
        ck_assert_int_eq(probe_read(mapped[i]).signal, SIGSEGV);
}

START_TEST(five_thousand_mappings_with_holes_between_them_are_inherited)
{
    static char *mapped[5000];
    struct muse_file *file;

    begin(writable);
    file = client_open(muse, "file/data", O_RDONLY);
    for (size_t i = 0; i < 5000; i++) {
        mapped[i] =
            muse_mmap(muse, NULL, PAGE, PROT_READ, MAP_SHARED, file, (off_t)(i % 30 * 2 * PAGE));
        ck_assert_ptr_ne(mapped[i], MAP_FAILED);
    }
    for (size_t i = 1; i < 5000; i += 2)
        ck_assert_int_eq(muse_munmap(muse, mapped[i], PAGE), 0);
    client_join(client_fork(child_reads_many, mapped));
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

static void child_checks(void *ctx)
{
    const char *mapped = ctx;

    ck_assert(file_is(mapped, 0, 4 * PAGE));
    ck_assert(file_is(mapped + 50 * PAGE, 50 * PAGE, PAGE));
}

START_TEST(forking_a_hundred_times_leaves_nothing_behind)
{
    begin(writable);
    char *mapped = map_file(N_PAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    char *again;

    for (unsigned i = 0; i < 100; i++) {
        client_join(client_fork(child_checks, mapped));
        again = map_file(2, PROT_READ, MAP_SHARED);
        ck_assert(file_is(again, 0, 2 * PAGE));
        ck_assert_int_eq(muse_munmap(muse, again, 2 * PAGE), 0);
    }
    end();
}
END_TEST

/* ---- threads in the parent ---- */

/* Check's own lock is not for processes that fork while another thread asserts: threads use this. */
static void must(bool holds, const char *what)
{
    if (holds)
        return;
    (void)fprintf(stderr, "a thread expected: %s (%s)\n", what, muse_last_error_text());
    abort();
}

static atomic_bool is_over;

static void *map_and_unmap(void *ctx)
{
    struct muse_file *file = ctx;

    while (!atomic_load(&is_over)) {
        char *mapped =
            muse_mmap(muse, NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);

        must(mapped != MAP_FAILED, "to map");
        must(file_is(mapped, 0, PAGE), "the first page");
        mapped[3 * PAGE] = 'x';
        must(file_is(mapped + 7 * PAGE, 7 * PAGE, PAGE), "the last page");
        must(mapped[3 * PAGE] == 'x', "what it had written");
        must(muse_munmap(muse, mapped, 8 * PAGE) == 0, "to unmap");
    }
    return NULL;
}

static void *fault(void *ctx)
{
    char *mapped = ctx;
    unsigned char written = 0;

    for (unsigned page = 0; !atomic_load(&is_over); page = (page + 1) % 60) {
        must(file_is(mapped + page * PAGE + 1, page * PAGE + 1, PAGE - 1), "the page");
        mapped[page * PAGE] = (char)++written;
        must((unsigned char)mapped[page * PAGE] == written, "what it had written");
        if (page % 16 == 0)
            must(madvise(mapped, N_PAGES * PAGE, MADV_DONTNEED) == 0, "to drop pages");
    }
    return NULL;
}

static void child_of_threads(void *ctx)
{
    char *const *mapped = ctx;
    char *fresh;

    for (unsigned i = 0; i < 5; i++) {
        for (size_t page = 0; page < 60; page += 7)
            ck_assert(file_is(mapped[i] + page * PAGE + 1, page * PAGE + 1, PAGE - 1));
    }
    fresh = map_file(4, PROT_READ, MAP_SHARED);
    ck_assert(file_is(fresh, 0, 4 * PAGE));
}

START_TEST(eight_threads_fault_and_map_while_their_process_forks)
{
    struct muse_file *file;
    pthread_t threads[8];
    char *mapped[5];

    begin(writable);
    atomic_store(&is_over, false);
    file = client_open(muse, "file/data", O_RDWR);
    for (unsigned i = 0; i < 5; i++)
        mapped[i] = map_file(N_PAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, map_and_unmap, file), 0);
        ck_assert_int_eq(pthread_create(&threads[4 + i], NULL, fault, mapped[i]), 0);
    }
    for (unsigned i = 0; i < 40; i++)
        client_join(client_fork(child_of_threads, mapped));
    atomic_store(&is_over, true);
    for (unsigned i = 0; i < 8; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

static void *fork_often(void *ctx)
{
    const char *mapped = ctx;

    for (unsigned i = 0; i < 10; i++) {
        pid_t child = fork();
        int status = -1;

        if (child == 0)
            _exit(file_is(mapped, 0, 2 * PAGE) && file_is(mapped + 50 * PAGE, 50 * PAGE, PAGE) ? 0
                                                                                               : 1);
        must(child > 0 && waitpid(child, &status, 0) == child, "a child");
        must(status == 0, "a child that sees the bytes");
    }
    return NULL;
}

START_TEST(two_threads_may_fork_at_once)
{
    pthread_t threads[2];

    begin(writable);
    char *mapped = map_file(N_PAGES, PROT_READ, MAP_SHARED);

    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, fork_often, mapped), 0);
    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("fork_many");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_thousand_mappings_are_inherited);
    tcase_add_test(tcase, five_thousand_mappings_with_holes_between_them_are_inherited);
    tcase_add_test(tcase, forking_a_hundred_times_leaves_nothing_behind);
    tcase_add_test(tcase, eight_threads_fault_and_map_while_their_process_forks);
    tcase_add_test(tcase, two_threads_may_fork_at_once);
    return unit_run("fork_many", tcase);
}
