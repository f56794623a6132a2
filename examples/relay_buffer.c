/* SPDX-License-Identifier: BSD-3-Clause */
/* Mapping a buffer: the size is that of the file, as the driver takes no other. */
#include "examples/relay_buffer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

bool relay_cpu_parse(const char *text, unsigned *ret_cpu)
{
    char *end;
    const unsigned long cpu = strtoul(text, &end, 10);

    *ret_cpu = (unsigned)cpu;
    return *text >= '0' && *text <= '9' && *end == '\0' && cpu <= 1023;
}

/* All of an object. Return: MAP_FAILED and errno. */
static void *map_whole(struct muse *muse, const char *name, bool writable, size_t *ret_n_bytes)
{
    const int prot = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    void *mapped = MAP_FAILED;
    struct muse_file *file;
    struct stat stat;

    if (muse_open(muse, name, writable ? O_RDWR : O_RDONLY, &file) < 0)
        return MAP_FAILED;
    if (muse_fstat(file, &stat) == 0) {
        *ret_n_bytes = (size_t)stat.st_size;
        mapped = muse_mmap(muse, NULL, *ret_n_bytes, prot, MAP_SHARED, file, 0);
    }
    const int error = errno;

    (void)muse_close(file); /* the mapping keeps what it needs */
    errno = error;
    return mapped;
}

int relay_buffer_map(struct muse *muse, const char *channel, unsigned cpu, enum relay_use use,
                     struct relay_mapped *ret)
{
    struct relay_mapped mapped = {.data = MAP_FAILED, .ctl = MAP_FAILED};
    size_t n_ctl = 0;
    char name[256];
    int r;

    (void)snprintf(name, sizeof(name), "relay/%s/cpu%u.ctl", channel, cpu);
    mapped.ctl = map_whole(muse, name, use != RELAY_LOOK, &n_ctl);
    (void)snprintf(name, sizeof(name), "relay/%s/cpu%u", channel, cpu);
    if (mapped.ctl != MAP_FAILED)
        mapped.data = map_whole(muse, name, use == RELAY_PRODUCE, &mapped.n_bytes);
    if (mapped.data == MAP_FAILED) {
        relay_buffer_unmap(muse, &mapped);
        return -1;
    }
    r = n_ctl == RELAY_CTL_BYTES
            ? relay_ring_attach(&mapped.ring, mapped.ctl, mapped.data, mapped.n_bytes)
            : -EPROTO;
    if (r < 0) {
        relay_buffer_unmap(muse, &mapped);
        errno = -r;
        return -1;
    }
    *ret = mapped;
    return 0;
}

void relay_buffer_unmap(struct muse *muse, struct relay_mapped *mapped)
{
    const int error = errno;

    if (mapped->ctl != MAP_FAILED)
        (void)muse_munmap(muse, mapped->ctl, RELAY_CTL_BYTES); /* ours */
    if (mapped->data != MAP_FAILED)
        (void)muse_munmap(muse, mapped->data, mapped->n_bytes);
    errno = error;
}
