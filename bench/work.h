/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a reader does, whatever it reads from: the command line, the kinds of work, and the order of
 * map, cold check, advice and touch. A reader (reader.c, muse_reader.c, the client in uffd_bare.c)
 * brings the calls that map its memory.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORK_EXIT_FAILED 1
#define WORK_EXIT_USAGE  2
#define WORK_EXIT_WARM   3 /* --cold was asked for and pages were resident already */

enum work_kind {
    WORK_SEQ,      /* visit pages in order */
    WORK_RAND,     /* visit pages in random order, under MADV_RANDOM */
    WORK_HOLD,     /* visit all, say so, keep the mapping until standard input ends */
    WORK_ZIPF,     /* visit pages by a zipfian draw, under MADV_RANDOM */
    WORK_MIX,      /* the same, and every fourth visit is the next page of a scan */
    WORK_MAPUNMAP, /* map and unmap one page, many times */
};

struct work_options {
    enum work_kind kind;
    const char *target; /* path or object; borrowed from argv */
    uint64_t size_bytes;
    uint64_t n_ops; /* pages to visit or pairs of calls; 0: all pages */
    uint64_t seed;
    bool cold;   /* nothing may be resident before the first touch */
    bool full;   /* read whole pages */
    bool second; /* uffd_bare only: measure a second client, a first one holds all pages */
};

/* A reader's calls, with the shape and results of their mmap(2) namesakes. @ctx is the reader's. */
struct work_target {
    void *ctx; /* borrowed */
    void *(*map)(void *ctx, size_t len);
    int (*unmap)(void *ctx, void *addr, size_t len);
    int (*advise)(void *ctx, void *addr, size_t len, int advice);
    int (*mincore)(void *ctx, void *addr, size_t len, unsigned char *vec);
};

/**
 * work_parse() - read a reader's command line
 * @argc, @argv: main's
 * @what:        what the positional argument is, for the usage text; NULL: there is none
 * @ret_options: valid as long as @argv
 *
 * Return: 0; WORK_EXIT_USAGE after telling the user; -1 when help was asked for and printed.
 */
int work_parse(int argc, char **argv, const char *what, struct work_options *ret_options);

/**
 * work_run() - do the work and print its figures as one line of JSON on standard output
 * @options: borrowed
 * @target:  borrowed
 * @quiet:   do not print the figures
 *
 * Return: exit status for the process: 0 or one of WORK_EXIT_*, explained on standard error.
 */
int work_run(const struct work_options *options, const struct work_target *target, bool quiet);
