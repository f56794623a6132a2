/* SPDX-License-Identifier: BSD-3-Clause */
/* make_content PATH SIZE_BYTES: writes the benchmark's object to a file. Called by bench/run. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/content.h"

/* Writes all of @buf or says why not: 0 or -errno. */
static int write_all(int fd, const char *buf, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, buf, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        buf += n;
        len -= (size_t)n;
    }
    return 0;
}

int main(int argc, char **argv)
{
    size_t size = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
    uint64_t *content;
    int fd;
    int r;

    if (size == 0 || size % CONTENT_PAGE_BYTES != 0) {
        fprintf(stderr, "usage: make_content PATH SIZE_BYTES\n");
        return 2;
    }
    r = content_new(size, &content);
    if (r < 0) {
        fprintf(stderr, "make_content: memory: %s\n", strerror(-r));
        return 1;
    }
    fd = open(argv[1], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    r = fd < 0 ? -errno : write_all(fd, (const char *)content, size);
    if (r == 0 && close(fd) < 0)
        r = -errno;
    if (r < 0) {
        fprintf(stderr, "make_content: %s: %s\n", argv[1], strerror(-r));
        return 1;
    }
    return 0;
}
