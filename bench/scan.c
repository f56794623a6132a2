/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * scan FILE...: maps each file and reads a word of each page, in order. Knows nothing of Muse: under muse-run its files
 * are objects. Prints one JSON object. Called by bench/run.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/touch.h"

#define PAGE_BYTES 4096u

static uint64_t n_pages, sum;

static int scan(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const volatile unsigned char *bytes;
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -1;
    bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (bytes == MAP_FAILED)
        return -1;
    for (size_t at = 0; at < (size_t)st.st_size; at += PAGE_BYTES) {
        sum += bytes[at];
        n_pages++;
    }
    return munmap((void *)(uintptr_t)bytes, (size_t)st.st_size);
}

int main(int argc, char **argv)
{
    const uint64_t start = touch_now_ns();

    for (int i = 1; i < argc; i++) {
        if (scan(argv[i]) < 0) {
            perror(argv[i]);
            return 1;
        }
    }
    printf("{\"n_ops\": %" PRIu64 ", \"total_ns\": %" PRIu64 ", \"sum\": %" PRIu64 "}\n", n_pages,
           touch_now_ns() - start, sum);
    return 0;
}
