/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A script: what several processes do with their mappings, one step at a time. It is data, so that
 * it can be run twice, shrunk, printed and read back:
 *
 *     window arena
 *     driver extents
 *     0 mmap at=0x3000 len=0x2000 prot=read|write flags=private|fixed file=rw offset=0x1000
 *     0 fork to=2
 *     2 store at=0x3010 byte=0x41
 *
 * The number in front is the actor, a process. Actor 0 is there from the start, others come by fork
 * and connect; a step of an actor that is not there is skipped, so every part of a script is a
 * script. Addresses are bytes from the start of the actor's window.
 */
#ifndef MUSE_TESTS_DIFFERENTIAL_SCRIPT_H
#define MUSE_TESTS_DIFFERENTIAL_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "tests/support/client.h"

#define ACTORS_MAX   4u
#define WINDOW_PAGES 64u
#define WINDOW_BYTES (WINDOW_PAGES * PAGE)
#define FILES        2u /* objects */
#define FILE_PAGES   40u
#define FILE_BYTES   ((FILE_PAGES - 1) * PAGE + 1000) /* at the start; the second has a quarter */
#define TIGHT_MEMORY "128K"                           /* 32 pages, of the files' 50 */
#define BYTES_MAX    ((FILE_PAGES + 8) * PAGE)        /* no step makes a file longer */

enum op {
    OP_MMAP,
    OP_MUNMAP,
    OP_MPROTECT,
    OP_MREMAP,
    OP_MADVISE,
    OP_MSYNC,
    OP_MINCORE,
    OP_MLOCK,
    OP_MUNLOCK,
    OP_PREAD,
    OP_PWRITE,
    OP_FTRUNCATE,
    OP_FALLOCATE,
    OP_FSYNC,
    OP_REOPEN, /* close the file and open it again; its mappings stay */
    OP_LOAD,
    OP_STORE,
    OP_COPY_OUT, /* the kernel reads the mapping, see enum way */
    OP_COPY_IN,  /* the kernel writes to it */
    OP_FORK,
    OP_CONNECT, /* a process with a connection of its own */
    OP_EXIT,
    OP_BYTES,   /* compare the bytes of a range */
    OP_FILES,   /* compare all bytes of the files */
    OP_WRITTEN, /* fsync, then compare what the driver has */
    OP_LAYOUT,  /* compare /proc/self/maps */
    OP_MAPS,    /* compare `musectl maps` */
    N_OPS,
};

/* How a file was opened. */
enum handle { HANDLE_RO, HANDLE_RW, HANDLE_RO2, HANDLE_RW2, N_HANDLES };

/* How the kernel gets at the memory. */
enum way { WAY_PIPE, WAY_VM };

/* Which members an op uses is said by script_fields(). */
struct step {
    uint64_t actor, op, at, len, to, new_len, offset, prot, flags, handle, byte;
};

/* What is the same for all of a script. */
struct setting {
    bool in_arena; /* where the windows of Muse are */
    bool fills;    /* the driver fills pages itself, else it names extents */
    bool is_tight; /* the page caches may have TIGHT_MEMORY: pages are evicted all the time */
};

struct script {
    struct setting setting;
    size_t n_steps;
    struct step *steps; /* owned */
};

/* One member of a step, for printing and shrinking. */
struct field {
    const char *name;
    size_t offset;            /* in struct step */
    const struct word *words; /* names of values; NULL: a number */
    bool is_set;              /* words are bits */
};

struct word {
    const char *name; /* NULL: the array's end */
    uint64_t value;
};

/** script_fields() - what an op uses, ended by a field without name */
const struct field *script_fields(uint64_t op);

/** script_field() - a member of a step */
static inline uint64_t *script_field(struct step *step, const struct field *field)
{
    return (uint64_t *)(void *)((char *)step + field->offset);
}

/** script_step_text() - one step as text, without newline */
void script_step_text(const struct step *step, char *buf, size_t size);

/** script_print() - all of it, as script_read() takes it */
void script_print(const struct script *script, FILE *stream);

/**
 * script_read() - read a script
 * @path:   of the file
 * @ret:    to be given to script_done(); written on success only
 *
 * Return: 0; -1, after saying on stderr what is wrong.
 */
int script_read(const char *path, struct script *ret);

/** script_done() - free the steps */
void script_done(struct script *script);

#endif
