/* SPDX-License-Identifier: BSD-3-Clause */
/* Both worlds side by side: everything that has to be the same, and what is known not to be. */
#ifndef MUSE_TESTS_DIFFERENTIAL_COMPARE_H
#define MUSE_TESTS_DIFFERENTIAL_COMPARE_H

#include "tests/differential/world.h"

enum finding_kind {
    FOUND_NOTHING,
    FOUND_OUTCOME, /* of a call or access: result, errno, signal, bytes */
    FOUND_BYTES,
    FOUND_FILE,
    FOUND_LAYOUT,
    FOUND_FORK, /* a child was not given its copy */
    FOUND_DEAD, /* a process ended that should not have */
    FOUND_HUNG,
    FOUND_LEFT, /* at the end: what rig_stop() looks for, or a call that must succeed */
};

/* The first difference of a run. */
struct finding {
    enum finding_kind kind;
    size_t step;
    char text[800];
};

/* A difference that is meant. One of both functions, or none where the code does it by itself. */
struct difference {
    const char *name, *reason;
    /* The step is done in neither world. */
    bool (*skips)(const struct setting *setting, const struct step *step);
    /* Outcomes that differ in nothing else. */
    bool (*excuses)(const struct setting *setting, const struct step *step,
                    const struct outcome *kernel, const struct outcome *ours);
};

/** differences() - all of them, ended by one without name */
const struct difference *differences(void);

/** difference_skips() - whether a step is not to be done */
bool difference_skips(const struct setting *setting, const struct step *step);

/** difference_of() - record a difference in @ret. Return: false. */
__attribute__((format(printf, 3, 4))) bool
difference_of(struct finding *ret, enum finding_kind kind, const char *format, ...);

/** compare_outcomes() - of one step. Return: whether they are the same; else @ret says what differs. */
bool compare_outcomes(const struct worlds *worlds, const struct step *step,
                      const struct outcome *kernel, const struct outcome *ours,
                      struct finding *ret);

/** compare_elsewhere() - what was placed outside the windows: its bytes, and then unmap it */
bool compare_elsewhere(const struct worlds *worlds, const struct step *step,
                       const struct outcome *kernel, const struct outcome *ours,
                       struct finding *ret);

/** compare_unlocked() - what MREMAP_DONTUNMAP may have unlocked in one world only is not locked any more */
bool compare_unlocked(const struct worlds *worlds, const struct step *step,
                      const struct outcome *kernel, struct finding *ret);

/** compare_bytes() - every page of [@at, @at + @len) of both windows: signal, or all bytes */
bool compare_bytes(const struct worlds *worlds, uint64_t at, uint64_t len, struct finding *ret);

/** compare_files() - all bytes of the files, as pread gives them */
bool compare_files(const struct worlds *worlds, struct finding *ret);

/** compare_written() - fsync, then the files in the driver's folder @data */
bool compare_written(const struct worlds *worlds, const char *data, struct finding *ret);

/** compare_layout() - rights, offset and sharing of each page as /proc/self/maps has them */
bool compare_layout(const struct worlds *worlds, struct finding *ret);

/* Neighbours that /proc/self/maps gives no reason to keep apart. The kernel may have one, in Muse they are
 * one VMA. */
struct run {
    uint64_t start, end; /* of the window, in bytes from its start */
    bool is_one;         /* for the kernel, too */
    bool is_anon;        /* else of a file, or shared */
};

/**
 * layout_run() - the run around a place of the kernel's window
 * @at: in bytes from its start
 *
 * Return: whether something is mapped at @at.
 */
bool layout_run(const char *window, uint64_t at, struct run *ret);

/** compare_maps() - the same as `musectl maps` has them */
bool compare_maps(const struct worlds *worlds, const struct rig *rig, struct finding *ret);

#endif
