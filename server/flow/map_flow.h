/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The first walk: a map request. What it holds while it runs, and the functions that the effects of
 * the transaction table are carried out by (map_flow.c: the walk; map_install.c: the client's side;
 * map_hooks.c: the driver's side).
 */
#ifndef MUSE_SERVER_FLOW_MAP_FLOW_H
#define MUSE_SERVER_FLOW_MAP_FLOW_H

#include "proto/driver.pb-c.h"
#include "proto/limits.h"
#include "server/driver/driver_link.h"
#include "server/flow/driver_hooks.h"
#include "server/flow/engine.h"
#include "server/flow/fill_flow.h"
#include "server/flow/mm_lock.h"
#include "server/flow/split_flow.h"
#include "server/map/map_check.h"
#include "server/map/map_txn.h"

struct stack_request;

#define MAP_TEXT_BYTES 256u

/* A declared action or a verb, checked, waiting to be carried out. */
struct map_todo {
    enum map_todo_kind {
        TODO_NONE,
        TODO_REMAP,
        TODO_PREFAULT,
        TODO_SUPPLY,
        TODO_POISON,
        TODO_GROW
    } kind;
    struct range range; /* addresses as the driver knows them */
    int fd;             /* borrowed from the request; REMAP */
    uint64_t fd_offset;
    int error;           /* POISON: errno */
    uint64_t size_bytes; /* GROW: of the object */
};

struct map_request {
    struct mm_request mm;
    struct map_txn txn;
    struct list of_driver; /* in driver.requests */
    struct driver *driver; /* ref: who runs the hooks, whatever vm_file becomes */
    struct file *file;     /* ref: whose hooks run */
    struct file *vm_file;  /* ref: what the VMA will show; file, unless prepare swapped it */
    struct map_args args;
    struct map_plan plan;
    struct range target; /* where the mapping is to be; empty until chosen */
    struct range place;  /* where it is made: target, or scratch when something stands in target */
    bool named;          /* MAP_FIXED, MAP_FIXED_NOREPLACE: others may know the address */
    bool replace;        /* it is made elsewhere, and moved */
    struct vma *vma; /* in the tree from the lock on: PENDING, then MAPPED; NULL once handed on */
    struct vma *spares[2]; /* owned: for the edges of what is replaced */
    struct split_check split;
    struct driver_call call;     /* prepare, then complete */
    struct stack_request *stack; /* a forwarded mapping under way, or NULL */
    uint64_t prepare_id;         /* the frame id of the prepare */
    uint64_t private_data, context;
    struct object *extents_of; /* ref: its extents are this request's word; NULL: they are not */
    struct map_todo *todos;    /* owned */
    unsigned n_todos, todo_next;
    unsigned n_remapping;            /* from todo_next on: the client is doing them */
    int todo_fds[FRAME_FDS_MAX + 1]; /* owned: prepare's and complete's */
    unsigned n_todo_fds;
    char poison_text[MAP_TEXT_BYTES]; /* what the driver said with its POISON verbs */
    struct fill_wait wait;            /* prefault */
    struct deadline act_deadline;
    enum vma_merge_kind merge;
    struct vma *merge_prev, *merge_next;
    struct hook_vma seen; /* the mapping as complete saw it: what close will name */
    bool established;     /* the VMA holds its references and is on its object's list */
    bool completing;      /* counted in object.n_completing */
    bool close_due;       /* the VMA had close, now that it has been handed on */
    bool counted;         /* counted in driver.n.in_flight */
    bool dispatching;     /* effects are being carried out: events queue in next_event */
    int next_event;       /* enum map_event, or -1 */
    int error;            /* what the client gets: -errno */
    const char *hook;     /* that failed, for the log */
    char text[MAP_TEXT_BYTES];
};

/** map_event() - feed one event and carry out its effects; @request may be freed when it returns */
void map_event(struct map_request *request, enum map_event event);

/** map_set_error() - what the client and the log get when an error event follows */
void map_set_error(struct map_request *request, int error, const char *hook, const char *text);

/** map_flow_driver_gone() - the driver died: requests of its that wait for no answer of it go on */
void map_flow_driver_gone(struct driver *driver);

/** map_request_state() - for `musectl txns` */
const char *map_request_state(const struct map_request *request);

/* map_hooks.c */
void map_ask_prepare(struct map_request *request);
void map_ask_complete(struct map_request *request);
/* the VMA's vm_ops: @id of @driver's tables, 0 none. Return: 0; -EINVAL with the error set. */
MUST_CHECK int map_set_vm_ops(struct map_request *request, const struct driver *driver,
                              uint32_t id);
/* may the driver set LOCKED? Asks the kernel for the client's limit when @answer does that. */
void map_ask_lock_limit(const struct map_request *request, struct map_answer *answer);
/* the verbs of a mmap_complete, the action of a legacy mmap: checked, and carried out with the event
 * that map_after_complete() names. Return: 0; -errno with the error set. */
MUST_CHECK int map_take_verbs(struct map_request *request, const Muse__Wire__Completed *answer,
                              struct frame *frame, struct range within);
MUST_CHECK int map_take_action(struct map_request *request, const Muse__Wire__Action *action,
                               struct frame *frame);
void map_note_poison_text(struct map_request *request, const char *text);
enum map_event map_after_complete(const struct map_request *request);
void map_send_abort(struct map_request *request);
void map_send_close(struct map_request *request);
/* a driver without mmap_complete is done with prepare once the mapping lives
 * @leaked: kernel-v1 tells it nothing at all */
void map_count_live(struct map_request *request, bool leaked);

/* map_install.c */
/* whether the client has a last step to do when the driver has agreed: map_commit() */
bool map_needs_commit(const struct map_request *request);
void map_install(struct map_request *request);
void map_establish(struct map_request *request);
void map_run_todos(struct map_request *request);
void map_commit(struct map_request *request);
void map_replace(struct map_request *request);
void map_merge(struct map_request *request);
void map_remove(struct map_request *request);
void map_uninstall(struct map_request *request);
void map_release(struct map_request *request);
void map_drop_todos(struct map_request *request);

#endif
