/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fixed header in front of every message: what it is, which request it belongs to, how many fds
 * come with it. Pure: bytes in, struct out. One frame is one SOCK_SEQPACKET datagram. Layout,
 * little-endian:
 *
 *   0      2       3       4      6       8                  16
 *   | magic|version| n_fds | type | flags | request id (u64) | protobuf payload ...
 */
#ifndef MUSE_PROTO_FRAME_H
#define MUSE_PROTO_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

#define FRAME_MAGIC        0x6d75u /* "um" */
#define FRAME_VERSION      1u /* of this header; what messages mean is negotiated by the hellos */
#define FRAME_HEADER_BYTES 16u

/* All message types of the three conversations; one from the wrong conversation ends it. */
#define FRAME_TYPES(X)                                                                             \
    X(CLIENT_HELLO, 0x101)                                                                         \
    X(CLIENT_WELCOME, 0x102)                                                                       \
    X(ATTACH, 0x103)                                                                               \
    X(ATTACHED, 0x104)                                                                             \
    X(OPEN, 0x105)                                                                                 \
    X(OPENED, 0x106)                                                                               \
    X(CLOSE, 0x107)                                                                                \
    X(FSTAT, 0x108)                                                                                \
    X(STAT, 0x109)                                                                                 \
    X(MAP, 0x10a)                                                                                  \
    X(MAPPED, 0x10b)                                                                               \
    X(UNMAP, 0x10c)                                                                                \
    X(MEM_OPS, 0x10d)                                                                              \
    X(MEM_OPS_DONE, 0x10e)                                                                         \
    X(PREAD, 0x10f)                                                                                \
    X(READABLE, 0x110)                                                                             \
    X(ERROR_AT, 0x111)                                                                             \
    X(ERROR_IS, 0x112)                                                                             \
    X(DONE, 0x113)                                                                                 \
    X(FAILED, 0x114)                                                                               \
    X(MADVISE, 0x115)                                                                              \
    X(PROTECT, 0x120)                                                                              \
    X(REMAP, 0x121)                                                                                \
    X(LOCK, 0x122)                                                                                 \
    X(MINCORE, 0x123)                                                                              \
    X(RESIDENT, 0x124)                                                                             \
    X(ACCESS, 0x125)                                                                               \
    X(ACCESSED, 0x126)                                                                             \
    X(MSYNC, 0x130)                                                                                \
    X(FSYNC, 0x131)                                                                                \
    X(PWRITE, 0x132)                                                                               \
    X(WRITTEN, 0x133)                                                                              \
    X(TRUNCATE, 0x134)                                                                             \
    X(FALLOCATE, 0x135)                                                                            \
    X(FORK_BEGIN, 0x140)                                                                           \
    X(FORK_BEGUN, 0x141)                                                                           \
    X(FORK_RANGES, 0x142)                                                                          \
    X(FORK_RANGES_ARE, 0x143)                                                                      \
    X(FORK_END, 0x144)                                                                             \
    X(FORK_ATTACH, 0x145)                                                                          \
    X(PREFETCH, 0x150)                                                                             \
    X(PREFETCHED, 0x151)                                                                           \
    X(READ_DONE, 0x158)                                                                            \
    X(LOCK_FILE, 0x15a)                                                                            \
    X(LOCK_FILE_IS, 0x15b)                                                                         \
    X(STATAT, 0x160)                                                                               \
    X(READDIR, 0x161)                                                                              \
    X(DIR_ENTRIES, 0x162)                                                                          \
    X(READLINK, 0x163)                                                                             \
    X(LINK_TARGET, 0x164)                                                                          \
    X(UNLINK, 0x165)                                                                               \
    X(RENAME, 0x166)                                                                               \
    X(MKDIR, 0x167)                                                                                \
    X(SETATTR, 0x168)                                                                              \
    X(DRIVER_HELLO, 0x201)                                                                         \
    X(DRIVER_WELCOME, 0x202)                                                                       \
    X(DRIVER_FAILED, 0x203)                                                                        \
    X(DRIVER_OPEN, 0x204)                                                                          \
    X(DRIVER_OPENED, 0x205)                                                                        \
    X(DRIVER_OBJECT, 0x206)                                                                        \
    X(DRIVER_OBJECT_GONE, 0x207)                                                                   \
    X(DRIVER_RELEASE, 0x208)                                                                       \
    X(DRIVER_GETATTR, 0x209)                                                                       \
    X(DRIVER_ATTR, 0x20a)                                                                          \
    X(PREPARE, 0x20b)                                                                              \
    X(PREPARED, 0x20c)                                                                             \
    X(COMPLETE, 0x20d)                                                                             \
    X(COMPLETED, 0x20e)                                                                            \
    X(ABORT, 0x20f)                                                                                \
    X(LEGACY_MMAP, 0x210)                                                                          \
    X(VMA_OPEN, 0x211)                                                                             \
    X(VMA_CLOSE, 0x212)                                                                            \
    X(MAY_SPLIT, 0x213)                                                                            \
    X(FAULT_FAILED, 0x214)                                                                         \
    X(INVALIDATE, 0x215)                                                                           \
    X(MPROTECT, 0x220)                                                                             \
    X(MREMAP, 0x221)                                                                               \
    X(DRIVER_ACCESS, 0x222)                                                                        \
    X(DRIVER_ACCESSED, 0x223)                                                                      \
    X(VMA_NAME, 0x224)                                                                             \
    X(VMA_NAMED, 0x225)                                                                            \
    X(WRITEBACK, 0x230)                                                                            \
    X(DRIVER_FSYNC, 0x231)                                                                         \
    X(DRIVER_TRUNCATE, 0x232)                                                                      \
    X(DRIVER_FALLOCATE, 0x233)                                                                     \
    X(PAGE_MKWRITE, 0x234)                                                                         \
    X(DRIVER_RESIZED, 0x235)                                                                       \
    X(DEBUG_HELD, 0x236)                                                                           \
    X(DEBUG_HELD_IS, 0x237)                                                                        \
    X(DRIVER_STATAT, 0x260)                                                                        \
    X(DRIVER_READDIR, 0x261)                                                                       \
    X(DRIVER_DIR_ENTRIES, 0x262)                                                                   \
    X(DRIVER_READLINK, 0x263)                                                                      \
    X(DRIVER_LINK_TARGET, 0x264)                                                                   \
    X(DRIVER_UNLINK, 0x265)                                                                        \
    X(DRIVER_RENAME, 0x266)                                                                        \
    X(DRIVER_DONE, 0x267)                                                                          \
    X(DRIVER_MKDIR, 0x268)                                                                         \
    X(DRIVER_SETATTR, 0x269)                                                                       \
    X(ADMIN_REQUEST, 0x301)                                                                        \
    X(ADMIN_REPLY, 0x302)

enum frame_type {
#define X(name, value) FRAME_##name = (value),
    FRAME_TYPES(X)
#undef X
};

struct frame_header {
    uint16_t type; /* enum frame_type, unchecked */
    uint8_t n_fds; /* fds that come with the frame */
    uint64_t id;   /* the request; an answer carries the request's */
};

/**
 * frame_encode() - write a header
 * @header:  what to write
 * @ret_buf: FRAME_HEADER_BYTES bytes, caller's
 */
void frame_encode(const struct frame_header *header, uint8_t *ret_buf);

/**
 * frame_decode() - read and check a header
 * @buf:        a whole datagram, untrusted
 * @n_bytes:    its length
 * @ret_header: written on success
 *
 * Return: 0; -EPROTO too short, wrong magic, version or flags, or more fds than FRAME_FDS_MAX.
 */
MUST_CHECK int frame_decode(const uint8_t *buf, size_t n_bytes, struct frame_header *ret_header);

/**
 * frame_type_name() - the name of a message type for logs
 * @type: as received, may be unknown
 *
 * Return: a constant string, "?" when unknown.
 */
const char *frame_type_name(uint16_t type);

#endif
