/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * direct DRIVER/OBJECT BYTES: touches each page of an object that its driver maps directly, and of a native mapping of
 * the same file, by turns. Prints both medians as one JSON object. Called by bench/run; needs root (map_files).
 */
#include <fcntl.h>
#include <inttypes.h>
#include <muse/muse.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/touch.h"

#define PAGE_BYTES 4096u
#define N_TURNS    15u
#define N_PASSES   3u /* the first one fills the page tables */

/* One word of each page, read and written back. Return: how long it took. */
static uint64_t touch_all(void *mapped, size_t len)
{
    const uint64_t start = touch_now_ns();

    for (unsigned pass = 0; pass < N_PASSES; pass++) {
        for (size_t at = 0; at < len; at += PAGE_BYTES) {
            volatile uint64_t *word = (volatile uint64_t *)((char *)mapped + at);

            *word = *word + 1;
        }
    }
    return touch_now_ns() - start;
}

/* Return: the time; 0: it could not be mapped. */
static uint64_t touch_muse(struct muse *muse, struct muse_file *file, size_t len)
{
    void *mapped = muse_mmap(muse, NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    uint64_t ns;

    if (mapped == MAP_FAILED)
        return 0;
    ns = touch_all(mapped, len);
    (void)muse_munmap(muse, mapped, len);
    return ns;
}

static uint64_t touch_native(int fd, size_t len)
{
    void *mapped = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    uint64_t ns;

    if (mapped == MAP_FAILED)
        return 0;
    ns = touch_all(mapped, len);
    (void)munmap(mapped, len);
    return ns;
}

static int compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static uint64_t median(uint64_t *times)
{
    qsort(times, N_TURNS, sizeof(*times), compare);
    return times[N_TURNS / 2];
}

/* What the kernel itself says is mapped at @mapped. Return: an fd of it; -1. */
static int open_mapped(const void *mapped, size_t len)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/proc/self/map_files/%" PRIxPTR "-%" PRIxPTR,
                   (uintptr_t)mapped, (uintptr_t)mapped + len);
    return open(path, O_RDWR | O_CLOEXEC);
}

/* The file that the driver has the object's bytes in. Return: an fd; -1. */
static int open_native(struct muse *muse, struct muse_file *file, size_t len)
{
    void *mapped = muse_mmap(muse, NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    int fd;

    if (mapped == MAP_FAILED)
        return -1;
    fd = open_mapped(mapped, len);
    (void)muse_munmap(muse, mapped, len);
    return fd;
}

int main(int argc, char **argv)
{
    const size_t len = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
    uint64_t ours[N_TURNS], theirs[N_TURNS];
    struct muse_file *file;
    struct muse *muse;
    int fd;

    if (len == 0 || len % PAGE_BYTES != 0) {
        fprintf(stderr, "usage: direct DRIVER/OBJECT BYTES\n");
        return 2;
    }
    if (muse_connect(&muse, NULL) < 0 || muse_open(muse, argv[1], O_RDWR, &file) < 0) {
        fprintf(stderr, "direct: %s: %s\n", argv[1], muse_last_error_text());
        return 1;
    }
    fd = open_native(muse, file, len);
    if (fd < 0) {
        perror("direct: the file that is mapped");
        return 1;
    }
    (void)touch_muse(muse, file, len); /* whose pages may have to be made */
    for (unsigned turn = 0; turn < N_TURNS; turn++) {
        ours[turn] = touch_muse(muse, file, len);
        theirs[turn] = touch_native(fd, len);
        if (ours[turn] == 0 || theirs[turn] == 0) {
            fprintf(stderr, "direct: %s: %s\n", argv[1], muse_last_error_text());
            return 1;
        }
    }
    printf("{\"n_ops\": %zu, \"muse_ns\": %" PRIu64 ", \"native_ns\": %" PRIu64 "}\n",
           len / PAGE_BYTES * N_PASSES, median(ours), median(theirs));
    (void)muse_close(file);
    muse_disconnect(muse);
    return 0;
}
