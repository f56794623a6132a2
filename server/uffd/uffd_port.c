/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client's userfaultfd: adopting it, reading its messages, registering ranges, and waking later
 * what could not be served while the client's mm was changing. Owns the fd and the deferred ranges.
 * Called by the space's flow, and by the loop when there are messages. Showing and poisoning pages
 * is in uffd_pages.c. Decides nothing about pages.
 *
 * The fd came from the client, who keeps a copy of the same open file: flags can change at any
 * time, so nothing here relies on O_NONBLOCK staying set.
 */
#include "server/uffd/uffd_port.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include "common/base/linux_abi.h"
#include "server/uffd/uffd_pages.h"

/* Chosen: 256 messages a wake-up, or 16 reads, then other clients have their turn. */
#define MESSAGES_PER_WAKEUP 256u
#define READS_PER_WAKEUP    16u

#define RETRY_MAX_NS 10000000u

#define SMALLEST_PAGE 4096u

#define MODE_TRACKED (UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR)
#define MODE_WRITES  (MODE_TRACKED | UFFDIO_REGISTER_MODE_WP)

struct deferred {
    struct list node;
    struct range range;
};

#define REQUIRED_FEATURES                                                                          \
    ((uint64_t)UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_EVENT_REMAP |                         \
     UFFD_FEATURE_MISSING_HUGETLBFS | UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_HUGETLBFS |  \
     UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_WP_HUGETLBFS_SHMEM | UFFD_FEATURE_POISON)

/* More events only wake us; the others do not change what is reported, or when. */
#define TOLERATED_FEATURES                                                                         \
    ((uint64_t)UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_THREAD_ID |     \
     UFFD_FEATURE_EXACT_ADDRESS | UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_MOVE)

/* UFFD_FEATURE_INITIALIZED of the kernel's fs/userfaultfd.c: UFFDIO_API was done. */
#define API_DONE ((uint64_t)1 << 31)

uint64_t uffd_port_features(void)
{
    return REQUIRED_FEATURES;
}

static bool is_userfaultfd(int fd)
{
    static const char want[] = "anon_inode:[userfaultfd]";
    char path[64];
    char target[sizeof(want)];
    ssize_t n;

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    n = readlink(path, target,
                 sizeof(target)); /* other files have a path, so they start with '/' */
    return n == (ssize_t)sizeof(want) - 1 && memcmp(target, want, sizeof(want) - 1) == 0;
}

/* "API:\taa:FEATURES:IOCTLS", as userfaultfd_show_fdinfo() writes it. Return: is @line that? */
static bool parse_features(const char *line, uint64_t *ret_features)
{
    static const char start[] = "API:\taa:";
    char *end;

    if (strncmp(line, start, sizeof(start) - 1) != 0)
        return false;
    *ret_features = strtoull(line + sizeof(start) - 1, &end, 16);
    return *end == ':';
}

/* Return: the features given to UFFDIO_API and API_DONE; 0 when there is nothing to read */
static uint64_t features_of(int fd)
{
    char path[64];
    char line[256];
    uint64_t features = 0;
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    file = fopen(path, "re");
    if (!file)
        return 0;
    while (fgets(line, sizeof(line), file)) {
        if (parse_features(line, &features))
            break;
    }
    (void)fclose(file); /* only read */
    return features;
}

static int check_fd(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    uint64_t features;

    if (flags < 0)
        return -errno;
    if (!is_userfaultfd(fd) || !(flags & O_NONBLOCK))
        return -EINVAL;
    features = features_of(fd);
    if ((features & (REQUIRED_FEATURES | API_DONE)) != (REQUIRED_FEATURES | API_DONE) ||
        (features & ~(REQUIRED_FEATURES | TOLERATED_FEATURES | API_DONE)) != 0)
        return -EINVAL;
    return 0;
}

static void deferred_free_all(struct uffd_port *port)
{
    struct list *pos;
    struct list *tmp;

    list_for_each_safe(pos, tmp, &port->deferred)
        free(LIST_ENTRY(pos, struct deferred, node));
    list_init(&port->deferred);
    port->n_deferred = 0;
}

void uffd_port_set_gone(struct uffd_port *port)
{
    port->gone = true;
    deferred_free_all(port);
    deadline_clear(port->loop, &port->retry);
}

static void retry_arm(struct uffd_port *port)
{
    if (!port->retry.is_set)
        deadline_set(port->loop, &port->retry, loop_now_ns() + port->backoff_ns);
}

/* Return: whether @range is in @deferred now, because it overlaps or touches it */
static bool deferred_grow(struct deferred *deferred, struct range range)
{
    if (!range_overlaps(deferred->range, range) && !range_touches(deferred->range, range))
        return false;
    deferred->range = range_cover(deferred->range, range);
    return true;
}

void uffd_port_defer(struct uffd_port *port, struct range range)
{
    struct deferred *deferred;
    struct list *pos;

    list_for_each(pos, &port->deferred)
        if (deferred_grow(LIST_ENTRY(pos, struct deferred, node), range))
            return;
    deferred = port->n_deferred < UFFD_PORT_DEFERRED_MAX ? malloc(sizeof(*deferred)) : NULL;
    if (!deferred) {
        uffd_port_wake(port,
                       range); /* too early: they may be back at once; but nobody is forgotten */
        return;
    }
    deferred->range = range;
    list_add_tail(&port->deferred, &deferred->node);
    port->n_deferred++;
    retry_arm(port);
}

static void deferred_wake_all(struct uffd_port *port)
{
    struct list *pos;

    list_for_each(pos, &port->deferred)
        uffd_port_wake(port, LIST_ENTRY(pos, struct deferred, node)->range);
    deferred_free_all(port);
    deadline_clear(port->loop, &port->retry);
}

static void on_retry(struct deadline *retry)
{
    struct uffd_port *port = CONTAINER_OF(retry, struct uffd_port, retry);

    port->backoff_ns = port->backoff_ns * 2 < RETRY_MAX_NS ? port->backoff_ns * 2 : RETRY_MAX_NS;
    deferred_wake_all(port);
}

/* RWF_NOWAIT (for userfaultfd since 6.10): the client can clear O_NONBLOCK of the shared file. */
static ssize_t messages_read(struct uffd_port *port, struct uffd_msg *messages, size_t n_bytes)
{
    struct iovec iov = {.iov_base = messages, .iov_len = n_bytes};
    ssize_t n;

    do {
        n = preadv2(port->fd, &iov, 1, -1, RWF_NOWAIT);
        if (n < 0 && errno == EOPNOTSUPP)
            n = read(port->fd, messages, n_bytes);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* Ready, but nothing to read: somebody else read it, or the client made it blocking (POLLERR). */
static void nonblock_restore(struct uffd_port *port)
{
    int flags = fcntl(port->fd, F_GETFL);

    if (flags >= 0 && !(flags & O_NONBLOCK)) {
        (void)fcntl(port->fd, F_SETFL,
                    flags | O_NONBLOCK); /* cannot fail for a flag the file had before */
    }
}

static struct uffd_fault fault_of(const struct uffd_msg *message)
{
    uint64_t flags = message->arg.pagefault.flags;

    return (struct uffd_fault){
        .addr = message->arg.pagefault.address,
        .write = (flags & UFFD_PAGEFAULT_FLAG_WRITE) != 0,
        .wp = (flags & UFFD_PAGEFAULT_FLAG_WP) != 0,
        .minor = (flags & UFFD_PAGEFAULT_FLAG_MINOR) != 0,
    };
}

static void faults_pass(struct uffd_port *port, const struct uffd_fault *faults, unsigned *n_faults)
{
    unsigned n = *n_faults;

    *n_faults = 0;
    if (n > 0 && !port->closing)
        port->ops->faults(port, faults, n);
}

/* In the order read: a batch of faults ends where an event stands between them. */
static void messages_pass(struct uffd_port *port, const struct uffd_msg *messages,
                          unsigned n_messages)
{
    struct uffd_fault faults[UFFD_PORT_EVENTS_PER_READ];
    unsigned n_faults = 0;
    bool changed = false;
    unsigned i;

    for (i = 0; i < n_messages; i++) {
        const struct uffd_msg *message = &messages[i];

        if (message->event == UFFD_EVENT_PAGEFAULT) {
            faults[n_faults++] = fault_of(message);
            continue;
        }
        changed = true; /* REMOVE and UNMAP, if the client wants them: reading is all they need */
        faults_pass(port, faults, &n_faults);
        if (message->event == UFFD_EVENT_REMAP && !port->closing) {
            port->ops->remapped(port, message->arg.remap.from, message->arg.remap.to,
                                message->arg.remap.len);
        }
    }
    faults_pass(port, faults, &n_faults);
    if (changed && !port->closing)
        deferred_wake_all(port);
}

/*
 * Until there is nothing: on a processor that both share, the thread that was served runs before we
 * do, and its next fault is there already. A read that finds none is cheaper than a turn of the loop.
 */
static void on_ready(struct watcher *watcher, bool readable, bool writable)
{
    struct uffd_port *port = CONTAINER_OF(watcher, struct uffd_port, watcher);
    struct uffd_msg messages[UFFD_PORT_EVENTS_PER_READ];
    unsigned n_passed = 0;
    unsigned i;

    (void)readable;
    (void)writable;
    for (i = 0; i < READS_PER_WAKEUP && n_passed < MESSAGES_PER_WAKEUP && !port->closing; i++) {
        unsigned n_messages;
        ssize_t n = messages_read(port, messages, sizeof(messages));

        if (n == -EAGAIN && i == 0) {
            nonblock_restore(port);
        } else if (n < 0 && n != -EAGAIN) {
            watcher_want(&port->watcher, false,
                         false); /* not a state a userfaultfd can be in; do not spin on it */
        }
        if (n <= 0)
            return;
        n_messages = (unsigned)((size_t)n / sizeof(messages[0]));
        port->n_reads++;
        port->n_messages += n_messages;
        n_passed += n_messages;
        messages_pass(port, messages, n_messages);
    }
}

static void on_closed(struct watcher *watcher)
{
    struct uffd_port *port = CONTAINER_OF(watcher, struct uffd_port, watcher);

    fd_close_p(&port->fd);
    port->ops->closed(port);
}

int uffd_port_open(struct uffd_port *port, struct loop *loop, int *fd,
                   const struct uffd_port_ops *ops, void *owner)
{
    int r = check_fd(*fd);

    if (r < 0)
        return r;
    if (fcntl(*fd, F_SETFD, FD_CLOEXEC) < 0)
        return -errno;
    *port = (struct uffd_port){
        .fd = -1,
        .loop = loop,
        .watcher = {.ready = on_ready, .closed = on_closed},
        .ops = ops,
        .owner = owner,
        .retry = {.fn = on_retry},
        .backoff_ns = UFFD_PORT_RETRY_NS,
    };
    list_init(&port->deferred);
    r = watcher_open(loop, &port->watcher, *fd);
    if (r < 0)
        return r;
    port->fd = fd_take(fd);
    return 0;
}

void uffd_port_close(struct uffd_port *port)
{
    MUST(!port->closing);
    port->closing = true;
    deferred_free_all(port);
    deadline_clear(port->loop, &port->retry);
    watcher_close(&port->watcher);
}

/*
 * UFFDIO_REGISTER says ENOMEM both for want of memory and for a dead process. The page calls tell
 * these apart, and the last page below the kernel's half is never registered, so that asking about
 * it changes nothing.
 */
static bool process_has_gone(struct uffd_port *port)
{
    struct uffdio_continue probe = {.range = {.start = 0x7fffffffe000u, .len = SMALLEST_PAGE}};

    if (ioctl(port->fd, UFFDIO_CONTINUE, &probe) < 0 && errno == ESRCH)
        uffd_port_set_gone(port);
    return port->gone;
}

static int register_mode(struct uffd_port *port, struct range range, uint64_t mode)
{
    struct uffdio_register args = {
        .range = {.start = range.start, .len = range_len(range)},
        .mode = mode,
    };

    return ioctl(port->fd, UFFDIO_REGISTER, &args) < 0 ? -errno : 0;
}

/*
 * The kernel takes a mode that is part of the present one for nothing to do, and says 0:
 * MISSING|MINOR stays so when MISSING is asked for (6.18, "Nothing to do" in
 * userfaultfd_register()). So the way leads over WP, which is not part of it. WP may not be left
 * in: it turns the kernel's fault-around off, which is what this mode is for.
 */
static int register_native(struct uffd_port *port, struct range range)
{
    int r = register_mode(port, range, UFFDIO_REGISTER_MODE_WP);

    if (r < 0)
        return r;
    r = register_mode(port, range, UFFDIO_REGISTER_MODE_MISSING);
    if (r < 0) {
        (void)register_mode(
            port, range, MODE_TRACKED); /* at least nothing goes unseen; it was possible before */
    } else {
        uffd_port_wake(port, range); /* whoever waits for a minor fault can do without us now */
    }
    return r;
}

int uffd_port_register(struct uffd_port *port, struct range range, enum uffd_mode mode)
{
    int r = -EINVAL;

    if (port->gone)
        return -ESRCH;
    switch (mode) {
    case UFFD_TRACKED:
        r = register_mode(port, range, MODE_TRACKED);
        break;
    case UFFD_WRITES:
        r = register_mode(port, range, MODE_WRITES);
        break;
    case UFFD_NATIVE:
        r = register_native(port, range);
        break;
    }
    return r == -ENOMEM && process_has_gone(port) ? -ESRCH : r;
}

void uffd_port_unregister(struct uffd_port *port, struct range range)
{
    struct uffdio_range args = {.start = range.start, .len = range_len(range)};

    if (port->gone || range_is_empty(range))
        return;
    (void)ioctl(port->fd, UFFDIO_UNREGISTER, &args); /* the range may be gone */
    uffd_port_wake(port, range);
}

void uffd_port_wake(struct uffd_port *port, struct range range)
{
    struct uffdio_range args = {.start = range.start, .len = range_len(range)};

    if (!port->gone && !range_is_empty(range)) {
        (void)ioctl(port->fd, UFFDIO_WAKE,
                    &args); /* fails for a bad range only, in which nobody can wait */
    }
}
