/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-relay with a real server: what a mapping of a buffer has to be, who may do what, a buffer that
 * is gone, producers that are killed, and the traces of real programs at full speed through a small
 * channel, by the programs of examples/.
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

#include "common/base/own.h"
#include "drivers/relay/ring.h"
#include "examples/relay_buffer.h"
#include "tests/support/client.h"
#include "tests/support/mapping_flags.h"
#include "tests/support/unit.h"

#define SUBBUF    4096u
#define N_SUBBUFS 4u
#define ALLOC     ((size_t)SUBBUF * N_SUBBUFS)
#define NOBODY    60001u
#define RW        (PROT_READ | PROT_WRITE)

static const char *const small[] = {"muse-relay --cpus 2 --subbuf 4K --n-subbufs 4", NULL};

static struct rig rig;
static struct muse *muse;

static void begin(const char *const *drivers)
{
    rig_start(&rig, NULL, drivers);
    muse = client_connect();
}

static void end(void)
{
    muse_disconnect(muse);
    rig_stop(&rig);
}

static struct relay_mapped map_buffer(struct muse *of, unsigned cpu, enum relay_use use)
{
    struct relay_mapped mapped;

    ck_assert_msg(relay_buffer_map(of, "trace", cpu, use, &mapped) == 0, "%s",
                  muse_last_error_text());
    return mapped;
}

static void refused(struct muse_file *file, size_t len, int error, const char *text)
{
    ck_assert_ptr_eq(muse_mmap(muse, NULL, len, PROT_READ, MAP_SHARED, file, 0), MAP_FAILED);
    ck_assert_int_eq(errno, error);
    ck_assert_msg(strstr(muse_last_error_text(), text) != NULL, "%s", muse_last_error_text());
}

/* ---- what may be mapped ---- */

START_TEST(only_the_whole_buffer_can_be_mapped)
{
    struct muse_file *file, *ctl;
    char *mapped;

    begin(small);
    file = client_open(muse, "relay/trace/cpu0", O_RDONLY);
    ctl = client_open(muse, "relay/trace/cpu0.ctl", O_RDONLY);
    refused(file, ALLOC - PAGE, EINVAL, "12288 bytes, but the buffer has 16384");
    refused(file, ALLOC + PAGE, EINVAL, "20480 bytes");
    refused(file, PAGE, EINVAL, "as a whole or not at all");
    refused(ctl, 2 * PAGE, EINVAL, "a control page has 4096");
    mapped = muse_mmap(muse, NULL, ALLOC, PROT_READ, MAP_SHARED, file, 0);
    ck_assert_ptr_ne(mapped, MAP_FAILED);
    for (size_t page = 0; page < ALLOC / PAGE; page++)
        ck_assert_int_eq(probe_read(mapped + page * PAGE).signal, 0);
    ck_assert_int_eq(muse_close(file), 0);
    ck_assert_int_eq(muse_close(ctl), 0);
    end();
}
END_TEST

START_TEST(a_buffer_is_rounded_up_to_pages_and_mapped_as_that)
{
    static const char *const odd[] = {"muse-relay --cpus 1 --subbuf 1000 --n-subbufs 5", NULL};
    struct relay_mapped mapped;
    struct muse_file *file;

    begin(odd);
    file = client_open(muse, "relay/trace/cpu0", O_RDONLY);
    refused(file, PAGE, EINVAL, "8192");
    ck_assert_int_eq(muse_close(file), 0);
    mapped = map_buffer(muse, 0, RELAY_PRODUCE);
    ck_assert_uint_eq(mapped.n_bytes, 8192);
    ck_assert_uint_eq(mapped.ring.subbuf_bytes, 1000);
    ck_assert_uint_eq(mapped.ring.n_subbufs, 5);
    end();
}
END_TEST

START_TEST(the_offset_is_not_looked_at_and_what_lies_behind_is_sigbus)
{
    struct relay_mapped mapped;
    struct muse_file *file;
    char *shifted;

    begin(small);
    mapped = map_buffer(muse, 0, RELAY_PRODUCE);
    memset(mapped.data, 'a', ALLOC);
    ((char *)mapped.data)[2 * PAGE] = 'b';
    file = client_open(muse, "relay/trace/cpu0", O_RDONLY);
    shifted = muse_mmap(muse, NULL, ALLOC, PROT_READ, MAP_SHARED, file, 2 * PAGE);
    ck_assert_ptr_ne(shifted, MAP_FAILED);
    ck_assert_int_eq(probe_read(shifted).byte, 'b');
    ck_assert_int_eq(probe_read(shifted + PAGE).byte, 'a');
    ck_assert_int_eq(probe_read(shifted + 2 * PAGE).signal, SIGBUS);
    ck_assert_int_eq(probe_read(shifted + 3 * PAGE).signal, SIGBUS);
    shifted = muse_mmap(muse, NULL, ALLOC, PROT_READ, MAP_SHARED, file, (off_t)1 << 40);
    ck_assert_ptr_ne(shifted, MAP_FAILED);
    ck_assert_int_eq(probe_read(shifted).signal, SIGBUS);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

START_TEST(a_buffer_does_not_grow_in_place_nor_by_moving)
{
    struct relay_mapped mapped;
    char *moved;

    begin(small);
    mapped = map_buffer(muse, 0, RELAY_PRODUCE);
    ck_assert_int_eq(relay_write(&mapped.ring, "moved", 5), 0);
    ck_assert_ptr_eq(muse_mremap(muse, mapped.data, ALLOC, ALLOC + PAGE, 0), MAP_FAILED);
    ck_assert_int_eq(errno, EFAULT);
    ck_assert_ptr_eq(muse_mremap(muse, mapped.data, ALLOC, 2 * ALLOC, MREMAP_MAYMOVE), MAP_FAILED);
    ck_assert_int_eq(errno, EFAULT);
    moved = muse_mremap(muse, mapped.data, ALLOC, PAGE, 0);
    ck_assert_ptr_eq(moved, mapped.data);
    ck_assert_mem_eq(moved + RELAY_HEADER_BYTES, "moved", 5);
    end();
}
END_TEST

START_TEST(a_mapping_has_the_flags_of_the_kernels_and_those_of_a_remap)
{
    static const char *const flags[] = {"dontexpand", "io", "pfnmap", "dontdump", NULL};

    begin(small);
    (void)map_buffer(muse, 0, RELAY_LOOK);
    ck_assert(mapping_has_flags(&rig, "relay/trace/cpu0", flags));
    ck_assert(mapping_has_flags(&rig, "relay/trace/cpu0.ctl", flags));
    end();
}
END_TEST

START_TEST(records_go_from_one_process_to_another)
{
    struct relay_mapped mapped;
    struct relay_reader reader = {0};
    char got[SUBBUF];
    int status;
    pid_t pid;

    begin(small);
    mapped = map_buffer(muse, 1, RELAY_CONSUME);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        struct muse *own = client_connect();
        const struct relay_mapped to = map_buffer(own, 1, RELAY_PRODUCE);

        _exit(relay_write(&to.ring, "from the child", 14) != 0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(relay_read(&mapped.ring, &reader, got, sizeof(got)), 14);
    ck_assert_mem_eq(got, "from the child", 14);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("relay");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, only_the_whole_buffer_can_be_mapped);
    tcase_add_test(tcase, a_buffer_is_rounded_up_to_pages_and_mapped_as_that);
    tcase_add_test(tcase, the_offset_is_not_looked_at_and_what_lies_behind_is_sigbus);
    tcase_add_test(tcase, a_buffer_does_not_grow_in_place_nor_by_moving);
    tcase_add_test(tcase, a_mapping_has_the_flags_of_the_kernels_and_those_of_a_remap);
    tcase_add_test(tcase, records_go_from_one_process_to_another);
    return unit_run("relay", tcase);
}
