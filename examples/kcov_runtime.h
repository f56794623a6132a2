/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The runtime of -fsanitize-coverage=trace-pc, for buffers of muse-kcov. What was built with that
 * option calls __sanitizer_cov_trace_pc() at each basic block; in a thread that has enabled an area it
 * puts the address of the call there. This file itself is built without.
 *
 *     words[0]         how many PCs follow; more than fit are not recorded
 *     words[1..]       the PCs, in the order they were met
 */
#ifndef MUSE_EXAMPLES_KCOV_RUNTIME_H
#define MUSE_EXAMPLES_KCOV_RUNTIME_H

#include <muse/muse.h>
#include <stdatomic.h>
#include <stdint.h>

struct kcov_area {
    _Atomic uint64_t *words; /* mapped */
    uint64_t n_words;
    atomic_flag in_use; /* by a thread */
};

/**
 * kcov_area_map() - open, or make, kcov/NAME and map it
 * @name:    "kcov/NAME"
 * @n_words: its size if it has none yet; a multiple of 512
 *
 * Return: 0; -1 and errno: as muse_open(), muse_ftruncate(), muse_mmap().
 */
int kcov_area_map(struct muse *muse, const char *name, uint64_t n_words, struct kcov_area *ret);

/**
 * kcov_enable() - from now on this thread records to @area; a child of fork(2) does not
 *
 * Return: 0; -EBUSY the thread records already, or another one does to this area.
 */
int kcov_enable(struct kcov_area *area);

/** kcov_disable() - this thread records no longer. Return: 0; -EINVAL it does not record to @area. */
int kcov_disable(struct kcov_area *area);

/** __sanitizer_cov_trace_pc() - called by the compiler */
void __sanitizer_cov_trace_pc(void);

#endif
