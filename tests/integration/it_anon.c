/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Anonymous memory: placed by the server, served by the kernel. The rows of mprotect, mremap and
 * madvise have it as well; here is what is its own: placement, replacement, children, what musectl
 * shows.
 */
#include <errno.h>
#include <muse/muse.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <check.h>

#include "common/base/linux_abi.h"
#include "tests/support/client.h"
#include "tests/support/kernel.h"
#include "tests/support/unit.h"

#define RO     (PROT_READ)
#define RW     (PROT_READ | PROT_WRITE)
#define ANON   (MAP_PRIVATE | MAP_ANONYMOUS)
#define SHARED (MAP_SHARED | MAP_ANONYMOUS)

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

static char *anon(void *addr, size_t n_pages, int flags)
{
    char *mapped = muse_mmap(muse, addr, n_pages * PAGE, RW, flags, NULL, 0);

    ck_assert_msg(mapped != MAP_FAILED, "%s", muse_last_error_text());
    return mapped;
}

/* Bare addresses of the arena, far from everything. */
static char *bare(void)
{
    char *first = anon(NULL, 1, ANON);

    ck_assert_int_eq(muse_munmap(muse, first, PAGE), 0);
    return first - ((size_t)1 << 30);
}

/* How many mappings without an object musectl shows. */
static uint64_t count_maps(void)
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
    json_array_foreach(json_entries(document), i, map) n +=
        !json_is_string(json_object_get(map, "object"));
    json_decref(document);
    json_decref(spaces);
    return n;
}

START_TEST(memory_is_zero_and_keeps_what_is_written)
{
    begin(NULL);
    char *private = anon(NULL, 4, ANON), *shared = anon(NULL, 4, SHARED);

    for (size_t i = 0; i < 4 * PAGE; i += 512) {
        ck_assert_int_eq(private[i], 0);
        ck_assert_int_eq(shared[i], 0);
    }
    memset(private, 'p', 4 * PAGE);
    memset(shared, 's', 4 * PAGE);
    ck_assert_int_eq(private[3 * PAGE], 'p');
    ck_assert_int_eq(shared[3 * PAGE], 's');
    ck_assert_uint_eq(rig_stat(&rig, "faults"), 0); /* the kernel's business */
    ck_assert_int_eq(muse_munmap(muse, private + PAGE, PAGE), 0);
    ck_assert_int_eq(probe_read(private + PAGE).signal, SIGSEGV);
    ck_assert_int_eq(private[2 * PAGE], 'p');
    end();
}
END_TEST

START_TEST(neighbours_become_one_and_shared_memory_does_not)
{
    begin(NULL);
    char *first = bare(), *shared = first + 100 * PAGE;

    (void)anon(first, 2, ANON | MAP_FIXED);
    (void)anon(shared, 2, SHARED | MAP_FIXED);
    ck_assert_uint_eq(count_maps(), 2);
    (void)anon(first + 2 * PAGE, 2, ANON | MAP_FIXED);
    ck_assert_uint_eq(count_maps(), 2);
    (void)anon(shared + 2 * PAGE, 2, SHARED | MAP_FIXED);
    ck_assert_uint_eq(count_maps(), 3);
    ck_assert_int_eq(muse_mprotect(muse, first + PAGE, PAGE, RO), 0);
    ck_assert_uint_eq(count_maps(), 5);
    ck_assert_int_eq(muse_mprotect(muse, first + PAGE, PAGE, RW), 0);
    ck_assert_uint_eq(count_maps(), 3);
    end();
}
END_TEST

START_TEST(a_file_is_replaced_by_memory_and_memory_by_a_file)
{
    begin(NULL);
    char *mapped = client_map(muse, "faulty/x", O_RDONLY, 6 * PAGE, RW, MAP_PRIVATE);

    *mapped = 'p';
    ck_assert_ptr_eq(anon(mapped + 2 * PAGE, 2, ANON | MAP_FIXED), mapped + 2 * PAGE);
    ck_assert_uint_eq(rig_counter("split"), 2);
    ck_assert_uint_eq(rig_counter("open"), 2);
    ck_assert_uint_eq(rig_counter("close"), 1);
    ck_assert_int_eq(*mapped, 'p');
    ck_assert_int_eq(mapped[2 * PAGE], 0);
    ck_assert_uint_eq(faulty_word(mapped, 4, 7), 4 * 512 + 7);
    memset(mapped + 2 * PAGE, 'a', 2 * PAGE);
    ck_assert_ptr_eq(client_map_at(muse, "faulty/y", O_RDONLY,
                                   (struct client_span){mapped + 3 * PAGE, PAGE, 0}, RO,
                                   MAP_SHARED | MAP_FIXED),
                     mapped + 3 * PAGE);
    ck_assert_int_eq(mapped[3 * PAGE - 1], 'a');
    ck_assert_uint_eq(faulty_word(mapped + 3 * PAGE, 0, 7), 7);
    ck_assert_uint_eq(rig_counter("mismatch"), 0);
    end();
}
END_TEST

START_TEST(what_a_driver_does_not_let_be_cut_is_not_replaced)
{
    begin(NULL);
    char *mapped = client_map(muse, "faulty/x,split-errno=22", O_RDONLY, 4 * PAGE, RW, MAP_PRIVATE);

    ck_assert_ptr_eq(muse_mmap(muse, mapped + PAGE, PAGE, RW, ANON | MAP_FIXED, NULL, 0),
                     MAP_FAILED);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_uint_eq(faulty_word(mapped, 1, 7), 512 + 7);
    ck_assert_ptr_eq(anon(mapped, 4, ANON | MAP_FIXED), mapped);
    ck_assert_int_eq(mapped[PAGE], 0);
    end();
}
END_TEST

START_TEST(noreplace_and_hints_look_at_what_is_there)
{
    begin(NULL);
    char *first = anon(NULL, 4, ANON);

    ck_assert_ptr_eq(muse_mmap(muse, first + PAGE, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, NULL, 0),
                     MAP_FAILED);
    ck_assert_int_eq(errno, EEXIST);
    ck_assert_ptr_ne(anon(first, 4, ANON), first);
    ck_assert_int_eq(muse_munmap(muse, first, 4 * PAGE), 0);
    ck_assert_ptr_eq(anon(first, 4, ANON | MAP_FIXED_NOREPLACE), first);
    end();
}
END_TEST

START_TEST(outside_the_arena_it_replaces_memory_of_the_programs_own)
{
    begin(NULL);
    char *own = kernel_mmap(NULL, 8 * PAGE, RW, ANON, -1, 0);

    memset(own, 'o', 8 * PAGE);
    ck_assert_ptr_eq(anon(own + 2 * PAGE, 2, ANON | MAP_FIXED), own + 2 * PAGE);
    ck_assert_int_eq(own[2 * PAGE], 0);
    ck_assert_int_eq(own[PAGE], 'o');
    ck_assert_int_eq(own[4 * PAGE], 'o');
    ck_assert_int_eq(muse_munmap(muse, own + 2 * PAGE, 2 * PAGE), 0);
    ck_assert_int_eq(probe_read(own + 2 * PAGE).signal, SIGSEGV);
    ck_assert_int_eq(kernel_munmap(own, 8 * PAGE), 0);
    end();
}
END_TEST

struct family {
    char *private, *shared, *wiped, *kept;
};

static void look_as_child(void *ctx)
{
    const struct family *family = ctx;

    ck_assert_int_eq(*family->private, 'p');
    *family->private = 'c';
    *family->shared = 'c';
    ck_assert_int_eq(*family->wiped, 0);
    ck_assert_int_eq(probe_read(family->kept).signal, SIGSEGV);
}

START_TEST(children_inherit_it_as_always)
{
    struct family family;

    begin(NULL);
    family = (struct family){anon(NULL, 1, ANON), anon(NULL, 1, SHARED), anon(NULL, 1, ANON),
                             anon(NULL, 1, ANON)};
    *family.private = *family.shared = *family.wiped = *family.kept = 'p';
    ck_assert_int_eq(muse_madvise(muse, family.wiped, PAGE, MADV_WIPEONFORK), 0);
    ck_assert_int_eq(muse_madvise(muse, family.kept, PAGE, MADV_DONTFORK), 0);
    client_join(client_fork(look_as_child, &family));
    ck_assert_int_eq(*family.private, 'p');
    ck_assert_int_eq(*family.shared, 'c');
    ck_assert_int_eq(*family.wiped, 'p');
    ck_assert_int_eq(muse_madvise(muse, family.wiped, PAGE, MADV_KEEPONFORK), 0);
    end();
}
END_TEST

START_TEST(what_grows_keeps_what_madvise_and_mlock_have_said)
{
    begin(NULL);
    char *first = bare();

    ck_assert_ptr_eq(anon(first, 2, ANON | MAP_FIXED), first);
    ck_assert_int_eq(muse_madvise(muse, first, 2 * PAGE, MADV_DONTFORK), 0);
    ck_assert_int_eq(muse_mlock(muse, first, 2 * PAGE), 0);
    ck_assert_ptr_eq(muse_mremap(muse, first, 2 * PAGE, 6 * PAGE, 0), first);
    ck_assert_int_eq(muse_madvise(muse, first + 5 * PAGE, PAGE, MADV_DONTNEED), -1);
    ck_assert_int_eq(errno, EINVAL); /* locked, too */
    ck_assert_uint_eq(count_maps(), 1);
    end();
}
END_TEST

START_TEST(shared_memory_grows_in_place_with_sigbus_behind_its_end)
{
    begin(NULL);
    char *first = bare(), *again;

    ck_assert_ptr_eq(anon(first, 2, SHARED | MAP_FIXED), first);
    first[PAGE] = 's';
    ck_assert_ptr_eq(muse_mremap(muse, first, 2 * PAGE, 4 * PAGE, 0), first);
    ck_assert_int_eq(first[PAGE], 's');
    ck_assert_int_eq(probe_read(first + 3 * PAGE).signal, SIGBUS);
    again = muse_mremap(muse, first, 0, 2 * PAGE, MREMAP_MAYMOVE);
    ck_assert_ptr_ne(again, MAP_FAILED);
    ck_assert_int_eq(again[PAGE], 's');
    again[PAGE] = 'S';
    ck_assert_int_eq(first[PAGE], 'S');
    end();
}
END_TEST

static void die_with_memory(void *ctx)
{
    struct muse *own = client_connect();

    (void)ctx;
    for (unsigned i = 0;; i++) {
        char *mapped = muse_mmap(own, NULL, (1 + i % 9) * PAGE, RW, i % 2 ? ANON : SHARED, NULL, 0);

        *mapped = 'x';
        (void)!muse_mremap(own, mapped, PAGE, (1 + i % 5) * PAGE, MREMAP_MAYMOVE);
        if (i % 3)
            (void)!muse_munmap(own, mapped, PAGE);
    }
}

START_TEST(a_client_killed_at_any_moment_leaves_nothing)
{
    begin(NULL);
    for (unsigned i = 0; i < 20; i++) {
        const pid_t child = client_fork(die_with_memory, NULL);

        client_sleep_ms(4 + i * 7 % 20);
        client_kill(child);
    }
    end();
}
END_TEST

START_TEST(the_limit_of_mappings_counts_it)
{
    begin("[limits]\nmax_vmas = 3\n");
    for (unsigned i = 0; i < 4; i++)
        (void)anon(NULL, 1, SHARED);
    ck_assert_ptr_eq(muse_mmap(muse, NULL, PAGE, RW, SHARED, NULL, 0), MAP_FAILED);
    ck_assert_int_eq(errno, ENOMEM);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("anon");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, memory_is_zero_and_keeps_what_is_written);
    tcase_add_test(tcase, neighbours_become_one_and_shared_memory_does_not);
    tcase_add_test(tcase, a_file_is_replaced_by_memory_and_memory_by_a_file);
    tcase_add_test(tcase, what_a_driver_does_not_let_be_cut_is_not_replaced);
    tcase_add_test(tcase, noreplace_and_hints_look_at_what_is_there);
    tcase_add_test(tcase, outside_the_arena_it_replaces_memory_of_the_programs_own);
    tcase_add_test(tcase, children_inherit_it_as_always);
    tcase_add_test(tcase, what_grows_keeps_what_madvise_and_mlock_have_said);
    tcase_add_test(tcase, shared_memory_grows_in_place_with_sigbus_behind_its_end);
    tcase_add_test(tcase, a_client_killed_at_any_moment_leaves_nothing);
    tcase_add_test(tcase, the_limit_of_mappings_counts_it);
    return unit_run("anon", tcase);
}
