/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory files of channels. They are sealed, so that whoever has one for writing can neither shrink it
 * under others nor grow it, and are open to nobody by /proc: an fd for reading stays one.
 */
#include "drivers/relay/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/own.h"

static void file_done(struct relay_file *file)
{
    fd_close_p(&file->fd);
    fd_close_p(&file->fd_ro);
}

/* What fails is undone by file_done(). */
static int file_init(struct relay_file *file, const char *name, uint64_t n_bytes)
{
    char path[64];

    file->n_bytes = n_bytes;
    file->fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (file->fd < 0)
        return -errno;
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", file->fd);
    file->fd_ro = open(path, O_RDONLY | O_CLOEXEC);
    if (file->fd_ro < 0 || fchmod(file->fd, 0600) < 0 || ftruncate(file->fd, (off_t)n_bytes) < 0 ||
        fcntl(file->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return -errno;
    return 0;
}

struct relay_buffer *relay_buffer_ref(struct relay_buffer *buffer)
{
    buffer->n_refs++;
    return buffer;
}

struct relay_buffer *relay_buffer_unref(struct relay_buffer *buffer)
{
    if (buffer && --buffer->n_refs == 0) {
        file_done(&buffer->data);
        file_done(&buffer->ctl);
        free(buffer);
    }
    return NULL;
}

DEFINE_CLEANUP(struct relay_buffer *, relay_buffer_unref)

static int init_ctl(const struct relay_file *file, const struct relay_geometry *geometry)
{
    struct relay_ctl *ctl =
        mmap(NULL, RELAY_CTL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);

    if (ctl == MAP_FAILED)
        return -errno;
    relay_ctl_init(ctl, geometry->subbuf_bytes, geometry->n_subbufs, geometry->overwrite);
    (void)munmap(ctl, RELAY_CTL_BYTES); /* our own mapping: cannot fail */
    return 0;
}

static int buffer_new(const char *name, const struct relay_geometry *geometry, uint64_t *next_key,
                      struct relay_buffer **ret_buffer)
{
    CLEAN(relay_buffer_unref_p) struct relay_buffer *buffer = calloc(1, sizeof(*buffer));
    int r;

    if (!buffer)
        return -ENOMEM;
    buffer->n_refs = 1;
    buffer->data.fd = buffer->data.fd_ro = buffer->ctl.fd = buffer->ctl.fd_ro = -1;
    buffer->data.key = (*next_key)++;
    buffer->ctl.key = (*next_key)++;
    r = file_init(&buffer->data, name,
                  relay_alloc_bytes(geometry->subbuf_bytes, geometry->n_subbufs));
    if (r == 0)
        r = file_init(&buffer->ctl, name, RELAY_CTL_BYTES);
    if (r == 0)
        r = init_ctl(&buffer->ctl, geometry);
    if (r < 0)
        return r;
    *ret_buffer = TAKE(buffer);
    return 0;
}

struct relay_channel *relay_channel_free(struct relay_channel *channel)
{
    if (!channel)
        return NULL;
    for (uint32_t cpu = 0; cpu < channel->n_buffers; cpu++) {
        channel->buffers[cpu]->is_gone = true;
        relay_buffer_unref(channel->buffers[cpu]);
    }
    free(channel->buffers);
    free(channel);
    return NULL;
}

DEFINE_CLEANUP(struct relay_channel *, relay_channel_free)

int relay_channel_new(const char *name, const struct relay_geometry *geometry, uint64_t *next_key,
                      struct relay_channel **ret_channel)
{
    CLEAN(relay_channel_free_p) struct relay_channel *channel = calloc(1, sizeof(*channel));

    if (!channel)
        return -ENOMEM;
    (void)snprintf(channel->name, sizeof(channel->name), "%s", name);
    channel->inode = (*next_key)++;
    channel->buffers = calloc(geometry->n_cpus, sizeof(struct relay_buffer *));
    if (!channel->buffers)
        return -ENOMEM;
    for (uint32_t cpu = 0; cpu < geometry->n_cpus; cpu++) {
        int r = buffer_new(name, geometry, next_key, &channel->buffers[cpu]);

        if (r < 0)
            return r;
        channel->n_buffers++;
    }
    *ret_channel = TAKE(channel);
    return 0;
}

int64_t relay_buffer_repair(const struct relay_buffer *buffer)
{
    const size_t n_bytes = buffer->data.n_bytes;
    void *ctl = mmap(NULL, RELAY_CTL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, buffer->ctl.fd, 0);
    void *data = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, buffer->data.fd, 0);
    struct relay_ring ring;
    int64_t r = -ENOMEM;

    if (ctl != MAP_FAILED && data != MAP_FAILED) {
        r = relay_ring_attach(&ring, ctl, data, n_bytes);
        if (r == 0)
            r = (int64_t)relay_ring_repair(&ring);
    }
    if (ctl != MAP_FAILED)
        (void)munmap(ctl, RELAY_CTL_BYTES); /* our own mappings: cannot fail */
    if (data != MAP_FAILED)
        (void)munmap(data, n_bytes);
    return r;
}
