/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client as somebody outside this tree would write it: maps an object's first page and prints the
 * text in it. Built by check-sdk.sh against the installed library.
 */
#include <fcntl.h>
#include <muse/muse.h>
#include <stdio.h>
#include <sys/mman.h>

int main(int argc, char **argv)
{
    struct muse *muse;
    struct muse_file *file;
    const char *text;

    if (argc != 2)
        return 2;
    if (muse_connect(&muse, NULL) < 0) {
        perror("sample_client: connect");
        return 1;
    }
    if (muse_open(muse, argv[1], O_RDONLY, &file) < 0) {
        perror("sample_client: open");
        return 1;
    }
    text = muse_mmap(muse, NULL, 4096, PROT_READ, MAP_SHARED, file, 0);
    if (text == MAP_FAILED) {
        perror("sample_client: mmap");
        return 1;
    }
    puts(text);
    (void)muse_close(file);
    muse_disconnect(muse);
    return 0;
}
