/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private copies that the kernel has swapped out. Needs a machine where a swap file can be enabled.
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <unistd.h>

#include <check.h>

#include "common/base/linux_abi.h"
#include "tests/support/client.h"
#include "tests/support/unit.h"

#define N_PAGES      ((size_t)16)
#define N_WRITTEN    ((size_t)8)
#define BYTES        (N_PAGES * PAGE)
#define RW           (PROT_READ | PROT_WRITE)
#define TRIES        500u                /* of 10 ms */
#define PAGEMAP_SWAP ((uint64_t)1 << 62) /* Documentation/admin-guide/mm/pagemap.rst */
#define EXIT_SKIPPED 77                  /* what ctest takes for "could not run here" */
#define SWAP_FILE    "/var/tmp/muse-it-swap"
#define MAKE_SWAP_FILE                                                                             \
    "dd if=/dev/zero of=" SWAP_FILE " bs=1M count=16 status=none && "                              \
    "chmod 600 " SWAP_FILE " && mkswap " SWAP_FILE " >/dev/null"

static const char *const drivers[] = {"muse-file %s", NULL};

static struct rig rig;
static struct muse *muse;

static void begin(void)
{
    rig_start(&rig, NULL, drivers);
    rig_file(&rig, "data", BYTES);
    muse = client_connect();
}

static void end(void)
{
    muse_disconnect(muse);
    rig_stop(&rig);
}

/* ---- out of memory with them ---- */

static bool is_swapped(const char *page)
{
    const int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    uint64_t entry = 0;

    ck_assert_int_eq(
        pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)page / PAGE * sizeof(entry))),
        sizeof(entry));
    (void)close(fd);
    return entry & PAGEMAP_SWAP;
}

static void swap_out(char *mapped, size_t n_pages)
{
    size_t n_out = 0;

    for (unsigned i = 0; i < TRIES && n_out < n_pages; i++) {
        ck_assert_int_eq(madvise(mapped, n_pages * PAGE, MADV_PAGEOUT), 0);
        client_sleep_ms(10);
        n_out = 0;
        for (size_t page = 0; page < n_pages; page++)
            n_out += is_swapped(mapped + page * PAGE);
    }
    ck_assert_uint_eq(n_out, n_pages);
}

/* ---- private copies ---- */

static void expect_written(const char *mapped)
{
    for (size_t page = 0; page < N_PAGES; page++) {
        const char *bytes = mapped + page * PAGE;

        if (page < N_WRITTEN)
            ck_assert_int_eq(bytes[0], (char)(0x40 + page));
        ck_assert_msg(file_is(bytes + 1, page * PAGE + 1, PAGE - 1), "page %zu", page);
    }
}

static char *private_with_copies(void)
{
    char *mapped = client_map(muse, "file/data", O_RDONLY, BYTES, RW, MAP_PRIVATE);

    ck_assert_ptr_ne(mapped, MAP_FAILED);
    for (size_t page = 0; page < N_WRITTEN; page++)
        mapped[page * PAGE] = (char)(0x40 + page);
    swap_out(mapped, N_WRITTEN);
    return mapped;
}

static void look_at(void *ctx)
{
    expect_written(ctx);
}

START_TEST(private_copies_that_were_swapped_out_are_kept_moved_and_inherited)
{
    unsigned char vec[N_PAGES];
    char *mapped;

    begin();
    mapped = private_with_copies();
    ck_assert_int_eq(muse_mincore(muse, mapped, BYTES, vec), 0);
    for (size_t page = 0; page < N_WRITTEN; page++)
        ck_assert_int_eq(vec[page], 1); /* D14: the object's page is there */
    client_join(client_fork(look_at, mapped));
    mapped =
        muse_mremap(muse, mapped, BYTES, BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, mapped + 64 * PAGE);
    ck_assert_ptr_ne(mapped, MAP_FAILED);
    expect_written(mapped);
    end();
}
END_TEST

START_TEST(after_dontneed_a_swapped_private_copy_is_the_objects_page_again)
{
    char *mapped;

    begin();
    mapped = private_with_copies();
    ck_assert_int_eq(muse_madvise(muse, mapped, BYTES, MADV_DONTNEED), 0);
    ck_assert(file_is(mapped, 0, BYTES));
    ck_assert_int_eq(muse_munmap(muse, mapped, BYTES), 0);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("swap");
    int r = system(MAKE_SWAP_FILE); /* NOLINT(cert-env33-c): a test's own words */

    if (r != 0 || swapon(SWAP_FILE, 0) < 0) {
        perror("no swap on this machine");
        (void)unlink(SWAP_FILE);
        return EXIT_SKIPPED;
    }
    tcase_add_test(tcase, private_copies_that_were_swapped_out_are_kept_moved_and_inherited);
    tcase_add_test(tcase, after_dontneed_a_swapped_private_copy_is_the_objects_page_again);
    tcase_set_timeout(tcase, 60);
    r = unit_run("swap", tcase);
    if (swapoff(SWAP_FILE) < 0)
        perror("swapoff");
    (void)unlink(SWAP_FILE);
    return r;
}
