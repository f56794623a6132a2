/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What users of other pagers in user space have met, and do not meet here, as far as no other test shows
 * it: docs/semantics.md has the whole list.
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <check.h>

#include "tests/support/client.h"
#include "tests/support/unit.h"

static const char *const drivers[] = {"muse-faulty", NULL};

static struct rig rig;
static struct muse *muse;

/* ---- the server dies ---- */

struct touch {
    const char *addr;
    atomic_int tid;
    atomic_bool is_back;
};

static void *touch_main(void *arg)
{
    struct touch *touch = arg;

    atomic_store(&touch->tid, (int)gettid());
    (void)*(const volatile char *)touch->addr;
    atomic_store(&touch->is_back, true);
    return NULL;
}

/* Whether a thread of this process waits in the kernel for a page. */
static bool waits_for_a_page(pid_t tid)
{
    char path[64], where[64] = "";
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/self/task/%d/wchan", (int)tid);
    file = fopen(path, "re");
    if (!file)
        return false;
    if (!fgets(where, sizeof(where), file))
        where[0] = '\0';
    (void)fclose(file);
    return strcmp(where, "handle_userfault") == 0;
}

static void touch_after_the_end(void *ctx)
{
    const char *mapped;
    struct touch touch = {.is_back = false};
    pthread_t thread;

    (void)ctx;
    muse = client_connect();
    mapped = client_map_ro(muse, "faulty/x,fault-partial", 8);
    ck_assert_int_eq(muse_madvise(muse, (void *)(uintptr_t)mapped, 8 * PAGE, MADV_RANDOM), 0);
    ck_assert_uint_eq(faulty_word(mapped, 2, 1), 2 * 512 + 1);
    ck_assert_int_eq(kill(rig.server, SIGKILL), 0);
    errno = 0; /* until it is gone */
    while (muse_mprotect(muse, (void *)(uintptr_t)mapped, PAGE, PROT_READ) == 0)
        client_sleep_ms(1);
    ck_assert_int_eq(errno, ENOTCONN);
    ck_assert_uint_eq(faulty_word(mapped, 2, 3), 2 * 512 + 3); /* what is here stays */
    touch.addr = mapped + 5 * PAGE;
    ck_assert_int_eq(pthread_create(&thread, NULL, touch_main, &touch), 0);
    for (unsigned i = 0; !waits_for_a_page(atomic_load(&touch.tid)); i++) {
        ck_assert(!atomic_load(&touch.is_back));
        ck_assert_uint_lt(i, 5000);
        client_sleep_ms(2);
    }
    ck_assert(!atomic_load(&touch.is_back));
    _exit(0); /* the thread waits for ever */
}

START_TEST(a_thread_that_needs_a_page_of_a_dead_server_waits_and_reads_no_zeros)
{
    rig_start(&rig, NULL, drivers);
    client_join(client_fork(touch_after_the_end, NULL));
    rig_kill(&rig);
}
END_TEST

/* ---- pages are dropped under threads ---- */

#define N_PAGES 64u

struct crowd {
    const char *mapped;
    atomic_bool stop;
    atomic_uint n_bad;
    atomic_ullong n_looks;
};

static void *look_main(void *arg)
{
    struct crowd *crowd = arg;

    for (size_t page = 0; !atomic_load(&crowd->stop); page = (page + 7) % N_PAGES) {
        if (faulty_word(crowd->mapped, page, 9) != page * 512 + 9)
            (void)atomic_fetch_add(&crowd->n_bad, 1);
        (void)atomic_fetch_add(&crowd->n_looks, 1);
    }
    return NULL;
}

START_TEST(pages_dropped_again_and_again_under_threads_come_back_with_their_bytes)
{
    static const int advices[] = {MADV_DONTNEED, MADV_PAGEOUT, MADV_COLD};
    static const int types[] = {MAP_SHARED, MAP_PRIVATE};

    rig_start(&rig, NULL, drivers);
    muse = client_connect();
    for (unsigned type = 0; type < 2; type++) {
        struct crowd crowd = {.n_bad = 0};
        pthread_t threads[2];
        char *mapped =
            client_map(muse, "faulty/x,ops=none", O_RDONLY, N_PAGES * PAGE, PROT_READ, types[type]);

        crowd.mapped = mapped;
        for (unsigned i = 0; i < 2; i++)
            ck_assert_int_eq(pthread_create(&threads[i], NULL, look_main, &crowd), 0);
        for (unsigned i = 0; i < 400; i++) {
            ck_assert_int_eq(
                muse_madvise(muse, mapped + (i % 9) * PAGE, (N_PAGES - 20) * PAGE, advices[i % 3]),
                0);
            if (i % 16 == 0)
                ck_assert_int_eq(rig_ctl_status(&rig, "evict faulty/x,ops=none"), 0);
        }
        atomic_store(&crowd.stop, true);
        for (unsigned i = 0; i < 2; i++)
            ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_uint_eq(atomic_load(&crowd.n_bad), 0);
        ck_assert_uint_gt(atomic_load(&crowd.n_looks), 1000);
        ck_assert_int_eq(muse_munmap(muse, mapped, N_PAGES * PAGE), 0);
    }
    muse_disconnect(muse);
    rig_stop(&rig);
}
END_TEST

/* ---- many mappings ---- */

START_TEST(two_thousand_mappings_of_two_thousand_objects_live_side_by_side)
{
    static char *mapped[2000];

    rig_start(&rig, NULL, drivers);
    muse = client_connect();
    for (size_t i = 0; i < 2000; i++) {
        char name[64];

        (void)snprintf(name, sizeof(name), "faulty/%zu,size=4K,ops=none", i);
        mapped[i] = client_map(muse, name, O_RDONLY, PAGE, PROT_READ, MAP_SHARED);
        ck_assert_msg(mapped[i] != MAP_FAILED, "%zu: %s", i, muse_last_error_text());
    }
    for (size_t i = 0; i < 2000; i++)
        ck_assert_uint_eq(faulty_word(mapped[i], 0, 5), 5);
    muse_disconnect(muse);
    rig_stop(&rig);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("complaints");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_thread_that_needs_a_page_of_a_dead_server_waits_and_reads_no_zeros);
    tcase_add_test(tcase, pages_dropped_again_and_again_under_threads_come_back_with_their_bytes);
    tcase_add_test(tcase, two_thousand_mappings_of_two_thousand_objects_live_side_by_side);
    return unit_run("complaints", tcase);
}
