/* SPDX-License-Identifier: BSD-3-Clause */
/* What differs on purpose: the one list of it. docs/semantics.md tells the same to users. */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/mman.h>

#include "common/base/linux_abi.h"
#include "tests/differential/compare.h"

static bool is_hint_outside(const struct setting *setting, const struct step *step)
{
    if (setting->in_arena)
        return false;
    return step->op == OP_MREMAP
               ? (step->flags & (MREMAP_DONTUNMAP | MREMAP_FIXED)) == MREMAP_DONTUNMAP
               : step->op == OP_MMAP && !(step->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE));
}

static bool populates_copies(const struct setting *setting, const struct step *step)
{
    (void)setting;
    return step->op == OP_MMAP && !(step->flags & MAP_ANONYMOUS) &&
           (step->flags & MAP_TYPE) == MAP_PRIVATE &&
           ((step->flags & MAP_LOCKED) ||
            ((step->flags & MAP_POPULATE) && (step->prot & PROT_WRITE)));
}

static bool locks_in_tight(const struct setting *setting, const struct step *step)
{
    return setting->is_tight &&
           (step->op == OP_MLOCK || (step->op == OP_MMAP && (step->flags & MAP_LOCKED)));
}

static bool locks_outside(const struct setting *setting, const struct step *step)
{
    return !setting->in_arena && step->op == OP_MLOCK;
}

static bool is_other_segv(const struct setting *setting, const struct step *step,
                          const struct outcome *kernel, const struct outcome *ours)
{
    (void)step;
    return setting->in_arena && kernel->signal == SIGSEGV && ours->signal == SIGSEGV &&
           kernel->code == SEGV_MAPERR && ours->code == SEGV_ACCERR &&
           kernel->fault_at == ours->fault_at;
}

static const struct difference list[] = {
    {"reserved",
     "addresses of the arena are reserved: what is not mapped there is SEGV_ACCERR, and "
     "in /proc/self/maps without access, instead of SEGV_MAPERR and nothing",
     NULL, is_other_segv},
    {"hint-outside", "a hint outside the arena is not followed: the server places mappings in it",
     is_hint_outside, NULL},
    {"elsewhere",
     "where a mapping is placed that was not given an address of its own is the "
     "server's choice: both places only have to be outside the window",
     NULL, NULL},
    {"shown-private",
     "a shared mapping of a file opened for reading is a private one for the "
     "kernel: 'p' in /proc/self/maps ('s' in musectl maps)",
     NULL, NULL},
    {"populate-copies",
     "MAP_POPULATE and MAP_LOCKED of a private writable mapping make no copies: later writes "
     "to the file may be seen there, which mmap(2) leaves open",
     populates_copies, NULL},
    {"one-mapping",
     "neighbours with private copies of their own are two mappings for the kernel, "
     "one for Muse: a mremap that needs one mapping may do more, and is not done in Muse's world "
     "where the kernel refuses it because of that",
     NULL, NULL},
    {"locked-outside",
     "outside the arena a locked mapping of an object does not grow in place, it "
     "moves: nothing is locked there",
     locks_outside, NULL},
    {"tight",
     "where the limit of memory is smaller than the files, what is locked may not fit: ENOMEM",
     locks_in_tight, NULL},
    {"unlocked-around",
     "MREMAP_DONTUNMAP unlocks what is one mapping with the source: for the kernel that may be the "
     "target too, and neighbours may be one mapping for one of both only. All of it is unlocked then",
     NULL, NULL},
    {"freed",
     "after MADV_FREE bytes are the old ones or zeros, as the kernel likes: both worlds "
     "drop them at once",
     NULL, NULL},
    {"tail",
     "what is stored behind the end of a file, in its last page, is gone when the file "
     "grows, or the page is evicted or forgotten, as on disk; files in memory keep it",
     NULL, NULL},
    {"zero-range",
     "the kernel's files are in memory, which has no FALLOC_FL_ZERO_RANGE: a hole of "
     "the same size is punched instead",
     NULL, NULL},
    {NULL, NULL, NULL, NULL},
};

const struct difference *differences(void)
{
    return list;
}

bool difference_skips(const struct setting *setting, const struct step *step)
{
    for (const struct difference *one = list; one->name; one++) {
        if (one->skips && one->skips(setting, step))
            return true;
    }
    return false;
}
