/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an object's lock file holds: a small sealed file of shared memory on which the kernel keeps
 * the advisory locks of the object, as all who have opened it have descriptors of this one inode
 * (muse_lock_file()). Its bytes are none of the object's: they say under which names and how the
 * descriptors of it were opened, for a program that came by one over exec.
 *
 *     magic | slot 0: how, name | slot 1 | ...          a description's F_GETSIG: its slot + 1, or 0
 *
 * Only who made the file writes to it, through a mapping that is older than the seals.
 */
#ifndef MUSE_COMMON_BASE_LOCK_LABEL_H
#define MUSE_COMMON_BASE_LOCK_LABEL_H

#include <fcntl.h>
#include <stdint.h>

#define LOCK_LABEL_MAGIC      "muse-lock-file-1"
#define LOCK_LABEL_SLOTS      63 /* a signal number has 64 values, 0 is "none" */
#define LOCK_LABEL_NAME_BYTES 4096
#define LOCK_LABEL_SEALS      (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE)

/* oflags that are remembered: what reading and writing depend on */
#define LOCK_LABEL_OFLAGS (O_ACCMODE | O_APPEND | O_DIRECTORY)

struct lock_slot {
    uint32_t oflags;
    char name[LOCK_LABEL_NAME_BYTES]; /* DRIVER/OBJECT, DRIVER or "" */
};

struct lock_label {
    char magic[16]; /* LOCK_LABEL_MAGIC, without its end */
    struct lock_slot slots[LOCK_LABEL_SLOTS];
};

#endif
