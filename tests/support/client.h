/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What integration tests do as clients of libmuse: map with one call, touch a byte and get the
 * signal as a value (in any thread), run a part of the test in a process of its own. No state but
 * the signal handlers, which stay installed.
 */
#ifndef MUSE_TESTS_SUPPORT_CLIENT_H
#define MUSE_TESTS_SUPPORT_CLIENT_H

#include <muse/muse.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/support/rig.h"

#define PAGE      ((size_t)4096)
#define HUGE_PAGE ((size_t)2 << 20)

/* What came of touching one byte. */
struct probe {
    int signal; /* 0: none */
    int code;   /* si_code */
    const void *addr;
    unsigned char byte; /* what was read */
};

/** probe_read() - read one byte. Any thread, any process. */
struct probe probe_read(const void *addr);

/** probe_write() - write one byte */
struct probe probe_write(void *addr, unsigned char byte);

/** client_connect() - muse_connect() that must succeed */
struct muse *client_connect(void);

/** client_connect_small() - the same with an arena of 64 MiB: for many of them, or one that is locked */
struct muse *client_connect_small(void);

/**
 * client_map() - open, map, close the file
 * @oflags: of muse_open
 *
 * Return: the address; MAP_FAILED with errno.
 */
void *client_map(struct muse *muse, const char *name, int oflags, size_t len, int prot, int flags);

/* What part of a file goes where. */
struct client_span {
    void *addr; /* of muse_mmap; NULL: anywhere */
    size_t len;
    off_t offset;
};

/** client_map_at() - the same, with an address and an offset */
void *client_map_at(struct muse *muse, const char *name, int oflags, struct client_span span,
                    int prot, int flags);

/** client_map_ro() - @n_pages, shared and read-only, from offset 0; must succeed */
void *client_map_ro(struct muse *muse, const char *name, size_t n_pages);

/** client_open() - must succeed */
struct muse_file *client_open(struct muse *muse, const char *name, int oflags);

/** client_cache_fd() - the page cache of an object that this process has open, of the last one it opened. Return:
 * the fd, libmuse's; -1: none. */
int client_cache_fd(void);

/** faulty_word() - word @index of the page at @page, through a mapping from offset 0 */
static inline uint64_t faulty_word(const void *mapped, size_t page, size_t index)
{
    return ((const volatile uint64_t *)mapped)[page * 512 + index];
}

/** file_is() - whether @len bytes are those of a rig_file() from @offset on */
bool file_is(const void *bytes, uint64_t offset, size_t len);

/** client_sleep_ms() - to let others run; never to wait for something */
void client_sleep_ms(unsigned ms);

/** client_fork() - run @fn in a child that then exits with 0; a failed assertion ends it with 1 */
pid_t client_fork(void (*fn)(void *ctx), void *ctx);

/** client_join() - wait for a child, which must have exited with 0 */
void client_join(pid_t pid);

/** client_kill() - SIGKILL, and wait */
void client_kill(pid_t pid);

/** client_drop_ipc_lock() - this process may not lock over RLIMIT_MEMLOCK any more. Return: whether. */
bool client_drop_ipc_lock(void);

/** wait_for_counter() - until a number of the faulty driver is at least @value; fails after 20 s */
void wait_for_counter(const char *name, uint64_t value);

/** kill_driver() - kill -9, and until driver @name is there again */
void kill_driver(const struct rig *rig, const char *name);

/** wait_for_driver() - until driver @name is there with another pid than @old. Return: its pid. */
pid_t wait_for_driver(const struct rig *rig, const char *name, pid_t old);

/** client_work_goes_on() - all that others do while somebody hangs: map, read and unmap objects of
 * the muse-faulty called @driver, and every question of musectl, the audit too */
void client_work_goes_on(const struct rig *rig, struct muse *muse, const char *driver);

/** json_entry() - the first object in the only array of @document whose @key is the text @value.
 * Return: borrowed; NULL. */
json_t *json_entry(json_t *document, const char *key, const char *value);

/** json_entries() - the only array of @document; borrowed */
json_t *json_entries(json_t *document);

/** build_program() - the path of a program of this build */
void build_program(const char *name, char *buf, size_t size);

/** client_vma() - what `musectl maps` says of the VMA at an address: of the first space that has one
 * there; the caller's. Fails the test when there is none. */
json_t *client_vma(const struct rig *rig, const void *addr);

/** client_vma_flag() - whether it has such a flag ("hugepage" ...) */
bool client_vma_flag(const struct rig *rig, const void *addr, const char *flag);

#endif
