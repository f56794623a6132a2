/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VMAs for tests as they are drawn in their comments: one letter (its id), page numbers in hex.
 * draw_check() compares a whole tree with its drawing and validates it on the way. Header only.
 *
 *     "P[0-3)+0 N[5-9)+5"      two mappings; + the page offset in the object
 *     "A[1-2)?"  "A[1-2)!"     pending, quarantined
 */
#ifndef MUSE_TESTS_SUPPORT_VMA_DRAW_H
#define MUSE_TESTS_SUPPORT_VMA_DRAW_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

#include <check.h>

#include "server/vm/vma.h"
#include "server/vm/vma_tree.h"

#define DRAW_FLAGS      ((uint32_t)(VMF_READ | VMF_WRITE | VMF_MAYREAD | VMF_MAYWRITE))
#define DRAW_TEXT_BYTES 1024

/** pg() - the address of a page number */
static inline uint64_t pg(uint64_t page)
{
    return page << VMA_PAGE_SHIFT;
}

/** pgs() - the addresses of pages [first, end) */
static inline struct range pgs(uint64_t first, uint64_t end)
{
    return (struct range){pg(first), pg(end)};
}

/** draw_make() - a detached VMA at pages [first, end), pgoff = first, DRAW_FLAGS; the caller's */
__attribute__((unused)) static inline struct vma *draw_make(char name, uint64_t first, uint64_t end)
{
    struct vma *vma = NULL;

    ck_assert_int_eq(vma_new((uint64_t)name, &vma), 0);
    ck_assert_ptr_nonnull(vma);
    vma->start = pg(first);
    vma->end = pg(end);
    vma->pgoff = first;
    vma->flags = DRAW_FLAGS;
    vma->prot_narrow = PROT_READ | PROT_WRITE | PROT_EXEC;
    return vma;
}

/** draw_spare() - a detached VMA with nothing but a name; owned by the caller */
__attribute__((unused)) static inline struct vma *draw_spare(char name)
{
    struct vma *vma = NULL;

    ck_assert_int_eq(vma_new((uint64_t)name, &vma), 0);
    return vma;
}

/** draw_add() - draw_make() and enter it; borrowed from the tree */
__attribute__((unused)) static inline struct vma *draw_add(struct vma_tree *tree, char name,
                                                           uint64_t first, uint64_t end)
{
    struct vma *vma = draw_make(name, first, end);

    ck_assert_int_eq(vma_tree_insert(tree, vma), 0);
    return vma;
}

/* One VMA behind what @text holds already. */
static inline void draw_one(char text[static DRAW_TEXT_BYTES], size_t *used, const struct vma *vma)
{
    const char *gap = *used ? " " : "";
    int n = snprintf(text + *used, DRAW_TEXT_BYTES - *used, "%s%c[%" PRIx64 "-%" PRIx64 ")", gap,
                     (char)vma->id, vma->start >> VMA_PAGE_SHIFT, vma->end >> VMA_PAGE_SHIFT);

    ck_assert(n > 0 && (size_t)n < DRAW_TEXT_BYTES - *used);
    *used += (size_t)n;
    if (vma->kind == VMA_MAPPED) {
        n = snprintf(text + *used, DRAW_TEXT_BYTES - *used, "+%" PRIx64, vma->pgoff);
    } else {
        n = snprintf(text + *used, DRAW_TEXT_BYTES - *used, "%c",
                     vma->kind == VMA_PENDING ? '?' : '!');
    }
    ck_assert(n > 0 && (size_t)n < DRAW_TEXT_BYTES - *used);
    *used += (size_t)n;
}

/** draw_tree() - what is in a tree, by address */
__attribute__((unused)) static inline void draw_tree(char text[static DRAW_TEXT_BYTES],
                                                     const struct vma_tree *tree)
{
    const struct vma *vma;
    size_t used = 0;

    text[0] = '\0';
    vma_for_each(vma, tree)
        draw_one(text, &used, vma);
}

/** draw_list() - what is on a list of removed VMAs, in its order */
__attribute__((unused)) static inline void draw_list(char text[static DRAW_TEXT_BYTES],
                                                     const struct list *vmas)
{
    struct list *link;
    size_t used = 0;

    text[0] = '\0';
    list_for_each(link, vmas) {
        draw_one(text, &used, vma_from_link(link));
    }
}

/** draw_check() - the tree is valid and looks like this */
#define draw_check(tree, drawing)                                                                  \
    do {                                                                                           \
        char drawn_[DRAW_TEXT_BYTES];                                                              \
        const char *problem_ = vma_tree_validate(tree);                                            \
        ck_assert_msg(problem_ == NULL, "invalid tree: %s", problem_);                             \
        draw_tree(drawn_, (tree));                                                                 \
        ck_assert_str_eq(drawn_, (drawing));                                                       \
    } while (0)

/** draw_check_list() - the list looks like this */
#define draw_check_list(vmas, drawing)                                                             \
    do {                                                                                           \
        char drawn_[DRAW_TEXT_BYTES];                                                              \
        draw_list(drawn_, (vmas));                                                                 \
        ck_assert_str_eq(drawn_, (drawing));                                                       \
    } while (0)

#endif
