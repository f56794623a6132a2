/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mused and musectl as programs: supervised drivers, captive mode and its exit status, the
 * configuration, two servers in one folder, the end, and what musectl prints and returns.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <muse/muse.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "tests/support/client.h"
#include "tests/support/unit.h"

#define TEXT_BYTES 65536u

static const char *const faulty[] = {"muse-faulty", NULL};

static struct rig rig;
static char text[TEXT_BYTES]; /* what the last program said, both streams */

/* Runs a program of the build; its words as for sh. Return: its exit status. */
__attribute__((format(printf, 2, 3))) static int run(const char *program, const char *format, ...)
{
    char command[2048], path[256];
    va_list args;
    FILE *pipe;
    size_t n;
    int status;

    build_program(program, path, sizeof(path));
    n = (size_t)snprintf(command, sizeof(command), "exec %s ", path);
    va_start(args, format);
    (void)vsnprintf(command + n, sizeof(command) - n, format, args);
    va_end(args);
    (void)strncat(command, " 2>&1", sizeof(command) - strlen(command) - 1);
    pipe = popen(command, "re"); /* NOLINT(cert-env33-c): a test's own words */
    ck_assert_ptr_nonnull(pipe);
    n = fread(text, 1, sizeof(text) - 1, pipe);
    text[n] = '\0';
    status = pclose(pipe);
    ck_assert_msg(WIFEXITED(status), "%s: %s", command, text);
    return WEXITSTATUS(status);
}

static void expect_text(const char *part)
{
    ck_assert_msg(strstr(text, part) != NULL, "\"%s\" is not in: %s", part, text);
}

static void read_log(void)
{
    char path[128];
    FILE *file;
    size_t n;

    (void)snprintf(path, sizeof(path), "%s/log", rig.dir);
    file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    n = fread(text, 1, sizeof(text) - 1, file);
    text[n] = '\0';
    (void)fclose(file);
}

/* ---- supervision ---- */

START_TEST(a_driver_that_dies_is_started_again_each_time_after_a_longer_pause)
{
    pid_t driver;

    rig_start(&rig, NULL, faulty);
    driver = rig_driver_pid(&rig, "faulty");
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_int_eq(kill(driver, SIGKILL), 0);
        driver = wait_for_driver(&rig, "faulty", driver);
    }
    read_log();
    expect_text("restart_ms=100\n");
    expect_text("restart_ms=200\n");
    expect_text("restart_ms=400\n");
    expect_text("restart_ms=800\n");
    rig_stop(&rig);
}
END_TEST

START_TEST(a_driver_that_is_refused_is_tried_again_and_disturbs_nobody)
{
    char config[512], path[256];
    struct muse *muse;
    void *mapped;

    build_program("muse-faulty", path, sizeof(path));
    (void)snprintf(config, sizeof(config), "[drivers]\ntwin = %s\n", path);
    rig_start(&rig, config, faulty); /* two of one name: one of them is refused, again and again */
    muse = client_connect();
    mapped = client_map_ro(muse, "faulty/x", 4);
    do {
        ck_assert_uint_eq(faulty_word(mapped, 3, 1), 3 * 512 + 1);
        client_sleep_ms(10);
        read_log();
    } while (!strstr(text, "restart_ms=400"));
    expect_text("a driver of this name is here already");
    muse_disconnect(muse);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_driver_command_that_cannot_be_run_ends_the_server_with_the_reason)
{
    char dir[] = "/tmp/muse-it.XXXXXX";
    char zero[256];

    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(run("mused", "--rundir %s/run --driver /no/such/driver", dir), 1);
    expect_text("mused: a driver cannot be started: No such file or directory");
    build_program("muse-zero", zero, sizeof(zero));
    ck_assert_int_eq(
        run("mused", "--rundir %s/run --driver %s --driver \"unbalanced '\"", dir, zero), 1);
    expect_text("a driver cannot be started: ");
    ck_assert_int_eq(run("mused", "--rundir %s/run --driver ''", dir), 2);
    ck_assert_int_eq(rmdir(dir), 0); /* nothing is left in it */
}
END_TEST

/* ---- captive mode ---- */

START_TEST(captive_mode_exits_with_the_commands_status)
{
    char path[256];

    ck_assert_int_eq(run("mused", "--run true"), 0);
    ck_assert_int_eq(run("mused", "--run false"), 1);
    ck_assert_int_eq(run("mused", "--run \"sh -c 'exit 3'\""), 3);
    ck_assert_int_eq(run("mused", "--run \"sh -c 'exit 255'\""), 255);
    ck_assert_int_eq(run("mused", "--run \"sh -c 'kill -9 \\$\\$'\""), 128 + SIGKILL);
    ck_assert_int_eq(run("mused", "--run \"sh -c 'kill -15 \\$\\$'\""), 128 + SIGTERM);
    ck_assert_int_eq(run("mused", "--run /no/such/command"), 127);
    expect_text("mused: /no/such/command: No such file or directory");
    ck_assert_int_eq(run("mused", "--run no-such-command-anywhere"), 127);
    ck_assert_int_eq(run("mused", "--run /etc"), 126);
    build_program("muse-zero", path, sizeof(path));
    ck_assert_int_eq(run("mused", "--driver %s --run 'echo words  \"two words\"'", path), 0);
    ck_assert_str_eq(text, "words two words\n");
}
END_TEST

START_TEST(captive_mode_starts_the_command_when_all_drivers_are_there_and_leaves_nothing)
{
    char zero[256], file[256], ctl[256];
    json_t *document, *rundir;

    build_program("muse-zero", zero, sizeof(zero));
    build_program("muse-file", file, sizeof(file));
    build_program("musectl", ctl, sizeof(ctl));
    ck_assert_int_eq(
        run("mused", "--driver %s --driver '%s /etc' --run '%s --json drivers'", zero, file, ctl),
        0);
    document = json_loads(text, 0, NULL);
    ck_assert_ptr_nonnull(document);
    ck_assert_ptr_nonnull(json_entry(document, "name", "zero"));
    ck_assert_ptr_nonnull(json_entry(document, "name", "file"));
    json_decref(document);
    ck_assert_int_eq(run("mused", "--driver %s --run '%s --json status'", zero, ctl), 0);
    document = json_loads(text, 0, NULL);
    rundir = json_object_get(document, "rundir");
    ck_assert_ptr_nonnull(strstr(json_string_value(rundir), "/tmp/mused."));
    ck_assert_int_ne(access(json_string_value(rundir), F_OK), 0);
    ck_assert_int_ne(kill((pid_t)json_integer_value(json_object_get(document, "pid")), 0), 0);
    json_decref(document);
}
END_TEST

START_TEST(a_signal_to_a_captive_server_ends_its_command)
{
    char path[256], pid_file[64];
    int fd, status;
    FILE *file;
    long inner = 0;
    pid_t pid;

    (void)snprintf(pid_file, sizeof(pid_file), "/tmp/muse-it-pid.XXXXXX");
    fd = mkstemp(pid_file);
    ck_assert_int_ge(fd, 0);
    build_program("mused", path, sizeof(path));
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        char command[256];

        (void)snprintf(command, sizeof(command), "sh -c 'echo $$ > %s; exec sleep 1000'", pid_file);
        (void)execl(path, "mused", "--run", command, (char *)NULL);
        _exit(99);
    }
    while (inner == 0) {
        client_sleep_ms(5);
        file = fopen(pid_file, "re");
        if (fscanf(file, "%ld", &inner) != 1) /* NOLINT(cert-err34-c): our own */
            inner = 0;
        (void)fclose(file);
    }
    ck_assert_int_eq(kill(pid, SIGTERM), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 128 + SIGTERM);
    ck_assert_int_ne(kill((pid_t)inner, 0), 0);
    (void)close(fd);
    (void)unlink(pid_file);
}
END_TEST

/* ---- configuration ---- */

static void write_config(const char *path, const char *content)
{
    FILE *file = fopen(path, "we");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(content, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

START_TEST(what_print_config_prints_is_read_back_as_the_same)
{
    static const char content[] = "[server]\nrundir = /tmp/x\nmemory = 3G\nhand_out_uffd = root\n"
                                  "[limits]\nmax_vmas = 77\n[deadlines]\nhook_ms = 1234\n"
                                  "[quota]\nfiles = 500\nspaces = unlimited\n"
                                  "[drivers]\na = muse-zero --name 'a b' ; not a comment\n"
                                  "[driver zero]\nhook_ms = 99\n";
    char path[64] = "/tmp/muse-it-conf.XXXXXX";
    char *first;
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    write_config(path, content);
    ck_assert_int_eq(
        run("mused", "--config %s --driver 'muse-file /a /b' --memory 5G --print-config", path), 0);
    expect_text("memory = 5G");
    expect_text("max_vmas = 77");
    expect_text("muse-file /a /b");
    first = strdup(text);
    write_config(path, first);
    ck_assert_int_eq(run("mused", "--config %s --print-config", path), 0);
    ck_assert_str_eq(text, first);
    free(first);
    (void)close(fd);
    (void)unlink(path);
}
END_TEST

START_TEST(a_configuration_that_is_wrong_is_named_with_its_line)
{
    static const struct {
        const char *content, *part;
    } wrongs[] = {
        {"[server]\nno_such = 1\n", "line 2"},        {"[server]\n\n\nmemory = lots\n", "line 4"},
        {"[deadlines]\nhook_ms = -3\n", "line 2"},    {"nonsense\n", "line 1"},
        {"[server]\ncontract = other\n", "contract"}, {"[deadlines]\nhook_ms = 0\n", "deadlines"},
        {"[quota]\nbananas = 3\n", "bananas"},
    };
    char path[64] = "/tmp/muse-it-conf.XXXXXX";
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    for (size_t i = 0; i < N_ELEMENTS(wrongs); i++) {
        write_config(path, wrongs[i].content);
        ck_assert_msg(run("mused", "--rundir /tmp/muse-it-none --config %s --run true", path) != 0,
                      "%s", wrongs[i].content);
        expect_text("mused: ");
        expect_text(wrongs[i].part);
    }
    ck_assert_int_eq(run("mused", "--config /no/such/file --print-config"), 2);
    expect_text("/no/such/file");
    (void)close(fd);
    (void)unlink(path);
}
END_TEST

START_TEST(print_config_shows_all_limits_as_they_will_hold)
{
    char path[64] = "/tmp/muse-it-conf.XXXXXX";
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    write_config(path, "[quota]\nfiles = 500\n");
    ck_assert_int_eq(run("mused", "--config %s --memory 5G --print-config", path), 0);
    expect_text("[quota]");
    expect_text("files = 500");
    expect_text("vmas = 1M");
    expect_text("cache_bytes = unlimited");
    expect_text("memory_bytes = 5G");
    ck_assert_int_eq(run("mused", "--print-config"), 0);
    expect_text("memory_bytes = unlimited");
    (void)close(fd);
    (void)unlink(path);
}
END_TEST

static unsigned count_captive_folders(void)
{
    glob_t found;
    unsigned n = 0;

    if (glob("/tmp/mused.*", 0, NULL, &found) == 0) {
        n = (unsigned)found.gl_pathc;
        globfree(&found);
    }
    return n;
}

/* In a /tmp that nobody else uses; the build may lie there. */
static void start_in_vain(void *ctx)
{
    (void)ctx;
    ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
    ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    ck_assert_int_eq(mount(getenv("MUSE_BUILD_DIR"), "/mnt", NULL, MS_BIND, NULL), 0);
    ck_assert_int_eq(setenv("MUSE_BUILD_DIR", "/mnt", 1), 0);
    ck_assert_int_eq(mount("none", "/tmp", "tmpfs", 0, NULL), 0);
    ck_assert_int_eq(unsetenv("MUSE_RUNDIR"), 0);
    write_config("/tmp/conf", "[server]\ncontract = other\n");
    ck_assert_int_eq(run("mused", "--config /tmp/conf --run true"), 2);
    expect_text("contract: neither muse nor kernel-v1");
    ck_assert_int_eq(run("mused", "--print-config --run true"), 0);
    expect_text("[server]");
    ck_assert_uint_eq(count_captive_folders(), 0);
}

START_TEST(a_captive_server_that_may_not_start_leaves_no_folder)
{
    client_join(client_fork(start_in_vain, NULL));
}
END_TEST

START_TEST(empty_words_on_the_command_line_are_named_for_what_they_are)
{
    ck_assert_int_eq(run("mused", "--driver ''"), 2);
    expect_text("--driver: no command is given");
    ck_assert_int_eq(run("mused", "--driver '  '"), 2);
    expect_text("--driver: no command is given");
    ck_assert_int_eq(run("mused", "--run ''"), 2);
    expect_text("--run: no command is given");
    ck_assert_int_eq(run("mused", "--rundir ''"), 2);
    expect_text("--rundir: no folder is named");
}
END_TEST

START_TEST(wrong_usage_is_status_2_and_help_is_0)
{
    static const char *const programs[] = {"mused",     "musectl",     "muse-file",
                                           "muse-zero", "muse-cramfs", "muse-faulty"};

    for (size_t i = 0; i < N_ELEMENTS(programs); i++) {
        ck_assert_int_eq(run(programs[i], "--help"), 0);
        ck_assert_int_eq(run(programs[i], "--version"), 0);
        ck_assert_int_eq(run(programs[i], "--no-such-option"), 2);
        ck_assert_msg(strncmp(text, programs[i], strlen(programs[i])) == 0 ||
                          strstr(text, programs[i]) != NULL,
                      "%s", text);
    }
    ck_assert_int_eq(run("mused", "word"), 2);
    ck_assert_int_eq(run("mused", "--memory many"), 2);
    ck_assert_int_eq(run("muse-file", "%s", ""), 2);
    ck_assert_int_eq(run("muse-file", "--mode=sideways /tmp"), 2);
}
END_TEST

/* ---- the server's life ---- */

START_TEST(a_second_server_in_the_same_folder_refuses_and_the_first_goes_on)
{
    rig_start(&rig, NULL, faulty);
    struct muse *muse = client_connect();
    void *mapped = client_map_ro(muse, "faulty/x,fault-partial", 8);

    ck_assert_int_eq(run("mused", "--rundir %s", rig.run), 1);
    expect_text("mused: a server lives in the run-time folder already");
    ck_assert_int_eq(run("mused", "--rundir %s --run true", rig.run), 1);
    ck_assert_uint_eq(faulty_word(mapped, 7, 1), 7 * 512 + 1);
    muse_disconnect(client_connect());
    muse_disconnect(muse);
    rig_stop(&rig);
}
END_TEST

struct stuck {
    struct muse *muse;
    const char *name;
    int error;
};

static void *map_stuck(void *arg)
{
    struct stuck *stuck = arg;

    stuck->error = 0;
    if (client_map(stuck->muse, stuck->name, O_RDONLY, PAGE, PROT_READ, MAP_SHARED) == MAP_FAILED)
        stuck->error = errno;
    return NULL;
}

static void touch_for_ever(void *ctx)
{
    struct muse *own = client_connect();

    (void)ctx;
    (void)probe_read(client_map_ro(own, "faulty/y,fault-never", 4));
    (void)pause();
}

/* Ends the server in the middle of everything. */
static void end_by(int number)
{
    struct stuck stuck = {.name = "faulty/z,prepare-never"};
    struct muse_file *file;
    pthread_t thread;
    pid_t victim, driver;
    int status;

    rig_start(&rig, NULL, faulty);
    driver = rig_driver_pid(&rig, "faulty");
    struct muse *muse = client_connect();
    void *mapped = client_map_ro(muse, "faulty/x,fault-partial", 4);

    ck_assert_uint_eq(faulty_word(mapped, 2, 1), 2 * 512 + 1);
    stuck.muse = muse;
    victim = client_fork(touch_for_ever, NULL);
    wait_for_counter("fault", 2);
    ck_assert_int_eq(pthread_create(&thread, NULL, map_stuck, &stuck), 0);
    wait_for_counter("prepare", 3);
    ck_assert_int_eq(kill(rig.server, number), 0);
    ck_assert_int_eq(waitpid(rig.server, &status, 0), rig.server);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%#x", (unsigned)status);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(stuck.error, ENOTCONN);
    ck_assert_int_eq(muse_open(muse, "faulty/x", O_RDONLY, &file), -1);
    ck_assert_int_eq(errno, ENOTCONN);
    ck_assert_uint_eq(faulty_word(mapped, 2, 2), 2 * 512 + 2); /* resident pages stay */
    ck_assert_int_ne(access(rig.run, F_OK), 0);
    ck_assert_int_ne(kill(driver, 0), 0);
    ck_assert_int_eq(waitpid(victim, NULL, WNOHANG), 0); /* waits for a server, not zeros */
    client_kill(victim);
    muse_disconnect(muse);
    rig_remove(&rig);
}

START_TEST(signals_end_the_server_cleanly_in_the_middle_of_everything)
{
    end_by(SIGTERM);
    end_by(SIGINT);
}
END_TEST

/* ---- musectl ---- */

START_TEST(every_musectl_command_prints_text_and_one_json_document)
{
    static const char *const commands[] = {"status", "drivers", "spaces", "objects", "txns",
                                           "faults", "stats",   "audit",  "trace",   "limits"};
    struct muse *muse;
    json_t *document;
    char maps[64];

    rig_start(&rig, NULL, faulty);
    muse = client_connect();
    ck_assert_ptr_ne(client_map_ro(muse, "faulty/x", 4), MAP_FAILED);
    for (size_t i = 0; i < N_ELEMENTS(commands); i++) {
        ck_assert_int_eq(run("musectl", "--rundir %s %s", rig.run, commands[i]), 0);
        ck_assert_msg(text[0] != '\0', "%s prints nothing", commands[i]);
        ck_assert_int_eq(run("musectl", "--rundir %s --json %s", rig.run, commands[i]), 0);
        document = json_loads(text, 0, NULL);
        ck_assert_msg(json_is_object(document), "%s: %s", commands[i], text);
        json_decref(document);
    }
    document = rig_ctl(&rig, "spaces");
    (void)snprintf(maps, sizeof(maps), "maps %lld",
                   (long long)json_integer_value(
                       json_object_get(json_array_get(json_entries(document), 0), "id")));
    json_decref(document);
    ck_assert_int_eq(run("musectl", "--rundir %s %s", rig.run, maps), 0);
    expect_text("faulty/x");
    expect_text("r--s");
    document = rig_ctl(&rig, maps);
    ck_assert_ptr_nonnull(json_entry(document, "object", "faulty/x"));
    json_decref(document);
    muse_disconnect(muse);
    rig_stop(&rig);
}
END_TEST

START_TEST(musectl_says_what_is_wrong_and_returns_1_or_2)
{
    rig_start(&rig, NULL, faulty);
    ck_assert_int_eq(run("musectl", "--rundir %s", rig.run), 2);
    ck_assert_int_eq(run("musectl", "--rundir %s no-such-command", rig.run), 2);
    ck_assert_int_eq(run("musectl", "--rundir %s maps", rig.run), 2);
    ck_assert_int_eq(run("musectl", "--rundir %s status more", rig.run), 2);
    ck_assert_int_eq(run("musectl", "--rundir %s limits a b c d e", rig.run), 2);
    ck_assert_int_eq(run("musectl", "--rundir %s status -f", rig.run), 2);
    ck_assert_int_eq(run("musectl", "--rundir %s maps 12345678", rig.run), 1);
    expect_text("musectl: ");
    ck_assert_int_eq(run("musectl", "--rundir %s maps nonsense", rig.run), 1);
    ck_assert_int_eq(run("musectl", "--rundir %s limits no-such-limit", rig.run), 1);
    ck_assert_int_eq(run("musectl", "--rundir %s limits files many", rig.run), 1);
    ck_assert_int_eq(run("musectl", "--rundir /no/such/folder status"), 1);
    expect_text("musectl: ");
    rig_stop(&rig);
}
END_TEST

static void ask_as_nobody(void *ctx)
{
    char sentence[160];

    (void)ctx;
    ck_assert_int_eq(setgid(65534), 0);
    ck_assert_int_eq(setuid(65534), 0);
    ck_assert_int_eq(run("musectl", "--rundir %s status", rig.run), 1);
    (void)snprintf(sentence, sizeof(sentence), "musectl: permission denied: %s/control.sock",
                   rig.run);
    expect_text(sentence);
}

START_TEST(musectl_without_permission_says_so_and_which_socket)
{
    rig_start(&rig, NULL, faulty);
    client_join(client_fork(ask_as_nobody, NULL));
    rig_stop(&rig);
}
END_TEST

START_TEST(a_limit_set_by_musectl_holds_at_once)
{
    struct muse_file *files[3];
    struct muse *muse;

    rig_start(&rig, NULL, faulty);
    muse = client_connect();
    ck_assert_int_eq(rig_ctl_status(&rig, "limits files 2"), 0);
    files[0] = client_open(muse, "faulty/a", O_RDONLY);
    files[1] = client_open(muse, "faulty/b", O_RDONLY);
    ck_assert_int_eq(muse_open(muse, "faulty/c", O_RDONLY, &files[2]), -1);
    ck_assert_int_eq(errno, EMFILE);
    ck_assert_int_eq(rig_ctl_status(&rig, "limits files unlimited"), 0);
    files[2] = client_open(muse, "faulty/c", O_RDONLY);
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(muse_close(files[i]), 0);
    muse_disconnect(muse);
    rig_stop(&rig);
}
END_TEST

/* Starts `musectl --json trace -f`. @ret_lines: what it prints. */
static pid_t start_trace(FILE **ret_lines)
{
    char path[256];
    int pipe_fds[2];
    pid_t pid;

    build_program("musectl", path, sizeof(path));
    ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        (void)dup2(pipe_fds[1], STDOUT_FILENO);
        (void)execl(path, "musectl", "--rundir", rig.run, "--json", "trace", "-f", (char *)NULL);
        _exit(99);
    }
    (void)close(pipe_fds[1]);
    *ret_lines = fdopen(pipe_fds[0], "r");
    ck_assert_ptr_nonnull(*ret_lines);
    return pid;
}

START_TEST(trace_shows_each_hook_call_as_one_document_a_line)
{
    char line[4096];
    struct muse *muse;
    bool is_complete = false;
    FILE *lines;
    pid_t trace;

    rig_start(&rig, NULL, faulty);
    muse = client_connect();
    trace = start_trace(&lines);
    while (!is_complete) {
        struct pollfd pollfd = {.fd = fileno(lines), .events = POLLIN};
        json_t *document;

        if (poll(&pollfd, 1, 1) == 0) { /* again, until the follower is there */
            ck_assert_int_eq(muse_munmap(muse, client_map_ro(muse, "faulty/x", 1), PAGE), 0);
            continue;
        }
        ck_assert_ptr_nonnull(fgets(line, sizeof(line), lines));
        document = json_loads(line, 0, NULL);
        ck_assert_msg(json_is_object(document), "%s", line);
        ck_assert_str_eq(json_string_value(json_object_get(document, "driver")), "faulty");
        is_complete =
            strcmp(json_string_value(json_object_get(document, "hook")), "mmap_complete") == 0;
        json_decref(document);
    }
    muse_disconnect(muse);
    ck_assert_int_eq(kill(trace, SIGTERM), 0);
    ck_assert_int_eq(waitpid(trace, NULL, 0), trace);
    (void)fclose(lines);
    rig_stop(&rig);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("supervise");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_driver_that_dies_is_started_again_each_time_after_a_longer_pause);
    tcase_add_test(tcase, a_driver_that_is_refused_is_tried_again_and_disturbs_nobody);
    tcase_add_test(tcase, a_driver_command_that_cannot_be_run_ends_the_server_with_the_reason);
    tcase_add_test(tcase, captive_mode_exits_with_the_commands_status);
    tcase_add_test(tcase,
                   captive_mode_starts_the_command_when_all_drivers_are_there_and_leaves_nothing);
    tcase_add_test(tcase, a_signal_to_a_captive_server_ends_its_command);
    tcase_add_test(tcase, what_print_config_prints_is_read_back_as_the_same);
    tcase_add_test(tcase, a_configuration_that_is_wrong_is_named_with_its_line);
    tcase_add_test(tcase, print_config_shows_all_limits_as_they_will_hold);
    tcase_add_test(tcase, a_captive_server_that_may_not_start_leaves_no_folder);
    tcase_add_test(tcase, empty_words_on_the_command_line_are_named_for_what_they_are);
    tcase_add_test(tcase, musectl_without_permission_says_so_and_which_socket);
    tcase_add_test(tcase, wrong_usage_is_status_2_and_help_is_0);
    tcase_add_test(tcase, a_second_server_in_the_same_folder_refuses_and_the_first_goes_on);
    tcase_add_test(tcase, signals_end_the_server_cleanly_in_the_middle_of_everything);
    tcase_add_test(tcase, every_musectl_command_prints_text_and_one_json_document);
    tcase_add_test(tcase, musectl_says_what_is_wrong_and_returns_1_or_2);
    tcase_add_test(tcase, a_limit_set_by_musectl_holds_at_once);
    tcase_add_test(tcase, trace_shows_each_hook_call_as_one_document_a_line);
    return unit_run("supervise", tcase);
}
