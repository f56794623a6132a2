/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libmuse-check: is a driver right? Runs a driver, unchanged, through each path of docs/contract.md:
 * what begins with mmap_prepare ends with exactly one of complete and abort, whatever fails in
 * between; and looks from outside that nothing is held afterwards. muse-driver-check(1) is this as a
 * program.
 */
#ifndef MUSE_CHECK_H
#define MUSE_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct muse_check_options {
    size_t struct_size;   /* sizeof(struct muse_check_options) */
    const char *command;  /* the driver's, for sh(1): it finds its server by MUSE_RUNDIR */
    const char *object;   /* below the driver's name: what is opened and mapped */
    int oflags;           /* O_RDONLY, or O_RDWR: then what clients may write is written */
    uint64_t seed;        /* of the random schedules */
    unsigned deadline_ms; /* for each answer; 0: 2000 */
    const char *only;     /* one path; NULL: all */
    const char *mused;    /* the server's program, for the paths with real clients; NULL: not run */
    uint64_t size_bytes;  /* given to the object (truncate) once it is open; 0: it has its own */
};

enum muse_check_verdict { MUSE_CHECK_PASS, MUSE_CHECK_FAIL, MUSE_CHECK_NOT_APPLICABLE };

struct muse_check_result {
    const char *path; /* static: "aborted_after_prepare" */
    const char *row;  /* static: what of the contract it is about */
    enum muse_check_verdict verdict;
    char why[256]; /* of a failure: what the driver did; or why it does not apply */
};

#define MUSE_CHECK_PATHS_MAX 32u

struct muse_check_report {
    struct muse_check_result results[MUSE_CHECK_PATHS_MAX];
    unsigned n_results, n_failed;
    uint64_t n_prepared, n_completed, n_aborted; /* what was played, of all paths */
};

/**
 * muse_check_run() - run a driver through all paths
 * @options:    borrowed
 * @ret_report: the caller's
 *
 * Return: 0: see n_failed; -1 and errno: the driver cannot be run at all (the first result says why).
 */
int muse_check_run(const struct muse_check_options *options, struct muse_check_report *ret_report);

/** muse_check_path() - name and row of the @index'th path. Return: false behind the last. */
bool muse_check_path(unsigned index, const char **ret_path, const char **ret_row);

#ifdef __cplusplus
}
#endif

#endif
