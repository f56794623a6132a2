/* SPDX-License-Identifier: BSD-3-Clause */
/* Opens what a memory device consists of. */
#include "drivers/common/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/own.h"

#define TABLE_BYTES_MAX (1u << 20) /* chosen: IOMEM_RANGES_MAX long lines */
#define PAGE_BYTES      4096u

static int fail(const char *path, const char *what, int error, char **ret_why)
{
    if (asprintf(ret_why, "%s: %s: %s", path, what, strerror(error)) < 0)
        *ret_why = NULL;
    return -error;
}

/* All of a file; /proc's have no size. Return: NUL-terminated, the caller's; NULL and errno. */
static char *read_all(const char *path)
{
    CLEAN(fd_close_p) int fd = open(path, O_RDONLY | O_CLOEXEC);
    CLEAN(free_p) char *text = malloc(TABLE_BYTES_MAX + 1);
    size_t n = 0;
    ssize_t got = 1;

    if (fd < 0 || !text)
        return NULL;
    while (got > 0 && n < TABLE_BYTES_MAX) {
        got = read(fd, text + n, TABLE_BYTES_MAX - n);
        if (got < 0)
            return NULL;
        n += (size_t)got;
    }
    if (n == TABLE_BYTES_MAX) {
        errno = E2BIG;
        return NULL;
    }
    text[n] = '\0';
    return TAKE(text);
}

static int read_table(const char *path, struct memory *memory, char **ret_why)
{
    CLEAN(free_p) char *text = read_all(path);
    char what[48];
    size_t line;
    int r;

    if (!text)
        return fail(path, "cannot be read", errno, ret_why);
    r = iomem_parse(text, &memory->iomem, &line);
    if (r < 0) {
        (void)snprintf(what, sizeof(what), "line %zu", line);
        return fail(path, what, -r, ret_why);
    }
    memory->size_bytes = (iomem_end(&memory->iomem) + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
    if (memory->size_bytes == 0 || memory->size_bytes > MEMORY_BYTES_MAX)
        return fail(path, "no addresses up to 2^46 in it", EINVAL, ret_why);
    return 0;
}

static int open_bytes(const char *path, struct memory *memory, char **ret_why)
{
    struct stat stat;

    memory->fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)
                      : memfd_create("physical memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (memory->fd < 0 || fstat(memory->fd, &stat) < 0)
        return fail(path ? path : "memfd", "cannot be opened", errno, ret_why);
    if (!S_ISREG(stat.st_mode))
        return fail(path, "is no regular file", EINVAL, ret_why);
    if ((uint64_t)stat.st_size < memory->size_bytes &&
        ftruncate(memory->fd, (off_t)memory->size_bytes) < 0)
        return fail(path ? path : "memfd", "cannot be made as large as the table says", errno,
                    ret_why);
    if (!path && fcntl(memory->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return fail("memfd", "cannot be sealed", errno, ret_why);
    return 0;
}

int memory_open(const char *table_path, const char *bytes_path, struct memory *ret_memory,
                char **ret_why)
{
    int r;

    *ret_memory = (struct memory){.fd = -1};
    *ret_why = NULL;
    r = read_table(table_path, ret_memory, ret_why);
    return r < 0 ? r : open_bytes(bytes_path, ret_memory, ret_why);
}

void memory_close(struct memory *memory)
{
    iomem_done(&memory->iomem);
    fd_close_p(&memory->fd);
}
