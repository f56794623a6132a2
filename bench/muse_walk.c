/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse_walk ROUNDS DRIVER/OBJECT...: maps all objects and reads them one after another, page by
 * page, as often as it is told: a walk through a tree. Under MADV_RANDOM, so that with a small
 * bound of the server's memory each page is a fault, and can be recorded for evict_policy.
 */
#include <fcntl.h>
#include <muse/muse.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PAGE_BYTES 4096u

struct object {
    const volatile unsigned char *bytes;
    size_t len;
};

static int map_object(struct muse *muse, const char *name, struct object *ret_object)
{
    struct muse_file *file;
    struct stat st;
    void *mapped = NULL;

    if (muse_open(muse, name, O_RDONLY, &file) < 0)
        return -1;
    if (muse_fstat(file, &st) == 0 && st.st_size > 0) {
        mapped = muse_mmap(muse, NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, file, 0);
        if (mapped != MAP_FAILED)
            (void)muse_madvise(muse, mapped, (size_t)st.st_size, MADV_RANDOM); /* a hint */
    }
    (void)muse_close(file); /* the mapping keeps the object */
    if (mapped == MAP_FAILED)
        return -1;
    *ret_object = (struct object){mapped, mapped ? (size_t)st.st_size : 0};
    return 0;
}

int main(int argc, char **argv)
{
    const int n_objects = argc - 2;
    const long n_rounds = argc > 2 ? strtol(argv[1], NULL, 10) : 0;
    struct object *objects;
    struct muse *muse;
    unsigned sum = 0;

    if (n_rounds < 1) {
        fprintf(stderr, "usage: muse_walk ROUNDS DRIVER/OBJECT...\n");
        return 2;
    }
    objects = calloc((size_t)n_objects, sizeof(*objects));
    if (!objects || muse_connect(&muse, NULL) < 0) {
        fprintf(stderr, "muse_walk: connect: %s\n", muse_last_error_text());
        free(objects);
        return 1;
    }
    for (int i = 0; i < n_objects; i++) {
        if (map_object(muse, argv[2 + i], &objects[i]) < 0)
            fprintf(stderr, "muse_walk: %s: %s\n", argv[2 + i], muse_last_error_text());
    }
    for (long round = 0; round < n_rounds; round++) {
        for (int i = 0; i < n_objects; i++) {
            for (size_t at = 0; at < objects[i].len; at += PAGE_BYTES)
                sum += objects[i].bytes[at];
        }
    }
    printf("%u\n", sum);
    muse_disconnect(muse);
    free(objects);
    return 0;
}
