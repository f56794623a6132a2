/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls that change a range of a space VMA by VMA: mprotect, madvise, mlock, munlock. The walk is
 * here; what a call makes of one VMA is its story (protect_flow.c, advise_flow.c, lock_flow.c).
 */
#ifndef MUSE_SERVER_FLOW_CHANGE_FLOW_H
#define MUSE_SERVER_FLOW_CHANGE_FLOW_H

#include "server/flow/engine.h"
#include "server/flow/mm_lock.h"
#include "server/flow/punch_flow.h"
#include "server/flow/session_flow.h"
#include "server/flow/split_flow.h"
#include "server/flow/vma_ask.h"

/* What becomes of the part of one VMA. */
struct change_step {
    uint32_t flags; /* VMF_ afterwards; pre-filled with those it has: nothing is cut or merged */
    bool asks_mprotect;
    bool punches; /* the driver is to punch the part out of its object, instead of an op */
    bool has_op;
    struct mem_op op;  /* the client's share; range and fd are pre-filled */
    bool makes_copies; /* afterwards the client writes to each page, as far as they can be had */
};

struct change_request;

struct change_story {
    const char *what; /* "mprotect": for people, and for the text of an error */
    bool over_holes;  /* goes on behind a hole, and fails with ENOMEM in the end */
    int limit_error;  /* when a cut would be one VMA too many: -errno */
    /* What becomes of @part of @vma. Return: 0; -errno: the call ends with it, what lies before is
     * changed. */
    int (*plan)(struct change_request *request, const struct vma *vma, struct range part,
                struct change_step *step);
    /* NULL, or one more op for the client when the whole range was walked. Return: whether. */
    bool (*last)(const struct change_request *request, struct mem_op *op);
};

enum change_state {
    CHANGE_QUEUED,    /* for the space's write lock */
    CHANGE_ASKING,    /* the driver's mprotect */
    CHANGE_SPLITTING, /* may_split */
    CHANGE_PUNCHING,  /* the driver's hole */
    CHANGE_TELLING,   /* the client does its share for this part */
    CHANGE_COPYING,   /* the client makes copies of this part's pages, which is changed by now */
    CHANGE_LAST,      /* the client does the last op */
};

struct change_request {
    struct mm_request mm;
    const struct change_story *story;
    enum change_state state;
    uint32_t arg;       /* the story's: prot, advice, ... */
    struct range range; /* page aligned */
    uint64_t at;        /* what lies below is done */
    bool hole;          /* one was stepped over */
    struct vma *vma;    /* being changed; stays as long as the lock is held */
    struct range part;  /* of it */
    struct change_step step;
    struct vma *spares[2]; /* owned, charged */
    struct vma_ask ask;
    struct split_check split;
    struct punch *punch; /* under way, or NULL */
};

/**
 * change_start() - queue a request for the space's write lock; everything else follows, the answer
 * too
 * @id:    the client's request
 * @range: page aligned; empty: answered at once
 */
void change_start(struct space *space, uint64_t id, const struct change_story *story,
                  struct range range, uint32_t arg);

#endif
