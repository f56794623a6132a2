/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-bar: a client drives the DMA engine through its BARs, mapped directly: the device's thread
 * reacts to the doorbell, and works by bus addresses, as the client's mappings do.
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <zlib.h>

#include <check.h>

#include "common/base/own.h"
#include "drivers/bar/device.h"
#include "tests/support/client.h"
#include "tests/support/unit.h"

#define RW         (PROT_READ | PROT_WRITE)
#define BANK       ((size_t)256 << 10)
#define BAR1_BYTES (4 * BANK)
#define BAR1_BUS   ((uint64_t)1 << 20)

static struct rig rig;
static struct muse *muse;
static volatile struct device_registers *registers;
static unsigned char *memory;

static void *map(const char *name, size_t length, int flags, off_t offset)
{
    return client_map_at(muse, name, O_RDWR, (struct client_span){NULL, length, offset}, RW, flags);
}

static void begin(void)
{
    static const char *const drivers[] = {"muse-bar", NULL};

    rig_start(&rig, NULL, drivers);
    muse = client_connect();
    registers = map("bar/0", PAGE, MAP_SHARED, 0);
    ck_assert_ptr_ne((void *)(uintptr_t)registers, MAP_FAILED);
    memory = map("bar/1", BAR1_BYTES, MAP_SHARED, 0);
    ck_assert_msg(memory != MAP_FAILED, "%s", muse_last_error_text());
    for (size_t at = 0; at < BAR1_BYTES; at++)
        memory[at] = rig_byte(at);
}

static void end(void)
{
    ck_assert_uint_eq(rig_stat(&rig, "faults"), 0); /* nobody was asked for a page */
    ck_assert_int_eq(muse_munmap(muse, (void *)(uintptr_t)registers, PAGE), 0);
    ck_assert_int_eq(muse_munmap(muse, memory, BAR1_BYTES), 0);
    muse_disconnect(muse);
    rig_stop(&rig);
}

/* Rings, and waits until the device has done it. Return: its error. */
static uint32_t run(enum device_command command, uint64_t source, uint64_t target, uint64_t length)
{
    const uint32_t number = registers->doorbell + 1;

    registers->command = command;
    registers->source = source;
    registers->target = target;
    registers->length = length;
    atomic_store_explicit((_Atomic uint32_t *)(uintptr_t)&registers->doorbell, number,
                          memory_order_release);
    while (atomic_load_explicit((_Atomic uint32_t *)(uintptr_t)&registers->done,
                                memory_order_acquire) != number)
        client_sleep_ms(1);
    return registers->error;
}

START_TEST(the_device_answers_its_doorbell)
{
    begin();
    ck_assert_uint_eq(registers->magic, DEVICE_MAGIC);
    ck_assert_uint_eq(run(DEVICE_CRC, BAR1_BUS, 0, BAR1_BYTES), 0);
    ck_assert_uint_eq(registers->result, crc32(0, memory, BAR1_BYTES));
    ck_assert_uint_eq(run(DEVICE_FILL, 'x', BAR1_BUS + 100, 3 * BANK), 0);
    for (size_t at = 0; at < BAR1_BYTES; at++)
        ck_assert_uint_eq(memory[at], at >= 100 && at < 100 + 3 * BANK ? 'x' : rig_byte(at));
    end();
}
END_TEST

/* From one bank into the next, on both sides at different places. */
START_TEST(bus_addresses_mean_the_same_to_the_device_and_to_mappings)
{
    const size_t from = BANK / 2 + 5, to = 2 * BANK + 100, n = BANK;
    unsigned char *expected = malloc(n);

    begin();
    memcpy(expected, memory + from, n);
    ck_assert_uint_eq(run(DEVICE_COPY, BAR1_BUS + from, BAR1_BUS + to, n), 0);
    ck_assert_mem_eq(memory + to, expected, n);
    ck_assert_uint_eq(run(DEVICE_CRC, BAR1_BUS + from, 0, to - from), 0);
    ck_assert_uint_eq(registers->result, crc32(0, memory + from, (uInt)(to - from)));
    free(expected);
    end();
}
END_TEST

START_TEST(a_part_of_a_bar_shows_the_same_bytes)
{
    begin();
    for (size_t at = 0; at < BAR1_BYTES; at += 64 << 10) {
        const unsigned char *part = map("bar/1", 2 * PAGE, MAP_SHARED, (off_t)at);

        ck_assert_ptr_ne(part, MAP_FAILED);
        ck_assert_mem_eq(part, memory + at, 2 * PAGE);
        ck_assert_int_eq(muse_munmap(muse, (void *)(uintptr_t)part, 2 * PAGE), 0);
    }
    end();
}
END_TEST

START_TEST(a_bad_command_is_an_error_and_the_device_goes_on)
{
    begin();
    ck_assert_uint_eq(run(9, 0, 0, 0), EINVAL);
    ck_assert_uint_eq(run(DEVICE_FILL, 0, 0, 4), EFAULT); /* its registers */
    ck_assert_uint_eq(run(DEVICE_FILL, 0, BAR1_BUS + BAR1_BYTES - 1, 2), EFAULT);
    ck_assert_uint_eq(run(DEVICE_CRC, UINT64_MAX - 1, 0, 8), EFAULT);
    ck_assert_uint_eq(run(DEVICE_COPY, BAR1_BUS, 0x12345678, 8), EFAULT);
    ck_assert_uint_eq(run(DEVICE_CRC, BAR1_BUS, 0, UINT64_MAX), EFAULT);
    ck_assert_uint_eq(registers->magic, DEVICE_MAGIC);
    ck_assert_uint_eq(run(DEVICE_CRC, BAR1_BUS, 0, 8), 0);
    end();
}
END_TEST

static const struct refusal {
    const char *name;
    size_t length;
    int flags;
    off_t offset;
} refusals[] = {
    {"bar/0", 2 * PAGE, MAP_SHARED, 0},      {"bar/0", PAGE, MAP_SHARED, PAGE},
    {"bar/1", BAR1_BYTES, MAP_SHARED, PAGE}, {"bar/1", PAGE, MAP_SHARED, BAR1_BYTES},
    {"bar/1", PAGE, MAP_PRIVATE, 0},
};

START_TEST(what_is_not_in_the_bar_or_would_be_copied_is_refused)
{
    const struct refusal *row = &refusals[_i];

    begin();
    ck_assert_ptr_eq(map(row->name, row->length, row->flags, row->offset), MAP_FAILED);
    ck_assert_int_eq(errno, EINVAL);
    end();
}
END_TEST

START_TEST(flags_are_those_of_io_remap_pfn_range)
{
    struct muse_file *file;

    begin();
    for (unsigned i = 0; i < 2; i++) {
        const void *at = i == 0 ? (const void *)(uintptr_t)registers : memory;

        ck_assert(client_vma_flag(&rig, at, "io") && client_vma_flag(&rig, at, "pfnmap") &&
                  client_vma_flag(&rig, at, "dontexpand") && client_vma_flag(&rig, at, "dontdump"));
    }
    ck_assert_int_eq(muse_open(muse, "bar/2", O_RDWR, &file), -1);
    ck_assert_int_eq(errno, ENOENT);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("bar");

    tcase_add_test(tcase, the_device_answers_its_doorbell);
    tcase_add_test(tcase, bus_addresses_mean_the_same_to_the_device_and_to_mappings);
    tcase_add_test(tcase, a_part_of_a_bar_shows_the_same_bytes);
    tcase_add_test(tcase, a_bad_command_is_an_error_and_the_device_goes_on);
    tcase_add_loop_test(tcase, what_is_not_in_the_bar_or_would_be_copied_is_refused, 0,
                        N_ELEMENTS(refusals));
    tcase_add_test(tcase, flags_are_those_of_io_remap_pfn_range);
    tcase_set_timeout(tcase, 60);
    return unit_run("bar", tcase);
}
