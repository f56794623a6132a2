/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the flow files share: the engine and the things it owns. One engine is one thread, one loop,
 * one io_uring; nothing here is global and nothing is locked.
 *
 *   engine --+-- space (one client)  --+-- vmas (aspace) --> object      file --> object
 *            |                         +-- files by id                   object --> driver
 *            |                         +-- uffd port
 *            +-- driver (one process) --+-- objects by key
 *                                       +-- link (its socket, calls in flight), fill ring
 *
 * Lifetimes, by reference counts of their own:
 *   file    each space whose client holds it (1) + each VMA that shows it (1) + each transaction or
 *           call under way
 *   object  each file (1) + each VMA (1) + each fill run, read, wait or revoke under way (1)
 *   driver  the connection (1) + each object (1) + each file (1) + each request under way (1): a
 *           dead driver's struct stays until nobody names it
 *   space   the connection (1) + its uffd port (1) + each request, unmapping or undo under way (1)
 */
#ifndef MUSE_SERVER_FLOW_ENGINE_H
#define MUSE_SERVER_FLOW_ENGINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/idmap.h"
#include "common/base/list.h"
#include "common/base/must.h"
#include "common/base/rbtree.h"
#include "proto/hooks.h"
#include "server/cache/evict.h"
#include "server/cache/page_table.h"
#include "server/cache/poison.h"
#include "server/fault/readahead.h"
#include "server/fault/run.h"
#include "server/fault/spin.h"
#include "server/loop/loop.h"
#include "server/loop/notify.h"
#include "server/loop/ring.h"
#include "server/quota/quota.h"
#include "server/store/lock_file.h"
#include "server/store/store.h"
#include "server/uffd/uffd_port.h"
#include "server/vm/aspace.h"

struct admin;
struct config;
struct driver_link;
struct evict_flow;
struct fork_request;
struct kept;
struct listener;
struct mm_request;
struct session;
struct touch_log;
struct trace;

struct engine {
    struct loop loop;
    struct ring ring;
    struct spin spin;         /* staying awake between faults */
    struct notifier notifier; /* for muse_prefetch */
    struct store store;
    const struct config *config; /* borrowed from server */
    struct idmap spaces;         /* id -> struct space */
    struct idmap objects;        /* id -> struct object */
    struct idmap drivers;        /* id -> struct driver, dead ones that are still named too */
    struct list sessions;        /* struct session.link: client connections, attached or not */
    unsigned n_unattached;       /* of these, not attached yet */
    struct list links;  /* struct driver_link.link: driver connections, with or without hello */
    struct list forks;  /* struct fork_token.node: copies of spaces that wait for a forked child */
    struct list admins; /* control connections, linked by inspect.c */
    struct list driver_names;  /* struct driver.by_name: living drivers */
    struct quota_table quotas; /* per uid */
    struct list populated;     /* struct extent_job.node: blocks to be read, one a turn */
    struct turn_hook populated_turn;
    struct list dirty;       /* struct object.wb.dirty: objects with pages to be written back */
    struct list fill_waits;  /* struct fill_wait.node: calls that wait for pages */
    struct deadline flusher; /* when the oldest of the dirty ones is due */
    struct list settling;    /* struct settling.node: written back, not clean yet */
    struct deadline settler; /* when the first of them has rested */
    uint64_t settle_hurry_until_ns;
    struct list kept; /* struct kept.node: objects whose dirty pages wait for a driver to return */
    struct deadline kept_due;  /* when the first of them is given up */
    struct trace *trace;       /* owned: hook calls to whoever follows */
    struct evict_flow *evict;  /* owned: which pages go when the caches are full */
    struct touch_log *touches; /* owned: NULL: not recorded */
    int uffd_device;           /* owned: /dev/userfaultfd, or -1 */
    uint64_t next_id;          /* spaces, objects, drivers, VMAs, runs: one counter */
    uint64_t started_ns;
    bool kernel_v1; /* contract = "kernel-v1" */
    struct engine_stats {
        uint64_t faults, faults_joined, faults_hit, faults_miss, faults_repeated, faults_poisoned,
            faults_outside;
        uint64_t runs_extents, runs_fill, runs_zero, run_pages, readahead_pages, bytes_filled;
        uint64_t maps, unmaps, map_failures, merges, prepares, completes, aborts, closes, opens;
        uint64_t sessions_refused, protocol_errors, driver_errors, pages_invalidated, graduations;
        uint64_t faults_write, mkwrites, runs_writeback, pages_written, writeback_errors;
        uint64_t pages_evicted, evict_passes, ghost_hits, refaults, pages_stored_late;
    } stats;
};

/* A driver process, from its hello on. */
struct driver {
    struct list by_name; /* in engine.driver_names while alive */
    uint64_t id;
    uint64_t n_refs;
    char name[40];
    struct engine *engine;
    struct driver_link *link; /* owned; NULL once dead */
    bool alive;
    bool recovering; /* it is getting what a predecessor left: nobody finds it by its name yet */
    struct kept *recovers; /* right now this; or NULL */
    bool read_only;        /* it said so: no client ever gets a writable fd of its objects */
    uint32_t file_hooks;   /* enum file_hook */
    uint32_t n_vm_ops;
    struct driver_vm_ops {
        uint32_t id, hooks;
        char name[32];
    } vm_ops[32];
    struct idmap objects;   /* object key -> struct object */
    struct list lock_files; /* struct lock_file.node: of objects that are gone */
    uint64_t hook_deadline_ns;
    struct list requests; /* struct map_request.of_driver: transactions that involve it */
    uid_t uid;
    pid_t pid;
    uint64_t connected_ns;
    /* what it owes, runs of extents too: struct run.owner_link, oldest deadline first */
    struct list runs;
    struct deadline runs_deadline; /* of the first of them; set and cleared by fill_driver.c */
    struct deadline answers_again; /* some were left in the ring, so that others had their turn */
    struct driver_counts {
        uint64_t prepared, completed, aborted, in_flight, opened, released, vm_open, vm_close,
            calls, call_ns, errors, late, faults_asked, pages_asked, pages_supplied, faults_failed;
    } n;
    char last_error[256];
    /* why it is gone, as far as it is known: what its clients are told */
    int gone_error; /* errno; 0: not known yet */
    char gone_text[192];
};

/* Where an object's bytes come from. */
enum object_source { OBJECT_FILL, OBJECT_EXTENTS };

struct object_extent {
    uint64_t object_offset, length, fd_offset; /* bytes */
    int fd;                                    /* borrowed from object.extent_fds; -1: zeros */
    bool in_memory;                            /* tmpfs, memfd: a read never waits for a device */
};

/* The bytes behind files that share content: one page cache. */
struct object {
    uint64_t id;
    uint64_t n_refs;
    struct engine *engine;
    struct driver *driver; /* ref */
    uint64_t key;          /* the driver's name for it */
    char *name;            /* owned: DRIVER/PATH of the first open, for people */
    uint64_t inode;        /* of its first open */
    uint64_t size_bytes;
    bool was_resized;    /* or was about to be */
    uint32_t page_shift; /* 12 or 21 */
    struct backing backing;
    struct page_table pages;
    struct poison poison;   /* which pages failed, and why */
    struct poison vanished; /* valid pages the memfd lacked: asked for once more, then poison */
    uint64_t answers_from;  /* unasked pages of older requests may precede a revoke: not taken */
    uint64_t n_failures;    /* pages that failed under somebody; each power of two is logged */
    struct run_table runs;  /* in flight, by page */
    struct list mappings;   /* struct vma.object_link; entered before complete and any populating */
    enum object_source source;
    struct object_extent *extents; /* owned, sorted, not overlapping; what they leave out: zeros */
    size_t n_extents;
    int *extent_fds; /* owned */
    size_t n_extent_fds;
    unsigned n_extent_claims; /* who said them: opens, maps that live, maps under way */
    uid_t uid;                /* who is charged */
    bool lost;                /* its driver died: absent pages are poison from now on */
    uint64_t n_faults, n_filled_pages;
    uint32_t n_completing; /* mmap_complete calls in progress on its mappings */
    uint32_t n_invalidations;
    struct list invalidations; /* revokes that wait for these */
    struct list resizes;       /* struct resize.node: changes of its size, the first is under way */
    struct object_wb {
        struct list runs;     /* struct wb_run.node: what the driver is writing, oldest first */
        struct list syncs;    /* struct sync.node */
        struct list holds;    /* struct wb_hold.node: pages that clients write to by themselves */
        struct list mkwrites; /* struct mkwrite.node: page_mkwrite calls under way */
        struct rb_root settling; /* struct settling.rb: written back, not clean yet */
        struct list dirty;       /* in engine.dirty while the object is held for its dirty pages */
        struct deadline again;   /* a client's mm was changing, or the driver failed: try again */
        struct sync *flush;      /* the background's own, or NULL */
        unsigned n_runs, n_tries, n_settling;
        unsigned n_overdue;      /* of the runs, those whose deadline has passed */
        uint64_t seq;            /* number of the last run */
        uint64_t dirty_since_ns; /* of the oldest page that may be dirty */
        uint64_t due_ns;         /* when the background writes back */
        uint64_t backoff_ns;     /* after a failure of the driver */
        int error;               /* errno of the last failure; 0: none yet */
        uint64_t error_seq;      /* how many failures */
        uint64_t told_seq;       /* the last one that anybody was told of */
        uint64_t n_written;      /* pages written back */
    } wb;
    struct evict_object evict;
    struct lock_file *locks; /* owned; NULL: no client has asked for it */
    struct list pins;        /* struct evict_pin.node: pages that clients read through their fd */
    bool had_writer;         /* it is, or was, open for writing: what is clean is not known */
    uid_t writer_uid;        /* who opened it last for writing */
    gid_t writer_gid;
    struct kept *kept; /* owned: it waits for its driver to come back; or NULL */
    uint64_t n_evicted_pages, evicted_at_ns;
};

/* An open file. VMAs point to it (vma.file). */
struct file {
    uint64_t id; /* unique in the server; the client's handle */
    uint64_t n_refs;
    struct driver *driver; /* ref */
    struct object *object; /* ref */
    uint64_t handle;       /* the driver's name for it */
    uint32_t oflags;
    uint32_t n_holders;   /* spaces whose client has not closed it: one, and those forked from it */
    uint64_t wb_seen_seq; /* object.wb.error_seq that it was told of */
    char *path;           /* owned: below the driver's name */
    bool noexec;          /* may not be mapped for execution */
    bool map_sync;        /* MAP_SYNC is legal */
    uint64_t map_align;   /* bytes: where its mappings are placed; at least its page */
    struct file_attr {
        uint64_t size, inode;
        uint32_t mode, uid, gid, nlink;
        int64_t mtime_ns;
    } attr;    /* as of open, or of the last getattr */
    uid_t uid; /* who is charged */
};

/* One client's address space. */
struct space {
    uint64_t id;
    uint64_t n_refs;
    struct engine *engine;
    struct session *session; /* borrowed; NULL once the client is gone */
    struct aspace aspace;
    struct uffd_port uffd;
    bool uffd_open;
    struct idmap files;   /* file id -> struct file, while the client holds it */
    struct list mm_queue; /* struct mm_request.queued: who waits for the mmap write lock, FIFO */
    struct mm_request *writer; /* who holds it; NULL: free */
    struct fork_request *fork; /* the client's fork: queued, or holding the lock; or NULL */
    struct list unmap_ops; /* struct unmap_op.link: unmaps that wait for the client or a driver */
    struct range moving;   /* the client moves a new mapping there; empty: no move is under way */
    struct remap_request *growing; /* borrowed: the client's kernel grows a mapping; or NULL */
    bool granting;                 /* mm_unlock() is handing it on */
    struct run_table parked;       /* faults on write-locked VMAs: waiters by address, no runs */
    struct list waiters;           /* faults that wait for a page: struct page_waiter.space_link */
    struct list accesses;          /* struct access_request.of_space: of which a driver is asked */
    struct list mkwrites;          /* writes that wait for page_mkwrite: struct mkwrite.of_space */
    struct list prefetches;        /* struct prefetch.of_space: muse_prefetch() that are not over */
    unsigned n_prefetches;
    bool dead;          /* the client is gone: only undo runs still */
    char refusal[256];  /* who was against the last split and why; valid in split_check.done */
    struct list preads; /* reads of pages through its fds: struct pread_request.of_space */
    unsigned n_preads;
    _Atomic uint64_t *taken; /* owned, seen by the client: how often pages that it may have been
                                reading through an fd were taken away; NULL before it attaches */
    uid_t uid;
    gid_t gid;
    pid_t pid;
    char program[72];
    uint64_t connected_ns;
    struct space_stats {
        uint64_t faults, faults_joined, poisoned, maps, unmaps;
    } stats;
};

/**
 * engine_init() - loop, io_uring, store, no peers yet
 * @engine:  zeroed memory of the caller
 * @config:  borrowed, outlives the engine
 * @ret_why: on failure: a static sentence
 *
 * Return: 0 or -errno; on failure main exits, and the kernel closes what was opened.
 */
MUST_CHECK int engine_init(struct engine *engine, const struct config *config,
                           const char **ret_why);

/** engine_done() - no peer is left; MUST: no handle is left over */
void engine_done(struct engine *engine);

/* engine.c: references; the last unref frees and undoes every charge */
struct file *file_ref(struct file *file);
void file_unref(struct file *file);
/* @space's client may name the file from now on, a reference of its own. Holders but the first are
 * charged. Return: 0 or -ENOMEM. */
MUST_CHECK int file_hold(struct file *file, struct space *space);
/* no more: drops that reference */
void file_unhold(struct file *file, struct space *space);
struct object *object_ref(struct object *object);
void object_unref(struct object *object);
struct driver *driver_ref(struct driver *driver);
void driver_unref(struct driver *driver);
struct space *space_ref(struct space *space);
void space_unref(struct space *space);

/** engine_served() - faults, or answers to them, that were seen at @came_ns have been served: the loop
 * stays awake for the next ones, where that has been worth it */
void engine_served(struct engine *engine, uint64_t came_ns);

/** engine_id() - the next id; never 0, never used again */
static inline uint64_t engine_id(struct engine *engine)
{
    return ++engine->next_id;
}

/** object_gets_pages() - whether absent pages can be had: the driver lives, and the page cache can be
 * changed */
static inline bool object_gets_pages(const struct object *object)
{
    return !object->lost && !object->backing.is_stuck;
}

/** object_n_pages() - in the object's own pages */
static inline uint64_t object_n_pages(const struct object *object)
{
    return (object->size_bytes + (1ull << object->page_shift) - 1) >> object->page_shift;
}

/** object_page_bytes() */
static inline uint64_t object_page_bytes(const struct object *object)
{
    return 1ull << object->page_shift;
}

/** vma_object(), vma_file(), vma_space() - the VMA's opaque pointers with their types */
static inline struct object *vma_object(const struct vma *vma)
{
    return vma->object;
}

static inline struct file *vma_file(const struct vma *vma)
{
    return vma->file;
}

static inline struct space *vma_space(const struct vma *vma)
{
    return vma->owner;
}

#endif
