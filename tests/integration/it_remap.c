/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mremap: every row against the kernel on a plain file; then what the driver sees and refuses, limits,
 * and memory outside the arena. What happens beside it is in it_remap_races.c.
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
#include <sys/resource.h>
#include <unistd.h>

#include <check.h>

#include "common/base/linux_abi.h"
#include "common/base/own.h"
#include "tests/support/kernel.h"
#include "tests/support/pair.h"
#include "tests/support/unit.h"

#define RO (PROT_READ)
#define RW (PROT_READ | PROT_WRITE)

#define MAY  MREMAP_MAYMOVE
#define TO   (MREMAP_MAYMOVE | MREMAP_FIXED)
#define KEEP (MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)

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

/* ---- against the kernel; pages of pair.c's layout ---- */

static const struct row {
    const char *name;
    size_t at, old_len, new_len; /* bytes */
    int flags;
    size_t to;
} rows[] = {
    /* arguments */
    {"unknown flags", 0, PAGE, PAGE, 8, 0},
    {"not aligned", 8, PAGE, 2 * PAGE, MAY, 0},
    {"new length 0", 0, PAGE, 0, MAY, 0},
    {"new length too large", 0, PAGE, (size_t)1 << 48, MAY, 0},
    {"a new length that wraps to 0", 0, PAGE, SIZE_MAX, MAY, 0},
    {"FIXED without MAYMOVE", 0, PAGE, PAGE, MREMAP_FIXED, 30 * PAGE},
    {"DONTUNMAP without MAYMOVE", 0, PAGE, PAGE, MREMAP_DONTUNMAP, 0},
    {"DONTUNMAP with another size", 0, PAGE, 2 * PAGE, MAY | MREMAP_DONTUNMAP, 0},
    {"a target that is not aligned", 0, PAGE, PAGE, TO, 30 * PAGE + 8},
    {"a target that overlaps", 0, 3 * PAGE, 3 * PAGE, TO, 2 * PAGE},
    {"a target that overlaps from below", 2 * PAGE, 2 * PAGE, 2 * PAGE, TO, PAGE},
    {"old length 0, private", 0, 0, PAGE, MAY, 0},
    {"old length 0, anonymous private", 16 * PAGE, 0, PAGE, MAY, 0},
    {"nothing there", 30 * PAGE, PAGE, PAGE, MAY, 0},
    {"nothing there, larger", 30 * PAGE, PAGE, 2 * PAGE, MAY, 0},
    {"nothing there, elsewhere", 30 * PAGE, PAGE, PAGE, TO, 34 * PAGE},
    /* in place */
    {"as it is", 0, 4 * PAGE, 4 * PAGE, 0, 0},
    {"as it is, past the end of the mapping", 9 * PAGE, 6 * PAGE, 6 * PAGE, 0, 0},
    {"larger past the end of the mapping", 9 * PAGE, 6 * PAGE, 8 * PAGE, MAY, 0},
    {"larger, something behind", 0, 4 * PAGE, 5 * PAGE, 0, 0},
    {"larger, not at its end", 8 * PAGE, 2 * PAGE, 3 * PAGE, 0, 0},
    {"larger by one, shared read-only", 8 * PAGE, 4 * PAGE, 5 * PAGE, 0, 0},
    {"larger by two where one is free", 8 * PAGE, 4 * PAGE, 6 * PAGE, 0, 0},
    {"the last page, larger", 27 * PAGE, PAGE, 6 * PAGE, 0, 0},
    {"private, behind the end of the file", 24 * PAGE, 4 * PAGE, 8 * PAGE, 0, 0},
    {"smaller", 0, 4 * PAGE, 2 * PAGE, 0, 0},
    {"smaller, rounded up", 0, 4 * PAGE, PAGE + 1, 0, 0},
    {"smaller, over several mappings and a hole", 2 * PAGE, 20 * PAGE, PAGE, 0, 0},
    {"smaller, the rest is a hole", 27 * PAGE, 8 * PAGE, PAGE, 0, 0},
    {"smaller, shared anonymous", 20 * PAGE, 4 * PAGE, 2 * PAGE, 0, 0},
    /* elsewhere */
    {"private to a hole", 0, 4 * PAGE, 4 * PAGE, TO, 30 * PAGE},
    {"a page of it", PAGE, PAGE, PAGE, TO, 30 * PAGE},
    {"a page of it over another mapping", PAGE, PAGE, PAGE, TO, 9 * PAGE},
    {"over a part of the same mapping", 0, PAGE, PAGE, TO, 3 * PAGE},
    {"over its own start", 3 * PAGE, PAGE, PAGE, TO, 0},
    {"shared to a hole", 4 * PAGE, 4 * PAGE, 4 * PAGE, TO, 30 * PAGE},
    {"shared over private", 5 * PAGE, 2 * PAGE, 2 * PAGE, TO, PAGE},
    {"anonymous", 16 * PAGE, 4 * PAGE, 4 * PAGE, TO, 30 * PAGE},
    {"anonymous, beside itself", 17 * PAGE, PAGE, PAGE, TO, 20 * PAGE},
    {"anonymous shared over private", 20 * PAGE, 4 * PAGE, 4 * PAGE, TO, 0},
    {"several, with a hole between", 9 * PAGE, 7 * PAGE, 7 * PAGE, TO, 32 * PAGE},
    {"several, a hole behind", 24 * PAGE, 10 * PAGE, 10 * PAGE, TO, 35 * PAGE},
    {"several, a hole in front", 12 * PAGE, 4 * PAGE, 4 * PAGE, TO, 32 * PAGE},
    {"private, larger", 0, 4 * PAGE, 6 * PAGE, TO, 30 * PAGE},
    {"private, larger, over others", 0, 4 * PAGE, 6 * PAGE, TO, 17 * PAGE},
    {"shared, larger", 4 * PAGE, 2 * PAGE, 6 * PAGE, TO, 30 * PAGE},
    {"private, smaller", 0, 4 * PAGE, 2 * PAGE, TO, 30 * PAGE},
    {"anonymous, larger", 16 * PAGE, 4 * PAGE, 8 * PAGE, TO, 30 * PAGE},
    {"anonymous, smaller, over another", 16 * PAGE, 4 * PAGE, PAGE, TO, 5 * PAGE},
    {"larger than its mapping", 9 * PAGE, 5 * PAGE, 6 * PAGE, TO, 30 * PAGE},
    /* twice */
    {"shared, once more", 4 * PAGE, 0, 4 * PAGE, TO, 30 * PAGE},
    {"shared, from its middle, more of it", 6 * PAGE, 0, 6 * PAGE, TO, 30 * PAGE},
    {"shared read-only, once more, over another", 8 * PAGE, 0, 2 * PAGE, TO, PAGE},
    {"anonymous shared, once more", 20 * PAGE, 0, 4 * PAGE, TO, 30 * PAGE},
    {"anonymous shared, more than there is", 20 * PAGE, 0, 6 * PAGE, TO, 30 * PAGE},
    /* the source stays */
    {"private, the source stays", 0, 4 * PAGE, 4 * PAGE, KEEP, 30 * PAGE},
    {"a page of it", PAGE, PAGE, PAGE, KEEP, 30 * PAGE},
    {"a page of it, over another", PAGE, PAGE, PAGE, KEEP, 6 * PAGE},
    {"shared, the source stays", 4 * PAGE, 4 * PAGE, 4 * PAGE, KEEP, 30 * PAGE},
    {"shared read-only, the source stays", 8 * PAGE, 3 * PAGE, 3 * PAGE, KEEP, 0},
    {"anonymous, the source stays", 16 * PAGE, 4 * PAGE, 4 * PAGE, KEEP, 30 * PAGE},
    {"anonymous shared, the source stays", 20 * PAGE, 4 * PAGE, 4 * PAGE, KEEP, 30 * PAGE},
    {"several, the sources stay", 13 * PAGE, 9 * PAGE, 9 * PAGE, KEEP, 30 * PAGE},
};

START_TEST(every_row_is_as_the_kernel_has_it)
{
    struct pair pair;

    pair_begin(&pair);
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        const struct row *row = &rows[i];
        char *kernel, *ours;

        pair_layout(&pair);
        kernel = kernel_mremap(pair.kernel + row->at, row->old_len, row->new_len, row->flags,
                               pair.kernel + row->to);
        const int64_t expected = pair_place(pair.kernel, kernel);

        ours = muse_mremap(pair.muse, pair.ours + row->at, row->old_len, row->new_len, row->flags,
                           pair.ours + row->to);
        pair_same(&pair, row->name, expected, pair_place(pair.ours, ours));
        pair_compare(&pair, row->name);
        for (size_t page = 0; page < PAIR_PAGES; page++)
            pair_write(&pair, row->name, page * PAGE + 9, (unsigned char)(page + 1));
        pair_compare(&pair, row->name);
    }
    pair_end(&pair);
}
END_TEST

/* Both sides may choose where: what is there has to be the same. */
START_TEST(what_grows_and_may_move_takes_its_bytes_along)
{
    static const struct {
        size_t at, n_pages;
        const char *name;
    } sources[] = {{0, 4, "private"},
                   {4, 4, "shared"},
                   {8, 3, "shared read-only"},
                   {16, 4, "anonymous"},
                   {16, 2, "anonymous, a part"},
                   {1, 2, "private, a part"},
                   {24, 2, "the file's end"}};
    struct pair pair;

    pair_begin(&pair);
    for (size_t i = 0; i < N_ELEMENTS(sources); i++) {
        const size_t old_len = sources[i].n_pages * PAGE, new_len = old_len + 20 * PAGE;
        char *kernel, *ours;

        pair_layout(&pair);
        kernel = kernel_mremap(pair.kernel + sources[i].at * PAGE, old_len, new_len, MAY, NULL);
        ours = muse_mremap(pair.muse, pair.ours + sources[i].at * PAGE, old_len, new_len, MAY);
        ck_assert_msg(kernel != MAP_FAILED && ours != MAP_FAILED, "%s: %s", sources[i].name,
                      muse_last_error_text());
        for (size_t page = 0; page < new_len / PAGE; page++) {
            const struct probe probe = probe_read(kernel + page * PAGE);

            ck_assert_int_eq(probe.signal, probe_read(ours + page * PAGE).signal);
            if (probe.signal == 0)
                ck_assert_mem_eq(kernel + page * PAGE, ours + page * PAGE, PAGE);
        }
        pair_compare(&pair, sources[i].name);
        ck_assert_int_eq(kernel_munmap(kernel, new_len), 0);
        ck_assert_int_eq(muse_munmap(pair.muse, ours, new_len), 0);
    }
    pair_end(&pair);
}
END_TEST

START_TEST(dontunmap_without_a_target_puts_it_somewhere)
{
    struct pair pair;
    char *ours;

    pair_begin(&pair);
    pair_layout(&pair);
    ours = muse_mremap(pair.muse, pair.ours, 4 * PAGE, 4 * PAGE, MAY | MREMAP_DONTUNMAP, NULL);
    ck_assert_msg(ours != MAP_FAILED, "%s", muse_last_error_text());
    ck_assert_int_eq((unsigned char)ours[PAGE + 3], 0xa0); /* the private copy moved */
    ck_assert(file_is(pair.ours, 0, 4 * PAGE));            /* the object's bytes came back */
    ck_assert_int_eq(probe_write(pair.ours, 'x').signal, 0);
    ck_assert_int_eq((unsigned char)ours[0], rig_byte(0));
    pair_end(&pair);
}
END_TEST

/* Mappings that are one for Muse may be several for the kernel: private copies on both sides of the
 * part that joined them. */
START_TEST(a_mapping_that_is_several_for_the_kernel_moves_as_one)
{
    struct pair pair;
    char *ours;

    pair_begin(&pair);
    pair_map(&pair, &(struct pair_map){0, 2, RW, MAP_PRIVATE, false, 0});
    pair_map(&pair, &(struct pair_map){4, 2, RW, MAP_PRIVATE, false, 4});
    for (size_t page = 0; page < 6; page++)
        if (page < 2 || page >= 4)
            pair_write(&pair, "apart", page * PAGE, (unsigned char)page);
    pair_map(&pair, &(struct pair_map){2, 2, RW, MAP_PRIVATE, false, 2});
    ours = muse_mremap(pair.muse, pair.ours, 6 * PAGE, 12 * PAGE, TO, pair.ours + 20 * PAGE);
    ck_assert_msg(ours == pair.ours + 20 * PAGE, "%s", muse_last_error_text());
    for (size_t page = 0; page < 6; page++) {
        const bool copied = page < 2 || page >= 4;

        ck_assert_int_eq((unsigned char)ours[page * PAGE],
                         copied ? (unsigned char)page : rig_byte(page * PAGE));
        ck_assert(file_is(ours + page * PAGE + 1, page * PAGE + 1, PAGE - 1));
    }
    ck_assert(file_is(ours + 6 * PAGE, 6 * PAGE, 6 * PAGE));
    pair_end(&pair);
}
END_TEST

/* ---- the driver ---- */

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

START_TEST(a_move_is_opened_asked_and_the_source_closed)
{
    begin(NULL);
    char *mapped = map_private("faulty/x", 4), *to = bare(0);

    *mapped = 'p';
    ck_assert_ptr_eq(muse_mremap(muse, mapped, 4 * PAGE, 6 * PAGE, TO, to), to);
    ck_assert_uint_eq(rig_counter("open"), 1);
    ck_assert_uint_eq(rig_counter("mremap"), 1);
    ck_assert_uint_eq(rig_counter("close"), 1);
    ck_assert_uint_eq(rig_counter("split"), 0);
    ck_assert_int_eq(*to, 'p');
    ck_assert_uint_eq(faulty_word(to, 5, 7), 5 * 512 + 7);
    ck_assert_int_eq(probe_read(mapped).signal, SIGSEGV);
    ck_assert_int_eq(muse_munmap(muse, to, 6 * PAGE), 0);
    ck_assert_uint_eq(rig_counter("close"), 2);
    end();
}
END_TEST

START_TEST(pages_that_never_came_come_at_both_ends_of_what_was_split_off)
{
    begin(NULL);
    char *mapped = map_private("faulty/x,fault-single", 6), *to = bare(0);

    ck_assert_int_eq(muse_madvise(muse, mapped, 6 * PAGE, MADV_RANDOM), 0);
    mapped[PAGE] = 'p';
    ck_assert_ptr_eq(muse_mremap(muse, mapped, 6 * PAGE, 6 * PAGE, KEEP, to), to);
    ck_assert_uint_eq(faulty_word(mapped, 4, 7), 4 * 512 + 7);
    ck_assert_uint_eq(faulty_word(to, 3, 7), 3 * 512 + 7);
    ck_assert_int_eq(to[PAGE], 'p');
    ck_assert_uint_eq(faulty_word(mapped, 1, 0), 512);
    ck_assert_uint_eq(rig_counter("open"), 1);
    ck_assert_uint_eq(rig_counter("mremap"), 1);
    ck_assert_uint_eq(rig_counter("close"), 0);
    end();
}
END_TEST

START_TEST(a_part_that_moves_is_cut_out_first)
{
    begin(NULL);
    char *mapped = map_private("faulty/x", 4), *to = bare(0);

    ck_assert_ptr_eq(muse_mremap(muse, mapped + PAGE, PAGE, PAGE, TO, to), to);
    ck_assert_uint_eq(rig_counter("split"), 2);
    ck_assert_uint_eq(rig_counter("open"), 3); /* the copy, the part, what is behind it */
    ck_assert_uint_eq(rig_counter("close"), 1);
    ck_assert_uint_eq(faulty_word(to, 0, 7), 512 + 7);
    ck_assert_uint_eq(faulty_word(mapped, 2, 7), 2 * 512 + 7);
    ck_assert_int_eq(probe_read(mapped + PAGE).signal, SIGSEGV);
    end();
}
END_TEST

START_TEST(growing_in_place_asks_nobody)
{
    begin(NULL);
    char *to = bare(0);

    ck_assert_ptr_eq(client_map_at(muse, "faulty/x", O_RDONLY, (struct client_span){to, PAGE, 0},
                                   RW, MAP_PRIVATE | MAP_FIXED),
                     to);
    ck_assert_ptr_eq(muse_mremap(muse, to, PAGE, 5 * PAGE, 0), to);
    ck_assert_uint_eq(rig_counter("open"), 0);
    ck_assert_uint_eq(rig_counter("mremap"), 0);
    ck_assert_uint_eq(rig_counter("close"), 0);
    ck_assert_uint_eq(faulty_word(to, 4, 7), 4 * 512 + 7);
    end();
}
END_TEST

START_TEST(a_driver_that_refuses_leaves_everything_where_it_was)
{
    begin(NULL);
    char *mapped = map_private("faulty/x,mremap-errno=1", 4), *to = bare(0);
    char *old = client_map_at(muse, "faulty/old,ops=none", O_RDONLY,
                              (struct client_span){to, 4 * PAGE, 0}, RO, MAP_SHARED | MAP_FIXED);

    *mapped = 'p';
    ck_assert_ptr_eq(old, to);
    ck_assert_ptr_eq(muse_mremap(muse, mapped, 4 * PAGE, 4 * PAGE, TO, to), MAP_FAILED);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_uint_eq(rig_counter("open"), 1);
    ck_assert_uint_eq(rig_counter("close"), 1); /* the copy that was opened */
    ck_assert_int_eq(*mapped, 'p');
    ck_assert_uint_eq(faulty_word(old, 1, 7), 512 + 7);
    ck_assert_ptr_eq(muse_mremap(muse, mapped, 4 * PAGE, 8 * PAGE, MAY), MAP_FAILED);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_uint_eq(faulty_word(mapped, 3, 7), 3 * 512 + 7);
    end();
}
END_TEST

/* As in the kernel, which unmaps first whatever comes then. */
START_TEST(a_refused_growth_over_another_mapping_has_unmapped_that)
{
    begin(NULL);
    char *mapped = map_private("faulty/x,mremap-errno=1", 4), *to = bare(0);

    *mapped = 'p';
    ck_assert_ptr_eq(client_map_at(muse, "faulty/old,ops=none", O_RDONLY,
                                   (struct client_span){to, 8 * PAGE, 0}, RO,
                                   MAP_SHARED | MAP_FIXED),
                     to);
    ck_assert_ptr_eq(muse_mremap(muse, mapped, 4 * PAGE, 6 * PAGE, TO, to), MAP_FAILED);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_eq(*mapped, 'p');
    ck_assert_uint_eq(faulty_word(mapped, 3, 7), 3 * 512 + 7);
    ck_assert_int_eq(probe_read(to + 5 * PAGE).signal, SIGSEGV);
    ck_assert_uint_eq(faulty_word(to, 6, 7), 6 * 512 + 7);
    end();
}
END_TEST

START_TEST(a_may_split_that_refuses_keeps_the_part_from_moving)
{
    begin(NULL);
    char *mapped = map_private("faulty/x,split-errno=22", 4), *to = bare(0);

    ck_assert_ptr_eq(muse_mremap(muse, mapped + PAGE, PAGE, PAGE, TO, to), MAP_FAILED);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_uint_eq(rig_counter("mremap"), 0);
    ck_assert_uint_eq(rig_counter("open"), 0);
    ck_assert_uint_eq(faulty_word(mapped, 1, 7), 512 + 7);
    ck_assert_ptr_eq(muse_mremap(muse, mapped, 4 * PAGE, 4 * PAGE, TO, to), to);
    ck_assert_uint_eq(faulty_word(to, 1, 7), 512 + 7);
    end();
}
END_TEST

START_TEST(a_mapping_that_may_not_expand_moves_but_does_not_grow)
{
    begin(NULL);
    char *mapped = map_private("faulty/x,set-flags=0x40000", 2), *to = bare(0); /* DONTEXPAND */

    ck_assert_ptr_eq(muse_mremap(muse, mapped, 2 * PAGE, 3 * PAGE, MAY), MAP_FAILED);
    ck_assert_int_eq(errno, EFAULT);
    ck_assert_ptr_eq(muse_mremap(muse, mapped, 2 * PAGE, 2 * PAGE, KEEP, to), MAP_FAILED);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_ptr_eq(muse_mremap(muse, mapped, 2 * PAGE, 2 * PAGE, TO, to), to);
    ck_assert_uint_eq(faulty_word(to, 1, 7), 512 + 7);
    end();
}
END_TEST

START_TEST(a_driver_that_dies_in_mremap_has_nothing_against_it)
{
    begin(NULL);
    char *mapped = map_private("faulty/x,die-in=mremap", 2), *to = bare(0);

    ck_assert_uint_eq(faulty_word(mapped, 1, 7), 512 + 7);
    ck_assert_ptr_eq(muse_mremap(muse, mapped, 2 * PAGE, 2 * PAGE, TO, to), to);
    ck_assert_uint_eq(faulty_word(to, 1, 7), 512 + 7);
    (void)wait_for_driver(&rig, "faulty", 0);
    end();
}
END_TEST

START_TEST(near_the_limit_of_mappings_nothing_moves)
{
    begin("[limits]\nmax_vmas = 8\n");
    char *mapped = map_private("faulty/x", 2), *to = bare(0);

    for (size_t i = 1; i < 4; i++) {
        ck_assert_ptr_ne(
            client_map_at(muse, "faulty/x", O_RDONLY,
                          (struct client_span){.len = PAGE, .offset = (off_t)(i * 9 * PAGE)}, RO,
                          MAP_SHARED),
            MAP_FAILED);
    }
    ck_assert_ptr_eq(muse_mremap(muse, mapped, PAGE, PAGE, TO, to), MAP_FAILED);
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_uint_eq(faulty_word(mapped, 0, 7), 7);
    end();
}
END_TEST

/* ---- limits of locked memory ---- */

static void grow_locked(void *ctx)
{
    const struct rlimit limit = {8 * PAGE, 8 * PAGE};
    struct muse *own;
    char *mapped;

    (void)ctx;
    ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    ck_assert(client_drop_ipc_lock());
    own = client_connect();
    mapped = client_map(own, "faulty/x", O_RDONLY, 4 * PAGE, RW, MAP_PRIVATE);
    ck_assert_int_eq(muse_mlock(own, mapped, 4 * PAGE), 0);
    ck_assert_ptr_eq(muse_mremap(own, mapped, 4 * PAGE, 12 * PAGE, MAY), MAP_FAILED);
    ck_assert_int_eq(errno, EAGAIN);
    mapped = muse_mremap(own, mapped, 4 * PAGE, 8 * PAGE, MAY);
    ck_assert_ptr_ne(mapped, MAP_FAILED);
    ck_assert_uint_eq(faulty_word(mapped, 7, 7), 7 * 512 + 7);
    ck_assert_int_eq(muse_madvise(own, mapped + 7 * PAGE, PAGE, MADV_DONTNEED), -1);
    ck_assert_int_eq(errno, EINVAL);
    muse_disconnect(own);
}

START_TEST(a_locked_mapping_grows_within_the_limit)
{
    begin(NULL);
    client_join(client_fork(grow_locked, NULL));
    end();
}
END_TEST

/* ---- outside of the arena ---- */

START_TEST(memory_outside_the_arena_grows_moves_and_comes_back)
{
    begin(NULL);
    char *own = kernel_mmap(NULL, 32 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *mapped, *inside;

    memset(own, 'o', 32 * PAGE);
    mapped = client_map_at(muse, "faulty/x", O_RDONLY, (struct client_span){own, 2 * PAGE, 0}, RW,
                           MAP_PRIVATE | MAP_FIXED);
    ck_assert_ptr_eq(mapped, own);
    *mapped = 'p';
    /* the program's own memory is in the way */
    ck_assert_ptr_eq(muse_mremap(muse, mapped, 2 * PAGE, 4 * PAGE, 0), MAP_FAILED);
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_int_eq(own[2 * PAGE], 'o');
    ck_assert_int_eq(kernel_munmap(own + 2 * PAGE, 2 * PAGE), 0);
    ck_assert_ptr_eq(muse_mremap(muse, mapped, 2 * PAGE, 4 * PAGE, 0), mapped);
    ck_assert_uint_eq(faulty_word(mapped, 3, 7), 3 * 512 + 7);
    inside = muse_mremap(muse, mapped, 4 * PAGE, 8 * PAGE, MAY);
    ck_assert_ptr_ne(inside, MAP_FAILED);
    ck_assert_int_eq(*inside, 'p');
    ck_assert_uint_eq(faulty_word(inside, 7, 7), 7 * 512 + 7);
    ck_assert_int_eq(probe_read(own).signal, SIGSEGV);
    /* back over memory of the program's own, larger */
    ck_assert_ptr_eq(muse_mremap(muse, inside, 8 * PAGE, 12 * PAGE, TO, own + 8 * PAGE),
                     own + 8 * PAGE);
    ck_assert_int_eq(own[8 * PAGE], 'p');
    ck_assert_uint_eq(faulty_word(own + 8 * PAGE, 11, 7), 11 * 512 + 7);
    ck_assert_int_eq(own[7 * PAGE], 'o');
    ck_assert_int_eq(own[20 * PAGE], 'o');
    ck_assert_int_eq(muse_munmap(muse, own + 8 * PAGE, 12 * PAGE), 0);
    ck_assert_int_eq(kernel_munmap(own, 32 * PAGE), 0);
    end();
}
END_TEST

START_TEST(what_is_locked_outside_the_arena_moves_instead_of_growing)
{
    begin(NULL);
    char *own = kernel_mmap(NULL, 8 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *mapped, *moved;

    ck_assert_int_eq(kernel_munmap(own + 2 * PAGE, 6 * PAGE), 0); /* there would be room */
    mapped = client_map_at(muse, "faulty/x", O_RDONLY, (struct client_span){own, 2 * PAGE, 0}, RW,
                           MAP_PRIVATE | MAP_FIXED);
    ck_assert_ptr_eq(mapped, own);
    *mapped = 'p';
    ck_assert_int_eq(muse_mlock(muse, mapped, 2 * PAGE), 0);
    ck_assert_ptr_eq(muse_mremap(muse, mapped, 2 * PAGE, 4 * PAGE, 0), MAP_FAILED);
    ck_assert_int_eq(errno, ENOMEM);
    moved = muse_mremap(muse, mapped, 2 * PAGE, 4 * PAGE, MAY);
    ck_assert_msg(moved != MAP_FAILED && moved != mapped, "%s", muse_last_error_text());
    ck_assert_int_eq(*moved, 'p');
    ck_assert_uint_eq(faulty_word(moved, 3, 7), 3 * 512 + 7);
    ck_assert_int_eq(muse_madvise(muse, moved + 3 * PAGE, PAGE, MADV_DONTNEED), -1);
    ck_assert_int_eq(errno, EINVAL);
    end();
}
END_TEST

static void grow_after_mlockall(void *ctx)
{
    const struct muse_options options = {.struct_size = sizeof(options), .arena_bytes = 64u << 20};
    char *own = kernel_mmap(NULL, 8 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct client_span span = {own, 2 * PAGE, 0};
    char *mapped;

    (void)ctx;
    ck_assert_int_eq(muse_connect(&muse, &options), 0);
    mapped =
        client_map_at(muse, "faulty/x,fault-single", O_RDONLY, span, RW, MAP_PRIVATE | MAP_FIXED);
    ck_assert_ptr_eq(mapped, own);
    ck_assert_int_eq(muse_madvise(muse, mapped, 2 * PAGE, MADV_RANDOM), 0);
    ck_assert_int_eq(kernel_munmap(own + 2 * PAGE, 6 * PAGE), 0);
    ck_assert_int_eq(mlockall(MCL_CURRENT), 0);
    ck_assert_ptr_eq(muse_mremap(muse, mapped, 2 * PAGE, 8 * PAGE, 0), own);
    for (size_t page = 0; page < 8; page++)
        ck_assert_uint_eq(faulty_word(own, page, 1), page * 512 + 1);
    ck_assert_int_eq(munlockall(), 0);
    muse_disconnect(muse);
}

START_TEST(what_mlockall_has_locked_outside_the_arena_grows_all_the_same)
{
    rig_start(&rig, NULL, faulty);
    client_join(client_fork(grow_after_mlockall, NULL));
    rig_stop(&rig);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("remap");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, every_row_is_as_the_kernel_has_it);
    tcase_add_test(tcase, what_grows_and_may_move_takes_its_bytes_along);
    tcase_add_test(tcase, dontunmap_without_a_target_puts_it_somewhere);
    tcase_add_test(tcase, a_mapping_that_is_several_for_the_kernel_moves_as_one);
    tcase_add_test(tcase, a_move_is_opened_asked_and_the_source_closed);
    tcase_add_test(tcase, pages_that_never_came_come_at_both_ends_of_what_was_split_off);
    tcase_add_test(tcase, a_part_that_moves_is_cut_out_first);
    tcase_add_test(tcase, growing_in_place_asks_nobody);
    tcase_add_test(tcase, a_driver_that_refuses_leaves_everything_where_it_was);
    tcase_add_test(tcase, a_refused_growth_over_another_mapping_has_unmapped_that);
    tcase_add_test(tcase, a_may_split_that_refuses_keeps_the_part_from_moving);
    tcase_add_test(tcase, a_mapping_that_may_not_expand_moves_but_does_not_grow);
    tcase_add_test(tcase, a_driver_that_dies_in_mremap_has_nothing_against_it);
    tcase_add_test(tcase, near_the_limit_of_mappings_nothing_moves);
    tcase_add_test(tcase, a_locked_mapping_grows_within_the_limit);
    tcase_add_test(tcase, memory_outside_the_arena_grows_moves_and_comes_back);
    tcase_add_test(tcase, what_is_locked_outside_the_arena_moves_instead_of_growing);
    tcase_add_test(tcase, what_mlockall_has_locked_outside_the_arena_grows_all_the_same);
    return unit_run("remap", tcase);
}
