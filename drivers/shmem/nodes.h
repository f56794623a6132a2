/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The objects of muse-shmem: memory with a name, or without one any more. Main thread only, but for
 * a node's fd, which does not change.
 */
#ifndef MUSE_DRIVERS_SHMEM_NODES_H
#define MUSE_DRIVERS_SHMEM_NODES_H

#include <muse/driver.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/idmap.h"
#include "common/base/list.h"
#include "common/base/must.h"

#define NODES_MAX      65536u /* chosen: an fd each; RLIMIT_NOFILE may be less */
#define NODE_BYTES_MAX (1ull << 46)

struct node {
    struct list by_name; /* in nodes.named; not linked: unlinked */
    char *name;          /* owned; NULL: unlinked */
    uint64_t key;
    int fd; /* owned: a memfd with its bytes */
    struct muse_attr attr;
    bool is_open; /* the SDK has an object of it: it ends with object_gone */
};

struct nodes {
    struct idmap by_key;
    struct list named; /* in the order in which they were made: what readdir's cursor counts on */
    uint64_t last_key;
    uint64_t size_bytes; /* of all of them, unlinked ones too */
    uint64_t max_bytes;
};

/** nodes_init() - none; @max_bytes: what their sizes may come to together */
void nodes_init(struct nodes *nodes, uint64_t max_bytes);

/** nodes_done() - all are gone */
void nodes_done(struct nodes *nodes);

/** nodes_find() - by name. Return: NULL: there is none. */
struct node *nodes_find(const struct nodes *nodes, const char *name);

/**
 * nodes_add() - an empty one
 * @args: its name, mode and owner
 *
 * Return: 0; -ENAMETOOLONG, -EINVAL a name with '/'; -ENOSPC too many; -ENOMEM, -EMFILE.
 */
MUST_CHECK int nodes_add(struct nodes *nodes, const struct muse_open_args *args,
                         struct node **ret_node);

/** nodes_resize() - Return: 0; -EFBIG; -ENOSPC; -errno of ftruncate(2). */
MUST_CHECK int nodes_resize(struct nodes *nodes, struct node *node, uint64_t size_bytes);

/** nodes_allocate() - fallocate(2). Return: 0; -EFBIG; -ENOSPC; -errno. */
MUST_CHECK int nodes_allocate(struct nodes *nodes, struct node *node, int mode, uint64_t offset,
                              uint64_t length);

/** nodes_unlink() - it has no name any more, and ends when nobody has it */
void nodes_unlink(struct nodes *nodes, struct node *node);

/** nodes_rename() - another name; who has it is unlinked. Return: 0; -ENAMETOOLONG, -EINVAL, -ENOMEM. */
MUST_CHECK int nodes_rename(struct nodes *nodes, struct node *node, const char *name);

/** nodes_gone() - the SDK's object of it has ended: so does an unlinked one */
void nodes_gone(struct nodes *nodes, struct node *node);

#endif
