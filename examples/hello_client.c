/* SPDX-License-Identifier: BSD-3-Clause */
/* The client of README.md: prints the object it is given, such as file/etc/hostname. */
#include <muse/muse.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "file/etc/hostname";
    struct muse_file *file;
    struct muse *muse;
    struct stat st;

    if (muse_connect(&muse, NULL) < 0 || muse_open(muse, name, O_RDONLY, &file) < 0 ||
        muse_fstat(file, &st) < 0)
        return perror(name), 1;
    char *text = muse_mmap(muse, NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, file, 0);
    if (text == MAP_FAILED)
        return perror(name), 1;
    fwrite(text, 1, (size_t)st.st_size, stdout);
    muse_disconnect(muse);
    return 0;
}
