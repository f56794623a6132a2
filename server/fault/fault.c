/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fault.c - the decision table of the fault path
 *
 * Owns nothing, does nothing: server/flow/fault_flow.c carries the actions out. The first row that
 * matches decides; the last three match whatever is left.
 */
#include "server/fault/fault.h"

#include <stddef.h>

/* What a query is, as bits. */
enum {
    IS_NOWHERE = 1u << 0,
    IS_QUARANTINE = 1u << 1,
    IS_PENDING = 1u << 2,
    IS_LOCKED = 1u << 3,
    IS_DIRECT = 1u << 4,
    IS_BEYOND = 1u << 5,
    IS_LOST = 1u << 6,
};

struct fault_rule {
    unsigned int when;   /* any of these bits; 0: always */
    unsigned int states; /* and the page is in one of these: PAGE_BIT() */
    enum fault_action action;
};

static const struct fault_rule fault_rules[] = {
    {IS_NOWHERE | IS_QUARANTINE, PAGE_BITS_ALL, FAULT_OUTSIDE},
    {IS_PENDING | IS_LOCKED, PAGE_BITS_ALL, FAULT_PARK},
    {IS_DIRECT, PAGE_BITS_ALL,
     FAULT_WAKE}, /* reported before it was: the kernel knows better now */
    {IS_BEYOND, PAGE_BITS_ALL, FAULT_POISON},
    {0, PAGE_BITS_VALID,
     FAULT_SHOW}, /* also when the driver is dead: what is here stays readable */
    {IS_LOST, PAGE_BITS_ALL, FAULT_POISON},
    {0, PAGE_BIT(PAGE_ABSENT), FAULT_ASK},
    {0, PAGE_BIT(PAGE_FILLING), FAULT_JOIN},
    {0, PAGE_BIT(PAGE_POISONED), FAULT_RETRY},
    {0, PAGE_BIT(PAGE_EVICTING), FAULT_WAKE}, /* another engine is at it: absent by the next look */
};

static unsigned int bits_of(const struct fault_query *query)
{
    if (!query->has_vma)
        return IS_NOWHERE;
    if (query->kind == VMA_QUARANTINE)
        return IS_QUARANTINE;
    if (query->kind == VMA_PENDING)
        return IS_PENDING;
    return (query->write_locked ? IS_LOCKED : 0u) | (query->direct ? IS_DIRECT : 0u) |
           (query->beyond_end ? IS_BEYOND : 0u) | (query->lost ? IS_LOST : 0u);
}

enum fault_action fault_decide(const struct fault_query *query)
{
    unsigned int bits = bits_of(query);

    MUST(query->state < PAGE_STATE_N);
    for (size_t i = 0; i < sizeof(fault_rules) / sizeof(fault_rules[0]); i++) {
        const struct fault_rule *rule = &fault_rules[i];

        if ((rule->when == 0 || (bits & rule->when) != 0) &&
            (PAGE_BIT(query->state) & rule->states) != 0)
            return rule->action;
    }
    muse_panic(__FILE__, __LINE__, __func__, "every state has a row");
}

const char *fault_action_name(enum fault_action action)
{
    switch (action) {
#define X(name, text, help)                                                                        \
    case FAULT_##name:                                                                             \
        return text;
        FAULT_ACTIONS(X)
#undef X
    case FAULT_ACTION_N:
        break;
    }
    return "?";
}
