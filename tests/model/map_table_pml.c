/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Prints the mapping transaction's table (server/map/map_txn.h) in Promela: what docs/model/map.pml
 * includes. tests/model/spin.sh compares it with the file in docs/model, so the model is always
 * about the code that runs.
 */
#include <stdio.h>

#include "server/map/map_txn.h"

static const char *const states[] = {
#define X(name, text, help) #name,
    MAP_STATES(X)
#undef X
};

static const char *const events[] = {
#define X(name, text, help) #name,
    MAP_EVENTS(X)
#undef X
};

static const char *const effects[] = {
#define X(name, help) #name,
    MAP_EFFECTS(X)
#undef X
};

/* With everything prepared and asked, so that no effect is left out: that is for the model to do. */
static void print_row(unsigned state, unsigned event)
{
    struct map_txn txn = {.state = (enum map_state)state, .prepared = true, .asked = true};
    uint32_t todo;

    if (!map_txn_accepts(&txn, (enum map_event)event))
        return;
    todo = map_txn_step(&txn, (enum map_event)event);
    printf("\t:: from == MAP_%s && event == EV_%s -> to = MAP_%s; todo = 0", states[state],
           events[event], states[txn.state]);
    for (unsigned i = 0; i < MAP_EFFECT_N; i++)
        if (todo & (1u << i))
            printf(" | DO_%s", effects[i]);
    printf("\n");
}

int main(void)
{
    printf(
        "/* SPDX-License-Identifier: BSD-3-Clause */\n"
        "/* The table of server/map/map_txn.c. Written by tests/model/map_table_pml.c; do not edit. */\n");
    for (unsigned i = 0; i < MAP_STATE_N; i++)
        printf("#define MAP_%s %u\n", states[i], i);
    printf("#define NO_STATE %u\n", (unsigned)MAP_STATE_N);
    for (unsigned i = 0; i < MAP_EVENT_N; i++)
        printf("#define EV_%s %u\n", events[i], i);
    for (unsigned i = 0; i < MAP_EFFECT_N; i++)
        printf("#define DO_%s %u\n", effects[i], 1u << i);
    printf("\ninline table(from, event, to, todo)\n{\n\tif\n");
    for (unsigned state = 0; state < MAP_STATE_N; state++)
        for (unsigned event = 0; event < MAP_EVENT_N; event++)
            print_row(state, event);
    printf("\t:: else -> to = NO_STATE; todo = 0\n\tfi\n}\n");
    return 0;
}
