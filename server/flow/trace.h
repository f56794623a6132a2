/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The live trace of hook calls: the last TRACE_KEPT are kept, and whoever follows gets each as it
 * ends. Costs a copy of one struct a call; formatting is done only for readers.
 */
#ifndef MUSE_SERVER_FLOW_TRACE_H
#define MUSE_SERVER_FLOW_TRACE_H

#include <stdint.h>

#include "common/base/list.h"
#include "common/base/must.h"

#define TRACE_KEPT 1024u

struct trace_entry {
    uint64_t seq;   /* 1.. */
    uint64_t at_ns; /* CLOCK_MONOTONIC, when it ended */
    uint64_t took_ns;
    uint64_t call_id;
    char driver[40];
    const char *hook; /* static */
    int result;       /* 0 or -errno */
    char args[160];   /* "space=3 0x7f..-0x7f.. pgoff=0 flags=rw-s" */
};

/* Gets each new entry. Embedded in who follows. */
struct trace_follower {
    struct list node;
    void (*entry)(struct trace_follower *follower, const struct trace_entry *entry);
};

struct trace;

MUST_CHECK int trace_new(struct trace **ret_trace);
void trace_free(struct trace *trace);

/** trace_add() - keep a copy, hand it to followers; seq is set here */
void trace_add(struct trace *trace, const struct trace_entry *entry);

/** trace_follow() - hand each new entry to @follower, whose entry is set; until trace_unfollow() */
void trace_follow(struct trace *trace, struct trace_follower *follower);

/** trace_unfollow() - may be called inside entry(), and for a node that is by itself */
void trace_unfollow(struct trace_follower *follower);

/** trace_next() - the oldest kept entry with seq > @after.
 * Return: borrowed until the next trace_add(); NULL when there is none. */
const struct trace_entry *trace_next(const struct trace *trace, uint64_t after);

#endif
