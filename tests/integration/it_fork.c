/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fork(2): parent and child both go on, with the bytes and the signals that they would have with a
 * plain file. Large and busy processes are in it_fork_many.c, deaths and
 * limits in it_fork_loss.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "tests/support/client.h"
#include "tests/support/kernel.h"
#include "tests/support/unit.h"

#define N_PAGES    64u
#define FILE_BYTES (60u * PAGE + 100)
#define DONTCOPY   "0x20000"

extern char **environ;

static const char *const faulty[] = {"muse-faulty", NULL};
static const char *const writable[] = {"muse-file --writable %s", NULL};

static struct rig rig;
static struct muse *muse;

static void begin(const char *const *drivers)
{
    rig_start(&rig, NULL, drivers);
    rig_file(&rig, "data", FILE_BYTES);
    muse = client_connect();
}

static void end(void)
{
    muse_disconnect(muse);
    rig_stop(&rig);
}

static void *map_file(size_t n_pages, int prot, int flags)
{
    void *mapped = client_map(muse, "file/data", O_RDWR, n_pages * PAGE, prot, flags);

    ck_assert_msg(mapped != MAP_FAILED, "%s", muse_last_error_text());
    return mapped;
}

static void expect_words(const void *mapped, size_t n_pages)
{
    for (size_t i = 0; i < n_pages * 512; i += 64) {
        if (faulty_word(mapped, i / 512, i % 512) != i)
            ck_abort_msg("word %zu is %#llx", i,
                         (unsigned long long)faulty_word(mapped, i / 512, i % 512));
    }
}

/* ---- the kernel as the oracle ---- */

struct world {
    unsigned char *shared, *private, *readonly;
};

/* What parent, child and grandchild met, in order; in memory that all of them share. */
struct step {
    int signal, code;
    unsigned char byte;
};

struct transcript {
    unsigned n;
    struct step steps[4096];
};

static void note(struct transcript *transcript, struct probe probe)
{
    ck_assert_uint_lt(transcript->n, 4096);
    transcript->steps[transcript->n].signal = probe.signal;
    transcript->steps[transcript->n].code = probe.code;
    transcript->steps[transcript->n++].byte = probe.byte;
}

static void note_all(struct transcript *transcript, const struct world *world)
{
    for (size_t page = 0; page < N_PAGES; page++) {
        note(transcript, probe_read(world->private + page * PAGE));
        note(transcript, probe_read(world->shared + page * PAGE + 7));
        note(transcript, probe_read(world->readonly + page * PAGE + 9));
    }
}

struct part {
    struct world *world;
    struct transcript *transcript;
};

static void grandchild_part(void *ctx)
{
    const struct part *part = ctx;

    note_all(part->transcript, part->world);
    note(part->transcript, probe_write(part->world->private + PAGE, 'g'));
    note(part->transcript, probe_write(part->world->shared + 13 * PAGE + 7, 'g'));
    note_all(part->transcript, part->world);
}

static void child_part(void *ctx)
{
    const struct part *part = ctx;
    const struct world *world = part->world;

    note(part->transcript, probe_read(world->private + 20 * PAGE)); /* nobody touched it before */
    note(part->transcript, probe_write(world->private + PAGE, 'c'));
    note(part->transcript, probe_write(world->private + 21 * PAGE, 'c'));
    note(part->transcript, probe_write(world->private + 61 * PAGE, 'c'));
    note(part->transcript, probe_write(world->shared + 11 * PAGE + 7, 'c'));
    note(part->transcript, probe_write(world->readonly + 9, 'c'));
    note_all(part->transcript, world);
    client_join(client_fork(grandchild_part, ctx));
    note_all(part->transcript, world);
}

static void live(struct world *world, struct transcript *transcript)
{
    struct part part = {world, transcript};

    note(transcript, probe_write(world->private + PAGE, 'p'));
    note(transcript, probe_write(world->private + 3 * PAGE, 'p'));
    note(transcript, probe_read(world->private + 5 * PAGE));
    note(transcript, probe_write(world->shared + 2 * PAGE + 7, 'p'));
    note(transcript, probe_read(world->private + 62 * PAGE));
    client_join(client_fork(child_part, &part));
    note_all(transcript, world);
    note(transcript, probe_write(world->private + 3 * PAGE, 'q'));
    note(transcript, probe_write(world->private + 30 * PAGE, 'q'));
    note_all(transcript, world);
}

static void make_kernel_world(struct world *world)
{
    char path[160];
    int fd;

    rig_file(&rig, "oracle", FILE_BYTES);
    (void)snprintf(path, sizeof(path), "%s/oracle", rig.data);
    fd = open(path, O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    world->shared = kernel_mmap(NULL, N_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    world->private = kernel_mmap(NULL, N_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    world->readonly = kernel_mmap(NULL, N_PAGES * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    ck_assert_int_eq(close(fd), 0);
}

static struct transcript *transcript_new(void)
{
    struct transcript *transcript =
        mmap(NULL, sizeof(*transcript), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    ck_assert_ptr_ne(transcript, MAP_FAILED);
    return transcript;
}

START_TEST(parents_children_and_grandchildren_see_what_they_would_see_of_a_file)
{
    struct transcript *ours = transcript_new(), *kernels = transcript_new();
    struct world world;

    begin(writable);
    make_kernel_world(&world);
    live(&world, kernels);
    world.shared = map_file(N_PAGES, PROT_READ | PROT_WRITE, MAP_SHARED);
    world.private = map_file(N_PAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    world.readonly = map_file(N_PAGES, PROT_READ, MAP_SHARED);
    live(&world, ours);
    ck_assert_uint_eq(ours->n, kernels->n);
    for (unsigned i = 0; i < ours->n; i++) {
        const struct step *our = &ours->steps[i], *kernel = &kernels->steps[i];

        ck_assert_msg(our->signal == kernel->signal && our->code == kernel->code &&
                          our->byte == kernel->byte,
                      "step %u: signal %d code %d byte %#x, the kernel's %d %d %#x", i, our->signal,
                      our->code, our->byte, kernel->signal, kernel->code, kernel->byte);
    }
    end();
}
END_TEST

/* ---- written pages ---- */

static unsigned char byte_of_file(off_t offset)
{
    unsigned char byte = 0;
    char path[160];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/data", rig.data);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(fd, &byte, 1, offset), 1);
    ck_assert_int_eq(close(fd), 0);
    return byte;
}

static void child_writes_back(void *ctx)
{
    unsigned char *shared = ctx;

    ck_assert_int_eq(shared[2 * PAGE], 'p');
    shared[2 * PAGE] = 'c'; /* the parent's dirty page, then one that nobody has touched */
    shared[40 * PAGE] = 'c';
    ck_assert_int_eq(muse_msync(muse, shared, N_PAGES * PAGE, MS_SYNC), 0);
    ck_assert_int_eq(byte_of_file(2 * PAGE), 'c');
    ck_assert_int_eq(byte_of_file(40 * PAGE), 'c');
    shared[3 * PAGE] = 'd'; /* its end is not the end of what it wrote */
}

START_TEST(what_parent_and_child_write_to_shared_mappings_reaches_the_file)
{
    begin(writable);
    unsigned char *shared = map_file(N_PAGES, PROT_READ | PROT_WRITE, MAP_SHARED);

    shared[2 * PAGE] = 'p';
    client_join(client_fork(child_writes_back, shared));
    ck_assert_int_eq(shared[40 * PAGE], 'c');
    shared[40 * PAGE] = 'q';
    ck_assert_int_eq(muse_msync(muse, shared, N_PAGES * PAGE, MS_SYNC), 0);
    ck_assert_int_eq(byte_of_file(40 * PAGE), 'q');
    ck_assert_int_eq(byte_of_file(3 * PAGE), 'd');
    end();
}
END_TEST

/* ---- what is inherited ---- */

static void child_maps_and_unmaps(void *ctx)
{
    char **mapped = ctx;
    struct muse_file *file;

    ck_assert_str_eq(muse_last_error_text(), "");
    expect_words(mapped[0], N_PAGES);
    file = client_open(muse, "faulty/y", O_RDONLY);
    mapped[1] = muse_mmap(muse, NULL, N_PAGES * PAGE, PROT_READ, MAP_SHARED, file, 0);
    ck_assert_ptr_ne(mapped[1], MAP_FAILED);
    expect_words(mapped[1], N_PAGES);
    ck_assert_int_eq(muse_munmap(muse, mapped[0], N_PAGES / 2 * PAGE), 0);
    ck_assert_int_eq(probe_read(mapped[0]).signal, SIGSEGV);
    ck_assert_int_eq(probe_read(mapped[0] + N_PAGES / 2 * PAGE).signal, 0);
    ck_assert_int_eq(muse_close(file), 0);
    muse_disconnect(muse);
    ck_assert_int_eq(probe_read(mapped[0] + N_PAGES / 2 * PAGE).signal, SIGSEGV);
}

START_TEST(a_forked_child_maps_and_unmaps_for_itself)
{
    char *mapped[2];

    begin(faulty);
    mapped[0] = client_map_ro(muse, "faulty/x", N_PAGES);
    ck_assert_uint_eq(faulty_word(mapped[0], 0, 1), 1);
    client_join(client_fork(child_maps_and_unmaps, mapped));
    expect_words(mapped[0], N_PAGES);
    end();
}
END_TEST

struct open_file {
    struct muse_file *file;
    int go_on[2]; /* a pipe: the parent has closed it */
};

static void child_uses_file(void *ctx)
{
    const struct open_file *open_file = ctx;
    uint64_t words[512];
    struct stat st;
    void *mapped;
    char byte;

    ck_assert_int_eq(read(open_file->go_on[0], &byte, 1), 1);
    ck_assert_int_eq(muse_fstat(open_file->file, &st), 0);
    ck_assert_int_eq(muse_pread(open_file->file, words, PAGE, (off_t)PAGE), PAGE);
    ck_assert_uint_eq(words[5], 512 + 5);
    mapped = muse_mmap(muse, NULL, 4 * PAGE, PROT_READ, MAP_SHARED, open_file->file, 0);
    ck_assert_ptr_ne(mapped, MAP_FAILED);
    expect_words(mapped, 4);
    ck_assert_int_eq(muse_close(open_file->file), 0);
    ck_assert_int_eq(muse_munmap(muse, mapped, 4 * PAGE), 0);
}

START_TEST(an_open_file_is_the_childs_too_and_is_released_once)
{
    struct open_file open_file;
    uint64_t n_released;
    pid_t child;

    begin(faulty);
    open_file.file = client_open(muse, "faulty/x", O_RDONLY);
    ck_assert_int_eq(pipe2(open_file.go_on, O_CLOEXEC), 0);
    n_released = rig_counter("release");
    child = client_fork(child_uses_file, &open_file);
    ck_assert_int_eq(muse_close(open_file.file), 0);
    ck_assert_uint_eq(rig_counter("release"), n_released);
    ck_assert_int_eq(rig_ctl_status(&rig, "audit"), 0);
    ck_assert_int_eq(write(open_file.go_on[1], "", 1), 1);
    client_join(child);
    wait_for_counter("release", n_released + 1);
    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(close(open_file.go_on[i]), 0);
    end();
}
END_TEST

static void child_sees_no_dontcopy(void *ctx)
{
    char *const *mapped = ctx;
    char *again;

    ck_assert_int_eq(probe_read(mapped[0]).signal, SIGSEGV);
    ck_assert_int_eq(probe_read(mapped[0] + 3 * PAGE).signal, SIGSEGV);
    expect_words(mapped[1], 4);
    again = client_map_ro(muse, "faulty/y", 4);
    expect_words(again, 4);
    ck_assert_ptr_eq(again, mapped[0]); /* the highest place that is free */
}

START_TEST(what_the_driver_marks_dontcopy_is_not_in_the_child)
{
    char *mapped[2];

    begin(faulty);
    mapped[0] = client_map_ro(muse, "faulty/x,set-flags=" DONTCOPY, 4);
    mapped[1] = client_map_ro(muse, "faulty/x", 4);
    expect_words(mapped[0], 4);
    client_join(client_fork(child_sees_no_dontcopy, mapped));
    expect_words(mapped[0], 4);
    end();
}
END_TEST

START_TEST(wipeonfork_is_for_anonymous_memory_only)
{
    begin(writable);
    char *mapped = map_file(4, PROT_READ | PROT_WRITE, MAP_PRIVATE);

    ck_assert_int_eq(muse_madvise(muse, mapped, 4 * PAGE, MADV_WIPEONFORK), -1);
    ck_assert_int_eq(errno, EINVAL);
    end();
}
END_TEST

static void child_sees_outside(void *ctx)
{
    const char *mapped = ctx;

    ck_assert(file_is(mapped, 0, 8 * PAGE));
    ck_assert_int_eq(muse_munmap(muse, (void *)(uintptr_t)mapped, 4 * PAGE), 0);
    ck_assert_int_eq(probe_read(mapped).signal, SIGSEGV);
    ck_assert(file_is(mapped + 4 * PAGE, 4 * PAGE, 4 * PAGE));
    muse_disconnect(muse);
    ck_assert_int_eq(probe_read(mapped + 4 * PAGE).signal, SIGSEGV);
}

START_TEST(a_mapping_outside_the_arena_is_inherited_too)
{
    begin(writable);
    char *place = mmap(NULL, 8 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct muse_file *file = client_open(muse, "file/data", O_RDONLY);

    ck_assert_ptr_ne(place, MAP_FAILED);
    ck_assert_ptr_eq(muse_mmap(muse, place, 8 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, file, 0),
                     place);
    ck_assert_int_eq(place[1], (char)rig_byte(1));
    client_join(client_fork(child_sees_outside, place));
    ck_assert(file_is(place, 0, 8 * PAGE));
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

static void child_sees_direct(void *ctx)
{
    expect_words(ctx, 8);
}

START_TEST(a_mapping_of_the_drivers_own_fd_is_inherited)
{
    begin(faulty);
    char *mapped = client_map_ro(muse, "faulty/x,action=remap", 8);

    client_join(client_fork(child_sees_direct, mapped));
    expect_words(mapped, 8);
    end();
}
END_TEST

/* Parts of a mapping whose third and fourth page are the driver's own, and cannot be had by faults. */
struct parts {
    char *head, *moved; /* 0..5, but for 4; 6..9, elsewhere */
};

static void look_at_parts(const struct parts *parts)
{
    for (size_t page = 0; page < 6; page++) {
        if (page == 4)
            ck_assert_int_eq(probe_read(parts->head + page * PAGE).signal, SIGSEGV);
        else
            ck_assert_uint_eq(faulty_word(parts->head, page, 1), page * 512 + 1);
    }
    for (size_t page = 6; page < 10; page++)
        ck_assert_uint_eq(faulty_word(parts->moved, page - 6, 1), page * 512 + 1);
}

static void grandchild_sees_parts(void *ctx)
{
    look_at_parts(ctx);
}

static void child_sees_parts(void *ctx)
{
    struct parts *parts = ctx;

    client_join(client_fork(grandchild_sees_parts, parts));
    look_at_parts(parts);
    ck_assert_int_eq(muse_munmap(muse, parts->head, 6 * PAGE), 0);
}

START_TEST(a_mapping_of_the_drivers_fd_in_part_is_inherited)
{
    static const char name[] = "faulty/x,action=remap-middle,fault-single,fault-errno=5,page=%u";

    for (unsigned failing = 2; failing < 4; failing++) { /* what a fault on a part would meet */
        struct parts parts;
        char object[80];

        begin(faulty);
        (void)snprintf(object, sizeof(object), name, failing);
        parts.head = client_map_ro(muse, object, 10);
        ck_assert_int_eq(muse_madvise(muse, parts.head, 10 * PAGE, MADV_RANDOM), 0);
        ck_assert_int_eq(muse_munmap(muse, parts.head + 4 * PAGE, PAGE), 0);
        parts.moved = muse_mremap(muse, parts.head + 6 * PAGE, 4 * PAGE, 4 * PAGE,
                                  MREMAP_MAYMOVE | MREMAP_FIXED, parts.head - 100 * PAGE);
        ck_assert_msg(parts.moved != MAP_FAILED, "%s", muse_last_error_text());
        client_join(client_fork(child_sees_parts, &parts));
        look_at_parts(&parts);
        end();
    }
}
END_TEST

/* ---- failed pages ---- */

static void child_sees_failures(void *ctx)
{
    char *const *mapped = ctx;

    for (unsigned i = 0; i < 2; i++) {
        struct muse_error error;

        ck_assert_int_eq(probe_read(mapped[i] + 2 * PAGE).signal, SIGBUS); /* the parent met it */
        ck_assert_int_eq(muse_error_at(muse, mapped[i] + 2 * PAGE, &error), 0);
        ck_assert_int_eq(error.error, EIO);
        ck_assert_int_eq(probe_read(mapped[i] + 3 * PAGE).signal, 0);
        ck_assert_uint_eq(faulty_word(mapped[i], 3, 1), 3 * 512 + 1);
    }
    ck_assert_int_eq(probe_read(mapped[2] + 2 * PAGE).signal, SIGBUS); /* nobody met it before */
}

START_TEST(a_page_that_failed_is_sigbus_in_the_child_too_never_zeros)
{
    static const char name[] = "faulty/x,fault-errno=5,page=2";
    const int rw = PROT_READ | PROT_WRITE;
    char *mapped[3];

    begin(faulty);
    mapped[0] = client_map(muse, name, O_RDWR, 8 * PAGE, rw, MAP_SHARED);
    mapped[1] = client_map(muse, name, O_RDWR, 8 * PAGE, rw, MAP_PRIVATE);
    mapped[2] = client_map(muse, name, O_RDWR, 8 * PAGE, rw, MAP_PRIVATE);
    for (unsigned i = 0; i < 2; i++) {
        mapped[i][PAGE] = 'w'; /* so that the kernel copies the private page tables */
        ck_assert_int_eq(probe_read(mapped[i] + 2 * PAGE).signal, SIGBUS);
    }
    client_join(client_fork(child_sees_failures, mapped));
    end();
}
END_TEST

/* ---- drivers ---- */

static void child_ends(void *ctx)
{
    (void)ctx;
}

START_TEST(the_driver_hears_open_of_each_copy_and_close_of_each)
{
    begin(faulty);
    char *mapped[5];
    uint64_t n_open, n_close;

    for (unsigned i = 0; i < 5; i++) /* private data keeps them apart */
        mapped[i] =
            client_map_ro(muse, (i & 1) != 0 ? "faulty/x,private=1" : "faulty/x,private=2", 4);
    n_open = rig_counter("open");
    n_close = rig_counter("close");
    for (unsigned i = 0; i < 3; i++)
        client_join(client_fork(child_ends, NULL));
    wait_for_counter("close", n_close + 15);
    ck_assert_uint_eq(rig_counter("open"), n_open + 15);
    for (unsigned i = 0; i < 5; i++)
        ck_assert_int_eq(muse_munmap(muse, mapped[i], 4 * PAGE), 0);
    wait_for_counter("close", n_close + 20);
    ck_assert_uint_eq(rig_counter("mismatch"), 0);
    ck_assert_uint_eq(rig_counter("open"), n_open + 15);
    end();
}
END_TEST

/* ---- handles ---- */

static void child_of_two_handles(void *ctx)
{
    struct muse *other = *(struct muse **)ctx;

    expect_words(client_map_ro(other, "faulty/y", 4), 4);
    expect_words(client_map_ro(muse, "faulty/y", 4), 4);
    muse_disconnect(other);
    muse_disconnect(muse);
}

START_TEST(every_handle_of_the_process_goes_on)
{
    struct muse *other;

    begin(faulty);
    other = client_connect();
    expect_words(client_map_ro(other, "faulty/x", 4), 4);
    client_join(client_fork(child_of_two_handles, &other));
    expect_words(client_map_ro(other, "faulty/y", 4), 4);
    muse_disconnect(other);
    end();
}
END_TEST

/* ---- other ways to make a process ---- */

START_TEST(a_child_of_a_bare_clone_has_no_mapping_and_may_connect_for_itself)
{
    begin(faulty);
    char *mapped = client_map_ro(muse, "faulty/x", N_PAGES);
    struct muse *own;
    pid_t child;

    ck_assert_uint_eq(faulty_word(mapped, 0, 1), 1);
    (void)fflush(NULL);
    child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        ck_assert_int_eq(probe_read(mapped).signal, SIGSEGV); /* never zeros */
        ck_assert_int_eq(probe_read(mapped + 60 * PAGE).signal, SIGSEGV);
        ck_assert_int_eq(muse_munmap(muse, mapped, PAGE), -1);
        ck_assert_int_eq(errno, ENOTCONN);
        own = client_connect();
        expect_words(client_map_ro(own, "faulty/x", N_PAGES), N_PAGES);
        client_join(client_fork(child_ends, NULL)); /* with one handle that is a copy */
        muse_disconnect(own);
        muse_disconnect(muse);
        _exit(0);
    }
    client_join(child);
    expect_words(mapped, N_PAGES);
    end();
}
END_TEST

START_TEST(vfork_and_posix_spawn_are_as_without_the_library)
{
    char *const argv[] = {(char[]){"true"}, NULL};
    char *mapped;
    pid_t child;
    int status;

    begin(faulty);
    mapped = client_map_ro(muse, "faulty/x", N_PAGES);
    ck_assert_int_eq(posix_spawnp(&child, "true", NULL, NULL, argv, environ), 0);
    client_join(child);
    child = vfork(); /* NOLINT: it is what is tested */
    if (child == 0) {
        (void)execvp("true", argv);
        _exit(127);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    expect_words(mapped, N_PAGES);
    end();
}
END_TEST

START_TEST(a_child_that_executes_another_program_lets_the_copies_go)
{
    char *const argv[] = {(char[]){"true"}, NULL};
    uint64_t n_close;
    pid_t child;

    begin(faulty);
    (void)client_map_ro(muse, "faulty/x", N_PAGES);
    n_close = rig_counter("close");
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        (void)execvp("true", argv);
        _exit(127);
    }
    client_join(child);
    wait_for_counter("close", n_close + 1);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("fork");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, parents_children_and_grandchildren_see_what_they_would_see_of_a_file);
    tcase_add_test(tcase, what_parent_and_child_write_to_shared_mappings_reaches_the_file);
    tcase_add_test(tcase, a_forked_child_maps_and_unmaps_for_itself);
    tcase_add_test(tcase, an_open_file_is_the_childs_too_and_is_released_once);
    tcase_add_test(tcase, what_the_driver_marks_dontcopy_is_not_in_the_child);
    tcase_add_test(tcase, wipeonfork_is_for_anonymous_memory_only);
    tcase_add_test(tcase, a_mapping_outside_the_arena_is_inherited_too);
    tcase_add_test(tcase, a_mapping_of_the_drivers_own_fd_is_inherited);
    tcase_add_test(tcase, a_mapping_of_the_drivers_fd_in_part_is_inherited);
    tcase_add_test(tcase, a_page_that_failed_is_sigbus_in_the_child_too_never_zeros);
    tcase_add_test(tcase, the_driver_hears_open_of_each_copy_and_close_of_each);
    tcase_add_test(tcase, every_handle_of_the_process_goes_on);
    tcase_add_test(tcase, a_child_of_a_bare_clone_has_no_mapping_and_may_connect_for_itself);
    tcase_add_test(tcase, vfork_and_posix_spawn_are_as_without_the_library);
    tcase_add_test(tcase, a_child_that_executes_another_program_lets_the_copies_go);
    return unit_run("fork", tcase);
}
