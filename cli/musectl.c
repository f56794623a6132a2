/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * musectl: looks into a running mused through its control socket. Arguments, one request, and what
 * comes back as text (render_*.c) or as it is (--json). Decides nothing about the server.
 */
#include <argp.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/render.h"
#include "common/base/own.h"
#include "common/control/control.h"

#ifndef MUSE_VERSION
#define MUSE_VERSION "unknown"
#endif

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* argp's own variable, so it must be seen although all else here is hidden */
__attribute__((visibility("default"))) const char *argp_program_version = "musectl " MUSE_VERSION;

struct command {
    const char *word;
    unsigned min_args, max_args;
    bool can_follow;
    const char *syntax;
    render_fn *render;
};

static const struct command commands[] = {
#define X(word, min, max, follow, syntax, help) {#word, min, max, follow, syntax, render_##word},
    CLI_COMMANDS(X)
#undef X
};

struct options {
    const char *rundir;
    bool json, follow;
    const char *word;
    char *args[4];
    unsigned n_args;
};

static const struct argp_option option_list[] = {
    {"rundir", 'r', "DIR", 0, "Folder of the server's sockets", 0},
    {"json", 'j', NULL, 0, "Print the server's answer as one JSON document", 0},
    {"follow", 'f', NULL, 0, "trace: print each hook call as it ends", 0},
    {0},
};

static const char help_text[] = "Look into a running mused.\vCommands:\n"
#define X(word, min, max, follow, syntax, help) "  " syntax "\n        " help "\n"
    CLI_COMMANDS(X)
#undef X
        "\nExit status: 0 done; 1 failed, or an audit that is not ok; 2 wrong usage.";

__attribute__((format(printf, 2, 3))) static int fail(const char *what, const char *format, ...)
{
    va_list args;

    (void)fflush(stdout);
    (void)fprintf(stderr, "musectl: %s: ", what);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
    return EXIT_FAILED;
}

static const struct command *find_command(const char *word)
{
    for (size_t i = 0; i < N_ELEMENTS(commands); i++) {
        if (strcmp(commands[i].word, word) == 0)
            return &commands[i];
    }
    return NULL;
}

static void check_options(struct argp_state *state, const struct options *options)
{
    const struct command *command = options->word ? find_command(options->word) : NULL;

    if (!options->word)
        argp_error(state, "which command?");
    else if (!command)
        argp_error(state, "%s: no such command", options->word);
    else if (options->n_args < command->min_args || options->n_args > command->max_args)
        argp_error(state, "%s: usage: musectl %s", options->word, command->syntax);
    else if (options->follow && !command->can_follow)
        argp_error(state, "%s: cannot be followed", options->word);
}

static error_t on_option(int key, char *arg, struct argp_state *state)
{
    struct options *options = state->input;

    switch (key) {
    case 'r':
        options->rundir = arg;
        return 0;
    case 'j':
        options->json = true;
        return 0;
    case 'f':
        options->follow = true;
        return 0;
    case ARGP_KEY_ARG:
        if (!options->word)
            options->word = arg;
        else if (options->n_args < N_ELEMENTS(options->args))
            options->args[options->n_args++] = arg;
        else
            argp_error(state, "%s: too many arguments", arg);
        return 0;
    case ARGP_KEY_END:
        check_options(state, options);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Return: whether @buf, @size bytes, holds the folder's name. */
static bool choose_rundir(const char *wanted, char *buf, size_t size)
{
    const char *env = getenv("MUSE_RUNDIR");
    const char *xdg = getenv("XDG_RUNTIME_DIR");
    int n = -1;

    if (wanted && wanted[0] != '\0')
        n = snprintf(buf, size, "%s", wanted);
    else if (env && env[0] != '\0')
        n = snprintf(buf, size, "%s", env);
    else if (geteuid() == 0)
        n = snprintf(buf, size, "/run/muse");
    else if (xdg && xdg[0] != '\0')
        n = snprintf(buf, size, "%s/muse", xdg);
    return n > 0 && (size_t)n < size;
}

/* Return: exit status. */
static int show(const struct options *options, render_fn *render, const char *text)
{
    json_error_t error;
    json_t *document;
    bool ok;

    document = json_loads(text, 0, &error);
    if (!document)
        return fail(options->word, "the server's answer is no JSON: %s", error.text);
    if (options->json) {
        ok = !json_is_false(json_object_get(document, "ok"));
        (void)puts(text);
    } else {
        ok = render(stdout, document);
    }
    json_decref(document);
    return ok ? EXIT_SUCCESS : EXIT_FAILED;
}

/* Return: exit status. */
static int refused(const struct options *options, const char *text, int error)
{
    (void)fflush(stdout);
    (void)fprintf(stderr, "musectl: %s: ", options->word);
    print_text(stderr, text);
    (void)fprintf(stderr, " (%s)\n", strerrorname_np(error) ? strerrorname_np(error) : "?");
    return EXIT_FAILED;
}

static const char *text_of(int error)
{
    switch (error) {
    case -ETIMEDOUT:
        return "the server does not answer";
    case -ECONNRESET:
    case -EPIPE:
        return "the server has gone";
    case -EPROTO:
        return "the server's answer makes no sense";
    default:
        return strerror(-error);
    }
}

/* Return: exit status; never 0, as it ends only when something is wrong. */
static int follow(struct control *control, const struct options *options)
{
    for (;;) {
        CLEAN(free_p) char *text = NULL;
        int error = 0;
        int r = control_next(control, &text, &error);

        if (r < 0)
            return fail(options->word, "%s", text_of(r));
        if (error != 0)
            return refused(options, text, error);
        r = show(options, render_trace_entry, text);
        if (r != EXIT_SUCCESS)
            return r;
        if (fflush(stdout) != 0)
            return fail("output", "%s", strerror(errno));
    }
}

/* Return: exit status. */
static int ask(struct control *control, const struct options *options)
{
    CLEAN(free_p) char *text = NULL;
    int error = 0;
    int r = control_ask(control, options->word, options->args, options->n_args, options->follow);

    if (r == 0 && options->follow)
        return follow(control, options);
    if (r == 0)
        r = control_document(control, &text, &error);
    if (r < 0)
        return fail(options->word, "%s", text_of(r));
    if (error != 0)
        return refused(options, text, error);
    r = show(options, find_command(options->word)->render, text);
    if (fflush(stdout) != 0 || ferror(stdout))
        return fail("output", "%s", strerror(errno));
    return r;
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        option_list, on_option, "COMMAND [ARGUMENT...]", help_text, NULL, NULL, NULL};
    struct options options = {.rundir = NULL};
    struct control *control;
    char rundir[256];
    const char *why;
    int status;
    int r;

    argp_err_exit_status = EXIT_USAGE;
    argv[0] = program_invocation_short_name; /* getopt's messages begin with it */
    if (argp_parse(&argp, argc, argv, 0, NULL, &options) != 0)
        return EXIT_USAGE;
    if (!choose_rundir(options.rundir, rundir, sizeof(rundir)))
        return fail("run-time folder", "not known: use --rundir or set MUSE_RUNDIR");
    r = control_open(&control, rundir, &why);
    if (r == -EACCES || r == -EPERM)
        return fail("permission denied", "%s/control.sock is not for this user", rundir);
    if (r < 0)
        return fail(rundir, "%s: %s", why, strerror(-r));
    status = ask(control, &options);
    control_free(control);
    return status;
}
