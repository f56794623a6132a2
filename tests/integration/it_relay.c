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
#include "drivers/relay/channel.h"
#include "drivers/relay/ring.h"
#include "examples/relay_buffer.h"
#include "tests/support/client.h"
#include "tests/support/mapping_flags.h"
#include "tests/support/raw.h"
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

/* ---- who may, and what is gone ---- */

START_TEST(opening_says_what_is_wrong)
{
    static const struct {
        const char *name;
        int oflags;
        int error;
    } rows[] = {
        {"relay/other/cpu0", O_RDONLY, ENOENT},
        {"relay/trace/cpu2", O_RDONLY, ENOENT},
        {"relay/trace/cpu2.ctl", O_RDWR, ENOENT},
        {"relay/trace/cpu2", O_RDWR | O_CREAT, ENOENT},
        {"relay/trace/cpu0/x", O_RDONLY, ENOTDIR},
        {"relay/trace", O_RDONLY, EISDIR},
        {"relay/trace/cpu0", O_RDWR | O_CREAT | O_EXCL, EEXIST},
    };
    struct muse_file *file;

    begin(small);
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        ck_assert_int_eq(muse_open(muse, rows[i].name, rows[i].oflags, &file), -1);
        ck_assert_msg(errno == rows[i].error, "%s: %s", rows[i].name, strerror(errno));
    }
    end();
}
END_TEST

START_TEST(folders_show_channels_and_buffers)
{
    static const char *const two[] = {"muse-relay --cpus 2 --channel a --channel b", NULL};
    static const char *const names[] = {"cpu0", "cpu0.ctl", "cpu1", "cpu1.ctl"};
    struct muse_dirent entries[8];
    struct stat stat, same;

    begin(two);
    ck_assert_int_eq(muse_readdir(muse, "relay", 0, entries, 8), 2);
    ck_assert_str_eq(entries[0].name, "a");
    ck_assert_str_eq(entries[1].name, "b");
    ck_assert_int_eq(muse_readdir(muse, "relay/b", 0, entries, 8), 4);
    for (size_t i = 0; i < 4; i++)
        ck_assert_str_eq(entries[i].name, names[i]);
    ck_assert_int_eq(muse_readdir(muse, "relay/b", entries[2].next, entries, 8), 1);
    ck_assert_int_eq(muse_readdir(muse, "relay/b/cpu1", 0, entries, 8), -1);
    ck_assert_int_eq(errno, ENOTDIR);
    ck_assert_int_eq(muse_readdir(muse, "relay/c", 0, entries, 8), -1);
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_int_eq(muse_stat(muse, "relay/b/cpu1", &stat), 0);
    ck_assert_int_eq(stat.st_size, 8 * 256 * 1024);
    ck_assert_uint_eq(stat.st_mode, S_IFREG | 0600);
    ck_assert_int_eq(muse_stat(muse, "relay/a/cpu1", &same), 0);
    ck_assert_uint_ne(stat.st_ino, same.st_ino);
    ck_assert_int_eq(muse_stat(muse, "relay/b", &stat), 0);
    ck_assert(S_ISDIR(stat.st_mode));
    end();
}
END_TEST

START_TEST(a_closed_channel_is_gone_for_new_mappings_and_stays_for_old_ones)
{
    struct relay_mapped mapped;
    struct relay_reader reader = {0};
    struct muse_file *file;
    char got[8];

    begin(small);
    mapped = map_buffer(muse, 0, RELAY_PRODUCE);
    file = client_open(muse, "relay/trace/cpu0", O_RDONLY);
    ck_assert_int_eq(muse_unlink(muse, "relay/trace/cpu0", 0), -1);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_eq(muse_unlink(muse, "relay/trace", 0), -1);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_eq(muse_unlink(muse, "relay/other", AT_REMOVEDIR), -1);
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_int_eq(muse_unlink(muse, "relay/trace", AT_REMOVEDIR), 0);
    refused(file, ALLOC, EBADF, "closed");
    refused(file, PAGE, EBADF, "closed"); /* before the length is looked at, as in the kernel */
    ck_assert_int_eq(muse_close(file), 0);
    ck_assert_int_eq(muse_open(muse, "relay/trace/cpu0", O_RDONLY, &file), -1);
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_int_eq(relay_write(&mapped.ring, "still", 5), 0);
    ck_assert_int_eq(relay_read(&mapped.ring, &reader, got, sizeof(got)), 5);
    end();
}
END_TEST

/* What a child of another user finds. */
static int try_as_nobody(void)
{
    struct relay_mapped mapped;
    struct muse *own;

    if (setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
        return 1;
    own = client_connect();
    if (muse_unlink(own, "relay/trace", AT_REMOVEDIR) == 0 || errno != EACCES)
        return 2;
    if (relay_buffer_map(own, "trace", 0, RELAY_PRODUCE, &mapped) == 0 || errno != EACCES)
        return 3;
    if (relay_buffer_map(own, "trace", 0, RELAY_LOOK, &mapped) < 0)
        return errno == EACCES ? 4 : 5;
    if (muse_mprotect(own, mapped.data, mapped.n_bytes, RW) == 0 || errno != EACCES)
        return 6;
    /* nor by the system call */
    return mprotect(mapped.data, mapped.n_bytes, RW) == 0 ? 7 : 0;
}

START_TEST(the_mode_says_who_may_look_and_who_may_write)
{
    static const char *const open_to_all[] = {
        "muse-relay --cpus 2 --subbuf 4K --n-subbufs 4 --mode 0644", NULL};
    int status;
    pid_t pid;

    begin(_i == 0 ? small : open_to_all);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        _exit(try_as_nobody());
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, _i == 0 ? 4 << 8 : 0);
    end();
}
END_TEST

START_TEST(the_memory_can_neither_shrink_nor_grow_nor_be_opened_for_writing)
{
    static const struct relay_geometry geometry = {
        .n_cpus = 1, .subbuf_bytes = SUBBUF, .n_subbufs = N_SUBBUFS};
    struct relay_channel *channel;
    const struct relay_file *file;
    uint64_t next_key = 1;
    char byte = 0;

    ck_assert_int_eq(relay_channel_new("sealed", &geometry, &next_key, &channel), 0);
    file = &channel->buffers[0]->data;
    ck_assert_int_eq(ftruncate(file->fd, PAGE), -1);
    ck_assert_int_eq(ftruncate(file->fd, (off_t)(ALLOC + PAGE)), -1);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_eq(write(file->fd_ro, &byte, 1), -1);
    ck_assert_int_eq(errno, EBADF);
    ck_assert_ptr_eq(mmap(NULL, PAGE, RW, MAP_SHARED, file->fd_ro, 0), MAP_FAILED);
    relay_channel_free(channel);
}
END_TEST

START_TEST(a_private_mapping_keeps_its_writes_to_itself)
{
    struct relay_mapped mapped;
    struct muse_file *file;
    char *own;

    begin(small);
    mapped = map_buffer(muse, 0, RELAY_PRODUCE);
    ck_assert_int_eq(relay_write(&mapped.ring, "shared", 6), 0);
    file = client_open(muse, "relay/trace/cpu0", O_RDONLY);
    own = muse_mmap(muse, NULL, ALLOC, RW, MAP_PRIVATE, file, 0);
    ck_assert_ptr_ne(own, MAP_FAILED);
    memcpy(own + RELAY_HEADER_BYTES, "private", 7);
    ck_assert_mem_eq((char *)mapped.data + RELAY_HEADER_BYTES, "shared", 6);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

START_TEST(reads_and_writes_of_the_file_do_not_reach_the_buffer)
{
    struct relay_mapped mapped;
    struct muse_file *file;
    char byte = 'x';

    begin(small);
    mapped = map_buffer(muse, 0, RELAY_PRODUCE);
    file = client_open(muse, "relay/trace/cpu0", O_RDWR);
    ck_assert_int_eq(muse_pread(file, &byte, 1, 0), -1);
    ck_assert_int_eq(errno, ENXIO);
    ck_assert_int_eq(muse_pwrite(file, &byte, 1, 0), -1);
    ck_assert_int_eq(errno, ENXIO);
    ck_assert_int_eq(muse_ftruncate(file, PAGE), -1);
    ck_assert_int_eq(errno, EOPNOTSUPP);
    ck_assert_int_eq(*(const char *)mapped.data, 0);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

/* ---- producers that die ---- */

/* Leaves a record unfinished, says so, and waits to be killed. */
static void reserve_and_hang(void *ctx)
{
    const int *said = ctx;
    struct muse *own = client_connect();
    const struct relay_mapped mapped = map_buffer(own, 0, RELAY_PRODUCE);
    struct relay_record record;

    ck_assert_int_eq(relay_write(&mapped.ring, "finished", 8), 0);
    ck_assert_int_eq(relay_reserve(&mapped.ring, 100, &record), 0);
    ck_assert_int_eq(write(said[1], "r", 1), 1);
    for (;;)
        (void)pause();
}

static pid_t start_hanging_producer(void)
{
    int said[2];
    char byte;
    pid_t pid;

    ck_assert_int_eq(pipe2(said, O_CLOEXEC), 0);
    pid = client_fork(reserve_and_hang, said);
    ck_assert_int_eq(read(said[0], &byte, 1), 1);
    (void)close(said[0]);
    (void)close(said[1]);
    return pid;
}

static bool was_aborted(const struct rig *of, void *arg)
{
    const struct relay_mapped *mapped = arg;

    (void)of;
    return mapped->ring.ctl->aborted > 0;
}

START_TEST(what_a_killed_producer_has_left_is_given_up)
{
    struct relay_mapped mapped;
    struct relay_reader reader = {0};
    char got[SUBBUF];
    pid_t pid;

    begin(small);
    mapped = map_buffer(muse, 0, RELAY_CONSUME);
    pid = start_hanging_producer();
    ck_assert_int_eq(relay_read(&mapped.ring, &reader, got, sizeof(got)), 8);
    ck_assert_int_eq(relay_read(&mapped.ring, &reader, got, sizeof(got)), -EAGAIN);
    client_kill(pid);
    rig_wait(was_aborted, &rig, &mapped, "the record is given up");
    ck_assert_int_eq(relay_read(&mapped.ring, &reader, got, sizeof(got)), -EAGAIN);
    pid = start_hanging_producer();
    ck_assert_int_eq(relay_read(&mapped.ring, &reader, got, sizeof(got)), 8);
    client_kill(pid);
    end();
}
END_TEST

START_TEST(it_is_given_up_only_when_nobody_else_can_write)
{
    struct relay_mapped looker, other;
    pid_t pid;

    begin(small);
    looker = map_buffer(muse, 0, RELAY_CONSUME);
    other = map_buffer(muse, 0, RELAY_PRODUCE);
    pid = start_hanging_producer();
    client_kill(pid);
    while (relay_write(&other.ring, "0123456789", 10) == 0)
        continue; /* the buffer is filled, and nobody can read past the record */
    ck_assert_uint_eq(looker.ring.ctl->aborted, 0);
    relay_buffer_unmap(muse, &other);
    rig_wait(was_aborted, &rig, &looker, "the record is given up");
    ck_assert_uint_eq(looker.ring.ctl->aborted, 1);
    end();
}
END_TEST

/* Maps for writing, and cuts in two, until it is killed. */
static void map_for_ever(void *ctx)
{
    struct muse *own = client_connect();

    (void)ctx;
    for (;;) {
        struct relay_mapped mapped = map_buffer(own, 0, RELAY_PRODUCE);

        ck_assert_int_eq(muse_mprotect(own, mapped.data, PAGE, PROT_READ), 0);
        relay_buffer_unmap(own, &mapped);
    }
}

START_TEST(killed_at_any_moment_nobody_is_taken_for_a_writer_for_ever)
{
    struct relay_mapped mapped;

    begin(small);
    mapped = map_buffer(muse, 0, RELAY_CONSUME);
    for (unsigned i = 0; i < 20; i++) {
        const pid_t pid = client_fork(map_for_ever, NULL);

        client_sleep_ms(i);
        client_kill(pid);
    }
    client_kill(start_hanging_producer());
    rig_wait(was_aborted, &rig, &mapped, "the record is given up");
    end();
}
END_TEST

/* The client says that it could not map the buffer. */
START_TEST(a_mapping_that_comes_to_nothing_is_no_writer)
{
    char name[] = "relay/trace/cpu0";
    struct relay_mapped mapped;
    struct raw raw;
    uint64_t id;

    begin(small);
    mapped = map_buffer(muse, 0, RELAY_CONSUME);
    raw_hello(&raw, &rig);
    raw_attach(&raw);
    id = raw_map(&raw, raw_open_rw(&raw, name), 0, ALLOC, 0);
    (void)raw_answer(&raw, FRAME_MEM_OPS, id);
    raw_ops_done(&raw, id, ENOMEM);
    (void)raw_answer(&raw, FRAME_MEM_OPS, id); /* undo */
    ck_assert_int_eq(raw_failure(&raw, id), ENOMEM);
    raw_ops_done(&raw, id, 0);
    ck_assert_uint_eq(rig_count(&rig, "relay", "aborted"), 1);
    raw_done(&raw);
    client_kill(start_hanging_producer());
    rig_wait(was_aborted, &rig, &mapped, "the record is given up");
    end();
}
END_TEST

START_TEST(who_got_no_mapping_in_time_is_no_writer)
{
    struct relay_mapped looker;
    struct muse_file *file;
    pid_t driver;

    rig_start(&rig, "[deadlines]\nhook_ms = 1000\n", small);
    muse = client_connect();
    looker = map_buffer(muse, 0, RELAY_CONSUME);
    file = client_open(muse, "relay/trace/cpu0", O_RDWR);
    driver = rig_driver_pid(&rig, "relay");
    rig_stop_process(&rig, driver);
    ck_assert_ptr_eq(muse_mmap(muse, NULL, ALLOC, RW, MAP_SHARED, file, 0), MAP_FAILED);
    ck_assert_int_eq(errno, ETIMEDOUT);
    ck_assert_int_eq(kill(driver, SIGCONT), 0);
    ck_assert_int_eq(muse_close(file), 0);
    client_kill(start_hanging_producer());
    rig_wait(was_aborted, &rig, &looker, "the record is given up");
    end();
}
END_TEST

static void write_inherited(void *ctx)
{
    const struct relay_mapped *mapped = ctx;

    ck_assert_int_eq(relay_write(&mapped->ring, "child", 5), 0);
    relay_buffer_unmap(muse, ctx);
}

START_TEST(a_child_inherits_the_buffer_and_counts_as_a_writer)
{
    struct relay_mapped mapped;
    struct relay_mapped looker;
    struct relay_reader reader = {0};
    struct relay_record record;
    char got[8];

    begin(small);
    looker = map_buffer(muse, 0, RELAY_CONSUME);
    mapped = map_buffer(muse, 0, RELAY_PRODUCE);
    ck_assert_int_eq(relay_reserve(&mapped.ring, 4, &record), 0);
    client_join(client_fork(write_inherited, &mapped));
    ck_assert_uint_eq(looker.ring.ctl->aborted, 0); /* the parent still can write */
    memcpy(record.bytes, "slow", 4);
    relay_commit(&mapped.ring, &record);
    ck_assert_int_eq(relay_read(&looker.ring, &reader, got, sizeof(got)), 4);
    ck_assert_int_eq(relay_read(&looker.ring, &reader, got, sizeof(got)), 5);
    ck_assert_mem_eq(got, "child", 5);
    end();
}
END_TEST

/* ---- traces of real programs ---- */

/* What the dynamic linker says about programs that it starts: some megabytes. */
#define TRACE                                                                                      \
    "for i in 1 2 3 4 5 6; do LD_BIND_NOW=1 LD_DEBUG=all /bin/ls -l / 2>&1; "                      \
    "LD_DEBUG=symbols,bindings /bin/sh -c 'echo $i' 2>&1; done"

/* A shell, with the examples in its path, in the rig's folder for data. */
static pid_t start_shell(const char *script)
{
    char path[512];
    char command[1024];
    pid_t pid;

    build_program("../examples", path, sizeof(path));
    (void)snprintf(command, sizeof(command), "set -e; PATH=%s:$PATH; cd %s; %s", path, rig.data,
                   script);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static void run_shell(const char *script)
{
    client_join(start_shell(script));
}

START_TEST(a_trace_at_full_speed_arrives_whole_through_a_small_buffer)
{
    pid_t reader;

    begin(small);
    reader = start_shell("relay_print trace 0 >received 2>counts");
    run_shell("{ " TRACE "; } | tee sent | relay_record -w trace 0 2>said; grep -q ' 0 lost' said");
    client_join(reader);
    run_shell("test $(wc -c <sent) -gt 1000000; cmp sent received; grep -q ' 0 given up' counts");
    end();
}
END_TEST

static bool has_lost(const struct rig *of, void *arg)
{
    const struct relay_mapped *mapped = arg;

    (void)of;
    return mapped->ring.ctl->lost > 0;
}

START_TEST(lines_that_find_no_room_are_counted_and_all_others_arrive)
{
    struct relay_mapped looker;
    pid_t writer;

    begin(small);
    looker = map_buffer(muse, 1, RELAY_LOOK);
    run_shell("{ " TRACE "; } | nl >sent");
    writer = start_shell("relay_record trace 1 <sent 2>said");
    rig_wait(has_lost, &rig, &looker, "a line is lost, as nobody reads");
    run_shell("relay_print trace 1 >received 2>counts");
    client_join(writer);
    /* numbered lines: what was received is some of what was sent, in its order; the rest is counted */
    run_shell("sort -n -c received; sort sent >a; sort received >b; test -z \"$(comm -13 a b)\"");
    run_shell("read recorded a lost b <said; test $recorded -eq $(wc -l <received);"
              "test $((recorded + lost)) -eq $(wc -l <sent)");
    end();
}
END_TEST

START_TEST(with_overwrite_the_last_lines_are_there_and_a_reader_needs_no_right_to_write)
{
    static const char *const overwrite[] = {
        "muse-relay --cpus 1 --subbuf 4K --n-subbufs 4 --overwrite", NULL};
    struct relay_mapped looker;
    struct relay_reader reader = {0};
    char got[SUBBUF];
    char last[SUBBUF];
    ssize_t n;
    ssize_t n_last = 0;

    begin(overwrite);
    looker = map_buffer(muse, 0, RELAY_LOOK);
    run_shell("{ " TRACE "; echo the end; } | relay_record trace 0 2>said; grep -q ' 0 lost' said");
    while ((n = relay_read(&looker.ring, &reader, got, sizeof(got))) > 0) {
        memcpy(last, got, (size_t)n);
        n_last = n;
    }
    ck_assert_int_eq(n, 0); /* the empty record at the end */
    ck_assert_int_eq(n_last, 8);
    ck_assert_mem_eq(last, "the end\n", 8);
    ck_assert_uint_gt(reader.skipped, 100);
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
    tcase_add_test(tcase, opening_says_what_is_wrong);
    tcase_add_test(tcase, folders_show_channels_and_buffers);
    tcase_add_test(tcase, a_closed_channel_is_gone_for_new_mappings_and_stays_for_old_ones);
    if (geteuid() == 0) /* who else may become another user */
        tcase_add_loop_test(tcase, the_mode_says_who_may_look_and_who_may_write, 0, 2);
    tcase_add_test(tcase, the_memory_can_neither_shrink_nor_grow_nor_be_opened_for_writing);
    tcase_add_test(tcase, a_private_mapping_keeps_its_writes_to_itself);
    tcase_add_test(tcase, reads_and_writes_of_the_file_do_not_reach_the_buffer);
    tcase_add_test(tcase, what_a_killed_producer_has_left_is_given_up);
    tcase_add_test(tcase, it_is_given_up_only_when_nobody_else_can_write);
    tcase_add_test(tcase, killed_at_any_moment_nobody_is_taken_for_a_writer_for_ever);
    tcase_add_test(tcase, a_mapping_that_comes_to_nothing_is_no_writer);
    tcase_add_test(tcase, who_got_no_mapping_in_time_is_no_writer);
    tcase_add_test(tcase, a_child_inherits_the_buffer_and_counts_as_a_writer);
    tcase_add_test(tcase, a_trace_at_full_speed_arrives_whole_through_a_small_buffer);
    tcase_add_test(tcase, lines_that_find_no_room_are_counted_and_all_others_arrive);
    tcase_add_test(tcase,
                   with_overwrite_the_last_lines_are_there_and_a_reader_needs_no_right_to_write);
    return unit_run("relay", tcase);
}
