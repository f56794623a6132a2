/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Coverage buffers by name: what Linux's struct kcov is for an open file of /sys/kernel/debug/kcov.
 * One lives as long as somebody has it open or mapped; its memory comes once, with its size.
 */
#ifndef MUSE_DRIVERS_KCOV_AREA_H
#define MUSE_DRIVERS_KCOV_AREA_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/list.h"
#include "common/base/must.h"

#define KCOV_NAME_MAX   64u /* bytes, with the NUL */
#define KCOV_NAME_TEXT  "letters, digits, '_', '-' and '.', not at the beginning, at most 63"
#define KCOV_WORD_BYTES 8u
#define KCOV_WORDS_MIN  2u /* the count and one PC */
#define KCOV_WORDS_MAX  ((uint64_t)INT_MAX / KCOV_WORD_BYTES)

struct kcov {
    struct list node;
    char name[KCOV_NAME_MAX];
    uint64_t key;
    uid_t uid; /* who made it: the owner */
    gid_t gid;
    uint64_t n_bytes; /* 0: no memory yet */
    int fd;           /* owned; for writing */
    int fd_ro;        /* owned; for clients that only read */
    uint64_t n_refs;  /* open files */
};

struct kcovs {
    struct list all;
    uint64_t n_all, n_all_max;
    uint64_t n_bytes, n_bytes_max; /* of all of them */
    uint64_t next_key;
};

/** kcovs_init() - none yet, and how many there may be */
void kcovs_init(struct kcovs *kcovs, uint64_t n_all_max, uint64_t n_bytes_max);

/** kcovs_done() - free them all, users or not */
void kcovs_done(struct kcovs *kcovs);

/** kcov_name_is_legal() - KCOV_NAME_TEXT */
MUST_CHECK bool kcov_name_is_legal(const char *name);

/** kcovs_find() - by name. Return: borrowed; NULL */
struct kcov *kcovs_find(const struct kcovs *kcovs, const char *name);

/**
 * kcovs_new() - one without memory, with one user
 * @name: legal, and not there yet
 *
 * Return: 0; -ENFILE too many; -ENOMEM.
 */
MUST_CHECK int kcovs_new(struct kcovs *kcovs, const char *name, uid_t uid, gid_t gid,
                         struct kcov **ret_kcov);

/** kcov_ref() - one more user */
void kcov_ref(struct kcov *kcov);

/** kcov_unref() - the last one frees it */
void kcov_unref(struct kcovs *kcovs, struct kcov *kcov);

/**
 * kcov_init() - KCOV_INIT_TRACE: memory of @n_bytes
 * @ret_why: a static sentence when it fails
 *
 * Return: 0; -EINVAL no number of words, fewer than 2, or too many; -ENOMEM; -EBUSY it has memory.
 */
MUST_CHECK int kcov_init(struct kcovs *kcovs, struct kcov *kcov, uint64_t n_bytes,
                         const char **ret_why);

/**
 * kcov_check_mmap() - whether such a mapping can be
 *
 * Return: 0; -EINVAL.
 */
MUST_CHECK int kcov_check_mmap(const struct kcov *kcov, uint64_t pgoff, uint64_t n_bytes,
                               const char **ret_why);

#endif
