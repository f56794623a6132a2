/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A channel: for each CPU a buffer and its control page, each a memory file of fixed size. A buffer
 * stays as long as somebody has it open or mapped, also when its channel was closed: then it is gone
 * for new mappings, as a relay buffer of Linux is after relay_close().
 */
#ifndef MUSE_DRIVERS_RELAY_CHANNEL_H
#define MUSE_DRIVERS_RELAY_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/must.h"
#include "drivers/relay/names.h"
#include "drivers/relay/ring.h"

/* A memory file; what it shows cannot change its size. */
struct relay_file {
    uint64_t key; /* of the object */
    uint64_t n_bytes;
    int fd;    /* owned; for writing */
    int fd_ro; /* owned; for clients that only read */
};

struct relay_buffer {
    struct relay_file data;
    struct relay_file ctl;
    uint64_t n_refs;    /* its channel, and each open file */
    uint64_t n_writers; /* VMAs through which it can be written to */
    bool is_gone;       /* its channel was closed */
};

struct relay_channel {
    char name[RELAY_CHANNEL_NAME_MAX];
    uint64_t inode;
    uint32_t n_buffers;
    struct relay_buffer **buffers; /* owned array; shared: ref */
};

struct relay_geometry {
    uint32_t n_cpus;
    uint64_t subbuf_bytes;
    uint64_t n_subbufs;
    bool overwrite;
};

/**
 * relay_channel_new() - make all buffers of a channel
 * @next_key: names objects and inodes; the numbers that were used are added
 *
 * Return: 0; -errno: EMFILE, ENOMEM.
 */
MUST_CHECK int relay_channel_new(const char *name, const struct relay_geometry *geometry,
                                 uint64_t *next_key, struct relay_channel **ret_channel);

/** relay_channel_free() - close it: its buffers are gone, and go with their last user. NULL */
struct relay_channel *relay_channel_free(struct relay_channel *channel);

/** relay_buffer_ref() - one more user. Return: the same. */
struct relay_buffer *relay_buffer_ref(struct relay_buffer *buffer);

/** relay_buffer_unref() - the last one frees it. NULL */
struct relay_buffer *relay_buffer_unref(struct relay_buffer *buffer);

/**
 * relay_buffer_repair() - nobody can write to the buffer now: give up what nobody will finish
 *
 * Return: how many records; -errno.
 */
MUST_CHECK int64_t relay_buffer_repair(const struct relay_buffer *buffer);

#endif
