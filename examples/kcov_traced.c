/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program whose way is recorded: it is built with -fsanitize-coverage=trace-pc.
 *
 *     kcov_traced kcov/NAME left|right|loop|threads
 *
 * "loop" goes on for longer than the buffer has room; "threads" has one thread for each way, with
 * buffers kcov/NAME and kcov/NAME-2.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/kcov_runtime.h"

#define N_WORDS     512u
#define LOOP_ROUNDS 1000u

static _Atomic unsigned long n_steps; /* what the ways do is of no interest */

static __attribute__((noinline)) void take_left(unsigned long n)
{
    n_steps += n * 3;
}

static __attribute__((noinline)) void take_right(unsigned long n)
{
    if (n % 2 == 0)
        n_steps += n;
}

static __attribute__((noinline)) void take(const char *way)
{
    if (strcmp(way, "left") == 0) {
        take_left(1);
    } else if (strcmp(way, "loop") == 0) {
        for (unsigned long i = 0; i < LOOP_ROUNDS; i++)
            take_left(i);
    } else {
        take_right(2);
    }
}

struct job {
    struct kcov_area area;
    const char *way;
    int error;
};

static __attribute__((noinline)) void *run(void *arg)
{
    struct job *job = arg;

    job->error = kcov_enable(&job->area);
    if (job->error == 0) {
        take(job->way);
        job->error = kcov_disable(&job->area);
    }
    return NULL;
}

static int run_threads(struct muse *muse, const char *name)
{
    struct job jobs[2] = {{.way = "left"}, {.way = "right"}};
    pthread_t threads[2];
    char second[256];

    (void)snprintf(second, sizeof(second), "%s-2", name);
    if (kcov_area_map(muse, name, N_WORDS, &jobs[0].area) < 0 ||
        kcov_area_map(muse, second, N_WORDS, &jobs[1].area) < 0)
        return -errno;
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, run, &jobs[i]) != 0)
            return -EAGAIN;
    for (int i = 0; i < 2; i++)
        (void)pthread_join(threads[i], NULL); /* ours, and not joined yet */
    return jobs[0].error ? jobs[0].error : jobs[1].error;
}

static int run_here(struct muse *muse, const char *name, const char *way)
{
    struct job job = {.way = way};

    if (kcov_area_map(muse, name, N_WORDS, &job.area) < 0)
        return -errno;
    (void)run(&job);
    return job.error;
}

int main(int argc, char **argv)
{
    struct muse *muse;
    int r;

    if (argc != 3)
        return fprintf(stderr, "usage: kcov_traced kcov/NAME left|right|loop|threads\n"), 2;
    if (muse_connect(&muse, NULL) < 0)
        return fprintf(stderr, "kcov_traced: %s\n", muse_last_error_text()), 1;
    r = strcmp(argv[2], "threads") == 0 ? run_threads(muse, argv[1])
                                        : run_here(muse, argv[1], argv[2]);
    if (r < 0)
        fprintf(stderr, "kcov_traced: %s: %s\n", strerror(-r), muse_last_error_text());
    muse_disconnect(muse);
    return r < 0;
}
