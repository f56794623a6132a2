/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of muse-faulty share: the driver's state, what it counts, and what a file's name
 * makes it do.
 *
 * It is a driver for tests. It looks into libmuse-driver (drivers/sdk/sdk.h), as no other driver
 * may, because some of the lies it tells cannot be told through <muse/driver.h>.
 */
#ifndef MUSE_DRIVERS_FAULTY_FAULTY_H
#define MUSE_DRIVERS_FAULTY_FAULTY_H

#include <muse/driver.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/list.h"
#include "common/base/must.h"

#define WORD_BYTES_MAX 128u
#define COUNTERS_BYTES 1024u

/* What a name asks for; numbers 0 and words "" where it does not. */
struct behaviour {
    char label[WORD_BYTES_MAX]; /* the name's first part */
    char die_in[WORD_BYTES_MAX];
    char lie[WORD_BYTES_MAX];
    char ops[WORD_BYTES_MAX];
    char action[WORD_BYTES_MAX];
    char verb[WORD_BYTES_MAX];
    char swap_file[WORD_BYTES_MAX];
    char fresh[WORD_BYTES_MAX];
    char pages[WORD_BYTES_MAX];
    char forward[WORD_BYTES_MAX];
    char name[WORD_BYTES_MAX];
    uint64_t size, key;
    uint64_t open_errno, open_delay_ms, open_never, getattr_errno, setattr_errno;
    uint64_t prepare_errno, prepare_delay_ms, prepare_sleep_ms, prepare_never;
    uint64_t complete_errno, complete_delay_ms, complete_sleep_ms, complete_never;
    uint64_t abort_sleep_ms, close_sleep_ms;
    uint64_t mmap_errno, split_errno, split_delay_ms, split_never;
    uint64_t protect_errno, protect_delay_ms, remap_errno, remap_delay_ms;
    uint64_t invalidate, has_invalidate;
    uint64_t fault_errno, fault_delay_ms, fault_sleep_ms, fault_never, fault_partial, fault_nothing;
    uint64_t fault_single;
    uint64_t page, has_page;
    uint64_t set_flags, clear_flags, set_pgoff, has_set_pgoff, set_prot, has_set_prot, private_data;
    uint64_t lock, extents;
    uint64_t writeback_errno, writeback_fails, writeback_delay_ms, writeback_never, fsync_errno;
    uint64_t mkwrite_errno, mkwrite_delay_ms;
    uint64_t access_errno, access_delay_ms, access_short, access_nothing;
    uint64_t name_errno, name_delay_ms, name_sleep_ms;
};

/* Numbers the control object faulty/counters shows, in this order. */
#define COUNTERS(X)                                                                                \
    X(prepare)                                                                                     \
    X(complete)                                                                                    \
    X(abort)                                                                                       \
    X(open)                                                                                        \
    X(close)                                                                                       \
    X(split)                                                                                       \
    X(mprotect)                                                                                    \
    X(mremap)                                                                                      \
    X(mmap)                                                                                        \
    X(fault)                                                                                       \
    X(fault_pages)                                                                                 \
    X(opened)                                                                                      \
    X(release)                                                                                     \
    X(getattr)                                                                                     \
    X(gone)                                                                                        \
    X(refused)                                                                                     \
    X(writeback)                                                                                   \
    X(writeback_pages)                                                                             \
    X(fsync)                                                                                       \
    X(mkwrite)                                                                                     \
    X(access)                                                                                      \
    X(name)                                                                                        \
    X(setattr)                                                                                     \
    X(invalidated)                                                                                 \
    X(locked)                                                                                      \
    X(in_flight)                                                                                   \
    X(mismatch)

struct faulty_counters {
#define X(name) atomic_ullong name;
    COUNTERS(X)
#undef X
};

struct faulty_object {
    struct list node; /* in faulty.objects */
    uint64_t key;
    char *path;                 /* owned */
    struct behaviour behaviour; /* of the open that made it; what fault obeys */
    uint64_t size_bytes;
    char *text; /* owned; faulty/counters: its bytes. NULL: the pattern */
    int memfd;  /* owned; the pattern, for actions and extents; -1 until needed */
    struct muse_extent extent;
};

struct faulty_file {
    struct list node; /* in faulty.files */
    struct faulty *faulty;
    struct faulty_object *object; /* borrowed; outlives its files */
    struct behaviour behaviour;
    struct muse_driver_file *sdk_file; /* as last seen by a hook; NULL before the first */
    bool is_counters;
};

/* One mapping call between prepare and its end. */
struct faulty_call {
    struct list node; /* in faulty.calls */
    uint64_t context;
    bool holds_lock;
};

/* Answers that come later; see delay.c. */
struct delays {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct list entries;
    pthread_t thread;
    bool running;
    bool stopping;
};

struct faulty {
    struct muse_driver *driver;
    struct faulty_counters n;
    struct list objects;
    struct list files;
    struct list calls;
    uint64_t last_key;
    uint64_t last_context;
    struct delays delays;
    struct list revokes;    /* of struct revoke, see revoke.c; main thread only */
    const char *registered; /* --register=..., "" without */
    const char *report;     /* --report, NULL without */
};

/* behaviour.c */

/**
 * behaviour_parse() - from a name: LABEL[,WORD|,KEY=VALUE]...
 * @ret_behaviour: written on success
 *
 * Return: 0; -EINVAL, muse_set_error() says which part is not understood.
 */
MUST_CHECK int behaviour_parse(const char *path, struct behaviour *ret_behaviour);

/** is_word() - does a word of a behaviour say this? */
bool is_word(const char *word, const char *wanted);

/* objects.c */

/** faulty_open() and so on: the file operations, as <muse/driver.h> has them */
int faulty_open(void *user, const struct muse_open_args *args, struct muse_open_result *ret_result);
void faulty_release(void *user, struct muse_driver_file *file);
int faulty_getattr(void *user, struct muse_driver_file *file, struct muse_attr *ret_attr);
void faulty_object_gone(void *user, uint64_t object_key, void *object);

/** faulty_counters_text() - all counters as a line. @text: COUNTERS_BYTES. Return: its length. */
size_t faulty_counters_text(const struct faulty *faulty, char *text);

/** faulty_objects_done() - free what is left when the driver ends */
void faulty_objects_done(struct faulty *faulty);

/** faulty_file_of() - the file behind the SDK's */
struct faulty_file *faulty_file_of(const struct muse_driver_file *file);

/** faulty_pattern() - @n_pages pages of 4 KiB: word i of page p is p * 512 + i */
void faulty_pattern(void *bytes, uint64_t first_page, uint64_t n_pages);

/** faulty_fresh() - in mmap_prepare: map a file made for this mapping, as behaviour.fresh says.
 * Return: 0; -errno. */
int faulty_fresh(const struct faulty_file *file, struct muse_vma_desc *desc);

/** faulty_memfd() - the object's pattern as a memfd, made when first asked for.
 * Return: an fd, borrowed; -errno. */
int faulty_memfd(struct faulty_object *object);

/* names.c */

/** faulty_getattr_path() and so on: the hooks about names */
int faulty_getattr_path(void *user, const struct muse_open_args *args, struct muse_attr *ret_attr);
int faulty_readdir(void *user, const struct muse_open_args *args, uint64_t cursor,
                   struct muse_dir *dir);
int faulty_readlink(void *user, const struct muse_open_args *args, char *ret_target, size_t size);
int faulty_setattr_path(void *user, const struct muse_open_args *args,
                        struct muse_driver_file *file, struct muse_attr_change *change);

/* hooks.c: the mapping hooks, and the vm operations */

int faulty_mmap_prepare(struct muse_vma_desc *desc);
int faulty_mmap_complete(struct muse_driver_file *file, struct muse_vma *vma, const void *context);
void faulty_mmap_abort(const struct muse_driver_file *file, const void *vm_private_data,
                       const void *context);
int faulty_mmap(struct muse_driver_file *file, struct muse_vma *vma);
extern const struct muse_vm_ops *const faulty_vm_ops[];

/** faulty_calls_done() - free what is left when the driver ends */
void faulty_calls_done(struct faulty *faulty);

/** faulty_maybe_die() - end the process at once when the behaviour says so */
void faulty_maybe_die(const struct behaviour *behaviour, const char *hook);

/** faulty_sleep() - keep this thread, as a driver does that waits for something */
void faulty_sleep(uint64_t ms);

/* nomemory.c */

int faulty_access(struct muse_vma *vma, uint64_t addr, void *buf, int len, int write);
const char *faulty_vma_name(struct muse_vma *vma);

/* writes.c */

int faulty_writeback(struct muse_writeback *writeback);
int faulty_fsync(void *user, uint64_t object_key, void *object);
int faulty_page_mkwrite(struct muse_vma *vma, uint64_t page);

/* fault.c */

int faulty_fault(struct muse_fault *fault);

/* lies.c */

/** lie_in_prepare() - send what should not be sent.
 * Return: the hook's result if it lies, else 0; *ret_lied says which. */
int lie_in_prepare(struct faulty *faulty, const struct behaviour *behaviour, bool *ret_lied);

/** lie_in_access() - answer an access of @length bytes with what makes no sense. Return: whether. */
bool lie_in_access(struct faulty *faulty, const struct behaviour *behaviour, uint32_t length);

/** lie_in_name() - the same for a name. Return: whether. */
bool lie_in_name(struct faulty *faulty, const struct behaviour *behaviour);
/** lie_in_setattr() - what no change of attributes returns, or an answer that does not decode. Return:
 * whether; then *ret_result is the hook's. */
bool lie_in_setattr(struct faulty *faulty, const struct behaviour *behaviour, int *ret_result);

/** lie_in_complete() - answer with verbs that no SDK would send. Return: whether it did. */
bool lie_in_complete(struct faulty *faulty, const struct behaviour *behaviour);

/** lie_in_hook() - answer the hook that runs with a COMPLETED that does not decode, when *lie* is
 * @word. Return: whether; then what the hook returns does not count. */
bool lie_in_hook(struct faulty *faulty, const struct behaviour *behaviour, const char *word);

/** lie_in_fault() - write nonsense into the ring */
void lie_in_fault(struct faulty *faulty, const struct behaviour *behaviour,
                  const struct muse_fault *fault);

/* revoke.c */

/**
 * revoke_start() - run muse_invalidate() on a thread of its own and answer the hook that runs with
 * what came of it
 *
 * Return: 0 the hook is deferred; -errno.
 */
MUST_CHECK int revoke_start(struct faulty *faulty, const struct behaviour *behaviour);

/** revokes_done() - wait for what is under way, which the end of the server ends */
void revokes_done(struct faulty *faulty);

/* delay.c */

/** delays_start() - the thread that answers later. Return: 0; -errno. */
MUST_CHECK int delays_start(struct delays *delays);

/** delays_stop() - answers are not given any more; joins */
void delays_stop(struct delays *delays);

/**
 * delay_reply() - defer the hook that runs and answer it later
 * @ms:    how much; UINT64_MAX: never
 * @error: the answer
 */
void delay_reply(struct delays *delays, uint64_t ms, int error);

/** delay_fault() - run @done for the fault later, on the delay thread. @ms: UINT64_MAX: never. */
void delay_fault(struct delays *delays, uint64_t ms, struct muse_fault *fault,
                 void (*done)(struct muse_fault *fault));

#endif
