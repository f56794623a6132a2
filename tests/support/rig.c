/* SPDX-License-Identifier: BSD-3-Clause */
/* Starts and stops a real server with real drivers for a test; looks for what it left behind. */
#include "tests/support/rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <muse/muse.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <check.h>

#include "common/control/control.h"

#define WAIT_S 20

/* 0: there is no such process any more. */
static unsigned count_fds(pid_t pid)
{
    char path[64];
    unsigned n = 0;
    DIR *dir;

    (void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    dir = opendir(path);
    if (!dir)
        return 0;
    while (readdir(dir))
        n++;
    (void)closedir(dir);
    return n - 2 - (pid == getpid() ? 1 : 0);
}

/* Without a control connection that has only just been closed. */
static unsigned count_lasting_fds(pid_t pid)
{
    const struct timespec nap = {.tv_nsec = 1000000};
    unsigned lowest = UINT_MAX;

    for (unsigned i = 0; i < 5; i++) {
        const unsigned n = count_fds(pid);

        lowest = n < lowest ? n : lowest;
        (void)nanosleep(&nap, NULL);
    }
    return lowest;
}

static const char *build_dir(void)
{
    const char *dir = getenv("MUSE_BUILD_DIR");

    return dir ? dir : "build/dev";
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

/* "muse-file --mode fill %s" -> "BUILD/bin/muse-file --mode fill DATA" */
static void driver_command(const struct rig *rig, const char *driver, char *buf, size_t size)
{
    const char *mark = strstr(driver, "%s");

    if (mark) {
        (void)snprintf(buf, size, "%s/bin/%.*s%s%s", build_dir(), (int)(mark - driver), driver,
                       rig->data, mark + 2);
    } else {
        (void)snprintf(buf, size, "%s/bin/%s", build_dir(), driver);
    }
}

static void exec_server(const struct rig *rig, bool has_config, const char *const *drivers)
{
    const char *argv[8 + 2 * RIG_DRIVERS_MAX];
    static char commands[RIG_DRIVERS_MAX][16384]; /* a core of many segments */
    char path[512], config[128], log[128];
    unsigned n = 0;
    int fd;

    (void)snprintf(path, sizeof(path), "%s/bin/mused", build_dir());
    (void)snprintf(config, sizeof(config), "%s/mused.conf", rig->dir);
    (void)snprintf(log, sizeof(log), "%s/log", rig->dir);
    fd = open(log, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    (void)dup2(fd, STDERR_FILENO);
    argv[n++] = path;
    argv[n++] = "--rundir";
    argv[n++] = rig->run;
    if (has_config) {
        argv[n++] = "--config";
        argv[n++] = config;
    }
    for (unsigned i = 0; drivers[i] && i < RIG_DRIVERS_MAX; i++) {
        driver_command(rig, drivers[i], commands[i], sizeof(commands[i]));
        argv[n++] = "--driver";
        argv[n++] = commands[i];
    }
    argv[n] = NULL;
    (void)execv(path, (char *const *)(uintptr_t)argv); /* execv(3) does not change them */
    _exit(127);
}

int rig_ctl_status(const struct rig *rig, const char *args)
{
    char command[1024];

    (void)snprintf(command, sizeof(command), "%s/bin/musectl --rundir %s %s >/dev/null 2>&1",
                   build_dir(), rig->run, args);
    return WEXITSTATUS(system(command)); /* NOLINT(cert-env33-c): a test's own words */
}

/* What musectl --json would print; without it, because a program is started in a tenth of a second under a sanitizer. */
static json_t *ctl(const struct rig *rig, const char *args)
{
    json_t *document;
    char *text;

    if (control_query(rig->run, args, &text) < 0)
        return NULL;
    document = json_loads(text, 0, NULL);
    free(text);
    return document;
}

json_t *rig_ctl(const struct rig *rig, const char *args)
{
    json_t *document = ctl(rig, args);

    ck_assert_msg(document != NULL, "%s gave no document", args);
    return document;
}

void rig_wait(bool (*until)(const struct rig *rig, void *arg), const struct rig *rig, void *arg,
              const char *what)
{
    const struct timespec nap = {.tv_nsec = 2000000};
    const time_t end = time(NULL) + WAIT_S;

    while (!until(rig, arg)) {
        ck_assert_msg(time(NULL) < end, "still waiting: %s", what);
        (void)nanosleep(&nap, NULL);
    }
}

/* The array of a document: itself, or its only array member. */
static json_t *array_of(json_t *document)
{
    const char *key;
    json_t *value;

    if (json_is_array(document))
        return document;
    json_object_foreach(document, key, value) if (json_is_array(value)) return value;
    return NULL;
}

static size_t count_alive(json_t *drivers)
{
    json_t *array = array_of(drivers);
    json_t *driver;
    size_t i, n = 0;

    json_array_foreach(array, i, driver) if (json_is_true(json_object_get(driver, "alive"))) n++;
    return n;
}

static bool drivers_are_here(const struct rig *rig, void *arg)
{
    const size_t *wanted = arg;
    json_t *document = ctl(rig, "drivers");
    bool here;

    if (!document)
        return false;
    here = count_alive(document) >= *wanted;
    json_decref(document);
    return here;
}

/* An answer, whatever it is, comes after the welcome, which brings fds. */
static void ask_driver(const char *name)
{
    struct muse_file *file;
    struct muse *muse;
    char counters[64];

    (void)snprintf(counters, sizeof(counters), "%s/counters", name);
    ck_assert_int_eq(muse_connect(&muse, NULL), 0);
    if (muse_open(muse, counters, O_RDONLY, &file) == 0)
        ck_assert_int_eq(muse_close(file), 0);
    muse_disconnect(muse);
}

/* fds of every driver that is there now, by name. */
static void count_driver_fds(struct rig *rig)
{
    json_t *document = rig_ctl(rig, "drivers");
    json_t *driver;
    size_t i;

    json_array_foreach(array_of(document), i, driver)
    {
        if (json_is_true(json_object_get(driver, "alive")) && rig->n_drivers < RIG_DRIVERS_MAX) {
            struct rig_driver *seen = &rig->drivers[rig->n_drivers++];

            (void)snprintf(seen->name, sizeof(seen->name), "%s",
                           json_string_value(json_object_get(driver, "name")));
            ask_driver(seen->name);
            seen->n_fds = count_fds((pid_t)json_integer_value(json_object_get(driver, "pid")));
        }
    }
    json_decref(document);
}

static bool server_is_idle(const struct rig *rig, void *arg)
{
    json_t *spaces = ctl(rig, "spaces");
    json_t *objects = ctl(rig, "objects");
    bool idle = spaces && objects && json_array_size(array_of(spaces)) == 0 &&
                json_array_size(array_of(objects)) == 0;

    (void)arg;
    json_decref(spaces);
    json_decref(objects);
    return idle;
}

void rig_start(struct rig *rig, const char *config, const char *const *drivers)
{
    char path[128];
    size_t n_drivers = 0;

    *rig = (struct rig){0};
    (void)snprintf(rig->dir, sizeof(rig->dir), "/tmp/muse-it.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(rig->dir));
    ck_assert_int_eq(chmod(rig->dir, 0755), 0);
    (void)snprintf(rig->run, sizeof(rig->run), "%s/run", rig->dir);
    (void)snprintf(rig->data, sizeof(rig->data), "%s/data", rig->dir);
    ck_assert_int_eq(mkdir(rig->data, 0755), 0);
    if (config) {
        (void)snprintf(path, sizeof(path), "%s/mused.conf", rig->dir);
        write_text(path, config);
    }
    while (drivers[n_drivers])
        n_drivers++;
    rig->server = fork();
    ck_assert_int_ge(rig->server, 0);
    if (rig->server == 0)
        exec_server(rig, config != NULL, drivers);
    rig_wait(drivers_are_here, rig, &n_drivers, "the drivers to say hello");
    ck_assert_int_eq(setenv("MUSE_RUNDIR", rig->run, 1), 0);
    rig->n_fds_self = count_fds(getpid());
    count_driver_fds(rig);
    rig_wait(server_is_idle, rig, NULL, "the server to be idle");
    rig->n_fds_server = count_lasting_fds(rig->server);
}

static bool fds_are_back(const struct rig *rig, void *arg)
{
    (void)arg;
    return count_fds(rig->server) <= rig->n_fds_server;
}

/* Also of one that was started again: it has what the first one had. */
static bool driver_fds_are_back(const struct rig *rig, void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < rig->n_drivers; i++) {
        const pid_t pid = rig_driver_pid(rig, rig->drivers[i].name);

        if (pid != 0 && count_fds(pid) > rig->drivers[i].n_fds)
            return false;
    }
    return true;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void print_log(const struct rig *rig)
{
    char command[128];

    (void)snprintf(command, sizeof(command), "cat %s/log >&2", rig->dir);
    (void)!system(command); /* NOLINT(cert-env33-c): a test's own words */
}

static void check_audit(const struct rig *rig)
{
    json_t *document = rig_ctl(rig, "audit");

    ck_assert_msg(json_is_true(json_object_get(document, "ok")), "musectl audit found something");
    json_decref(document);
}

void rig_stop(struct rig *rig)
{
    int status = -1;

    rig_wait(server_is_idle, rig, NULL, "spaces and objects to go");
    rig_wait(fds_are_back, rig, NULL, "the server's fds to be as before");
    if (!rig->skip_driver_fds)
        rig_wait(driver_fds_are_back, rig, NULL, "the drivers' fds to be as before");
    if (!rig->skip_audit)
        check_audit(rig);
    ck_assert_uint_eq(count_fds(getpid()), rig->n_fds_self);
    ck_assert_int_eq(kill(rig->server, SIGTERM), 0);
    ck_assert_int_eq(waitpid(rig->server, &status, 0), rig->server);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        print_log(rig);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "mused ended with status %#x",
                  (unsigned)status);
    ck_assert_int_ne(access(rig->run, F_OK), 0); /* it removes what it made */
    rig_remove(rig);
}

void rig_remove(const struct rig *rig)
{
    ck_assert_int_eq(nftw(rig->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

void rig_kill(struct rig *rig)
{
    ck_assert_int_eq(kill(rig->server, SIGKILL), 0);
    ck_assert_int_eq(waitpid(rig->server, NULL, 0), rig->server);
    rig_remove(rig);
}

pid_t rig_driver_pid(const struct rig *rig, const char *name)
{
    json_t *document = rig_ctl(rig, "drivers");
    json_t *driver;
    pid_t pid = 0;
    size_t i;

    json_array_foreach(
        array_of(document), i,
        driver) if (strcmp(json_string_value(json_object_get(driver, "name")), name) == 0 &&
                    json_is_true(json_object_get(driver, "alive"))) pid =
        (pid_t)json_integer_value(json_object_get(driver, "pid"));
    json_decref(document);
    return pid;
}

static json_t *find_key(json_t *value, const char *key)
{
    const char *name;
    json_t *member, *found;
    size_t i;

    if (json_is_array(value)) {
        json_array_foreach(value, i, member)
        {
            const char *entry = json_string_value(json_object_get(member, "name"));

            if (entry && strcmp(entry, key) == 0)
                return json_object_get(member, "value");
            if ((found = find_key(member, key)))
                return found;
        }
    }
    json_object_foreach(value, name, member)
    {
        if (strcmp(name, key) == 0)
            return json_is_object(member) ? json_object_get(member, "value") : member;
        if ((found = find_key(member, key)))
            return found;
    }
    return NULL;
}

/* Whether the line of /proc that begins with "PID (NAME) " says T. */
static bool is_thread_stopped(pid_t pid, const char *thread)
{
    char path[300], line[256];
    const char *name_end = NULL;
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/task/%s/stat", (int)pid, thread);
    file = fopen(path, "re");
    if (!file)
        return true; /* it has ended */
    if (fgets(line, sizeof(line), file))
        name_end = strrchr(line, ')');
    (void)fclose(file);
    return name_end && name_end[2] == 'T';
}

static bool is_stopped(const struct rig *rig, void *arg)
{
    const pid_t *pid = arg;
    const struct dirent *entry;
    bool all = true;
    char path[64];
    DIR *tasks;

    (void)rig;
    (void)snprintf(path, sizeof(path), "/proc/%d/task", (int)*pid);
    tasks = opendir(path);
    ck_assert_ptr_nonnull(tasks);
    while ((entry = readdir(tasks)))
        all &= entry->d_name[0] == '.' || is_thread_stopped(*pid, entry->d_name);
    (void)closedir(tasks);
    return all;
}

void rig_stop_process(const struct rig *rig, pid_t pid)
{
    ck_assert_int_eq(kill(pid, SIGSTOP), 0);
    rig_wait(is_stopped, rig, &pid, "a process to stop");
}

void rig_stop_driver(const struct rig *rig, const char *name)
{
    rig_stop_process(rig, rig_driver_pid(rig, name));
}

uint64_t rig_stat(const struct rig *rig, const char *key)
{
    json_t *document = rig_ctl(rig, "stats");
    json_t *value = find_key(document, key);
    uint64_t number;

    ck_assert_msg(json_is_integer(value), "stats has no number called %s", key);
    number = (uint64_t)json_integer_value(value);
    json_decref(document);
    return number;
}

uint64_t rig_count(const struct rig *rig, const char *driver, const char *name)
{
    json_t *document = rig_ctl(rig, "drivers");
    json_t *entry, *found = NULL;
    uint64_t number;
    size_t i;

    json_array_foreach(array_of(document), i, entry)
    {
        if (json_is_true(json_object_get(entry, "alive")) &&
            strcmp(json_string_value(json_object_get(entry, "name")), driver) == 0)
            found = json_object_get(json_object_get(entry, "counts"), name);
    }
    ck_assert_msg(json_is_integer(found), "no living driver %s with a number %s", driver, name);
    number = (uint64_t)json_integer_value(found);
    json_decref(document);
    return number;
}

bool rig_txn_state(const struct rig *rig, const char *object, const char *state)
{
    json_t *document = rig_ctl(rig, "txns");
    bool found = false;
    json_t *entry;
    size_t i;

    json_array_foreach(array_of(document), i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "object"));

        if (name && strncmp(name, object, strlen(object)) == 0 &&
            strcmp(json_string_value(json_object_get(entry, "state")), state) == 0)
            found = true;
    }
    json_decref(document);
    return found;
}

static bool is_text(const json_t *entry, const char *key, const char *wanted)
{
    const char *text = json_string_value(json_object_get(entry, key));

    return !wanted || (text && strcmp(text, wanted) == 0);
}

bool rig_blocked(const struct rig *rig, const char *what, const char *stage, const char *whom)
{
    json_t *document = rig_ctl(rig, "blocked");
    bool found = false;
    json_t *entry;
    size_t i;

    json_array_foreach(json_object_get(document, "blocked"), i, entry)
    {
        found |= is_text(entry, "what", what) && is_text(entry, "stage", stage) &&
                 is_text(entry, "for", whom);
    }
    json_decref(document);
    return found;
}

uint64_t rig_counter(const char *name)
{
    return rig_counter_of("faulty", name);
}

uint64_t rig_counter_of(const char *driver, const char *name)
{
    struct muse *muse;
    struct muse_file *file;
    char text[1024], key[64], counters[64];
    const char *found;
    ssize_t n;

    ck_assert_int_eq(muse_connect(&muse, NULL), 0);
    (void)snprintf(counters, sizeof(counters), "%s/counters", driver);
    ck_assert_int_eq(muse_open(muse, counters, O_RDONLY, &file), 0);
    n = muse_pread(file, text, sizeof(text) - 1, 0);
    ck_assert_int_gt(n, 0);
    text[n] = '\0';
    ck_assert_int_eq(muse_close(file), 0);
    muse_disconnect(muse);
    (void)snprintf(key, sizeof(key), "%s=", name);
    found = strstr(text, key);
    while (found && found > text && found[-1] != ' ' && found[-1] != '\n')
        found = strstr(found + 1, key);
    ck_assert_msg(found != NULL, "faulty counts no %s", name);
    return strtoull(found + strlen(key), NULL, 10);
}

void rig_file(const struct rig *rig, const char *name, uint64_t n_bytes)
{
    char path[160];
    unsigned char buf[4096];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/%s", rig->data, name);
    file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    for (uint64_t at = 0; at < n_bytes; at += sizeof(buf)) {
        const size_t n = n_bytes - at < sizeof(buf) ? (size_t)(n_bytes - at) : sizeof(buf);

        for (size_t i = 0; i < n; i++)
            buf[i] = rig_byte(at + i);
        ck_assert_uint_eq(fwrite(buf, 1, n, file), n);
    }
    ck_assert_int_eq(fclose(file), 0);
}

static sigjmp_buf touch_jump;

static void on_touch_signal(int number)
{
    siglongjmp(touch_jump, number);
}

int rig_signal_of(const void *addr)
{
    struct sigaction action = {.sa_handler = on_touch_signal, .sa_flags = SA_NODEFER};
    struct sigaction old_bus, old_segv;
    int got;

    (void)sigaction(SIGBUS, &action, &old_bus);
    (void)sigaction(SIGSEGV, &action, &old_segv);
    got = sigsetjmp(touch_jump, 1);
    if (got == 0)
        (void)*(const volatile unsigned char *)addr;
    (void)sigaction(SIGBUS, &old_bus, NULL);
    (void)sigaction(SIGSEGV, &old_segv, NULL);
    return got;
}
