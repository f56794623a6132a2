/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver under a real server, with real clients that map, touch and unmap at random, and are
 * killed at random. Afterwards `musectl audit` must be content, and the driver have as many fds as
 * before; or not more each time, see play_try_again().
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <muse/muse.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/own.h"
#include "common/control/control.h"
#include "kit/paths.h"

#define N_CLIENTS   4u
#define N_ROUNDS    5u
#define WAIT_TRIES  500u /* of 20 ms */
#define FDS_TRIES   100u /* of 20 ms */
#define LIFE_MAX_US 60000u

struct server {
    char dir[64];
    pid_t pid;
    const char *mused;
};

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return *state >> 33;
}

static _Noreturn void exec_server(const struct server *server, const char *command)
{
    char log[96];

    (void)snprintf(log, sizeof(log), "%s/log", server->dir);
    if (freopen(log, "w", stderr) && freopen("/dev/null", "w", stdout))
        (void)execl(server->mused, "mused", "--rundir", server->dir, "--driver", command, NULL);
    _exit(127);
}

/* Return: what `musectl --json WORD` prints; NULL: there is none. */
static json_t *ask(const struct server *server, const char *word)
{
    json_t *document;
    char *text;

    if (control_query(server->dir, word, &text) < 0)
        return NULL;
    document = json_loads(text, 0, NULL);
    free(text);
    return document;
}

static bool audit_is_content(const struct server *server)
{
    json_t *document = ask(server, "audit");
    const bool ok = json_is_true(json_object_get(document, "ok"));

    json_decref(document);
    return ok;
}

/* What the server says of its one driver. Return: 0; -1 it has none. */
static int find_driver(const struct server *server, char name[33], int *ret_n_fds)
{
    json_t *document = ask(server, "drivers");
    json_t *driver, *text, *pid;
    struct peer as_peer = {.pid = 0};

    driver = json_array_get(json_object_get(document, "drivers"), 0);
    text = json_object_get(driver, "name");
    pid = json_object_get(driver, "pid");
    if (text && pid) {
        (void)snprintf(name, 33, "%s", json_string_value(text));
        as_peer.pid = (pid_t)json_integer_value(pid);
        *ret_n_fds = peer_n_fds(&as_peer);
    }
    json_decref(document);
    return as_peer.pid > 0 && *ret_n_fds >= 0 ? 0 : -1;
}

/* ---- a client ---- */

static _Noreturn void live(const struct muse_check_options *options, const char *name,
                           uint64_t state)
{
    const int access = options->oflags & O_ACCMODE;
    const int prot = PROT_READ | (access == O_RDWR ? PROT_WRITE : 0);
    struct muse_file *file;
    struct stat stat;
    struct muse *muse;

    (void)signal(SIGBUS, SIG_DFL);
    if (muse_connect(&muse, NULL) < 0 || muse_open(muse, name, options->oflags, &file) < 0 ||
        (options->size_bytes > 0 && muse_ftruncate(file, (off_t)options->size_bytes) < 0 &&
         errno != EBUSY) || /* another client was first */
        muse_fstat(file, &stat) < 0)
        _exit(2);
    for (;;) {
        const size_t n_bytes =
            stat.st_size > 0 && stat.st_size < (2 << 20) ? (size_t)stat.st_size : (size_t)2 << 20;
        const int flags = next_random(&state) % 4 ? MAP_SHARED : MAP_PRIVATE;
        char *bytes = muse_mmap(muse, NULL, n_bytes, prot, flags, file, 0);
        char byte;

        if (bytes == MAP_FAILED)
            continue; /* refused: the next one may be shared */
        for (unsigned i = 0; i < 4; i++)
            (void)muse_copy_from(muse, &byte, bytes + next_random(&state) % n_bytes, 1);
        if (next_random(&state) % 8)
            (void)muse_munmap(muse, bytes, n_bytes);
    }
}

/* The object is made where it is not, and whatever the driver keeps of it is there. Return: how many
 * fds it has then; -1. */
static int warm_up(const struct server *server, const struct muse_check_options *options,
                   const char *name)
{
    const pid_t pid = fork();
    char driver[33];
    int least = -1;

    if (pid == 0) {
        struct muse_file *file;
        struct muse *muse;

        _exit(muse_connect(&muse, NULL) < 0 || muse_open(muse, name, options->oflags, &file) < 0);
    }
    if (waitpid(pid, NULL, 0) != pid)
        return -1;
    for (unsigned i = 0; i < 20; i++) {
        int n_fds;

        if (find_driver(server, driver, &n_fds) == 0 && (least < 0 || n_fds < least))
            least = n_fds;
        (void)usleep(20000);
    }
    return least;
}

static int run_clients(const struct muse_check_options *options, const char *name, char *why,
                       size_t size)
{
    uint64_t state = options->seed;

    for (unsigned round = 0; round < N_ROUNDS; round++) {
        pid_t pids[N_CLIENTS];

        for (unsigned i = 0; i < N_CLIENTS; i++) {
            pids[i] = fork();
            if (pids[i] == 0)
                live(options, name, options->seed + (uint64_t)round * N_CLIENTS + i);
        }
        for (unsigned i = 0; i < N_CLIENTS; i++) {
            int status;

            (void)usleep((useconds_t)(next_random(&state) % LIFE_MAX_US));
            (void)kill(pids[i], SIGKILL);
            if (waitpid(pids[i], &status, 0) == pids[i] && WIFEXITED(status)) {
                (void)snprintf(why, size, "a client could not open %s", name);
                return -1;
            }
        }
    }
    return 0;
}

/* ---- the whole ---- */

static bool wait_for_audit(const struct server *server)
{
    for (unsigned i = 0; i < WAIT_TRIES; i++) {
        if (audit_is_content(server))
            return true;
        (void)usleep(20000);
    }
    return false;
}

/* Return: 0; -1; 1: the driver has more fds than *@n_fds, which is what it has now. */
static int judge(const struct server *server, int *n_fds, char *why, size_t size)
{
    const int n_before = *n_fds;
    char name[33];

    if (!wait_for_audit(server)) {
        (void)snprintf(why, size, "musectl audit finds something wrong after clients were killed");
        return -1;
    }
    for (unsigned i = 0; i < FDS_TRIES; i++) {
        if (find_driver(server, name, n_fds) < 0) {
            (void)snprintf(why, size, "the driver died while clients used it");
            return -1;
        }
        if (*n_fds <= n_before)
            return 0;
        (void)usleep(20000);
    }
    (void)snprintf(why, size, "it has %d fds open after clients were killed, and had %d before",
                   *n_fds, n_before);
    return 1;
}

static int with_server(const struct server *server, const struct muse_check_options *options,
                       char *why, size_t size)
{
    char name[33] = "", object[4200];
    int n_fds = 0, r = 1;

    for (unsigned i = 0; i < WAIT_TRIES && find_driver(server, name, &n_fds) < 0; i++)
        (void)usleep(20000);
    if (name[0] == '\0') {
        (void)snprintf(why, size, "the server or the driver did not start");
        return -1;
    }
    (void)snprintf(object, sizeof(object), "%s/%s", name, options->object);
    if (setenv("MUSE_RUNDIR", server->dir, 1) < 0)
        return -1;
    n_fds = warm_up(server, options, object);
    for (unsigned i = 0; i < PLAY_TRIES && r > 0; i++) {
        r = run_clients(options, object, why, size);
        if (r == 0)
            r = judge(server, &n_fds, why, size);
    }
    return r == 0 ? 0 : -1;
}

int clients_run(const struct muse_check_options *options, char *why, size_t size)
{
    struct server server = {.mused = options->mused};
    char command[96];
    int r;

    (void)snprintf(server.dir, sizeof(server.dir), "/tmp/muse-check.XXXXXX");
    if (!mkdtemp(server.dir) || (server.pid = fork()) < 0) {
        (void)snprintf(why, size, "%s", strerror(errno));
        return -1;
    }
    if (server.pid == 0)
        exec_server(&server, options->command);
    r = with_server(&server, options, why, size);
    (void)kill(server.pid, SIGTERM);
    (void)waitpid(server.pid, NULL, 0);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", server.dir);
    (void)!system(command); /* NOLINT(cert-env33-c): a folder of ours */
    return r;
}
