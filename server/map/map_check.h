/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What may be asked and what may be answered: the arguments of a map request in the order and with
 * the errno of Linux, the hooks a driver may register, and the changes mmap_prepare may make. Pure.
 */
#ifndef MUSE_SERVER_MAP_MAP_CHECK_H
#define MUSE_SERVER_MAP_MAP_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/must.h"
#include "common/base/range.h"

/* mmap(2)'s arguments as the client gave them, and what the check needs to know of the file. */
struct map_args {
    uint64_t addr;
    uint64_t length;     /* bytes */
    uint32_t prot;       /* PROT_* */
    uint32_t flags;      /* MAP_* */
    uint64_t offset;     /* bytes */
    bool readable;       /* the file was opened for reading */
    bool writable;       /* and for writing */
    bool noexec;         /* it may not be executed */
    bool map_sync;       /* its driver says that MAP_SYNC is legal */
    uint64_t page_bytes; /* of the object */
    bool anonymous;      /* MAP_ANONYMOUS: no file; page_bytes is that of small pages */
    bool is_taken;       /* something is mapped in the range that addr and length name */
    uint64_t data_room;  /* bytes: what RLIMIT_DATA leaves the client; UINT64_MAX: no limit */
};

/* What the request comes to, once it is found to be sound. */
struct map_plan {
    uint64_t length;   /* bytes, rounded up to the object's page size */
    uint64_t pgoff;    /* 4 KiB pages */
    uint32_t vm_flags; /* VMF_* */
    uint32_t prot;
    bool fixed, noreplace, populate, locked;
};

/**
 * map_check_args() - refuse what mmap(2) refuses, with its errno
 * @args:     untrusted
 * @ret_plan: written on success
 * @ret_why:  on failure: a static sentence
 *
 * Source: ksys_mmap_pgoff() and do_mmap() of Linux 6.18, in their order.
 * Return: 0; -EINVAL, -ENOMEM, -EEXIST, -EOVERFLOW, -EOPNOTSUPP, -EACCES, -EPERM.
 */
MUST_CHECK int map_check_args(const struct map_args *args, struct map_plan *ret_plan,
                              const char **ret_why);

/**
 * map_check_data() - is the client's RLIMIT_DATA kept?
 * @n_replaced: bytes of live mappings in the range, which go (MAP_FIXED)
 *
 * Only what is private and writable counts. Source: may_expand_vm(), as __mmap_prepare() calls it.
 * Return: 0; -ENOMEM.
 */
MUST_CHECK int map_check_data(const struct map_args *args, const struct map_plan *plan,
                              uint64_t n_replaced);

/**
 * map_check_unmap() - the arguments of munmap(2)
 * @ret_range: page aligned, on success
 *
 * Source: do_vmi_munmap(). Return: 0; -EINVAL.
 */
MUST_CHECK int map_check_unmap(uint64_t addr, uint64_t length, struct range *ret_range);

/**
 * map_check_hooks() - may a driver register this combination?
 * @file_hooks: enum file_hook bits
 * @ret_why:    on failure: a static sentence
 *
 * Source: docs/contract.md, section 3: complete needs prepare; abort needs both; mmap and
 * mmap_prepare exclude each other.
 * Return: 0; -EINVAL.
 */
MUST_CHECK int map_check_hooks(uint32_t file_hooks, const char **ret_why);

/* What mmap_prepare was given and what it made of it. */
struct map_answer {
    uint64_t old_flags, new_flags; /* VMF_* */
    uint32_t old_prot, new_prot;
    uint64_t new_pgoff; /* 4 KiB pages */
    uint64_t length;    /* bytes of the mapping */
    bool may_lock;      /* LOCKED is within the client's limit */
    bool lock_unknown;  /* or nobody can tell */
};

/**
 * map_check_answer() - is what mmap_prepare changed allowed?
 * @answer:  untrusted
 * @ret_why: on failure: a static sentence that names the field
 *
 * Source: docs/contract.md, section 4.
 * Return: 0; -EINVAL.
 */
MUST_CHECK int map_check_answer(const struct map_answer *answer, const char **ret_why);

/* A declared action or a verb, in bytes. */
struct map_action {
    bool is_remap;
    uint64_t start, end; /* of the mapping, or of its new part */
    uint64_t address, length;
    uint64_t fd_offset;
    bool can_cow; /* private and MAYWRITE */
};

/**
 * map_check_action() - may the action be carried out?
 *
 * It must lie inside the mapping, page aligned; a REMAP that can become copy-on-write must span all
 * of it. Source: docs/contract.md, section 5.
 * Return: 0; -EINVAL.
 */
MUST_CHECK int map_check_action(const struct map_action *action, const char **ret_why);

#endif
