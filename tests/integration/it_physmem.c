/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-physmem on a table in /proc/iomem's format: what may be mapped, with which errno and flags, that
 * it is mapped directly, and that a mapping which copies on write spans all.
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "tests/support/client.h"
#include "tests/support/folder.h"
#include "tests/support/unit.h"

#define RW (PROT_READ | PROT_WRITE)

static const char table[] = "00000000-0000ffff : Reserved\n"
                            "00010000-0003ffff : System RAM\n"
                            "00080000-000fffff : PCI Bus 0000:00\n"
                            "  00080000-0008ffff : 0000:00:02.0\n"
                            "00100800-00100fff : not at a page\n";

static struct rig rig;
static struct muse *muse;

static void begin(void)
{
    static char driver[256];
    static const char *const drivers[] = {driver, NULL};

    folder_write("iomem", table, strlen(table));
    (void)snprintf(driver, sizeof(driver), "muse-physmem --table %s --memory %s",
                   folder_path("iomem"), folder_path("bytes"));
    rig_start(&rig, NULL, drivers);
    muse = client_connect();
}

static void end(void)
{
    muse_disconnect(muse);
    rig_stop(&rig);
}

static unsigned char *map(const char *name, size_t length, int flags, off_t offset)
{
    return client_map_at(muse, name, O_RDWR, (struct client_span){NULL, length, offset}, RW, flags);
}

static unsigned char byte_at(off_t address)
{
    const int fd = open(folder_path("bytes"), O_RDONLY | O_CLOEXEC);
    unsigned char byte;

    ck_assert_int_eq(pread(fd, &byte, 1, address), 1);
    (void)close(fd);
    return byte;
}

START_TEST(offsets_are_addresses_and_nobody_is_asked_for_pages)
{
    unsigned char *all, *bus;

    begin();
    all = map("physmem/mem", 0x40000, MAP_SHARED, 0);
    ck_assert_msg(all != MAP_FAILED, "%s", muse_last_error_text());
    all[0x12345] = 5;
    ck_assert_uint_eq(byte_at(0x12345), 5);
    bus = map("physmem/80000-fffff", 2 * PAGE, MAP_SHARED, 0x3000);
    ck_assert_msg(bus != MAP_FAILED, "%s", muse_last_error_text());
    bus[1] = 6;
    ck_assert_uint_eq(byte_at(0x83001), 6);
    ck_assert_uint_eq(rig_stat(&rig, "faults"), 0);
    ck_assert_int_eq(muse_munmap(muse, all, 0x40000), 0);
    ck_assert_int_eq(muse_munmap(muse, bus, 2 * PAGE), 0);
    end();
}
END_TEST

START_TEST(flags_are_those_of_remap_pfn_range)
{
    static const char *const flags[] = {"io", "pfnmap", "dontexpand", "dontdump"};
    unsigned char *bytes;

    begin();
    bytes = map("physmem/mem", PAGE, MAP_SHARED, 0x10000);
    ck_assert_ptr_ne(bytes, MAP_FAILED);
    for (size_t i = 0; i < N_ELEMENTS(flags); i++)
        ck_assert_msg(client_vma_flag(&rig, bytes, flags[i]), "%s", flags[i]);
    ck_assert_ptr_eq(muse_mremap(muse, bytes, PAGE, 2 * PAGE, MREMAP_MAYMOVE), MAP_FAILED);
    ck_assert_int_eq(errno, EFAULT);
    ck_assert_int_eq(muse_munmap(muse, bytes, PAGE), 0);
    end();
}
END_TEST

/* Linux: of such a mapping pgoff is the page frame's number, so that what was copied can be told. */
START_TEST(a_mapping_that_copies_on_write_spans_all_and_says_which_page_it_was)
{
    unsigned char *bytes;
    json_t *vma;

    begin();
    bytes = map("physmem/10000-3ffff", 4 * PAGE, MAP_PRIVATE, 0x2000);
    ck_assert_msg(bytes != MAP_FAILED, "%s", muse_last_error_text());
    vma = client_vma(&rig, bytes);
    ck_assert_int_eq(json_integer_value(json_object_get(vma, "pgoff")), 0x12);
    json_decref(vma);
    bytes[PAGE] = 9;
    ck_assert_uint_eq(byte_at(0x13000), 0);
    ck_assert_uint_eq(bytes[PAGE], 9);
    ck_assert_int_eq(muse_munmap(muse, bytes, 4 * PAGE), 0);
    end();
}
END_TEST

static const struct refusal {
    const char *name;
    size_t length;
    off_t offset;
    int error;
} refusals[] = {
    {"physmem/mem", PAGE, 0x40000, EPERM},            /* in a gap */
    {"physmem/mem", 2 * PAGE, 0x3f000, EPERM},        /* into one */
    {"physmem/mem", 0x50000, 0, EPERM},               /* over one */
    {"physmem/mem", PAGE, 0x101000, EINVAL},          /* behind the end */
    {"physmem/mem", PAGE, 0x7000000000, EINVAL},      /* far */
    {"physmem/80000-fffff", 0x80000, 0x1000, EINVAL}, /* over the object's */
    {"physmem/100800-100fff", PAGE, 0, EINVAL},       /* no page */
    {"physmem/mem", PAGE, 0x100000, EPERM},           /* a part of a page */
};

START_TEST(addresses_that_are_not_in_the_table_are_refused)
{
    const struct refusal *row = &refusals[_i];

    begin();
    ck_assert_ptr_eq(map(row->name, row->length, MAP_SHARED, row->offset), MAP_FAILED);
    ck_assert_msg(errno == row->error, "%s", muse_last_error_text());
    end();
}
END_TEST

START_TEST(names_are_those_of_the_table)
{
    struct muse_file *file;

    begin();
    ck_assert_int_eq(muse_open(muse, "physmem/80000-8ffff", O_RDWR, &file), 0);
    ck_assert_int_eq(muse_close(file), 0);
    ck_assert_int_eq(muse_open(muse, "physmem/80000-8fff", O_RDWR, &file), -1);
    ck_assert_int_eq(errno, ENOENT);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("physmem");

    tcase_add_checked_fixture(tcase, folder_make, folder_remove);
    tcase_add_test(tcase, offsets_are_addresses_and_nobody_is_asked_for_pages);
    tcase_add_test(tcase, flags_are_those_of_remap_pfn_range);
    tcase_add_test(tcase, a_mapping_that_copies_on_write_spans_all_and_says_which_page_it_was);
    tcase_add_loop_test(tcase, addresses_that_are_not_in_the_table_are_refused, 0,
                        N_ELEMENTS(refusals));
    tcase_add_test(tcase, names_are_those_of_the_table);
    tcase_set_timeout(tcase, 60);
    return unit_run("physmem", tcase);
}
