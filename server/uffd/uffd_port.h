/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One client's userfaultfd, used from the server: reads many messages at once, registers ranges
 * remotely, shows pages (UFFDIO_CONTINUE), poisons and wakes. Holds the policy for EEXIST, EAGAIN,
 * ENOENT, ESRCH and EFAULT (kernel-contract 6.4), decides nothing about pages. Never blocks: the
 * ranges of calls that meet EAGAIN because the client's mm is changing are kept, and whoever waits
 * in them is woken when the event was read, and soon after in any case. Their faults are then
 * reported again. The call itself is not repeated: by then the pages may have been evicted, or be
 * half filled.
 *
 * Works on the kernel's own page tables of another process, so every call may find that the
 * process, or the mapping, has gone: that is normal and silent here; the session notices the death.
 */
#ifndef MUSE_SERVER_UFFD_UFFD_PORT_H
#define MUSE_SERVER_UFFD_UFFD_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/list.h"
#include "common/base/must.h"
#include "common/base/range.h"
#include "server/loop/loop.h"

#define UFFD_PORT_EVENTS_PER_READ 64 /* 32 bytes each; one read(2) */

/** uffd_port_features() - what every client must ask UFFDIO_API for (kernel-contract 6.2) */
uint64_t uffd_port_features(void);

struct uffd_fault {
    uint64_t addr; /* as reported, any alignment */
    bool write;
    bool wp;
    bool minor;
};

struct uffd_port;

struct uffd_port_ops {
    /* @faults: borrowed, in the order read; may hold repetitions of the same page */
    void (*faults)(struct uffd_port *port, const struct uffd_fault *faults, unsigned n_faults);
    /* a range moved inside the client (mremap): [from, from+len) is now at to */
    void (*remapped)(struct uffd_port *port, uint64_t from, uint64_t to, uint64_t len);
    /* the memfd had no page at @addr (EFAULT of CONTINUE): state table and file disagree */
    void (*page_missing)(struct uffd_port *port, uint64_t addr);
    void (*closed)(struct uffd_port *port); /* after uffd_port_close(): memory may go */
};

struct uffd_port {
    int fd; /* owned */
    struct loop *loop;
    struct watcher watcher;
    const struct uffd_port_ops *ops;
    void *owner;          /* the space; opaque here */
    struct list deferred; /* ranges of calls that met a changing mm: to be woken, in order */
    unsigned n_deferred;
    struct deadline retry; /* wakes them although no event was read */
    uint64_t backoff_ns;
    bool gone; /* ESRCH was seen: the process is dead, everything is a no-op */
    bool closing;
    uint64_t n_messages, n_reads, n_continues, n_pages_shown, n_eagain; /* for stats */
};

/**
 * uffd_port_open() - adopt a client's userfaultfd after checking it
 * @port:  caller's memory until ops->closed ran
 * @fd:    takes on success; UFFDIO_API done with our features, non-blocking
 * @ops:   all four set; borrowed. None runs inside a call of this port but page_missing.
 * @owner: stored, not used
 *
 * Return: 0; -EINVAL not a userfaultfd, or blocking, or without the features, or with some that the
 * server cannot serve (EVENT_FORK would install fds here; SIGBUS and WP_ASYNC hide faults); -errno.
 */
MUST_CHECK int uffd_port_open(struct uffd_port *port, struct loop *loop, int *fd,
                              const struct uffd_port_ops *ops, void *owner);

/** uffd_port_close() - stop reading, drop what is deferred, close the fd once the watcher ended,
 * then ops->closed */
void uffd_port_close(struct uffd_port *port);

enum uffd_mode {
    UFFD_TRACKED, /* MISSING|MINOR: every first touch is reported */
    UFFD_WRITES,  /* MISSING|MINOR|WP: and every first write to what is shown protected */
    UFFD_NATIVE   /* MISSING: pages in the memfd fault without us ("graduated") */
};

/**
 * uffd_port_register() - (re)register @range (bytes, page aligned, not empty)
 *
 * Replaces the mode it had.
 *
 * To UFFD_TRACKED without a gap. To UFFD_NATIVE through a moment in which missing pages are not
 * reported either: every page of @range must be valid, or a touch in that moment leaves a zero page
 * in the memfd.
 *
 * Return: 0; -EBUSY, -EPERM, -ENOMEM, -EINVAL as UFFDIO_REGISTER; -ESRCH the process has gone (the
 * kernel says ENOMEM).
 */
MUST_CHECK int uffd_port_register(struct uffd_port *port, struct range range, enum uffd_mode mode);

/** uffd_port_unregister() - and wake who waits in it; errors are ignored (the range may be gone) */
void uffd_port_unregister(struct uffd_port *port, struct range range);

/**
 * uffd_port_show() - map the pages of @range that the memfd holds, and wake who waits for them
 * @range:      bytes, aligned to @page_bytes; every page of it must be valid
 * @page_bytes: 4096 or 2 MiB
 *
 * Pages already mapped are skipped over and their waiters woken; pages that are mapped no longer
 * (or to something else) likewise. One ioctl a run in the normal case. ops->page_missing may be
 * called in here; it may close the port.
 */
void uffd_port_show(struct uffd_port *port, struct range range, uint64_t page_bytes);

/** uffd_port_show_protected() - the same, for ranges registered UFFD_WRITES: a write to one of the
 * pages is reported */
void uffd_port_show_protected(struct uffd_port *port, struct range range, uint64_t page_bytes);

/**
 * uffd_port_protect() - from now on a write to what is mapped in @range is reported
 * @range: bytes, page aligned, in one mapping that is registered UFFD_WRITES
 *
 * Return: 0, also when nothing is mapped there any more or the process has gone; -EAGAIN the
 * client's mm is changing, and some of it may be writable still: later.
 */
MUST_CHECK int uffd_port_protect(struct uffd_port *port, struct range range);

/** uffd_port_unprotect() - let writes to @range go on, and wake who waits for that */
void uffd_port_unprotect(struct uffd_port *port, struct range range);

/**
 * uffd_port_poison() - the next touch of these pages is SIGBUS; who waits now is woken, and gets it
 *
 * Pages that the client has mapped are skipped: punch them first. When the client's mm is changing
 * the next touch may be reported instead; then poison again.
 */
void uffd_port_poison(struct uffd_port *port, struct range range, uint64_t page_bytes);

/** uffd_port_wake() - make whoever waits in @range try again */
void uffd_port_wake(struct uffd_port *port, struct range range);

#endif
