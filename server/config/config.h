/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server's settings: defaults, the configuration file (an INI file, read with inih), the
 * command line, in this order. One list of keys makes the parser, --print-config and mused.conf(5).
 */
#ifndef MUSE_SERVER_CONFIG_H
#define MUSE_SERVER_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "common/base/must.h"

#define CONFIG_DRIVERS_MAX   64u
#define CONFIG_OVERRIDES_MAX 64u

/* section, key, field, kind, default, help */
#define CONFIG_KEYS(X)                                                                             \
    X(server, rundir, rundir, TEXT, "",                                                            \
      "folder of the sockets; empty: $MUSE_RUNDIR, /run/muse, or $XDG_RUNTIME_DIR/muse")           \
    X(server, contract, contract, TEXT, "muse", "muse, or kernel-v1 for the rows that differ")     \
    X(server, memory, memory_bytes, SIZE, "0", "bound of all page caches together; 0: none")       \
    X(server, client_mode, client_mode, MODE, "0666", "permissions of client.sock")                \
    X(server, driver_mode, driver_mode, MODE, "0600", "permissions of driver.sock")                \
    X(server, control_mode, control_mode, MODE, "0600", "permissions of control.sock")             \
    X(server, hand_out_uffd, hand_out_uffd, TEXT, "all",                                           \
      "who gets a userfaultfd from the server: all, root, none, or a uid")                         \
    X(server, spin_us, spin_us, COUNT, "50",                                                       \
      "how long to look for the next fault before sleeping, while they follow each other")         \
    X(limits, arena, arena_bytes, SIZE, "1T", "default address range of a client")                 \
    X(limits, max_vmas, max_vmas, COUNT, "65530", "mappings of one space")                         \
    X(deadlines, hook_ms, hook_deadline_ms, COUNT, "10000", "a driver's hook")                     \
    X(deadlines, writeback_ms, writeback_ms, COUNT, "5000",                                        \
      "how long a page may be dirty before it is written back")                                    \
    X(deadlines, return_ms, return_ms, COUNT, "60000",                                             \
      "how long what was written waits for a dead driver to come back")                            \
    X(deadlines, install_ms, install_deadline_ms, COUNT, "5000", "a client's mmap, after prepare") \
    X(deadlines, fork_ms, fork_deadline_ms, COUNT, "10000",                                        \
      "a client's fork, and its child's coming")                                                   \
    X(debug, touches, touches, TEXT, "", "record the pages that faults are about in this file")

struct config {
    char rundir[96]; /* sockets must fit sun_path */
    char contract[16];
    char hand_out_uffd[16];
    char touches[128];
    uint64_t memory_bytes, arena_bytes;
    uint64_t client_mode, driver_mode, control_mode;
    uint64_t max_vmas, hook_deadline_ms, install_deadline_ms, fork_deadline_ms, writeback_ms,
        return_ms, spin_us;
    uint64_t install_deadline_ns, fork_deadline_ns; /* derived */
    bool kernel_v1;                                 /* derived */
    struct config_override {
        char driver[40];
        uint64_t hook_ms;
    } overrides[CONFIG_OVERRIDES_MAX]; /* [driver NAME] hook_ms */
    unsigned n_overrides;
    struct config_limit {
        char key[32];
        uint64_t value;
    } limits[32]; /* [quota] KEY = VALUE, per uid */
    unsigned n_limits;
    char *drivers[CONFIG_DRIVERS_MAX]; /* owned: to supervise: [drivers] NAME = CMD, --driver */
    unsigned n_drivers;
};

/** config_init() - the defaults */
void config_init(struct config *config);
void config_done(struct config *config);

/**
 * config_load() - read a configuration file over what is there
 * @ret_why: on failure: one sentence with the line, owned by the caller (free)
 *
 * Return: 0; -ENOENT, -EINVAL, ...
 */
MUST_CHECK int config_load(struct config *config, const char *path, char **ret_why);

/** config_set() - one value as in the file. Return: 0; -ENOENT no such key; -EINVAL bad value. */
MUST_CHECK int config_set(struct config *config, const char *section, const char *key,
                          const char *value);

/** config_add_driver() - a command line to start and supervise.
 * Return: 0; -EINVAL empty or not one line; -ENOSPC, -ENOMEM. */
MUST_CHECK int config_add_driver(struct config *config, const char *command);

/** config_finish() - fill in what is derived, choose the rundir. @ret_why: static.
 * Return: 0; -EINVAL. */
MUST_CHECK int config_finish(struct config *config, const char **ret_why);

/** config_print() - all settings as a configuration file */
void config_print(const struct config *config, FILE *out);

/** config_hook_deadline_ns() - of the driver called @name */
uint64_t config_hook_deadline_ns(const struct config *config, const char *name);

/** config_hands_out_uffd() - whether @uid gets a userfaultfd from the server */
bool config_hands_out_uffd(const struct config *config, uid_t uid);

#endif
