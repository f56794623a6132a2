/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mprotect: every row against the kernel on a plain file, partial effects included; then what the
 * driver sees, refuses, and what becomes of it all when somebody dies in the middle.
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

#include "common/base/own.h"
#include "tests/support/kernel.h"
#include "tests/support/pair.h"
#include "tests/support/unit.h"

#define RO (PROT_READ)
#define RW (PROT_READ | PROT_WRITE)
#define RX (PROT_READ | PROT_EXEC)

static const char *const faulty[] = {"muse-faulty", NULL};
static const char quick[] = "[deadlines]\nhook_ms = 300\n";

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

/* ---- against the kernel; pages of pair.c's layout ---- */

static const struct row {
    const char *name;
    size_t at, len; /* bytes */
    int prot;
} rows[] = {
    {"all of a private mapping", 0, 4 * PAGE, RO},
    {"no access", 0, 4 * PAGE, PROT_NONE},
    {"the first page", 0, PAGE, RO},
    {"the last page", 3 * PAGE, PAGE, RO},
    {"the middle", PAGE, 2 * PAGE, PROT_NONE},
    {"a length that is rounded up", PAGE, PAGE + 1, RO},
    {"no length", PAGE, 0, PROT_NONE},
    {"no length, not aligned", 8, 0, RO},
    {"no length, unknown bits", 0, 0, 0x40},
    {"not aligned", PAGE + 8, PAGE, RO},
    {"it wraps around", PAGE, SIZE_MAX - 100, RO},
    {"unknown bits", 0, PAGE, RO | 0x40},
    {"PROT_SEM", 0, PAGE, RO | 0x8},
    {"growing both ways", 0, PAGE, RO | PROT_GROWSDOWN | PROT_GROWSUP},
    {"growing down", 0, PAGE, RO | PROT_GROWSDOWN},
    {"growing up", 0, PAGE, RO | PROT_GROWSUP},
    {"growing down, nothing there", 30 * PAGE, PAGE, RO | PROT_GROWSDOWN},
    {"as it is", 0, 4 * PAGE, RW},
    {"over three mappings", 2 * PAGE, 8 * PAGE, RO},
    {"a hole at once", 12 * PAGE, 2 * PAGE, RO},
    {"a hole later", 9 * PAGE, 6 * PAGE, PROT_NONE},
    {"a hole at the end", 26 * PAGE, 8 * PAGE, RO},
    {"nothing at all", 30 * PAGE, 4 * PAGE, RO},
    {"a shared mapping of a read-only fd, write", 8 * PAGE, PAGE, RW},
    {"the same behind others that change", 6 * PAGE, 4 * PAGE, RW},
    {"the same, earlier ones stay changed", 5 * PAGE, 4 * PAGE, PROT_WRITE},
    {"the same, execute", 8 * PAGE, PAGE, RX},
    {"private of a read-only fd, write", 13 * PAGE, 3 * PAGE, RW},
    {"shared of a writable fd", 4 * PAGE, 2 * PAGE, RO},
    {"write alone", 0, PAGE, PROT_WRITE},
    {"all", 0, PAGE, RW | PROT_EXEC},
    {"anonymous", 16 * PAGE, 8 * PAGE, RO},
    {"anonymous, the middle", 17 * PAGE, PAGE, PROT_NONE},
    {"behind the end of the file", 25 * PAGE, 2 * PAGE, RO},
};

START_TEST(every_row_is_as_the_kernel_has_it)
{
    struct pair pair;

    pair_begin(&pair);
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        const struct row *row = &rows[i];
        int64_t kernel;

        pair_layout(&pair);
        kernel = pair_result(kernel_mprotect(pair.kernel + row->at, row->len, row->prot));
        pair_same(&pair, row->name, kernel,
                  pair_result(muse_mprotect(pair.muse, pair.ours + row->at, row->len, row->prot)));
        pair_compare(&pair, row->name);
        for (size_t page = 0; page < 28; page++)
            pair_write(&pair, row->name, page * PAGE + 9, (unsigned char)(page + 1));
        pair_compare(&pair, row->name);
    }
    pair_end(&pair);
}
END_TEST

START_TEST(what_was_taken_away_comes_back_with_its_bytes)
{
    struct pair pair;

    pair_begin(&pair);
    pair_layout(&pair);
    for (unsigned i = 0; i < 3; i++) {
        static const int prots[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE};

        for (size_t page = 0; page < 24; page += 3) {
            (void)!kernel_mprotect(pair.kernel + page * PAGE, 2 * PAGE, prots[i]);
            (void)!muse_mprotect(pair.muse, pair.ours + page * PAGE, 2 * PAGE, prots[i]);
        }
        pair_compare(&pair, "step by step");
    }
    pair_end(&pair);
}
END_TEST

/* ---- the driver ---- */

static uint64_t count_maps(const char *object)
{
    json_t *spaces = rig_ctl(&rig, "spaces");
    json_t *document, *map;
    char command[64];
    uint64_t n = 0;
    size_t i;

    (void)snprintf(command, sizeof(command), "maps %lld",
                   (long long)json_integer_value(
                       json_object_get(json_array_get(json_entries(spaces), 0), "id")));
    document = rig_ctl(&rig, command);
    json_array_foreach(json_entries(document), i, map)
    {
        const char *name = json_string_value(json_object_get(map, "object"));

        n += name && strcmp(name, object) == 0;
    }
    json_decref(document);
    json_decref(spaces);
    return n;
}

static char *map_private(const char *name, size_t n_pages)
{
    char *mapped = client_map(muse, name, O_RDONLY, n_pages * PAGE, RW, MAP_PRIVATE);

    ck_assert_msg(mapped != MAP_FAILED, "%s", muse_last_error_text());
    return mapped;
}

START_TEST(a_part_is_cut_out_and_without_close_becomes_whole_again)
{
    begin(NULL);
    char *mapped = map_private("faulty/x,ops=plain", 9);

    ck_assert_int_eq(muse_mprotect(muse, mapped + 3 * PAGE, 3 * PAGE, RO), 0);
    ck_assert_uint_eq(count_maps("faulty/x,ops=plain"), 3);
    ck_assert_int_eq(muse_mprotect(muse, mapped + 3 * PAGE, PAGE, RW), 0); /* moves the border */
    ck_assert_uint_eq(count_maps("faulty/x,ops=plain"), 3);
    ck_assert_int_eq(muse_mprotect(muse, mapped + 4 * PAGE, 2 * PAGE, RW), 0);
    ck_assert_uint_eq(count_maps("faulty/x,ops=plain"), 1);
    end();
}
END_TEST

START_TEST(cutting_opens_the_halves_and_close_keeps_them_apart)
{
    begin(NULL);
    char *mapped = map_private("faulty/x", 9);

    ck_assert_int_eq(muse_mprotect(muse, mapped + 3 * PAGE, 3 * PAGE, RO), 0);
    ck_assert_uint_eq(rig_counter("mprotect"), 1);
    ck_assert_uint_eq(rig_counter("split"), 2);
    ck_assert_uint_eq(rig_counter("open"), 2);
    ck_assert_int_eq(muse_mprotect(muse, mapped + 3 * PAGE, 3 * PAGE, RW), 0);
    ck_assert_uint_eq(rig_counter("mprotect"), 2);
    ck_assert_uint_eq(count_maps("faulty/x"), 3);
    ck_assert_int_eq(muse_munmap(muse, mapped, 9 * PAGE), 0);
    ck_assert_uint_eq(rig_counter("close"), 3);
    ck_assert_uint_eq(rig_counter("mismatch"), 0);
    end();
}
END_TEST

START_TEST(a_driver_that_refuses_stops_the_call_and_what_lies_before_is_changed)
{
    begin(NULL);
    char *first = map_private("faulty/x", 2);
    char *second = client_map_at(muse, "faulty/no,mprotect-errno=1", O_RDONLY,
                                 (struct client_span){first + 2 * PAGE, 2 * PAGE, 0}, RW,
                                 MAP_PRIVATE | MAP_FIXED);

    ck_assert_ptr_eq(second, first + 2 * PAGE);
    ck_assert_int_eq(muse_mprotect(muse, first, 4 * PAGE, RO), -1);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_eq(probe_write(first, 1).signal, SIGSEGV);
    ck_assert_int_eq(probe_write(second, 1).signal, 0);
    ck_assert_uint_eq(rig_counter("mprotect"), 2);
    end();
}
END_TEST

START_TEST(a_may_split_that_refuses_leaves_the_mapping_as_it_is)
{
    begin(NULL);
    char *mapped = map_private("faulty/x,split-errno=22", 4);

    ck_assert_int_eq(muse_mprotect(muse, mapped + PAGE, PAGE, RO), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(probe_write(mapped + PAGE, 1).signal, 0);
    ck_assert_uint_eq(rig_counter("open"), 0);
    ck_assert_int_eq(muse_mprotect(muse, mapped, 4 * PAGE, RO), 0); /* nothing is cut */
    ck_assert_int_eq(probe_write(mapped + PAGE, 1).signal, SIGSEGV);
    end();
}
END_TEST

START_TEST(at_the_limit_of_mappings_a_cut_is_enomem)
{
    begin("[limits]\nmax_vmas = 4\n");
    char *mapped = map_private("faulty/x", 9);

    ck_assert_int_eq(muse_mprotect(muse, mapped + PAGE, PAGE, RO), 0);
    ck_assert_int_eq(muse_mprotect(muse, mapped + 4 * PAGE, PAGE, RO), -1);
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_int_eq(probe_write(mapped + 4 * PAGE, 1).signal, 0);
    end();
}
END_TEST

START_TEST(a_driver_past_its_deadline_is_etimedout_and_nothing_changes)
{
    begin(quick);
    char *mapped = map_private("faulty/x,mprotect-delay-ms=900", 2);

    ck_assert_int_eq(muse_mprotect(muse, mapped, PAGE, RO), -1);
    ck_assert_int_eq(errno, ETIMEDOUT);
    ck_assert_int_eq(probe_write(mapped, 1).signal, 0);
    end();
}
END_TEST

START_TEST(a_driver_that_dies_in_mprotect_has_nothing_against_it)
{
    begin(NULL);
    char *mapped = map_private("faulty/x,die-in=mprotect", 2);

    (void)probe_read(mapped);
    ck_assert_int_eq(muse_mprotect(muse, mapped, PAGE, RO), 0);
    ck_assert_int_eq(probe_write(mapped, 1).signal, SIGSEGV);
    (void)wait_for_driver(&rig, "faulty", 0);
    end();
}
END_TEST

static void protect_late(void *ctx)
{
    struct muse *own = client_connect();
    char *mapped =
        client_map(own, "faulty/x,mprotect-delay-ms=400", O_RDONLY, 3 * PAGE, RW, MAP_PRIVATE);

    (void)ctx;
    (void)!muse_mprotect(own, mapped + PAGE, PAGE, RO);
    ck_abort_msg("it should be dead by now");
}

START_TEST(a_client_killed_while_the_driver_thinks_leaves_nothing)
{
    pid_t child;

    begin(NULL);
    child = client_fork(protect_late, NULL);
    wait_for_counter("mprotect", 1);
    client_kill(child);
    wait_for_counter("close", 1);
    end();
}
END_TEST

/* ---- locked private memory that becomes writable: its pages are brought in, and copied ---- */

/* Without access nothing comes when it is locked; what mlock(2) then says is not asked here. */
static char *map_locked(struct muse *own, const char *name, size_t n_pages)
{
    char *mapped = client_map(own, name, O_RDONLY, n_pages * PAGE, PROT_NONE, MAP_PRIVATE);

    ck_assert_ptr_ne(mapped, MAP_FAILED);
    (void)!muse_mlock(own, mapped, n_pages * PAGE);
    return mapped;
}

START_TEST(a_page_that_cannot_be_had_is_no_error_of_making_it_writable)
{
    begin(NULL);
    char *mapped = map_locked(muse, "faulty/x,fault-errno=5,page=1", 3);

    ck_assert_int_eq(muse_mprotect(muse, mapped, 3 * PAGE, RW), 0);
    wait_for_counter("fault", 1); /* nobody has touched it */
    ck_assert_int_eq(probe_write(mapped, 1).signal, 0);
    ck_assert_int_eq(probe_write(mapped + PAGE, 1).signal, SIGBUS);
    end();
}
END_TEST

START_TEST(a_driver_that_dies_while_copies_are_made_is_no_error_either)
{
    begin(NULL);
    char *mapped = map_locked(muse, "faulty/x,die-in=fault", 2);

    ck_assert_int_eq(muse_mprotect(muse, mapped, 2 * PAGE, RW), 0);
    ck_assert_int_eq(probe_write(mapped, 1).signal, SIGBUS);
    (void)wait_for_driver(&rig, "faulty", 0);
    end();
}
END_TEST

static void copy_for_ever(void *ctx)
{
    struct muse *own = client_connect();
    char *mapped = map_locked(own, "faulty/x,fault-delay-ms=500", 2);

    (void)ctx;
    (void)!muse_mprotect(own, mapped, 2 * PAGE, RW);
    ck_abort_msg("it should be dead by now");
}

START_TEST(a_client_killed_while_it_makes_copies_leaves_nothing)
{
    pid_t child;

    begin(NULL);
    child = client_fork(copy_for_ever, NULL);
    wait_for_counter("fault", 1);
    client_kill(child);
    wait_for_counter("close", 1);
    end();
}
END_TEST

/* ---- threads ---- */

struct reader {
    const char *mapped;
    atomic_bool stop;
    atomic_uint n_bad, n_looks;
};

static void *reader_main(void *ctx)
{
    struct reader *reader = ctx;

    while (!atomic_load(&reader->stop)) {
        for (size_t page = 0; page < 8; page++) {
            const struct probe probe = probe_read(reader->mapped + page * PAGE + 8);

            if (probe.signal != 0 || probe.byte != (unsigned char)(page * 512 + 1))
                (void)atomic_fetch_add(&reader->n_bad, 1);
            (void)atomic_fetch_add(&reader->n_looks, 1);
        }
    }
    return NULL;
}

START_TEST(threads_that_read_do_not_notice_that_writing_comes_and_goes)
{
    struct reader reader = {.n_bad = 0};
    pthread_t threads[2];

    begin(NULL);
    reader.mapped = map_private("faulty/x,fault-single", 8);
    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, reader_main, &reader), 0);
    for (unsigned i = 0; i < 300; i++) {
        ck_assert_int_eq(muse_mprotect(muse, (char *)(uintptr_t)reader.mapped + (i % 5) * PAGE,
                                       (1 + i % 3) * PAGE, i % 2 ? RO : RW),
                         0);
    }
    atomic_store(&reader.stop, true);
    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_uint_eq(atomic_load(&reader.n_bad), 0);
    ck_assert_uint_gt(atomic_load(&reader.n_looks), 8);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("protect");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, every_row_is_as_the_kernel_has_it);
    tcase_add_test(tcase, what_was_taken_away_comes_back_with_its_bytes);
    tcase_add_test(tcase, a_part_is_cut_out_and_without_close_becomes_whole_again);
    tcase_add_test(tcase, cutting_opens_the_halves_and_close_keeps_them_apart);
    tcase_add_test(tcase, a_driver_that_refuses_stops_the_call_and_what_lies_before_is_changed);
    tcase_add_test(tcase, a_may_split_that_refuses_leaves_the_mapping_as_it_is);
    tcase_add_test(tcase, at_the_limit_of_mappings_a_cut_is_enomem);
    tcase_add_test(tcase, a_driver_past_its_deadline_is_etimedout_and_nothing_changes);
    tcase_add_test(tcase, a_driver_that_dies_in_mprotect_has_nothing_against_it);
    tcase_add_test(tcase, a_client_killed_while_the_driver_thinks_leaves_nothing);
    tcase_add_test(tcase, a_page_that_cannot_be_had_is_no_error_of_making_it_writable);
    tcase_add_test(tcase, a_driver_that_dies_while_copies_are_made_is_no_error_either);
    tcase_add_test(tcase, a_client_killed_while_it_makes_copies_leaves_nothing);
    tcase_add_test(tcase, threads_that_read_do_not_notice_that_writing_comes_and_goes);
    return unit_run("protect", tcase);
}
