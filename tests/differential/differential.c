/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Muse against the kernel: random scripts of calls and accesses, by one process or several, on
 * objects and on plain files of the same bytes. The first difference is shrunk and printed as a
 * script that --script takes.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/differential/generate.h"
#include "tests/differential/shrink.h"

#define SCRIPT_STEPS 10000u /* chosen: many states, and yet a server that started a second ago */
#define SCRIPTS_MAX  64u
#define PRINTED_MAX  100u /* longer scripts are only saved */

static const char usage[] =
    "usage: differential [OPTION...]\n"
    "  --seed N         else MUSE_SEED, else the clock; a script of 10000 steps has the next one\n"
    "  --steps N        of all scripts together (10000)\n"
    "  --processes N    at most, 1 to 4 (4)\n"
    "  --script FILE    play this one; may be given several times\n"
    "  --save FILE      where a script that fails goes (/tmp/differential-SEED.script)\n"
    "  --no-shrink      do not make it short\n"
    "  --generate       print the scripts, and play nothing\n"
    "  --deadline MS    for one step (20000)\n"
    "  --mistake NAME   protect, store, crash, hang: make one in Muse's world\n"
    "  --log            print the server's log when something was found\n"
    "  --differences    list what differs on purpose\n";

struct options {
    uint64_t seed, n_steps;
    unsigned n_processes;
    const char *scripts[SCRIPTS_MAX], *save;
    unsigned n_scripts;
    bool no_shrink, only_generate;
    struct attempt_options attempt;
};

/* ---- what was found ---- */

static void save(const struct script *script, const struct options *options, uint64_t seed)
{
    char path[64];
    FILE *stream;

    (void)snprintf(path, sizeof(path), "/tmp/differential-%" PRIu64 ".script", seed);
    stream = fopen(options->save ? options->save : path, "we");
    if (!stream) {
        (void)fprintf(stderr, "differential: %s cannot be written\n",
                      options->save ? options->save : path);
        return;
    }
    script_print(script, stream);
    (void)fclose(stream);
    printf("to repeat: --script %s\n", options->save ? options->save : path);
}

static void tell(const struct script *script, const struct finding *finding)
{
    char text[256] = "the end";

    if (finding->step < script->n_steps)
        script_step_text(&script->steps[finding->step], text, sizeof(text));
    printf("step %zu of %zu (%s): %s\n", finding->step, script->n_steps, text, finding->text);
}

/* Return: whether nothing was found. */
static bool play_one(struct script *script, const struct options *options, uint64_t seed)
{
    struct finding finding;
    unsigned n_attempts;

    attempt(script, &options->attempt, &finding);
    if (finding.kind == FOUND_NOTHING)
        return true;
    tell(script, &finding);
    (void)fflush(stdout);
    if (!options->no_shrink) {
        n_attempts = shrink(script, &options->attempt, &finding);
        printf("shrunk to %zu steps in %u attempts\n", script->n_steps, n_attempts);
        tell(script, &finding);
    }
    if (script->n_steps <= PRINTED_MAX)
        script_print(script, stdout);
    save(script, options, seed);
    return false;
}

static int play_script(const struct options *options, const char *path)
{
    struct script script;
    bool good;

    if (script_read(path, &script) < 0)
        return 2;
    printf("%s: %zu steps\n", path, script.n_steps);
    good = play_one(&script, options, 0);
    script_done(&script);
    return good ? 0 : 1;
}

static int play_scripts(const struct options *options)
{
    int status = 0;

    for (unsigned i = 0; i < options->n_scripts; i++) {
        const int one = play_script(options, options->scripts[i]);

        status = status ? status : one;
    }
    if (status == 0)
        printf("no difference\n");
    return status;
}

static int play_random(const struct options *options)
{
    uint64_t left = options->n_steps, seed = options->seed;
    struct script script;
    bool good = true;

    printf("MUSE_SEED=%" PRIu64 "\n", seed);
    for (; good && left > 0; seed++) {
        const uint64_t n = left < SCRIPT_STEPS ? left : SCRIPT_STEPS;

        generate(seed, n, options->n_processes, &script);
        if (options->only_generate)
            script_print(&script, stdout);
        else if (!(good = play_one(&script, options, seed)))
            printf("MUSE_SEED=%" PRIu64 ", %u processes\n", seed, options->n_processes);
        script_done(&script);
        left -= n;
    }
    if (good)
        printf("%" PRIu64 " steps, no difference\n", options->n_steps);
    return good ? 0 : 1;
}

/* ---- options ---- */

static int list_differences(void)
{
    for (const struct difference *one = differences(); one->name; one++)
        printf("%s: %s\n", one->name, one->reason);
    return 0;
}

static void default_options(struct options *ret)
{
    const char *seed = getenv("MUSE_SEED");

    *ret = (struct options){.seed = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL),
                            .n_steps = SCRIPT_STEPS,
                            .n_processes = ACTORS_MAX,
                            .attempt = {.deadline_ms = 20000}};
}

static bool set_option(struct options *options, int option)
{
    switch (option) {
    case 's':
        options->seed = strtoull(optarg, NULL, 0);
        return true;
    case 'n':
        options->n_steps = strtoull(optarg, NULL, 0);
        return true;
    case 'p':
        options->n_processes = (unsigned)strtoul(optarg, NULL, 0);
        return options->n_processes >= 1 && options->n_processes <= ACTORS_MAX;
    case 'f':
        if (options->n_scripts == SCRIPTS_MAX)
            return false;
        options->scripts[options->n_scripts++] = optarg;
        return true;
    case 'o':
        options->save = optarg;
        return true;
    case 'k':
        options->no_shrink = true;
        return true;
    case 'g':
        options->only_generate = true;
        return true;
    case 'd':
        options->attempt.deadline_ms = (unsigned)strtoul(optarg, NULL, 0);
        return true;
    case 'v':
        options->attempt.shows_log = true;
        return true;
    case 'm':
        return mistake_find(optarg, &options->attempt.mistake);
    default:
        return false;
    }
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"seed", required_argument, NULL, 's'},      {"steps", required_argument, NULL, 'n'},
        {"processes", required_argument, NULL, 'p'}, {"script", required_argument, NULL, 'f'},
        {"save", required_argument, NULL, 'o'},      {"no-shrink", no_argument, NULL, 'k'},
        {"generate", no_argument, NULL, 'g'},        {"deadline", required_argument, NULL, 'd'},
        {"mistake", required_argument, NULL, 'm'},   {"log", no_argument, NULL, 'v'},
        {"differences", no_argument, NULL, 'l'},     {NULL, 0, NULL, 0},
    };
    struct options options;
    int option;

    default_options(&options);
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (option == 'l')
            return list_differences();
        if (!set_option(&options, option)) {
            (void)fputs(usage, stderr);
            return 2;
        }
    }
    return options.n_scripts > 0 ? play_scripts(&options) : play_random(&options);
}
