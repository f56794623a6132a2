/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of server/driver/driver_proc.h: real children on a real loop. Every test ends with no child
 * left, not even a dead one.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "server/driver/driver_proc.h"
#include "server/loop/loop.h"
#include "tests/support/pump.h"
#include "tests/support/unit.h"

static struct pump pump;
static char dir[] = "/tmp/test-driver-proc-XXXXXX";
static char fifo[64]; /* children write into it what they want to tell */
static struct driver_proc proc;

static struct {
    unsigned n_exited, n_stopped;
    int status;
    uint64_t backoffs_ns[8]; /* as it was at each exit */
    uint64_t exited_ns[8];
} seen;

static void on_exited(struct driver_proc *which, int status)
{
    ck_assert_ptr_eq(which, &proc);
    ck_assert_int_eq(proc.pid, 0); /* reaped */
    ck_assert_int_eq(proc.last_status, status);
    ck_assert_uint_lt(seen.n_exited, N_ELEMENTS(seen.backoffs_ns));
    seen.backoffs_ns[seen.n_exited] = proc.backoff_ns;
    seen.exited_ns[seen.n_exited] = loop_now_ns();
    seen.n_exited++;
    seen.status = status;
}

static void on_stopped(struct driver_proc *which)
{
    ck_assert_ptr_eq(which, &proc);
    ck_assert_int_eq(proc.pid, 0);
    ck_assert_int_eq(proc.pidfd, -1);
    seen.n_stopped++;
}

static void setup(void)
{
    memcpy(dir + strlen(dir) - 6, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(dir));
    (void)snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    pump_init(&pump);
    memset(&seen, 0, sizeof(seen));
    proc = (struct driver_proc){.exited = on_exited, .stopped = on_stopped, .owner = &pump};
}

static void teardown(void)
{
    driver_proc_done(&proc);
    pump_turn_now(&pump);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
    pump_done(&pump);
    ck_assert_int_eq(unlink(fifo), 0);
    ck_assert_int_eq(rmdir(dir), 0);
}

static int start(const char *command)
{
    return driver_proc_start(&proc, &pump.loop, command, dir);
}

/* Starts sh with @script, in which "$F" is the fifo. */
static void start_script(const char *script)
{
    char command[512];

    (void)snprintf(command, sizeof(command), "/bin/sh -c 'F=%s; %s'", fifo, script);
    ck_assert_int_eq(start(command), 0);
}

/* What a child wrote into the fifo. */
static void read_fifo(char *buf, size_t size)
{
    CLEAN(fd_close_p) int fd = open(fifo, O_RDONLY | O_CLOEXEC); /* waits for the child */
    ssize_t n;

    ck_assert_int_ge(fd, 0);
    n = read(fd, buf, size - 1);
    ck_assert_int_gt(n, 0);
    buf[n] = '\0';
}

static void stop_and_wait(void)
{
    driver_proc_stop(&proc);
    driver_proc_stop(&proc); /* once is enough */
    PUMP_UNTIL(&pump, seen.n_stopped > 0);
    ck_assert_uint_eq(seen.n_stopped, 1);
}

START_TEST(a_program_runs_with_its_arguments_and_the_rundir)
{
    char text[256], want[256];

    start_script("echo \"$MUSE_RUNDIR $#:$1:$2\" >$F; exec sleep 1000' zero \"two words\" 'x y");
    read_fifo(text, sizeof(text));
    (void)snprintf(want, sizeof(want), "%s 2:two words:x y\n", dir);
    ck_assert_str_eq(text, want);
    ck_assert_int_gt(proc.pid, 0);
    ck_assert(fd_is_cloexec(proc.pidfd));
    ck_assert_uint_eq(proc.n_starts, 1);
    ck_assert_int_eq(proc.last_status, -1);
    stop_and_wait();
    ck_assert(WIFSIGNALED(seen.status) && WTERMSIG(seen.status) == SIGTERM);
    ck_assert_uint_eq(seen.n_exited, 1);
}
END_TEST

START_TEST(a_child_inherits_no_blocked_signal_and_no_fd)
{
    sigset_t blocked, before;
    char text[256];
    int fd;

    ck_assert_int_eq(sigemptyset(&blocked), 0);
    ck_assert_int_eq(sigaddset(&blocked, SIGTERM), 0);
    ck_assert_int_eq(sigaddset(&blocked, SIGCHLD), 0);
    ck_assert_int_eq(sigprocmask(SIG_BLOCK, &blocked, &before), 0);
    ck_assert(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    start_script("{ grep -E \"^Sig(Blk|Ign)\" /proc/self/status | tr -d \"\\n\\t\"; } >$F; "
                 "exec sleep 1000");
    read_fifo(text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "SigBlk:0000000000000000"));
    ck_assert_ptr_nonnull(strstr(text, "SigIgn:"));
    /* SIGPIPE is number 13: bit 12 */
    ck_assert_uint_eq(strtoull(strstr(text, "SigIgn:") + 7, NULL, 16) & 0x1000, 0);
    /* of our fds it has none: the loop's are close-on-exec, and so is the pipe of the exec */
    fd = proc.pidfd;
    ck_assert(fd_is_cloexec(fd));
    stop_and_wait();
    ck_assert_int_eq(sigprocmask(SIG_SETMASK, &before, NULL), 0);
}
END_TEST

START_TEST(a_program_that_does_not_exist_is_told_at_once)
{
    ck_assert_int_eq(start("/nonexistent/muse-driver --flag"), -ENOENT);
    ck_assert_int_eq(proc.pid, 0);
    ck_assert_uint_eq(seen.n_exited + seen.n_stopped, 0);
}
END_TEST

START_TEST(a_program_that_may_not_be_run_is_told_at_once)
{
    ck_assert_int_eq(start(dir), -EACCES);
    ck_assert_int_eq(proc.pid, 0);
}
END_TEST

START_TEST(a_command_that_is_none_is_refused)
{
    static const char *const commands[] = {"",           "   ",        "\"unfinished",
                                           "a | b",      "echo $(id)", "echo `id`",
                                           "$NOT_SET x", "a; b",       "a > b"};

    for (size_t i = 0; i < N_ELEMENTS(commands); i++) {
        if (i > 0)
            driver_proc_done(&proc);
        proc = (struct driver_proc){.exited = on_exited, .stopped = on_stopped};
        ck_assert_msg(start(commands[i]) == -EINVAL, "\"%s\" was taken", commands[i]);
    }
}
END_TEST

START_TEST(who_dies_is_started_again_later_and_later)
{
    static const uint64_t want_ns[] = {DRIVER_PROC_BACKOFF_MIN_NS, 2 * DRIVER_PROC_BACKOFF_MIN_NS,
                                       4 * DRIVER_PROC_BACKOFF_MIN_NS};

    ck_assert_int_eq(start("/bin/sh -c 'exit 3'"), 0);
    PUMP_UNTIL(&pump, seen.n_exited == 3);
    ck_assert(WIFEXITED(seen.status) && WEXITSTATUS(seen.status) == 3);
    ck_assert_uint_eq(proc.n_starts, 3);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_uint_eq(seen.backoffs_ns[i], want_ns[i]);
    for (unsigned i = 1; i < 3; i++) /* never earlier */
        ck_assert_uint_ge(seen.exited_ns[i] - seen.exited_ns[i - 1], want_ns[i - 1]);
    stop_and_wait(); /* while it waits to be started */
    ck_assert(!proc.timer.is_set);
    ck_assert_uint_eq(proc.n_starts, 3);
}
END_TEST

START_TEST(the_wait_has_a_limit_and_begins_anew_after_a_long_life)
{
    ck_assert_int_eq(start("/bin/sh -c 'exit 0'"), 0);
    proc.n_starts = 50;
    proc.backoff_ns = DRIVER_PROC_BACKOFF_MAX_NS / 2 + 1;
    PUMP_UNTIL(&pump, seen.n_exited == 1);
    ck_assert_uint_eq(proc.backoff_ns, DRIVER_PROC_BACKOFF_MAX_NS);
    stop_and_wait();
    driver_proc_done(&proc);

    memset(&seen, 0, sizeof(seen));
    proc = (struct driver_proc){.exited = on_exited, .stopped = on_stopped};
    ck_assert_int_eq(start("/bin/sh -c 'exit 0'"), 0);
    proc.n_starts = 50;
    proc.backoff_ns = DRIVER_PROC_BACKOFF_MAX_NS;
    proc.started_ns -= DRIVER_PROC_STABLE_NS; /* as if it had lived so long */
    PUMP_UNTIL(&pump, seen.n_exited == 1);
    ck_assert_uint_eq(proc.backoff_ns, DRIVER_PROC_BACKOFF_MIN_NS);
    stop_and_wait();
}
END_TEST

START_TEST(a_program_that_is_gone_at_the_restart_is_tried_again)
{
    char script[64], command[128];
    FILE *file;

    (void)snprintf(script, sizeof(script), "%s/driver", dir);
    file = fopen(script, "we");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_gt(fprintf(file, "#!/bin/sh\nexit 1\n"), 0);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(chmod(script, 0700), 0);
    (void)snprintf(command, sizeof(command), "%s", script);
    ck_assert_int_eq(start(command), 0);
    PUMP_UNTIL(&pump, seen.n_exited == 1);
    ck_assert_int_eq(unlink(script), 0);
    PUMP_UNTIL(&pump, proc.n_starts == 2);
    ck_assert_int_eq(proc.pid, 0);
    ck_assert(proc.timer.is_set); /* later, again */
    stop_and_wait();
}
END_TEST

START_TEST(who_ignores_sigterm_is_killed)
{
    char text[16];

    start_script("trap \"\" TERM; echo ready >$F; exec sleep 1000");
    read_fifo(text, sizeof(text));
    stop_and_wait();
    ck_assert(WIFSIGNALED(seen.status) && WTERMSIG(seen.status) == SIGKILL);
    ck_assert(!proc.timer.is_set);
}
END_TEST

START_TEST(who_ends_in_its_own_time_after_sigterm_is_not_killed)
{
    char text[16];

    start_script("trap \"exit 5\" TERM; echo ready >$F; while :; do sleep 0.01; done");
    read_fifo(text, sizeof(text));
    stop_and_wait();
    ck_assert(WIFEXITED(seen.status) && WEXITSTATUS(seen.status) == 5);
    ck_assert(!proc.timer.is_set); /* the kill is off */
}
END_TEST

START_TEST(a_command_for_once_is_not_started_again)
{
    proc.once = true;
    ck_assert_int_eq(start("/bin/sh -c 'exit 7'"), 0);
    PUMP_UNTIL(&pump, seen.n_stopped > 0);
    ck_assert_uint_eq(seen.n_exited, 1);
    ck_assert_uint_eq(seen.n_stopped, 1);
    ck_assert(WIFEXITED(seen.status) && WEXITSTATUS(seen.status) == 7);
    ck_assert_uint_eq(proc.n_starts, 1);
    ck_assert(!proc.timer.is_set);
}
END_TEST

START_TEST(stopping_who_has_just_died_ends_once)
{
    ck_assert_int_eq(start("/bin/sh -c 'exit 0'"), 0);
    PUMP_UNTIL(&pump, seen.n_exited == 1); /* its watcher may still be closing */
    stop_and_wait();
    ck_assert_uint_eq(proc.n_starts, 1);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("driver_proc");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_program_runs_with_its_arguments_and_the_rundir);
    tcase_add_test(tcase, a_child_inherits_no_blocked_signal_and_no_fd);
    tcase_add_test(tcase, a_program_that_does_not_exist_is_told_at_once);
    tcase_add_test(tcase, a_program_that_may_not_be_run_is_told_at_once);
    tcase_add_test(tcase, a_command_that_is_none_is_refused);
    tcase_add_test(tcase, who_dies_is_started_again_later_and_later);
    tcase_add_test(tcase, the_wait_has_a_limit_and_begins_anew_after_a_long_life);
    tcase_add_test(tcase, a_program_that_is_gone_at_the_restart_is_tried_again);
    tcase_add_test(tcase, who_ignores_sigterm_is_killed);
    tcase_add_test(tcase, who_ends_in_its_own_time_after_sigterm_is_not_killed);
    tcase_add_test(tcase, a_command_for_once_is_not_started_again);
    tcase_add_test(tcase, stopping_who_has_just_died_ends_once);
    return unit_run("driver_proc", tcase);
}
