/* SPDX-License-Identifier: BSD-3-Clause */
/* When to stay awake (spin.h). Owns nothing. Called by the fault and fill flows. */
#include "server/fault/spin.h"

#include <stdbool.h>

/* What became of the last time. What was seen shortly after its end would have come in time, had it
 * been looked for a moment longer: that is not in vain. */
static void judge(struct spin *spin, uint64_t came_ns, uint64_t window_ns)
{
    const bool was_awake = spin->until_ns != 0;

    if (!was_awake)
        return;
    if (came_ns <= spin->until_ns + window_ns / 8) {
        spin->n_vain = 0;
    } else if (++spin->n_vain >= SPIN_VAIN_MAX) {
        spin->n_vain = 0;
        spin->paused_to_ns = came_ns + SPIN_PAUSE_NS;
    }
}

uint64_t spin_served(struct spin *spin, uint64_t came_ns, uint64_t now_ns, uint64_t window_ns)
{
    const bool follows = spin->served_ns != 0 && came_ns - spin->served_ns <= SPIN_GAP_NS;

    judge(spin, came_ns, window_ns);
    spin->served_ns = now_ns;
    spin->until_ns =
        window_ns > 0 && follows && came_ns >= spin->paused_to_ns ? now_ns + window_ns : 0;
    return spin->until_ns;
}
