/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Showing and poisoning pages in a client through its userfaultfd: one policy for what the kernel
 * answers, for both calls. Owns nothing; called through uffd_port.h. Decides nothing: which pages
 * are valid is the caller's business.
 *
 *   answer at [at, end)     then
 *   bytes done > 0          go on behind them
 *   EEXIST                  mapped already: wake, next page
 *   EFAULT (CONTINUE)       the memfd has no such page: tell the owner, next page
 *   EIO (CONTINUE)          the page's memory is broken: poison it, next page
 *   ENOENT                  not one registered VMA: halve; a single page: wake, next page
 *   ESRCH                   the process has gone
 *   EAGAIN (nothing done)   mremap, munmap or the like under way: all the rest is deferred
 *   anything else           no memory, or the client mapped something of its own there: deferred,
 *                           too, which bounds how often it comes back
 */
#include "server/uffd/uffd_pages.h"

#include <errno.h>
#include <sys/ioctl.h>

#include "common/base/linux_abi.h"

/* Chosen: after so many ENOENT in a call the rest is woken: what is still mapped faults again. */
#define HALVINGS_MAX 256u

#define SMALLEST_PAGE 4096u

enum page_call { CALL_SHOW, CALL_SHOW_PROTECTED, CALL_POISON };

struct walk {
    struct uffd_port *port;
    enum page_call call;
    uint64_t page_bytes;
    uint64_t at;        /* everything below is settled */
    uint64_t end;       /* of the whole walk */
    uint64_t len;       /* of the next call: halved by ENOENT */
    uint64_t wake_from; /* [wake_from, at) is settled but not woken; == at: nothing is */
    unsigned n_halvings;
    bool is_unmarked; /* the page at @at has no write-protect marker any more */
};

/* Return: bytes done, or -errno */
static int64_t call_pages(struct walk *walk, enum page_call call, uint64_t start, uint64_t len)
{
    struct uffdio_continue show = {
        .range = {.start = start, .len = len},
        .mode = call == CALL_SHOW_PROTECTED ? UFFDIO_CONTINUE_MODE_WP : 0,
    };
    struct uffdio_poison poison = {.range = {.start = start, .len = len}};
    bool is_show = call != CALL_POISON;
    int r = is_show ? ioctl(walk->port->fd, UFFDIO_CONTINUE, &show)
                    : ioctl(walk->port->fd, UFFDIO_POISON, &poison);
    int saved = errno;
    int64_t done = is_show ? (int64_t)show.mapped : (int64_t)poison.updated;

    if (r == 0)
        return (int64_t)len;
    return saved == EAGAIN && done > 0 ? done : -saved;
}

static void wake_flush(struct walk *walk)
{
    if (walk->wake_from < walk->at)
        uffd_port_wake(walk->port, range_make(walk->wake_from, walk->at));
    walk->wake_from = walk->at;
}

static void advance_woken(struct walk *walk, uint64_t n_bytes)
{
    wake_flush(walk);
    walk->at += n_bytes;
    walk->wake_from = walk->at;
}

static void count_done(struct walk *walk, uint64_t n_bytes)
{
    if (walk->call != CALL_POISON)
        walk->port->n_pages_shown += n_bytes / walk->page_bytes;
    walk->port->backoff_ns = UFFD_PORT_RETRY_NS;
    advance_woken(walk, n_bytes); /* the kernel has woken who waited there */
}

/*
 * A page that was write-protected when it was punched leaves a marker, which is in the way of poison (not
 * of a page). A page that is mapped is none that anybody would poison. Return: whether to try again.
 */
static bool unmark(struct walk *walk)
{
    struct uffdio_writeprotect args = {
        .range = {.start = walk->at, .len = walk->page_bytes},
        .mode = UFFDIO_WRITEPROTECT_MODE_DONTWAKE,
    };

    if (walk->call != CALL_POISON || walk->is_unmarked)
        return false;
    walk->is_unmarked = true;
    return ioctl(walk->port->fd, UFFDIO_WRITEPROTECT, &args) == 0;
}

static void on_not_mapped(struct walk *walk)
{
    if (++walk->n_halvings > HALVINGS_MAX) {
        walk->at = walk->end;
    } else if (walk->len > walk->page_bytes) {
        walk->len = walk->len / walk->page_bytes / 2 * walk->page_bytes;
    } else {
        walk->at += walk->page_bytes;
    }
}

static void on_page_missing(struct walk *walk)
{
    uint64_t addr = walk->at;

    advance_woken(walk, walk->page_bytes); /* not woken: the owner settles it */
    walk->port->ops->page_missing(walk->port, addr);
}

static void on_page_broken(struct walk *walk)
{
    (void)call_pages(walk, CALL_POISON, walk->at, walk->page_bytes); /* else it is reported again */
    walk->at += walk->page_bytes;
}

static void on_error(struct walk *walk, int error)
{
    bool is_show = walk->call != CALL_POISON;

    if (error == EEXIST) {
        if (unmark(walk))
            return;
        walk->is_unmarked = false;
        walk->at += walk->page_bytes;
    } else if (error == ENOENT) {
        on_not_mapped(walk);
    } else if (error == EFAULT && is_show) {
        on_page_missing(walk);
    } else if (error == EIO && is_show) {
        on_page_broken(walk);
    } else if (error == ESRCH) {
        uffd_port_set_gone(walk->port);
    } else if (error != EINTR) {
        wake_flush(walk);
        walk->port->n_eagain += error == EAGAIN;
        uffd_port_defer(walk->port, range_make(walk->at, walk->end));
        walk->at = walk->end;
        walk->wake_from = walk->end;
    }
}

static void walk_pages(struct uffd_port *port, enum page_call call, struct range range,
                       uint64_t page_bytes)
{
    struct walk walk = {
        .port = port,
        .call = call,
        .page_bytes = page_bytes,
        .at = range.start,
        .end = range.end,
        .len = range_len(range),
        .wake_from = range.start,
    };

    MUST(range_is_aligned(range, page_bytes));
    while (walk.at < walk.end && !port->gone && !port->closing) {
        int64_t done;

        if (walk.len > walk.end - walk.at)
            walk.len = walk.end - walk.at;
        if (call != CALL_POISON)
            port->n_continues++;
        done = call_pages(&walk, call, walk.at, walk.len);
        if (done > 0) {
            walk.is_unmarked = false;
            count_done(&walk, (uint64_t)done);
            walk.len = walk.end - walk.at; /* behind a border the rest may be one VMA again */
        } else {
            on_error(&walk, (int)-done);
        }
    }
    if (!port->closing)
        wake_flush(&walk);
}

void uffd_port_show(struct uffd_port *port, struct range range, uint64_t page_bytes)
{
    walk_pages(port, CALL_SHOW, range, page_bytes);
}

void uffd_port_show_protected(struct uffd_port *port, struct range range, uint64_t page_bytes)
{
    walk_pages(port, CALL_SHOW_PROTECTED, range, page_bytes);
}

/* Return: 0, -ENOENT not all of it is registered for that, -EAGAIN */
static int write_protect(struct uffd_port *port, struct range range, uint64_t mode)
{
    struct uffdio_writeprotect args = {
        .range = {.start = range.start, .len = range_len(range)},
        .mode = mode,
    };

    if (port->gone || port->closing || range_is_empty(range))
        return 0;
    if (ioctl(port->fd, UFFDIO_WRITEPROTECT, &args) == 0)
        return 0;
    if (errno == ESRCH) {
        uffd_port_set_gone(port);
        return 0;
    }
    return errno == ENOENT ? -ENOENT : -EAGAIN;
}

int uffd_port_protect(struct uffd_port *port, struct range range)
{
    int r = write_protect(port, range, UFFDIO_WRITEPROTECT_MODE_WP);
    struct range half = range;

    if (r != -ENOENT)
        return r;
    if (range_len(range) <= SMALLEST_PAGE)
        return 0; /* the client unmapped it, or mapped something of its own there */
    half.end = range.start + range_len(range) / 2 / SMALLEST_PAGE * SMALLEST_PAGE;
    r = uffd_port_protect(port, half);
    return r < 0 ? r : uffd_port_protect(port, (struct range){half.end, range.end});
}

void uffd_port_unprotect(struct uffd_port *port, struct range range)
{
    int r = write_protect(port, range, 0);

    if (r == -EAGAIN)
        uffd_port_defer(port, range); /* who waits is woken later, and reported again */
    else if (r < 0)
        uffd_port_wake(port, range);
}

void uffd_port_poison(struct uffd_port *port, struct range range, uint64_t page_bytes)
{
    walk_pages(port, CALL_POISON, range, page_bytes);
}
