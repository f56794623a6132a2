/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-hugetlb: what the pool has left after each way in which a mapping can be made, cut, moved,
 * inherited, or come to nothing; and that its files behave as those of hugetlbfs.
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "tests/support/client.h"
#include "tests/support/huge_pages.h"
#include "tests/support/raw.h"
#include "tests/support/unit.h"

#define HUGE_BYTES ((size_t)2 << 20)
#define RW         (PROT_READ | PROT_WRITE)

static struct rig rig;
static struct muse *muse;

static void begin(const char *config)
{
    static const char *const drivers[] = {"muse-hugetlb --no-huge --pages 4", NULL};

    rig_start(&rig, config, drivers);
    muse = client_connect();
}

static void end(void)
{
    muse_disconnect(muse);
    rig_stop(&rig);
}

struct pool {
    unsigned total, free, reserved;
};

static unsigned number_of(const char *text, const char *key)
{
    const char *found = strstr(text, key);

    ck_assert_msg(found != NULL, "no %sin %s", key, text);
    return (unsigned)strtoul(found + strlen(key), NULL, 10);
}

static struct pool pool_now(void)
{
    struct muse_file *file = client_open(muse, "hugetlb/.pool", O_RDONLY);
    char text[128] = "";
    struct pool pool;

    ck_assert_int_gt(muse_pread(file, text, sizeof(text) - 1, 0), 0);
    ck_assert_int_eq(muse_close(file), 0);
    pool.total = number_of(text, "total ");
    pool.free = number_of(text, "free ");
    pool.reserved = number_of(text, "reserved ");
    return pool;
}

static void expect_pool(unsigned n_free, unsigned n_reserved)
{
    const struct pool pool = pool_now();

    ck_assert_uint_eq(pool.total, 4);
    ck_assert_msg(pool.free == n_free && pool.reserved == n_reserved, "free %u reserved %u",
                  pool.free, pool.reserved);
}

static bool pool_is(const struct rig *of, void *arg)
{
    const struct pool *wanted = arg;
    const struct pool pool = pool_now();

    (void)of;
    return pool.free == wanted->free && pool.reserved == wanted->reserved;
}

/* What a process held that is being cleaned up after. */
static void wait_for_pool(unsigned n_free, unsigned n_reserved)
{
    struct pool wanted = {4, n_free, n_reserved};

    rig_wait(pool_is, &rig, &wanted, "the pool to have back what is its own");
}

static unsigned char *map_file(struct muse_file *file, unsigned first, unsigned n, int prot,
                               int flags)
{
    return muse_mmap(muse, NULL, n * HUGE_BYTES, prot, flags, file, (off_t)(first * HUGE_BYTES));
}

static unsigned char *map_pages(const char *name, unsigned first, unsigned n, int flags)
{
    struct muse_file *file = client_open(muse, name, O_RDWR | O_CREAT);
    unsigned char *mapped = map_file(file, first, n, RW, flags);
    const int error = errno;

    ck_assert_int_eq(muse_close(file), 0);
    errno = error;
    return mapped;
}

static unsigned char *must_map(const char *name, unsigned first, unsigned n, int flags)
{
    unsigned char *mapped = map_pages(name, first, n, flags);

    ck_assert_msg(mapped != MAP_FAILED, "%s", muse_last_error_text());
    return mapped;
}

static void unmap(unsigned char *mapped, unsigned n)
{
    ck_assert_int_eq(muse_munmap(muse, mapped, n * HUGE_BYTES), 0);
}

/* ---- reservations ---- */

START_TEST(of_a_pool_of_four_three_are_promised_and_two_more_are_not)
{
    struct muse_file *file;
    unsigned char *mapped;

    begin(NULL);
    mapped = must_map("hugetlb/a", 0, 3, MAP_SHARED);
    expect_pool(4, 3);
    file = client_open(muse, "hugetlb/b", O_RDWR | O_CREAT);
    ck_assert_ptr_eq(map_file(file, 0, 2, RW, MAP_SHARED), MAP_FAILED);
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_ptr_nonnull(strstr(muse_last_error_text(), "1 of the pool's 4 are available"));
    ck_assert_int_eq(muse_close(file), 0);
    expect_pool(4, 3);
    mapped[0] = 1;
    mapped[HUGE_BYTES] = 1;
    expect_pool(2, 1);
    unmap(must_map("hugetlb/a", 1, 2, MAP_SHARED), 2); /* of the same file: promised already */
    expect_pool(2, 1);
    unmap(mapped, 3);
    expect_pool(2, 1); /* the file has them, and not the mapping */
    ck_assert_int_eq(muse_unlink(muse, "hugetlb/a", 0), 0);
    ck_assert_int_eq(muse_unlink(muse, "hugetlb/b", 0), 0);
    wait_for_pool(4, 0);
    end();
}
END_TEST

START_TEST(a_private_reservation_is_its_owners_and_goes_with_its_parts)
{
    unsigned char *mapped, *moved;

    begin(NULL);
    mapped = must_map("hugetlb/a", 0, 4, MAP_PRIVATE);
    expect_pool(4, 4);
    ck_assert_ptr_eq(map_pages("hugetlb/b", 0, 1, MAP_PRIVATE), MAP_FAILED);
    ck_assert_int_eq(errno, ENOMEM);
    unmap(mapped + HUGE_BYTES, 1); /* a hole in the middle */
    expect_pool(4, 3);
    moved = muse_mremap(muse, mapped + 2 * HUGE_BYTES, 2 * HUGE_BYTES, 2 * HUGE_BYTES,
                        MREMAP_MAYMOVE | MREMAP_FIXED, mapped - 64 * HUGE_BYTES);
    ck_assert_msg(moved != MAP_FAILED, "%s", muse_last_error_text());
    expect_pool(4, 3);
    for (unsigned page = 0; page < 2; page++)
        ck_assert_int_eq(probe_read(moved + page * HUGE_BYTES).signal, 0); /* zeros: a hole */
    moved[0] = 7;                                                          /* its own */
    expect_pool(4, 3);
    unmap(moved, 2);
    expect_pool(4, 1);
    unmap(mapped, 1);
    expect_pool(4, 0);
    ck_assert_int_eq(muse_unlink(muse, "hugetlb/a", 0), 0);
    ck_assert_int_eq(muse_unlink(muse, "hugetlb/b", 0), 0);
    end();
}
END_TEST

static void leave(void *ctx)
{
    unsigned char *mapped = ctx;

    mapped[0] = 9;
    ck_assert_uint_eq(mapped[HUGE_BYTES], 5); /* the parent's copy */
    ck_assert_int_eq(muse_munmap(muse, mapped, HUGE_BYTES), 0);
}

START_TEST(a_child_of_fork_has_no_reservation)
{
    unsigned char *mapped;
    pid_t pid;

    begin(NULL);
    mapped = must_map("hugetlb/a", 0, 3, MAP_PRIVATE);
    mapped[HUGE_BYTES] = 5;
    pid = client_fork(leave, mapped);
    client_join(pid);
    expect_pool(4, 3); /* what the child unmapped, and all that ended with it, was not its own */
    ck_assert_uint_eq(mapped[0], 0);
    unmap(mapped, 3);
    wait_for_pool(4, 0);
    ck_assert_int_eq(muse_unlink(muse, "hugetlb/a", 0), 0);
    end();
}
END_TEST

/* ---- what comes to nothing ---- */

static void make(const char *name, unsigned n)
{
    struct muse_file *file = client_open(muse, name, O_RDWR | O_CREAT | O_EXCL);

    ck_assert_int_eq(muse_ftruncate(file, (off_t)(n * HUGE_BYTES)), 0);
    ck_assert_int_eq(muse_close(file), 0);
}

/* A client that asks for a mapping of three pages and does not carry it out. */
static pid_t begin_to_map(void)
{
    const pid_t pid = fork();

    if (pid == 0) {
        struct raw raw;

        raw_hello(&raw, &rig);
        raw_attach(&raw);
        (void)raw_map(&raw, raw_open(&raw, "hugetlb/a"), 0, 3 * HUGE_BYTES, MAP_SHARED);
        for (;;)
            (void)pause();
    }
    ck_assert_int_gt(pid, 0);
    return pid;
}

START_TEST(a_client_that_is_killed_between_prepare_and_complete_gives_all_back)
{
    pid_t pids[2];

    begin("[deadlines]\ninstall_ms = 60000\n");
    make("hugetlb/a", 4);
    pids[0] = begin_to_map();
    wait_for_pool(4, 3);
    pids[1] = begin_to_map(); /* is promised the same pages */
    while (rig_count(&rig, "hugetlb", "prepared") < 2)
        client_sleep_ms(5);
    expect_pool(4, 3);
    client_kill(pids[0]);
    while (rig_count(&rig, "hugetlb", "aborted") < 1)
        client_sleep_ms(5);
    expect_pool(4, 3);
    client_kill(pids[1]);
    wait_for_pool(4, 0);
    ck_assert_uint_eq(rig_count(&rig, "hugetlb", "aborted"), 2);
    ck_assert_int_eq(muse_unlink(muse, "hugetlb/a", 0), 0);
    end();
}
END_TEST

START_TEST(a_client_that_never_confirms_gives_all_back_at_its_deadline)
{
    pid_t pid;

    begin("[deadlines]\ninstall_ms = 200\n");
    make("hugetlb/a", 4);
    pid = begin_to_map();
    while (rig_count(&rig, "hugetlb", "aborted") == 0)
        client_sleep_ms(5);
    wait_for_pool(4, 0);
    client_kill(pid);
    ck_assert_int_eq(muse_unlink(muse, "hugetlb/a", 0), 0);
    end();
}
END_TEST

static void live_dangerously(void *ctx)
{
    unsigned short state[3] = {*(const unsigned short *)ctx, 1, 2};
    struct muse *own = client_connect();

    for (;;) {
        struct muse_file *file = client_open(own, "hugetlb/a", O_RDWR);
        const unsigned n = 1 + (unsigned)nrand48(state) % 4;
        const int flags = nrand48(state) % 2 ? MAP_SHARED : MAP_PRIVATE;
        unsigned char *mapped =
            muse_mmap(own, NULL, n * HUGE_BYTES, RW,
                      flags | (nrand48(state) % 4 ? 0 : MAP_NORESERVE), file, 0);

        (void)muse_close(file);
        if (mapped == MAP_FAILED)
            continue; /* the others have it all */
        for (unsigned page = 0; page < n; page++)
            (void)probe_write(mapped + page * HUGE_BYTES, 1);
        (void)muse_munmap(own, mapped + (n - 1) * HUGE_BYTES, HUGE_BYTES);
        (void)muse_munmap(own, mapped, n * HUGE_BYTES);
    }
}

START_TEST(the_pool_is_exact_after_clients_were_killed_at_random_times)
{
    unsigned short state[3] = {(unsigned short)unit_seed(), 7, 7};

    begin(NULL);
    make("hugetlb/a", 4);
    for (unsigned round = 0; round < 20; round++) {
        unsigned short seeds[2] = {(unsigned short)nrand48(state), (unsigned short)nrand48(state)};
        const pid_t pids[2] = {client_fork(live_dangerously, &seeds[0]),
                               client_fork(live_dangerously, &seeds[1])};

        client_sleep_ms(1 + (unsigned)nrand48(state) % 60);
        client_kill(pids[0]);
        client_kill(pids[1]);
    }
    ck_assert_int_eq(muse_unlink(muse, "hugetlb/a", 0), 0);
    wait_for_pool(4, 0);
    end();
}
END_TEST

START_TEST(without_a_reservation_a_touch_of_a_dry_pool_is_sigbus)
{
    struct muse_file *file;
    struct muse_error why;
    unsigned char *mapped, *again;

    begin(NULL);
    mapped = must_map("hugetlb/a", 0, 6, MAP_SHARED | MAP_NORESERVE);
    expect_pool(4, 0);
    for (unsigned page = 0; page < 4; page++)
        ck_assert_int_eq(probe_write(mapped + page * HUGE_BYTES, 1).signal, 0);
    expect_pool(0, 0);
    ck_assert_int_eq(probe_write(mapped + 4 * HUGE_BYTES, 1).signal, SIGBUS);
    ck_assert_int_eq(muse_error_at(muse, mapped + 4 * HUGE_BYTES, &why), 0);
    ck_assert_int_eq(why.error, ENOMEM);
    ck_assert_ptr_nonnull(strstr(why.text, "none was reserved"));
    file = client_open(muse, "hugetlb/a", O_RDWR);
    ck_assert_int_eq(
        muse_fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)HUGE_BYTES), 0);
    ck_assert_int_eq(muse_close(file), 0);
    expect_pool(1, 0);
    again = must_map("hugetlb/a", 0, 6, MAP_SHARED | MAP_NORESERVE);
    ck_assert_int_eq(probe_write(again + 4 * HUGE_BYTES, 1).signal, 0); /* now there is one */
    ck_assert_int_eq(probe_read(mapped).signal, SIGBUS);
    unmap(again, 6);
    unmap(mapped, 6);
    ck_assert_int_eq(muse_unlink(muse, "hugetlb/a", 0), 0);
    wait_for_pool(4, 0);
    end();
}
END_TEST

/* ---- files ---- */

static off_t size_of(struct muse_file *file)
{
    struct stat st;

    ck_assert_int_eq(muse_fstat(file, &st), 0);
    return st.st_size;
}

START_TEST(a_writable_mapping_extends_the_file_and_a_read_only_one_does_not)
{
    struct muse_file *file, *again;
    unsigned char *mapped, byte;

    begin(NULL);
    file = client_open(muse, "hugetlb/a", O_RDWR | O_CREAT);
    again = client_open(muse, "hugetlb/a", O_RDONLY);
    mapped = map_file(again, 0, 2, PROT_READ, MAP_SHARED);
    ck_assert_ptr_ne(mapped, MAP_FAILED);
    ck_assert_int_eq(size_of(file), 0);
    ck_assert_int_eq(probe_read(mapped).signal, SIGBUS);
    ck_assert_int_eq(muse_pread(file, &byte, 1, 0), 0);
    unmap(map_file(file, 1, 1, RW, MAP_SHARED), 1);
    ck_assert_int_eq(size_of(file), 2 * HUGE_BYTES);
    ck_assert_int_eq(size_of(again), 2 * HUGE_BYTES);
    ck_assert_int_eq(muse_pread(file, &byte, 1, (off_t)(2 * HUGE_BYTES - 1)), 1);
    ck_assert_uint_eq(byte, 0);
    ck_assert_int_eq(probe_read(mapped).signal, 0); /* it is there now */
    unmap(map_file(file, 0, 1, RW, MAP_PRIVATE), 1);
    ck_assert_int_eq(size_of(file), 2 * HUGE_BYTES); /* it never becomes shorter */
    unmap(mapped, 2);
    ck_assert_int_eq(muse_close(again), 0);
    ck_assert_int_eq(muse_close(file), 0);
    ck_assert_int_eq(muse_unlink(muse, "hugetlb/a", 0), 0);
    end();
}
END_TEST

/* ---- a file that cannot grow ---- */

/* Every page of an object has a byte of state, and all objects share 1 GiB for them: objects of all sizes
 * take what there is. Nothing of them is touched. */
static unsigned take_all_states(struct muse_file **files, unsigned n_max)
{
    unsigned n = 0;

    for (uint64_t unit = 1ull << 42; unit >= 64 * PAGE; unit /= 2) {
        uint64_t extra = 0; /* another object */

        for (;;) {
            char name[64];

            ck_assert_uint_lt(n, n_max);
            (void)snprintf(name, sizeof(name), "zero/%llu", (unsigned long long)(unit - extra));
            if (muse_open(muse, name, O_RDONLY, &files[n]) < 0)
                break;
            n++;
            extra++;
        }
        ck_assert_int_eq(errno, ENOMEM);
    }
    return n;
}

static void expect_size(const char *name, off_t size)
{
    struct muse_file *file = client_open(muse, name, O_RDONLY);
    struct stat st;

    ck_assert_int_eq(size_of(file), size);
    ck_assert_int_eq(muse_close(file), 0);
    ck_assert_int_eq(muse_stat(muse, name, &st), 0);
    ck_assert_int_eq(st.st_size, size);
}

/* Its mmap_complete has succeeded, and muse_vma_grow() fails after it. */
START_TEST(a_mapping_whose_file_cannot_grow_fails_and_leaves_its_size_and_the_pool)
{
    static const char *const drivers[] = {"muse-hugetlb --no-huge --pages 4", "muse-zero", NULL};
    const int flags = _i == 0 ? MAP_SHARED : MAP_PRIVATE;
    struct muse_file *file, *hogs[256];
    unsigned char *mapped;
    unsigned n_hogs;

    rig_start(&rig, NULL, drivers);
    muse = client_connect();
    file = client_open(muse, "hugetlb/a", O_RDWR | O_CREAT);
    unmap(map_file(file, 0, 1, RW, MAP_SHARED), 1);
    expect_pool(4, 1);
    n_hogs = take_all_states(hogs, N_ELEMENTS(hogs));
    ck_assert_ptr_eq(map_file(file, 0, 3, RW, flags), MAP_FAILED);
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_msg(strstr(muse_last_error_text(), "as large as its driver wants it") != NULL, "%s",
                  muse_last_error_text());
    ck_assert_uint_eq(rig_count(&rig, "hugetlb", "completed"), 2);
    expect_size("hugetlb/a", HUGE_BYTES);
    ck_assert_int_eq(muse_ftruncate(file, (off_t)(3 * HUGE_BYTES)), -1); /* the driver has agreed */
    ck_assert_int_eq(errno, ENOMEM);
    while (n_hogs > 0)
        ck_assert_int_eq(muse_close(hogs[--n_hogs]), 0);
    expect_pool(4, 1);
    expect_size("hugetlb/a", HUGE_BYTES);
    mapped = map_file(file, 0, 3, RW, flags); /* asked for again */
    ck_assert_msg(mapped != MAP_FAILED, "%s", muse_last_error_text());
    expect_size("hugetlb/a", 3 * HUGE_BYTES);
    ck_assert_int_eq(probe_write(mapped + 2 * HUGE_BYTES, 1).signal, 0);
    unmap(mapped, 3);
    ck_assert_int_eq(muse_close(file), 0);
    ck_assert_int_eq(muse_unlink(muse, "hugetlb/a", 0), 0);
    end();
}
END_TEST

/* Three pages of it, up to the mapping's own hook: mmap_complete, which the driver does not answer. */
static void raw_map_to_complete(struct raw *raw, const char *name, uint32_t flags)
{
    Muse__Wire__Map message = MUSE__WIRE__MAP__INIT;
    const struct frame *install;

    message.file_id = raw_open_rw(raw, name);
    message.length = 3 * HUGE_BYTES;
    message.prot = RW;
    message.flags = flags;
    install = raw_answer(raw, FRAME_MEM_OPS, raw_ask(raw, FRAME_MAP, &message.base));
    rig_stop_driver(&rig, "hugetlb");
    raw_carry_out(raw, install);
    while (!rig_txn_state(&rig, name, "completing"))
        client_sleep_ms(2);
}

static bool is_closed(const struct rig *of, void *arg)
{
    const uint64_t *n_completed = arg;

    return rig_count(of, "hugetlb", "completed") == *n_completed &&
           rig_count(of, "hugetlb", "in_flight") == 0 &&
           !rig_txn_state(of, "hugetlb/a", "owed-complete");
}

/* Nobody carries out what its mmap_complete asks for. */
START_TEST(a_client_that_dies_while_its_file_grows_leaves_its_size_and_the_pool)
{
    uint64_t n_completed = 1;
    struct muse_file *file;
    struct raw raw;

    begin("[deadlines]\nhook_ms = 60000\n");
    file = client_open(muse, "hugetlb/a", O_RDWR | O_CREAT);
    raw_hello(&raw, &rig);
    raw_attach(&raw);
    raw_map_to_complete(&raw, "hugetlb/a", _i == 0 ? MAP_SHARED : MAP_PRIVATE);
    raw_done(&raw);
    while (!rig_txn_state(&rig, "hugetlb/a", "owed-complete"))
        client_sleep_ms(2);
    ck_assert_int_eq(kill(rig_driver_pid(&rig, "hugetlb"), SIGCONT), 0);
    rig_wait(is_closed, &rig, &n_completed, "the mapping to be closed");
    wait_for_pool(4, 0);
    expect_size("hugetlb/a", 0);
    unmap(map_file(file, 0, 1, RW, MAP_SHARED), 1);
    expect_size("hugetlb/a", HUGE_BYTES);
    ck_assert_int_eq(muse_close(file), 0);
    ck_assert_int_eq(muse_unlink(muse, "hugetlb/a", 0), 0);
    end();
}
END_TEST

START_TEST(what_is_not_whole_pages_is_einval)
{
    struct muse_file *file;
    unsigned char *mapped;

    begin(NULL);
    file = client_open(muse, "hugetlb/a", O_RDWR | O_CREAT);
    ck_assert_ptr_eq(muse_mmap(muse, NULL, HUGE_BYTES, RW, MAP_SHARED, file, PAGE), MAP_FAILED);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_ptr_eq(muse_mmap(muse, NULL, HUGE_BYTES - PAGE, RW, MAP_SHARED, file, 0), MAP_FAILED);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(muse_ftruncate(file, PAGE), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_ptr_eq(map_file(file, 1u << 20, 1, RW, MAP_PRIVATE), MAP_FAILED); /* 2 TiB */
    ck_assert_int_eq(errno, EFBIG);
    expect_pool(4, 0);
    mapped = map_file(file, 0, 2, RW, MAP_SHARED);
    ck_assert_uint_eq((uintptr_t)mapped % HUGE_BYTES, 0);
    ck_assert_ptr_eq(muse_mmap(muse, mapped - 8 * HUGE_BYTES + PAGE, HUGE_BYTES, RW,
                               MAP_SHARED | MAP_FIXED_NOREPLACE, file, 0),
                     MAP_FAILED);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(muse_munmap(muse, mapped + PAGE, HUGE_BYTES), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(muse_mprotect(muse, mapped, PAGE, PROT_READ), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_ptr_eq(muse_mremap(muse, mapped, 2 * HUGE_BYTES, 3 * HUGE_BYTES, MREMAP_MAYMOVE),
                     MAP_FAILED); /* VM_DONTEXPAND */
    ck_assert_int_eq(errno, EFAULT);
    ck_assert_ptr_eq(muse_mremap(muse, mapped, 2 * HUGE_BYTES, 2 * HUGE_BYTES,
                                 MREMAP_MAYMOVE | MREMAP_FIXED, mapped - 32 * HUGE_BYTES + PAGE),
                     MAP_FAILED);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert(client_vma_flag(&rig, mapped, "dontexpand"));
    ck_assert(client_vma_flag(&rig, mapped, "hugepage"));
    expect_pool(4, 2);
    unmap(mapped, 2);
    ck_assert_int_eq(muse_close(file), 0);
    ck_assert_int_eq(muse_unlink(muse, "hugetlb/a", 0), 0);
    end();
}
END_TEST

START_TEST(bytes_outlive_clients_and_the_page_cache)
{
    unsigned char *mapped;

    begin(NULL);
    mapped = must_map("hugetlb/a", 0, 2, MAP_SHARED);
    for (size_t at = 0; at < 2 * HUGE_BYTES; at += 509)
        mapped[at] = rig_byte(at);
    unmap(mapped, 2);
    muse_disconnect(muse);
    muse = client_connect();
    expect_pool(2, 0);
    mapped = must_map("hugetlb/a", 0, 2, MAP_SHARED);
    for (size_t at = 0; at < 2 * HUGE_BYTES; at++)
        ck_assert_uint_eq(mapped[at], at % 509 == 0 ? rig_byte(at) : 0);
    unmap(mapped, 2);
    ck_assert_int_eq(muse_unlink(muse, "hugetlb/a", 0), 0);
    wait_for_pool(4, 0);
    mapped =
        must_map("hugetlb/b", 0, 4, MAP_SHARED); /* gets these pages, and none of their bytes */
    for (size_t at = 0; at < 4 * HUGE_BYTES; at++)
        ck_assert_uint_eq(mapped[at], 0);
    unmap(mapped, 4);
    ck_assert_int_eq(muse_unlink(muse, "hugetlb/b", 0), 0);
    end();
}
END_TEST

START_TEST(truncate_and_fallocate_take_pages_and_give_them_back)
{
    struct muse_file *file;
    unsigned char *mapped;

    begin(NULL);
    file = client_open(muse, "hugetlb/a", O_RDWR | O_CREAT);
    ck_assert_int_eq(muse_fallocate(file, 0, 0, (off_t)(3 * HUGE_BYTES)), 0);
    ck_assert_int_eq(size_of(file), 3 * HUGE_BYTES);
    expect_pool(1, 0);
    ck_assert_int_eq(muse_fallocate(file, FALLOC_FL_KEEP_SIZE, 0, (off_t)(5 * HUGE_BYTES)), -1);
    ck_assert_int_eq(errno, ENOSPC);
    ck_assert_int_eq(muse_fallocate(file, FALLOC_FL_ZERO_RANGE, 0, PAGE), -1);
    ck_assert_int_eq(errno, EOPNOTSUPP);
    mapped = map_file(file, 0, 3, RW, MAP_SHARED);
    memset(mapped, 'x', 3 * HUGE_BYTES);
    ck_assert_int_eq(muse_fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE,
                                    (off_t)(2 * HUGE_BYTES)),
                     0);
    ck_assert_uint_eq(mapped[PAGE - 1], 'x');
    ck_assert_uint_eq(mapped[PAGE], 0);
    ck_assert_uint_eq(mapped[HUGE_BYTES + 5], 0);
    ck_assert_uint_eq(mapped[2 * HUGE_BYTES + PAGE - 1], 0);
    ck_assert_uint_eq(mapped[2 * HUGE_BYTES + PAGE], 'x');
    ck_assert_int_eq(muse_ftruncate(file, (off_t)HUGE_BYTES), 0);
    ck_assert_uint_ge(pool_now().free, 3);
    ck_assert_int_eq(probe_read(mapped + HUGE_BYTES).signal, SIGBUS);
    ck_assert_uint_eq(mapped[0], 'x');
    unmap(mapped, 3);
    ck_assert_int_eq(muse_close(file), 0);
    ck_assert_int_eq(muse_unlink(muse, "hugetlb/a", 0), 0);
    wait_for_pool(4, 0);
    end();
}
END_TEST

START_TEST(the_pool_is_of_huge_pages_where_the_machine_grants_them)
{
    static const char *const drivers[] = {"muse-hugetlb --pages 4", NULL};
    const bool is_granted = huge_pages_take(4);
    struct muse_file *file;
    char text[128] = "";
    unsigned char *mapped;

    rig_start(&rig, NULL, drivers);
    muse = client_connect();
    file = client_open(muse, "hugetlb/.pool", O_RDONLY);
    ck_assert_int_gt(muse_pread(file, text, sizeof(text) - 1, 0), 0);
    ck_assert_int_eq(muse_close(file), 0);
    ck_assert_ptr_nonnull(strstr(text, is_granted ? "memory huge" : "memory small"));
    mapped = must_map("hugetlb/a", 0, 4, MAP_SHARED);
    for (size_t at = 0; at < 4 * HUGE_BYTES; at += 509)
        mapped[at] = rig_byte(at);
    unmap(mapped, 4);
    muse_disconnect(muse); /* and the page cache with it */
    muse = client_connect();
    mapped = must_map("hugetlb/a", 0, 4, MAP_SHARED);
    for (size_t at = 0; at < 4 * HUGE_BYTES; at++)
        ck_assert_uint_eq(mapped[at], at % 509 == 0 ? rig_byte(at) : 0);
    unmap(mapped, 4);
    ck_assert_int_eq(muse_unlink(muse, "hugetlb/a", 0), 0);
    end();
    if (is_granted)
        huge_pages_give_back(4);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("hugetlb");

    tcase_add_test(tcase, of_a_pool_of_four_three_are_promised_and_two_more_are_not);
    tcase_add_test(tcase, a_private_reservation_is_its_owners_and_goes_with_its_parts);
    tcase_add_test(tcase, a_child_of_fork_has_no_reservation);
    tcase_add_test(tcase, a_client_that_is_killed_between_prepare_and_complete_gives_all_back);
    tcase_add_test(tcase, a_client_that_never_confirms_gives_all_back_at_its_deadline);
    tcase_add_test(tcase, the_pool_is_exact_after_clients_were_killed_at_random_times);
    tcase_add_test(tcase, without_a_reservation_a_touch_of_a_dry_pool_is_sigbus);
    tcase_add_test(tcase, a_writable_mapping_extends_the_file_and_a_read_only_one_does_not);
    tcase_add_loop_test(
        tcase, a_mapping_whose_file_cannot_grow_fails_and_leaves_its_size_and_the_pool, 0, 2);
    tcase_add_loop_test(tcase, a_client_that_dies_while_its_file_grows_leaves_its_size_and_the_pool,
                        0, 2);
    tcase_add_test(tcase, what_is_not_whole_pages_is_einval);
    tcase_add_test(tcase, bytes_outlive_clients_and_the_page_cache);
    tcase_add_test(tcase, truncate_and_fallocate_take_pages_and_give_them_back);
    tcase_add_test(tcase, the_pool_is_of_huge_pages_where_the_machine_grants_them);
    tcase_set_timeout(tcase, 60);
    return unit_run("hugetlb", tcase);
}
