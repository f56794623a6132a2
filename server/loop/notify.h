/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Adds 1 to eventfds of other processes without ever blocking.
 *
 * write(2) on an eventfd waits when its counter is full and O_NONBLOCK is not set, and that flag is
 * the owner's to change at any moment. So nobody writes here: the eventfd is made the completion
 * signal of an io_uring of our own for one no-op, and the kernel then adds 1 itself, as
 * eventfd_signal() does, which never waits. Three system calls for each.
 */
#ifndef MUSE_SERVER_LOOP_NOTIFY_H
#define MUSE_SERVER_LOOP_NOTIFY_H

#include <liburing.h>

#include "common/base/must.h"

struct notifier {
    struct io_uring uring; /* nothing is ever in flight between two calls */
};

/** notifier_init() - Return: 0 or -errno of io_uring_setup(2) */
MUST_CHECK int notifier_init(struct notifier *notifier);

void notifier_done(struct notifier *notifier);

/** notifier_check() - is @fd (borrowed, untrusted) an eventfd? The kernel itself is asked.
 * Return: 0; -EBADF it is something else; -ENOMEM. */
MUST_CHECK int notifier_check(struct notifier *notifier, int fd);

/**
 * notifier_add() - add 1 to an eventfd
 * @fd: borrowed, for which notifier_check() said 0
 *
 * A full counter overflows: its owner's next read gives the largest number.
 *
 * Return: 0; -ENOMEM, -EAGAIN: later.
 */
MUST_CHECK int notifier_add(struct notifier *notifier, int fd);

#endif
