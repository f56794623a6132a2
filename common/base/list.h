/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Doubly linked, circular, intrusive list. Head and nodes are the same struct; a head or a node
 * that is in no list points to itself. Owns nothing.
 */
#ifndef MUSE_COMMON_BASE_LIST_H
#define MUSE_COMMON_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/own.h"

struct list {
    struct list *next;
    struct list *prev;
};

/** LIST_INIT() - initializer of a head, or of a node in no list: struct list a = LIST_INIT(a); */
#define LIST_INIT(name)                                                                            \
    {                                                                                              \
        &(name), &(name)                                                                           \
    }

/** LIST_ENTRY() - the struct that a list node is embedded in; see CONTAINER_OF() */
#define LIST_ENTRY(node, type, member) CONTAINER_OF(node, type, member)

/**
 * list_for_each() - visit every node; the list may not change meanwhile
 * @pos:  a struct list * variable; the node
 * @head: the list's head
 */
#define list_for_each(pos, head) for ((pos) = (head)->next; (pos) != (head); (pos) = (pos)->next)

/**
 * list_for_each_safe() - visit every node; the visited node may be deleted and freed
 * @pos:  a struct list * variable; the node
 * @tmp:  another one, for the loop's own use; the node it holds may not be deleted
 * @head: the list's head
 */
#define list_for_each_safe(pos, tmp, head)                                                         \
    for ((pos) = (head)->next, (tmp) = (pos)->next; (pos) != (head);                               \
         (pos) = (tmp), (tmp) = (pos)->next)

/**
 * list_init() - make an empty head, or a node that is in no list
 * @list: head or node; whatever it held is forgotten
 */
static inline void list_init(struct list *list)
{
    list->next = list;
    list->prev = list;
}

/**
 * list_is_empty() - no nodes behind this head?
 * @head: an initialized head
 */
static inline bool list_is_empty(const struct list *head)
{
    return head->next == head;
}

/**
 * list_is_linked() - is this node in a list?
 * @node: an initialized node
 */
static inline bool list_is_linked(const struct list *node)
{
    return node->next != node;
}

/**
 * list_add() - put a node first; or, with a node as @head, right after that node
 * @head: the list's head, or a linked node
 * @node: in no list; stays the caller's, linked here until list_del()
 */
static inline void list_add(struct list *head, struct list *node)
{
    node->next = head->next;
    node->prev = head;
    head->next->prev = node;
    head->next = node;
}

/**
 * list_add_tail() - put a node last; or, with a node as @head, right before that node
 * @head: the list's head, or a linked node
 * @node: in no list; stays the caller's, linked here until list_del()
 */
static inline void list_add_tail(struct list *head, struct list *node)
{
    list_add(head->prev, node);
}

/**
 * list_del() - take a node out of whatever list it is in
 * @node: initialized; may be in no list; is in none afterwards
 */
static inline void list_del(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/**
 * list_first() - the first node
 * @head: the list's head
 *
 * Return: borrowed; NULL when the list is empty.
 */
static inline struct list *list_first(const struct list *head)
{
    return list_is_empty(head) ? NULL : head->next;
}

/**
 * list_last() - the last node
 * @head: the list's head
 *
 * Return: borrowed; NULL when the list is empty.
 */
static inline struct list *list_last(const struct list *head)
{
    return list_is_empty(head) ? NULL : head->prev;
}

/**
 * list_take_first() - take the first node out
 * @head: the list's head
 *
 * Return: a node that is in no list now; NULL when the list was empty.
 */
static inline struct list *list_take_first(struct list *head)
{
    struct list *node = list_first(head);

    if (node)
        list_del(node);
    return node;
}

/**
 * list_move_all() - append all nodes of one list to another
 * @to:   head of the list that grows
 * @from: head of another list; empty afterwards
 */
static inline void list_move_all(struct list *to, struct list *from)
{
    if (list_is_empty(from))
        return;
    from->next->prev = to->prev;
    from->prev->next = to;
    to->prev->next = from->next;
    to->prev = from->prev;
    list_init(from);
}

#endif
