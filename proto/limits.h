/* SPDX-License-Identifier: BSD-3-Clause */
/* Every maximum that two sides of a socket must agree on, with its reason. Pure constants. */
#ifndef MUSE_PROTO_LIMITS_H
#define MUSE_PROTO_LIMITS_H

#define PROTO_VERSION_MIN 1u
#define PROTO_VERSION_MAX 1u

/* One datagram. Well under net.core.wmem_default (208 KiB): no send fails for its size alone. */
#define FRAME_BYTES_MAX        65536u
/* fds in one frame; SCM_MAX_FD is 253, nobody needs more than an extent list's. */
#define FRAME_FDS_MAX          16u
#define NAME_BYTES_MAX         4096u        /* PATH_MAX: DRIVER/PATH */
#define DRIVER_NAME_BYTES_MAX  32u          /* [a-z0-9_-] */
#define PROGRAM_NAME_BYTES_MAX 64u          /* what an admin sees of a client */
#define ERROR_TEXT_BYTES_MAX   512u         /* one sentence */
#define DRIVER_VM_OPS_MAX      32u          /* tables of vm operations of one driver */
#define OBJECT_EXTENTS_MAX     1024u        /* extents in one message */
#define MEM_OPS_MAX            16u          /* client calls in one instruction */
#define OBJECT_BYTES_MAX       (1ull << 46) /* half of a 47-bit address space */
#define MAP_ALIGN_MAX          (1ull << 30) /* the largest page of x86-64 */
#define PREAD_BYTES_MAX        (1ull << 30)
#define ACCESS_BYTES_MAX       4096u /* one page: what lies behind it may be memory again */
#define VMA_NAME_BYTES_MAX     64u   /* what an admin sees of a mapping's name */
#define FORK_TOKEN_BYTES       16u   /* nobody guesses 128 bits within the token's ten seconds */
#define FORK_RANGES_MAX        2048u /* ranges in one message: 4096 numbers of 7 bytes */

/* Actions and verbs of one mapping: 36 bytes each on the wire. Chosen: a core of some hundred segments;
 * the server has 12 KiB of them while the call runs, and 4 KiB for as long as the mapping lives. */
#define MAP_VERBS_MAX 256u

/* The arena: addresses only (PROT_NONE, MAP_NORESERVE), so generous. */
#define ARENA_BYTES_DEFAULT (1ull << 40)
#define ARENA_BYTES_MAX     (1ull << 45)
#define ARENA_BYTES_MIN     (1ull << 21)

#endif
