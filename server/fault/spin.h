/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Staying awake between faults. A thread that is shown a page often faults again before a sleeping server
 * would have been woken: waking costs as much as serving. So while faults follow each other, the
 * server looks for the next one for a moment before it sleeps, and stops doing so when that is in
 * vain. As the kernel's halt polling for virtual processors (kvm_vcpu_halt()).
 */
#ifndef MUSE_SERVER_FAULT_SPIN_H
#define MUSE_SERVER_FAULT_SPIN_H

#include <stdint.h>

/* Chosen: faults farther apart than that do not follow each other; it has room for being woken. */
#define SPIN_GAP_NS   200000u
/* Chosen: in vain so often in a row: no more for SPIN_PAUSE_NS. At 50 µs each that is 2 % of a
 * processor at most. */
#define SPIN_VAIN_MAX 4u
#define SPIN_PAUSE_NS 10000000u

/* Zero-initialised; one for each loop. Times are of one clock, in ns. */
struct spin {
    uint64_t served_ns;    /* when something was served last; 0: never */
    uint64_t until_ns;     /* awake until then; 0: was not to be */
    uint64_t paused_to_ns; /* no more before that */
    unsigned n_vain;       /* how often in a row nothing came */
};

/**
 * spin_served() - faults, or answers of drivers to them, were served
 * @came_ns:   when they were seen
 * @now_ns:    when they were served
 * @window_ns: how long to stay awake; 0: never
 *
 * Return: until when to stay awake; 0: sleep.
 */
uint64_t spin_served(struct spin *spin, uint64_t came_ns, uint64_t now_ns, uint64_t window_ns);

#endif
