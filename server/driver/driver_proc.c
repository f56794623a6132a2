/* SPDX-License-Identifier: BSD-3-Clause */
/* Starts, watches, restarts and stops one child. Owns the pidfd that tells its end; no SIGCHLD. */
#include "server/driver/driver_proc.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wordexp.h>

#include "common/base/log.h"
#include "common/base/own.h"
#include "common/ipc/fd.h"

static void on_restart(struct deadline *deadline);

static int split_words(const char *command, char ***ret_argv)
{
    wordexp_t words;
    char **argv;

    if (wordexp(command, &words, WRDE_NOCMD | WRDE_UNDEF) != 0)
        return -EINVAL;
    if (words.we_wordc == 0) {
        wordfree(&words);
        return -EINVAL;
    }
    argv = calloc(words.we_wordc + 1, sizeof(*argv));
    for (size_t i = 0; argv && i < words.we_wordc; i++) {
        argv[i] = strdup(words.we_wordv[i]);
        if (!argv[i]) { /* the rest stays NULL: driver_proc_done() frees what is there */
            wordfree(&words);
            *ret_argv = argv;
            return -ENOMEM;
        }
    }
    wordfree(&words);
    *ret_argv = argv;
    return argv ? 0 : -ENOMEM;
}

/* In the child: only async-signal-safe calls and execvp. */
static _Noreturn void run_child(const struct driver_proc *proc, int error_fd, pid_t parent)
{
    sigset_t none;
    int error;

    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    /* drivers must not outlive a killed server; the check is for one that died before prctl */
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 && getppid() == parent &&
        setenv("MUSE_RUNDIR", proc->rundir, 1) == 0)
        (void)execvp(proc->argv[0], proc->argv);
    error = errno;
    (void)!write(error_fd, &error, sizeof(error));
    _exit(127);
}

/* It runs, but nothing would tell of its end: then it had better not. */
static void kill_unwatched(struct driver_proc *proc)
{
    (void)kill(proc->pid, SIGKILL);
    (void)waitpid(proc->pid, NULL, 0);
    proc->pid = 0;
    fd_close(&proc->pidfd);
}

/* fork and exec; reports the exec's failure through a close-on-exec pipe. Return: 0 or -errno. */
static int spawn(struct driver_proc *proc)
{
    CLEAN_FD int read_fd = -1;
    CLEAN_FD int write_fd = -1;
    const pid_t parent = getpid();
    int fds[2], error = 0;
    ssize_t n;
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    read_fd = fds[0];
    write_fd = fds[1];
    pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0)
        run_child(proc, write_fd, parent);
    fd_close(&write_fd);
    do {
        n = read(read_fd, &error, sizeof(error));
    } while (n < 0 && errno == EINTR);
    if (n == (ssize_t)sizeof(error)) {
        (void)waitpid(pid, NULL, 0);
        return -error;
    }
    proc->pid = pid;
    proc->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (proc->pidfd < 0) {
        error = errno;
        kill_unwatched(proc);
        return -error;
    }
    return 0;
}

static void on_watcher_closed(struct watcher *watcher)
{
    struct driver_proc *proc = CONTAINER_OF(watcher, struct driver_proc, watcher);

    proc->watching = false;
    fd_close(&proc->pidfd);
    if (proc->stopping || proc->once) {
        proc->stopped(proc);
        return;
    }
    proc->timer.fn = on_restart;
    deadline_set(proc->loop, &proc->timer, loop_now_ns() + proc->backoff_ns);
}

static void on_child_exit(struct watcher *watcher, bool readable, bool writable)
{
    struct driver_proc *proc = CONTAINER_OF(watcher, struct driver_proc, watcher);
    const uint64_t lived_ns = loop_now_ns() - proc->started_ns;
    int status = 0;

    (void)readable;
    (void)writable;
    if (waitpid(proc->pid, &status, WNOHANG) != proc->pid)
        return;
    proc->pid = 0;
    proc->last_status = status;
    deadline_clear(proc->loop, &proc->timer);
    if (lived_ns >= DRIVER_PROC_STABLE_NS) {
        proc->backoff_ns = DRIVER_PROC_BACKOFF_MIN_NS;
    } else if (proc->n_starts > 1 && proc->backoff_ns < DRIVER_PROC_BACKOFF_MAX_NS) {
        proc->backoff_ns = proc->backoff_ns * 2 < DRIVER_PROC_BACKOFF_MAX_NS
                               ? proc->backoff_ns * 2
                               : DRIVER_PROC_BACKOFF_MAX_NS;
    }
    if (!proc->stopping && !proc->once) {
        log_write(LOG_LEVEL_WARN, "process.exited", "command=%s status=%#x restart_ms=%llu",
                  proc->argv[0], (unsigned)status,
                  (unsigned long long)(proc->backoff_ns / 1000000));
    }
    if (proc->exited)
        proc->exited(proc, status);
    watcher_close(&proc->watcher);
}

static int start(struct driver_proc *proc)
{
    int r = spawn(proc);

    proc->started_ns = loop_now_ns();
    proc->n_starts++;
    if (r < 0)
        return r;
    proc->watcher.ready = on_child_exit;
    proc->watcher.closed = on_watcher_closed;
    r = watcher_open(proc->loop, &proc->watcher, proc->pidfd);
    if (r < 0) {
        kill_unwatched(proc);
        return r;
    }
    proc->watching = true;
    log_write(LOG_LEVEL_INFO, "process.started", "command=%s pid=%d", proc->argv[0],
              (int)proc->pid);
    return 0;
}

static void on_restart(struct deadline *deadline)
{
    struct driver_proc *proc = CONTAINER_OF(deadline, struct driver_proc, timer);
    int r = start(proc);

    if (r == 0)
        return;
    log_write(LOG_LEVEL_ERROR, "process.start", "command=%s errno=%s", proc->argv[0],
              strerrorname_np(-r));
    deadline_set(proc->loop, &proc->timer, loop_now_ns() + DRIVER_PROC_BACKOFF_MAX_NS);
}

int driver_proc_start(struct driver_proc *proc, struct loop *loop, const char *command,
                      const char *rundir)
{
    int r;

    proc->loop = loop;
    proc->pidfd = -1;
    proc->last_status = -1;
    proc->backoff_ns = DRIVER_PROC_BACKOFF_MIN_NS;
    proc->rundir = strdup(rundir);
    if (!proc->rundir)
        return -ENOMEM;
    r = split_words(command, &proc->argv);
    return r < 0 ? r : start(proc);
}

static void on_kill(struct deadline *deadline)
{
    struct driver_proc *proc = CONTAINER_OF(deadline, struct driver_proc, timer);

    if (proc->pid > 0)
        (void)kill(proc->pid, SIGKILL); /* not reaped yet, so the pid is still ours */
}

void driver_proc_stop(struct driver_proc *proc)
{
    if (proc->stopping)
        return;
    proc->stopping = true;
    deadline_clear(proc->loop, &proc->timer);
    if (proc->pid > 0) {
        (void)kill(proc->pid, SIGTERM);
        proc->timer.fn = on_kill;
        deadline_set(proc->loop, &proc->timer, loop_now_ns() + DRIVER_PROC_KILL_NS);
    } else if (!proc->watching) {
        proc->stopped(proc);
    }
}

void driver_proc_done(struct driver_proc *proc)
{
    deadline_clear(proc->loop, &proc->timer);
    fd_close(&proc->pidfd);
    for (char **word = proc->argv; word && *word; word++)
        free(*word);
    free(proc->argv);
    free(proc->rundir);
}
