/* SPDX-License-Identifier: BSD-3-Clause */
/* Making the one userfaultfd of a connection; registering and serving is the server's. */
#ifndef MUSE_CLIENT_LIB_UFFD_H
#define MUSE_CLIENT_LIB_UFFD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/must.h"

/**
 * uffd_create() - a userfaultfd of this process, ready for use
 * @device_fd:             /dev/userfaultfd as opened by the server, borrowed; -1 for none
 * @features:              UFFD_FEATURE_* to ask for
 * @ret_fd:                caller's; non-blocking
 * @ret_is_user_mode_only: faults inside system calls are not served
 *
 * Tries, in this order: @device_fd, opening the device, userfaultfd(2), userfaultfd(2) with
 * UFFD_USER_MODE_ONLY.
 *
 * Source: userfaultfd(2); USERFAULTFD_IOC_NEW works without privilege on a device that a privileged
 * process opened.
 * Return: 0; -EPERM none to be had; -EOPNOTSUPP the kernel lacks a feature; -EMFILE, -ENFILE,
 * -ENOMEM.
 */
MUST_CHECK int uffd_create(int device_fd, uint64_t features, int *ret_fd,
                           bool *ret_is_user_mode_only);

#endif
