/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What tests of a bounded page cache share: sampling what the server's files occupy, and reading
 * files of the rig with every byte compared. Failing is failing the test.
 */
#ifndef MUSE_TESTS_SUPPORT_CACHE_H
#define MUSE_TESTS_SUPPORT_CACHE_H

#include "tests/support/client.h"
#include "tests/support/unit.h"

#define MIB             ((size_t)1 << 20)
#define CACHE_WINDOW    (2 * MIB) /* the most that is on its way over a limit */
#define CACHE_VEC_PAGES ((size_t)8192)

/** cache_blocks() - bytes that the files of all page caches of the server occupy now */
uint64_t cache_blocks(const struct rig *rig);

/** sampler_start() - look at that all the time, in a thread; one at a time */
void sampler_start(const struct rig *rig);

/** sampler_stop() - it was something, and never more than @limit and one window */
void sampler_stop(uint64_t limit);

/** cache_bytes() - what the server says that its page caches hold */
uint64_t cache_bytes(const struct rig *rig);

/** cache_is_at_most() - for rig_wait(). @arg: uint64_t, bytes */
bool cache_is_at_most(const struct rig *rig, void *arg);

/** map_file() - @len bytes of a file of the rig, shared and read-only, from its start */
unsigned char *map_file(struct muse *muse, const char *name, size_t len);

/** expect_page(), expect_all(), expect_random() - a page, all, or some pages of such a mapping have
 * the file's bytes */
void expect_page(const unsigned char *mapped, size_t page);
void expect_all(const unsigned char *mapped, size_t len);
void expect_random(const unsigned char *mapped, size_t len, size_t n_reads, uint64_t seed);

/** count_resident() - pages that the kernel has in memory; @len: at most CACHE_VEC_PAGES pages */
size_t count_resident(const void *mapped, size_t len);

#endif
