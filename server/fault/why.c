/* SPDX-License-Identifier: BSD-3-Clause */
/* What a touch would meet: the fault table's answer, put the way a client sees it. */
#include "server/fault/why.h"

#include "common/base/own.h"

static const struct {
    const char *word, *text;
    enum why_verdict verdict;
} outcomes[] = {
#define X(name, word, verdict, text) [WHY_##name] = {word, text, WHY_##verdict},
    WHY_OUTCOMES(X)
#undef X
};

static enum why_outcome of_valid(const struct why_query *query, bool write)
{
    if (!write)
        return WHY_READY;
    if (query->is_private)
        return WHY_COPY;
    if (!query->tracks_writes || query->fault.state == PAGE_DIRTY)
        return WHY_READY;
    if (query->mkwrite == WHY_MKWRITE_ASKED)
        return WHY_MKWRITE;
    return query->has_mkwrite && page_state_is_clean(query->fault.state) && !query->fault.lost
               ? WHY_ASK_MKWRITE
               : WHY_DIRTIES;
}

/* What the client's kernel knows before it asks. */
static bool decides_alone(const struct why_query *query, bool write, enum why_outcome *ret_outcome)
{
    if (!(write ? query->writable : query->readable))
        *ret_outcome = WHY_NO_RIGHT;
    else if (query->fault.direct)
        *ret_outcome = WHY_DIRECT;
    else if (query->mkwrite == WHY_MKWRITE_REFUSED)
        *ret_outcome = WHY_REFUSED; /* poison in its page table, whatever the page is by now */
    else
        return false;
    return true;
}

enum why_outcome why_decide(const struct why_query *query, bool write)
{
    const enum fault_action action = fault_decide(&query->fault);
    enum why_outcome outcome;

    if (action == FAULT_OUTSIDE)
        return query->fault.has_vma ? WHY_QUARANTINE : WHY_NOTHING;
    if (action == FAULT_PARK)
        return WHY_LOCKED;
    if (decides_alone(query, write, &outcome))
        return outcome;
    switch (action) {
    case FAULT_SHOW:
        return of_valid(query, write);
    case FAULT_JOIN:
        return WHY_JOIN;
    case FAULT_ASK:
        return query->has_source ? WHY_ASK : WHY_NO_SOURCE;
    case FAULT_RETRY:
        return query->has_source ? WHY_FAILED : WHY_NO_SOURCE;
    case FAULT_POISON:
        return query->fault.beyond_end ? WHY_BEYOND : WHY_LOST;
    case FAULT_WAKE:
        return WHY_EVICTING;
    case FAULT_PARK:
    case FAULT_OUTSIDE:
    case FAULT_ACTION_N:
        break;
    }
    return WHY_NOTHING;
}

enum why_verdict why_verdict_of(enum why_outcome outcome)
{
    MUST(outcome < WHY_OUTCOME_N);
    return outcomes[outcome].verdict;
}

const char *why_word(enum why_outcome outcome)
{
    MUST(outcome < WHY_OUTCOME_N);
    return outcomes[outcome].word;
}

const char *why_text(enum why_outcome outcome)
{
    MUST(outcome < WHY_OUTCOME_N);
    return outcomes[outcome].text;
}

const char *why_verdict_word(enum why_verdict verdict)
{
    static const char *const words[] = {"works", "waits", "fails"};

    MUST(verdict <= WHY_FAILS);
    return words[verdict];
}
