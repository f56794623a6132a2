/* SPDX-License-Identifier: BSD-3-Clause */
/* Adding 1 to an eventfd by the completion of a no-op; see notify.h. */
#include "server/loop/notify.h"

#include <errno.h>

int notifier_init(struct notifier *notifier)
{
    return io_uring_queue_init(1, &notifier->uring, 0);
}

void notifier_done(struct notifier *notifier)
{
    io_uring_queue_exit(&notifier->uring);
}

int notifier_check(struct notifier *notifier, int fd)
{
    int r = io_uring_register_eventfd(&notifier->uring, fd);

    if (r < 0)
        return r == -ENOMEM ? -ENOMEM : -EBADF;
    (void)io_uring_unregister_eventfd(&notifier->uring); /* there is one: this cannot fail */
    return 0;
}

/* Return: 0; -EAGAIN the kernel took nothing. */
static int complete_one(struct notifier *notifier)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&notifier->uring);
    struct io_uring_cqe *cqe;

    if (sqe) /* none: the last one was not taken yet, and is now */
        io_uring_prep_nop(sqe);
    if (io_uring_submit(&notifier->uring) != 1)
        return -EAGAIN;
    /* a no-op completes while it is submitted */
    if (io_uring_peek_cqe(&notifier->uring, &cqe) == 0)
        io_uring_cqe_seen(&notifier->uring, cqe);
    return 0;
}

int notifier_add(struct notifier *notifier, int fd)
{
    int r = io_uring_register_eventfd(&notifier->uring, fd);

    if (r < 0)
        return r == -ENOMEM ? -ENOMEM : -EAGAIN;
    r = complete_one(notifier);
    (void)io_uring_unregister_eventfd(&notifier->uring);
    return r;
}
