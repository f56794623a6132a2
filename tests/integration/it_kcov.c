/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-kcov with a real server: when and how a buffer can be mapped, whose it is, how long it lives;
 * and a program that was built to record its way (examples/kcov_traced.c), whose PCs must be those of
 * the functions it called, and of no others.
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "tests/support/client.h"
#include "tests/support/mapping_flags.h"
#include "tests/support/raw.h"
#include "tests/support/unit.h"

#define NOBODY  60001u
#define RW      (PROT_READ | PROT_WRITE)
#define N_WORDS 512u /* of a page */

static const char *const plain[] = {"muse-kcov", NULL};

static struct rig rig;
static struct muse *muse;

static void begin(const char *config, const char *const *drivers)
{
    rig_start(&rig, config, drivers);
    muse = client_connect();
}

static void end(void)
{
    muse_disconnect(muse);
    rig_stop(&rig);
}

static struct muse_file *make(const char *name, size_t n_bytes)
{
    struct muse_file *file = client_open(muse, name, O_RDWR | O_CREAT);

    if (n_bytes > 0)
        ck_assert_msg(muse_ftruncate(file, (off_t)n_bytes) == 0, "%s", muse_last_error_text());
    return file;
}

static void refused(struct muse_file *file, size_t len, off_t offset, const char *text)
{
    ck_assert_ptr_eq(muse_mmap(muse, NULL, len, RW, MAP_SHARED, file, offset), MAP_FAILED);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_msg(strstr(muse_last_error_text(), text) != NULL, "%s", muse_last_error_text());
}

static uint64_t *map(struct muse_file *file, size_t len)
{
    uint64_t *words = muse_mmap(muse, NULL, len, RW, MAP_SHARED, file, 0);

    ck_assert_msg(words != MAP_FAILED, "%s", muse_last_error_text());
    return words;
}

/* ---- what may be mapped ---- */

START_TEST(nothing_is_mapped_before_the_size_is_known)
{
    struct muse_file *file;

    begin(NULL, plain);
    file = make("kcov/a", 0);
    refused(file, PAGE, 0, "no size yet");
    ck_assert_int_eq(muse_ftruncate(file, PAGE), 0);
    map(file, PAGE)[N_WORDS - 1] = 1;
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

START_TEST(only_all_of_it_is_mapped_and_from_its_beginning)
{
    struct muse_file *file;

    begin(NULL, plain);
    file = make("kcov/a", 3 * PAGE);
    refused(file, 2 * PAGE, 0, "exactly its size");
    refused(file, 4 * PAGE, 0, "exactly its size");
    refused(file, 3 * PAGE, PAGE, "from its beginning");
    refused(file, 2 * PAGE, PAGE, "from its beginning");
    map(file, 3 * PAGE)[3 * N_WORDS - 1] = 1;
    ck_assert_int_eq(muse_close(file), 0);
    file = make("kcov/odd", PAGE + 8); /* never a multiple of a page: never mapped, as in Linux */
    refused(file, PAGE, 0, "exactly its size");
    refused(file, 2 * PAGE, 0, "exactly its size");
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

START_TEST(the_size_is_set_once)
{
    static const off_t wrong[] = {0, 8, 12, (off_t)PAGE + 4, (off_t)1 << 31, (off_t)1 << 40};
    struct muse_file *file, *reader;
    struct stat stat;

    begin(NULL, plain);
    file = make("kcov/a", 0);
    for (size_t i = 0; i < N_ELEMENTS(wrong); i++) {
        ck_assert_int_eq(muse_ftruncate(file, wrong[i]), -1);
        ck_assert_int_eq(errno, EINVAL);
    }
    reader = client_open(muse, "kcov/a", O_RDONLY);
    ck_assert_int_eq(muse_ftruncate(reader, PAGE), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(muse_ftruncate(file, 2 * PAGE), 0);
    ck_assert_int_eq(muse_ftruncate(file, 2 * PAGE), -1);
    ck_assert_int_eq(errno, EBUSY);
    ck_assert_int_eq(muse_ftruncate(file, PAGE), -1);
    ck_assert_int_eq(errno, EBUSY);
    ck_assert_int_eq(muse_ftruncate(file, 8), -1); /* what is no size is told first */
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(muse_fstat(reader, &stat), 0);
    ck_assert_int_eq(stat.st_size, 2 * PAGE);
    ck_assert_int_eq(muse_close(file), 0);
    ck_assert_int_eq(muse_close(reader), 0);
    end();
}
END_TEST

START_TEST(a_mapping_has_the_flags_of_the_kernels_and_does_not_grow)
{
    static const char *const flags[] = {"dontexpand", "mixedmap", NULL};
    struct muse_file *file;
    uint64_t *words;

    begin(NULL, plain);
    file = make("kcov/a", 2 * PAGE);
    words = map(file, 2 * PAGE);
    ck_assert(mapping_has_flags(&rig, "kcov/a", flags));
    ck_assert_ptr_eq(muse_mremap(muse, words, 2 * PAGE, 3 * PAGE, 0), MAP_FAILED);
    ck_assert_int_eq(errno, EFAULT);
    ck_assert_ptr_eq(muse_mremap(muse, words, 2 * PAGE, 3 * PAGE, MREMAP_MAYMOVE), MAP_FAILED);
    ck_assert_int_eq(errno, EFAULT);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

START_TEST(unmapped_and_mapped_again_it_shows_the_same)
{
    struct muse_file *file;
    uint64_t *words;

    begin(NULL, plain);
    file = make("kcov/a", 2 * PAGE);
    words = map(file, 2 * PAGE);
    for (size_t i = 0; i < 2 * N_WORDS; i++)
        words[i] = i * 3;
    ck_assert_int_eq(muse_munmap(muse, words, 2 * PAGE), 0);
    words = map(file, 2 * PAGE);
    for (size_t i = 0; i < 2 * N_WORDS; i++)
        ck_assert_uint_eq(words[i], i * 3);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

START_TEST(a_private_mapping_and_one_for_reading_leave_it_alone)
{
    struct muse_file *file, *reader;
    uint64_t *words, *own, *seen;

    begin(NULL, plain);
    file = make("kcov/a", PAGE);
    reader = client_open(muse, "kcov/a", O_RDONLY);
    words = map(file, PAGE);
    words[1] = 7;
    own = muse_mmap(muse, NULL, PAGE, RW, MAP_PRIVATE, reader, 0);
    seen = muse_mmap(muse, NULL, PAGE, PROT_READ, MAP_SHARED, reader, 0);
    ck_assert(own != MAP_FAILED && seen != MAP_FAILED);
    own[1] = 8;
    ck_assert_uint_eq(words[1], 7);
    ck_assert_uint_eq(seen[1], 7);
    ck_assert_int_eq(muse_mprotect(muse, seen, PAGE, RW), -1);
    ck_assert_int_eq(errno, EACCES);
    ck_assert_int_eq(mprotect(seen, PAGE, RW), -1); /* nor by the system call */
    ck_assert_int_eq(muse_close(file), 0);
    ck_assert_int_eq(muse_close(reader), 0);
    end();
}
END_TEST

/* ---- names, owners, lives ---- */

static bool is_gone(const struct rig *of, void *arg)
{
    struct stat stat;

    (void)of;
    (void)arg;
    return muse_stat(muse, "kcov/a", &stat) < 0 && errno == ENOENT;
}

START_TEST(opening_says_what_is_wrong)
{
    struct muse_file *file, *again;

    begin(NULL, plain);
    ck_assert_int_eq(muse_open(muse, "kcov/a", O_RDWR, &again), -1);
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_int_eq(muse_open(muse, "kcov/a/b", O_RDWR | O_CREAT, &again), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(muse_open(muse, "kcov/.a", O_RDWR | O_CREAT, &again), -1);
    ck_assert_int_eq(errno, EINVAL);
    file = client_open(muse, "kcov/a", O_RDWR | O_CREAT | O_EXCL);
    ck_assert_int_eq(muse_open(muse, "kcov/a", O_RDWR | O_CREAT | O_EXCL, &again), -1);
    ck_assert_int_eq(errno, EEXIST);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

START_TEST(a_buffer_lives_as_long_as_it_is_open_or_mapped)
{
    struct muse_dirent entries[4];
    struct muse_file *file;
    struct stat stat;
    uint64_t *words;

    begin(NULL, plain);
    file = make("kcov/a", PAGE);
    words = map(file, PAGE);
    words[1] = 42;
    ck_assert_int_eq(muse_close(file), 0);
    ck_assert_int_eq(muse_readdir(muse, "kcov", 0, entries, 4), 1);
    ck_assert_str_eq(entries[0].name, "a");
    ck_assert_int_eq(muse_readdir(muse, "kcov", entries[0].next, entries, 4), 0);
    ck_assert_int_eq(muse_stat(muse, "kcov/a", &stat), 0);
    ck_assert_uint_eq(stat.st_mode, S_IFREG | 0600);
    ck_assert_int_eq(stat.st_size, PAGE);
    file = client_open(muse, "kcov/a", O_RDWR); /* the mapping has kept it */
    ck_assert_uint_eq(map(file, PAGE)[1], 42);
    ck_assert_int_eq(muse_close(file), 0);
    muse_disconnect(muse);
    muse = client_connect();
    rig_wait(is_gone, &rig, NULL, "the buffer is gone");
    ck_assert_int_eq(muse_open(muse, "kcov/a", O_RDWR, &file), -1);
    ck_assert_int_eq(errno, ENOENT);
    file = make("kcov/a", 2 * PAGE); /* another one */
    ck_assert_uint_eq(map(file, 2 * PAGE)[1], 0);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

static void kcov_of_nobody(void *ctx)
{
    struct muse *own;
    struct muse_file *file;
    struct stat stat;

    (void)ctx;
    if (setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
        _exit(2);
    own = client_connect();
    ck_assert_int_eq(muse_open(own, "kcov/a", O_RDONLY, &file), -1);
    ck_assert_int_eq(errno, EACCES);
    file = client_open(own, "kcov/mine", O_RDWR | O_CREAT);
    ck_assert_int_eq(muse_fstat(file, &stat), 0);
    ck_assert_uint_eq(stat.st_uid, NOBODY);
    ck_assert_int_eq(muse_ftruncate(file, PAGE), 0);
    muse_disconnect(own);
}

START_TEST(a_buffer_is_its_owners)
{
    struct muse_file *file;

    begin(NULL, plain);
    file = make("kcov/a", PAGE);
    client_join(client_fork(kcov_of_nobody, NULL));
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

START_TEST(how_many_there_are_and_how_large_is_limited)
{
    static const char *const narrow[] = {"muse-kcov --buffers 2 --memory 12K", NULL};
    struct muse_file *a, *b, *c;

    begin(NULL, narrow);
    a = make("kcov/a", 2 * PAGE);
    b = make("kcov/b", 0);
    ck_assert_int_eq(muse_open(muse, "kcov/c", O_RDWR | O_CREAT, &c), -1);
    ck_assert_int_eq(errno, ENFILE);
    ck_assert_int_eq(muse_ftruncate(b, 2 * PAGE), -1);
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_int_eq(muse_close(a), 0);
    ck_assert_int_eq(muse_ftruncate(b, 3 * PAGE), 0); /* a's has been given back */
    ck_assert_int_eq(muse_close(b), 0);
    end();
}
END_TEST

START_TEST(reads_of_the_file_do_not_reach_it)
{
    struct muse_file *file;
    uint64_t word;

    begin(NULL, plain);
    file = make("kcov/a", PAGE);
    map(file, PAGE)[0] = 5;
    ck_assert_int_eq(muse_pread(file, &word, sizeof(word), 0), -1);
    ck_assert_int_eq(errno, ENXIO);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

static void map_for_ever(void *ctx)
{
    (void)ctx;
    muse = client_connect();
    for (;;) {
        struct muse_file *file = make("kcov/a", 0);
        uint64_t *words;

        ck_assert(muse_ftruncate(file, PAGE) == 0 || errno == EBUSY);
        words = map(file, PAGE);
        ck_assert_int_eq(muse_close(file), 0);
        words[0]++;
        ck_assert_int_eq(muse_munmap(muse, words, PAGE), 0);
    }
}

START_TEST(killed_at_any_moment_a_client_leaves_nothing)
{
    begin(NULL, plain);
    for (unsigned i = 0; i < 20; i++) {
        const pid_t pid = client_fork(map_for_ever, NULL);

        client_sleep_ms(i);
        client_kill(pid);
        rig_wait(is_gone, &rig, NULL, "the buffer is gone");
    }
    ck_assert_uint_eq(rig_count(&rig, "kcov", "in_flight"), 0);
    end();
}
END_TEST

/* The client says that it could not map: the range, after prepare; or the words, after complete. */
START_TEST(a_mapping_that_comes_to_nothing_does_not_keep_the_buffer)
{
    const bool in_complete = _i;
    struct muse_file *file;
    struct raw raw;
    uint64_t id;

    begin(NULL, plain);
    file = make("kcov/a", PAGE);
    raw_hello(&raw, &rig);
    raw_attach(&raw);
    id = raw_map(&raw, raw_open(&raw, "kcov/a"), 0, PAGE, 0);
    if (in_complete)
        raw_carry_out(&raw, raw_answer(&raw, FRAME_MEM_OPS, id));
    (void)raw_answer(&raw, FRAME_MEM_OPS, id);
    raw_ops_done(&raw, id, ENOMEM);
    (void)raw_answer(&raw, FRAME_MEM_OPS, id); /* undo, whatever it was that failed */
    ck_assert_int_eq(raw_failure(&raw, id), ENOMEM);
    raw_ops_done(&raw, id, 0);
    raw_done(&raw);
    ck_assert_uint_eq(rig_count(&rig, "kcov", "aborted"), !in_complete);
    ck_assert_uint_eq(rig_count(&rig, "kcov", "completed"), in_complete);
    ck_assert_int_eq(muse_close(file), 0);
    rig_wait(is_gone, &rig, NULL, "the buffer is gone");
    end();
}
END_TEST

START_TEST(a_driver_that_is_late_keeps_nothing)
{
    struct muse_file *file;
    pid_t driver;

    begin("[deadlines]\nhook_ms = 1000\n", plain);
    file = make("kcov/a", PAGE);
    driver = rig_driver_pid(&rig, "kcov");
    rig_stop_process(&rig, driver);
    ck_assert_ptr_eq(muse_mmap(muse, NULL, PAGE, RW, MAP_SHARED, file, 0), MAP_FAILED);
    ck_assert_int_eq(errno, ETIMEDOUT);
    ck_assert_int_eq(kill(driver, SIGCONT), 0);
    ck_assert_int_eq(muse_close(file), 0);
    rig_wait(is_gone, &rig, NULL, "the buffer is gone");
    ck_assert_uint_eq(rig_count(&rig, "kcov", "aborted"), 1);
    file = make("kcov/a", PAGE);
    map(file, PAGE)[1] = 1;
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

/* ---- a program that records its way ---- */

static void run_traced(const char *name, const char *way)
{
    char path[512];
    int status;
    pid_t pid;

    build_program("../examples/kcov_traced", path, sizeof(path));
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        execl(path, "kcov_traced", name, way, (char *)NULL);
        _exit(127);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}

/* How many of the PCs lie in @function, by addr2line(1). */
static unsigned count_in(const uint64_t *words, const char *function)
{
    char path[512], command[768], line[256], addresses[128];
    unsigned n = 0;
    FILE *addr2line;
    FILE *file;

    build_program("../examples/kcov_traced", path, sizeof(path));
    (void)snprintf(addresses, sizeof(addresses), "%s/addresses", rig.data);
    file = fopen(addresses, "we");
    ck_assert_ptr_nonnull(file);
    for (uint64_t i = 1; i <= words[0]; i++)
        (void)fprintf(file, "%#llx\n", (unsigned long long)words[i] - 1); /* inside the call */
    ck_assert_int_eq(fclose(file), 0);
    (void)snprintf(command, sizeof(command), "addr2line -f -s -e %s <%s", path, addresses);
    addr2line = popen(command, "re");
    ck_assert_ptr_nonnull(addr2line);
    while (fgets(line, sizeof(line), addr2line)) {
        line[strcspn(line, "\n")] = '\0';
        n += strcmp(line, function) == 0;
    }
    ck_assert_int_eq(pclose(addr2line), 0);
    return n;
}

START_TEST(the_pcs_are_those_of_the_functions_that_were_called)
{
    static const char *const ways[] = {"left", "right"};
    static const char *const functions[] = {"take_left", "take_right"};
    struct muse_file *file;
    uint64_t *words;

    begin(NULL, plain);
    file = make("kcov/a", PAGE);
    words = map(file, PAGE);
    for (unsigned i = 0; i < 2; i++) {
        words[0] = 0;
        run_traced("kcov/a", ways[i]);
        ck_assert_uint_gt(words[0], 0);
        ck_assert_uint_lt(words[0], N_WORDS);
        ck_assert_uint_gt(count_in(words, "take"), 0);
        ck_assert_uint_gt(count_in(words, functions[i]), 0);
        ck_assert_uint_eq(count_in(words, functions[1 - i]), 0);
        ck_assert_uint_eq(count_in(words, "main"), 0); /* before and after it was enabled */
    }
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

START_TEST(a_full_buffer_takes_no_more_and_nothing_behind_it_is_touched)
{
    struct muse_file *file;
    uint64_t *words;

    begin(NULL, plain);
    file = make("kcov/a", PAGE);
    words = map(file, PAGE);
    run_traced("kcov/a", "loop");
    ck_assert_uint_eq(words[0], N_WORDS - 1);
    ck_assert_uint_gt(count_in(words, "take_left"), N_WORDS / 4);
    words[0] = UINT64_MAX; /* somebody writes nonsense to the count */
    run_traced("kcov/a", "loop");
    ck_assert_uint_eq(words[0], UINT64_MAX);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

START_TEST(each_thread_has_its_own_way)
{
    struct muse_file *files[2];
    uint64_t *words[2];

    begin(NULL, plain);
    files[0] = make("kcov/a", PAGE);
    files[1] = make("kcov/a-2", PAGE);
    words[0] = map(files[0], PAGE);
    words[1] = map(files[1], PAGE);
    run_traced("kcov/a", "threads");
    ck_assert_uint_gt(count_in(words[0], "take_left"), 0);
    ck_assert_uint_eq(count_in(words[0], "take_right"), 0);
    ck_assert_uint_gt(count_in(words[1], "take_right"), 0);
    ck_assert_uint_eq(count_in(words[1], "take_left"), 0);
    ck_assert_int_eq(muse_close(files[0]), 0);
    ck_assert_int_eq(muse_close(files[1]), 0);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("kcov");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, nothing_is_mapped_before_the_size_is_known);
    tcase_add_test(tcase, only_all_of_it_is_mapped_and_from_its_beginning);
    tcase_add_test(tcase, the_size_is_set_once);
    tcase_add_test(tcase, a_mapping_has_the_flags_of_the_kernels_and_does_not_grow);
    tcase_add_test(tcase, unmapped_and_mapped_again_it_shows_the_same);
    tcase_add_test(tcase, a_private_mapping_and_one_for_reading_leave_it_alone);
    tcase_add_test(tcase, opening_says_what_is_wrong);
    tcase_add_test(tcase, a_buffer_lives_as_long_as_it_is_open_or_mapped);
    if (geteuid() == 0) /* who else may become another user */
        tcase_add_test(tcase, a_buffer_is_its_owners);
    tcase_add_test(tcase, how_many_there_are_and_how_large_is_limited);
    tcase_add_test(tcase, reads_of_the_file_do_not_reach_it);
    tcase_add_test(tcase, killed_at_any_moment_a_client_leaves_nothing);
    tcase_add_loop_test(tcase, a_mapping_that_comes_to_nothing_does_not_keep_the_buffer, 0, 2);
    tcase_add_test(tcase, a_driver_that_is_late_keeps_nothing);
    tcase_add_test(tcase, the_pcs_are_those_of_the_functions_that_were_called);
    tcase_add_test(tcase, a_full_buffer_takes_no_more_and_nothing_behind_it_is_touched);
    tcase_add_test(tcase, each_thread_has_its_own_way);
    return unit_run("kcov", tcase);
}
