/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random steps. Weights are chosen so that windows stay about half full, files about as long as
 * they were, and every page is now and then one that nobody has touched. Mistakes in arguments are
 * made on purpose, but seldom.
 */
#define _GNU_SOURCE
#include "tests/differential/generate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <check.h>

#include "common/base/linux_abi.h"
#include "common/base/own.h"
#include "tests/support/unit.h"

#define COPY_PAGES_MAX 12u

struct draw {
    uint64_t seed;
    unsigned n_actors;
    uint64_t actor; /* whose turn it is */
    bool in_arena;
};

static uint64_t below(struct draw *draw, uint64_t n)
{
    return unit_random(&draw->seed) % n;
}

static bool one_in(struct draw *draw, uint64_t n)
{
    return below(draw, n) == 0;
}

/* Some pages of the window; now and then not aligned, empty, or not whole. */
static void draw_range(struct draw *draw, uint64_t n_max, struct step *step)
{
    const uint64_t page = below(draw, WINDOW_PAGES);
    const uint64_t room = WINDOW_PAGES - page < n_max ? WINDOW_PAGES - page : n_max;

    step->at = page * PAGE;
    step->len = (1 + below(draw, room)) * PAGE;
    if (one_in(draw, 40))
        step->at += 8;
    if (one_in(draw, 20))
        step->len = below(draw, 2) ? 0 : step->len - 5;
}

/* The first file more often. */
static void draw_handle(struct draw *draw, struct step *step)
{
    step->handle = below(draw, 2) + (one_in(draw, 4) ? 2 : 0);
}

/* ---- mappings ---- */

static void draw_mapping_kind(struct draw *draw, struct step *step)
{
    static const struct {
        uint64_t prot, flags;
    } kinds[] = {
        {PROT_READ, MAP_SHARED},
        {PROT_READ, MAP_PRIVATE},
        {PROT_READ | PROT_WRITE, MAP_PRIVATE},
        {PROT_READ | PROT_WRITE, MAP_SHARED},
        {PROT_READ | PROT_WRITE, MAP_SHARED},
        {PROT_NONE, MAP_SHARED},
        {PROT_READ | PROT_EXEC, MAP_PRIVATE},
    };
    const uint64_t kind = below(draw, N_ELEMENTS(kinds));

    step->prot = kinds[kind].prot;
    step->flags = kinds[kind].flags;
    draw_handle(draw, step);
    if (one_in(draw, 4))
        step->flags |= MAP_ANONYMOUS;
    if (one_in(draw, 6))
        step->flags |= MAP_POPULATE;
    if (one_in(draw, 8))
        step->flags |= MAP_NORESERVE;
    if (one_in(draw, 12) && (draw->in_arena || (step->flags & MAP_ANONYMOUS)))
        step->flags |= MAP_LOCKED; /* elsewhere it grows in another way: locked-outside */
}

static void spoil_mapping(struct draw *draw, struct step *step)
{
    switch (below(draw, 40)) {
    case 0:
        step->len = 0;
        break;
    case 1:
        step->offset += 512;
        break;
    case 2:
        step->flags |= MAP_FIXED;
        step->at += 100;
        break;
    case 3:
        step->len -= 77; /* no mistake: rounded up */
        break;
    case 4:
        step->flags &= ~(uint64_t)MAP_TYPE;
        break;
    default:
        break;
    }
}

static void draw_mmap(struct draw *draw, struct step *step)
{
    const uint64_t how = below(draw, 10);

    draw_range(draw, 24, step);
    step->at &= ~(PAGE - 1);
    step->len = step->len ? (step->len + PAGE - 1) & ~(PAGE - 1) : PAGE;
    draw_mapping_kind(draw, step);
    step->offset = below(draw, FILE_PAGES + 8) * PAGE;
    if (how < 5 || (!draw->in_arena && how < 8))
        step->flags |= MAP_FIXED;
    else if (how >= 8)
        step->flags |= MAP_FIXED_NOREPLACE;
    spoil_mapping(draw, step);
}

static void draw_munmap(struct draw *draw, struct step *step)
{
    draw_range(draw, 12, step);
}

static void draw_mprotect(struct draw *draw, struct step *step)
{
    static const uint64_t prots[] = {PROT_NONE,
                                     PROT_READ,
                                     PROT_READ,
                                     PROT_READ | PROT_WRITE,
                                     PROT_READ | PROT_WRITE,
                                     PROT_READ | PROT_WRITE,
                                     PROT_READ | PROT_EXEC,
                                     PROT_WRITE,
                                     0x40};

    draw_range(draw, 12, step);
    step->prot = prots[below(draw, N_ELEMENTS(prots))];
}

static void draw_mremap(struct draw *draw, struct step *step)
{
    const uint64_t n_pages = 1 + below(draw, 8);

    step->at = below(draw, WINDOW_PAGES) * PAGE;
    step->len = PAGE;
    step->new_len = n_pages * PAGE;
    step->to = below(draw, WINDOW_PAGES - n_pages) * PAGE;
    step->flags = MREMAP_MAYMOVE | MREMAP_FIXED;
    switch (below(draw, 8)) {
    case 0: /* larger, in place or not at all */
        step->flags = 0;
        break;
    case 1:
        step->flags = MREMAP_MAYMOVE;
        break;
    case 2: /* smaller */
        step->flags = 0;
        step->len = n_pages * PAGE;
        step->new_len = PAGE;
        break;
    case 3: /* larger, elsewhere */
        break;
    case 4: /* once more */
        step->len = 0;
        break;
    case 5:
        step->flags |= MREMAP_DONTUNMAP;
        step->len = step->new_len;
        break;
    default: /* as it is, all mappings of the range */
        step->len = step->new_len;
        break;
    }
    if (step->at + step->new_len > WINDOW_BYTES)
        step->at = WINDOW_BYTES - step->new_len;
    if (one_in(draw, 30))
        step->flags ^= below(draw, 2) ? MREMAP_MAYMOVE : 8;
    if (one_in(draw, 40))
        step->to += 16;
    if (one_in(draw, 40))
        step->new_len = below(draw, 2) ? 0 : step->new_len - 9;
}

static void draw_madvise(struct draw *draw, struct step *step)
{
    static const int advices[] = {MADV_DONTNEED,
                                  MADV_DONTNEED,
                                  MADV_DONTNEED,
                                  MADV_RANDOM,
                                  MADV_SEQUENTIAL,
                                  MADV_NORMAL,
                                  MADV_WILLNEED,
                                  MADV_COLD,
                                  MADV_PAGEOUT,
                                  MADV_DONTDUMP,
                                  MADV_DODUMP,
                                  MADV_POPULATE_READ,
                                  MADV_POPULATE_WRITE,
                                  MADV_WIPEONFORK,
                                  MADV_KEEPONFORK,
                                  MADV_DONTFORK,
                                  MADV_DOFORK,
                                  MADV_HUGEPAGE,
                                  MADV_NOHUGEPAGE,
                                  MADV_DONTNEED_LOCKED,
                                  MADV_FREE,
                                  MADV_REMOVE,
                                  4711};

    draw_range(draw, 16, step);
    step->flags = (uint64_t)advices[below(draw, N_ELEMENTS(advices))];
}

static void draw_msync(struct draw *draw, struct step *step)
{
    static const uint64_t flags[] = {
        MS_SYNC, MS_SYNC, MS_ASYNC, 0, MS_INVALIDATE, MS_SYNC | MS_ASYNC, 0x40};

    draw_range(draw, 16, step);
    step->flags = flags[below(draw, N_ELEMENTS(flags))];
}

static void draw_mlock(struct draw *draw, struct step *step)
{
    draw_range(draw, 6, step);
}

static void draw_mincore(struct draw *draw, struct step *step)
{
    draw_range(draw, 24, step);
}

/* ---- files ---- */

static void draw_file_range(struct draw *draw, struct step *step)
{
    draw_handle(draw, step);
    step->offset = below(draw, (FILE_PAGES + 6) * PAGE);
    step->len = 1 + below(draw, one_in(draw, 3) ? 3 * PAGE : 300);
    step->byte = below(draw, 256);
}

static void draw_pread(struct draw *draw, struct step *step)
{
    draw_file_range(draw, step);
    if (one_in(draw, 20))
        step->len = 0;
    if (one_in(draw, 60))
        step->offset = UINT64_MAX - 3;
}

/* About as long as it was; seldom much shorter. */
static void draw_ftruncate(struct draw *draw, struct step *step)
{
    draw_handle(draw, step);
    step->len = one_in(draw, 5) ? below(draw, FILE_PAGES * PAGE)
                                : (FILE_PAGES - 8) * PAGE + below(draw, 14 * PAGE);
    if (one_in(draw, 2))
        step->len &= ~(PAGE - 1);
}

static void draw_fallocate(struct draw *draw, struct step *step)
{
    static const uint64_t modes[] = {0,
                                     FALLOC_FL_KEEP_SIZE,
                                     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                     FALLOC_FL_ZERO_RANGE,
                                     FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                                     FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                                     FALLOC_FL_PUNCH_HOLE,
                                     0x4000};

    draw_file_range(draw, step);
    if (one_in(draw, 3)) {
        step->offset &= ~(PAGE - 1);
        step->len = (1 + below(draw, 3)) * PAGE;
    }
    step->flags = modes[below(draw, N_ELEMENTS(modes))];
    if (one_in(draw, 30))
        step->len = 0;
}

/* ---- memory ---- */

static void draw_touch(struct draw *draw, struct step *step)
{
    step->at = below(draw, WINDOW_BYTES);
    step->byte = below(draw, 256);
}

static void draw_copy(struct draw *draw, struct step *step)
{
    step->at = below(draw, WINDOW_BYTES - COPY_PAGES_MAX * PAGE);
    step->len = 1 + below(draw, one_in(draw, 3) ? COPY_PAGES_MAX * PAGE : PAGE);
    step->flags = below(draw, 2) ? WAY_PIPE : WAY_VM;
    step->byte = below(draw, 256);
}

static void draw_bytes(struct draw *draw, struct step *step)
{
    step->at = below(draw, WINDOW_PAGES) * PAGE;
    step->len = (1 + below(draw, one_in(draw, 8) ? WINDOW_PAGES : 8)) * PAGE;
    if (step->at + step->len > WINDOW_BYTES)
        step->len = WINDOW_BYTES - step->at;
}

static void draw_actor(struct draw *draw, struct step *step)
{
    step->to = below(draw, draw->n_actors);
}

static void draw_nothing(struct draw *draw, struct step *step)
{
    (void)draw;
    (void)step;
}

/* ---- scripts ---- */

static const struct choice {
    enum op op;
    unsigned weight;
    void (*draw)(struct draw *draw, struct step *step);
    bool among_many; /* only with more than one actor */
} choices[] = {
    {OP_MMAP, 180, draw_mmap, false},          {OP_MUNMAP, 60, draw_munmap, false},
    {OP_MPROTECT, 110, draw_mprotect, false},  {OP_MREMAP, 110, draw_mremap, false},
    {OP_MADVISE, 130, draw_madvise, false},    {OP_MSYNC, 10, draw_msync, false},
    {OP_MINCORE, 10, draw_mincore, false},     {OP_MLOCK, 8, draw_mlock, false},
    {OP_MUNLOCK, 20, draw_mlock, false},       {OP_PREAD, 20, draw_pread, false},
    {OP_PWRITE, 30, draw_pread, false},        {OP_FTRUNCATE, 12, draw_ftruncate, false},
    {OP_FALLOCATE, 15, draw_fallocate, false}, {OP_FSYNC, 4, draw_handle, false},
    {OP_REOPEN, 3, draw_handle, false},        {OP_LOAD, 190, draw_touch, false},
    {OP_STORE, 190, draw_touch, false},        {OP_COPY_OUT, 40, draw_copy, false},
    {OP_COPY_IN, 40, draw_copy, false},        {OP_FORK, 6, draw_actor, true},
    {OP_CONNECT, 2, draw_nothing, true},       {OP_EXIT, 5, draw_nothing, true},
    {OP_BYTES, 30, draw_bytes, false},         {OP_FILES, 3, draw_nothing, false},
    {OP_WRITTEN, 1, draw_nothing, false},      {OP_LAYOUT, 8, draw_nothing, false},
};

#define MAPS_EVERY 2500u /* chosen: two programs are started for each */

static const struct choice *draw_choice(struct draw *draw)
{
    uint64_t at, total = 0;

    for (size_t i = 0; i < N_ELEMENTS(choices); i++)
        total += choices[i].weight;
    at = below(draw, total);
    for (size_t i = 0;; i++) {
        if (at < choices[i].weight)
            return &choices[i];
        at -= choices[i].weight;
    }
}

static void draw_step(struct draw *draw, struct step *step)
{
    const struct choice *choice;

    *step = (struct step){0};
    do {
        choice = draw_choice(draw);
    } while (choice->among_many && draw->n_actors == 1);
    if (one_in(draw, 5) || choice->among_many)
        draw->actor = below(draw, draw->n_actors);
    step->actor = draw->actor;
    step->op = choice->op;
    choice->draw(draw, step);
}

void generate(uint64_t seed, size_t n_steps, unsigned n_actors, struct script *ret)
{
    /* neighbouring seeds are far apart: Fibonacci hashing (Knuth 6.4) */
    struct draw draw = {.seed = seed * UINT64_C(0x9e3779b97f4a7c15) | 1, .n_actors = n_actors};

    *ret = (struct script){.n_steps = n_steps, .steps = calloc(n_steps, sizeof(struct step))};
    ck_assert_ptr_nonnull(ret->steps);
    (void)unit_random(&draw.seed);
    draw.in_arena = ret->setting.in_arena = below(&draw, 3) != 0;
    ret->setting.fills = below(&draw, 2);
    ret->setting.is_tight = seed % 4 == 3; /* not drawn: the steps of a seed stay the same */
    for (size_t i = 0; i < n_steps; i++) {
        draw_step(&draw, &ret->steps[i]);
        if (i % MAPS_EVERY == MAPS_EVERY - 1)
            ret->steps[i] = (struct step){.actor = draw.actor, .op = OP_MAPS};
    }
}
