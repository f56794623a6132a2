/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Offline and online. At each moment one of the two files has all the bytes, whoever is killed:
 *
 *     off   FILE -> FILE.offline.part, fsync, rename to FILE.offline; only then FILE is cut off
 *     on    FILE.offline -> FILE, fsync; only then FILE.offline is removed
 *
 * FILE.offline is there: the device is offline.
 */
#include "drivers/devdax/switch.h"

#include <errno.h>
#include <fcntl.h>
#include <muse/driver.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/own.h"

static int fail(const char *what, const char *path)
{
    const int error = errno;

    muse_set_error("%s: cannot %s: %s", path, what, strerror(error));
    return -error;
}

/* @n_bytes from the start. Return: 0 or -1 with errno. */
static int copy(int from, int to, uint64_t n_bytes)
{
    off_t in = 0, out = 0;

    while ((uint64_t)in < n_bytes) {
        const ssize_t n = copy_file_range(from, &in, to, &out, n_bytes - (uint64_t)in, 0);

        if (n < 0)
            return -1;
        if (n == 0) {
            errno = EIO; /* it is shorter than it was */
            return -1;
        }
    }
    return fsync(to);
}

static int check_file(struct dax_switch *device, const char *path, uint64_t align)
{
    if (S_ISREG(device->stat.st_mode) && device->size_bytes > 0 && device->size_bytes % align == 0)
        return 0;
    muse_set_error("%s: not a regular file of whole units of %llu bytes", path,
                   (unsigned long long)align);
    return -EINVAL;
}

int switch_open(struct dax_switch *device, const char *path, uint64_t align)
{
    struct stat saved;

    device->fd = open(path, O_RDWR | O_CLOEXEC);
    if (device->fd < 0 || fstat(device->fd, &device->stat) < 0)
        return fail("open", path);
    if (asprintf(&device->saved_path, "%s.offline", path) < 0) {
        device->saved_path = NULL;
        return -ENOMEM;
    }
    device->is_alive = stat(device->saved_path, &saved) < 0;
    if (device->is_alive && errno != ENOENT)
        return fail("look at", device->saved_path);
    device->size_bytes = (uint64_t)(device->is_alive ? device->stat : saved).st_size;
    return check_file(device, path, align);
}

void switch_close(struct dax_switch *device)
{
    fd_close_p(&device->fd);
    free(device->saved_path);
    device->saved_path = NULL;
}

static int save(const struct dax_switch *device)
{
    CLEAN(free_p) char *part = NULL;
    CLEAN(fd_close_p) int fd = -1;

    if (asprintf(&part, "%s.part", device->saved_path) < 0) {
        part = NULL;
        return -ENOMEM;
    }
    fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail("make", part);
    if (copy(device->fd, fd, device->size_bytes) < 0 || rename(part, device->saved_path) < 0) {
        const int r = fail("save the bytes in", part);

        (void)unlink(part);
        return r;
    }
    return 0;
}

int switch_off(struct dax_switch *device)
{
    int r;

    if (!device->is_alive)
        return 0;
    r = save(device);
    if (r < 0)
        return r;
    device->is_alive = false;
    return ftruncate(device->fd, 0) < 0 ? fail("cut off", device->saved_path) : 0;
}

int switch_on(struct dax_switch *device)
{
    CLEAN(fd_close_p) int fd = -1;

    if (device->is_alive)
        return 0;
    fd = open(device->saved_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail("open", device->saved_path);
    if (copy(fd, device->fd, device->size_bytes) < 0 || unlink(device->saved_path) < 0)
        return fail("put back", device->saved_path);
    device->is_alive = true;
    return 0;
}
