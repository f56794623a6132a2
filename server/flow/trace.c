/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The last hook calls, in a ring: entry n lies at n % TRACE_KEPT. Owns the copies; followers belong
 * to who follows. Called by driver_hooks.c for each call that ends, read by inspect.c.
 */
#include "server/flow/trace.h"

#include <errno.h>
#include <stdlib.h>

#include "common/base/own.h"

struct trace {
    uint64_t last_seq; /* of the newest entry; 0: none yet */
    struct list followers;
    struct trace_entry kept[TRACE_KEPT];
};

int trace_new(struct trace **ret_trace)
{
    struct trace *trace = calloc(1, sizeof(*trace));

    if (!trace)
        return -ENOMEM;
    list_init(&trace->followers);
    *ret_trace = trace;
    return 0;
}

void trace_free(struct trace *trace)
{
    MUST(!trace || list_is_empty(&trace->followers));
    free(trace);
}

void trace_add(struct trace *trace, const struct trace_entry *entry)
{
    struct trace_entry *kept = &trace->kept[++trace->last_seq % TRACE_KEPT];
    struct list *pos, *tmp;

    *kept = *entry;
    kept->seq = trace->last_seq;
    list_for_each_safe(pos, tmp, &trace->followers) {
        struct trace_follower *follower = CONTAINER_OF(pos, struct trace_follower, node);

        follower->entry(follower, kept);
    }
}

void trace_follow(struct trace *trace, struct trace_follower *follower)
{
    list_add_tail(&trace->followers, &follower->node);
}

void trace_unfollow(struct trace_follower *follower)
{
    list_del(&follower->node);
}

const struct trace_entry *trace_next(const struct trace *trace, uint64_t after)
{
    const uint64_t oldest = trace->last_seq < TRACE_KEPT ? 1 : trace->last_seq - TRACE_KEPT + 1;
    const uint64_t seq = after + 1 > oldest ? after + 1 : oldest;

    return seq <= trace->last_seq ? &trace->kept[seq % TRACE_KEPT] : NULL;
}
