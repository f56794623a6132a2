/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-faulty: a driver for tests that refuses, delays, lies, sleeps and dies when the name of a
 * file says so. One process serves many behaviours at once: faulty/LABEL[,KEY=VALUE]..., see
 * muse-faulty(1). Main, options, registration.
 */
#include "drivers/faulty/faulty.h"

#include <argp.h>
#include <stdio.h>
#include <string.h>

#include "common/base/own.h"

enum {
    OPTION_REGISTER = 0x3001,
    OPTION_LEGACY,
    OPTION_NO_HOOKS,
    OPTION_NO_COMPLETE,
    OPTION_REPORT
};

static int faulty_start(struct muse_driver *driver, void *user)
{
    struct faulty *faulty = user;

    faulty->driver = driver;
    list_init(&faulty->objects);
    list_init(&faulty->files);
    list_init(&faulty->calls);
    list_init(&faulty->revokes);
    return delays_start(&faulty->delays);
}

/* For tests that end the server: nobody can read faulty/counters then. */
static void write_report(struct faulty *faulty)
{
    char text[COUNTERS_BYTES];
    FILE *file = faulty->report ? fopen(faulty->report, "we") : NULL;

    if (!file)
        return;
    faulty_counters_text(faulty, text);
    (void)fputs(text, file); /* who reads it sees that it is not there */
    (void)fclose(file);
}

static void faulty_stop(void *user)
{
    struct faulty *faulty = user;

    write_report(faulty);
    revokes_done(faulty);
    delays_stop(&faulty->delays);
    faulty_calls_done(faulty);
    faulty_objects_done(faulty);
}

static const struct muse_driver_ops all_hooks = {
    MUSE_DRIVER_OPS,
    .name = "faulty",
    .version = "0.1.0",
    .vm_ops = faulty_vm_ops,
    .start = faulty_start,
    .stop = faulty_stop,
    .open = faulty_open,
    .release = faulty_release,
    .getattr = faulty_getattr,
    .mmap_prepare = faulty_mmap_prepare,
    .mmap_complete = faulty_mmap_complete,
    .mmap_abort = faulty_mmap_abort,
    .fault = faulty_fault,
    .object_gone = faulty_object_gone,
    .getattr_path = faulty_getattr_path,
    .readdir = faulty_readdir,
    .readlink = faulty_readlink,
    .setattr_path = faulty_setattr_path,
};

/* Return: whether the word is one. */
static bool choose_hooks(const char *word, struct muse_driver_ops *ops)
{
    if (is_word(word, "complete-without-prepare")) {
        ops->mmap_prepare = NULL;
        ops->mmap_abort = NULL;
    } else if (is_word(word, "abort-without-prepare")) {
        ops->mmap_prepare = NULL;
        ops->mmap_complete = NULL;
    } else if (is_word(word, "abort-without-complete")) {
        ops->mmap_complete = NULL;
    } else if (is_word(word, "writes")) {
        ops->writeback = faulty_writeback;
        ops->fsync = faulty_fsync;
    } else if (is_word(word, "no-complete")) {
        ops->mmap_complete = NULL;
        ops->mmap_abort = NULL;
    } else if (is_word(word, "mmap-and-prepare")) {
        ops->mmap = faulty_mmap;
    } else if (is_word(word, "legacy") || is_word(word, "no-hooks") || is_word(word, "none")) {
        ops->mmap_prepare = NULL;
        ops->mmap_complete = NULL;
        ops->mmap_abort = NULL;
        if (is_word(word, "legacy"))
            ops->mmap = faulty_mmap;
        if (is_word(word, "none")) {
            ops->open = NULL;
            ops->release = NULL;
            ops->getattr = NULL;
            ops->fault = NULL;
        }
    } else {
        return word[0] == '\0';
    }
    return true;
}

/* What is registered has to be known before the SDK looks at the options. "": nothing is said. */
static const char *find_registered(int argc, char **argv)
{
    static const char option[] = "--register=";

    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], option, sizeof(option) - 1) == 0)
            return argv[i] + sizeof(option) - 1;
        if (strcmp(argv[i], "--legacy") == 0 || strcmp(argv[i], "--no-hooks") == 0 ||
            strcmp(argv[i], "--no-complete") == 0)
            return argv[i] + 2;
    }
    return "";
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct faulty *faulty = state->input;
    struct muse_driver_ops ops = all_hooks;

    switch (key) {
    case OPTION_REGISTER:
        if (strcmp(argument, faulty->registered) != 0) {
            argp_error(state, "write --register=%s as one word, and once", argument);
        } else if (!choose_hooks(argument, &ops)) {
            argp_error(state, "--register=%s: not known", argument);
        }
        return 0;
    case OPTION_LEGACY:
    case OPTION_NO_HOOKS:
    case OPTION_NO_COMPLETE:
        return 0;
    case OPTION_REPORT:
        faulty->report = argument;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"register", OPTION_REGISTER, "WHAT", 0,
         "writes: the hooks for written pages as well; complete-without-prepare, "
         "abort-without-prepare, abort-without-complete, mmap-and-prepare or none: combinations of "
         "hooks the server has to refuse",
         1},
        {"legacy", OPTION_LEGACY, NULL, 0, "Register the single mmap hook instead of the three", 1},
        {"no-complete", OPTION_NO_COMPLETE, NULL, 0, "Register mmap_prepare alone", 1},
        {"report", OPTION_REPORT, "FILE", 0, "Write the counters to FILE when the driver ends", 1},
        {"no-hooks", OPTION_NO_HOOKS, NULL, 0, "Register no mapping hook at all", 1},
        {0},
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse_option,
        .doc = "A driver for tests that misbehaves when the name of a file says so.",
    };
    struct faulty faulty = {.registered = find_registered(argc, argv)};
    struct muse_driver_ops ops = all_hooks;

    (void)choose_hooks(faulty.registered, &ops); /* an unknown word: parse_option() complains */
    ops.argp = &argp;
    return muse_driver_main(argc, argv, &ops, &faulty);
}
