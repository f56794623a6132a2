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

/* Return: MAP_FAILED with errno. */
static void *map_file(const char *path, size_t *ret_len)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *mapped = MAP_FAILED;
    struct stat st;

    if (fd >= 0 && fstat(fd, &st) == 0) {
        *ret_len = (size_t)st.st_size;
        mapped = mmap(NULL, *ret_len, PROT_READ, MAP_SHARED, fd, 0);
    }
    if (fd >= 0)
        (void)close(fd);
    return mapped;
}

/* Before anything is read: what reads ahead shall not be taken for what was there. */
static int check_cold(const char *path)
{
    size_t len;
    void *mapped = map_file(path, &len);
    long n_resident;

    if (mapped == MAP_FAILED)
        return -1;
    n_resident = count_resident(mapped, len);
    (void)munmap(mapped, len);
    if (n_resident <= 0)
        return (int)n_resident;
    fprintf(stderr, "%s: %ld pages are resident\n", path, n_resident);
    exit(WORK_EXIT_WARM);
}

static int scan(const char *path)
{
    size_t len;
    void *mapped = map_file(path, &len);
    const volatile unsigned char *bytes = mapped;

    if (mapped == MAP_FAILED)
        return -1;
    for (size_t at = 0; at < len; at += PAGE_BYTES) {
        sum += bytes[at];
        n_pages++;
    }
    return munmap(mapped, len);
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
