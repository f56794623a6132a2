/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a writer does, whatever it writes to: dirties each page of a shared mapping in order, syncs, and
 * writes to each page of a private one. What is written is what is there already, so the content stays
 * that of bench/content.h. A writer (writer.c, muse_writer.c) brings the calls.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* A writer's calls, with the shape and results of their mmap(2) namesakes. */
struct write_target {
    void *ctx; /* borrowed */
    void *(*map)(void *ctx, size_t len,
                 int flags); /* readable and writable; MAP_SHARED or MAP_PRIVATE */
    int (*unmap)(void *ctx, void *addr, size_t len);
    int (*sync)(void *ctx, void *addr, size_t len); /* msync(MS_SYNC) */
    int (*advise)(void *ctx, void *addr, size_t len, int advice);
};

/**
 * write_work() - do all of it and print one line of JSON
 * @size_bytes: of the object, a multiple of the page size
 *
 * "cold" is the first pass over the shared mapping, as it was found; "dirty" a later one, over clean
 * resident pages; "sync" the msync after that; "cow" the pass over the private mapping, all pages
 * resident. Nanoseconds for all pages together.
 *
 * Return: exit status, explained on standard error.
 */
int write_work(const struct write_target *target, uint64_t size_bytes);

/**
 * write_uniform() - visit pages of a shared mapping, each as likely as the others, under MADV_RANDOM: read a word of one, write one
 * of the next; and print one line of JSON (touch_print())
 * @size_bytes: as for write_work()
 * @n_ops:      visits, at least 1
 * @seed:       of the draw
 *
 * The msync at the end is not in the times.
 *
 * Return: as write_work().
 */
int write_uniform(const struct write_target *target, uint64_t size_bytes, uint64_t n_ops,
                  uint64_t seed);

/**
 * write_main() - the arguments of a writer behind the name of what it writes to: SIZE_BYTES for write_work(), SIZE_BYTES OPS
 * SEED for write_uniform()
 *
 * Return: as write_work(); 2 after telling the user: there are other ones.
 */
int write_main(const struct write_target *target, int argc, char **argv);
