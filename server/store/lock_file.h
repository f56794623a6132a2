/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lock files: what clients of one object lock, common/base/lock_label.h. Made when the first client
 * asks. One that a process still has open outlives its object, as the lock does: it is kept until
 * the object comes again, or the last descriptor of it is closed.
 */
#ifndef MUSE_SERVER_STORE_LOCK_FILE_H
#define MUSE_SERVER_STORE_LOCK_FILE_H

#include <stdint.h>

#include "common/base/list.h"
#include "common/base/lock_label.h"
#include "common/base/must.h"

struct lock_file {
    int fd;                   /* owned */
    struct lock_label *label; /* owned mapping */
    unsigned n_slots;
    uint64_t key;     /* of its object, while it is kept */
    struct list node; /* in the list of those kept */
};

/** lock_file_new() - @title: for /proc, cut. Return: 0; -ENOMEM, -EMFILE, -ENFILE. */
MUST_CHECK int lock_file_new(const char *title, struct lock_file **ret);

/** lock_file_free() - NULL is a no-op. Return: NULL. */
struct lock_file *lock_file_free(struct lock_file *lock_file);

/**
 * lock_file_open() - a description of its own for one open file
 * @driver, @path: the name is "driver/path"   @oflags: LOCK_LABEL_OFLAGS of them count
 *
 * When all slots are taken by other names it is one without label: locks work, and a program that
 * comes by it over exec cannot use it.
 *
 * Return: the fd, the caller's, O_WRONLY; -errno.
 */
MUST_CHECK int lock_file_open(struct lock_file *lock_file, const char *driver, const char *path,
                              uint32_t oflags);

/** lock_file_keep() - the object goes. Takes @lock_file, NULL is a no-op; frees those of @kept that
 * nobody has open any more. */
void lock_file_keep(struct list *kept, struct lock_file *lock_file, uint64_t key);

/** lock_file_take() - the one that was kept for an object. Return: the caller's; NULL: none. */
struct lock_file *lock_file_take(struct list *kept, uint64_t key);

/** lock_file_free_all() - the driver goes */
void lock_file_free_all(struct list *kept);

#endif
