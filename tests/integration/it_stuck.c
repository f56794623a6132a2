/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client of another user holds the lock of a page cache that it may write to: its write(2) reads from a
 * page that never comes. The object suffers; the server, and all others, do not.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/userfaultfd.h>
#include <muse/muse.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "tests/support/client.h"
#include "tests/support/unit.h"

#define N_PAGES   64u
#define BYTES     (N_PAGES * PAGE)
#define NOBODY    65534u
#define HOLDERS   4u /* as many as the server lets hold a lock at a time */
#define NEW_BYTES 16u

static const char *const drivers[] = {"muse-file --writable %s", "muse-faulty", NULL};

static struct rig rig;
static struct muse *muse;

/* ---- who holds a lock ---- */

struct holder {
    const char *name; /* of the object */
    int ready[2];     /* a pipe: the lock is held */
    pid_t pid;
};

/* Return: its descriptor; faults of the kernel come there, too, as root has opened it. */
static int open_watcher(void)
{
    struct uffdio_api api = {.api = UFFD_API};
    const int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ioctl(fd, UFFDIO_API, &api), 0);
    return fd;
}

static char *map_never(int watcher)
{
    struct uffdio_register reg = {.range = {.len = PAGE}, .mode = UFFDIO_REGISTER_MODE_MISSING};
    char *never = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    ck_assert_ptr_ne(never, MAP_FAILED);
    reg.range.start = (uintptr_t)never;
    ck_assert_int_eq(ioctl(watcher, UFFDIO_REGISTER, &reg), 0);
    return never;
}

struct store {
    int fd;
    const char *from;
};

static void *write_never(void *ctx)
{
    const struct store *store = ctx;

    (void)!pwrite(store->fd, store->from, PAGE, 0);
    return NULL;
}

static void hold(void *ctx)
{
    const struct holder *holder = ctx;
    const int watcher = open_watcher();
    struct pollfd fault = {.fd = watcher, .events = POLLIN};
    struct store store;
    struct muse *own;
    pthread_t thread;

    ck_assert_int_eq(setgroups(0, NULL), 0);
    ck_assert_int_eq(setgid(NOBODY), 0);
    ck_assert_int_eq(setuid(NOBODY), 0);
    own = client_connect();
    (void)client_open(own, holder->name, O_RDWR);
    store = (struct store){client_cache_fd(), map_never(watcher)};
    ck_assert_int_eq(pthread_create(&thread, NULL, write_never, &store), 0);
    ck_assert_int_eq(poll(&fault, 1, -1), 1);
    ck_assert_int_eq(fault.revents, POLLIN);
    ck_assert_int_eq(write(holder->ready[1], "!", 1), 1);
    for (;;)
        (void)pause();
}

static void holder_start(struct holder *holder, const char *name)
{
    char byte;

    holder->name = name;
    ck_assert_int_eq(pipe2(holder->ready, O_CLOEXEC), 0);
    holder->pid = client_fork(hold, holder);
    ck_assert_int_eq(read(holder->ready[0], &byte, 1), 1);
}

static void holder_end(struct holder *holder)
{
    client_kill(holder->pid);
    (void)close(holder->ready[0]);
    (void)close(holder->ready[1]);
}

/* ---- everybody else ---- */

static void file_for_all(const char *name)
{
    char path[160];

    rig_file(&rig, name, BYTES);
    (void)snprintf(path, sizeof(path), "%s/%s", rig.data, name);
    ck_assert_int_eq(chmod(path, 0666), 0);
}

static void begin(void)
{
    rig_start(&rig, NULL, drivers);
    file_for_all("data");
    muse = client_connect();
}

static void end(void)
{
    muse_disconnect(muse);
    rig_stop(&rig);
}

static bool is_stuck(const char *name)
{
    json_t *objects = rig_ctl(&rig, "objects");
    const bool is = json_is_true(json_object_get(json_entry(objects, "name", name), "stuck"));

    json_decref(objects);
    return is;
}

static char *map_rw(const char *name)
{
    char *mapped = client_map(muse, name, O_RDWR, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED);

    ck_assert_ptr_ne(mapped, MAP_FAILED);
    return mapped;
}

START_TEST(who_holds_the_lock_of_a_page_cache_stops_nobody_else)
{
    struct muse_error why;
    struct holder holder;
    char *mapped;

    begin();
    mapped = map_rw("file/data");
    holder_start(&holder, "file/data");
    ck_assert_int_eq(probe_read(mapped + BYTES - PAGE).signal, SIGBUS);
    ck_assert_int_eq(muse_error_at(muse, mapped + BYTES - PAGE, &why), 0);
    ck_assert_int_eq(why.error, EIO);
    ck_assert_msg(strstr(why.text, "page cache") != NULL, "%s", why.text);
    ck_assert(is_stuck("file/data"));
    client_work_goes_on(&rig, muse, "faulty");
    file_for_all("other");
    ck_assert(file_is(map_rw("file/other"), 0, BYTES));
    holder_end(&holder);
    end();
}
END_TEST

/* Pages that are there are used as before, and what was written to them is not lost. */
START_TEST(what_was_written_before_is_written_back)
{
    char *mapped, path[160], bytes[NEW_BYTES];
    struct holder holder;
    FILE *file;

    begin();
    mapped = map_rw("file/data");
    memset(mapped + PAGE, 'n', sizeof(bytes));
    holder_start(&holder, "file/data");
    (void)probe_read(mapped + BYTES - PAGE);
    ck_assert(is_stuck("file/data"));
    ck_assert_int_eq(probe_write(mapped + PAGE + 1, 'm').signal, 0);
    ck_assert_int_eq(muse_msync(muse, mapped, 2 * PAGE, MS_SYNC), 0);
    (void)snprintf(path, sizeof(path), "%s/data", rig.data);
    file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fseek(file, (long)PAGE, SEEK_SET), 0);
    ck_assert_uint_eq(fread(bytes, 1, sizeof(bytes), file), sizeof(bytes));
    (void)fclose(file);
    ck_assert_int_eq(memcmp(bytes, "nmnnnnnnnnnnnnnn", sizeof(bytes)), 0);
    holder_end(&holder);
    end();
}
END_TEST

/* The first one finds it stuck when the driver has made its hole, the others are told before. */
START_TEST(what_changes_a_stuck_object_is_an_error)
{
    const int hole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    struct muse_file *file;
    struct holder holder;
    struct stat stat;
    char *mapped;

    begin();
    mapped = map_rw("file/data");
    file = client_open(muse, "file/data", O_RDWR);
    ck_assert(file_is(mapped, 0, BYTES));
    holder_start(&holder, "file/data");
    ck_assert_int_eq(muse_fallocate(file, hole, (off_t)PAGE, (off_t)PAGE), -1);
    ck_assert_int_eq(errno, EIO);
    ck_assert(is_stuck("file/data"));
    ck_assert_int_eq(muse_fallocate(file, hole, (off_t)(4 * PAGE), (off_t)PAGE), -1);
    ck_assert_int_eq(errno, EIO);
    ck_assert_int_eq(muse_madvise(muse, mapped, PAGE, MADV_REMOVE), -1);
    ck_assert_int_eq(errno, EIO);
    ck_assert_int_eq(muse_ftruncate(file, (off_t)PAGE), -1);
    ck_assert_int_eq(errno, EIO);
    ck_assert_int_eq(muse_ftruncate(file, (off_t)(2 * BYTES)), -1);
    ck_assert_int_eq(muse_close(file), 0);
    holder_end(&holder);
    ck_assert_int_eq(muse_munmap(muse, mapped, BYTES), 0);
    mapped = map_rw("file/data");
    ck_assert(file_is(mapped, 0, PAGE));
    ck_assert_int_eq(mapped[PAGE], 0); /* the hole that the driver has made */
    ck_assert(file_is(mapped + 2 * PAGE, 2 * PAGE, BYTES - 2 * PAGE));
    file = client_open(muse, "file/data", O_RDONLY);
    ck_assert_int_eq(muse_fstat(file, &stat), 0);
    ck_assert_int_eq(stat.st_size, (off_t)BYTES);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

START_TEST(an_object_that_was_stuck_is_whole_again_once_all_have_closed_it)
{
    struct holder holder;
    char *mapped;

    begin();
    mapped = map_rw("file/data");
    holder_start(&holder, "file/data");
    ck_assert_int_eq(probe_read(mapped + BYTES - PAGE).signal, SIGBUS);
    holder_end(&holder);
    ck_assert_int_eq(probe_read(mapped + BYTES - 2 * PAGE).signal, SIGBUS);
    ck_assert_int_eq(muse_munmap(muse, mapped, BYTES), 0);
    mapped = map_rw("file/data");
    ck_assert(file_is(mapped, 0, BYTES));
    ck_assert(!is_stuck("file/data"));
    end();
}
END_TEST

static void open_as_nobody(void *ctx)
{
    struct muse_file *file;
    struct muse *own;

    (void)ctx;
    ck_assert_int_eq(setgroups(0, NULL), 0);
    ck_assert_int_eq(setgid(NOBODY), 0);
    ck_assert_int_eq(setuid(NOBODY), 0);
    own = client_connect();
    ck_assert_int_eq(muse_open(own, "file/other", O_RDWR, &file), -1);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_eq(muse_open(own, "file/other", O_RDONLY, &file), 0);
    muse_disconnect(own);
}

START_TEST(after_some_of_them_no_stranger_gets_a_page_cache_to_write_to)
{
    struct holder holders[HOLDERS];
    char names[HOLDERS][32];
    char *mapped[HOLDERS];

    begin();
    file_for_all("other");
    for (unsigned i = 0; i < HOLDERS; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "file/%u", i);
        file_for_all(names[i] + strlen("file/"));
        mapped[i] = map_rw(names[i]);
        holder_start(&holders[i], names[i]);
        ck_assert_int_eq(probe_read(mapped[i]).signal, SIGBUS);
    }
    client_join(client_fork(open_as_nobody, NULL));
    ck_assert(file_is(map_rw("file/other"), 0, BYTES));
    for (unsigned i = 0; i < HOLDERS; i++)
        holder_end(&holders[i]);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("stuck");

    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, who_holds_the_lock_of_a_page_cache_stops_nobody_else);
    tcase_add_test(tcase, what_was_written_before_is_written_back);
    tcase_add_test(tcase, what_changes_a_stuck_object_is_an_error);
    tcase_add_test(tcase, an_object_that_was_stuck_is_whole_again_once_all_have_closed_it);
    tcase_add_test(tcase, after_some_of_them_no_stranger_gets_a_page_cache_to_write_to);
    return unit_run("stuck", tcase);
}
