/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Red-black tree after Cormen et al., with NULL as the black leaf. Owns nothing; used by the VMA
 * tree and others. Deliberately knows no keys, and no thread but its caller's.
 *
 * Augmentation: the path from the place of change to the top is updated before balancing; a
 * rotation then only has to update the two nodes that swap levels, since it changes no subtree
 * above them.
 */
#include "common/base/rbtree.h"

#include <stddef.h>

#include "common/base/must.h"

void rb_init(struct rb_root *root, rb_update_fn *update)
{
    *root = (struct rb_root){.node = NULL, .update = update};
}

static bool is_red(const struct rb_node *node)
{
    return node && node->is_red;
}

/* The pointer that points to @node: in its parent or in the root. */
static struct rb_node **link_of(struct rb_root *root, const struct rb_node *node)
{
    if (!node->parent)
        return &root->node;
    return node->parent->left == node ? &node->parent->left : &node->parent->right;
}

static void update_one(const struct rb_root *root, struct rb_node *node)
{
    if (root->update)
        root->update(node);
}

void rb_update_path(struct rb_root *root, struct rb_node *node)
{
    if (!root->update)
        return;
    for (; node; node = node->parent)
        root->update(node);
}

/*
 *      node                up
 *     /    \              /  \
 *    a      up    ->   node   c       and mirrored, when to_left is false
 *          /  \       /    \
 *         b    c     a      b
 */
static void rotate(struct rb_root *root, struct rb_node *node, bool to_left)
{
    struct rb_node **link = link_of(root, node);
    struct rb_node *up = to_left ? node->right : node->left;
    struct rb_node *middle = to_left ? up->left : up->right;

    *(to_left ? &node->right : &node->left) = middle;
    if (middle)
        middle->parent = node;
    *(to_left ? &up->left : &up->right) = node;
    up->parent = node->parent;
    node->parent = up;
    *link = up;
    update_one(root, node);
    update_one(root, up);
}

/* @node is red; only its parent may be red as well. */
static void balance_after_insert(struct rb_root *root, struct rb_node *node)
{
    while (is_red(node->parent)) {
        struct rb_node *parent = node->parent;
        struct rb_node *grand = parent->parent; /* a red node is never the topmost */
        bool is_left = grand->left == parent;
        struct rb_node *uncle = is_left ? grand->right : grand->left;

        if (is_red(uncle)) {
            parent->is_red = false;
            uncle->is_red = false;
            grand->is_red = true;
            node = grand;
            continue;
        }
        if (node ==
            (is_left ? parent->right : parent->left)) { /* inner grandchild: make it outer */
            rotate(root, parent, is_left);
            parent = node;
        }
        parent->is_red = false;
        grand->is_red = true;
        rotate(root, grand, !is_left);
        break;
    }
    root->node->is_red = false;
}

void rb_insert(struct rb_root *root, struct rb_node *parent, struct rb_node **link,
               struct rb_node *node)
{
    MUST(!*link);
    *node = (struct rb_node){.parent = parent, .is_red = true};
    *link = node;
    rb_update_path(root, node);
    balance_after_insert(root, node);
}

/* Every path through @node (may be NULL), a child of @parent, lacks one black node. */
static void balance_after_erase(struct rb_root *root, struct rb_node *node, struct rb_node *parent)
{
    while (parent && !is_red(node)) {
        bool is_left = parent->left == node;
        struct rb_node *sibling = is_left ? parent->right : parent->left;
        struct rb_node *outer;

        if (sibling->is_red) {
            sibling->is_red = false;
            parent->is_red = true;
            rotate(root, parent, is_left);
            sibling = is_left ? parent->right : parent->left;
        }
        if (!is_red(sibling->left) && !is_red(sibling->right)) {
            sibling->is_red = true;
            node = parent;
            parent = node->parent;
            continue;
        }
        outer = is_left ? sibling->right : sibling->left;
        if (!is_red(outer)) {
            (is_left ? sibling->left : sibling->right)->is_red = false;
            sibling->is_red = true;
            rotate(root, sibling, !is_left);
            sibling = is_left ? parent->right : parent->left;
            outer = is_left ? sibling->right : sibling->left;
        }
        sibling->is_red = parent->is_red;
        parent->is_red = false;
        outer->is_red = false;
        rotate(root, parent, is_left);
        return;
    }
    if (node)
        node->is_red = false;
}

/* Puts @to (not NULL) where @from is: parent, children and colour. */
static void replace(struct rb_root *root, const struct rb_node *from, struct rb_node *to)
{
    *link_of(root, from) = to;
    *to = *from;
    if (to->left)
        to->left->parent = to;
    if (to->right)
        to->right->parent = to;
}

/* Unlinks a node with at most one child. */
static void erase_simple(struct rb_root *root, struct rb_node *node, struct rb_node **ret_child,
                         struct rb_node **ret_parent)
{
    struct rb_node *child = node->left ? node->left : node->right;

    *link_of(root, node) = child;
    if (child)
        child->parent = node->parent;
    *ret_child = child;
    *ret_parent = node->parent;
}

void rb_erase(struct rb_root *root, struct rb_node *node)
{
    struct rb_node *gone = node; /* the node whose place in the tree disappears */
    struct rb_node *child;
    struct rb_node *parent;
    bool was_red;

    if (node->left && node->right) {
        for (gone = node->right; gone->left;)
            gone = gone->left;
    }
    was_red = gone->is_red;
    erase_simple(root, gone, &child, &parent);
    if (gone != node) {
        replace(root, node, gone);
        if (parent == node)
            parent = gone;
    }
    rb_update_path(root, parent);
    if (!was_red)
        balance_after_erase(root, child, parent);
    *node = (struct rb_node){0};
}

static struct rb_node *leftmost(struct rb_node *node)
{
    while (node && node->left)
        node = node->left;
    return node;
}

static struct rb_node *rightmost(struct rb_node *node)
{
    while (node && node->right)
        node = node->right;
    return node;
}

struct rb_node *rb_first(const struct rb_root *root)
{
    return leftmost(root->node);
}

struct rb_node *rb_last(const struct rb_root *root)
{
    return rightmost(root->node);
}

struct rb_node *rb_next(const struct rb_node *node)
{
    if (node->right)
        return leftmost(node->right);
    while (node->parent && node->parent->right == node)
        node = node->parent;
    return node->parent;
}

struct rb_node *rb_prev(const struct rb_node *node)
{
    if (node->left)
        return rightmost(node->left);
    while (node->parent && node->parent->left == node)
        node = node->parent;
    return node->parent;
}
