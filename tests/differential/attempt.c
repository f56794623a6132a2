/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Starts a play and ends what is left of it. Replaces what Check does about an assertion that does
 * not hold: here it is a finding, on the board of the play.
 */
#define _GNU_SOURCE
#include "tests/differential/attempt.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <check.h>

#define RIG_MS 60000u /* chosen: more than starting and stopping a server may take, see rig.c */

/* Of the play that this process belongs to; set once, before the play begins. */
static struct board *assertions_go_to;

/* NOLINTBEGIN(readability-identifier-naming): ld(1), "--wrap", makes these names */
void __wrap__mark_point(const char *file, int line);
__attribute__((format(printf, 4, 5))) _Noreturn void
__wrap__ck_assert_failed(const char *file, int line, const char *expr, const char *msg, ...);

_Noreturn void __wrap__ck_assert_failed(const char *file, int line, const char *expr,
                                        const char *msg, ...)
{
    char text[512] = "";
    va_list args;

    if (msg) {
        va_start(args, msg);
        (void)vsnprintf(text, sizeof(text), msg, args);
        va_end(args);
    }
    if (!assertions_go_to) {
        (void)fprintf(stderr, "differential: %s:%d: %s %s\n", file, line, expr, text);
        exit(2);
    }
    if (assertions_go_to->finding.kind == FOUND_NOTHING) {
        assertions_go_to->finding.step = atomic_load(&assertions_go_to->step);
        difference_of(&assertions_go_to->finding, FOUND_LEFT, "%s:%d: %s %s",
                      strrchr(file, '/') + 1, line, expr, text);
    }
    _exit(1);
}
/* Nobody wants to know which assertion held. */
void __wrap__mark_point(const char *file, int line)
{
    (void)file;
    (void)line;
}
/* NOLINTEND(readability-identifier-naming) */

static void nap(void)
{
    const struct timespec ms = {.tv_nsec = 1000000};

    (void)nanosleep(&ms, NULL);
}

/* Return: whether the stage manager ended by itself. */
static bool wait_for(pid_t manager, const struct board *board, unsigned limit_ms)
{
    uint32_t beat = atomic_load(&board->beat);
    siginfo_t info = {0};
    unsigned ms = 0;

    while (ms < limit_ms) {
        if (waitid(P_PID, (id_t)manager, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
            info.si_pid == manager)
            return true;
        nap();
        ms++;
        if (beat != atomic_load(&board->beat)) {
            beat = atomic_load(&board->beat);
            ms = 0;
        }
    }
    return false;
}

/* Return: how the stage manager ended. */
static int end_all(pid_t manager)
{
    int status = 0, other;
    pid_t pid;

    (void)kill(-manager, SIGKILL);
    while ((pid = waitpid(-1, &other, 0)) > 0 || errno == EINTR) {
        if (pid == manager)
            status = other;
        (void)kill(-manager, SIGKILL);
    }
    return status;
}

static void show_log(const struct rig *rig)
{
    char path[80], line[512];
    FILE *stream;

    (void)snprintf(path, sizeof(path), "%s/log", rig->dir);
    stream = fopen(path, "re");
    while (stream && fgets(line, sizeof(line), stream))
        (void)fputs(line, stderr);
    if (stream)
        (void)fclose(stream);
}

static struct board *board_new(void)
{
    void *board =
        mmap(NULL, sizeof(struct board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    ck_assert_ptr_ne(board, MAP_FAILED);
    return board;
}

void attempt(const struct script *script, const struct attempt_options *options,
             struct finding *ret)
{
    struct board *board = board_new();
    const struct play one = {script, board, options->mistake, options->deadline_ms};
    bool ended;
    int status;
    pid_t pid;

    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    (void)fflush(NULL);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        (void)setpgid(0, 0);
        assertions_go_to = board;
        play(&one);
        _exit(0);
    }
    (void)setpgid(pid, pid);
    ended = wait_for(pid, board, options->deadline_ms + RIG_MS);
    status = end_all(pid);
    if (board->finding.kind == FOUND_NOTHING && (!ended || status != 0)) {
        difference_of(&board->finding, ended ? FOUND_DEAD : FOUND_HUNG, "the play ended with %#x",
                      (unsigned)status);
        board->finding.step = atomic_load(&board->step);
    }
    if (board->rig.dir[0] != '\0') {
        if (options->shows_log)
            show_log(&board->rig);
        rig_remove(&board->rig);
    }
    *ret = board->finding;
    (void)munmap(board, sizeof(*board));
}
