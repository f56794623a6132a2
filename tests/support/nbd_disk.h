/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of muse-nbd share: an nbdkit with a file of a known pattern, a rig with muse-nbd for it, and
 * what is expected of a mapping and of the file. Header only; each test program has its own.
 */
#ifndef MUSE_TESTS_SUPPORT_NBD_DISK_H
#define MUSE_TESTS_SUPPORT_NBD_DISK_H

#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "tests/support/client.h"
#include "tests/support/daemon.h"
#include "tests/support/unit.h"

#define N_PAGES    1024u
#define DISK_BYTES (N_PAGES * PAGE)
#define RW         (PROT_READ | PROT_WRITE)

static struct rig rig;
static struct daemon nbdkit;
static struct muse *muse;
static const char *config = "[deadlines]\nwriteback_ms = 600000\n"; /* nothing ages in a test */

__attribute__((unused)) static inline void nbdkit_start(const char *args)
{
    (void)unlink(daemon_path(&nbdkit, "sock"));
    daemon_start(&nbdkit, "nbdkit -f -U %s/sock -P %s/pid %s", nbdkit.dir, nbdkit.dir, args);
}

/* A muse-nbd with these options, for an nbdkit that runs. */
__attribute__((unused)) static inline void muse_start(const char *export_name, const char *options)
{
    static char driver[256];
    static const char *const drivers[] = {driver, NULL};

    (void)snprintf(driver, sizeof(driver), "muse-nbd %s nbd+unix:///%s?socket=%s/sock", options,
                   export_name, nbdkit.dir);
    rig_start(&rig, config, drivers);
    muse = client_connect();
}

__attribute__((unused)) static inline void set_up(void)
{
    daemon_init(&nbdkit);
    ck_assert_int_eq(chdir(nbdkit.dir), 0); /* so that arguments of nbdkit can be relative */
}

__attribute__((unused)) static inline void tear_down(void)
{
    ck_assert_int_eq(chdir("/"), 0);
    daemon_done(&nbdkit);
}

/* The usual disk: a file. @filters: of nbdkit, with their arguments behind it. */
__attribute__((unused)) static inline void begin(const char *filters, const char *arguments,
                                                 const char *options)
{
    char args[1024];

    daemon_file(&nbdkit, "disk", DISK_BYTES);
    (void)snprintf(args, sizeof(args), "%s file disk %s", filters, arguments);
    nbdkit_start(args);
    muse_start("", options);
}

__attribute__((unused)) static inline void end(void)
{
    muse_disconnect(muse);
    rig_stop(&rig);
}

__attribute__((unused)) static inline unsigned char *map_disk(int oflags, int prot)
{
    void *mapped = client_map(muse, "nbd/disk", oflags, DISK_BYTES, prot, MAP_SHARED);

    ck_assert_msg(mapped != MAP_FAILED, "%s", muse_last_error_text());
    return mapped;
}

__attribute__((unused)) static inline void read_file(const char *name, unsigned char *bytes,
                                                     size_t n_bytes)
{
    const int fd = open(daemon_path(&nbdkit, name), O_RDONLY | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(fd, bytes, n_bytes, 0), (ssize_t)n_bytes);
    (void)close(fd);
}

/* The first byte of every page of the disk is @first, all others are as they were made. */
__attribute__((unused)) static inline void expect_disk(unsigned char first)
{
    CLEAN(free_p) unsigned char *bytes = malloc(DISK_BYTES);

    ck_assert_ptr_nonnull(bytes);
    read_file("disk", bytes, DISK_BYTES);
    for (size_t i = 0; i < DISK_BYTES; i++) {
        const unsigned char wanted = i % PAGE == 0 ? first : rig_byte(i);

        if (bytes[i] != wanted)
            ck_abort_msg("byte %zu is %#x, not %#x", i, bytes[i], wanted);
    }
}

__attribute__((unused)) static inline void write_all_pages(unsigned char *disk, unsigned char first)
{
    for (size_t page = 0; page < N_PAGES; page++)
        disk[page * PAGE] = first;
}

__attribute__((unused)) static inline void expect_error(const void *at, int error, const char *text)
{
    struct muse_error why;

    ck_assert_int_eq(rig_signal_of(at), SIGBUS);
    ck_assert_int_eq(muse_error_at(muse, at, &why), 0);
    ck_assert_msg(why.error == error && strstr(why.text, text), "%s: %s", strerror(why.error),
                  why.text);
    ck_assert_str_eq(why.driver, "nbd");
}

/* What has failed stays so in its mapping; one that is made later asks again. */
__attribute__((unused)) static inline bool can_map(const struct rig *of, void *name)
{
    unsigned char *disk = client_map(muse, name, O_RDONLY, DISK_BYTES, PROT_READ, MAP_SHARED);
    const bool is_there = disk != MAP_FAILED && rig_signal_of(disk + 512 * PAGE) == 0;

    (void)of;
    ck_assert_ptr_ne(disk, MAP_FAILED);
    ck_assert_int_eq(muse_munmap(muse, disk, DISK_BYTES), 0);
    return is_there;
}

#endif
