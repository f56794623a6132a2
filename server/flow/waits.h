/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every wait of the engine seen alike: who waits, for whom, at which stage, since when. For people
 * (`musectl blocked`, `musectl why`); nothing is decided by it. Reads only, and never asks anybody.
 */
#ifndef MUSE_SERVER_FLOW_WAITS_H
#define MUSE_SERVER_FLOW_WAITS_H

#include "server/flow/doc.h"
#include "server/flow/engine.h"

struct driver_call;
struct fill_wait;
struct sync;

/* name, word */
#define WAITS_FOR(X)                                                                               \
    X(DRIVER, "driver")       /* a hook's answer, or pages */                                      \
    X(READ, "read")           /* the server reads extents itself */                                \
    X(CLIENT, "client")       /* to do what it was told */                                         \
    X(LOCK, "lock")           /* the space's write lock, or a mapping's: behind another request */ \
    X(WRITEBACK, "writeback") /* runs of the object */                                             \
    X(COMPLETE, "complete")   /* mmap_complete calls on the object */                              \
    X(RESIZE, "resize")       /* an earlier change of the object's size */                         \
    X(ROOM, "room")           /* a page cache full of pages that are dirty */                      \
    X(PAGES, "pages")         /* a request whose pages are an entry of their own */                \
    X(SERVER, "server")       /* its own next turn */

enum waits_for {
#define X(name, word) WAITS_FOR_##name,
    WAITS_FOR(X)
#undef X
};

/* All borrowed, until something changes. What does not apply is zero. */
struct wait_view {
    const char *what;          /* "fault", "map", "msync", "writeback", ... */
    const char *stage;         /* a word */
    const struct space *space; /* whose; NULL: the server's own */
    uint64_t request_id;       /* the client's, of a map or unmap */
    uint64_t address;
    bool write;
    const struct object *object;
    struct range pages; /* of the object */
    enum waits_for whom;
    const struct driver *driver; /* who owes, when it is a driver; else whose object it is */
    const char *hook;
    const char *args;                /* what the driver was asked */
    const struct mm_request *behind; /* who holds the lock */
    uint64_t since_ns, stage_since_ns;
    uint64_t deadline_ns; /* 0: none */
};

/** wait_see_run() - fill in for whom a page of @object is waited for, at which stage; since_ns set */
void wait_see_run(const struct object *object, uint64_t page, struct wait_view *view);

/* wait_of_*() - Return: false: this is no wait, or is seen as another one. */
bool wait_of_waiter(const struct page_waiter *waiter, struct wait_view *ret_view);
bool wait_of_fill(const struct fill_wait *wait, struct wait_view *ret_view);
bool wait_of_request(const struct mm_request *request, struct wait_view *ret_view);
bool wait_of_call(const struct driver_call *call, struct wait_view *ret_view);
bool wait_of_sync(const struct sync *sync, struct wait_view *ret_view);

/* Of things that only their own file knows: nodes of space.mkwrites (write_flow.c),
 * object.invalidations (loss_flow.c), session.client_calls (session_flow.c), object.wb.runs
 * (writeback.c), object.resizes (resize_flow.c). */
bool wait_of_resize(const struct list *node, struct wait_view *ret_view);
bool wait_of_mkwrite(const struct list *of_space, struct wait_view *ret_view);
bool wait_of_invalidation(const struct list *node, struct wait_view *ret_view);
bool wait_of_client_call(const struct list *node, struct wait_view *ret_view);
bool wait_of_writeback(const struct list *node, struct wait_view *ret_view);

/** wait_document() - as JSON, with a sentence. @now_ns: what ages are counted to, so that those of one
 * answer can be compared */
struct doc *wait_document(const struct wait_view *view, uint64_t now_ns);

/** wait_reason() - for what it waits, in words: "driver faulty (pid 7) was asked fault 1.2 s ago ..."
 * Return: @buf. */
const char *wait_reason(const struct wait_view *view, char *buf, size_t size);

/** duration_text() - "12 ms", "1.2 s". Return: @buf. */
const char *duration_text(uint64_t ns, char buf[static 24]);

#endif
