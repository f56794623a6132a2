/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What clients write through shared mappings and muse_pwrite() reaches the file: by msync, fsync,
 * close, age, and the end of the server; whoever is killed; and nothing else reaches it. With
 * muse-file, in both modes; the file itself is looked at with plain read(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "tests/support/client.h"
#include "tests/support/kernel.h"
#include "tests/support/unit.h"

#define N_PAGES    256u
#define FILE_BYTES (N_PAGES * PAGE - 1000)
#define RW         (PROT_READ | PROT_WRITE)

static const char *const modes[][2] = {
    {"muse-file --writable %s", NULL},
    {"muse-file --writable --mode fill %s", NULL},
};

static struct rig rig;
static struct muse *muse;

/* Loop tests: _i is the mode. Nothing ages in the time of a test unless it says so. */
static void begin(int mode, const char *config)
{
    rig_start(&rig, config ? config : "[deadlines]\nwriteback_ms = 600000\n", modes[mode]);
    rig_file(&rig, "data", FILE_BYTES);
    muse = client_connect();
}

static void end(void)
{
    muse_disconnect(muse);
    rig_stop(&rig);
}

static int open_plain(const char *name)
{
    char path[128];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/%s", rig.data, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static unsigned char byte_of_file(uint64_t offset)
{
    unsigned char byte;
    int fd = open_plain("data");

    ck_assert_int_eq(pread(fd, &byte, 1, (off_t)offset), 1);
    (void)close(fd);
    return byte;
}

static uint64_t size_of_file(void)
{
    struct stat stat;
    int fd = open_plain("data");

    ck_assert_int_eq(fstat(fd, &stat), 0);
    (void)close(fd);
    return (uint64_t)stat.st_size;
}

/* All of the file against a model of it. */
static void expect_file(const unsigned char *model, size_t n_bytes)
{
    unsigned char *bytes = malloc(n_bytes + 1);
    int fd = open_plain("data");
    ssize_t n = pread(fd, bytes, n_bytes + 1, 0);

    ck_assert_ptr_nonnull(bytes);
    ck_assert_int_eq(n, (ssize_t)n_bytes);
    for (size_t i = 0; i < n_bytes; i++) {
        if (bytes[i] != model[i])
            ck_abort_msg("byte %zu of the file is %#x, not %#x", i, bytes[i], model[i]);
    }
    free(bytes);
    (void)close(fd);
}

static unsigned char *make_model(void)
{
    unsigned char *model = malloc(N_PAGES * PAGE);

    ck_assert_ptr_nonnull(model);
    for (size_t i = 0; i < FILE_BYTES; i++)
        model[i] = rig_byte(i);
    memset(model + FILE_BYTES, 0, N_PAGES * PAGE - FILE_BYTES);
    return model;
}

static unsigned char *map_rw(struct muse *of)
{
    unsigned char *mapped = client_map(of, "file/data", O_RDWR, N_PAGES * PAGE, RW, MAP_SHARED);

    ck_assert_ptr_ne(mapped, MAP_FAILED);
    return mapped;
}

/* ---- msync, fsync ---- */

START_TEST(what_was_written_is_in_the_file_after_msync_and_not_before)
{
    begin(_i, NULL);
    unsigned char *model = make_model();
    unsigned char *mapped = map_rw(muse);

    for (size_t page = 0; page < N_PAGES; page += 3)
        model[page * PAGE + page] = mapped[page * PAGE + page] ^= 0xff;
    ck_assert_uint_eq(byte_of_file(0), rig_byte(0));
    ck_assert_int_eq(muse_msync(muse, mapped, N_PAGES * PAGE, MS_SYNC), 0);
    expect_file(model, FILE_BYTES);
    /* and once more: what was clean is seen again when it is written to */
    for (size_t page = 0; page < N_PAGES; page += 3)
        model[page * PAGE + page] = mapped[page * PAGE + page] ^= 0x0f;
    ck_assert_int_eq(muse_msync(muse, mapped, N_PAGES * PAGE, MS_SYNC), 0);
    expect_file(model, FILE_BYTES);
    ck_assert_uint_ge(rig_stat(&rig, "pages_written"), 2 * (N_PAGES / 3));
    free(model);
    end();
}
END_TEST

START_TEST(msync_of_a_part_leaves_the_rest_dirty)
{
    begin(_i, NULL);
    unsigned char *mapped = map_rw(muse);

    mapped[10 * PAGE] ^= 0xff;
    mapped[100 * PAGE] ^= 0xff;
    ck_assert_int_eq(muse_msync(muse, mapped + 10 * PAGE, PAGE, MS_SYNC), 0);
    ck_assert_uint_eq(byte_of_file(10 * PAGE), (unsigned char)(rig_byte(10 * PAGE) ^ 0xff));
    ck_assert_uint_eq(byte_of_file(100 * PAGE), rig_byte(100 * PAGE));
    ck_assert_int_eq(muse_msync(muse, mapped, N_PAGES * PAGE, MS_SYNC), 0);
    ck_assert_uint_eq(byte_of_file(100 * PAGE), (unsigned char)(rig_byte(100 * PAGE) ^ 0xff));
    end();
}
END_TEST

START_TEST(the_tail_behind_the_end_never_reaches_the_file)
{
    begin(_i, NULL);
    unsigned char *model = make_model();
    unsigned char *mapped = map_rw(muse);

    mapped[FILE_BYTES - 1] = model[FILE_BYTES - 1] = 0x5a;
    mapped[FILE_BYTES + 5] = 0x77; /* zero fill of the last page */
    ck_assert_int_eq(muse_msync(muse, mapped, N_PAGES * PAGE, MS_SYNC), 0);
    expect_file(model, FILE_BYTES);
    free(model);
    end();
}
END_TEST

static const struct {
    const char *what;
    size_t at, len;
    int flags;
} syncs[] = {
    {"nothing", 0, 0, MS_SYNC},
    {"async", 0, PAGE, MS_ASYNC},
    {"no flags", 0, PAGE, 0},
    {"not aligned", 8, PAGE, MS_SYNC},
    {"unknown flag", 0, PAGE, 0x80},
    {"both", 0, PAGE, MS_SYNC | MS_ASYNC},
    {"invalidate", 0, PAGE, MS_SYNC | MS_INVALIDATE},
    {"beyond the mapping", 0, (N_PAGES + 8) * PAGE, MS_SYNC},
    {"wraps", PAGE, SIZE_MAX - 10, MS_SYNC},
    {"odd length", 0, 5, MS_SYNC},
};

START_TEST(msync_fails_with_the_kernels_errno)
{
    begin(_i, NULL);
    unsigned char *mapped = map_rw(muse);
    char path[128];
    unsigned char *theirs;
    int fd;

    (void)snprintf(path, sizeof(path), "%s/plain", rig.dir);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, FILE_BYTES), 0);
    theirs =
        kernel_mmap(NULL, (N_PAGES + 16) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_eq(kernel_mmap(theirs, N_PAGES * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0),
                     theirs);
    ck_assert_int_eq(kernel_munmap(theirs + N_PAGES * PAGE, 16 * PAGE), 0);
    for (size_t i = 0; i < sizeof(syncs) / sizeof(syncs[0]); i++) {
        const int kernel =
            msync(theirs + syncs[i].at, syncs[i].len, syncs[i].flags) < 0 ? errno : 0;
        const int ours =
            muse_msync(muse, mapped + syncs[i].at, syncs[i].len, syncs[i].flags) < 0 ? errno : 0;

        ck_assert_msg(kernel == ours, "%s: %s, the kernel says %s", syncs[i].what,
                      strerrorname_np(ours), strerrorname_np(kernel));
    }
    ck_assert_int_eq(kernel_munmap(theirs, N_PAGES * PAGE), 0);
    (void)close(fd);
    (void)unlink(path);
    end();
}
END_TEST

/* ---- by itself ---- */

static bool is_clean(const struct rig *of, void *arg)
{
    (void)arg;
    return rig_stat(of, "pages_written") > 0;
}

START_TEST(a_page_that_was_dirty_for_long_enough_is_written_back)
{
    begin(_i, "[deadlines]\nwriteback_ms = 50\n");
    unsigned char *mapped = map_rw(muse);

    mapped[7 * PAGE] ^= 0xff;
    rig_wait(is_clean, &rig, NULL, "the page to be written back");
    ck_assert_uint_eq(byte_of_file(7 * PAGE), (unsigned char)(rig_byte(7 * PAGE) ^ 0xff));
    end();
}
END_TEST

START_TEST(unmapping_is_enough)
{
    begin(_i, NULL);
    unsigned char *mapped = map_rw(muse);

    mapped[7 * PAGE] ^= 0xff;
    ck_assert_int_eq(muse_munmap(muse, mapped, N_PAGES * PAGE), 0);
    rig_wait(is_clean, &rig, NULL, "the page to be written back");
    ck_assert_uint_eq(byte_of_file(7 * PAGE), (unsigned char)(rig_byte(7 * PAGE) ^ 0xff));
    end();
}
END_TEST

static void write_and_wait(void *ctx)
{
    struct muse *own = client_connect();
    unsigned char *mapped = map_rw(own);

    (void)ctx;
    for (size_t page = 0; page < N_PAGES; page++)
        mapped[page * PAGE + 1] ^= 0xff;
    mapped[2] = 0x42; /* seen by the parent through its own mapping */
    for (;;)
        (void)pause();
}

START_TEST(a_writer_that_is_killed_has_written_what_it_wrote)
{
    begin(_i, NULL);
    unsigned char *model = make_model();
    volatile unsigned char *seen = map_rw(muse);
    pid_t pid = client_fork(write_and_wait, NULL);

    while (seen[2] != 0x42)
        client_sleep_ms(1);
    client_kill(pid);
    rig_wait(is_clean, &rig, NULL, "the pages to be written back");
    ck_assert_int_eq(muse_msync(muse, (void *)(uintptr_t)seen, N_PAGES * PAGE, MS_SYNC), 0);
    for (size_t page = 0; page < N_PAGES; page++)
        model[page * PAGE + 1] ^= 0xff;
    model[2] = 0x42;
    expect_file(model, FILE_BYTES);
    free(model);
    end();
}
END_TEST

START_TEST(the_end_of_the_server_writes_back_first)
{
    begin(_i, NULL);
    unsigned char *mapped = map_rw(muse);
    char path[128], copy[128], command[300];

    for (size_t page = 0; page < N_PAGES; page += 5)
        mapped[page * PAGE + 3] = 0x99;
    (void)snprintf(path, sizeof(path), "%s/data", rig.data);
    (void)snprintf(copy, sizeof(copy), "/tmp/muse-it-copy.%d", (int)getpid());
    (void)snprintf(command, sizeof(command), "ln %s %s", path, copy); /* outlives the rig */
    ck_assert_int_eq(system(command), 0);
    muse_disconnect(muse);
    rig_stop(&rig);
    {
        int fd = open(copy, O_RDONLY | O_CLOEXEC);
        unsigned char byte;

        ck_assert_int_ge(fd, 0);
        for (size_t page = 0; page < N_PAGES; page += 5) {
            ck_assert_int_eq(pread(fd, &byte, 1, (off_t)(page * PAGE + 3)), 1);
            ck_assert_uint_eq(byte, 0x99);
        }
        (void)close(fd);
        (void)unlink(copy);
    }
}
END_TEST

/* ---- while it is being written ---- */

struct writer {
    unsigned char *mapped;
    atomic_bool stop;
    unsigned n_rounds;
};

static void *keep_writing(void *arg)
{
    struct writer *writer = arg;

    while (!atomic_load(&writer->stop)) {
        for (size_t page = 0; page < N_PAGES; page++)
            writer->mapped[page * PAGE + 8]++;
        writer->n_rounds++;
    }
    return NULL;
}

START_TEST(pages_written_to_while_they_are_written_back_are_written_again)
{
    begin(_i, NULL);
    struct writer writer = {.mapped = map_rw(muse)};
    pthread_t thread;

    for (size_t page = 0; page < N_PAGES; page++)
        writer.mapped[page * PAGE + 8] = 0;
    ck_assert_int_eq(pthread_create(&thread, NULL, keep_writing, &writer), 0);
    for (unsigned i = 0; i < 30; i++)
        ck_assert_int_eq(muse_msync(muse, writer.mapped, N_PAGES * PAGE, MS_SYNC), 0);
    atomic_store(&writer.stop, true);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_uint_gt(writer.n_rounds, 0);
    ck_assert_int_eq(muse_msync(muse, writer.mapped, N_PAGES * PAGE, MS_SYNC), 0);
    for (size_t page = 0; page < N_PAGES; page++)
        ck_assert_uint_eq(byte_of_file(page * PAGE + 8), writer.mapped[page * PAGE + 8]);
    end();
}
END_TEST

/* ---- pwrite ---- */

START_TEST(pwrite_is_coherent_with_mappings_and_reaches_the_file)
{
    begin(_i, NULL);
    unsigned char *model = make_model();
    volatile unsigned char *seen = map_rw(muse);
    struct muse_file *file = client_open(muse, "file/data", O_RDWR);
    unsigned char bytes[3 * PAGE];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)(i * 7 + 1);
    ck_assert_uint_eq(seen[5 * PAGE], rig_byte(5 * PAGE));
    ck_assert_int_eq(muse_pwrite(file, bytes, sizeof(bytes), 5 * PAGE + 100), sizeof(bytes));
    memcpy(model + 5 * PAGE + 100, bytes, sizeof(bytes));
    for (size_t i = 4 * PAGE; i < 10 * PAGE; i++)
        ck_assert_uint_eq(seen[i], model[i]);
    ck_assert_int_eq(muse_fsync(file), 0);
    expect_file(model, FILE_BYTES);
    ck_assert_int_eq(muse_close(file), 0);
    free(model);
    end();
}
END_TEST

START_TEST(pwrite_behind_the_end_grows_the_file)
{
    begin(_i, NULL);
    struct muse_file *file = client_open(muse, "file/data", O_RDWR);
    const off_t at = N_PAGES * PAGE + 5000;
    unsigned char *mapped;
    struct stat stat;

    ck_assert_int_eq(muse_pwrite(file, "hello", 5, at), 5);
    ck_assert_int_eq(muse_fstat(file, &stat), 0);
    ck_assert_int_eq(stat.st_size, at + 5);
    mapped = muse_mmap(muse, NULL, (N_PAGES + 4) * PAGE, PROT_READ, MAP_SHARED, file, 0);
    ck_assert_ptr_ne(mapped, MAP_FAILED);
    ck_assert_int_eq(memcmp(mapped + at, "hello", 5), 0);
    ck_assert_uint_eq(mapped[at - 1], 0);
    ck_assert_uint_eq(mapped[FILE_BYTES - 1], rig_byte(FILE_BYTES - 1));
    ck_assert_int_eq(probe_read(mapped + (N_PAGES + 3) * PAGE).signal, SIGBUS);
    ck_assert_int_eq(muse_fsync(file), 0);
    ck_assert_uint_eq(size_of_file(), (uint64_t)at + 5);
    ck_assert_uint_eq(byte_of_file((uint64_t)at), 'h');
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

START_TEST(pwrite_needs_a_file_opened_for_writing)
{
    begin(_i, NULL);
    struct muse_file *file = client_open(muse, "file/data", O_RDONLY);

    ck_assert_int_eq(muse_pwrite(file, "x", 1, 0), -1);
    ck_assert_int_eq(errno, EBADF);
    ck_assert_int_eq(muse_pwrite(file, "x", 1, -1), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(muse_ftruncate(file, 5), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

#define N_RECORDS    200
#define RECORD_BYTES 16

/* Records of one letter each, of which nobody writes another one there. */
static void append_records(struct muse *of, char letter)
{
    struct muse_file *file = client_open(of, "file/data", O_RDWR);
    char record[RECORD_BYTES], seen[RECORD_BYTES];
    off_t at;

    memset(record, letter, sizeof(record));
    for (int i = 0; i < N_RECORDS; i++) {
        ck_assert_int_eq(muse_append(file, record, sizeof(record), &at), RECORD_BYTES);
        ck_assert_int_eq(muse_pread(file, seen, sizeof(seen), at), RECORD_BYTES);
        ck_assert_int_eq(memcmp(seen, record, sizeof(seen)), 0);
    }
    ck_assert_int_eq(muse_fsync(file), 0);
    ck_assert_int_eq(muse_close(file), 0);
}

static void append_in_child(void *letter)
{
    struct muse *own = client_connect();

    append_records(own, *(char *)letter);
    muse_disconnect(own);
}

START_TEST(clients_that_append_at_a_time_lose_nothing)
{
    char letters[] = "abc";
    unsigned counts[3] = {0};
    pid_t children[2];

    begin(_i, NULL);
    for (int i = 0; i < 2; i++)
        children[i] = client_fork(append_in_child, &letters[i]);
    append_records(muse, letters[2]);
    for (int i = 0; i < 2; i++)
        client_join(children[i]);
    ck_assert_uint_eq(size_of_file(), FILE_BYTES + 3 * N_RECORDS * RECORD_BYTES);
    for (unsigned i = 0; i < 3 * N_RECORDS; i++)
        counts[byte_of_file(FILE_BYTES + i * RECORD_BYTES) - 'a']++;
    for (int i = 0; i < 3; i++)
        ck_assert_uint_eq(counts[i], N_RECORDS);
    end();
}
END_TEST

/* ---- ftruncate, fallocate ---- */

START_TEST(shrinking_is_sigbus_behind_the_end_and_growing_is_zeros)
{
    begin(_i, NULL);
    unsigned char *mapped = map_rw(muse);
    struct muse_file *file = client_open(muse, "file/data", O_RDWR);

    for (size_t page = 0; page < N_PAGES; page++)
        mapped[page * PAGE] ^= 0xff;
    ck_assert_int_eq(muse_ftruncate(file, 10 * PAGE + 50), 0);
    ck_assert_uint_eq(size_of_file(), 10 * PAGE + 50);
    ck_assert_int_eq(probe_read(mapped + 11 * PAGE).signal, SIGBUS);
    ck_assert_int_eq(probe_write(mapped + 200 * PAGE, 1).signal, SIGBUS);
    ck_assert_uint_eq(mapped[10 * PAGE], (unsigned char)(rig_byte(10 * PAGE) ^ 0xff));
    ck_assert_uint_eq(mapped[10 * PAGE + 50], 0);
    ck_assert_int_eq(muse_ftruncate(file, FILE_BYTES), 0);
    for (size_t page = 11; page < N_PAGES; page++)
        ck_assert_uint_eq(mapped[page * PAGE], 0);
    mapped[100 * PAGE] = 7;
    ck_assert_int_eq(muse_msync(muse, mapped, N_PAGES * PAGE, MS_SYNC), 0);
    ck_assert_uint_eq(byte_of_file(100 * PAGE), 7);
    ck_assert_uint_eq(byte_of_file(101 * PAGE), 0);
    ck_assert_uint_eq(byte_of_file(3 * PAGE), (unsigned char)(rig_byte(3 * PAGE) ^ 0xff));
    ck_assert_uint_eq(size_of_file(), FILE_BYTES);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

#define LARGE_BYTES ((size_t)8 << 20) /* four runs of the server's at a time */

/* Each round is cut off while the driver's threads are at it: its bytes neither land behind the cut,
 * nor is it an error that they cannot. */
START_TEST(what_is_cut_off_while_it_is_written_back_does_not_come_back)
{
    static unsigned char bytes[LARGE_BYTES];

    begin(_i, NULL);
    struct muse_file *file = client_open(muse, "file/data", O_RDWR);

    for (unsigned round = 0; round < 30; round++) {
        unsigned char *mapped = map_rw(muse);

        memset(bytes, 'w', sizeof(bytes));
        ck_assert_int_eq(muse_pwrite(file, bytes, sizeof(bytes), 0), sizeof(bytes));
        /* a writer goes: it is on its way from here on, but nobody waits */
        ck_assert_int_eq(muse_munmap(muse, mapped, N_PAGES * PAGE), 0);
        ck_assert_int_eq(muse_ftruncate(file, 5), 0);
        ck_assert_int_eq(muse_ftruncate(file, LARGE_BYTES), 0);
        ck_assert_int_eq(muse_pread(file, bytes, sizeof(bytes), 0), sizeof(bytes));
        for (size_t at = PAGE; at < LARGE_BYTES; at += 16 * PAGE)
            ck_assert_uint_eq(bytes[at], 0);
        ck_assert_msg(muse_fsync(file) == 0, "%s", muse_last_error_text());
        for (size_t at = PAGE; at < LARGE_BYTES; at += 16 * PAGE)
            ck_assert_uint_eq(byte_of_file(at), 0);
    }
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

START_TEST(punched_and_zeroed_ranges_are_zero_for_everybody)
{
    begin(_i, NULL);
    unsigned char *model = make_model();
    unsigned char *mapped = map_rw(muse);
    struct muse_file *file = client_open(muse, "file/data", O_RDWR);

    for (size_t page = 0; page < N_PAGES; page++)
        model[page * PAGE + 9] = mapped[page * PAGE + 9] = 0x31;
    ck_assert_int_eq(
        muse_fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 20 * PAGE + 7, 5 * PAGE),
        0);
    memset(model + 20 * PAGE + 7, 0, 5 * PAGE);
    for (size_t i = 19 * PAGE; i < 27 * PAGE; i++)
        ck_assert_uint_eq(mapped[i], model[i]);
    ck_assert_int_eq(muse_fsync(file), 0);
    expect_file(model, FILE_BYTES);
    ck_assert_int_eq(muse_fallocate(file, 0, 0, (N_PAGES + 10) * PAGE), 0);
    ck_assert_uint_eq(size_of_file(), (N_PAGES + 10) * PAGE);
    ck_assert_int_eq(muse_fallocate(file, 0x40, 0, PAGE), -1);
    ck_assert_int_eq(errno, EOPNOTSUPP);
    ck_assert_int_eq(muse_close(file), 0);
    free(model);
    end();
}
END_TEST

/* ---- two clients, and random work against a model ---- */

START_TEST(random_writes_by_two_clients_end_in_the_file_as_in_a_model)
{
    uint64_t seed = unit_seed();

    begin(_i, "[deadlines]\nwriteback_ms = 5\n");
    unsigned char *model = make_model();
    struct muse *second = client_connect();
    unsigned char *mapped[2] = {map_rw(muse), map_rw(second)};
    struct muse_file *file = client_open(second, "file/data", O_RDWR);

    for (unsigned i = 0; i < 20000; i++) {
        const size_t at = unit_random(&seed) % FILE_BYTES;
        const unsigned char byte = (unsigned char)unit_random(&seed);
        const unsigned kind = (unsigned)(unit_random(&seed) % 100);

        if (kind < 45) {
            model[at] = mapped[kind % 2][at] = byte;
        } else if (kind < 90) {
            if (mapped[kind % 2][at] != model[at])
                ck_abort_msg("step %u: byte %zu is %#x, not %#x", i, at, mapped[kind % 2][at],
                             model[at]);
        } else if (kind < 94) {
            ck_assert_int_eq(muse_pwrite(file, &byte, 1, (off_t)at), 1);
            model[at] = byte;
        } else if (kind < 97) {
            ck_assert_int_eq(muse_msync(kind % 2 ? second : muse,
                                        mapped[kind % 2] + at / PAGE * PAGE, PAGE, MS_SYNC),
                             0);
            ck_assert_uint_eq(byte_of_file(at), model[at]);
        }
    }
    ck_assert_int_eq(muse_fsync(file), 0);
    expect_file(model, FILE_BYTES);
    ck_assert_int_eq(muse_close(file), 0);
    muse_disconnect(second);
    free(model);
    end();
}
END_TEST

START_TEST(the_driver_killed_is_an_error_of_the_next_sync)
{
    begin(_i, NULL);
    unsigned char *mapped = map_rw(muse);

    mapped[0] ^= 0xff;
    ck_assert_int_eq(kill(rig_driver_pid(&rig, "file"), SIGKILL), 0);
    ck_assert_int_eq(muse_msync(muse, mapped, PAGE, MS_SYNC), -1);
    ck_assert_int_eq(errno, EIO);
    ck_assert_uint_eq(mapped[0], (unsigned char)(rig_byte(0) ^ 0xff));
    ck_assert_int_ne(wait_for_driver(&rig, "file", 0), 0);
    end();
}
END_TEST

/* ---- a driver that fails, waits, refuses ---- */

static const char *const faulty[] = {"muse-faulty --register=writes", NULL};

static volatile unsigned char *begin_faulty(const char *name, const char *config)
{
    void *mapped;

    rig_start(&rig, config ? config : "[deadlines]\nwriteback_ms = 600000\nhook_ms = 400\n",
              faulty);
    muse = client_connect();
    mapped = client_map(muse, name, O_RDWR, 16 * PAGE, RW, MAP_SHARED);
    ck_assert_ptr_ne(mapped, MAP_FAILED);
    return mapped;
}

static int sync_all(volatile unsigned char *mapped)
{
    return muse_msync(muse, (void *)(uintptr_t)mapped, 16 * PAGE, MS_SYNC) < 0 ? errno : 0;
}

START_TEST(a_failing_writeback_is_told_once_and_the_page_is_written_again)
{
    volatile unsigned char *mapped = begin_faulty("faulty/x,writeback-fails=1", NULL);

    mapped[0] = 1;
    ck_assert_int_eq(sync_all(mapped), EIO);
    ck_assert_str_ne(muse_last_error_text(), "");
    ck_assert_int_eq(sync_all(mapped), 0);
    ck_assert_uint_eq(rig_counter("writeback"), 2);
    ck_assert_uint_ge(rig_counter("fsync"), 1);
    ck_assert_int_eq(sync_all(mapped), 0);
    ck_assert_uint_eq(rig_counter("writeback"), 2); /* nothing is dirty */
    end();
}
END_TEST

START_TEST(fsync_of_the_driver_failing_is_the_calls_errno)
{
    volatile unsigned char *mapped = begin_faulty("faulty/x,fsync-errno=28", NULL);

    mapped[0] = 1;
    ck_assert_int_eq(sync_all(mapped), ENOSPC);
    end();
}
END_TEST

START_TEST(a_driver_that_never_writes_has_a_deadline)
{
    volatile unsigned char *mapped = begin_faulty("faulty/x,writeback-never", NULL);

    mapped[0] = 1;
    ck_assert_int_eq(sync_all(mapped), ETIMEDOUT);
    ck_assert_uint_eq(mapped[0], 1);
    ck_assert_int_eq(kill(rig_driver_pid(&rig, "faulty"), SIGKILL), 0); /* else it is tried again */
    end();
}
END_TEST

/* Else an older write could land on a newer one. */
START_TEST(pages_of_a_late_writeback_are_asked_for_again_only_after_its_answer)
{
    volatile unsigned char *mapped = begin_faulty("faulty/x,writeback-delay-ms=4000", NULL);
    unsigned n_refused = 0;

    mapped[0] = 1;
    ck_assert_int_eq(sync_all(mapped), ETIMEDOUT);
    mapped[0] = 2;
    while (rig_counter("writeback") == 1) {
        ck_assert_int_eq(sync_all(mapped), ETIMEDOUT);
        n_refused++;
        (void)usleep(10000);
    }
    ck_assert_uint_gt(n_refused, 1); /* the last of them asked */
    ck_assert_uint_eq(mapped[0], 2);
    ck_assert_int_eq(kill(rig_driver_pid(&rig, "faulty"), SIGKILL), 0); /* else it is tried again */
    end();
}
END_TEST

START_TEST(a_driver_that_dies_while_it_writes_is_an_error_and_the_bytes_stay_readable)
{
    volatile unsigned char *mapped =
        begin_faulty("faulty/x,die-in=writeback", "[deadlines]\nwriteback_ms = 600000\n");

    mapped[5 * PAGE] = 77;
    ck_assert_int_eq(sync_all(mapped), EIO);
    ck_assert_uint_eq(mapped[5 * PAGE], 77);
    mapped[5 * PAGE] = 78; /* and writable */
    ck_assert_int_eq(sync_all(mapped), EIO);
    ck_assert_int_ne(wait_for_driver(&rig, "faulty", 0), 0);
    end();
}
END_TEST

START_TEST(page_mkwrite_is_asked_once_for_each_clean_page)
{
    volatile unsigned char *mapped = begin_faulty("faulty/x,ops=mkwrite,mkwrite-delay-ms=5", NULL);

    for (unsigned i = 0; i < 3; i++) {
        for (size_t page = 0; page < 8; page++)
            mapped[page * PAGE] = (unsigned char)i;
        for (size_t page = 0; page < 8; page++)
            ck_assert_uint_eq(mapped[page * PAGE], i);
    }
    ck_assert_uint_eq(rig_counter("mkwrite"), 8);
    ck_assert_int_eq(sync_all(mapped), 0);
    mapped[3 * PAGE] = 9; /* clean again, so asked again */
    ck_assert_uint_eq(rig_counter("mkwrite"), 9);
    end();
}
END_TEST

START_TEST(page_mkwrite_refused_is_sigbus_at_that_write_and_the_page_stays_readable)
{
    volatile unsigned char *mapped = begin_faulty("faulty/x,ops=mkwrite,mkwrite-errno=28", NULL);
    struct muse_error error;
    struct probe probe;

    ck_assert_uint_eq(faulty_word((const void *)(uintptr_t)mapped, 2, 1), 2 * 512 + 1);
    probe = probe_write((void *)(uintptr_t)(mapped + 2 * PAGE), 1);
    ck_assert_int_eq(probe.signal, SIGBUS);
    ck_assert_int_eq(muse_error_at(muse, (const void *)(uintptr_t)(mapped + 2 * PAGE), &error), 0);
    ck_assert_int_eq(error.error, ENOSPC);
    ck_assert_str_eq(error.hook, "page_mkwrite");
    client_sleep_ms(400); /* longer than the page is poison */
    ck_assert_uint_eq(faulty_word((const void *)(uintptr_t)mapped, 2, 1), 2 * 512 + 1);
    probe = probe_write((void *)(uintptr_t)(mapped + 2 * PAGE), 1);
    ck_assert_int_eq(probe.signal, SIGBUS);
    ck_assert_int_eq(sync_all(mapped), 0);
    ck_assert_uint_eq(rig_counter("writeback"), 0);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("writeback");

    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, what_was_written_is_in_the_file_after_msync_and_not_before, 0, 2);
    tcase_add_loop_test(tcase, msync_of_a_part_leaves_the_rest_dirty, 0, 2);
    tcase_add_loop_test(tcase, the_tail_behind_the_end_never_reaches_the_file, 0, 2);
    tcase_add_loop_test(tcase, msync_fails_with_the_kernels_errno, 0, 2);
    tcase_add_loop_test(tcase, a_page_that_was_dirty_for_long_enough_is_written_back, 0, 2);
    tcase_add_loop_test(tcase, unmapping_is_enough, 0, 2);
    tcase_add_loop_test(tcase, a_writer_that_is_killed_has_written_what_it_wrote, 0, 2);
    tcase_add_loop_test(tcase, the_end_of_the_server_writes_back_first, 0, 2);
    tcase_add_loop_test(tcase, pages_written_to_while_they_are_written_back_are_written_again, 0,
                        2);
    tcase_add_loop_test(tcase, pwrite_is_coherent_with_mappings_and_reaches_the_file, 0, 2);
    tcase_add_loop_test(tcase, pwrite_behind_the_end_grows_the_file, 0, 2);
    tcase_add_loop_test(tcase, clients_that_append_at_a_time_lose_nothing, 0, 2);
    tcase_add_loop_test(tcase, pwrite_needs_a_file_opened_for_writing, 0, 2);
    tcase_add_loop_test(tcase, shrinking_is_sigbus_behind_the_end_and_growing_is_zeros, 0, 2);
    tcase_add_loop_test(tcase, what_is_cut_off_while_it_is_written_back_does_not_come_back, 0, 2);
    tcase_add_loop_test(tcase, punched_and_zeroed_ranges_are_zero_for_everybody, 0, 2);
    tcase_add_loop_test(tcase, random_writes_by_two_clients_end_in_the_file_as_in_a_model, 0, 2);
    tcase_add_loop_test(tcase, the_driver_killed_is_an_error_of_the_next_sync, 0, 2);
    tcase_add_test(tcase, a_failing_writeback_is_told_once_and_the_page_is_written_again);
    tcase_add_test(tcase, fsync_of_the_driver_failing_is_the_calls_errno);
    tcase_add_test(tcase, a_driver_that_never_writes_has_a_deadline);
    tcase_add_test(tcase, pages_of_a_late_writeback_are_asked_for_again_only_after_its_answer);
    tcase_add_test(tcase,
                   a_driver_that_dies_while_it_writes_is_an_error_and_the_bytes_stay_readable);
    tcase_add_test(tcase, page_mkwrite_is_asked_once_for_each_clean_page);
    tcase_add_test(tcase, page_mkwrite_refused_is_sigbus_at_that_write_and_the_page_stays_readable);
    return unit_run("writeback", tcase);
}
