/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The two worlds of one process, and what becomes of a step in each: libmuse, and the kernel's
 * mappings of plain files. Both have a window of the same size, files of the same bytes, and handles
 * that were opened in the same ways.
 */
#ifndef MUSE_TESTS_DIFFERENTIAL_WORLD_H
#define MUSE_TESTS_DIFFERENTIAL_WORLD_H

#include <muse/muse.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/differential/script.h"

struct world {
    char *window;
    struct muse *muse;                 /* NULL: this is the kernel's world */
    struct muse_file *file[N_HANDLES]; /* Muse's */
    int fd[N_HANDLES];                 /* the kernel's */
};

struct worlds {
    struct world kernel, ours;
    struct setting setting;
};

/* What can be seen of one step in one world; all of it is compared. */
struct outcome {
    int64_t result;   /* or -errno; an address: bytes from the window's start */
    int signal, code; /* of a load or store; 0: none */
    int64_t fault_at; /* si_addr, from the window's start */
    uint64_t bytes;   /* what was read: a byte, or the sum of many */
};

/* Plain files, made once and inherited by every process. */
struct plain {
    int fd[N_HANDLES];
};

/** plain_make() - the kernel's files */
void plain_make(struct plain *ret);

/** plain_close() - give the descriptors back */
void plain_close(struct plain *plain);

/** world_file_bytes() - how long file @index is at the start */
uint64_t world_file_bytes(unsigned index);

/** world_file_name() - its name in the driver's folder */
const char *world_file_name(unsigned index);

/** worlds_open() - connect, open all files, choose both windows */
void worlds_open(struct worlds *worlds, const struct plain *plain, const struct setting *setting);

/** worlds_close() - unmap the windows, close all; the plain files stay */
void worlds_close(struct worlds *worlds);

/** world_do() - one step that is a call or an access, in one world */
void world_do(struct world *world, const struct step *step, struct outcome *ret);

/**
 * world_clear_tails() - what was stored behind the end of the files is zeros from now on
 *
 * Before pages go with it, see "tail" in differences.c.
 */
void world_clear_tails(struct world *world);

/** world_pread_all() - up to BYTES_MAX of the file behind @handle. Return: how many; -errno. */
int64_t world_pread_all(const struct world *world, enum handle handle, unsigned char *buf);

#endif
