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
