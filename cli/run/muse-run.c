/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-run: starts a program that knows nothing of Muse, with libmuse-preload.so in front of the C
 * library, so that it finds objects under /muse/DRIVER/OBJECT. With -d it becomes a captive mused,
 * which starts it again, without -d, as its command:
 *
 *     muse-run -d 'muse-file /srv' -- cat /muse/file/x
 *       = mused --driver 'muse-file /srv' --run 'muse-run -- cat /muse/file/x'
 */
#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/run/program.h"
#include "common/base/own.h"

#ifndef MUSE_VERSION
#define MUSE_VERSION "unknown"
#endif
#ifndef MUSE_LIBDIR
#define MUSE_LIBDIR "lib"
#endif

#define DRIVERS_MAX 64 /* chosen: a command line */

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_CANNOT_RUN = 126, EXIT_NOT_FOUND = 127 };

/* argp's own variable, so it must be seen although all else here is hidden */
__attribute__((visibility("default"))) const char *argp_program_version = "muse-run " MUSE_VERSION;

struct options {
    const char *rundir;
    const char *drivers[DRIVERS_MAX];
    size_t n_drivers;
    char **program; /* and its arguments */
};

static const struct argp_option option_list[] = {
    {"driver", 'd', "CMD", 0, "Start a private server with this driver; may be repeated", 0},
    {"rundir", 'r', "DIR", 0, "Folder of the server's sockets", 0},
    {0},
};

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)fputs("muse-run: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): argp_parser_t has it so */
static error_t on_option(int key, char *arg, struct argp_state *state)
{
    struct options *options = state->input;

    switch (key) {
    case 'd':
        if (options->n_drivers == DRIVERS_MAX)
            argp_error(state, "--driver: more than %d drivers", DRIVERS_MAX);
        options->drivers[options->n_drivers++] = arg;
        return 0;
    case 'r':
        options->rundir = arg;
        return 0;
    case ARGP_KEY_ARGS: /* the first that is no option, and all behind it */
        options->program = state->argv + state->next;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "no program to run");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- where things are ---- */

/* The folder this program is in. Return: 0; -errno. */
static int own_folder(char *ret_path)
{
    const ssize_t n = readlink("/proc/self/exe", ret_path, PATH_MAX - 1);
    char *slash;

    if (n < 0)
        return -errno;
    ret_path[n] = '\0';
    slash = strrchr(ret_path, '/');
    if (slash)
        *slash = '\0';
    return 0;
}

/* Beside the folder of programs, where builds and installations put it. */
static int find_library(char *ret_path)
{
    static const char *const folders[] = {"lib", MUSE_LIBDIR};
    char own[PATH_MAX], path[2 * PATH_MAX];
    int r = own_folder(own);

    if (r < 0)
        return r;
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s/../%s/libmuse-preload.so", own, folders[i]);
        if (realpath(path, ret_path))
            return 0;
    }
    return -ENOENT;
}

/* ---- the program's environment ---- */

/* The loader takes spaces and colons for the end of a name. */
static int set_preload(void)
{
    char library[PATH_MAX];
    CLEAN(free_p) char *value = NULL;
    const char *others = getenv("LD_PRELOAD");
    int r = find_library(library);

    if (r < 0) {
        say("libmuse-preload.so: %s", strerror(-r));
        return r;
    }
    if (strpbrk(library, " :")) {
        say("%s: the loader cannot preload a library with a space or colon in its name", library);
        return -EINVAL;
    }
    if (others && strstr(others, library))
        return 0;
    if (asprintf(&value, "%s%s%s", library, others && others[0] ? ":" : "", others ? others : "") <
        0) {
        value = NULL;
        return -ENOMEM;
    }
    return setenv("LD_PRELOAD", value, 1) < 0 ? -errno : 0;
}

/* The server and its drivers are not for the library, which would take the descriptors that they hand out for served ones. What is set
 * and empty stays so; what is missing a library that is in this very program, as it is started by one under muse-run, would add again. */
static int forget_session(const char *folder_of_server)
{
    char library[PATH_MAX];
    const char *value = getenv("LD_PRELOAD");
    CLEAN(free_p) char *others = strdup(value ? value : "");
    char *found;

    if (!others)
        return -ENOMEM;
    if (find_library(library) == 0) {
        while ((found = strstr(others, library)))
            memmove(found, found + strlen(library), strlen(found + strlen(library)) + 1);
    }
    if (setenv("LD_PRELOAD", others, 1) < 0)
        return -errno;
    return folder_of_server || setenv("MUSE_RUNDIR", "", 1) == 0 ? 0 : -errno;
}

/* A program may become another user, so the folder is said and not left to be found. */
static int set_rundir(const struct options *options)
{
    CLEAN(free_p) char *made = NULL;
    const char *rundir = options->rundir ? options->rundir : getenv("MUSE_RUNDIR");

    if (!rundir && geteuid() == 0)
        rundir = "/run/muse";
    if (!rundir && getenv("XDG_RUNTIME_DIR")) {
        if (asprintf(&made, "%s/muse", getenv("XDG_RUNTIME_DIR")) < 0)
            made = NULL;
        rundir = made;
    }
    if (!rundir) {
        say("no server: neither MUSE_RUNDIR nor XDG_RUNTIME_DIR is set");
        return -ENOTCONN;
    }
    return setenv("MUSE_RUNDIR", rundir, 1) < 0 ? -errno : 0;
}

/* Is anybody there? Otherwise each open of the program would fail, with an errno nobody expects. */
static int check_server(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    CLEAN(fd_close_p) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    const int n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/client.sock",
                           getenv("MUSE_RUNDIR"));
    int r = 0;

    if (fd < 0 || n < 0 || (size_t)n >= sizeof(address.sun_path))
        r = fd < 0 ? -errno : -ENAMETOOLONG;
    else if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        r = -errno;
    if (r < 0)
        say("no server at %s (%s): start mused, or name drivers with -d", address.sun_path,
            strerror(-r));
    return r;
}

/* ---- can it be served? ---- */

/* Return: 0; an exit status. */
static int check_program(const char *name)
{
    char path[PATH_MAX], looked_at[PATH_MAX];
    enum program_kind kind;
    int r = program_find(name, path);

    if (r < 0) {
        say("%s: %s", name, strerror(-r));
        return r == -ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
    }
    if (program_look(path, &kind, looked_at) < 0)
        return 0; /* may be run without being readable: then nothing can be told */
    switch (kind) {
    case PROGRAM_GOOD:
        return 0;
    case PROGRAM_STATIC:
        say("%s is statically linked: nothing can be preloaded, so it cannot see /muse", looked_at);
        return EXIT_USAGE;
    case PROGRAM_SETUID:
        say("%s runs with other rights than yours: the loader then preloads nothing, so it cannot "
            "see /muse",
            looked_at);
        return EXIT_USAGE;
    case PROGRAM_GO:
        say("%s is a Go program, which makes its system calls itself, so it cannot see /muse",
            looked_at);
        return EXIT_USAGE;
    case PROGRAM_FOREIGN:
        say("warning: %s is no x86-64 program: it may not see /muse", looked_at);
        return 0;
    }
    return 0;
}

/* ---- running ---- */

/* Append one word as mused takes its commands apart: quoted, whatever is in it. */
static bool append_word(FILE *command, const char *word)
{
    (void)fputc('\'', command);
    for (; *word; word++) {
        if (*word == '\'')
            (void)fputs("'\\''", command);
        else
            (void)fputc(*word, command);
    }
    (void)fputs("' ", command);
    return ferror(command) == 0;
}

/* "muse-run -- PROGRAM ARG...", for --run. Return: to be freed; NULL. */
static char *run_command(const char *folder, char **program)
{
    char *text = NULL;
    char self[PATH_MAX + 16];
    size_t n;
    FILE *command = open_memstream(&text, &n);
    bool good;

    if (!command)
        return NULL;
    (void)snprintf(self, sizeof(self), "%s/muse-run", folder);
    good = append_word(command, self) && append_word(command, "--");
    for (; *program && good; program++)
        good = append_word(command, *program);
    if (fclose(command) != 0 || !good) {
        free(text);
        return NULL;
    }
    return text;
}

/* A driver of this build or installation is found without being in PATH. Return: to be freed. */
static char *driver_command(const char *folder, const char *command)
{
    const size_t n = strcspn(command, " \t");
    char path[2 * PATH_MAX];
    char *text;

    (void)snprintf(path, sizeof(path), "%s/%.*s", folder, (int)n, command);
    if (memchr(command, '/', n) || access(path, X_OK) < 0)
        return strdup(command);
    return asprintf(&text, "'%s'%s", path, command + n) < 0 ? NULL : text;
}

/* Become the captive server. Return: an exit status, when it cannot be. */
static int run_captive(const struct options *options)
{
    const char *argv[2 * DRIVERS_MAX + 6];
    char folder[PATH_MAX], mused[PATH_MAX + 8];
    size_t n = 0;
    int r = own_folder(folder);

    if (r < 0) {
        say("/proc/self/exe: %s", strerror(-r));
        return EXIT_FAILED;
    }
    (void)snprintf(mused, sizeof(mused), "%s/mused", folder);
    argv[n++] = mused;
    if (options->rundir) {
        argv[n++] = "--rundir";
        argv[n++] = options->rundir;
    }
    for (size_t i = 0; i < options->n_drivers; i++) {
        argv[n++] = "--driver";
        argv[n++] = driver_command(folder, options->drivers[i]);
    }
    argv[n++] = "--run";
    argv[n++] = run_command(folder, options->program);
    argv[n] = NULL;
    if (!argv[n - 1]) {
        say("out of memory");
        return EXIT_FAILED;
    }
    r = forget_session(options->rundir); /* a server of its own has a folder of its own */
    if (r < 0) {
        say("%s", strerror(-r));
        return EXIT_FAILED;
    }
    (void)execv(mused, (char *const *)(uintptr_t)argv); /* execv(3) does not change them */
    say("%s: %s", mused, strerror(errno));
    return EXIT_FAILED;
}

static int run_program(const struct options *options)
{
    int error;

    if (set_rundir(options) < 0 || check_server() < 0 || set_preload() < 0)
        return EXIT_FAILED;
    (void)execvp(options->program[0], options->program);
    error = errno;
    say("%s: %s", options->program[0], strerror(error));
    return error == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        .options = option_list,
        .parser = on_option,
        .args_doc = "PROGRAM [ARG...]",
        .doc =
            "Run an unmodified program that finds objects of drivers under /muse/DRIVER/OBJECT."};
    struct options options = {0};
    int status;

    argp_err_exit_status = EXIT_USAGE;
    if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &options) != 0)
        return EXIT_USAGE;
    status = check_program(options.program[0]);
    if (status != 0)
        return status;
    return options.n_drivers > 0 ? run_captive(&options) : run_program(&options);
}
