/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * scan FILE...: maps each file, whose pages must not be resident, and reads a word of each page, in order. Knows nothing
 * of Muse: under muse-run its files are objects. Prints one JSON object. Called by bench/run.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/touch.h"
#include "bench/work.h"

#define PAGE_BYTES 4096u

static uint64_t n_pages, sum;

/* Return: how many pages of the mapping are there without a touch; -1. */
static long count_resident(void *mapped, size_t len)
{
    const size_t n = (len + PAGE_BYTES - 1) / PAGE_BYTES;
    unsigned char *resident = malloc(n);
    long n_resident = 0;

    if (!resident || mincore(mapped, len, resident) < 0) {
        free(resident);
        return -1;
    }
    for (size_t i = 0; i < n; i++)
        n_resident += resident[i] & 1;
    free(resident);
    return n_resident;
}

/* Before anything is read: what reads ahead shall not be taken for what was there. */
static int check_cold(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    long n_resident;
    void *mapped;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -1;
    mapped = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (mapped == MAP_FAILED)
        return -1;
    n_resident = count_resident(mapped, (size_t)st.st_size);
    (void)munmap(mapped, (size_t)st.st_size);
    if (n_resident <= 0)
        return (int)n_resident;
    fprintf(stderr, "%s: %ld pages are resident\n", path, n_resident);
    exit(WORK_EXIT_WARM);
}

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
    uint64_t start;

    for (int i = 1; i < argc; i++) {
        if (check_cold(argv[i]) < 0) {
            perror(argv[i]);
            return 1;
        }
    }
    start = touch_now_ns();
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
