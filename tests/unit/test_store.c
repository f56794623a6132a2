/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of server/store: the state arena against a naive model with random operations, buffers, and
 * memfds of both page sizes. The tests of 2 MiB pages say so and pass when the machine has none
 * free.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "server/store/count.h"
#include "server/store/store.h"
#include "tests/support/huge_pages.h"
#include "tests/support/unit.h"

#define N_HUGE 4 /* pages of the machine */

#define N_TABLES 40U
#define N_STEPS  2000U

static struct store store;

static void setup(void)
{
    ck_assert_int_eq(store_init(&store), 0);
}

static void teardown(void)
{
    store_done(&store);
}

struct table {
    _Atomic uint8_t *states;
    uint64_t n_pages;
};

static void table_new(struct table *table, uint64_t n_pages, uint8_t mark)
{
    uint64_t i;

    table->n_pages = n_pages;
    ck_assert_int_eq(store_states_new(&store, n_pages, &table->states), 0);
    for (i = 0; i < n_pages; i++) {
        UNIT_EXPECT(table->states[i] == 0);
        table->states[i] = mark;
    }
}

static void table_check(const struct table *table, uint8_t mark)
{
    uint64_t i;

    for (i = 0; i < table->n_pages; i++)
        UNIT_EXPECT(table->states[i] == mark);
}

START_TEST(random_tables_never_overlap_and_are_always_zero_when_new)
{
    struct table tables[N_TABLES] = {0};
    uint64_t random = unit_seed();
    unsigned step;
    unsigned i;

    for (step = 0; step < N_STEPS; step++) {
        i = (unsigned)(unit_random(&random) % N_TABLES);
        if (tables[i].states) {
            table_check(&tables[i], (uint8_t)(i + 1));
            store_states_free(&store, tables[i].states, tables[i].n_pages);
            tables[i].states = NULL;
        } else {
            /* small ones are cleared by memset, large ones by a hole with ragged ends */
            table_new(&tables[i], unit_random(&random) % (step % 8 == 0 ? 300000 : 3000),
                      (uint8_t)(i + 1));
        }
    }
    for (i = 0; i < N_TABLES; i++)
        store_states_free(&store, tables[i].states, tables[i].n_pages);
    ck_assert_uint_eq(store.states_used_bytes, 0);
}
END_TEST

START_TEST(the_whole_arena_can_be_one_table_and_again_after_it_was_cut)
{
    struct table all;
    struct table part[3];
    _Atomic uint8_t *none = NULL;

    ck_assert_int_eq(store_states_new(&store, STORE_STATES_BYTES, &all.states), 0);
    all.states[STORE_STATES_BYTES - 1] = 1;
    ck_assert_int_eq(store_states_new(&store, 1, &none), -ENOMEM);
    ck_assert_ptr_null((void *)(uintptr_t)none);
    store_states_free(&store, all.states, STORE_STATES_BYTES);
    ck_assert_int_eq(store_states_new(&store, STORE_STATES_BYTES + 1, &none), -ENOMEM);
    ck_assert_int_eq(store_states_new(&store, UINT64_MAX, &none), -ENOMEM);
    table_new(&part[0], 0, 1);
    table_new(&part[1], 100, 2);
    table_new(&part[2], 64, 3);
    store_states_free(&store, part[1].states, 100);
    store_states_free(&store, part[0].states, 0);
    store_states_free(&store, part[2].states, 64);
    ck_assert_int_eq(store_states_new(&store, STORE_STATES_BYTES, &all.states), 0);
    ck_assert_uint_eq(all.states[STORE_STATES_BYTES - 1], 0);
    store_states_free(&store, all.states, STORE_STATES_BYTES);
}
END_TEST

START_TEST(a_large_table_gives_its_memory_back)
{
    struct stat st;
    struct table table;

    table_new(&table, 4 << 20, 1);
    store_states_free(&store, table.states, table.n_pages);
    ck_assert_int_eq(fstat(store.states_fd, &st), 0);
    ck_assert_int_eq(st.st_blocks, 0);
}
END_TEST

START_TEST(buffers_are_aligned_writable_and_reused)
{
    uint8_t *buffers[STORE_BUFFERS_KEPT + 2];
    uint8_t *again;
    unsigned i;

    for (i = 0; i < N_ELEMENTS(buffers); i++) {
        buffers[i] = store_buffer_get(&store);
        ck_assert_ptr_nonnull(buffers[i]);
        ck_assert_uint_eq((uintptr_t)buffers[i] % STORE_BUFFER_BYTES, 0);
        memset(buffers[i], 0xff, STORE_BUFFER_BYTES);
    }
    ck_assert_uint_eq(store.n_buffers, N_ELEMENTS(buffers));
    for (i = 0; i < N_ELEMENTS(buffers); i++)
        store_buffer_put(&store, buffers[i]);
    store_buffer_put(&store, NULL);
    ck_assert_uint_eq(store.n_buffers, STORE_BUFFERS_KEPT);
    ck_assert_uint_eq(store.n_free_buffers, STORE_BUFFERS_KEPT);
    again = store_buffer_get(&store);
    ck_assert_ptr_eq(again, buffers[STORE_BUFFERS_KEPT - 1]); /* the last one kept */
    store_buffer_put(&store, again);
}
END_TEST

static void check_byte(const struct backing *backing, uint64_t offset, int byte)
{
    uint8_t got;

    ck_assert_int_eq(pread(backing->fd, &got, 1, (off_t)offset), 1);
    ck_assert_int_eq(got, byte);
}

static void backing_open(struct backing *backing, uint64_t n_pages, uint64_t page_bytes)
{
    ck_assert_int_eq(
        backing_new(&store, backing, "test-object", n_pages * page_bytes, page_bytes, false), 0);
}

static void check_bytes_come_and_go(uint64_t page_bytes)
{
    struct backing backing;
    uint8_t data[8192];
    const uint64_t across = 2 * page_bytes - 100; /* the border of pages 1 and 2 */

    backing_open(&backing, 4, page_bytes);
    memset(data, 0x5a, sizeof(data));
    ck_assert_uint_eq(backing_resident_bytes(&backing), 0);
    ck_assert_int_eq(backing_write(&backing, across, data, 200), 0);
    ck_assert_int_eq(backing_write(&backing, 4 * page_bytes, data, 0), 0);
    ck_assert_uint_eq(backing_resident_bytes(&backing), 2 * page_bytes);
    check_byte(&backing, across - 1, 0);
    check_byte(&backing, across, 0x5a);
    check_byte(&backing, across + 199, 0x5a);
    check_byte(&backing, across + 200, 0);
    ck_assert_int_eq(backing_write(&backing, across + 100, data + 7, 1),
                     0); /* keeps what is there */
    check_byte(&backing, across + 199, 0x5a);
    ck_assert_int_eq(backing_zero(&backing, range_make(page_bytes, 2 * page_bytes)), 0);
    check_byte(&backing, across, 0);
    check_byte(&backing, across + 100, 0x5a);
    ck_assert_uint_eq(backing_resident_bytes(&backing), 2 * page_bytes);
    backing_punch(&backing, range_make(0, 4 * page_bytes));
    backing_punch(&backing, range_make(page_bytes, page_bytes));
    ck_assert_uint_eq(backing_resident_bytes(&backing), 0);
    check_byte(&backing, across + 100, 0);
    backing_done(&backing);
    backing_done(&backing);
}

START_TEST(bytes_of_small_pages_come_and_go)
{
    check_bytes_come_and_go(PAGE_BYTES_SMALL);
}
END_TEST

START_TEST(bytes_of_huge_pages_come_and_go)
{
    check_bytes_come_and_go(PAGE_BYTES_HUGE);
}
END_TEST

START_TEST(too_few_huge_pages_are_an_error_and_not_a_signal)
{
    struct backing backing;
    const uint64_t n_pages = 1 << 16; /* 128 GiB: more than this machine has */
    uint64_t i;
    int r = 0;

    backing_open(&backing, n_pages, PAGE_BYTES_HUGE);
    for (i = 0; i < n_pages && r == 0; i++)
        r = backing_write(&backing, i * PAGE_BYTES_HUGE, "x", 1);
    ck_assert_int_eq(r, -ENOSPC);
    ck_assert_int_eq(
        backing_zero(&backing, range_make(i * PAGE_BYTES_HUGE, (i + 1) * PAGE_BYTES_HUGE)),
        -ENOSPC);
    check_byte(&backing, 0, 'x');
    backing_done(&backing);
}
END_TEST

START_TEST(a_backing_is_sealed_private_and_rounded_up)
{
    struct backing backing;
    struct stat st;
    char name[1000];

    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    ck_assert_int_eq(backing_new(&store, &backing, name, 4097, PAGE_BYTES_SMALL, true), 0);
    ck_assert_uint_eq(backing.size_bytes, 8192);
    ck_assert_int_eq(fstat(backing.fd, &st), 0);
    ck_assert_int_eq(st.st_size, 8192);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    ck_assert_int_eq(ftruncate(backing.fd, 0), -1);
    ck_assert_int_eq(ftruncate(backing.fd, 1 << 20), -1);
    ck_assert_int_eq(fcntl(backing.fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    ck_assert_int_ne(fcntl(backing.fd, F_GETFD) & FD_CLOEXEC, 0);
    backing_done(&backing);
}
END_TEST

/* Where there is none, small pages are all there is. */
static bool has_large(void)
{
    if (!store.has_large)
        printf("left out: this kernel gives no large folios to shared memory\n");
    return store.has_large;
}

START_TEST(a_window_is_read_into_and_keeps_its_bytes)
{
    struct backing backing;
    struct stat st;
    uint8_t *window;
    int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);

    ck_assert_int_ge(zero, 0);
    ck_assert_int_eq(
        backing_new(&store, &backing, "a/b", 3 * PAGE_BYTES_HUGE, PAGE_BYTES_SMALL, false), 0);
    ck_assert_int_eq(backing_write(&backing, PAGE_BYTES_HUGE + 7, "q", 1),
                     0); /* of a stray touch */
    for (uint64_t at = 0; has_large() && at < 3 * PAGE_BYTES_HUGE; at += PAGE_BYTES_HUGE) {
        window = backing_block_begin(&store, &backing, at);
        ck_assert_ptr_nonnull(window);
        ck_assert_int_eq(store_populate(window), 0);
        ck_assert_int_eq(pread(backing.fd, window + 1, 1, (off_t)at), 1);
        ck_assert_int_eq(read(zero, window, PAGE_BYTES_HUGE), PAGE_BYTES_HUGE);
        window[4096] = 'w';
        backing_block_end(&backing, window);
        check_byte(&backing, at + 4096, 'w');
        check_byte(&backing, at + 7, 0);
    }
    backing_punch(&backing, (struct range){PAGE_BYTES_HUGE + 4096, PAGE_BYTES_HUGE + 8192});
    check_byte(&backing, PAGE_BYTES_HUGE + 4096, 0);
    ck_assert_int_eq(fstat(backing.fd, &st), 0);
    ck_assert_int_eq(st.st_size, 3 * PAGE_BYTES_HUGE);
    backing_done(&backing);
    (void)close(zero);
}
END_TEST

START_TEST(a_window_beyond_the_file_or_of_a_truncated_one_is_refused)
{
    struct backing backing;

    ck_assert_int_eq(
        backing_new(&store, &backing, "o", PAGE_BYTES_HUGE + 4096, PAGE_BYTES_SMALL, false), 0);
    ck_assert_ptr_null(backing_block_begin(&store, &backing, PAGE_BYTES_HUGE));
    if (has_large() && ftruncate(backing.fd, 0) == 0) { /* as a client with write access can */
        uint8_t *block = backing_block_begin(&store, &backing, 0);

        ck_assert_ptr_nonnull(block);
        ck_assert_int_eq(store_populate(block), -EFAULT);
        backing_block_end(&backing, block);
        ck_assert_int_eq(backing_write(&backing, 5, "q", 1), 0);
        check_byte(&backing, 5, 'q');
    }
    backing_done(&backing);
}
END_TEST

START_TEST(the_read_only_fd_reads_and_does_not_write)
{
    struct backing backing;
    int fd;
    char byte;

    ck_assert_int_eq(backing_new(&store, &backing, "o", 4096, PAGE_BYTES_SMALL, false), 0);
    ck_assert_int_eq(backing_write(&backing, 5, "q", 1), 0);
    fd = backing_readonly_fd(&backing);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(backing_readonly_fd(&backing), fd);
    ck_assert_int_eq(pread(fd, &byte, 1, 5), 1);
    ck_assert_int_eq(byte, 'q');
    ck_assert_int_eq(pwrite(fd, "x", 1, 5), -1);
    ck_assert_int_eq(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1);
    ck_assert_ptr_eq(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    backing_done(&backing);
}
END_TEST

START_TEST(bad_sizes_are_refused_and_size_zero_is_legal)
{
    struct backing backing;

    ck_assert_int_eq(backing_new(&store, &backing, "o", 1, 8192, false), -EINVAL);
    ck_assert_int_eq(backing_new(&store, &backing, "o", UINT64_MAX, PAGE_BYTES_SMALL, false),
                     -EINVAL);
    ck_assert_int_eq(backing_new(&store, &backing, "o", 0, PAGE_BYTES_SMALL, false), 0);
    ck_assert_uint_eq(backing.size_bytes, 0);
    ck_assert_uint_eq(backing_resident_bytes(&backing), 0);
    backing_done(&backing);
}
END_TEST

START_TEST(a_count_is_seen_by_who_has_its_fd_and_changed_by_nobody_else)
{
    _Atomic uint64_t *count;
    const uint64_t *seen;
    int fd;

    ck_assert_int_eq(count_new(&count, &fd), 0);
    seen = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(seen, MAP_FAILED);
    ck_assert_uint_eq(*seen, 0);
    (void)atomic_fetch_add(count, 3);
    ck_assert_uint_eq(*seen, 3);
    ck_assert_ptr_eq(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    ck_assert_int_eq(pwrite(fd, "x", 1, 0), -1);
    ck_assert_int_eq(ftruncate(fd, 0), -1);
    ck_assert_int_eq(munmap((void *)(uintptr_t)seen, 4096), 0);
    (void)close(fd);
    ck_assert_ptr_null(count_free(count));
    ck_assert_ptr_null(count_free(NULL));
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("store");
    const bool has_huge = huge_pages_take(N_HUGE);
    int status;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, random_tables_never_overlap_and_are_always_zero_when_new);
    tcase_add_test(tcase, the_whole_arena_can_be_one_table_and_again_after_it_was_cut);
    tcase_add_test(tcase, a_large_table_gives_its_memory_back);
    tcase_add_test(tcase, buffers_are_aligned_writable_and_reused);
    tcase_add_test(tcase, bytes_of_small_pages_come_and_go);
    tcase_add_test(tcase, a_backing_is_sealed_private_and_rounded_up);
    tcase_add_test(tcase, a_window_is_read_into_and_keeps_its_bytes);
    tcase_add_test(tcase, a_window_beyond_the_file_or_of_a_truncated_one_is_refused);
    tcase_add_test(tcase, the_read_only_fd_reads_and_does_not_write);
    tcase_add_test(tcase, bad_sizes_are_refused_and_size_zero_is_legal);
    tcase_add_test(tcase, a_count_is_seen_by_who_has_its_fd_and_changed_by_nobody_else);
    if (!has_huge)
        return unit_run("store", tcase) ? EXIT_FAILURE : HUGE_PAGES_SKIPPED;
    tcase_add_test(tcase, bytes_of_huge_pages_come_and_go);
    tcase_add_test(tcase, too_few_huge_pages_are_an_error_and_not_a_signal);
    status = unit_run("store", tcase);
    huge_pages_give_back(N_HUGE);
    return status;
}
