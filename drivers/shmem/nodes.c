/* SPDX-License-Identifier: BSD-3-Clause */
/* Makes, names and ends nodes. Owns them. */
#include "drivers/shmem/nodes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/own.h"
#include "drivers/common/made.h"

static struct node *node_of(struct list *node)
{
    return CONTAINER_OF(node, struct node, by_name);
}

void nodes_init(struct nodes *nodes, uint64_t max_bytes)
{
    idmap_init(&nodes->by_key);
    list_init(&nodes->named);
    nodes->max_bytes = max_bytes;
}

static void node_free(struct nodes *nodes, struct node *node)
{
    (void)idmap_take(&nodes->by_key, node->key);
    list_del(&node->by_name);
    nodes->size_bytes -= node->attr.size;
    fd_close_p(&node->fd);
    free(node->name);
    free(node);
}

void nodes_done(struct nodes *nodes)
{
    struct node *node;
    size_t cursor = 0;

    while ((node = idmap_next(&nodes->by_key, &cursor)))
        node_free(nodes, node);
    idmap_done(&nodes->by_key);
}

struct node *nodes_find(const struct nodes *nodes, const char *name)
{
    struct list *pos;

    list_for_each(pos, &nodes->named) {
        if (strcmp(node_of(pos)->name, name) == 0)
            return node_of(pos);
    }
    return NULL;
}

int nodes_add(struct nodes *nodes, const struct muse_open_args *args, struct node **ret_node)
{
    CLEAN(free_p) struct node *node = NULL;
    CLEAN(free_p) char *name = NULL;
    CLEAN(fd_close_p) int fd = -1;
    int r = made_check_name("shmem", args->path);

    if (r < 0)
        return r;
    if (idmap_count(&nodes->by_key) == NODES_MAX) {
        muse_set_error("there are %u objects already", NODES_MAX);
        return -ENOSPC;
    }
    node = calloc(1, sizeof(*node));
    name = strdup(args->path);
    if (!node || !name)
        return -ENOMEM;
    fd = memfd_create(name, MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    r = idmap_put(&nodes->by_key, nodes->last_key + 1, node);
    if (r < 0)
        return r;
    node->key = ++nodes->last_key;
    node->attr = made_attr(node->key, args);
    node->fd = fd_take(&fd);
    node->name = TAKE(name);
    list_add_tail(&nodes->named, &node->by_name);
    *ret_node = TAKE(node);
    return 0;
}

/* Whether it may have that size, and all together may. */
static int check_size(const struct nodes *nodes, const struct node *node, uint64_t size_bytes)
{
    if (size_bytes > NODE_BYTES_MAX)
        return -EFBIG;
    if (size_bytes > node->attr.size &&
        size_bytes - node->attr.size > nodes->max_bytes - nodes->size_bytes) {
        muse_set_error("no room: all objects together may have %llu bytes",
                       (unsigned long long)nodes->max_bytes);
        return -ENOSPC;
    }
    return 0;
}

static void set_size(struct nodes *nodes, struct node *node, uint64_t size_bytes)
{
    nodes->size_bytes = nodes->size_bytes - node->attr.size + size_bytes;
    node->attr.size = size_bytes;
    node->attr.mtime_ns = made_now_ns();
}

int nodes_resize(struct nodes *nodes, struct node *node, uint64_t size_bytes)
{
    int r = check_size(nodes, node, size_bytes);

    if (r < 0)
        return r;
    if (ftruncate(node->fd, (off_t)size_bytes) < 0)
        return -errno;
    set_size(nodes, node, size_bytes);
    return 0;
}

int nodes_allocate(struct nodes *nodes, struct node *node, int mode, uint64_t offset,
                   uint64_t length)
{
    const bool may_grow = !(mode & FALLOC_FL_KEEP_SIZE);
    uint64_t end;
    int r;

    if (__builtin_add_overflow(offset, length, &end))
        return -EFBIG;
    r = may_grow ? check_size(nodes, node, end) : 0;
    if (r < 0)
        return r;
    if (fallocate(node->fd, mode, (off_t)offset, (off_t)length) < 0)
        return -errno;
    if (may_grow && end > node->attr.size)
        set_size(nodes, node, end);
    return 0;
}

void nodes_unlink(struct nodes *nodes, struct node *node)
{
    list_del(&node->by_name);
    free(node->name);
    node->name = NULL;
    node->attr.nlink = 0;
    if (!node->is_open)
        node_free(nodes, node);
}

int nodes_rename(struct nodes *nodes, struct node *node, const char *name)
{
    struct node *other = nodes_find(nodes, name);
    char *copy;
    int r = made_check_name("shmem", name);

    if (r < 0 || other == node)
        return r;
    copy = strdup(name);
    if (!copy)
        return -ENOMEM;
    if (other)
        nodes_unlink(nodes, other);
    free(node->name);
    node->name = copy;
    return 0;
}

void nodes_gone(struct nodes *nodes, struct node *node)
{
    node->is_open = false;
    if (!node->name)
        node_free(nodes, node);
}
