/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MAP_FIXED over what is there, partial munmap, splits and merges: what the client reads at every
 * moment, and which vm operations the driver sees. A refused call changes nothing.
 */
#include <errno.h>
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

#define SHIFT ((size_t)100) /* pages: the new contents are those from there on */
#define OWN   UINT64_C(0x1111111111111111)

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

static uint64_t *map_private(const char *name, size_t n_pages)
{
    uint64_t *mapped =
        client_map(muse, name, O_RDONLY, n_pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);

    ck_assert_ptr_ne(mapped, MAP_FAILED);
    return mapped;
}

/* Map @n_pages of another object over @addr. Return: 0; errno. */
static int replace(const char *name, void *addr, size_t n_pages, size_t pgoff)
{
    void *mapped = client_map_at(muse, name, O_RDONLY,
                                 (struct client_span){addr, n_pages * PAGE, (off_t)(pgoff * PAGE)},
                                 PROT_READ, MAP_SHARED | MAP_FIXED);

    if (mapped == MAP_FAILED)
        return errno;
    ck_assert_ptr_eq(mapped, addr);
    return 0;
}

/* ---- refused ---- */

static void refused_by(const char *name, int error)
{
    uint64_t *mapped = map_private("faulty/old,ops=close", 8);
    const uint64_t n_closes = rig_counter("close");

    for (size_t page = 2; page < 6; page++)
        mapped[page * 512 + 7] = OWN; /* pages 6 and 7 were never touched, 0 and 1 only read */
    ck_assert_uint_eq(faulty_word(mapped, 0, 7), 7);
    ck_assert_int_eq(replace(name, mapped + 3 * 512, 4, 0), error);
    ck_assert_uint_eq(rig_counter("close") - n_closes,
                      strstr(name, "complete") ? 1 : 0); /* the part that failed, not the old one */
    for (size_t page = 0; page < 8; page++) {
        ck_assert_uint_eq(faulty_word(mapped, page, 7),
                          page >= 2 && page < 6 ? OWN : page * 512 + 7);
        ck_assert_uint_eq(faulty_word(mapped, page, 8), page * 512 + 8);
    }
    mapped[4 * 512] = 1; /* still writable, still private */
    ck_assert_int_eq(muse_munmap(muse, mapped, 8 * PAGE), 0);
}

START_TEST(a_refused_map_fixed_leaves_the_old_mapping_with_its_private_changes)
{
    begin("[deadlines]\nhook_ms = 300\n");
    refused_by("faulty/a,ops=close,lock,prepare-errno=13", EACCES);
    refused_by("faulty/b,ops=close,lock,set-flags=0x2", EINVAL);
    refused_by("faulty/c,ops=close,lock,complete-errno=11", EAGAIN);
    refused_by("faulty/d,ops=close,lock,action=remap-bad", EINVAL);
    refused_by("faulty/e,ops=close,lock,action=prefault=4,fault-errno=5,page=2", EIO);
    ck_assert_uint_eq(rig_counter("locked"), 0);
    end();
}
END_TEST

START_TEST(a_map_fixed_past_its_deadline_leaves_the_old_mapping)
{
    begin("[deadlines]\nhook_ms = 300\n");
    refused_by("faulty/a,ops=plain,prepare-delay-ms=700", ETIMEDOUT);
    while (rig_counter("abort") == 0)
        client_sleep_ms(5);
    end();
}
END_TEST

START_TEST(a_driver_that_dies_in_a_map_fixed_leaves_the_old_mapping_of_another)
{
    static const char *const drivers[] = {"muse-faulty", "muse-faulty --name other", NULL};
    uint64_t *mapped;

    rig_start(&rig, NULL, drivers);
    muse = client_connect();
    mapped = map_private("other/old", 8);
    mapped[3 * 512] = OWN;
    ck_assert_int_eq(replace("faulty/x,die-in=prepare", mapped + 2 * 512, 4, 0), EIO);
    (void)wait_for_driver(&rig, "faulty", 0);
    ck_assert_int_eq(replace("faulty/x,die-in=complete", mapped + 2 * 512, 4, 0), EIO);
    (void)wait_for_driver(&rig, "faulty", 0);
    ck_assert_uint_eq(faulty_word(mapped, 3, 0), OWN);
    ck_assert_uint_eq(faulty_word(mapped, 5, 1), 5 * 512 + 1);
    end();
}
END_TEST

START_TEST(kernel_v1_destroys_the_old_mapping_before_prepare_may_refuse)
{
    begin("[server]\ncontract = kernel-v1\n");
    uint64_t *mapped = map_private("faulty/old,ops=close", 8);

    mapped[3 * 512] = OWN;
    ck_assert_int_eq(replace("faulty/a,prepare-errno=13", mapped + 2 * 512, 4, 0), EACCES);
    ck_assert_int_eq(probe_read(mapped + 3 * 512).signal, SIGSEGV);
    ck_assert_uint_eq(faulty_word(mapped, 1, 1), 513);
    ck_assert_uint_eq(faulty_word(mapped, 6, 1), 6 * 512 + 1);
    end();
}
END_TEST

/* ---- replaced ---- */

START_TEST(a_map_fixed_replaces_exactly_its_range)
{
    begin(NULL);
    uint64_t *mapped = map_private("faulty/old", 8);

    for (size_t page = 0; page < 8; page++)
        mapped[page * 512 + 7] = OWN;
    ck_assert_int_eq(replace("faulty/new", mapped + 3 * 512, 2, SHIFT), 0);
    for (size_t page = 0; page < 8; page++) {
        const bool is_new = page == 3 || page == 4;

        ck_assert_uint_eq(faulty_word(mapped, page, 7),
                          is_new ? (page - 3 + SHIFT) * 512 + 7 : OWN);
    }
    ck_assert_int_eq(probe_write(mapped + 3 * 512, 1).signal, SIGSEGV); /* the new one's rights */
    ck_assert_int_eq(probe_write(mapped + 5 * 512, 1).signal, 0);
    ck_assert_int_eq(muse_munmap(muse, mapped, 8 * PAGE), 0);
    ck_assert_uint_eq(rig_counter("close"), rig_counter("open") + 2);
    end();
}
END_TEST

START_TEST(a_map_fixed_over_several_mappings_and_holes_closes_each)
{
    begin(NULL);
    uint64_t *mapped = map_private("faulty/a,ops=close", 12);

    ck_assert_int_eq(muse_munmap(muse, mapped + 2 * 512, 2 * PAGE), 0);
    ck_assert_int_eq(replace("faulty/b,ops=close", mapped + 5 * 512, 2, 0), 0);
    ck_assert_int_eq(replace("faulty/c,ops=close", mapped, 12, SHIFT), 0);
    for (size_t page = 0; page < 12; page++)
        ck_assert_uint_eq(faulty_word(mapped, page, 1), (page + SHIFT) * 512 + 1);
    ck_assert_int_eq(muse_munmap(muse, mapped, 12 * PAGE), 0);
    ck_assert_uint_eq(rig_counter("complete"), 3);
    end();
}
END_TEST

struct watch {
    uint64_t *mapped;
    size_t n_pages;
    atomic_bool stop;
    atomic_ullong n_looks;
    atomic_uint n_bad;
    _Atomic(uint64_t) bad_word;
    atomic_int signal;
};

/* Reads all the time: each word is the old or the new one, and no access fails. */
static void *watch_main(void *arg)
{
    struct watch *watch = arg;

    while (!atomic_load(&watch->stop)) {
        for (size_t page = 0; page < watch->n_pages; page++) {
            const void *addr = watch->mapped + page * 512 + 7;
            const struct probe probe = probe_read(addr);
            const uint64_t word = probe.signal ? 0 : faulty_word(watch->mapped, page, 7);
            const uint64_t old = page * 512 + 7;

            if (probe.signal)
                atomic_store(&watch->signal, probe.signal);
            if (word != old && word != old + SHIFT * 512) {
                atomic_store(&watch->bad_word, word);
                (void)atomic_fetch_add(&watch->n_bad, 1);
            }
            (void)atomic_fetch_add(&watch->n_looks, 1);
        }
    }
    return NULL;
}

START_TEST(threads_that_read_during_replacement_see_the_old_or_the_new_bytes_and_no_signal)
{
    struct watch watch = {.n_pages = 16};
    pthread_t threads[3];

    begin(NULL);
    watch.mapped = client_map_ro(muse, "faulty/old", 16);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, watch_main, &watch), 0);
    for (unsigned i = 0; i < 60; i++) {
        uint64_t *at = watch.mapped + (i % 5) * 512;

        ck_assert_int_eq(replace("faulty/new", at, 11, i % 5 + SHIFT), 0);
        ck_assert_int_eq(replace("faulty/no,complete-errno=11", at, 11, 0), EAGAIN);
        ck_assert_int_eq(replace("faulty/old", watch.mapped, 16, 0), 0);
    }
    atomic_store(&watch.stop, true);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_int_eq(atomic_load(&watch.signal), 0);
    ck_assert_msg(atomic_load(&watch.n_bad) == 0, "%u bad words of %llu, as %#llx",
                  atomic_load(&watch.n_bad), atomic_load(&watch.n_looks),
                  (unsigned long long)atomic_load(&watch.bad_word));
    ck_assert_uint_gt(atomic_load(&watch.n_looks), 100);
    end();
}
END_TEST

struct toucher {
    const char *mapped;
    size_t n_pages;
    atomic_bool stop;
    atomic_int signal;
    atomic_ullong n_looks;
};

static void *toucher_main(void *arg)
{
    struct toucher *toucher = arg;

    while (!atomic_load(&toucher->stop)) {
        for (size_t page = 0; page < toucher->n_pages; page++) {
            const struct probe probe = probe_read(toucher->mapped + page * PAGE);

            if (probe.signal)
                atomic_store(&toucher->signal, probe.signal);
            (void)atomic_fetch_add(&toucher->n_looks, 1);
        }
    }
    return NULL;
}

/* Memory and a file take turns at @at, while two threads read there. */
static void replace_under_threads(char *at)
{
    struct toucher toucher = {.mapped = at, .n_pages = 8};
    pthread_t threads[2];

    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, toucher_main, &toucher), 0);
    for (unsigned i = 0; i < 100; i++) {
        ck_assert_int_eq(replace("faulty/x,ops=none", at, 8, 0), 0);
        ck_assert_ptr_eq(muse_mmap(muse, at, 8 * PAGE, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0),
                         at);
    }
    atomic_store(&toucher.stop, true);
    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_int_eq(atomic_load(&toucher.signal), 0);
    ck_assert_uint_gt(atomic_load(&toucher.n_looks), 100);
}

START_TEST(threads_find_something_mapped_whatever_replaces_what_and_where)
{
    begin(NULL);
    char *own = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    ck_assert_ptr_ne(own, MAP_FAILED);
    replace_under_threads(client_map_ro(muse, "faulty/old", 8));
    replace_under_threads(own);
    ck_assert_int_eq(muse_munmap(muse, own, 8 * PAGE), 0);
    end();
}
END_TEST

START_TEST(memory_outside_the_arena_is_replaced_and_given_back)
{
    begin(NULL);
    char *own = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    ck_assert_ptr_ne(own, MAP_FAILED);
    memset(own, 'o', 8 * PAGE);
    ck_assert_int_eq(replace("faulty/x", own + 2 * PAGE, 4, SHIFT), 0);
    ck_assert_uint_eq(faulty_word(own + 2 * PAGE, 3, 1), (3 + SHIFT) * 512 + 1);
    ck_assert_int_eq(own[PAGE], 'o');
    ck_assert_int_eq(own[6 * PAGE], 'o');
    ck_assert_int_eq(muse_munmap(muse, own + 3 * PAGE, PAGE), 0);
    ck_assert_int_eq(probe_read(own + 3 * PAGE).signal, SIGSEGV);
    ck_assert_uint_eq(faulty_word(own + 2 * PAGE, 2, 1), (2 + SHIFT) * 512 + 1);
    ck_assert_int_eq(muse_munmap(muse, own + 2 * PAGE, 4 * PAGE), 0);
    ck_assert_int_eq(probe_read(own + 5 * PAGE).signal, SIGSEGV);
    ck_assert_int_eq(own[6 * PAGE], 'o');
    ck_assert_int_eq(munmap(own, 8 * PAGE), 0);
    end();
}
END_TEST

START_TEST(a_refused_map_fixed_outside_the_arena_leaves_what_was_there)
{
    begin(NULL);
    char *own = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    ck_assert_ptr_ne(own, MAP_FAILED);
    memset(own, 'o', 4 * PAGE);
    ck_assert_int_eq(replace("faulty/x,prepare-errno=13", own + PAGE, 2, 0), EACCES);
    ck_assert_int_eq(own[PAGE], 'o');
    ck_assert_int_eq(replace("faulty/y,complete-errno=11", own + PAGE, 2, 0), EAGAIN);
    ck_assert_int_eq(own[PAGE], 'o');
    ck_assert_int_eq(own[2 * PAGE + 5], 'o');
    ck_assert_int_eq(munmap(own, 4 * PAGE), 0);
    end();
}
END_TEST

/* ---- parts ---- */

static size_t count_maps(void)
{
    json_t *spaces = rig_ctl(&rig, "spaces");
    size_t n = (size_t)json_integer_value(
        json_object_get(json_array_get(json_entries(spaces), 0), "vmas"));

    json_decref(spaces);
    return n;
}

START_TEST(unmapping_the_middle_makes_two_and_each_is_closed_once)
{
    begin(NULL);
    char *mapped = client_map_ro(muse, "faulty/x", 9);

    ck_assert_uint_eq(faulty_word(mapped, 4, 1), 4 * 512 + 1);
    ck_assert_int_eq(muse_munmap(muse, mapped + 3 * PAGE, 3 * PAGE), 0);
    ck_assert_uint_eq(count_maps(), 2);
    ck_assert_uint_ge(rig_counter("split"), 1);
    ck_assert_uint_eq(rig_counter("open"), rig_counter("close") + 1);
    for (size_t page = 0; page < 9; page++) {
        if (page >= 3 && page < 6)
            ck_assert_int_eq(probe_read(mapped + page * PAGE).signal, SIGSEGV);
        else
            ck_assert_uint_eq(faulty_word(mapped, page, 1), page * 512 + 1);
    }
    ck_assert_int_eq(muse_munmap(muse, mapped, 9 * PAGE), 0);
    ck_assert_uint_eq(rig_counter("close"), rig_counter("open") + 1);
    ck_assert_int_eq(muse_munmap(muse, mapped, 9 * PAGE), 0); /* nothing there: fine */
    end();
}
END_TEST

START_TEST(unmapping_head_and_tail_keeps_the_rest)
{
    begin(NULL);
    char *mapped = client_map_ro(muse, "faulty/x", 9);

    ck_assert_int_eq(muse_munmap(muse, mapped, 2 * PAGE), 0);
    ck_assert_int_eq(muse_munmap(muse, mapped + 7 * PAGE, 2 * PAGE - 5), 0); /* rounded up */
    ck_assert_uint_eq(count_maps(), 1);
    ck_assert_int_eq(probe_read(mapped + PAGE).signal, SIGSEGV);
    ck_assert_int_eq(probe_read(mapped + 8 * PAGE).signal, SIGSEGV);
    for (size_t page = 2; page < 7; page++)
        ck_assert_uint_eq(faulty_word(mapped, page, 1), page * 512 + 1);
    ck_assert_uint_eq(rig_counter("open"), rig_counter("close"));
    ck_assert_int_eq(muse_munmap(muse, mapped + 2 * PAGE, 5 * PAGE), 0);
    ck_assert_uint_eq(rig_counter("close"), rig_counter("open") + 1);
    end();
}
END_TEST

START_TEST(a_driver_that_refuses_to_split_keeps_its_mapping_whole)
{
    begin(NULL);
    char *mapped = client_map_ro(muse, "faulty/x,split-errno=16", 8);

    ck_assert_int_eq(muse_munmap(muse, mapped + 2 * PAGE, 2 * PAGE), -1);
    ck_assert_int_eq(errno, EBUSY);
    ck_assert_int_eq(muse_munmap(muse, mapped, 2 * PAGE), -1);
    ck_assert_int_eq(errno, EBUSY);
    ck_assert_int_eq(replace("faulty/y", mapped + 2 * PAGE, 2, SHIFT), EBUSY);
    ck_assert_uint_eq(count_maps(), 1);
    for (size_t page = 0; page < 8; page++)
        ck_assert_uint_eq(faulty_word(mapped, page, 1), page * 512 + 1);
    ck_assert_uint_eq(rig_counter("open") + rig_counter("close"), 0);
    ck_assert_int_eq(replace("faulty/y,ops=plain", mapped, 8, SHIFT), 0); /* no edge: no split */
    ck_assert_uint_eq(faulty_word(mapped, 7, 1), (7 + SHIFT) * 512 + 1);
    ck_assert_uint_eq(rig_counter("close"), 1);
    end();
}
END_TEST

/* Maps page @pgoff of @file at @base + @pgoff pages. */
static void map_page(struct muse_file *file, char *base, size_t pgoff)
{
    char *wanted = base + pgoff * PAGE;

    ck_assert_ptr_eq(muse_mmap(muse, wanted, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE,
                               file, (off_t)(pgoff * PAGE)),
                     wanted);
}

START_TEST(neighbours_of_one_file_merge_and_close_once_for_each_that_is_left)
{
    struct muse_file *file;

    begin(NULL);
    file = client_open(muse, "faulty/x,ops=close", O_RDONLY);
    char *base = muse_mmap(muse, NULL, 8 * PAGE, PROT_READ, MAP_SHARED, file, 0);

    ck_assert_ptr_ne(base, MAP_FAILED);
    ck_assert_int_eq(muse_munmap(muse, base, 8 * PAGE), 0);
    for (size_t i = 0; i < 4; i++) /* to the right, each extends the one before */
        map_page(file, base, i);
    ck_assert_uint_eq(count_maps(), 1);
    ck_assert_uint_eq(rig_stat(&rig, "merges"), 3);
    map_page(file, base, 7);
    map_page(file, base, 6); /* to the left */
    ck_assert_uint_eq(count_maps(), 2);
    ck_assert_uint_eq(rig_counter("close"), 1);
    for (size_t page = 0; page < 8; page++) {
        if (page != 4 && page != 5)
            ck_assert_uint_eq(faulty_word(base, page, 1), page * 512 + 1);
    }
    ck_assert_int_eq(muse_munmap(muse, base, 8 * PAGE), 0);
    ck_assert_uint_eq(rig_counter("close"), 3);
    ck_assert_uint_eq(rig_counter("prepare"), rig_counter("complete"));
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

START_TEST(neighbours_that_differ_in_file_offset_or_private_data_do_not_merge)
{
    begin(NULL);
    char *base = client_map_ro(muse, "faulty/a,ops=plain,key=1", 8);

    ck_assert_int_eq(muse_munmap(muse, base, 8 * PAGE), 0);
    struct muse_file *one = client_open(muse, "faulty/a,ops=plain,key=1", O_RDONLY);
    struct muse_file *two = client_open(muse, "faulty/b,ops=plain,key=1,private=5", O_RDONLY);

    map_page(one, base, 0);
    map_page(two, base, 1); /* another open file */
    ck_assert_ptr_eq(
        muse_mmap(muse, base + 2 * PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, two, 0),
        base + 2 * PAGE); /* an offset that does not continue */
    ck_assert_ptr_eq(muse_mmap(muse, base + 3 * PAGE, PAGE, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_FIXED_NOREPLACE, two, (off_t)PAGE),
                     base + 3 * PAGE); /* other rights */
    ck_assert_uint_eq(count_maps(), 4);
    ck_assert_uint_eq(rig_stat(&rig, "merges"), 0);
    ck_assert_uint_eq(faulty_word(base, 1, 1), 513);
    ck_assert_uint_eq(faulty_word(base, 2, 1), 1);
    ck_assert_int_eq(muse_close(one), 0);
    ck_assert_int_eq(muse_close(two), 0);
    end();
}
END_TEST

START_TEST(hints_are_followed_where_free_and_noreplace_never_replaces)
{
    begin(NULL);
    char *first = client_map_ro(muse, "faulty/a,ops=plain", 4);
    char *hint = first - 64 * PAGE;
    char *got = client_map_at(muse, "faulty/b", O_RDONLY, (struct client_span){hint, PAGE, 0},
                              PROT_READ, MAP_SHARED);

    ck_assert_ptr_eq(got, hint);
    got = client_map_at(muse, "faulty/b", O_RDONLY, (struct client_span){hint, PAGE, 0}, PROT_READ,
                        MAP_SHARED);
    ck_assert_ptr_ne(got, MAP_FAILED); /* taken: somewhere else */
    ck_assert_ptr_ne(got, hint);
    got = client_map_at(muse, "faulty/b", O_RDONLY, (struct client_span){hint - PAGE, 2 * PAGE, 0},
                        PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE);
    ck_assert_ptr_eq(got, MAP_FAILED);
    ck_assert_int_eq(errno, EEXIST);
    ck_assert_uint_eq(faulty_word(hint, 0, 5), 5);
    end();
}
END_TEST

/* ---- who it was ---- */

/* A line of the server's log that has all of @words (NULL-terminated). */
static bool is_logged(const char *const *words)
{
    char path[128], line[2048];
    bool found = false;
    FILE *log;

    (void)snprintf(path, sizeof(path), "%s/log", rig.dir);
    log = fopen(path, "re");
    ck_assert_ptr_nonnull(log);
    while (!found && fgets(line, sizeof(line), log)) {
        found = true;
        for (size_t i = 0; words[i]; i++)
            found = found && strstr(line, words[i]);
    }
    (void)fclose(log);
    return found;
}

static void expect_sentence(int error, const char *sentence)
{
    ck_assert_msg(errno == error, "%s", strerrorname_np(errno));
    ck_assert_msg(strstr(muse_last_error_text(), sentence) != NULL, "\"%s\" is not in \"%s\"",
                  sentence, muse_last_error_text());
}

START_TEST(sentences_and_log_lines_name_driver_object_and_hook)
{
    static const char *const drivers[] = {"muse-faulty", "muse-faulty --name other", NULL};
    static const char old[] = "driver other refused to split other/old,split-errno=16: EBUSY";
    char client[32];
    struct muse_file *file;
    char *mapped, *failing;

    rig_start(&rig, NULL, drivers);
    muse = client_connect();
    (void)snprintf(client, sizeof(client), " pid=%d ", (int)getpid());
    mapped = client_map_ro(muse, "other/old,split-errno=16", 8);
    file = client_open(muse, "faulty/new", O_RDONLY);
    ck_assert_ptr_eq(
        muse_mmap(muse, mapped + PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, file, 0),
        MAP_FAILED);
    expect_sentence(EBUSY, old);
    ck_assert_int_eq(muse_munmap(muse, mapped + PAGE, PAGE), -1);
    expect_sentence(EBUSY, old);
    ck_assert(is_logged((const char *[]){"split.refused", client, "driver=other", "other/old",
                                         "hook=may_split", "errno=EBUSY", NULL}));
    ck_assert(is_logged((const char *[]){"map.failed", client, "faulty/new", "errno=EBUSY", NULL}));
    ck_assert_int_eq(muse_close(file), 0);
    ck_assert_int_eq(muse_open(muse, "nobody/x", O_RDONLY, &file), -1);
    expect_sentence(ENODEV, "no such driver: nobody");
    ck_assert_int_eq(muse_open(muse, "x", O_RDONLY, &file), -1);
    expect_sentence(ENODEV, "x: not DRIVER/OBJECT");
    failing = client_map_ro(muse, "faulty/bad,fault-errno=5", 1);
    ck_assert_int_eq(probe_read(failing).signal, SIGBUS);
    ck_assert(is_logged((const char *[]){"fault.failed", client, "driver=faulty", "faulty/bad",
                                         "hook=fault", "errno=EIO", NULL}));
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("replace");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_refused_map_fixed_leaves_the_old_mapping_with_its_private_changes);
    tcase_add_test(tcase, a_map_fixed_past_its_deadline_leaves_the_old_mapping);
    tcase_add_test(tcase, a_driver_that_dies_in_a_map_fixed_leaves_the_old_mapping_of_another);
    tcase_add_test(tcase, kernel_v1_destroys_the_old_mapping_before_prepare_may_refuse);
    tcase_add_test(tcase, a_map_fixed_replaces_exactly_its_range);
    tcase_add_test(tcase, a_map_fixed_over_several_mappings_and_holes_closes_each);
    tcase_add_test(tcase,
                   threads_that_read_during_replacement_see_the_old_or_the_new_bytes_and_no_signal);
    tcase_add_test(tcase, threads_find_something_mapped_whatever_replaces_what_and_where);
    tcase_add_test(tcase, memory_outside_the_arena_is_replaced_and_given_back);
    tcase_add_test(tcase, a_refused_map_fixed_outside_the_arena_leaves_what_was_there);
    tcase_add_test(tcase, unmapping_the_middle_makes_two_and_each_is_closed_once);
    tcase_add_test(tcase, unmapping_head_and_tail_keeps_the_rest);
    tcase_add_test(tcase, a_driver_that_refuses_to_split_keeps_its_mapping_whole);
    tcase_add_test(tcase, neighbours_of_one_file_merge_and_close_once_for_each_that_is_left);
    tcase_add_test(tcase, neighbours_that_differ_in_file_offset_or_private_data_do_not_merge);
    tcase_add_test(tcase, hints_are_followed_where_free_and_noreplace_never_replaces);
    tcase_add_test(tcase, sentences_and_log_lines_name_driver_object_and_hook);
    return unit_run("replace", tcase);
}
