/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The files of muse-hugetlb and the memory of its pool. The list and the attributes are the main
 * thread's; the pool, the pages of files and their bytes have a lock, because pages are touched on the
 * fault thread.
 */
#ifndef MUSE_DRIVERS_HUGETLB_FILES_H
#define MUSE_DRIVERS_HUGETLB_FILES_H

#include <muse/driver.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/idmap.h"
#include "common/base/list.h"
#include "common/base/must.h"
#include "drivers/hugetlb/owner.h"
#include "drivers/hugetlb/pool.h"

#define HUGE_BYTES ((uint64_t)MUSE_HUGE_PAGE_BYTES)
#define FILES_MAX  4096u /* chosen */

struct huge_file {
    struct list by_name; /* in files.named; not linked: unlinked */
    char *name;          /* owned; NULL: unlinked */
    uint64_t key;
    struct muse_attr attr;
    struct file_pages pages; /* locked */
    uint32_t n_owners;       /* locked; private mappings with a reservation */
    bool is_open;            /* the SDK has an object of it: it ends with object_gone */
};

struct files {
    struct idmap by_key;
    struct list named; /* in the order in which they were made: what readdir's cursor counts on */
    uint64_t last_key;
    pthread_mutex_t lock;
    struct pool pool; /* locked */
    uint8_t
        *memory;  /* owned: the pool's bytes, mapped; slot n is HUGE_BYTES from n * HUGE_BYTES on */
    bool is_huge; /* the machine has granted huge pages */
};

/** files_init() - no file, and a pool of @n_pages. @want_huge: of huge pages, if the machine grants
 * them. Return: 0; -EINVAL; -ENOMEM; -errno. */
MUST_CHECK int files_init(struct files *files, uint64_t n_pages, bool want_huge);

void files_done(struct files *files);

/** files_find() - by name. Return: NULL: there is none. */
struct huge_file *files_find(const struct files *files, const char *name);

/** files_add() - an empty one. Return: 0; -ENAMETOOLONG; -EINVAL; -ENOSPC too many; -ENOMEM. */
MUST_CHECK int files_add(struct files *files, const struct muse_open_args *args,
                         struct huge_file **ret_file);

/** files_unlink() - it has no name any more, and ends when nobody has it */
void files_unlink(struct files *files, struct huge_file *file);

/** files_gone() - the SDK's object of it has ended: so does an unlinked one */
void files_gone(struct files *files, struct huge_file *file);

/**
 * files_touch() - the bytes of a page, which is taken from the pool when it is not there
 * @ret_bytes: HUGE_BYTES of them; zeros when the page is new
 *
 * Locked by the caller. Return: 0; -ENOMEM: the pool is dry; -EFBIG.
 */
MUST_CHECK int files_touch(struct files *files, struct huge_file *file, uint64_t page,
                           uint8_t **ret_bytes);

/** files_look() - the same, of a page that is there. Return: NULL: it is not. */
uint8_t *files_look(struct files *files, const struct huge_file *file, uint64_t page);

/** files_resize() - hugetlbfs_setattr() of Linux. Return: 0; -EINVAL no whole pages; -EFBIG. */
MUST_CHECK int files_resize(struct files *files, struct huge_file *file, uint64_t size_bytes);

/** files_allocate() - hugetlbfs_fallocate(). Return: 0; -EOPNOTSUPP; -EFBIG; -ENOSPC dry. */
MUST_CHECK int files_allocate(struct files *files, struct huge_file *file, int mode,
                              uint64_t offset, uint64_t length);

#endif
