/* SPDX-License-Identifier: BSD-3-Clause */
/* mremap while something else happens: a client dies, threads touch and write, pages are written back. */
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

#include "tests/support/pair.h"
#include "tests/support/unit.h"

#define RO (PROT_READ)
#define RW (PROT_READ | PROT_WRITE)

#define MAY MREMAP_MAYMOVE
#define TO  (MREMAP_MAYMOVE | MREMAP_FIXED)

static const char *const faulty[] = {"muse-faulty", NULL};

static struct rig rig;
static struct muse *muse;

static void begin(const char *config)
{
    rig_start(&rig, config, faulty);
    muse = client_connect();
}

static void end(void)
{
    muse_disconnect(muse);
    rig_stop(&rig);
}

static char *map_private(const char *name, size_t n_pages)
{
    char *mapped = client_map(muse, name, O_RDONLY, n_pages * PAGE, RW, MAP_PRIVATE);

    ck_assert_msg(mapped != MAP_FAILED, "%s", muse_last_error_text());
    return mapped;
}

/* A range of bare addresses of the arena, far from everything. */
static char *bare(size_t n)
{
    char *first = map_private("faulty/elsewhere,ops=none", 1);

    ck_assert_int_eq(muse_munmap(muse, first, PAGE), 0);
    return first - ((size_t)1 << 30) + n * 100 * PAGE;
}

/* ---- clients that die ---- */

static void move_late(void *ctx)
{
    struct muse *own = client_connect();
    char *mapped =
        client_map(own, "faulty/x,mremap-delay-ms=400", O_RDONLY, 3 * PAGE, RW, MAP_PRIVATE);

    (void)ctx;
    (void)!muse_mremap(own, mapped, 3 * PAGE, 30 * PAGE, MAY);
    ck_abort_msg("it should be dead by now");
}

START_TEST(a_client_killed_while_the_driver_thinks_leaves_nothing)
{
    pid_t child;

    begin(NULL);
    child = client_fork(move_late, NULL);
    wait_for_counter("mremap", 1);
    client_kill(child);
    wait_for_counter("close", 2); /* the copy and the source */
    end();
}
END_TEST

static void move_for_ever(void *ctx)
{
    struct muse *own = client_connect();
    char *mapped = client_map(own, "faulty/x", O_RDONLY, 8 * PAGE, RW, MAP_PRIVATE);
    size_t n_pages = 8;

    (void)ctx;
    for (unsigned i = 0;; i++) {
        const size_t wanted = 4 + i * 7 % 20;

        *mapped = 'x';
        mapped = muse_mremap(own, mapped, n_pages * PAGE, wanted * PAGE, MAY);
        n_pages = wanted;
        (void)!muse_mprotect(own, mapped + PAGE, PAGE, i % 2 ? RO : RW);
        (void)!muse_mprotect(own, mapped, wanted * PAGE, RW);
        (void)!muse_munmap(own, mapped + 2 * PAGE, 2 * PAGE);
        (void)!muse_mmap(own, mapped + 2 * PAGE, 2 * PAGE, RW,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0);
        (void)!muse_madvise(own, mapped, wanted * PAGE, MADV_DONTNEED);
        mapped = client_map(own, "faulty/x", O_RDONLY, n_pages * PAGE, RW, MAP_PRIVATE);
    }
}

START_TEST(a_client_killed_at_any_moment_leaves_nothing)
{
    begin(NULL);
    for (unsigned i = 0; i < 40; i++) {
        const pid_t child = client_fork(move_for_ever, NULL);

        client_sleep_ms(5 + i * 13 % 40);
        client_kill(child);
    }
    end();
}
END_TEST

/* ---- what clients write ---- */

static void driver_has(const struct rig *at, const char *name, size_t offset, unsigned char byte)
{
    unsigned char found;
    char path[128];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/%s", at->data, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(fd, &found, 1, (off_t)offset), 1);
    (void)close(fd);
    ck_assert_int_eq(found, byte);
}

/* A page that was written back is protected, wherever it is by then. */
START_TEST(what_is_written_to_a_mapping_that_moves_grows_and_splits_reaches_the_driver)
{
    struct pair pair;
    struct muse_file *file;
    char *at;

    pair_begin(&pair);
    file = pair.file_rw;
    pair_map(&pair, &(struct pair_map){0, 8, RW, MAP_SHARED, true, 0});
    at = pair.ours;
    for (unsigned i = 0; i < 30; i++) {
        char *to = pair.ours + (i % 2 ? 0 : 20 * PAGE);
        const size_t page = i % 8;

        at[page * PAGE] = (char)(0x40 + i);
        if (i % 3 == 0)
            ck_assert_int_eq(muse_fsync(file), 0);
        ck_assert_ptr_eq(muse_mremap(pair.muse, at, 8 * PAGE, 8 * PAGE, TO, to), to);
        at = to;
        at[page * PAGE + 1] = (char)(0x80 + i);
        ck_assert_int_eq(muse_mprotect(pair.muse, at + page * PAGE, PAGE, RO), 0);
        ck_assert_int_eq(muse_mprotect(pair.muse, at + page * PAGE, PAGE, RW), 0);
        at[page * PAGE + 2] = (char)i;
        ck_assert_int_eq(muse_fsync(file), 0);
        driver_has(&pair.rig, "data", page * PAGE, (unsigned char)(0x40 + i));
        driver_has(&pair.rig, "data", page * PAGE + 1, (unsigned char)(0x80 + i));
        driver_has(&pair.rig, "data", page * PAGE + 2, (unsigned char)i);
    }
    ck_assert_ptr_eq(muse_mremap(pair.muse, at, 8 * PAGE, 12 * PAGE, 0), at);
    at[10 * PAGE] = 'g';
    ck_assert_ptr_eq(muse_mremap(pair.muse, at, 0, 4 * PAGE, TO, at + 14 * PAGE), at + 14 * PAGE);
    at[15 * PAGE] = 'd';
    ck_assert_int_eq(muse_fsync(file), 0);
    driver_has(&pair.rig, "data", 10 * PAGE, 'g');
    driver_has(&pair.rig, "data", PAGE, 'd');
    at[10 * PAGE] = 'G'; /* protected again by the write back */
    at[15 * PAGE] = 'D';
    ck_assert_int_eq(muse_fsync(file), 0);
    driver_has(&pair.rig, "data", 10 * PAGE, 'G');
    driver_has(&pair.rig, "data", PAGE, 'D');
    pair_end(&pair);
}
END_TEST

struct writer {
    char *at[2];
    struct muse_file *file;
    atomic_bool stop;
};

static void *syncer_main(void *ctx)
{
    struct writer *writer = ctx;

    while (!atomic_load(&writer->stop))
        (void)!muse_fsync(writer->file);
    return NULL;
}

static void *writer_main(void *ctx)
{
    struct writer *writer = ctx;

    for (unsigned i = 0; !atomic_load(&writer->stop); i++)
        (void)probe_write(writer->at[i % 2] + (i / 2 % 8) * PAGE, (unsigned char)i);
    return NULL;
}

/* Whatever was in memory when nobody writes any more is what the driver has after fsync. */
START_TEST(threads_that_write_during_moves_and_write_back_lose_nothing)
{
    struct writer writer = {.at = {NULL}};
    pthread_t threads[3];
    struct pair pair;

    pair_begin(&pair);
    pair_map(&pair, &(struct pair_map){0, 8, RW, MAP_SHARED, true, 0});
    writer.at[0] = pair.ours;
    writer.at[1] = pair.ours + 20 * PAGE;
    writer.file = pair.file_rw;
    for (unsigned round = 0; round < 40; round++) {
        atomic_store(&writer.stop, false);
        for (unsigned i = 0; i < 3; i++)
            ck_assert_int_eq(
                pthread_create(&threads[i], NULL, i < 2 ? writer_main : syncer_main, &writer), 0);
        for (unsigned i = 0; i < 20; i++) {
            char *from = writer.at[i % 2], *to = writer.at[(i + 1) % 2];

            ck_assert_ptr_eq(muse_mremap(pair.muse, from, 8 * PAGE, 8 * PAGE, TO, to), to);
        }
        atomic_store(&writer.stop, true);
        for (unsigned i = 0; i < 3; i++)
            ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_int_eq(muse_fsync(pair.file_rw), 0);
        for (size_t page = 0; page < 8; page++)
            driver_has(&pair.rig, "data", page * PAGE, (unsigned char)pair.ours[page * PAGE]);
    }
    pair_end(&pair);
}
END_TEST

/* ---- threads ---- */

struct watch {
    char *at[2];
    size_t n_pages;
    bool may_be_gone; /* SIGSEGV is what the kernel would give, too */
    atomic_bool stop;
    atomic_uint n_bad, n_looks;
};

static void *watch_main(void *ctx)
{
    struct watch *watch = ctx;

    while (!atomic_load(&watch->stop)) {
        for (size_t i = 0; i < 2 * watch->n_pages; i++) {
            const size_t page = i / 2;
            const unsigned char byte = (unsigned char)(page * 512 + 1);
            const struct probe probe = probe_read(watch->at[i % 2] + page * PAGE + 8);

            if (probe.signal == SIGSEGV && watch->may_be_gone)
                continue;
            if (probe.signal != 0 || (probe.byte != byte && probe.byte != 'n'))
                (void)atomic_fetch_add(&watch->n_bad, 1);
            (void)atomic_fetch_add(&watch->n_looks, 1);
        }
    }
    return NULL;
}

static void run_watched(struct watch *watch, void (*work)(struct watch *watch))
{
    pthread_t threads[2];

    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, watch_main, watch), 0);
    work(watch);
    atomic_store(&watch->stop, true);
    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_uint_eq(atomic_load(&watch->n_bad), 0);
    ck_assert_uint_gt(atomic_load(&watch->n_looks), 8);
}

static void move_there_and_back(struct watch *watch)
{
    for (unsigned i = 0; i < 200; i++) {
        char *from = watch->at[i % 2], *to = watch->at[(i + 1) % 2];

        ck_assert_ptr_eq(
            muse_mremap(muse, from, watch->n_pages * PAGE, watch->n_pages * PAGE, TO, to), to);
        if (i % 20 == 0)
            ck_assert_int_eq(muse_madvise(muse, to, watch->n_pages * PAGE, MADV_DONTNEED), 0);
    }
}

START_TEST(threads_that_touch_what_moves_see_its_bytes_or_sigsegv_never_zeros)
{
    struct watch watch = {.n_pages = 8, .may_be_gone = true};

    begin(NULL);
    watch.at[0] = map_private("faulty/x", watch.n_pages);
    watch.at[1] = bare(3);
    run_watched(&watch, move_there_and_back);
    end();
}
END_TEST

static void move_over(struct watch *watch)
{
    for (unsigned i = 0; i < 100; i++) {
        char *fresh = map_private(i % 2 ? "faulty/x" : "faulty/y,fault-single", 3);

        fresh[PAGE + 8] = 'n';
        ck_assert_ptr_eq(muse_mremap(muse, fresh, 3 * PAGE, 3 * PAGE, TO, watch->at[0]),
                         watch->at[0]);
    }
}

START_TEST(a_target_is_replaced_without_a_hole)
{
    struct watch watch = {.n_pages = 3};

    begin(NULL);
    watch.at[0] = watch.at[1] = map_private("faulty/x", watch.n_pages);
    run_watched(&watch, move_over);
    end();
}
END_TEST

static void grow_and_shrink(struct watch *watch)
{
    for (unsigned i = 0; i < 100; i++) {
        ck_assert_ptr_eq(muse_mremap(muse, watch->at[0], 4 * PAGE, 40 * PAGE, 0), watch->at[0]);
        ck_assert_uint_eq(faulty_word(watch->at[0], 39, 7), 39 * 512 + 7);
        ck_assert_ptr_eq(muse_mremap(muse, watch->at[0], 40 * PAGE, 4 * PAGE, 0), watch->at[0]);
    }
}

START_TEST(threads_do_not_notice_that_a_mapping_grows_and_shrinks)
{
    struct watch watch = {.n_pages = 4};

    begin(NULL);
    watch.at[0] = watch.at[1] = client_map_at(
        muse, "faulty/x", O_RDONLY, (struct client_span){bare(1), watch.n_pages * PAGE, 0}, RO,
        MAP_SHARED | MAP_FIXED);
    run_watched(&watch, grow_and_shrink);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("remap_races");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_client_killed_while_the_driver_thinks_leaves_nothing);
    tcase_add_test(tcase, a_client_killed_at_any_moment_leaves_nothing);
    tcase_add_test(tcase,
                   what_is_written_to_a_mapping_that_moves_grows_and_splits_reaches_the_driver);
    tcase_add_test(tcase, threads_that_write_during_moves_and_write_back_lose_nothing);
    tcase_add_test(tcase, threads_that_touch_what_moves_see_its_bytes_or_sigsegv_never_zeros);
    tcase_add_test(tcase, a_target_is_replaced_without_a_hole);
    tcase_add_test(tcase, threads_do_not_notice_that_a_mapping_grows_and_shrinks);
    return unit_run("remap_races", tcase);
}
