/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a connection consists of. Made and unmade by handle.c; every other file of the library works
 * on it.
 *
 *     struct muse -+- requests (socket)  chan and lists have a lock of their own
 *                  +- taken              what the server has taken from under our reads
 *                  +- uffd               ours until disconnect: while it is open, a dead server
 *                  |                     means waiting, not zeros
 *                  +- arena              addresses; what is mapped in there only the server decides
 *                  +- mark               one page that reads 0 in a child that is a copy: made
 *                  |                     without fork(3), or unable to take the mappings over
 *                  +- fork               what fork.c keeps from prepare to parent or child
 *                  `- files, outside     under @lock
 *
 * No lock is ever held while memory of the caller or of a mapping is touched, nor during a system
 * call that a page fault could stop.
 */
#ifndef MUSE_CLIENT_LIB_HANDLE_H
#define MUSE_CLIENT_LIB_HANDLE_H

#include <muse/muse.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

#include "client-lib/fork.h"
#include "client-lib/outside.h"
#include "client-lib/request.h"
#include "common/base/idmap.h"
#include "common/base/must.h"
#include "common/base/range.h"

#define PAGE_BYTES      4096ull
#define HUGE_PAGE_BYTES (2ull << 20)
#define ADDRESS_END     (1ull << 47) /* x86-64 with four levels; mmap gives no more unasked */

struct muse {
    struct requests requests;
    struct sockaddr_un address;         /* of the server */
    int uffd;                           /* owned */
    struct range arena;                 /* addresses; empty until reserved */
    bool fds_high;                      /* MUSE_FDS_HIGH */
    bool knows_setattr;                 /* the server does */
    const volatile unsigned char *mark; /* owned page, MADV_WIPEONFORK; NULL until mapped */
    pthread_mutex_t lock;
    _Atomic uint64_t *taken; /* owned page, see handle_take_count(); NULL: the server has none */
    struct idmap files;      /* id -> struct muse_file, each entry holds a reference */
    struct outside outside;  /* what is mapped outside the arena */
    struct outside lost;     /* parts of the arena in which others have mapped something */
    struct fork fork;
};

struct muse_file {
    struct muse *muse; /* borrowed, outlives the file */
    uint64_t id;
    uint64_t page_bytes;
    int fd;          /* owned: the object's memfd; -1 when the object has none */
    unsigned n_refs; /* under muse->lock */
};

/** address_pointer() - an address, which travels as a number, as a pointer */
static inline void *address_pointer(uint64_t address)
{
    return (void *)(uintptr_t)address; /* NOLINT(performance-no-int-to-ptr) */
}

/**
 * handle_check() - whether a public call may use a handle
 * @muse: as given by the caller
 *
 * Return: 0; -EINVAL NULL; -ENOTCONN this is a copy (sentence set).
 */
MUST_CHECK int handle_check(const struct muse *muse);

/**
 * handle_place_fd() - give an fd the number that the handle's options want
 * @fd: takes
 *
 * Return: the fd, perhaps @fd itself.
 */
int handle_place_fd(const struct muse *muse, int fd);

/**
 * handle_take_count() - the fd that comes with ATTACHED: a number that the server counts up before it
 * takes pages away that a call of ours is reading through a file's fd
 * @answer: ATTACHED
 *
 * Return: 0; -ENOMEM.
 */
MUST_CHECK int handle_take_count(struct muse *muse, const struct mail *answer);

/** handle_is_copy() - whether this process is a child of the one that connected, and has not taken
 * the connection over */
static inline bool handle_is_copy(const struct muse *muse)
{
    return muse->mark && *muse->mark == 0;
}

#endif
