/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-mem: mem/mem as a window on muse-physmem's memory, with the checks of /dev/mem; mem/zero, whose
 * shared mappings each have an object of their own that lives exactly as long.
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "tests/support/client.h"
#include "tests/support/folder.h"
#include "tests/support/raw.h"
#include "tests/support/unit.h"

#define RW (PROT_READ | PROT_WRITE)

static const char table[] = "00000000-0000ffff : Reserved\n"
                            "00010000-0003ffff : System RAM\n"
                            "00040000-0004ffff : PCI Bus 0000:00\n";

static struct rig rig;
static struct muse *muse;

static void begin(const char *option, const char *config)
{
    static char mem[256], physmem[256];
    static const char *const drivers[] = {mem, physmem, NULL};

    folder_write("iomem", table, strlen(table));
    (void)snprintf(mem, sizeof(mem), "muse-mem %s --table %s --memory %s", option,
                   folder_path("iomem"), folder_path("bytes"));
    (void)snprintf(physmem, sizeof(physmem), "muse-physmem --table %s --memory %s",
                   folder_path("iomem"), folder_path("bytes"));
    rig_start(&rig, config, drivers);
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

/* ---- mem/mem ---- */

START_TEST(the_two_drivers_show_one_memory)
{
    unsigned char *window, *device;

    begin("", NULL);
    window = map("mem/mem", PAGE, MAP_SHARED, 0x40000);
    ck_assert_msg(window != MAP_FAILED, "%s", muse_last_error_text());
    device = map("physmem/40000-4ffff", PAGE, MAP_SHARED, 0);
    ck_assert_ptr_ne(device, MAP_FAILED);
    device[7] = 77;
    ck_assert_uint_eq(window[7], 77);
    ck_assert(client_vma_flag(&rig, window, "io") && client_vma_flag(&rig, window, "pfnmap") &&
              client_vma_flag(&rig, window, "dontexpand") &&
              client_vma_flag(&rig, window, "dontdump"));
    ck_assert_uint_eq(rig_stat(&rig, "faults"), 0);
    ck_assert_int_eq(muse_munmap(muse, window, PAGE), 0);
    ck_assert_int_eq(muse_munmap(muse, device, PAGE), 0);
    end();
}
END_TEST

static const struct refusal {
    size_t length;
    off_t offset;
    int error;
} refusals[] = {
    {PAGE, 0x10000, EPERM},                  /* RAM */
    {2 * PAGE, 0xf000, EPERM},               /* and the end of what is none */
    {PAGE, 0x50000, EINVAL},                 /* beyond the physical addresses */
    {0x50000, 0x10000, EINVAL},              /* the same with RAM: looked at before */
    {PAGE, 0x7ffffffffffff000ll, EOVERFLOW}, /* wraps */
};

START_TEST(each_refusal_of_dev_mem_has_its_errno)
{
    const struct refusal *row = &refusals[_i];

    begin("", NULL);
    ck_assert_ptr_eq(map("mem/mem", row->length, MAP_SHARED, row->offset), MAP_FAILED);
    ck_assert_msg(errno == row->error, "%s", muse_last_error_text());
    end();
}
END_TEST

START_TEST(a_relaxed_driver_maps_ram)
{
    unsigned char *bytes;

    begin("--relaxed", NULL);
    bytes = map("mem/mem", 0x50000, MAP_SHARED, 0);
    ck_assert_ptr_ne(bytes, MAP_FAILED);
    bytes[0x4ffff] = 1;
    ck_assert_int_eq(muse_munmap(muse, bytes, 0x50000), 0);
    end();
}
END_TEST

START_TEST(a_complete_that_fails_is_eagain)
{
    begin("", NULL);
    ck_assert_int_eq(truncate(folder_path("bytes"), 0x40000), 0);
    ck_assert_ptr_eq(map("mem/mem", PAGE, MAP_SHARED, 0x40000), MAP_FAILED);
    ck_assert_int_eq(errno, EAGAIN);
    end();
}
END_TEST

START_TEST(mem_is_roots_and_its_drivers)
{
    int status;
    pid_t pid;

    begin("", NULL);
    pid = fork();
    if (pid == 0) {
        struct muse_file *file;
        struct muse *own;

        if (setgid(60001) < 0 || setuid(60001) < 0 || muse_connect(&own, NULL) < 0)
            _exit(100);
        _exit(muse_open(own, "mem/mem", O_RDONLY, &file) < 0 ? errno : 0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(WEXITSTATUS(status), EACCES);
    end();
}
END_TEST

/* ---- mem/zero ---- */

/* Objects of that name. */
static unsigned count_objects(const char *name)
{
    json_t *document = rig_ctl(&rig, "objects");
    unsigned n = 0;
    json_t *object;
    size_t i;

    json_array_foreach(json_object_get(document, "objects"), i, object)
    {
        n += strcmp(json_string_value(json_object_get(object, "name")), name) == 0;
    }
    json_decref(document);
    return n;
}

START_TEST(shared_mappings_do_not_share_with_each_other)
{
    unsigned char *one, *two;

    begin("", NULL);
    one = map("mem/zero", 4 * PAGE, MAP_SHARED, 0);
    ck_assert_msg(one != MAP_FAILED, "%s", muse_last_error_text());
    two = map("mem/zero", 4 * PAGE, MAP_SHARED, 0x5000);
    ck_assert_ptr_ne(two, MAP_FAILED);
    memset(one, 1, 4 * PAGE);
    for (size_t at = 0; at < 4 * PAGE; at += 64)
        ck_assert_uint_eq(two[at], 0);
    two[3 * PAGE] = 2;
    ck_assert_uint_eq(one[3 * PAGE], 1);
    ck_assert_int_eq(muse_munmap(muse, one, 4 * PAGE), 0);
    ck_assert_uint_eq(two[3 * PAGE], 2);
    ck_assert_int_eq(muse_munmap(muse, two, 4 * PAGE), 0);
    end();
}
END_TEST

START_TEST(the_swapped_object_is_seen_and_lives_as_long_as_the_mapping)
{
    unsigned char *bytes;
    json_t *vma;

    begin("", NULL);
    bytes = map("mem/zero", 2 * PAGE, MAP_SHARED, 0);
    ck_assert_ptr_ne(bytes, MAP_FAILED);
    vma = client_vma(&rig, bytes);
    ck_assert_str_eq(json_string_value(json_object_get(vma, "object")), "mem/zero (deleted)");
    json_decref(vma);
    ck_assert_uint_eq(count_objects("mem/zero (deleted)"), 1);
    bytes[PAGE] = 1;
    ck_assert_int_eq(muse_munmap(muse, bytes + PAGE, PAGE), 0);
    ck_assert_uint_eq(count_objects("mem/zero (deleted)"), 1);
    ck_assert_int_eq(muse_munmap(muse, bytes, PAGE), 0);
    ck_assert_uint_eq(count_objects("mem/zero (deleted)"), 0);
    ck_assert_int_eq(rig_ctl_status(&rig, "audit"), 0);
    end();
}
END_TEST

START_TEST(a_forked_child_shares_the_object_of_its_parents_mapping)
{
    unsigned char *bytes;
    int status;
    pid_t pid;

    begin("", NULL);
    bytes = map("mem/zero", PAGE, MAP_SHARED, 0);
    ck_assert_ptr_ne(bytes, MAP_FAILED);
    bytes[0] = 1;
    pid = fork();
    if (pid == 0) {
        bytes[1] = (unsigned char)(bytes[0] + 1);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_uint_eq(bytes[1], 2);
    ck_assert_int_eq(muse_munmap(muse, bytes, PAGE), 0);
    end();
}
END_TEST

START_TEST(private_mappings_are_zeros_of_their_own)
{
    unsigned char *one, *two;

    begin("", NULL);
    one = map("mem/zero", 4 * PAGE, MAP_PRIVATE, 0x7000);
    two = map("mem/zero", 4 * PAGE, MAP_PRIVATE, 0);
    ck_assert_ptr_ne(one, MAP_FAILED);
    ck_assert_ptr_ne(two, MAP_FAILED);
    one[3 * PAGE] = 4;
    ck_assert_uint_eq(two[3 * PAGE], 0);
    ck_assert_uint_eq(one[2 * PAGE], 0);
    ck_assert_int_eq(muse_munmap(muse, one, 4 * PAGE), 0);
    ck_assert_int_eq(muse_munmap(muse, two, 4 * PAGE), 0);
    ck_assert_uint_eq(count_objects("mem/zero"), 0);
    end();
}
END_TEST

/* The client is killed after prepare: the object that was made for it goes. */
START_TEST(an_object_that_was_made_for_a_mapping_that_failed_is_gone)
{
    pid_t pid;

    begin("", "[deadlines]\ninstall_ms = 60000\n");
    pid = fork();
    if (pid == 0) {
        struct raw raw;

        raw_hello(&raw, &rig);
        raw_attach(&raw);
        (void)raw_map(&raw, raw_open(&raw, "mem/zero"), 0, PAGE, 0);
        for (;;)
            (void)pause();
    }
    while (count_objects("mem/zero (deleted)") == 0)
        client_sleep_ms(2);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    while (count_objects("mem/zero (deleted)") > 0)
        client_sleep_ms(2);
    ck_assert_uint_eq(rig_count(&rig, "mem", "prepared"), 1);
    ck_assert_uint_eq(rig_count(&rig, "mem", "completed") + rig_count(&rig, "mem", "aborted"), 1);
    end();
}
END_TEST

START_TEST(many_mappings_come_and_go_and_nothing_is_left)
{
    begin("", NULL);
    for (unsigned i = 0; i < 300; i++) {
        unsigned char *bytes = map("mem/zero", (1 + i % 3) * PAGE, MAP_SHARED, 0);

        ck_assert_ptr_ne(bytes, MAP_FAILED);
        ck_assert_uint_eq(bytes[0], 0);
        bytes[0] = 1;
        ck_assert_int_eq(muse_munmap(muse, bytes, (1 + i % 3) * PAGE), 0);
    }
    ck_assert_uint_eq(count_objects("mem/zero (deleted)"), 0);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("mem");

    tcase_add_checked_fixture(tcase, folder_make, folder_remove);
    tcase_add_test(tcase, the_two_drivers_show_one_memory);
    tcase_add_loop_test(tcase, each_refusal_of_dev_mem_has_its_errno, 0, N_ELEMENTS(refusals));
    tcase_add_test(tcase, a_relaxed_driver_maps_ram);
    tcase_add_test(tcase, a_complete_that_fails_is_eagain);
    tcase_add_test(tcase, mem_is_roots_and_its_drivers);
    tcase_add_test(tcase, shared_mappings_do_not_share_with_each_other);
    tcase_add_test(tcase, the_swapped_object_is_seen_and_lives_as_long_as_the_mapping);
    tcase_add_test(tcase, a_forked_child_shares_the_object_of_its_parents_mapping);
    tcase_add_test(tcase, private_mappings_are_zeros_of_their_own);
    tcase_add_test(tcase, an_object_that_was_made_for_a_mapping_that_failed_is_gone);
    tcase_add_test(tcase, many_mappings_come_and_go_and_nothing_is_left);
    tcase_set_timeout(tcase, 60);
    return unit_run("mem", tcase);
}
