/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mremap, shared by three files: remap_flow.c (the walk: what is to be done, in which order),
 * remap_unit.c (one mapping: the tree, the ways forward and back) and remap_ops.c (what the client
 * does). Of the others only the fault flow includes it, which tells of a growth that it sees.
 */
#ifndef MUSE_SERVER_FLOW_REMAP_FLOW_H
#define MUSE_SERVER_FLOW_REMAP_FLOW_H

#include "server/flow/engine.h"
#include "server/flow/mm_lock.h"
#include "server/flow/session_flow.h"
#include "server/flow/split_flow.h"
#include "server/flow/vma_ask.h"
#include "server/map/range_check.h"

/* What is done to one mapping. */
enum remap_how {
    REMAP_GROW,      /* in place */
    REMAP_MOVE,      /* and it may grow */
    REMAP_COPY,      /* shared: mapped once more; the source stays as it is */
    REMAP_SPLIT_OFF, /* private, MREMAP_DONTUNMAP: the pages move, the source stays, empty */
};

enum remap_state {
    REMAP_QUEUED,     /* for the space's write lock */
    REMAP_CLEARING,   /* munmap of what is in the way, or of what shrinking leaves over */
    REMAP_SPLITTING,  /* may_split */
    REMAP_ASKING,     /* the driver's mremap */
    REMAP_INSTALLING, /* the client maps what is new */
    REMAP_MOVING,     /* the client moves pages */
    REMAP_RESTORING,  /* the client gets its access to a split-off and its source back */
    REMAP_POPULATING, /* the client touches what has grown of a locked mapping */
};

#define REMAP_SPARES 4u /* both edges of the source, both edges of what is replaced */

struct remap_request {
    struct mm_request mm;
    enum remap_state state;
    struct remap_args args;
    uint64_t data_room; /* bytes: what RLIMIT_DATA leaves the client */
    bool all;           /* every mapping of the range: FIXED, lengths equal */
    uint64_t at;        /* then: what lies below is done */
    uint64_t result;    /* the new address of the first */
    struct range lock;  /* what has grown of a locked mapping: populated in the end */
    void (*cleared)(struct remap_request *request); /* what follows REMAP_CLEARING */

    /* the unit: one mapping */
    enum remap_how how;
    struct vma *vma;      /* the source, in the tree */
    struct range from;    /* the part of it; empty when a shared mapping is duplicated */
    struct range to;      /* where it will be; REMAP_GROW: the part behind it */
    struct range fresh;   /* the part of it that is mapped anew by the client; or empty */
    bool replaces;        /* mappings stand there, or it is outside of the arena */
    bool merges;          /* becomes part of a neighbour: decided before the driver is asked */
    bool opened;          /* vm_open was sent for the copy */
    bool elsewhere;       /* what is new is made at @scratch, and moved */
    bool told;            /* the client may have something new */
    bool shifted;         /* what was made elsewhere has been moved */
    bool grown;           /* the growth is in the tree before the client has said so */
    struct deadline seen; /* a fault says so */
    struct vma *copy;     /* owned, charged, with references: PENDING at @to, or detached when it
                            replaces. REMAP_GROW: a placeholder */
    struct vma *scratch;  /* owned, charged; PENDING: for what is made elsewhere */
    struct vma *hole;     /* owned, charged: for the quarantine of the source */
    struct vma *spares[REMAP_SPARES];
    struct vma_ask ask;
    struct split_check split;
};

/**
 * remap_unit_start() - how, vma, from and to are set: everything from here to the commit
 *
 * Ends with remap_unit_done(), perhaps from inside here. What stands at @to may be replaced by one
 * call of the client's, unless something has to be mapped anew there: then the caller has cleared it.
 */
void remap_unit_start(struct remap_request *request);

/**
 * remap_growth_seen() - a fault at @addr waits for a mapping that is being grown
 *
 * What the client's kernel grows is watched from the start. If another thread has locked it meanwhile,
 * mremap(2) brings in what is new before it returns, so the client cannot answer before it is served:
 * the fault says that the mapping has grown. Called for any fault that waits for a placeholder.
 */
void remap_growth_seen(struct space *space, uint64_t addr);

/* ---- remap_ops.c ---- */

/** remap_is_shared_anon() - is @vma anonymous memory of several processes? */
bool remap_is_shared_anon(const struct vma *vma);

/** remap_made_at() - where the client makes what is new: its place, or the scratch place */
struct range remap_made_at(const struct remap_request *request);

/**
 * remap_install_ops() - how the client makes what is new
 * @ops: room for MEM_OPS_MAX
 *
 * Return: how many; -EMFILE no fd for the page cache.
 */
MUST_CHECK int remap_install_ops(const struct remap_request *request, struct mem_op *ops);

/** remap_move_op() - how the client moves the pages */
struct mem_op remap_move_op(const struct remap_request *request);

/* ---- remap_unit.c ---- */

/** remap_unit_drop() - the client is dead: forget the unit under way; the space's VMAs go later */
void remap_unit_drop(struct remap_request *request);

/**
 * remap_unit_done() - a unit is over; remap_flow.c
 * @error: 0 or -errno: nothing of the unit stays
 * @text:  a sentence when it failed
 */
void remap_unit_done(struct remap_request *request, int error, const char *text);

#endif
