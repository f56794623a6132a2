/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Intrusive red-black tree, optionally augmented. Owns nothing and compares nothing: the caller
 * walks down to the free slot, the tree links the node there and balances.
 *
 *     struct rb_node **link = &root->node, *parent = NULL;
 *     while (*link) {
 *         parent = *link;
 *         link = key < CONTAINER_OF(parent, struct foo, rb)->key ? &parent->left : &parent->right;
 *     }
 *     rb_insert(root, parent, link, &foo->rb);
 *
 * Augmented: when the root has an update callback, it recomputes what a node caches about its
 * subtree (itself, left, right) from the node's own data and the caches of its children. The tree
 * calls it bottom-up, for every node whose subtree changed, on insert, erase and rotation. The
 * cache must be a function of the subtree's nodes in order, not of its shape.
 */
#ifndef MUSE_COMMON_BASE_RBTREE_H
#define MUSE_COMMON_BASE_RBTREE_H

#include <stdbool.h>

/* Read the links freely; only rbtree.c writes them. */
struct rb_node {
    struct rb_node *parent; /* NULL in the topmost node */
    struct rb_node *left;
    struct rb_node *right;
    bool is_red;
};

/**
 * rb_update_fn() - recompute what a node caches about its subtree
 * @node: its children (either may be NULL) are up to date already
 */
typedef void rb_update_fn(struct rb_node *node);

struct rb_root {
    struct rb_node *node; /* topmost; NULL when empty; borrowed from the caller */
    rb_update_fn *update; /* NULL when not augmented */
};

/**
 * rb_init() - make an empty tree
 * @root:   to initialize
 * @update: called for nodes whose subtree changed; NULL when the tree is not augmented
 */
void rb_init(struct rb_root *root, rb_update_fn *update);

/** rb_is_empty() - no nodes in @root? */
static inline bool rb_is_empty(const struct rb_root *root)
{
    return !root->node;
}

/** rb_is_linked() - is @node, zeroed or once erased when not, in the tree @root? */
static inline bool rb_is_linked(const struct rb_root *root, const struct rb_node *node)
{
    return node->parent || root->node == node;
}

/**
 * rb_insert() - link a node into a free slot and balance the tree
 * @root:   the tree
 * @parent: the node the slot belongs to; NULL when the tree is empty
 * @link:   &@parent->left, &@parent->right, or &@root->node; holds NULL (MUST)
 * @node:   in no tree, its key data complete; stays the caller's, linked here until rb_erase()
 */
void rb_insert(struct rb_root *root, struct rb_node *parent, struct rb_node **link,
               struct rb_node *node);

/**
 * rb_erase() - take a node out and balance the tree
 * @root: the tree
 * @node: linked in @root; zeroed afterwards, to be freed by the caller
 */
void rb_erase(struct rb_root *root, struct rb_node *node);

/**
 * rb_update_path() - the data of a node changed: call update for it and everything above it
 * @root: the tree; augmented or not (then this does nothing)
 * @node: linked in @root; its place in the order has not changed. NULL does nothing.
 */
void rb_update_path(struct rb_root *root, struct rb_node *node);

/** rb_first() - the leftmost node of @root; NULL when empty */
struct rb_node *rb_first(const struct rb_root *root);

/** rb_last() - the rightmost node of @root; NULL when empty */
struct rb_node *rb_last(const struct rb_root *root);

/** rb_next() - the node after @node, which is linked; NULL when it is the last */
struct rb_node *rb_next(const struct rb_node *node);

/** rb_prev() - the node before @node, which is linked; NULL when it is the first */
struct rb_node *rb_prev(const struct rb_node *node);

#endif
