/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs a program that records its way, and prints the addresses of the calls it met, one a line, for
 * addr2line(1):
 *
 *     kcov_run kcov/NAME kcov_traced kcov/NAME left | addr2line -f -e kcov_traced
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "examples/kcov_runtime.h"

#define N_WORDS UINT64_C(65536)

static int run(char **argv)
{
    const pid_t pid = fork();
    int status = -1;

    if (pid == 0) {
        (void)execvp(argv[0], argv);
        _exit(127);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid ? status : -1;
}

int main(int argc, char **argv)
{
    struct kcov_area area;
    struct muse *muse;
    uint64_t n;
    int status;

    if (argc < 3)
        return fprintf(stderr, "usage: kcov_run kcov/NAME PROGRAM ARG...\n"), 2;
    if (muse_connect(&muse, NULL) < 0 || kcov_area_map(muse, argv[1], N_WORDS, &area) < 0)
        return fprintf(stderr, "kcov_run: %s\n", muse_last_error_text()), 1;
    status = run(argv + 2);
    n = atomic_load_explicit(&area.words[0], memory_order_acquire);
    for (uint64_t i = 1; i <= n && i < area.n_words; i++)
        printf("%#llx\n", (unsigned long long)area.words[i] - 1); /* inside the call */
    muse_disconnect(muse);
    return status != 0 || fflush(stdout) != 0;
}
