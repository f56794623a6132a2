/* SPDX-License-Identifier: BSD-3-Clause */
/* The client of README.md: prints the first page of an object, which holds a text. */
#include <fcntl.h>
#include <muse/muse.h>
#include <stdio.h>
#include <sys/mman.h>

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "file/etc/os-release";
    struct muse *muse;
    struct muse_file *file;
    char *text = MAP_FAILED;

    if (muse_connect(&muse, NULL) == 0 && muse_open(muse, name, O_RDONLY, &file) == 0)
        text = muse_mmap(muse, NULL, 4096, PROT_READ, MAP_SHARED, file, 0);
    if (text == MAP_FAILED)
        return perror(name), 1;
    printf("%.4096s", text); /* the bytes come from the driver, now */
    muse_disconnect(muse);
    return 0;
}
