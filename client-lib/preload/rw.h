/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading a served descriptor, for the other files of this library. */
#ifndef MUSE_CLIENT_LIB_PRELOAD_RW_H
#define MUSE_CLIENT_LIB_PRELOAD_RW_H

#include <sys/types.h>

#include "client-lib/preload/shim.h"

/** rw_pread() - as pread(2), of a served descriptor; EBADF of another one */
ssize_t rw_pread(int fd, void *buf, size_t len, off_t offset);

#endif
