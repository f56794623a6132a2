/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Makes the engine and its doors, runs the loop, and ends in this order: no new connections; the
 * captive command; drivers are stopped; clients are cut off; when the last handle has closed, the
 * loop is freed (MUST: none left over).
 */
#include "server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/ipc/fd.h"
#include "proto/limits.h"
#include "server/driver/driver_link.h"
#include "server/driver/driver_proc.h"
#include "server/flow/engine.h"
#include "server/flow/fork_flow.h"
#include "server/flow/inspect.h"
#include "server/flow/loss_flow.h"
#include "server/flow/recover_flow.h"
#include "server/flow/session_flow.h"
#include "server/flow/writeback.h"
#include "server/session/listener.h"

#define RING_ENTRIES    256u
/* Captive mode: how long the named drivers may take to say hello; then the command runs anyway. */
#define CAPTIVE_WAIT_NS 10000000000ull
#define CAPTIVE_POLL_NS 2000000ull

enum door { DOOR_CLIENT, DOOR_DRIVER, DOOR_CONTROL, DOOR_N };

struct server {
    const struct config *config;
    struct engine engine;
    struct listener doors[DOOR_N];
    unsigned n_doors_open;
    struct driver_proc *procs;
    unsigned n_procs, n_procs_alive;
    struct driver_proc captive;
    const char *run; /* borrowed; NULL: no captive mode */
    bool captive_running;
    struct deadline captive_start, drain;
    uint64_t captive_since_ns;
    uint64_t flush_until_ns; /* 0: the end has not come to that yet */
    int signal_fd;
    struct watcher signals;
    bool stopping;
    int exit_status;
    bool made_rundir;
};

static void server_stop(struct server *server);

/* ---- making ---- */

static int make_rundir(struct server *server, const char **ret_why)
{
    *ret_why = "the run-time folder cannot be made";
    if (mkdir(server->config->rundir, 0755) == 0) {
        server->made_rundir = true;
        return 0;
    }
    return errno == EEXIST ? 0 : -errno;
}

static int apply_limits(struct engine *engine, const struct config *config, const char **ret_why)
{
    int r = 0;

    *ret_why = "a limit in [quota] has no such key";
    for (unsigned i = 0; i < config->n_limits && r == 0; i++)
        r = quota_limit_set(&engine->quotas, config->limits[i].key, config->limits[i].value);
    if (r == 0 && config->memory_bytes > 0)
        r = quota_limit_set(&engine->quotas, QUOTA_KEY_MEMORY, config->memory_bytes);
    return r == 0 ? 0 : -EINVAL;
}

static void on_client(struct listener *listener, int *fd)
{
    struct server *server = listener->owner;

    session_accept(&server->engine, fd);
}

static void on_driver(struct listener *listener, int *fd)
{
    struct server *server = listener->owner;

    driver_accept(&server->engine, fd);
}

static void on_control(struct listener *listener, int *fd)
{
    struct server *server = listener->owner;

    admin_accept(&server->engine, fd);
}

static void on_door_closed(struct listener *listener)
{
    struct server *server = listener->owner;

    server->n_doors_open--;
}

static int open_doors(struct server *server, const char **ret_why)
{
    const struct config *config = server->config;
    const struct {
        const char *name;
        uint64_t mode;
        void (*accepted)(struct listener *, int *);
    } doors[DOOR_N] = {{"client.sock", config->client_mode, on_client},
                       {"driver.sock", config->driver_mode, on_driver},
                       {"control.sock", config->control_mode, on_control}};

    for (unsigned i = 0; i < DOOR_N; i++) {
        struct listener *listener = &server->doors[i];
        char path[128];
        int r;

        (void)snprintf(path, sizeof(path), "%s/%s", config->rundir, doors[i].name);
        listener->owner = server;
        listener->accepted = doors[i].accepted;
        listener->closed = on_door_closed;
        r = listener_open(listener, &server->engine.loop, path, (mode_t)doors[i].mode);
        *ret_why = r == -EADDRINUSE ? "a server lives in the run-time folder already"
                                    : "a socket cannot be made";
        if (r < 0)
            return r;
        server->n_doors_open++;
    }
    return 0;
}

/* ---- signals ---- */

static void on_signal(struct watcher *watcher, bool readable, bool writable)
{
    struct server *server = CONTAINER_OF(watcher, struct server, signals);
    struct signalfd_siginfo info;

    (void)readable;
    (void)writable;
    if (read(server->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    log_write(LOG_LEVEL_INFO, "server.signal", "signal=%u", info.ssi_signo);
    if (server->captive_running)
        server->exit_status = 128 + (int)info.ssi_signo;
    server_stop(server);
}

static void on_signals_closed(struct watcher *watcher)
{
    struct server *server = CONTAINER_OF(watcher, struct server, signals);

    fd_close(&server->signal_fd);
}

static int watch_signals(struct server *server)
{
    sigset_t set;
    int r;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    (void)signal(SIGPIPE, SIG_IGN);
    server->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (server->signal_fd < 0)
        return -errno;
    server->signals.ready = on_signal;
    server->signals.closed = on_signals_closed;
    r = watcher_open(&server->engine.loop, &server->signals, server->signal_fd);
    return r;
}

/* ---- supervised drivers and the captive command ---- */

static void on_proc_stopped(struct driver_proc *proc)
{
    struct server *server = proc->owner;

    server->n_procs_alive--;
}

static int start_drivers(struct server *server, const char **ret_why)
{
    const struct config *config = server->config;

    *ret_why = "a driver cannot be started";
    server->procs = calloc(config->n_drivers ? config->n_drivers : 1, sizeof(*server->procs));
    if (!server->procs)
        return -ENOMEM;
    for (unsigned i = 0; i < config->n_drivers; i++) {
        struct driver_proc *proc = &server->procs[i];
        int r;

        proc->owner = server;
        proc->stopped = on_proc_stopped;
        r = driver_proc_start(proc, &server->engine.loop, config->drivers[i], config->rundir);
        if (r < 0) {
            log_write(LOG_LEVEL_ERROR, "process.start", "command=\"%s\" errno=%s",
                      config->drivers[i], strerrorname_np(-r));
            driver_proc_done(proc);
            return r;
        }
        server->n_procs++;
        server->n_procs_alive++;
    }
    return 0;
}

static void on_captive_exited(struct driver_proc *proc, int status)
{
    struct server *server = proc->owner;

    if (!server->stopping || server->exit_status == 0)
        server->exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void on_captive_stopped(struct driver_proc *proc)
{
    struct server *server = proc->owner;

    server->captive_running = false;
    driver_proc_done(proc);
    server_stop(server);
}

static unsigned count_drivers(const struct engine *engine)
{
    unsigned n = 0;
    struct list *pos;

    list_for_each(pos, &engine->driver_names)
        n++;
    return n;
}

/* The command runs once every named driver has said hello: its first open cannot miss one. */
static void on_captive_start(struct deadline *deadline)
{
    struct server *server = CONTAINER_OF(deadline, struct server, captive_start);
    const uint64_t now_ns = loop_now_ns();
    int r;

    if (server->stopping)
        return;
    if (count_drivers(&server->engine) < server->n_procs &&
        now_ns - server->captive_since_ns < CAPTIVE_WAIT_NS) {
        deadline_set(&server->engine.loop, deadline, now_ns + CAPTIVE_POLL_NS);
        return;
    }
    server->captive.owner = server;
    server->captive.once = true;
    server->captive.exited = on_captive_exited;
    server->captive.stopped = on_captive_stopped;
    r = driver_proc_start(&server->captive, &server->engine.loop, server->run,
                          server->config->rundir);
    if (r < 0) {
        (void)fprintf(stderr, "mused: %s: %s\n", server->run, strerror(-r));
        driver_proc_done(&server->captive);
        server->exit_status = r == -ENOENT ? 127 : 126;
        server_stop(server);
        return;
    }
    server->captive_running = true;
}

/* ---- running and ending ---- */

static void close_links(struct engine *engine)
{
    struct list *pos;

    list_for_each(pos, &engine->links)
        driver_link_close(CONTAINER_OF(pos, struct driver_link, link), -ESHUTDOWN);
}

/* What clients wrote is not lost with the server. A driver that does not answer has its deadline; one
 * that fails does not hold the end up for ever. */
static bool is_flushing(struct server *server)
{
    const uint64_t now_ns = loop_now_ns();

    if (server->flush_until_ns == 0)
        server->flush_until_ns = now_ns + server->config->hook_deadline_ms * 1000000;
    if (writeback_flush(&server->engine) && now_ns < server->flush_until_ns)
        return true;
    recover_end(&server->engine); /* no driver can come back any more */
    return false;
}

/* Clients go first, so that drivers hear of every close; then what they wrote; then drivers; then the
 * loop may end. */
static void on_drain(struct deadline *deadline)
{
    struct server *server = CONTAINER_OF(deadline, struct server, drain);
    struct engine *engine = &server->engine;
    bool wait = true;

    if (server->captive_running) { /* NOLINT(bugprone-branch-clone): two reasons to wait */
        wait = true;               /* its exit comes first */
    } else if (session_count(engine) > 0) {
        session_close_all(engine);
    } else if (!list_is_empty(&engine->forks)) {
        fork_drop_all(engine);
    } else if (is_flushing(server)) {
        wait = true; /* the drivers are writing */
    } else if (server->n_procs_alive > 0) {
        for (unsigned i = 0; i < server->n_procs; i++)
            driver_proc_stop(&server->procs[i]);
    } else if (!list_is_empty(&engine->links)) {
        close_links(engine);
    } else if (admin_count(engine) > 0) {
        admin_close_all(engine);
    } else {
        wait = server->n_doors_open > 0 || idmap_count(&engine->spaces) > 0 ||
               idmap_count(&engine->objects) > 0 || engine->ring.n_in_flight > 0;
    }
    if (wait) {
        deadline_set(&engine->loop, deadline, loop_now_ns() + CAPTIVE_POLL_NS);
        return;
    }
    loop_stop(&engine->loop);
}

static void server_stop(struct server *server)
{
    if (server->stopping)
        return;
    server->stopping = true;
    deadline_clear(&server->engine.loop, &server->captive_start);
    for (unsigned i = 0; i < DOOR_N; i++)
        if (server->doors[i].path)
            listener_close(&server->doors[i]);
    if (server->captive_running)
        driver_proc_stop(&server->captive);
    server->drain.fn = on_drain;
    deadline_set(&server->engine.loop, &server->drain, loop_now_ns());
}

/* What was begun has an end of its own: names go, drivers that were started are stopped. */
static void end_early(struct server *server)
{
    server_stop(server);
    loop_run(&server->engine.loop);
    server_free(server);
}

int server_new(struct server **ret_server, const struct config *config, const char *run,
               const char **ret_why)
{
    struct server *server = calloc(1, sizeof(*server));
    int r;

    *ret_why = "out of memory";
    if (!server)
        return -ENOMEM;
    server->config = config;
    server->run = run;
    server->signal_fd = -1;
    r = engine_init(&server->engine, config, ret_why);
    if (r == 0)
        r = apply_limits(&server->engine, config, ret_why);
    if (r == 0)
        r = make_rundir(server, ret_why);
    if (r == 0)
        r = watch_signals(server);
    if (r < 0)
        return r; /* main exits: the kernel closes what was opened */
    r = open_doors(server, ret_why);
    if (r == 0)
        r = start_drivers(server, ret_why);
    if (r < 0) {
        end_early(server);
        return r;
    }
    if (run) {
        server->captive_start.fn = on_captive_start;
        server->captive_since_ns = loop_now_ns();
        deadline_set(&server->engine.loop, &server->captive_start, server->captive_since_ns);
    }
    log_write(LOG_LEVEL_INFO, "server.ready", "rundir=%s contract=%s", config->rundir,
              config->contract);
    *ret_server = server;
    return 0;
}

int server_run(struct server *server)
{
    loop_run(&server->engine.loop);
    return server->exit_status;
}

void server_free(struct server *server)
{
    struct engine *engine = &server->engine;

    for (unsigned i = 0; i < server->n_procs; i++)
        driver_proc_done(&server->procs[i]);
    free(server->procs);
    watcher_close(&server->signals);
    engine_done(engine);
    if (server->made_rundir)
        (void)rmdir(server->config->rundir);
    free(server);
}
