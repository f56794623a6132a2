/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fork FILE DRIVER/OBJECT: what fork(2) of a process with many mappings costs, once with mappings
 * of a plain file and once with as many of an object through libmuse; the server is found by
 * MUSE_RUNDIR. Prints both medians and their ratio. With --native or --muse and one name only that
 * one, as a line of JSON for bench/run.
 *
 * A mapping is one page, shared and read-only, touched once; no two of them merge. Timed is from
 * the call of fork(2) until the child, which ends at once, has been waited for: what the library
 * does in parent and child is in there, and so is what the parent's return does not wait for.
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/touch.h"
#include "bench/work.h"

#define PAGE    4096ull
#define N_MAPS  1000u
/* Chosen: the first ones warm up and are not counted. */
#define N_FORKS 51u
#define N_COLD  5u

struct mapper {
    struct muse *muse;      /* owned; NULL: plain mmap(2) */
    struct muse_file *file; /* owned */
    int fd;                 /* owned */
    uint64_t n_pages;       /* of the file */
};

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "fork: %s: %s\n", what, why);
    return -1;
}

static int open_target(struct mapper *mapper, const char *name, bool is_muse)
{
    struct stat st = {0};

    *mapper = (struct mapper){.fd = -1};
    if (is_muse) {
        if (muse_connect(&mapper->muse, NULL) < 0 ||
            muse_open(mapper->muse, name, O_RDONLY, &mapper->file) < 0 ||
            muse_fstat(mapper->file, &st) < 0)
            return fail(name, muse_last_error_text());
    } else {
        mapper->fd = open(name, O_RDONLY | O_CLOEXEC);
        if (mapper->fd < 0 || fstat(mapper->fd, &st) < 0)
            return fail(name, strerror(errno));
    }
    mapper->n_pages = (uint64_t)st.st_size / PAGE;
    return mapper->n_pages >= 4 ? 0 : fail(name, "smaller than four pages");
}

/* Page 0, 2, 0, 2, ...: no mapping continues its neighbour. */
static int map_all(const struct mapper *mapper)
{
    for (unsigned i = 0; i < N_MAPS; i++) {
        const off_t offset = (off_t)((i & 1ull) * 2 * PAGE);
        const volatile char *mapped =
            mapper->muse
                ? muse_mmap(mapper->muse, NULL, PAGE, PROT_READ, MAP_SHARED, mapper->file, offset)
                : mmap(NULL, PAGE, PROT_READ, MAP_SHARED, mapper->fd, offset);

        if (mapped == MAP_FAILED)
            return fail("map", mapper->muse ? muse_last_error_text() : strerror(errno));
        (void)*mapped;
    }
    return 0;
}

static int time_forks(uint64_t *times_ns, struct touch_result *ret_result)
{
    uint64_t started_ns = 0;

    for (unsigned i = 0; i < N_COLD + N_FORKS; i++) {
        const uint64_t before_ns = touch_now_ns();
        pid_t pid = fork();

        if (pid == 0) /* a child that could not take its mappings over says so */
            _exit(muse_last_error_text()[0] == '\0' ? 0 : WORK_EXIT_FAILED);
        int status = 0;

        if (pid < 0 || waitpid(pid, &status, 0) < 0)
            return fail("fork", strerror(errno));
        if (status != 0)
            return fail("fork", "the child has no mappings");
        if (i == N_COLD)
            started_ns = before_ns;
        if (i >= N_COLD)
            times_ns[i - N_COLD] = touch_now_ns() - before_ns;
    }
    touch_summarize(times_ns, N_FORKS, touch_now_ns() - started_ns, ret_result);
    return 0;
}

static int measure(const char *name, bool is_muse, struct touch_result *ret_result)
{
    uint64_t times_ns[N_FORKS];
    struct mapper mapper;

    if (open_target(&mapper, name, is_muse) < 0 || map_all(&mapper) < 0)
        return -1;
    return time_forks(times_ns, ret_result);
}

/* In a process of its own, so that neither has the other's mappings. */
static int measure_apart(const char *name, bool is_muse, struct touch_result *ret_result)
{
    ssize_t n_read = -1;
    int fds[2];
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return fail("pipe", strerror(errno));
    pid = fork();
    if (pid == 0) {
        struct touch_result result;
        bool is_ok = measure(name, is_muse, &result) == 0 &&
                     write(fds[1], &result, sizeof(result)) == (ssize_t)sizeof(result);

        _exit(is_ok ? 0 : WORK_EXIT_FAILED);
    }
    (void)close(fds[1]);
    if (pid > 0) {
        n_read = read(fds[0], ret_result, sizeof(*ret_result));
        (void)waitpid(pid, NULL, 0);
    }
    (void)close(fds[0]);
    return n_read == (ssize_t)sizeof(*ret_result) ? 0 : -1;
}

static int compare(const char *file, const char *object)
{
    struct touch_result native, muse;

    if (measure_apart(file, false, &native) < 0 || measure_apart(object, true, &muse) < 0)
        return WORK_EXIT_FAILED;
    printf("fork of %u mappings, median of %u: native %.2f ms, muse %.2f ms, ratio %.2f\n", N_MAPS,
           N_FORKS, (double)native.p50_ns / 1e6, (double)muse.p50_ns / 1e6,
           (double)muse.p50_ns / (double)native.p50_ns);
    return 0;
}

int main(int argc, char **argv)
{
    struct touch_result result;

    if (argc == 3 && (strcmp(argv[1], "--native") == 0 || strcmp(argv[1], "--muse") == 0)) {
        if (measure(argv[2], strcmp(argv[1], "--muse") == 0, &result) < 0)
            return WORK_EXIT_FAILED;
        touch_print(stdout, "fork", &result, -1);
        return 0;
    }
    if (argc == 3 && argv[1][0] != '-')
        return compare(argv[1], argv[2]);
    fprintf(stderr, "usage: fork FILE DRIVER/OBJECT | fork --native FILE | fork --muse "
                    "DRIVER/OBJECT\n");
    return WORK_EXIT_USAGE;
}
