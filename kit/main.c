/* SPDX-License-Identifier: BSD-3-Clause */
/* muse-driver-check: libmuse-check as a program. Prints a line for each path, or one JSON document. */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <muse/check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/number.h"
#include "common/base/own.h"

enum {
    OPTION_OBJECT = 0x2001,
    OPTION_SIZE,
    OPTION_WRITE,
    OPTION_SEED,
    OPTION_ONLY,
    OPTION_LIST,
    OPTION_JSON,
    OPTION_DEADLINE,
    OPTION_NO_SERVER
};

struct arguments {
    struct muse_check_options options;
    bool is_json, is_list, has_no_server;
};

const char *argp_program_version = "muse-driver-check " MUSE_VERSION;

static const char *verdict_name(enum muse_check_verdict verdict)
{
    switch (verdict) {
    case MUSE_CHECK_PASS:
        return "pass";
    case MUSE_CHECK_FAIL:
        return "FAIL";
    case MUSE_CHECK_NOT_APPLICABLE:
        return "n/a";
    }
    return "?";
}

static void print_text(const struct muse_check_report *report, uint64_t seed)
{
    unsigned n_passed = 0;

    for (unsigned i = 0; i < report->n_results; i++) {
        const struct muse_check_result *result = &report->results[i];

        printf("%-4s %-33s %s%s%s\n", verdict_name(result->verdict), result->path, result->row,
               result->why[0] ? ": " : "", result->why);
        n_passed += result->verdict == MUSE_CHECK_PASS;
    }
    printf("prepared %" PRIu64 " = completed %" PRIu64 " + aborted %" PRIu64 "; seed %" PRIu64
           "\n%u passed, %u failed, %u not applicable\n",
           report->n_prepared, report->n_completed, report->n_aborted, seed, n_passed,
           report->n_failed, report->n_results - n_passed - report->n_failed);
}

static int print_json(const struct muse_check_report *report, uint64_t seed)
{
    json_t *document = json_object();
    json_t *results = json_array();
    int r;

    for (unsigned i = 0; i < report->n_results; i++) {
        const struct muse_check_result *result = &report->results[i];

        (void)json_array_append_new(
            results, json_pack("{s:s, s:s, s:s, s:s}", "path", result->path, "row", result->row,
                               "verdict", verdict_name(result->verdict), "why", result->why));
    }
    (void)json_object_set_new(document, "paths", results);
    (void)json_object_set_new(document, "failed", json_integer(report->n_failed));
    (void)json_object_set_new(document, "prepared", json_integer((json_int_t)report->n_prepared));
    (void)json_object_set_new(document, "completed", json_integer((json_int_t)report->n_completed));
    (void)json_object_set_new(document, "aborted", json_integer((json_int_t)report->n_aborted));
    (void)json_object_set_new(document, "seed", json_integer((json_int_t)seed));
    r = json_dumpf(document, stdout, JSON_INDENT(2));
    json_decref(document);
    printf("\n");
    return r;
}

static void print_list(void)
{
    const char *path, *row;

    for (unsigned i = 0; muse_check_path(i, &path, &row); i++)
        printf("%-33s %s\n", path, row);
}

/* mused beside this program. */
static char *find_mused(void)
{
    char self[4096];
    const ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash, *path;

    if (n < 0)
        return NULL;
    self[n] = '\0';
    slash = strrchr(self, '/');
    if (asprintf(&path, "%.*s/mused", slash ? (int)(slash - self) : 0, self) < 0)
        return NULL;
    if (access(path, X_OK) == 0)
        return path;
    free(path);
    return NULL;
}

static uint64_t number_of(const char *arg, const char *name, struct argp_state *state)
{
    uint64_t number = 0;

    if (number_parse(arg, 10, UINT64_MAX, &number) < 0)
        argp_error(state, "--%s=%s: a number", name, arg);
    return number;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    struct muse_check_options *options = &arguments->options;

    switch (key) {
    case OPTION_OBJECT:
        options->object = arg;
        return 0;
    case OPTION_SIZE:
        if (size_parse(arg, &options->size_bytes) < 0)
            argp_error(state, "--size=%s: a number of bytes, or with K, M, G, T", arg);
        return 0;
    case OPTION_WRITE:
        options->oflags = O_RDWR | O_CREAT;
        return 0;
    case OPTION_SEED:
        options->seed = number_of(arg, "seed", state);
        return 0;
    case OPTION_DEADLINE:
        options->deadline_ms = (unsigned)number_of(arg, "deadline", state);
        return 0;
    case OPTION_ONLY:
        options->only = arg;
        return 0;
    case OPTION_LIST:
        arguments->is_list = true;
        return 0;
    case OPTION_JSON:
        arguments->is_json = true;
        return 0;
    case OPTION_NO_SERVER:
        arguments->has_no_server = true;
        return 0;
    case ARGP_KEY_ARG:
        if (options->command)
            argp_error(state, "one DRIVERCMD, in quotes, please");
        options->command = arg;
        return 0;
    case ARGP_KEY_END:
        if (!arguments->is_list && (!options->command || !options->object))
            argp_error(state, "which DRIVERCMD, and which --object?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static bool is_path(const char *name)
{
    const char *path, *row;

    for (unsigned i = 0; muse_check_path(i, &path, &row); i++) {
        if (strcmp(path, name) == 0)
            return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"object", OPTION_OBJECT, "NAME", 0, "Open and map this object of the driver", 0},
        {"size", OPTION_SIZE, "SIZE", 0, "Give the object this size first", 0},
        {"write", OPTION_WRITE, NULL, 0, "Open it for writing, and write to it", 0},
        {"seed", OPTION_SEED, "N", 0, "Of the random schedules (else the clock)", 0},
        {"deadline", OPTION_DEADLINE, "MS", 0, "For each answer (2000)", 0},
        {"only", OPTION_ONLY, "PATH", 0, "Only this path", 0},
        {"list", OPTION_LIST, NULL, 0, "Print the paths, and run nothing", 0},
        {"json", OPTION_JSON, NULL, 0, "Print one JSON document", 0},
        {"no-server", OPTION_NO_SERVER, NULL, 0, "Without the path that needs mused", 0},
        {0}};
    static const struct argp argp = {
        options, parse_option, "DRIVERCMD", "Runs a driver through each path of the hook contract.",
        NULL,    NULL,         NULL};
    struct arguments arguments = {
        .options = {.struct_size = sizeof(arguments.options), .seed = (uint64_t)time(NULL)}};
    CLEAN(free_p) char *mused = find_mused();
    struct muse_check_report report;
    int r;

    argp_err_exit_status = 2;
    (void)argp_parse(&argp, argc, argv, 0, NULL, &arguments);
    if (arguments.is_list) {
        print_list();
        return 0;
    }
    if (arguments.options.only && !is_path(arguments.options.only)) {
        (void)fprintf(stderr, "muse-driver-check: --only: %s: no such path; see --list\n",
                      arguments.options.only);
        return 2;
    }
    arguments.options.mused = arguments.has_no_server ? NULL : mused;
    r = muse_check_run(&arguments.options, &report);
    if (arguments.is_json)
        (void)print_json(&report, arguments.options.seed);
    else
        print_text(&report, arguments.options.seed);
    return r < 0 || report.n_failed > 0;
}
