/* SPDX-License-Identifier: BSD-3-Clause */
/* mused: arguments, the log's sink, exit status. */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/log.h"
#include "server/config/config.h"
#include "server/server.h"

#ifndef MUSE_VERSION
#define MUSE_VERSION "unknown"
#endif

/* argp's own variable, so it must be seen although all else here is hidden */
__attribute__((visibility("default"))) const char *argp_program_version = "mused " MUSE_VERSION;

struct options {
    struct config config;
    const char *run;
    bool print_config;
    enum log_level level;
    char captive_dir[64];
};

enum { OPT_PRINT_CONFIG = 256, OPT_RUN };

static const struct argp_option option_list[] = {
    {"rundir", 'r', "DIR", 0, "Folder of the sockets", 0},
    {"config", 'c', "FILE", 0, "Read settings from FILE; see mused.conf(5)", 0},
    {"driver", 'd', "CMD", 0, "Start a driver process and supervise it; may be repeated", 0},
    {"memory", 'm', "SIZE", 0, "Bound of all page caches together, as 512M or 2G", 0},
    {"run", OPT_RUN, "CMD", 0, "Captive mode: a private server; run CMD and exit with its status",
     0},
    {"print-config", OPT_PRINT_CONFIG, NULL, 0,
     "Print the settings as a configuration file and exit", 0},
    {"verbose", 'v', NULL, 0, "Log every transition; twice the same as once", 0},
    {0},
};

static void on_log(void *ctx, enum log_level level, const char *line, size_t len)
{
    struct timespec now;

    (void)ctx;
    (void)level;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)fprintf(stderr, "time=%lld.%06ld %.*s\n", (long long)now.tv_sec, now.tv_nsec / 1000,
                  (int)len, line);
}

static void load_config(struct argp_state *state, struct options *options, const char *path)
{
    char *why = NULL;
    int r = config_load(&options->config, path, &why);

    if (r < 0)
        argp_failure(state, 2, 0, "%s: %s", path, why ? why : strerror(-r));
}

static bool is_blank(const char *text)
{
    return text[strspn(text, " \t\n")] == '\0';
}

static void add_driver(struct argp_state *state, struct options *options, const char *command)
{
    int r = is_blank(command) ? -ENODATA : config_add_driver(&options->config, command);

    if (r == -ENODATA)
        argp_error(state, "--driver: no command is given");
    else if (r == -ENOSPC)
        argp_error(state, "--driver: %s: more than %u drivers", command, CONFIG_DRIVERS_MAX);
    else if (r == -EINVAL)
        argp_error(state, "--driver: %s: not one line without space around it", command);
    else if (r < 0)
        argp_failure(state, 1, -r, "--driver");
}

static error_t on_option(int key, char *arg, struct argp_state *state)
{
    struct options *options = state->input;

    switch (key) {
    case 'r':
        if (arg[0] == '\0')
            argp_error(state, "--rundir: no folder is named");
        if (config_set(&options->config, "server", "rundir", arg) < 0)
            argp_error(state, "--rundir: %s: too long for a socket's name", arg);
        return 0;
    case 'c':
        load_config(state, options, arg);
        return 0;
    case 'd':
        add_driver(state, options, arg);
        return 0;
    case 'm':
        if (config_set(&options->config, "server", "memory", arg) < 0)
            argp_error(state, "--memory: %s: not a size", arg);
        return 0;
    case OPT_RUN:
        if (is_blank(arg))
            argp_error(state, "--run: no command is given");
        options->run = arg;
        return 0;
    case OPT_PRINT_CONFIG:
        options->print_config = true;
        return 0;
    case 'v':
        options->level = LOG_LEVEL_DEBUG;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "%s: no arguments but options are known", arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

#define CAPTIVE_DIR "/tmp/mused.XXXXXX"

/* A captive server without a folder of its own gets a private one. Return: 0; -errno. */
static int make_captive_dir(struct options *options)
{
    (void)snprintf(options->captive_dir, sizeof(options->captive_dir), CAPTIVE_DIR);
    if (!mkdtemp(options->captive_dir) || chmod(options->captive_dir, 0755) < 0)
        return -errno;
    return config_set(&options->config, "server", "rundir", options->captive_dir);
}

/* Everything that can be wrong with the settings is, before anything is made.
 * Return: 0; 2 the exit status. */
static int check_config(struct options *options, bool is_captive)
{
    const char *why = NULL;

    if (is_captive) /* as long as the name it will have */
        MUST(config_set(&options->config, "server", "rundir", CAPTIVE_DIR) == 0);
    if (config_finish(&options->config, &why) < 0) {
        (void)fprintf(stderr, "mused: configuration: %s\n", why);
        return 2;
    }
    if (is_captive)
        MUST(config_set(&options->config, "server", "rundir", "") == 0);
    return 0;
}

static int run(struct options *options)
{
    const bool is_captive = options->run && options->config.rundir[0] == '\0';
    struct server *server;
    const char *why = NULL;
    int status = check_config(options, is_captive);
    int r;

    if (status != 0)
        return status;
    if (options->print_config) {
        config_print(&options->config, stdout);
        return 0;
    }
    r = is_captive ? make_captive_dir(options) : 0;
    if (r < 0) {
        (void)fprintf(stderr, "mused: captive folder: %s\n", strerror(-r));
        return 1;
    }
    r = server_new(&server, &options->config, options->run, &why);
    if (r < 0) {
        (void)fprintf(stderr, "mused: %s: %s\n", why, strerror(-r));
        status = 1;
    } else {
        status = server_run(server);
        server_free(server);
    }
    if (options->captive_dir[0] != '\0')
        (void)rmdir(options->captive_dir);
    return status;
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        option_list, on_option, NULL, "The Muse pager server: mappings in userspace.",
        NULL,        NULL,      NULL};
    struct options options = {.level = LOG_LEVEL_INFO};
    int status;

    argp_err_exit_status = 2;
    config_init(&options.config);
    if (argp_parse(&argp, argc, argv, 0, NULL, &options) != 0)
        return 2;
    if (options.run && options.level == LOG_LEVEL_INFO)
        options.level = LOG_LEVEL_WARN; /* the terminal is the command's */
    log_set_sink(on_log, NULL, options.level);
    status = run(&options);
    config_done(&options.config);
    return status;
}
