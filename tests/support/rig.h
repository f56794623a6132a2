/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rig of an integration test: a real mused in a folder of its own, with real driver processes,
 * real sockets and this process as the client. rig_stop() checks what must hold after every test:
 * audit ok, no space, object or transaction left, no fd more than before in server, drivers and here,
 * no child, nothing in the folder.
 */
#ifndef MUSE_TESTS_SUPPORT_RIG_H
#define MUSE_TESTS_SUPPORT_RIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define RIG_DRIVERS_MAX 8

struct rig {
    char dir[64];  /* temporary: rundir, files */
    char run[80];  /* DIR/run: MUSE_RUNDIR */
    char data[80]; /* DIR/data: files to serve */
    pid_t server;
    unsigned n_fds_server; /* open in mused once all drivers had said hello */
    unsigned n_fds_self;
    struct rig_driver {
        char name[32];
        unsigned n_fds; /* open in the driver once it had said hello */
    } drivers[RIG_DRIVERS_MAX];
    unsigned n_drivers;
    bool skip_audit;      /* the test leaves a leak on purpose (kernel-v1) */
    bool skip_driver_fds; /* a driver owes an answer for ever, and keeps what belongs to it */
};

/**
 * rig_start() - start mused with drivers, wait until each has said hello; sets MUSE_RUNDIR
 * @rig:     caller's memory
 * @config:  text of a configuration file, or NULL
 * @drivers: command lines, NULL-terminated; "muse-NAME ARG..." is looked for in the build; %s:
 *           rig->data
 *
 * Fails the test when it cannot.
 */
void rig_start(struct rig *rig, const char *config, const char *const *drivers);

/** rig_stop() - check, SIGTERM, wait, check again, remove the folder */
void rig_stop(struct rig *rig);

/** rig_kill() - kill -9 the server, and remove the folder; nothing is checked */
void rig_kill(struct rig *rig);

/** rig_remove() - remove the folder of a rig whose server the test has ended itself */
void rig_remove(const struct rig *rig);

/** rig_ctl() - what `musectl --json ARGS` prints: the document, the caller's; fails the test on an error */
json_t *rig_ctl(const struct rig *rig, const char *args);

/** rig_ctl_status() - exit status of `musectl ARGS`, output thrown away */
int rig_ctl_status(const struct rig *rig, const char *args);

/** rig_driver_pid() - of the driver called @name, now; 0: not there */
pid_t rig_driver_pid(const struct rig *rig, const char *name);

/** rig_stop_process() - SIGSTOP, and wait until each thread has stopped; SIGCONT is the test's */
void rig_stop_process(const struct rig *rig, pid_t pid);

/** rig_stop_driver() - the same with the driver called @name */
void rig_stop_driver(const struct rig *rig, const char *name);

/** rig_stat() - a number of `musectl --json stats` by its key, anywhere in it; fails when absent */
uint64_t rig_stat(const struct rig *rig, const char *key);

/** rig_wait() - poll @until (with @arg) every 2 ms; fails the test with @what after 10 s */
void rig_wait(bool (*until)(const struct rig *rig, void *arg), const struct rig *rig, void *arg,
              const char *what);

/** rig_counter() - a number the faulty driver counted ("abort", ...), by its control object */
uint64_t rig_counter(const char *name);

/** rig_counter_of() - the same, of a muse-faulty that is called @driver */
uint64_t rig_counter_of(const char *driver, const char *name);

/** rig_count() - a number of `musectl --json drivers`, counts, of the living driver @driver */
uint64_t rig_count(const struct rig *rig, const char *driver, const char *name);

/** rig_txn_state() - whether a map request of an object whose name starts with @object is in
 * @state */
bool rig_txn_state(const struct rig *rig, const char *object, const char *state);

/** rig_blocked() - whether `musectl blocked` has such an entry. @stage: NULL: any. @whom: "for" */
bool rig_blocked(const struct rig *rig, const char *what, const char *stage, const char *whom);

/** rig_file() - make DATA/NAME with @n_bytes of a pattern that rig_byte() knows */
void rig_file(const struct rig *rig, const char *name, uint64_t n_bytes);

/** rig_byte() - byte @offset of every rig_file() */
static inline unsigned char rig_byte(uint64_t offset)
{
    return (unsigned char)((offset * 2654435761u) >> 13 ^ offset >> 12);
}

/** rig_signal_of() - touch one byte; 0 when it could be read, else the signal (SIGBUS, SIGSEGV) */
int rig_signal_of(const void *addr);

#endif
