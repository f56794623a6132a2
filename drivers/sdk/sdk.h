/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of libmuse-driver: what its files share. Nothing here is seen by drivers.
 *
 * Threads. The main thread owns every table (files, VMAs, open mapping calls, requests, parked
 * events) without a lock and runs all hooks but `fault`. The fault thread and the driver's own
 * threads touch only: the objects (their lock), the answer queue (its lock), and the list of
 * answered requests (driver->lock). An answer is sent and listed under driver->lock, and the main
 * thread empties that list before it looks at any frame: so what the server sends because of an
 * answer always meets tables in which that answer has already arrived.
 *
 *   frame -> event -- VMA busy? --> parked -- its request was answered -.
 *              |                                                        v
 *              `--------------------------------------------------> hook runs -> answer -> retired
 *                                                                       |          ^
 *                                                deferred: muse_reply() `----------'
 */
#ifndef MUSE_DRIVERS_SDK_SDK_H
#define MUSE_DRIVERS_SDK_SDK_H

#include <muse/driver.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "common/base/idmap.h"
#include "common/base/list.h"
#include "common/base/must.h"
#include "common/ipc/chan.h"
#include "proto/driver.pb-c.h"
#include "proto/fill_ring.h"
#include "proto/limits.h"
#include "proto/path.pb-c.h"

/* An object's bytes: the server's memfd. Shared by the object and the faults that write to it. */
struct page_cache {
    int memfd;                   /* owned */
    uint64_t id;                 /* the server's: a later page cache of the same key has another */
    _Atomic uint64_t size_bytes; /* this and n_pages change while faults are being served */
    uint64_t page_bytes;
    _Atomic uint64_t n_pages;
    uint8_t *mapped; /* owned; all of the memfd, 2 MiB pages only; NULL until the first write */
    unsigned n_refs; /* under objects.lock */
};

struct object { /* objects.c */
    uint64_t key;
    void *_Atomic user_object; /* the driver's */
    struct page_cache *cache;  /* owned ref; NULL before DRIVER_OBJECT, after DRIVER_OBJECT_GONE */
    unsigned n_files;
    unsigned n_faults;
    struct list node; /* in objects.gone */
};

struct objects {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct idmap by_key;    /* of owned struct object */
    struct list gone;       /* of owned struct object: nothing uses them, object_gone is due */
    bool lost;              /* nobody waits any more */
    uint64_t last_cache_id; /* of the newest page cache: they grow, and come in order */
};

struct file { /* files.c */
    struct muse_driver_file pub;
    struct muse_attr attr; /* as open said */
    unsigned n_users; /* requests, open mapping calls, kept VMAs and parked events that name it */
    bool open;        /* the open hook succeeded and release was not called */
};

struct vma { /* vmas.c */
    struct muse_vma pub;
    struct muse_request *request; /* the hook that runs or is deferred; NULL: none */
    unsigned n_parked;            /* events that wait for it */
    bool live;                    /* exists for the driver: close is still to come */
    bool keeps_file;              /* counted in its file's n_users */
};

/* A prepare that succeeded and whose complete or abort has not come. */
struct map_call {
    struct list node; /* in driver->map_calls */
    uint64_t prepare_id;
    uint64_t space_id;
    uint64_t start;
    uint64_t end;
    struct file *file; /* borrowed, counted in n_users */
    void *private_data;
    void *context;
};

/* One decoded frame. */
struct event {
    struct list node; /* in driver->parked */
    uint16_t type;
    uint64_t id;
    ProtobufCMessage *message; /* owned */
    struct frame *frame;       /* borrowed, while it is dispatched: only for its fds */
    struct file *parked_file;  /* borrowed, counted in n_users while parked; may be NULL */
    bool parked;
};

enum request_kind {
    REQUEST_OPEN,
    REQUEST_GETATTR,
    REQUEST_PREPARE,
    REQUEST_COMPLETE,
    REQUEST_LEGACY_MMAP,
    REQUEST_MAY_SPLIT,
    REQUEST_MPROTECT,
    REQUEST_MREMAP,
    REQUEST_ACCESS,
    REQUEST_NAME,
    REQUEST_WRITEBACK,
    REQUEST_FSYNC,
    REQUEST_TRUNCATE,
    REQUEST_FALLOCATE,
    REQUEST_PAGE_MKWRITE,
    REQUEST_PATH
};

/* What mmap_complete or mmap has asked for. */
struct sdk_verb {
    struct muse_action action;
    int error; /* -errno; SDK_VERB_POISON only */
};

/* One call of a hook that has an answer. */
struct muse_request {
    struct muse_driver *driver;
    enum request_kind kind;
    uint64_t id;         /* of the frame it answers */
    struct event *event; /* owned: what the hook sees points into it */
    struct file *file;   /* borrowed, counted in n_users */
    struct vma *vma;     /* borrowed; its request is this one */
    struct list node;    /* in driver->deferred, then in driver->replied */
    bool deferred;
    int error; /* what the hook said; then what the server was told */
    char text[ERROR_TEXT_BYTES_MAX];

    struct muse_open_args open_args;
    struct muse_open_result open_result;
    struct muse_attr attr;
    struct muse_writeback writeback;
    struct object *object;    /* pinned, with its page cache; NULL: none */
    struct page_cache *cache; /* of it */
    struct muse_vma_desc desc;
    struct muse_vma before; /* legacy mmap: the VMA as it was handed to the hook */
    struct file *new_file;  /* prepare's muse_desc_open_file(): open; NULL: none */
    struct muse_open_result new_result;
    char *new_name;            /* owned */
    struct map_call *map_call; /* owned: prepare's, put into the table when it succeeded */
    void *context;             /* complete's */
    struct sdk_verb *verbs;    /* owned; room for n_verbs_room */
    unsigned n_verbs, n_verbs_room;
    int verb_fds[FRAME_FDS_MAX]; /* borrowed from the driver: what they remap, each once */
    unsigned n_verb_fds;
    char *forward;            /* owned */
    uint8_t *buf;             /* owned: what access fills in */
    const char *name;         /* borrowed until the answer: what vma_name returned */
    struct path_result *path; /* owned: what a path hook fills in */
    bool orphaned;            /* the hook succeeded, its answer could not be sent: undo it */
};

/* Verbs that no mmap_prepare can declare: no member of enum muse_action_type. */
#define SDK_VERB_SUPPLY ((enum muse_action_type)MUSE__WIRE__ACTION__TYPE__SUPPLY)
#define SDK_VERB_POISON ((enum muse_action_type)MUSE__WIRE__ACTION__TYPE__POISON)
#define SDK_VERB_GROW   ((enum muse_action_type)MUSE__WIRE__ACTION__TYPE__GROW)

/* One muse_invalidate() that waits. */
struct invalidation {
    struct list node;
    uint64_t id;
    bool done;
    int error;
};

struct muse_driver {
    struct muse_driver_ops ops; /* a copy, as long as this SDK's; what the driver lacks is NULL */
    void *user;
    char name[DRIVER_NAME_BYTES_MAX + 1];
    char version_text[128];
    const char *rundir; /* borrowed from argv or the environment; NULL: the default */
    bool verbose;
    bool read_only; /* said in hello */
    pthread_t main_thread;

    struct chan chan;
    int signal_fd; /* owned */
    int wake_fd;   /* owned; an eventfd: something for the main thread to look at */
    atomic_bool lost;
    uint64_t hook_deadline_ns;

    /* the main thread's */
    struct idmap files; /* handle -> owned struct file */
    struct idmap vmas;  /* vma id -> owned struct vma */
    uint64_t last_handle;
    struct list map_calls;
    unsigned n_deferred; /* requests that are not retired */
    unsigned n_deferred_opens;
    struct list parked; /* events */

    pthread_mutex_t lock; /* of these, and of the order of answers */
    pthread_cond_t invalidated;
    struct list deferred; /* requests that wait for muse_reply() */
    struct list replied;  /* requests to retire */
    struct list invalidations;
    uint64_t last_invalidation;

    struct objects objects;

    /* the fault thread's */
    pthread_t fault_thread;
    bool has_fault_thread;
    atomic_bool stop_faults;
    atomic_bool fault_thread_ended;
    atomic_uint n_faults;         /* begun and not ended */
    struct fill_ring *ring;       /* owned mapping; shared with the server: untrusted */
    int wake_driver_fd;           /* owned */
    int wake_server_fd;           /* owned */
    pthread_mutex_t answers_lock; /* of these; one producer at a time */
    bool unflushed;               /* answers the server was not woken for */
    struct list faults;           /* begun and not ended */
};

/** sdk_wake() - make the main thread look at its lists, from any thread */
void sdk_wake(struct muse_driver *driver);

/** sdk_trace() - one line on stderr when --verbose was given. printf. */
__attribute__((format(printf, 2, 3))) void sdk_trace(const struct muse_driver *driver,
                                                     const char *format, ...);

/** sdk_complain() - one line on stderr: "PROGRAM: ..." */
__attribute__((format(printf, 1, 2))) void sdk_complain(const char *format, ...);

/** sdk_now_ns() - CLOCK_MONOTONIC */
uint64_t sdk_now_ns(void);

/** sdk_connection_lost() - nothing can be sent any more: tell the main thread. From any thread. */
void sdk_connection_lost(struct muse_driver *driver);

/** sdk_send() - one frame to the server; failure means the connection is lost.
 * Return: 0; -EMSGSIZE; -ENODEV. */
MUST_CHECK int sdk_send(struct muse_driver *driver, uint16_t type, uint64_t id,
                        const ProtobufCMessage *message, const int *fds, unsigned n_fds);

/** sdk_wire_error() - a hook's result on the wire: -errno becomes errno, nonsense stays nonsense */
static inline int32_t sdk_wire_error(int result)
{
    return result == INT32_MIN ? INT32_MAX : -result;
}

/** sdk_pointer() - a pointer of ours that travelled as a number */
static inline void *sdk_pointer(uint64_t number)
{
    void *pointer;

    _Static_assert(sizeof(pointer) == sizeof(number), "pointers travel as 64-bit numbers");
    memcpy(&pointer, &number, sizeof(pointer));
    return pointer;
}

/** sdk_number() - a pointer as the number that travels */
static inline uint64_t sdk_number(const void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

/* connect.c */

/**
 * connect_server() - connect, say hello, take the ring
 * @driver: chan, ring and eventfds are set on success
 *
 * Return: 0; -errno, after the reason was printed.
 */
MUST_CHECK int connect_server(struct muse_driver *driver);

/* dispatch.c */

/** dispatch_frame() - decode one frame and run or park what it asks for.
 * Return: 0; -EPROTO; -ENOMEM. */
MUST_CHECK int dispatch_frame(struct muse_driver *driver, struct frame *frame);

/** dispatch_retire() - on the main thread: finish what was answered, run what waited for it, tell
 * of objects that ended */
void dispatch_retire(struct muse_driver *driver);

/** event_free() - NULL is a no-op. Return: NULL. */
struct event *event_free(struct event *event);

/* hooks.c: each runs one hook for one event; takes what it needs from the event */

/** hook_open() - DRIVER_OPEN. Takes the event, as all with an answer do. Return: 0; -ENOMEM. */
MUST_CHECK int hook_open(struct muse_driver *driver, struct event *event);
/** hook_getattr() - DRIVER_GETATTR */
MUST_CHECK int hook_getattr(struct muse_driver *driver, struct event *event);
/** hook_prepare() - PREPARE */
MUST_CHECK int hook_prepare(struct muse_driver *driver, struct event *event);
/** hook_complete() - COMPLETE */
MUST_CHECK int hook_complete(struct muse_driver *driver, struct event *event);
/** hook_legacy_mmap() - LEGACY_MMAP */
MUST_CHECK int hook_legacy_mmap(struct muse_driver *driver, struct event *event);
/** hook_may_split() - MAY_SPLIT */
MUST_CHECK int hook_may_split(struct muse_driver *driver, struct event *event);
/** hook_mprotect() - MPROTECT */
MUST_CHECK int hook_mprotect(struct muse_driver *driver, struct event *event);
/** hook_mremap() - MREMAP */
MUST_CHECK int hook_mremap(struct muse_driver *driver, struct event *event);
/** hook_access() - DRIVER_ACCESS */
MUST_CHECK int hook_access(struct muse_driver *driver, struct event *event);
/** hook_name() - VMA_NAME */
MUST_CHECK int hook_name(struct muse_driver *driver, struct event *event);
/** hook_writeback() - WRITEBACK */
MUST_CHECK int hook_writeback(struct muse_driver *driver, struct event *event);
/** hook_fsync() - DRIVER_FSYNC */
MUST_CHECK int hook_fsync(struct muse_driver *driver, struct event *event);
/** hook_truncate() - DRIVER_TRUNCATE */
MUST_CHECK int hook_truncate(struct muse_driver *driver, struct event *event);
/** hook_fallocate() - DRIVER_FALLOCATE */
MUST_CHECK int hook_fallocate(struct muse_driver *driver, struct event *event);
/** hook_page_mkwrite() - PAGE_MKWRITE */
MUST_CHECK int hook_page_mkwrite(struct muse_driver *driver, struct event *event);
/** request_grown() - what may have made an object longer succeeded, and is about to be answered */
void request_grown(struct muse_request *request);
/** request_unpin() - let go of the object a request pinned; a no-op when there is none */
void request_unpin(struct muse_request *request);
/** hook_abort() - ABORT; frees the event, as all hooks without an answer do */
MUST_CHECK int hook_abort(struct muse_driver *driver, struct event *event);
/** hook_vma_open() - VMA_OPEN */
MUST_CHECK int hook_vma_open(struct muse_driver *driver, struct event *event);
/** hook_vma_close() - VMA_CLOSE */
MUST_CHECK int hook_vma_close(struct muse_driver *driver, struct event *event);
/** hook_release() - DRIVER_RELEASE */
MUST_CHECK int hook_release(struct muse_driver *driver, struct event *event);

/** hook_release_file() - call release for an open file and free it */
void hook_release_file(struct muse_driver *driver, struct file *file);
/** hook_abort_call() - call mmap_abort for an open mapping call and free it */
void hook_abort_call(struct muse_driver *driver, struct map_call *call);
/** hook_close_vma() - call close for a live VMA; it is not live afterwards */
void hook_close_vma(struct muse_driver *driver, struct vma *vma);
/** hook_objects_gone() - call object_gone for every object that is due */
void hook_objects_gone(struct muse_driver *driver);

/* paths.c */

/** hook_path() - DRIVER_STATAT, READDIR, READLINK, UNLINK, RENAME, MKDIR, SETATTR */
MUST_CHECK int hook_path(struct muse_driver *driver, struct event *event);
/** path_result_free() - NULL is a no-op. Return: NULL. */
struct path_result *path_result_free(struct path_result *result);
/** path_answer() - the good answer to a path hook, by the type of its event
 * @ret_type: of the frame   Return: borrowed from the request. */
const ProtobufCMessage *path_answer(struct muse_request *request, uint16_t *ret_type);

/* request.c */

/** request_new() - for the event's hook. @event: takes.
 * Return: NULL when out of memory (the event is freed). */
struct muse_request *request_new(struct muse_driver *driver, enum request_kind kind,
                                 struct event *event);

/** request_begin() - the hook is about to run on this thread: muse_request_defer() finds it */
void request_begin(struct muse_request *request);

/** request_end() - the hook returned @error: answer it, unless it was deferred */
void request_end(struct muse_request *request, int error);

/** request_retire() - on the main thread, after the answer: tables are brought up to date, what
 * waited may go on, frees it */
void request_retire(struct muse_request *request);

/** request_free() - without any further effect. Return: NULL. */
struct muse_request *request_free(struct muse_request *request);

/** request_thread_text() - this thread's muse_set_error() text; "" when there is none */
const char *request_thread_text(void);

/** request_clear_thread_text() - forget it */
void request_clear_thread_text(void);

/* request_is_running() - whether this thread is in its hook now */
bool request_is_running(const struct muse_request *request);

/* answers.c */

/**
 * answer_send() - build and send the answer to a request
 *
 * Made from request->error and what the hook filled in. Called with driver->lock held.
 *
 * Return: 0 sent, or nobody is there to be told; -EINVAL, -ENOMEM: what the hook gave does not fit
 * a frame: the server was told of a failure instead.
 */
MUST_CHECK int answer_send(struct muse_request *request);

/* objects.c; all lock by themselves */

/** objects_init() - in place. Return: 0; -errno. */
MUST_CHECK int objects_init(struct objects *objects);
/** objects_done() - frees everything; nothing may use an object any more */
void objects_done(struct objects *objects);

/**
 * objects_open() - a file of this key was opened
 * @user_object: counts only for the first open of a key
 *
 * Return: 0; -ENOMEM.
 */
MUST_CHECK int objects_open(struct objects *objects, uint64_t key, void *user_object);

/** objects_release() - one file of this key less.
 * Return: whether the object ended, see objects_take_gone(). */
bool objects_release(struct objects *objects, uint64_t key);

/**
 * objects_attach() - the server made the page cache
 * @memfd: takes on success
 *
 * Return: 0; -EPROTO sizes are nonsense; -ENOMEM.
 */
MUST_CHECK int objects_attach(struct objects *objects, uint64_t key, uint64_t cache_id,
                              uint64_t size_bytes, uint64_t page_bytes, int *memfd);

/** objects_detach() - the server dropped it. Unknown keys are ignored. */
void objects_detach(struct objects *objects, uint64_t key, uint64_t cache_id);

/**
 * objects_pin() - find an object with a page cache for a fault; waits for it
 * @cache_id:    of the page cache; 0: whichever it has
 * @deadline_ns: monotonic
 * @ret_object, @ret_cache: stay until objects_unpin()
 *
 * Return: 0; -ENODEV it did not come.
 */
MUST_CHECK int objects_pin(struct objects *objects, uint64_t key, uint64_t cache_id,
                           uint64_t deadline_ns, struct object **ret_object,
                           struct page_cache **ret_cache);

/** objects_unpin() - a fault ended. Return: whether the object ended. */
bool objects_unpin(struct objects *objects, struct object *object, struct page_cache *cache);

/** objects_resize() - the page cache has this size now. Return: the object, until the next event; NULL:
 * there is none with such a page cache. */
struct object *objects_resize(struct objects *objects, uint64_t key, uint64_t cache_id,
                              uint64_t size_bytes);

/** objects_grow() - the object has at least this size from now on; the page cache follows. An ask
 * for the new pages may overtake DRIVER_RESIZED. */
void objects_grow(struct objects *objects, uint64_t key, uint64_t size_bytes);

/** objects_size() - in pages. Return: 0; -ENOENT unknown or without a page cache. */
MUST_CHECK int objects_size(struct objects *objects, uint64_t key, uint64_t *ret_n_pages);

/** objects_take_gone() - the next object nothing uses any more.
 * Return: the caller's, to be given to free(); NULL: none. */
struct object *objects_take_gone(struct objects *objects);

/** objects_lose() - the connection is gone: wake waiters, drop the page caches (faults keep theirs)
 * and end idle objects */
void objects_lose(struct objects *objects);

/**
 * cache_write() - copy bytes into pages
 * @data: n_pages * page_bytes bytes; NULL: zeros
 *
 * The range has been checked. From any thread.
 * Return: 0; -errno: -ENOSPC no memory or huge page for it.
 */
MUST_CHECK int cache_write(struct objects *objects, struct page_cache *cache, uint64_t first_page,
                           const void *data, uint64_t n_pages);

/* files.c; the main thread's */

/** file_new() - in the table, not open yet. Return: 0; -ENOMEM. */
MUST_CHECK int file_new(struct muse_driver *driver, struct file **ret_file);
/** file_find() - by handle. Return: borrowed; NULL: unknown or not open. */
struct file *file_find(struct muse_driver *driver, uint64_t handle);
/** file_free() - takes it out of the table. NULL is a no-op. Return: NULL. */
struct file *file_free(struct muse_driver *driver, struct file *file);

/* vmas.c; the main thread's */

/** vma_get() - the VMA a message describes, made or brought up to date. Return: 0; -ENOMEM. */
MUST_CHECK int vma_get(struct muse_driver *driver, const Muse__Wire__Vma *wire,
                       struct vma **ret_vma);
/** vma_find() - by id. Return: borrowed; NULL. */
struct vma *vma_find(struct muse_driver *driver, uint64_t id);
/** vma_update() - copy what a message says into it */
void vma_update(struct muse_driver *driver, struct vma *vma, const Muse__Wire__Vma *wire);
/** vma_set_live() - is close still to come? A live VMA with a close operation keeps its file. */
void vma_set_live(struct vma *vma, bool live);
/** vma_has_close() - whether its operations have close */
bool vma_has_close(const struct vma *vma);
/** vma_settle() - forget it when neither the driver nor a hook nor an event needs it */
void vma_settle(struct muse_driver *driver, struct vma *vma);
/** vm_ops_id() - wire id of a table: 0 none; UINT32_MAX: not a listed one, the server refuses it */
uint32_t vm_ops_id(const struct muse_driver *driver, const struct muse_vm_ops *vm_ops);

/* fault.c */

/** faults_start() - the fault thread, when the driver has a fault hook. Return: 0; -errno. */
MUST_CHECK int faults_start(struct muse_driver *driver);
/** faults_stop() - tell it to end; driver->fault_thread_ended and a wake-up follow */
void faults_stop(struct muse_driver *driver);
/** faults_free() - those the driver never ended; nothing may use them any more */
void faults_free(struct muse_driver *driver);
/** fault_thread_is_this() - does this run on the fault thread? */
bool fault_thread_is_this(void);

/** fault_cache_id() - the server's id of the page cache that @fault is about */
uint64_t fault_cache_id(const struct muse_fault *fault);

/* invalidate.c */

/** invalidations_answer() - COMPLETED for one of ours; unknown ids are ignored.
 * @error: as the wire has it */
void invalidations_answer(struct muse_driver *driver, uint64_t id, int error);
/** invalidations_lose() - the connection is gone: wake whoever waits */
void invalidations_lose(struct muse_driver *driver);

/* shutdown.c */

/**
 * shutdown_run() - the connection is gone or a signal came: keep what docs/contract.md promises
 *
 * Its section 2: waits for deferred hooks and pending faults (for a while), then abort, close,
 * release, object_gone, stop.
 *
 * Return: whether everything ended; false: the driver still runs one of its hooks and may not be
 * freed.
 */
bool shutdown_run(struct muse_driver *driver);

#endif
