/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What calls about other files cost: prints nanoseconds for each, best of several rounds. overhead.sh
 * runs it without and with the preloaded library, and once with an object of ours open and mapped, so
 * that the tables are not empty. Nothing is asserted about time.
 *
 *     overhead FILE [SERVED]
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS  400
#define REPEATS 300

static const char *name;
static int fd;

static void do_open(void)
{
    (void)close(open(name, O_RDONLY));
}

static void do_read(void)
{
    char byte;

    if (pread(fd, &byte, 1, 0) != 1)
        abort();
}

static void do_fstat(void)
{
    struct stat stat;

    (void)fstat(fd, &stat);
}

static void do_stat(void)
{
    struct stat info;

    (void)stat(name, &info);
}

static void do_map(void)
{
    void *map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);

    (void)munmap(map, 4096);
}

static void do_seek(void)
{
    (void)lseek(fd, 0, SEEK_SET);
}

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void measure(const char *what, void (*call)(void))
{
    uint64_t best = UINT64_MAX;

    for (int round = 0; round < ROUNDS; round++) {
        const uint64_t start = now_ns();
        uint64_t took;

        for (int i = 0; i < REPEATS; i++)
            call();
        took = now_ns() - start;
        if (took < best)
            best = took;
    }
    printf("  %-16s %7.1f ns\n", what, (double)best / REPEATS);
}

int main(int argc, char **argv)
{
    if (argc < 2 || (fd = open(argv[1], O_RDONLY)) < 0)
        return 2;
    name = argv[1];
    if (argc > 2) {
        const int served = open(argv[2], O_RDONLY);

        if (served < 0 || mmap(NULL, 4096, PROT_READ, MAP_SHARED, served, 0) == MAP_FAILED)
            return 1;
    }
    measure("lseek", do_seek);
    measure("pread 1 byte", do_read);
    measure("fstat", do_fstat);
    measure("stat", do_stat);
    measure("open, close", do_open);
    measure("mmap, munmap", do_map);
    return 0;
}
