/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What musectl says of written pages: status, txns and audit agree on how many are dirty, objects keep
 * what was written back and what failed; nothing is held for pages that are gone; and who waits until
 * some are clean.
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <check.h>

#include "common/base/own.h"
#include "tests/support/client.h"
#include "tests/support/unit.h"

#define N_PAGES 16u

static struct rig rig;
static struct muse *muse;

/* Nothing is written back because of its age. */
static void begin(const char *driver)
{
    const char *const drivers[] = {driver, NULL};

    rig_start(&rig, "[deadlines]\nwriteback_ms = 600000\n", drivers);
    muse = client_connect();
}

static void end(void)
{
    muse_disconnect(muse);
    rig_stop(&rig);
}

static char *map_of(const char *name)
{
    char *mapped =
        client_map(muse, name, O_RDWR, N_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);

    ck_assert_ptr_ne(mapped, MAP_FAILED);
    return mapped;
}

static const char *text_of(const json_t *document, const char *key)
{
    const char *text = json_string_value(json_object_get(document, key));

    return text ? text : "";
}

static uint64_t number_of(const json_t *document, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(document, key));
}

static void expect_dirty(uint64_t n_pages, uint64_t n_objects)
{
    static const char *const commands[] = {"status", "txns", "audit"};

    for (size_t i = 0; i < N_ELEMENTS(commands); i++) {
        json_t *document = rig_ctl(&rig, commands[i]);

        ck_assert_uint_eq(number_of(document, "dirty_bytes"), n_pages * PAGE);
        ck_assert_uint_eq(number_of(document, "dirty_objects"), n_objects);
        json_decref(document);
    }
}

START_TEST(what_is_dirty_is_seen_and_audited)
{
    json_t *document, *object;

    begin("muse-faulty --register=writes");
    char *one = map_of("faulty/x,writeback-fails=1");
    char *two = map_of("faulty/y");

    expect_dirty(0, 0);
    one[0] = two[5 * PAGE] = two[9 * PAGE] = 1;
    expect_dirty(3, 2);
    ck_assert_int_eq(rig_ctl_status(&rig, "audit"), 0);
    ck_assert_int_eq(muse_msync(muse, two, N_PAGES * PAGE, MS_SYNC), 0);
    expect_dirty(1, 1);
    ck_assert_int_eq(muse_msync(muse, one, N_PAGES * PAGE, MS_SYNC), -1);
    ck_assert_int_eq(muse_msync(muse, one, N_PAGES * PAGE, MS_SYNC), 0);
    expect_dirty(0, 0);
    document = rig_ctl(&rig, "objects");
    object = json_entry(document, "name", "faulty/x,writeback-fails=1");
    ck_assert_uint_eq(number_of(object, "written_pages"), 1);
    ck_assert_uint_eq(number_of(object, "writeback_errors"), 1);
    ck_assert_uint_eq(number_of(object, "writeback_errno"), EIO);
    ck_assert_str_eq(text_of(object, "writeback_error"), "EIO");
    object = json_entry(document, "name", "faulty/y");
    ck_assert_uint_eq(number_of(object, "written_pages"), 2);
    ck_assert(json_is_null(json_object_get(object, "writeback_error")));
    json_decref(document);
    end();
}
END_TEST

static bool has_failed(const struct rig *of, void *arg)
{
    (void)arg;
    return rig_stat(of, "writeback_errors") > 0;
}

static int sync_errno(struct muse_file *file)
{
    return muse_fsync(file) < 0 ? errno : 0;
}

/* As errseq_t of Linux: a file that is opened later is told of what nobody was told of before. */
START_TEST(each_open_file_is_told_once_of_a_failing_writeback)
{
    static const char name[] = "faulty/x,writeback-fails=1";
    struct muse_file *files[4];
    struct muse *other;
    char *mapped;

    begin("muse-faulty --register=writes");
    other = client_connect();
    files[0] = client_open(muse, name, O_RDWR);
    files[1] = client_open(other, name, O_RDONLY);
    mapped = map_of(name);
    mapped[0] = 1;
    ck_assert_int_eq(muse_munmap(muse, mapped, N_PAGES * PAGE), 0); /* nobody waits for this one */
    rig_wait(has_failed, &rig, NULL, "writing back to fail");
    files[2] = client_open(muse, name, O_RDONLY);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(sync_errno(files[i]), EIO);
        ck_assert_int_eq(sync_errno(files[i]), 0);
    }
    files[3] = client_open(muse, name, O_RDWR);
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_int_eq(sync_errno(files[i]), 0);
        ck_assert_int_eq(muse_close(files[i]), 0);
    }
    muse_disconnect(other);
    end();
}
END_TEST

START_TEST(what_was_dirty_and_is_cut_off_is_not_held)
{
    struct muse_file *opened;
    char *mapped;

    begin("muse-file --writable %s");
    rig_file(&rig, "data", N_PAGES * PAGE);
    mapped = map_of("file/data");
    opened = client_open(muse, "file/data", O_RDWR);
    mapped[5 * PAGE] = mapped[9 * PAGE] = 1;
    expect_dirty(2, 1);
    ck_assert_int_eq(muse_ftruncate(opened, 5 * PAGE), 0);
    expect_dirty(0, 0);
    ck_assert_int_eq(rig_ctl_status(&rig, "audit"), 0);
    ck_assert_int_eq(muse_close(opened), 0);
    end(); /* no object is left */
}
END_TEST

START_TEST(writing_in_order_costs_a_fault_for_each_doubling)
{
    const size_t n_pages = 256;
    char *mapped;

    begin("muse-faulty --register=writes");
    mapped = client_map(muse, "faulty/x", O_RDWR, n_pages * PAGE, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_POPULATE);
    ck_assert_ptr_ne(mapped, MAP_FAILED);
    for (size_t page = 0; page < n_pages; page++)
        mapped[page * PAGE] = 1;
    ck_assert_uint_ge(rig_stat(&rig, "faults_write"), 1);
    ck_assert_uint_le(rig_stat(&rig, "faults_write"), 12); /* nine, and repeated messages */
    expect_dirty(n_pages, 1);
    end();
}
END_TEST

/* ---- a page cache that is full of dirty pages ---- */

static void *write_all(void *arg)
{
    char *mapped = arg;

    for (size_t page = 0; page < 256; page++)
        (void)probe_write(mapped + page * PAGE, 1);
    return NULL;
}

static uint64_t dirty_bytes(const struct rig *of)
{
    json_t *document = rig_ctl(of, "status");
    const uint64_t n_bytes = number_of(document, "dirty_bytes");

    json_decref(document);
    return n_bytes;
}

/* All but one page of the cache. */
#define N_BELOW 63u

static bool almost_all_is_dirty(const struct rig *of, void *arg)
{
    (void)arg;
    return dirty_bytes(of) == N_BELOW * PAGE;
}

static bool asked_again(const struct rig *of, void *arg)
{
    return rig_stat(of, "runs_fill") > *(const uint64_t *)arg;
}

static void *touch(void *arg)
{
    (void)probe_read(arg);
    return NULL;
}

static void *read_one(void *arg)
{
    char byte;

    (void)!muse_pread(arg, &byte, 1, 0);
    return NULL;
}

struct wanted {
    const char *what;
    json_t *entry; /* found: owned */
};

static bool waits_for_room(const struct rig *of, void *arg)
{
    struct wanted *wanted = arg;
    json_t *document = rig_ctl(of, "blocked");
    json_t *entries = json_object_get(document, "blocked");

    for (size_t i = 0; i < json_array_size(entries) && !wanted->entry; i++) {
        json_t *entry = json_array_get(entries, i);

        if (strcmp(text_of(entry, "what"), wanted->what) == 0 &&
            strcmp(text_of(entry, "stage"), "no-room") == 0)
            wanted->entry = json_incref(entry);
    }
    json_decref(document);
    return wanted->entry;
}

static void expect_waits_for_room(const char *what, const char *object)
{
    struct wanted wanted = {.what = what};

    rig_wait(waits_for_room, &rig, &wanted, what);
    ck_assert_str_eq(text_of(wanted.entry, "for"), "room");
    ck_assert_str_eq(text_of(wanted.entry, "object"), object);
    ck_assert_ptr_nonnull(strstr(text_of(wanted.entry, "sentence"), "the page cache is full"));
    json_decref(wanted.entry);
}

static bool all_is_dirty(const struct rig *of, void *arg)
{
    (void)arg;
    return dirty_bytes(of) == 256 << 10;
}

START_TEST(who_waits_for_room_is_seen_as_that)
{
    static const char *const drivers[] = {"muse-faulty --register=writes", NULL};
    static const char name[] = "faulty/x,writeback-never";
    pthread_t writer, reader;
    struct muse_file *other;
    char *mapped;

    rig_start(&rig, "[server]\nmemory = 256K\n[deadlines]\nhook_ms = 600000\n", drivers);
    muse = client_connect();
    mapped = client_map(muse, name, O_RDWR, 256 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
    other = client_open(muse, "faulty/y", O_RDONLY);
    ck_assert_int_eq(pthread_create(&writer, NULL, write_all, mapped), 0);
    rig_wait(all_is_dirty, &rig, NULL, "the whole page cache to be dirty");
    expect_waits_for_room("fault", name);
    ck_assert_int_eq(pthread_create(&reader, NULL, read_one, other), 0);
    expect_waits_for_room("pread", "faulty/y");
    kill_driver(&rig, "faulty"); /* all of it ends */
    ck_assert_int_eq(pthread_join(reader, NULL), 0);
    ck_assert_int_eq(pthread_join(writer, NULL), 0);
    ck_assert_int_eq(muse_close(other), 0);
    end();
}
END_TEST

START_TEST(who_waits_for_room_gets_what_was_still_filling)
{
    static const char *const drivers[] = {"muse-faulty --register=writes", NULL};
    pthread_t reader;
    uint64_t n_runs;
    char *mapped, *slow, *last;

    rig_start(&rig, "[server]\nmemory = 256K\n[deadlines]\nhook_ms = 600000\n", drivers);
    muse = client_connect();
    mapped = client_map(muse, "faulty/x,size=252K,writeback-never", O_RDWR, N_BELOW * PAGE,
                        PROT_READ | PROT_WRITE, MAP_SHARED);
    slow = client_map(muse, "faulty/slow,size=4K,fault-delay-ms=1500", O_RDONLY, PAGE, PROT_READ,
                      MAP_SHARED);
    last = client_map(muse, "faulty/last,size=4K", O_RDONLY, PAGE, PROT_READ, MAP_SHARED);
    for (size_t page = 0; page < N_BELOW; page++)
        ck_assert_int_eq(probe_write(mapped + page * PAGE, 1).signal, 0);
    rig_wait(almost_all_is_dirty, &rig, NULL, "all but a page to be dirty");
    n_runs = rig_stat(&rig, "runs_fill");
    ck_assert_int_eq(pthread_create(&reader, NULL, touch, slow), 0);
    rig_wait(asked_again, &rig, &n_runs, "the last free page to be filling");
    ck_assert_int_eq(probe_read(last).signal, 0); /* not only after the hook deadline */
    ck_assert_int_eq(pthread_join(reader, NULL), 0);
    kill_driver(&rig, "faulty");
    end();
}
END_TEST

START_TEST(who_finds_all_of_it_filling_waits_for_one_of_them)
{
    static const char *const drivers[] = {"muse-faulty", NULL};
    pthread_t readers[4];
    uint64_t n_runs;
    char name[64];
    char *mapped;

    rig_start(&rig, "[server]\nmemory = 16K\n[deadlines]\nhook_ms = 600000\n", drivers);
    muse = client_connect();
    n_runs = rig_stat(&rig, "runs_fill");
    for (unsigned i = 0; i < N_ELEMENTS(readers); i++, n_runs++) {
        (void)snprintf(name, sizeof(name), "faulty/%u,size=4K,fault-delay-ms=1500", i);
        mapped = client_map_ro(muse, name, 1);
        ck_assert_int_eq(pthread_create(&readers[i], NULL, touch, mapped), 0);
        rig_wait(asked_again, &rig, &n_runs, "a page to be filling");
    }
    mapped = client_map_ro(muse, "faulty/last,size=4K", 1);
    ck_assert_int_eq(probe_read(mapped).signal, 0);
    for (unsigned i = 0; i < N_ELEMENTS(readers); i++)
        ck_assert_int_eq(pthread_join(readers[i], NULL), 0);
    ck_assert_uint_eq(rig_stat(&rig, "faults_poisoned"), 0);
    end();
}
END_TEST

START_TEST(a_driver_that_dies_in_page_mkwrite_has_nothing_against_the_write)
{
    struct probe probe;
    char *mapped;

    begin("muse-faulty --register=writes");
    mapped = map_of("faulty/x,ops=mkwrite,die-in=mkwrite");
    ck_assert_uint_eq(faulty_word(mapped, 2, 0), 2 * 512);
    probe = probe_write(mapped + 2 * PAGE, 7);
    ck_assert_int_eq(probe.signal, 0);
    ck_assert_int_eq(mapped[2 * PAGE], 7);
    ck_assert_int_eq(muse_msync(muse, mapped, N_PAGES * PAGE, MS_SYNC), -1);
    ck_assert_int_eq(errno, EIO);
    mapped[3 * PAGE] = 8; /* and nobody is left to be asked */
    ck_assert_int_eq(mapped[3 * PAGE], 8);
    ck_assert_uint_eq(rig_stat(&rig, "faults_poisoned"), 0);
    ck_assert_int_ne(wait_for_driver(&rig, "faulty", 0), 0);
    end();
}
END_TEST

START_TEST(a_driver_without_writeback_keeps_nothing_and_is_not_asked)
{
    struct muse_file *file;
    char byte = 0;

    begin("muse-faulty");
    file = client_open(muse, "faulty/x", O_RDWR);
    ck_assert_int_eq(muse_pwrite(file, "hello", 5, 3 * PAGE), 5);
    ck_assert_int_eq(muse_pread(file, &byte, 1, 3 * PAGE), 1);
    ck_assert_int_eq(byte, 'h');
    ck_assert_int_eq(muse_fsync(file), 0);
    ck_assert_uint_eq(rig_stat(&rig, "runs_writeback"), 0);
    ck_assert_int_eq(rig_ctl_status(&rig, "audit"), 0);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("dirty");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, what_is_dirty_is_seen_and_audited);
    tcase_add_test(tcase, each_open_file_is_told_once_of_a_failing_writeback);
    tcase_add_test(tcase, what_was_dirty_and_is_cut_off_is_not_held);
    tcase_add_test(tcase, writing_in_order_costs_a_fault_for_each_doubling);
    tcase_add_test(tcase, who_waits_for_room_is_seen_as_that);
    tcase_add_test(tcase, who_waits_for_room_gets_what_was_still_filling);
    tcase_add_test(tcase, who_finds_all_of_it_filling_waits_for_one_of_them);
    tcase_add_test(tcase, a_driver_that_dies_in_page_mkwrite_has_nothing_against_the_write);
    tcase_add_test(tcase, a_driver_without_writeback_keeps_nothing_and_is_not_asked);
    return unit_run("dirty", tcase);
}
