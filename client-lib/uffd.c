/* SPDX-License-Identifier: BSD-3-Clause */
/* Making a userfaultfd in whichever way this process may. Called once a connection, by handle.c. */
#include "client-lib/uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client-lib/error.h"
#include "common/base/linux_abi.h"
#include "common/base/own.h"

#define UFFD_FLAGS (O_CLOEXEC | O_NONBLOCK)

/* Each way returns an fd or -errno. */
static int from_device(int device_fd)
{
    int fd;

    if (device_fd < 0)
        return -ENODEV;
    fd = ioctl(device_fd, USERFAULTFD_IOC_NEW, UFFD_FLAGS);
    return fd < 0 ? -errno : fd;
}

static int from_own_device(void)
{
    CLEAN(fd_close_p) int device_fd = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);

    return device_fd < 0 ? -errno : from_device(device_fd);
}

static int from_syscall(int flags)
{
    int fd = (int)syscall(SYS_userfaultfd, UFFD_FLAGS | flags);

    return fd < 0 ? -errno : fd;
}

static int negotiate(int fd, uint64_t features)
{
    struct uffdio_api api = {.api = UFFD_API, .features = features};

    if (ioctl(fd, UFFDIO_API, &api) < 0) {
        error_say("the kernel's userfaultfd does not have the features the server needs (0x%llx)",
                  (unsigned long long)features);
        return errno == EPERM ? -EPERM : -EOPNOTSUPP;
    }
    return 0;
}

int uffd_create(int device_fd, uint64_t features, int *ret_fd, bool *ret_is_user_mode_only)
{
    CLEAN(fd_close_p) int fd = from_device(device_fd);
    bool is_user_mode_only = false;
    int r;

    if (fd < 0)
        fd = from_own_device();
    if (fd < 0)
        fd = from_syscall(0);
    if (fd < 0) {
        fd = from_syscall(UFFD_USER_MODE_ONLY);
        is_user_mode_only = fd >= 0;
    }
    if (fd < 0) {
        r = fd;
        error_say("this process may not make a userfaultfd, and the server handed out none");
        return r == -EMFILE || r == -ENFILE || r == -ENOMEM ? r : -EPERM;
    }
    r = negotiate(fd, features);
    if (r < 0)
        return r;
    *ret_fd = fd_take(&fd);
    *ret_is_user_mode_only = is_user_mode_only;
    return 0;
}
