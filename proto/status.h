/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Wire status <-> errno. The wire carries x86-64 Linux errno numbers, 1..4095 (MAX_ERRNO of
 * include/linux/err.h); this is the only place that checks them. Pure.
 */
#ifndef MUSE_PROTO_STATUS_H
#define MUSE_PROTO_STATUS_H

#include <stdbool.h>
#include <stdint.h>

#define STATUS_ERRNO_MAX 4095

/** status_is_legal() - whether a number from a peer is an errno: 1..4095 */
static inline bool status_is_legal(int64_t error)
{
    return error >= 1 && error <= STATUS_ERRNO_MAX;
}

/** status_from_result() - a result (0 or -errno) as wire status (0 or errno) */
static inline uint32_t status_from_result(int result)
{
    return result < 0 ? (uint32_t)-result : 0u;
}

/** status_to_result() - wire status as -errno; what is no errno becomes @otherwise (a -errno) */
static inline int status_to_result(int64_t error, int otherwise)
{
    if (error == 0)
        return 0;
    return status_is_legal(error) ? -(int)error : otherwise;
}

#endif
