/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The hooks a driver can register, as bits on the wire and as names in logs, traces and man pages.
 * One list, many uses. Meaning and rules: docs/contract.md; kernel-side origin: include/linux/fs.h
 * and include/linux/mm.h.
 */
#ifndef MUSE_PROTO_HOOKS_H
#define MUSE_PROTO_HOOKS_H

#include <stdint.h>

/* name, bit */
#define FILE_HOOKS(X)                                                                              \
    X(OPEN, "open", 0)                                                                             \
    X(RELEASE, "release", 1)                                                                       \
    X(GETATTR, "getattr", 2)                                                                       \
    X(MMAP_PREPARE, "mmap_prepare", 3)                                                             \
    X(MMAP_COMPLETE, "mmap_complete", 4)                                                           \
    X(MMAP_ABORT, "mmap_abort", 5)                                                                 \
    X(MMAP, "mmap", 6)                                                                             \
    X(FAULT, "fault", 7)                                                                           \
    X(WRITEBACK, "writeback", 8)                                                                   \
    X(FSYNC, "fsync", 9)                                                                           \
    X(TRUNCATE, "truncate", 10)                                                                    \
    X(FALLOCATE, "fallocate", 11)                                                                  \
    X(DEBUG_HELD, "debug_held", 12)                                                                \
    X(GETATTR_PATH, "getattr_path", 24)                                                            \
    X(READDIR, "readdir", 25)                                                                      \
    X(READLINK, "readlink", 26)                                                                    \
    X(UNLINK, "unlink", 27)                                                                        \
    X(RENAME, "rename", 28)                                                                        \
    X(MKDIR, "mkdir", 29)                                                                          \
    X(SETATTR_PATH, "setattr_path", 30)

#define VM_HOOKS(X)                                                                                \
    X(OPEN, "vm_open", 0)                                                                          \
    X(CLOSE, "vm_close", 1)                                                                        \
    X(MAY_SPLIT, "may_split", 2)                                                                   \
    X(FAULT, "fault", 3)                                                                           \
    X(MPROTECT, "mprotect", 4)                                                                     \
    X(MREMAP, "mremap", 5)                                                                         \
    X(ACCESS, "access", 6)                                                                         \
    X(NAME, "name", 7)                                                                             \
    X(PAGE_MKWRITE, "page_mkwrite", 8)

enum file_hook {
#define X(name, text, bit) FILE_HOOK_##name = 1u << (bit),
    FILE_HOOKS(X)
#undef X
};

enum vm_hook {
#define X(name, text, bit) VM_HOOK_##name = 1u << (bit),
    VM_HOOKS(X)
#undef X
};

#define FILE_HOOKS_ALL 0x7f001fffu
#define VM_HOOKS_ALL   0x1ffu

/* What a change of attributes is about: AttrChange.mask, and the masks of both libraries. */
enum setattr {
    SETATTR_MODE = 1u << 0,
    SETATTR_UID = 1u << 1,
    SETATTR_GID = 1u << 2,
    SETATTR_ATIME = 1u << 3,
    SETATTR_MTIME = 1u << 4,
    SETATTR_ATIME_NOW = 1u << 5,
    SETATTR_MTIME_NOW = 1u << 6,
};

#define SETATTR_ALL 0x7fu

#endif
