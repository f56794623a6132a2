/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-shmem: objects that outlive clients, grow, get holes, lose their names while they are mapped, and
 * have vm_ops by the number of their links. Bytes are compared after everybody has gone and come
 * back, and after the page cache was emptied.
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "tests/support/client.h"
#include "tests/support/unit.h"

#define N_PAGES ((size_t)64)
#define BYTES   (N_PAGES * PAGE)
#define RW      (PROT_READ | PROT_WRITE)
#define NOBODY  60001u

static struct rig rig;
static struct muse *muse;

static void begin(const char *driver)
{
    const char *const drivers[] = {driver, NULL};

    rig_start(&rig, NULL, drivers);
    muse = client_connect();
}

/* Without a name each object goes, and its fd in the driver, which rig_stop() counts. */
static void end(void)
{
    (void)muse_unlink(muse, "shmem/a", 0);
    (void)muse_unlink(muse, "shmem/b", 0);
    (void)muse_unlink(muse, "shmem/c", 0);
    muse_disconnect(muse);
    rig_stop(&rig);
}

static struct muse_file *make(const char *name, off_t size)
{
    struct muse_file *file = client_open(muse, name, O_RDWR | O_CREAT | O_EXCL);

    ck_assert_int_eq(muse_ftruncate(file, size), 0);
    return file;
}

static unsigned char *map(struct muse_file *file, size_t length, int flags)
{
    unsigned char *bytes = muse_mmap(muse, NULL, length, RW, flags, file, 0);

    ck_assert_msg(bytes != MAP_FAILED, "%s", muse_last_error_text());
    return bytes;
}

/* Whether the server has an object still. */
static bool has_objects(void)
{
    json_t *document = rig_ctl(&rig, "objects");
    const bool has = json_array_size(json_object_get(document, "objects")) > 0;

    json_decref(document);
    return has;
}

static void write_all_of(unsigned char *bytes)
{
    for (size_t at = 0; at < BYTES; at++)
        bytes[at] = rig_byte(at);
}

static void expect_all_of(const unsigned char *bytes)
{
    for (size_t at = 0; at < BYTES; at++)
        ck_assert_uint_eq(bytes[at], rig_byte(at));
}

START_TEST(an_object_outlives_its_clients_and_the_page_cache)
{
    struct muse_file *file;
    unsigned char *bytes;
    int status;
    pid_t pid;

    begin("muse-shmem");
    pid = fork();
    if (pid == 0) {
        muse = client_connect();
        write_all_of(map(make("shmem/a", BYTES), BYTES, MAP_SHARED));
        (void)kill(getpid(), SIGKILL);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(WTERMSIG(status), SIGKILL);
    file = client_open(muse, "shmem/a", O_RDWR);
    bytes = map(file, BYTES, MAP_SHARED);
    expect_all_of(bytes);
    ck_assert_int_eq(muse_munmap(muse, bytes, BYTES), 0);
    ck_assert_int_eq(muse_close(file), 0);
    while (has_objects())
        client_sleep_ms(5); /* written back, and forgotten by the server */
    file = client_open(muse, "shmem/a", O_RDONLY);
    bytes = muse_mmap(muse, NULL, BYTES, PROT_READ, MAP_PRIVATE, file, 0);
    expect_all_of(bytes);
    ck_assert_int_eq(muse_munmap(muse, bytes, BYTES), 0);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

START_TEST(an_object_grows_and_shrinks_under_its_mappings)
{
    struct muse_file *file;
    unsigned char *bytes;
    struct probe probe;

    begin("muse-shmem");
    file = make("shmem/a", PAGE);
    bytes = map(file, 4 * PAGE, MAP_SHARED);
    bytes[0] = 1;
    probe = probe_write(bytes + PAGE, 1);
    ck_assert_int_eq(probe.signal, SIGBUS);
    ck_assert_int_eq(probe.code, BUS_ADRERR);
    ck_assert_int_eq(muse_ftruncate(file, 3 * PAGE), 0);
    bytes[2 * PAGE] = 2;
    ck_assert_uint_eq(bytes[PAGE], 0);
    ck_assert_int_eq(muse_ftruncate(file, PAGE), 0);
    ck_assert_int_eq(probe_read(bytes + 2 * PAGE).signal, SIGBUS);
    ck_assert_int_eq(muse_ftruncate(file, 3 * PAGE), 0);
    ck_assert_uint_eq(bytes[2 * PAGE], 0);
    ck_assert_uint_eq(bytes[0], 1);
    ck_assert_int_eq(muse_munmap(muse, bytes, 4 * PAGE), 0);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

START_TEST(a_punched_hole_reads_zeros_here_and_later)
{
    struct muse_file *file;
    unsigned char *bytes;

    begin("muse-shmem");
    file = make("shmem/a", BYTES);
    bytes = map(file, BYTES, MAP_SHARED);
    write_all_of(bytes);
    ck_assert_int_eq(muse_fsync(file), 0);
    ck_assert_int_eq(
        muse_fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * PAGE, 3 * PAGE), 0);
    for (unsigned round = 0; round < 2; round++) {
        for (size_t at = PAGE; at < 6 * PAGE; at++)
            ck_assert_uint_eq(bytes[at], at >= 2 * PAGE && at < 5 * PAGE ? 0 : rig_byte(at));
        ck_assert_int_eq(muse_munmap(muse, bytes, BYTES), 0);
        ck_assert_int_eq(rig_ctl_status(&rig, "evict shmem/a"), 0);
        bytes = map(file, BYTES, MAP_SHARED);
    }
    ck_assert_int_eq(muse_munmap(muse, bytes, BYTES), 0);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

/* What `musectl maps` shows beside the object; NULL: nothing. The caller has the document. */
static const char *shown_name(const void *addr)
{
    json_t *vma = client_vma(&rig, addr);
    const char *name = json_string_value(json_object_get(vma, "name"));
    static char copy[64];

    if (name)
        (void)snprintf(copy, sizeof(copy), "%s", name);
    json_decref(vma);
    return name ? copy : NULL;
}

START_TEST(an_object_without_a_link_lives_while_it_is_mapped_with_other_ops)
{
    struct muse_file *file, *gone;
    unsigned char *linked, *unlinked;

    begin("muse-shmem");
    file = make("shmem/a", BYTES);
    linked = map(file, BYTES, MAP_SHARED);
    write_all_of(linked);
    ck_assert_int_eq(muse_unlink(muse, "shmem/a", 0), 0);
    ck_assert_int_eq(muse_open(muse, "shmem/a", O_RDWR, &gone), -1);
    ck_assert_int_eq(errno, ENOENT);
    unlinked = map(file, BYTES, MAP_SHARED);
    ck_assert_ptr_null(shown_name(linked));
    ck_assert_str_eq(shown_name(unlinked), "deleted");
    ck_assert_int_eq(muse_close(file), 0);
    expect_all_of(unlinked);
    ck_assert_int_eq(muse_munmap(muse, unlinked, BYTES), 0);
    expect_all_of(linked);
    file = make("shmem/a", PAGE); /* the name is free: another object */
    ck_assert_uint_eq(map(file, PAGE, MAP_PRIVATE)[0], 0);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

START_TEST(names_are_made_listed_renamed_and_refused_as_in_a_folder)
{
    struct muse_file *file;
    struct stat stat;

    begin("muse-shmem");
    ck_assert_int_eq(muse_close(make("shmem/a", PAGE)), 0);
    ck_assert_int_eq(muse_close(make("shmem/b", 2 * PAGE)), 0);
    ck_assert_int_eq(muse_open(muse, "shmem/a", O_RDWR | O_CREAT | O_EXCL, &file), -1);
    ck_assert_int_eq(errno, EEXIST);
    ck_assert_int_eq(muse_open(muse, "shmem/x/y", O_RDWR | O_CREAT, &file), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(muse_rename(muse, "shmem/a", "shmem/b", RENAME_NOREPLACE), -1);
    ck_assert_int_eq(errno, EEXIST);
    ck_assert_int_eq(muse_rename(muse, "shmem/a", "shmem/b", 0), 0);
    ck_assert_int_eq(muse_stat(muse, "shmem/b", &stat), 0);
    ck_assert_int_eq(stat.st_size, PAGE);
    ck_assert_int_eq(muse_stat(muse, "shmem/a", &stat), -1);
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_int_eq(muse_unlink(muse, "shmem/b", 0), 0);
    ck_assert_int_eq(muse_unlink(muse, "shmem/b", 0), -1);
    ck_assert_int_eq(errno, ENOENT);
    end();
}
END_TEST

START_TEST(all_objects_together_have_a_limit)
{
    struct muse_file *one, *two;

    begin("muse-shmem --size 1M");
    one = make("shmem/a", 768 << 10);
    two = make("shmem/b", 256 << 10);
    ck_assert_int_eq(muse_ftruncate(two, (256 << 10) + 1), -1);
    ck_assert_int_eq(errno, ENOSPC);
    ck_assert_int_eq(muse_fallocate(two, 0, 256 << 10, PAGE), -1);
    ck_assert_int_eq(errno, ENOSPC);
    ck_assert_int_eq(muse_ftruncate(one, 0), 0);
    ck_assert_int_eq(muse_ftruncate(two, 1 << 20), 0);
    ck_assert_int_eq(muse_close(one), 0);
    ck_assert_int_eq(muse_close(two), 0);
    ck_assert_int_eq(muse_unlink(muse, "shmem/b", 0), 0);
    while (has_objects())
        client_sleep_ms(5);
    ck_assert_int_eq(muse_close(make("shmem/c", 1 << 20)), 0);
    end();
}
END_TEST

START_TEST(others_are_let_in_as_the_mode_says)
{
    int status;
    pid_t pid;

    begin("muse-shmem");
    ck_assert_int_eq(muse_close(make("shmem/a", PAGE)), 0);
    pid = fork();
    if (pid == 0) {
        struct muse_file *file;
        struct stat stat;

        if (setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
            _exit(100);
        muse = client_connect();
        if (muse_stat(muse, "shmem/a", &stat) < 0 || (stat.st_mode & 0022))
            _exit(101);
        if (muse_open(muse, "shmem/a", O_RDWR, &file) == 0 || errno != EACCES)
            _exit(102);
        if (muse_unlink(muse, "shmem/a", 0) == 0 || errno != EPERM)
            _exit(103);
        _exit(muse_open(muse, "shmem/b", O_RDWR | O_CREAT, &file) < 0 ? errno : 0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(WEXITSTATUS(status), 0);
    end();
}
END_TEST

START_TEST(two_mappings_of_one_object_merge)
{
    struct muse_file *file;
    unsigned char *bytes;
    json_t *vma;

    begin("muse-shmem");
    file = make("shmem/a", BYTES);
    bytes = map(file, BYTES, MAP_SHARED);
    ck_assert_int_eq(muse_munmap(muse, bytes + PAGE, PAGE), 0);
    ck_assert_ptr_eq(
        muse_mmap(muse, bytes + PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED_NOREPLACE, file, PAGE),
        bytes + PAGE);
    vma = client_vma(&rig, bytes);
    ck_assert_uint_eq((uint64_t)json_integer_value(json_object_get(vma, "end")),
                      (uintptr_t)bytes + BYTES);
    json_decref(vma);
    ck_assert_int_eq(muse_munmap(muse, bytes, BYTES), 0);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("shmem");

    tcase_add_test(tcase, an_object_outlives_its_clients_and_the_page_cache);
    tcase_add_test(tcase, an_object_grows_and_shrinks_under_its_mappings);
    tcase_add_test(tcase, a_punched_hole_reads_zeros_here_and_later);
    tcase_add_test(tcase, an_object_without_a_link_lives_while_it_is_mapped_with_other_ops);
    tcase_add_test(tcase, names_are_made_listed_renamed_and_refused_as_in_a_folder);
    tcase_add_test(tcase, all_objects_together_have_a_limit);
    tcase_add_test(tcase, others_are_let_in_as_the_mode_says);
    tcase_add_test(tcase, two_mappings_of_one_object_merge);
    tcase_set_timeout(tcase, 60);
    return unit_run("shmem", tcase);
}
