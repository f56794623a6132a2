/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One object, several mappings, handles and processes: what is shared is coherent, what is private
 * stays private, and who may only read cannot write by any way round.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <muse/muse.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "tests/support/client.h"
#include "tests/support/unit.h"

#define N_PAGES    64u
#define FILE_BYTES (N_PAGES * PAGE - 100)
#define NOBODY     65534u

static const char *const faulty[] = {"muse-faulty", NULL};
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

static void expect_pattern(const void *mapped)
{
    for (size_t i = 0; i < N_PAGES * 512; i++) {
        if (faulty_word(mapped, i / 512, i % 512) != i)
            ck_abort_msg("word %zu is %#llx", i,
                         (unsigned long long)faulty_word(mapped, i / 512, i % 512));
    }
}

/* ---- private ---- */

START_TEST(what_is_written_to_a_private_mapping_nobody_else_sees)
{
    struct muse_file *file;
    struct muse *other;
    uint64_t word;

    begin(faulty);
    other = client_connect();
    uint64_t *own =
        client_map(muse, "faulty/x", O_RDONLY, N_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    uint64_t *twin = client_map(other, "faulty/x", O_RDONLY, N_PAGES * PAGE, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE);
    const void *shared = client_map_ro(other, "faulty/x", N_PAGES);

    ck_assert_ptr_ne(own, MAP_FAILED);
    ck_assert_ptr_ne(twin, MAP_FAILED);
    ck_assert_uint_eq(faulty_word(own, 1, 0), 512); /* one page read before, the others not */
    for (size_t page = 0; page < N_PAGES; page++)
        own[page * 512] = UINT64_C(0xdeadbeef);
    expect_pattern(twin);
    expect_pattern(shared);
    twin[512] = 1;
    ck_assert_uint_eq(faulty_word(own, 1, 0), UINT64_C(0xdeadbeef));
    ck_assert_uint_eq(faulty_word(own, 1, 1), 513);
    ck_assert_uint_eq(faulty_word(shared, 1, 0), 512);
    file = client_open(muse, "faulty/x", O_RDONLY);
    ck_assert_int_eq(muse_pread(file, &word, sizeof(word), (off_t)(3 * PAGE)), sizeof(word));
    ck_assert_uint_eq(word, 3 * 512);
    ck_assert_int_eq(muse_close(file), 0);
    muse_disconnect(other);
    end();
}
END_TEST

START_TEST(a_private_mapping_of_a_failing_page_is_sigbus_for_writers_too)
{
    begin(faulty);
    char *mapped = client_map(muse, "faulty/x,fault-errno=5,page=2", O_RDONLY, 4 * PAGE,
                              PROT_READ | PROT_WRITE, MAP_PRIVATE);

    ck_assert_ptr_ne(mapped, MAP_FAILED);
    ck_assert_int_eq(probe_write(mapped + 2 * PAGE, 1).signal, SIGBUS);
    ck_assert_int_eq(probe_write(mapped + PAGE, 1).signal, 0);
    ck_assert_int_eq(probe_write(mapped + 3 * PAGE, 1).signal, 0);
    end();
}
END_TEST

/* ---- shared and writable ---- */

struct pair {
    int to_child, from_parent, to_parent, from_child;
};

static void tell(int fd)
{
    ck_assert_int_eq(write(fd, "x", 1), 1);
}

static void hear(int fd)
{
    char byte;

    ck_assert_int_eq(read(fd, &byte, 1), 1);
}

/* Adds 1 to the first byte of each page the other process wrote, and writes page 7 itself. */
static void second_writer(void *ctx)
{
    const struct pair *pair = ctx;
    struct muse *own = client_connect();
    unsigned char *mapped =
        client_map(own, "file/data", O_RDWR, N_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);

    ck_assert_ptr_ne(mapped, MAP_FAILED);
    hear(pair->from_parent);
    for (size_t page = 0; page < N_PAGES; page += 2) {
        ck_assert_uint_eq(mapped[page * PAGE], (unsigned char)page);
        mapped[page * PAGE]++;
    }
    ck_assert(file_is(mapped + 7 * PAGE, 7 * PAGE, PAGE));
    memset(mapped + 7 * PAGE, 'c', PAGE);
    tell(pair->to_parent);
    hear(pair->from_parent); /* stay until everything has been looked at */
    muse_disconnect(own);
}

START_TEST(two_processes_see_each_others_writes_at_once)
{
    struct muse_file *file;
    struct pair pair;
    unsigned char bytes[PAGE];
    int down[2], up[2];
    pid_t child;

    begin(writable);
    ck_assert_int_eq(pipe(down), 0);
    ck_assert_int_eq(pipe(up), 0);
    pair = (struct pair){down[1], down[0], up[1], up[0]};
    child = client_fork(second_writer, &pair);
    unsigned char *mapped =
        client_map(muse, "file/data", O_RDWR, N_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);

    ck_assert_ptr_ne(mapped, MAP_FAILED);
    for (size_t page = 0; page < N_PAGES; page += 2)
        mapped[page * PAGE] = (unsigned char)page;
    tell(pair.to_child);
    hear(pair.from_child);
    for (size_t page = 0; page < N_PAGES; page += 2) {
        ck_assert_uint_eq(mapped[page * PAGE], (unsigned char)(page + 1));
        ck_assert(file_is(mapped + page * PAGE + 1, page * PAGE + 1, PAGE / 2));
    }
    file = client_open(muse, "file/data", O_RDONLY);
    ck_assert_int_eq(muse_pread(file, bytes, PAGE, (off_t)(7 * PAGE)), PAGE);
    for (size_t i = 0; i < PAGE; i++)
        ck_assert_uint_eq(bytes[i], 'c');
    ck_assert_int_eq(muse_close(file), 0);
    tell(pair.to_child);
    client_join(child);
    ck_assert_uint_eq(mapped[7 * PAGE], 'c'); /* outlives the process that wrote it */
    for (unsigned i = 0; i < 2; i++) {
        (void)close(down[i]);
        (void)close(up[i]);
    }
    end();
}
END_TEST

START_TEST(one_process_sees_its_writes_in_all_its_mappings_and_in_pread)
{
    struct muse_file *file;
    unsigned char byte;

    begin(writable);
    unsigned char *shared =
        client_map(muse, "file/data", O_RDWR, N_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
    unsigned char *alias = client_map_at(muse, "file/data", O_RDWR,
                                         (struct client_span){NULL, 8 * PAGE, (off_t)(8 * PAGE)},
                                         PROT_READ | PROT_WRITE, MAP_SHARED);
    unsigned char *private = client_map(muse, "file/data", O_RDONLY, N_PAGES * PAGE,
                                        PROT_READ | PROT_WRITE, MAP_PRIVATE);

    ck_assert_ptr_ne(shared, MAP_FAILED);
    ck_assert_ptr_ne(alias, MAP_FAILED);
    ck_assert_ptr_ne(private, MAP_FAILED);
    private[9 * PAGE] = 1; /* from now on a copy of its own */
    shared[9 * PAGE] = 2;
    ck_assert_uint_eq(alias[PAGE], 2);
    ck_assert_uint_eq(private[9 * PAGE], 1);
    alias[2 * PAGE] = 3;
    ck_assert_uint_eq(shared[10 * PAGE], 3);
    ck_assert_uint_eq(private[10 * PAGE], 3); /* not copied yet: still the object's */
    file = client_open(muse, "file/data", O_RDONLY);
    ck_assert_int_eq(muse_pread(file, &byte, 1, (off_t)(9 * PAGE)), 1);
    ck_assert_uint_eq(byte, 2);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

/* ---- reading only ---- */

/* Everything a client could try with the fd it was given. */
static void try_to_write(int fd)
{
    char path[64];

    ck_assert_int_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    ck_assert_int_eq(pwrite(fd, "x", 1, 0), -1);
    ck_assert_int_eq(ftruncate(fd, 0), -1);
    ck_assert_int_eq(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE), -1);
    ck_assert_int_eq(fchmod(fd, 0666), -1);
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    ck_assert_ptr_eq(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    ck_assert_int_eq(errno, EACCES);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    ck_assert_int_eq(open(path, O_RDWR | O_CLOEXEC), -1);
    ck_assert_int_eq(errno, EACCES);
    ck_assert_int_eq(open(path, O_WRONLY | O_TRUNC | O_CLOEXEC), -1);
}

static void become_nobody(void)
{
    ck_assert_int_eq(setgroups(0, NULL), 0);
    ck_assert_int_eq(setgid(NOBODY), 0);
    ck_assert_int_eq(setuid(NOBODY), 0);
}

static void hostile_reader(void *ctx)
{
    struct muse *own;
    struct muse_file *file;
    uint64_t *mapped;

    (void)ctx;
    become_nobody();
    own = client_connect();
    file = client_open(own, "faulty/x", O_RDONLY);
    try_to_write(client_cache_fd());
    mapped = muse_mmap(own, NULL, N_PAGES * PAGE, PROT_READ, MAP_SHARED, file, 0);
    ck_assert_ptr_ne(mapped, MAP_FAILED);
    ck_assert_int_eq(probe_write(mapped, 1).signal, SIGSEGV);
    ck_assert_int_eq(mprotect(mapped, N_PAGES * PAGE, PROT_READ | PROT_WRITE), 0);
    for (size_t page = 0; page < N_PAGES; page++)
        mapped[page * 512] = UINT64_C(0xbad); /* a private copy, whatever was asked for */
    ck_assert_ptr_eq(muse_mmap(own, NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0),
                     MAP_FAILED);
    ck_assert_int_eq(errno, EACCES);
    ck_assert_int_eq(muse_close(file), 0);
    muse_disconnect(own);
}

START_TEST(a_client_that_may_only_read_cannot_write_by_any_way_round)
{
    begin(faulty);
    const void *mapped = client_map_ro(muse, "faulty/x", N_PAGES);

    ck_assert_uint_eq(faulty_word(mapped, 1, 1), 513);
    client_join(client_fork(hostile_reader, NULL));
    expect_pattern(mapped);
    end();
}
END_TEST

/* Page caches of objects that can be truncated cannot be sealed. A cluster of more than a few pages is written to the
 * file from a mapping, which then has no pages. */
START_TEST(who_cuts_off_a_page_cache_behind_the_servers_back_loses_only_his_own_writes)
{
    struct muse_file *file;
    char *mapped, *other;

    begin(writable);
    rig_file(&rig, "other", FILE_BYTES);
    file = client_open(muse, "file/data", O_RDWR);
    mapped = muse_mmap(muse, NULL, N_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    ck_assert_ptr_ne(mapped, MAP_FAILED);
    memset(mapped, 'w', FILE_BYTES);
    ck_assert_int_eq(ftruncate(client_cache_fd(), 0), 0);
    ck_assert_int_eq(muse_msync(muse, mapped, N_PAGES * PAGE, MS_SYNC), -1);
    ck_assert_int_eq(errno, EIO);
    other =
        client_map(muse, "file/other", O_RDWR, N_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
    ck_assert_ptr_ne(other, MAP_FAILED);
    memset(other, 'w', FILE_BYTES);
    ck_assert_int_eq(muse_msync(muse, other, N_PAGES * PAGE, MS_SYNC), 0);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

/* The file of the page cache is as long as it is, also for who may write into it. */
START_TEST(a_writer_that_comes_after_a_reader_can_neither_shrink_nor_grow_the_object)
{
    const uint64_t n_bytes = N_PAGES * PAGE;
    struct muse_file *file;
    char *mapped, *written;
    int fd;

    begin(faulty);
    mapped =
        client_map_ro(muse, "faulty/x,size=256K", N_PAGES); /* makes the object; its fd is closed */
    expect_pattern(mapped);
    file = client_open(muse, "faulty/x,size=256K", O_RDWR);
    fd = client_cache_fd();
    ck_assert_int_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
    ck_assert_int_eq(ftruncate(fd, 0), -1);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_eq(ftruncate(fd, (off_t)n_bytes - 1), -1);
    ck_assert_int_eq(ftruncate(fd, (off_t)n_bytes * 2), -1);
    ck_assert_int_eq(fallocate(fd, 0, (off_t)n_bytes, PAGE), -1);
    ck_assert_int_eq(pwrite(fd, "x", 1, (off_t)n_bytes), -1);
    written = muse_mmap(muse, NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    ck_assert_ptr_ne(written, MAP_FAILED);
    expect_pattern(mapped);
    ck_assert_int_eq(probe_read(mapped + n_bytes - PAGE).signal, 0);
    written[1] = 'w';
    ck_assert_int_eq(mapped[1], 'w');
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

static void expect_read_only(const char *name)
{
    static const int oflags[] = {O_RDWR, O_WRONLY, O_RDWR | O_CREAT};
    struct muse_file *file = client_open(muse, name, O_RDONLY);
    const char *why;

    ck_assert_int_eq(muse_close(file), 0);
    for (size_t i = 0; i < N_ELEMENTS(oflags); i++) {
        ck_assert_int_eq(muse_open(muse, name, oflags[i], &file), -1);
        ck_assert_int_eq(errno, EROFS);
        why = muse_last_error_text();
        ck_assert_msg(strstr(why, "read-only") != NULL, "%s", why);
    }
}

START_TEST(a_driver_that_said_so_is_never_asked_to_open_for_writing)
{
    static const char *const drivers[] = {"muse-file %s", "muse-zero", "muse-faulty", NULL};
    json_t *document;

    begin(drivers);
    expect_read_only("file/data");
    expect_read_only("zero/64K");
    document = rig_ctl(&rig, "drivers");
    ck_assert(json_is_true(json_object_get(json_entry(document, "name", "file"), "read_only")));
    ck_assert(json_is_false(json_object_get(json_entry(document, "name", "faulty"), "read_only")));
    json_decref(document);
    end();
}
END_TEST

/* Reads the memfd through a mapping that nobody serves: zero pages come into being in it. */
static void stray_reader(void *ctx)
{
    struct muse *own;
    struct muse_file *file;
    volatile uint64_t *mapped;
    uint64_t sum = 0;

    (void)ctx;
    become_nobody();
    own = client_connect();
    file = client_open(own, "faulty/x", O_RDONLY);
    mapped = mmap(NULL, N_PAGES * PAGE, PROT_READ, MAP_SHARED, client_cache_fd(), 0);
    ck_assert_ptr_ne((void *)(uintptr_t)mapped, MAP_FAILED);
    for (size_t page = 0; page < N_PAGES; page++)
        sum += mapped[page * 512 + 1];
    ck_assert_uint_eq(sum, 0);
    ck_assert_int_eq(muse_close(file), 0);
    muse_disconnect(own);
}

START_TEST(a_client_that_touches_the_cache_behind_the_servers_back_hurts_nobody)
{
    begin(faulty);
    struct muse_file *file = client_open(muse, "faulty/x", O_RDONLY); /* keeps the object */

    client_join(client_fork(stray_reader, NULL));
    const void *mapped = client_map_ro(muse, "faulty/x", N_PAGES);

    expect_pattern(mapped);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

/* ---- pread ---- */

START_TEST(pread_reads_the_objects_bytes_up_to_its_end)
{
    static unsigned char bytes[FILE_BYTES + 1000];

    begin(writable);
    struct muse_file *file = client_open(muse, "file/data", O_RDONLY);

    ck_assert_int_eq(muse_pread(file, bytes, sizeof(bytes), 0), FILE_BYTES);
    ck_assert(file_is(bytes, 0, FILE_BYTES));
    ck_assert_int_eq(muse_pread(file, bytes, 1000, FILE_BYTES - 10), 10);
    ck_assert(file_is(bytes, FILE_BYTES - 10, 10));
    ck_assert_int_eq(muse_pread(file, bytes, 1000, FILE_BYTES), 0);
    ck_assert_int_eq(muse_pread(file, bytes, 1000, (off_t)1 << 50), 0);
    ck_assert_int_eq(muse_pread(file, bytes, 0, 5), 0);
    ck_assert_int_eq(muse_pread(file, bytes, 777, 12345), 777);
    ck_assert(file_is(bytes, 12345, 777));
    ck_assert_int_eq(muse_pread(file, bytes, 1, -1), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(muse_pread(file, (void *)(uintptr_t)16, 100, 0), -1);
    ck_assert_int_eq(errno, EFAULT);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

START_TEST(pread_over_a_failing_page_is_short_and_then_an_error)
{
    uint64_t words[4 * 512];

    begin(faulty);
    struct muse_file *file = client_open(muse, "faulty/x,fault-errno=5,page=2", O_RDONLY);

    ck_assert_int_eq(muse_pread(file, words, sizeof(words), 0), 2 * PAGE);
    for (size_t i = 0; i < 2 * 512; i++)
        ck_assert_uint_eq(words[i], i);
    ck_assert_int_eq(muse_pread(file, words, sizeof(words), (off_t)(2 * PAGE)), -1);
    ck_assert_int_eq(errno, EIO);
    ck_assert_int_eq(muse_pread(file, words, 8, (off_t)(2 * PAGE + 16)), -1);
    ck_assert_int_eq(errno, EIO);
    ck_assert_int_eq(muse_pread(file, words, PAGE, (off_t)(3 * PAGE)), PAGE);
    ck_assert_uint_eq(words[1], 3 * 512 + 1);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("sharing");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, what_is_written_to_a_private_mapping_nobody_else_sees);
    tcase_add_test(tcase, a_private_mapping_of_a_failing_page_is_sigbus_for_writers_too);
    tcase_add_test(tcase, two_processes_see_each_others_writes_at_once);
    tcase_add_test(tcase, one_process_sees_its_writes_in_all_its_mappings_and_in_pread);
    tcase_add_test(tcase, a_client_that_may_only_read_cannot_write_by_any_way_round);
    tcase_add_test(tcase,
                   a_writer_that_comes_after_a_reader_can_neither_shrink_nor_grow_the_object);
    tcase_add_test(tcase, a_driver_that_said_so_is_never_asked_to_open_for_writing);
    tcase_add_test(tcase, a_client_that_touches_the_cache_behind_the_servers_back_hurts_nobody);
    tcase_add_test(tcase, pread_reads_the_objects_bytes_up_to_its_end);
    tcase_add_test(tcase, pread_over_a_failing_page_is_short_and_then_an_error);
    tcase_add_test(tcase,
                   who_cuts_off_a_page_cache_behind_the_servers_back_loses_only_his_own_writes);
    return unit_run("sharing", tcase);
}
