/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pages that are there before they are touched: MAP_POPULATE, the declared actions PREFAULT, REMAP
 * and EXTENTS, the verbs of mmap_complete.
 */
#include <errno.h>
#include <muse/muse.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <check.h>

#include "tests/support/client.h"
#include "tests/support/unit.h"

#define N_PAGES 256u

static const char *const faulty[] = {"muse-faulty", NULL};
static const char *const both_modes[] = {"muse-file %s", "muse-file --name filled --mode fill %s",
                                         NULL};

static const char uid_limit[] = "[quota]\ncache_bytes = 1M\n[deadlines]\nhook_ms = 300\n";

static struct rig rig;
static struct muse *muse;

static void begin(const char *config, const char *const *drivers)
{
    rig_start(&rig, config, drivers);
    muse = client_connect();
}

static void end(void)
{
    muse_disconnect(muse);
    rig_stop(&rig);
}

static void expect_pattern(const char *mapped, size_t first_page, size_t n_pages)
{
    for (size_t i = 0; i < n_pages * 512; i++) {
        if (((const volatile uint64_t *)(const void *)mapped)[i] != first_page * 512 + i)
            ck_abort_msg("page %zu, word %zu", first_page + i / 512, i % 512);
    }
}

/* ---- MAP_POPULATE ---- */

static void populate_file(const char *name)
{
    char *mapped =
        client_map(muse, name, O_RDONLY, N_PAGES * PAGE, PROT_READ, MAP_SHARED | MAP_POPULATE);
    uint64_t n_faults;

    ck_assert_ptr_ne(mapped, MAP_FAILED);
    n_faults = rig_stat(&rig, "faults");
    ck_assert(file_is(mapped, 0, N_PAGES * PAGE));
    ck_assert_uint_eq(rig_stat(&rig, "faults"), n_faults);
    ck_assert_int_eq(muse_munmap(muse, mapped, N_PAGES * PAGE), 0);
}

START_TEST(a_populated_mapping_causes_no_fault_afterwards)
{
    begin(NULL, both_modes);
    rig_file(&rig, "data", (N_PAGES + 7) * PAGE);
    populate_file("file/data");
    populate_file("filled/data");
    end();
}
END_TEST

START_TEST(a_populated_writable_mapping_can_be_read_without_a_fault)
{
    static const char *const writable[] = {"muse-file --writable %s", NULL};
    uint64_t n_faults;

    begin(NULL, writable);
    rig_file(&rig, "data", N_PAGES * PAGE);
    char *mapped = client_map(muse, "file/data", O_RDWR, N_PAGES * PAGE, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_POPULATE);

    ck_assert_ptr_ne(mapped, MAP_FAILED);
    n_faults = rig_stat(&rig, "faults");
    ck_assert(file_is(mapped, 0, N_PAGES * PAGE));
    ck_assert_uint_eq(rig_stat(&rig, "faults"), n_faults);
    for (size_t page = 0; page < N_PAGES;
         page++) /* the kernel makes none dirty in advance either */
        mapped[page * PAGE] = 'x';
    ck_assert_uint_gt(rig_stat(&rig, "faults_write"), 0);
    end();
}
END_TEST

START_TEST(populate_that_meets_a_failing_page_maps_all_the_same)
{
    begin(NULL, faulty);
    char *mapped = client_map(muse, "faulty/x,fault-errno=5,page=3", O_RDONLY, 8 * PAGE, PROT_READ,
                              MAP_SHARED | MAP_POPULATE);

    ck_assert_ptr_ne(mapped, MAP_FAILED);
    expect_pattern(mapped, 0, 3);
    ck_assert_int_eq(probe_read(mapped + 3 * PAGE).signal, SIGBUS);
    expect_pattern(mapped + 4 * PAGE, 4, 4);
    end();
}
END_TEST

START_TEST(populate_beyond_the_end_maps_and_leaves_sigbus_there)
{
    begin(NULL, faulty);
    char *mapped = client_map(muse, "faulty/x,size=16K", O_RDONLY, 8 * PAGE, PROT_READ,
                              MAP_SHARED | MAP_POPULATE);

    ck_assert_ptr_ne(mapped, MAP_FAILED);
    expect_pattern(mapped, 0, 4);
    ck_assert_int_eq(probe_read(mapped + 4 * PAGE).signal, SIGBUS);
    mapped = client_map_at(muse, "faulty/x,size=16K", O_RDONLY,
                           (struct client_span){NULL, PAGE, (off_t)(100 * PAGE)}, PROT_READ,
                           MAP_SHARED | MAP_POPULATE);
    ck_assert_ptr_ne(mapped, MAP_FAILED);
    ck_assert_int_eq(probe_read(mapped).signal, SIGBUS);
    end();
}
END_TEST

/* ---- actions and verbs ---- */

/* Maps, reads all; how many faults that took. */
static uint64_t faults_of(const char *name, size_t n_pages, off_t offset)
{
    char *mapped =
        client_map_at(muse, name, O_RDONLY, (struct client_span){NULL, n_pages * PAGE, offset},
                      PROT_READ, MAP_SHARED);
    uint64_t n_faults;

    ck_assert_msg(mapped != MAP_FAILED, "%s: %s", name, muse_last_error_text());
    n_faults = rig_stat(&rig, "faults");
    expect_pattern(mapped, (size_t)offset / PAGE, n_pages);
    n_faults = rig_stat(&rig, "faults") - n_faults;
    ck_assert_int_eq(muse_munmap(muse, mapped, n_pages * PAGE), 0);
    return n_faults;
}

START_TEST(prefault_makes_the_pages_valid_before_the_mapping_is_returned)
{
    begin(NULL, faulty);
    ck_assert_uint_eq(faults_of("faulty/a,action=prefault=32", 32, 0), 0);
    ck_assert_uint_eq(faults_of("faulty/b,verb=prefault=32", 32, 0), 0);
    ck_assert_uint_eq(faults_of("faulty/c,action=prefault=32", 32, (off_t)(64 * PAGE)), 0);
    ck_assert_uint_gt(faults_of("faulty/d", 32, 0), 0);
    end();
}
END_TEST

START_TEST(remap_shows_the_drivers_own_memory_and_nobody_hears_of_faults)
{
    begin(NULL, faulty);
    ck_assert_uint_eq(faults_of("faulty/a,action=remap", N_PAGES, 0), 0);
    ck_assert_uint_eq(faults_of("faulty/b,action=io-remap", 16, (off_t)(7 * PAGE)), 0);
    ck_assert_uint_eq(faults_of("faulty/c,verb=remap", 16, 0), 0);
    ck_assert_uint_eq(rig_counter("fault"), 0);
    end();
}
END_TEST

START_TEST(extents_of_prepare_are_read_by_the_server)
{
    begin(NULL, faulty);
    (void)faults_of("faulty/a,action=extents", N_PAGES, 0);
    (void)faults_of("faulty/b,extents", N_PAGES, 0);
    ck_assert_uint_eq(rig_counter("fault"), 0);
    end();
}
END_TEST

static bool is_read_by_the_server(void)
{
    json_t *document = rig_ctl(&rig, "objects");
    const json_t *object = json_array_get(json_object_get(document, "objects"), 0);
    const char *source = json_string_value(json_object_get(object, "source"));
    const bool is_extents = source && strcmp(source, "extents") == 0;

    ck_assert_ptr_nonnull(source);
    json_decref(document);
    return is_extents;
}

START_TEST(extents_of_a_prepare_whose_map_fails_are_undone)
{
    static const char fails[] = "faulty/a,key=9,action=extents,complete-errno=5";
    struct muse_file *file;
    char *mapped;

    begin(NULL, faulty);
    file = client_open(muse, "faulty/b,key=9", O_RDONLY); /* keeps the object */
    ck_assert(!is_read_by_the_server());
    ck_assert_ptr_eq(client_map(muse, fails, O_RDONLY, PAGE, PROT_READ, MAP_SHARED), MAP_FAILED);
    ck_assert_int_eq(errno, EIO);
    ck_assert(!is_read_by_the_server());
    mapped = client_map_ro(muse, "faulty/b,key=9", 4);
    expect_pattern(mapped, 0, 4);
    ck_assert_uint_gt(rig_counter("fault"), 0); /* the driver was asked, as before */
    mapped = client_map_ro(muse, "faulty/c,key=9,action=extents", N_PAGES);
    ck_assert(is_read_by_the_server());
    ck_assert_ptr_eq(client_map(muse, fails, O_RDONLY, PAGE, PROT_READ, MAP_SHARED), MAP_FAILED);
    ck_assert(is_read_by_the_server()); /* the other one's map lives */
    expect_pattern(mapped, 0, N_PAGES);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

START_TEST(a_remap_of_more_than_the_mapping_fails_the_map_and_leaves_nothing)
{
    begin(NULL, faulty);
    ck_assert_ptr_eq(client_map(muse, "faulty/x,lock,action=remap-bad", O_RDONLY, 4 * PAGE,
                                PROT_READ, MAP_SHARED),
                     MAP_FAILED);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_uint_eq(rig_counter("abort"), 1);
    ck_assert_uint_eq(rig_counter("locked"), 0);
    end();
}
END_TEST

START_TEST(a_mapping_that_can_become_copy_on_write_must_be_remapped_as_a_whole)
{
    begin(NULL, faulty);
    ck_assert_ptr_eq(client_map(muse, "faulty/x,action=remap-part", O_RDWR, 4 * PAGE,
                                PROT_READ | PROT_WRITE, MAP_PRIVATE),
                     MAP_FAILED);
    ck_assert_int_eq(errno, EINVAL);
    /* a shared one may be remapped in part; the rest comes by faults */
    char *mapped =
        client_map(muse, "faulty/x,action=remap-part", O_RDWR, 4 * PAGE, PROT_READ, MAP_SHARED);

    ck_assert_msg(mapped != MAP_FAILED, "%s", strerrorname_np(errno));
    expect_pattern(mapped, 0, 4);
    end();
}
END_TEST

/* The client's kernel moves one mapping at a time, and this one would be several. */
START_TEST(what_is_remapped_in_part_is_not_moved_and_what_it_was_to_replace_stands)
{
    const struct client_span there = {.len = 4 * PAGE};
    struct client_span span = there;
    char *old, *part;

    begin(NULL, faulty);
    old = client_map_ro(muse, "faulty/old", 4);
    span.addr = old;
    ck_assert_ptr_eq(client_map_at(muse, "faulty/x,action=remap-part,ops=close", O_RDONLY, span,
                                   PROT_READ, MAP_SHARED | MAP_FIXED),
                     MAP_FAILED);
    ck_assert_int_eq(errno, EFAULT);
    ck_assert_uint_eq(rig_counter("abort"), 1);
    expect_pattern(old, 0, 4);
    part = client_map_at(muse, "faulty/x,action=remap-part,ops=close", O_RDONLY, there, PROT_READ,
                         MAP_SHARED);
    ck_assert_ptr_ne(part, MAP_FAILED);
    ck_assert_ptr_eq(
        muse_mremap(muse, part, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, old),
        MAP_FAILED);
    ck_assert_int_eq(errno, EFAULT);
    expect_pattern(old, 0, 4);
    expect_pattern(part, 0, 4);
    end();
}
END_TEST

START_TEST(a_prefault_that_fails_fails_the_map_and_leaves_no_page)
{
    begin(NULL, faulty);
    ck_assert_ptr_eq(client_map(muse,
                                "faulty/x,lock,ops=close,action=prefault=8,fault-errno=5,page=6",
                                O_RDONLY, 8 * PAGE, PROT_READ, MAP_SHARED),
                     MAP_FAILED);
    ck_assert_int_eq(errno, EIO);
    ck_assert_uint_eq(rig_counter("prepare"), 1);
    ck_assert_uint_eq(rig_counter("complete") + rig_counter("abort"), 1);
    ck_assert_uint_eq(rig_counter("locked"), 0);
    end();
}
END_TEST

START_TEST(pages_that_complete_supplies_are_there_without_a_fault_of_the_driver)
{
    const uint64_t *mapped, *again;

    begin(NULL, faulty);
    mapped = client_map_ro(muse, "faulty/a,verb=supply=4", 8);
    for (size_t i = 0; i < 4 * 512; i++)
        ck_assert_uint_eq(((const volatile uint64_t *)mapped)[i], ~(uint64_t)i);
    ck_assert_uint_eq(rig_counter("fault"), 0);
    again = client_map_ro(muse, "faulty/a,verb=supply=4", 8); /* of the object, for everybody */
    ck_assert_uint_eq(faulty_word(again, 3, 1), ~(uint64_t)(3 * 512 + 1));
    ck_assert_uint_eq(faulty_word(mapped, 5, 1), 5 * 512 + 1); /* the rest is the fault hook's */
    ck_assert_uint_gt(rig_counter("fault"), 0);
    ck_assert_ptr_eq(client_map(muse, "faulty/b,size=8K,verb=supply=4", O_RDONLY, 8 * PAGE,
                                PROT_READ, MAP_SHARED),
                     MAP_FAILED); /* beyond the object's end */
    ck_assert_int_eq(errno, EINVAL);
    end();
}
END_TEST

START_TEST(an_object_that_keeps_its_size_does_not_grow_for_a_mapping)
{
    struct muse_file *file;

    begin(NULL, faulty);
    file = client_open(muse, "faulty/a,size=16K,verb=grow=32768", O_RDONLY);
    ck_assert_ptr_eq(muse_mmap(muse, NULL, PAGE, PROT_READ, MAP_SHARED, file, 0), MAP_FAILED);
    ck_assert_int_eq(errno, EOPNOTSUPP);
    ck_assert_ptr_nonnull(strstr(muse_last_error_text(), "as large as its driver wants it"));
    ck_assert_int_eq(muse_close(file), 0);
    (void)client_map_ro(muse, "faulty/b,size=16K,verb=grow=16384", 4); /* it is that long */
    end();
}
END_TEST

START_TEST(pages_that_complete_poisons_are_sigbus_with_its_errno_and_sentence)
{
    struct muse_error why;
    char *mapped, *other;

    begin(NULL, faulty);
    mapped = client_map_ro(muse, "faulty/a,key=7,verb=poison=2", 4);
    for (size_t page = 0; page < 2; page++) {
        ck_assert_int_eq(probe_read(mapped + page * PAGE).signal, SIGBUS);
        ck_assert_int_eq(muse_error_at(muse, mapped + page * PAGE, &why), 0);
        ck_assert_int_eq(why.error, EILSEQ);
        ck_assert_str_eq(why.hook, "mmap_complete");
        ck_assert_str_eq(why.text, "poisoned as asked for");
    }
    ck_assert_uint_eq(rig_counter("fault"), 0); /* it was not asked for these */
    ck_assert_uint_eq(faulty_word(mapped, 2, 1), 2 * 512 + 1);
    ck_assert_int_eq(probe_read(mapped).signal, SIGBUS);
    other = client_map_ro(muse, "faulty/b,key=7", 4); /* another mapping asks, and gets it */
    expect_pattern(other, 0, 4);
    end();
}
END_TEST

/* ---- of a driver that a mapping was passed on to ---- */

/* Takes @n_pages of page cache that may not be evicted, until they are unmapped. */
static char *lock_pages(const char *name, size_t n_pages)
{
    char *mapped = client_map(muse, name, O_RDONLY, n_pages * PAGE, PROT_READ,
                              MAP_SHARED | MAP_LOCKED | MAP_POPULATE);

    ck_assert_ptr_ne(mapped, MAP_FAILED);
    for (size_t page = 0; page < n_pages; page++)
        ck_assert_int_eq(probe_read(mapped + page * PAGE).signal, 0);
    return mapped;
}

static const char *const stacked[] = {"muse-faulty", "muse-faulty --legacy --name outer", NULL};
static const char *const legacies[] = {"muse-faulty --legacy", "muse-faulty --legacy --name outer",
                                       NULL};

static char *map_stacked(const char *name)
{
    char *mapped = client_map(muse, name, O_RDONLY, 16 * PAGE, PROT_READ, MAP_SHARED);

    ck_assert_msg(mapped != MAP_FAILED, "%s: %s", name, strerrorname_np(errno));
    return mapped;
}

/* Return: the errno; @sentence is in what the client is told. */
static int refuse_stacked(const char *name, const char *sentence)
{
    struct muse_file *file = client_open(muse, name, O_RDONLY);
    const void *mapped = muse_mmap(muse, NULL, 16 * PAGE, PROT_READ, MAP_SHARED, file, 0);
    const int error = errno;

    ck_assert_ptr_eq(mapped, MAP_FAILED);
    ck_assert_msg(strstr(muse_last_error_text(), sentence) != NULL, "%s: %s", name,
                  muse_last_error_text());
    ck_assert_int_eq(muse_close(file), 0);
    return error;
}

START_TEST(the_verbs_of_an_inner_complete_are_carried_out)
{
    uint64_t n_faults;
    char *mapped;

    begin(NULL, stacked);
    mapped = map_stacked("outer/a,forward=faulty/verb=prefault:8");
    n_faults = rig_stat(&rig, "faults");
    expect_pattern(mapped, 0, 8);
    ck_assert_uint_eq(rig_stat(&rig, "faults"), n_faults);
    ck_assert_int_eq(muse_munmap(muse, mapped, 16 * PAGE), 0);
    mapped = map_stacked("outer/b,forward=faulty/verb=remap");
    n_faults = rig_stat(&rig, "faults");
    expect_pattern(mapped, 0, 16);
    ck_assert_uint_eq(rig_stat(&rig, "faults"), n_faults);
    ck_assert_int_eq(muse_munmap(muse, mapped, 16 * PAGE), 0);
    ck_assert_uint_eq(rig_counter("complete"), 2);
    ck_assert_uint_eq(rig_counter("close"), 2);
    end();
}
END_TEST

START_TEST(an_inner_verb_that_fails_is_followed_by_close)
{
    void *other;

    begin(uid_limit, stacked);
    other = lock_pages("faulty/other", N_PAGES); /* nothing is left of the page cache */
    ck_assert_int_eq(
        refuse_stacked("outer/a,forward=faulty/verb=prefault:8", "a page to be prefaulted"),
        EDQUOT);
    ck_assert_int_eq(muse_munmap(muse, other, N_PAGES * PAGE), 0);
    ck_assert_uint_eq(rig_counter("prepare"), 2);
    ck_assert_uint_eq(rig_counter("complete"), 2);
    ck_assert_uint_eq(rig_counter("close"), 2); /* each was closed, once */
    end();
}
END_TEST

START_TEST(an_inner_action_cannot_be_carried_out_and_is_aborted)
{
    begin(NULL, stacked);
    ck_assert_int_eq(refuse_stacked("outer/a,forward=faulty/action=prefault:8",
                                    "faulty/action=prefault:8: mmap_prepare: an action"),
                     EOPNOTSUPP);
    ck_assert_uint_eq(rig_counter("prepare"), 1);
    ck_assert_uint_eq(rig_counter("abort"), 1);
    ck_assert_uint_eq(rig_counter("complete"), 0);
    ck_assert_int_eq(refuse_stacked("outer/a,forward=nobody/x", "there is no such driver"), ENODEV);
    ck_assert_int_eq(
        refuse_stacked("outer/a,forward=faulty/prepare-errno=13",
                       "faulty/prepare-errno=13: mmap_prepare: mmap_prepare refused as asked for"),
        EACCES);
    end();
}
END_TEST

START_TEST(what_an_inner_legacy_hook_sets_is_taken)
{
    uint64_t n_faults;
    char *mapped;

    begin(NULL, legacies);
    mapped = map_stacked("outer/a,forward=faulty/private=7");
    expect_pattern(mapped, 0, 16);
    ck_assert_uint_eq(rig_counter("close"), 0);
    ck_assert_int_eq(muse_munmap(muse, mapped, 16 * PAGE), 0);
    ck_assert_uint_eq(rig_counter("close"), 1); /* its vm_ops have close */
    mapped = map_stacked("outer/b,forward=faulty/verb=prefault:8");
    n_faults = rig_stat(&rig, "faults");
    expect_pattern(mapped, 0, 8);
    ck_assert_uint_eq(rig_stat(&rig, "faults"), n_faults);
    ck_assert_int_eq(refuse_stacked("outer/c,forward=faulty/set-flags=0x2", "vm_flags"), EINVAL);
    ck_assert_uint_eq(rig_counter("close"), 2); /* it had accepted */
    ck_assert_int_eq(refuse_stacked("outer/d,forward=faulty/mmap-errno=16",
                                    "faulty/mmap-errno=16: mmap: mmap refused as asked for"),
                     EBUSY);
    ck_assert_uint_eq(rig_counter("close"), 2);
    end();
}
END_TEST

/* ---- at the limit of the page cache ---- */

static const char memory_limit[] = "[quota]\nmemory_bytes = 1M\n[deadlines]\nhook_ms = 300\n";

static void read_up_to_the_limit(const char *config, const char *names_the_limit)
{
    const size_t n_room = 256 * PAGE;
    char *buf = malloc(4 * n_room);
    struct muse_file *file;

    ck_assert_ptr_nonnull(buf);
    begin(config, both_modes);
    rig_file(&rig, "data", 4 * n_room);
    file = client_open(muse, "file/data", O_RDONLY);
    ck_assert_int_eq(muse_pread(file, buf, 4 * n_room, 0), (ssize_t)(4 * n_room)); /* by eviction */
    ck_assert(file_is(buf, 0, 4 * n_room));
    (void)lock_pages("file/data", 256);
    ck_assert_int_eq(muse_pread(file, buf, 4 * n_room, (off_t)n_room), -1);
    ck_assert_int_eq(errno, EDQUOT);
    ck_assert_msg(strstr(muse_last_error_text(), names_the_limit) != NULL, "%s",
                  muse_last_error_text());
    ck_assert_int_eq(muse_close(file), 0);
    end();
    free(buf);
}

START_TEST(pread_over_the_cache_limit_evicts_and_names_the_limit_when_nothing_may_go)
{
    read_up_to_the_limit(uid_limit, "uid 0 is at its limit, cache_bytes = 1048576");
    read_up_to_the_limit(memory_limit, "all users are at their limit, memory_bytes = 1048576");
}
END_TEST

START_TEST(populate_brings_what_there_is_room_for_and_prefault_says_what_there_is_not)
{
    struct muse_file *file;
    char *mapped;

    begin(uid_limit, faulty);
    mapped = client_map(muse, "faulty/a,size=4M", O_RDONLY, 4 * N_PAGES * PAGE, PROT_READ,
                        MAP_SHARED | MAP_POPULATE);
    ck_assert_ptr_ne(mapped, MAP_FAILED);
    expect_pattern(mapped, 0, 4 * N_PAGES);
    ck_assert_int_eq(muse_munmap(muse, mapped, 4 * N_PAGES * PAGE), 0);
    (void)lock_pages("faulty/b,action=prefault=200", N_PAGES);
    file = client_open(muse, "faulty/c,action=prefault=100", O_RDONLY);
    ck_assert_ptr_eq(muse_mmap(muse, NULL, N_PAGES * PAGE, PROT_READ, MAP_SHARED, file, 0),
                     MAP_FAILED);
    ck_assert_int_eq(errno, EDQUOT);
    ck_assert_msg(strstr(muse_last_error_text(), "cache_bytes = 1048576") != NULL, "%s",
                  muse_last_error_text());
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("populate");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_populated_mapping_causes_no_fault_afterwards);
    tcase_add_test(tcase, a_populated_writable_mapping_can_be_read_without_a_fault);
    tcase_add_test(tcase, populate_that_meets_a_failing_page_maps_all_the_same);
    tcase_add_test(tcase, populate_beyond_the_end_maps_and_leaves_sigbus_there);
    tcase_add_test(tcase, prefault_makes_the_pages_valid_before_the_mapping_is_returned);
    tcase_add_test(tcase, remap_shows_the_drivers_own_memory_and_nobody_hears_of_faults);
    tcase_add_test(tcase, extents_of_prepare_are_read_by_the_server);
    tcase_add_test(tcase, extents_of_a_prepare_whose_map_fails_are_undone);
    tcase_add_test(tcase, a_remap_of_more_than_the_mapping_fails_the_map_and_leaves_nothing);
    tcase_add_test(tcase, a_mapping_that_can_become_copy_on_write_must_be_remapped_as_a_whole);
    tcase_add_test(tcase, what_is_remapped_in_part_is_not_moved_and_what_it_was_to_replace_stands);
    tcase_add_test(tcase, a_prefault_that_fails_fails_the_map_and_leaves_no_page);
    tcase_add_test(tcase, pages_that_complete_supplies_are_there_without_a_fault_of_the_driver);
    tcase_add_test(tcase, an_object_that_keeps_its_size_does_not_grow_for_a_mapping);
    tcase_add_test(tcase, pages_that_complete_poisons_are_sigbus_with_its_errno_and_sentence);
    tcase_add_test(tcase, the_verbs_of_an_inner_complete_are_carried_out);
    tcase_add_test(tcase, an_inner_verb_that_fails_is_followed_by_close);
    tcase_add_test(tcase, an_inner_action_cannot_be_carried_out_and_is_aborted);
    tcase_add_test(tcase, what_an_inner_legacy_hook_sets_is_taken);
    tcase_add_test(tcase,
                   pread_over_the_cache_limit_evicts_and_names_the_limit_when_nothing_may_go);
    tcase_add_test(tcase,
                   populate_brings_what_there_is_room_for_and_prefault_says_what_there_is_not);
    return unit_run("populate", tcase);
}
