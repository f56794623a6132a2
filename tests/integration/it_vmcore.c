/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-vmcore: a real core of gcore(1), and made ones whose segments lie in other files, so that what
 * is scattered can be seen. Checks of mmap_vmcore_prepare() of Linux in its order, and its errno.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <muse/muse.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "tests/support/client.h"
#include "tests/support/core_sample.h"
#include "tests/support/unit.h"

#define NOBODY 65534u

/* The made core: headers, and behind them segments whose bytes are elsewhere. */
#define N_CORE_PAGES 24u

/* Where they are: 0 and 1 at a page of theirs, 2 not, 3 at half a page of the core. */
static const struct core_segment made[] = {{2 * PAGE, 4 * PAGE},
                                           {6 * PAGE, 3 * PAGE},
                                           {10 * PAGE, 4 * PAGE},
                                           {15 * PAGE + 2048, 2 * PAGE}};

#define MADE_OPTIONS                                                                               \
    "--oldmem 0=%s/a@8192 --oldmem 1=%s/b --oldmem 2=%s/c@100 --oldmem 3=%s/a@0x800"

static struct rig rig;
static struct muse *muse;
static struct muse_file *core; /* vmcore/core */
static char dir[64];
static uint8_t expected[N_CORE_PAGES * PAGE];

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void set_up(void)
{
    (void)snprintf(dir, sizeof(dir), "/tmp/test-vmcore-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(chmod(dir, 0755), 0);
}

static void tear_down(void)
{
    ck_assert_int_eq(nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* ---- files ---- */

static void write_file(const char *name, const void *bytes, size_t n_bytes)
{
    char path[128];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    ck_assert_int_eq(write(fd, bytes, n_bytes), (ssize_t)n_bytes);
    ck_assert_int_eq(close(fd), 0);
}

/* A byte of memory file @name. */
static uint8_t memory_byte(char name, uint64_t offset)
{
    return (uint8_t)(rig_byte(offset) ^ (uint8_t)name);
}

static void write_memory(char name, size_t n_bytes)
{
    const char text[] = {name, '\0'};
    uint8_t *bytes = malloc(n_bytes);

    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < n_bytes; i++)
        bytes[i] = memory_byte(name, i);
    write_file(text, bytes, n_bytes);
    free(bytes);
}

static void truncate_file(const char *name, off_t n_bytes)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    ck_assert_int_eq(truncate(path, n_bytes), 0);
}

static void expect_memory(uint64_t offset, char name, uint64_t memory_offset, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++)
        expected[offset + i] = memory_byte(name, memory_offset + i);
}

/* The core of made[], its memory files, and what a client shall see. */
static void make_core(void)
{
    for (size_t i = 0; i < sizeof(expected); i++)
        expected[i] = rig_byte(i + 77);
    core_headers(expected, made, N_ELEMENTS(made));
    write_file("core", expected, sizeof(expected));
    write_memory('a', 16 * PAGE);
    write_memory('b', 3 * PAGE);
    write_memory('c', 5 * PAGE);
    expect_memory(made[0].offset, 'a', 8192, made[0].n_bytes);
    expect_memory(made[1].offset, 'b', 0, made[1].n_bytes);
    expect_memory(made[2].offset, 'c', 100, made[2].n_bytes);
    expect_memory(made[3].offset, 'a', 0x800, made[3].n_bytes);
}

/* ---- driver and client ---- */

static void begin(const char *config, const char *options)
{
    static char driver[16384];
    static const char *const drivers[] = {driver, NULL};

    (void)snprintf(driver, sizeof(driver), "muse-vmcore %s %s/core", options, dir);
    rig_start(&rig, config, drivers);
    muse = client_connect();
    core = client_open(muse, "vmcore/core", O_RDONLY);
}

static void begin_made(void)
{
    char options[512];

    make_core();
    (void)snprintf(options, sizeof(options), MADE_OPTIONS, dir, dir, dir, dir);
    begin(NULL, options);
}

static void end(void)
{
    ck_assert_int_eq(muse_close(core), 0);
    muse_disconnect(muse);
    rig_stop(&rig);
}

static uint8_t *map_pages(size_t first_page, size_t n_pages, int prot, int flags)
{
    return muse_mmap(muse, NULL, n_pages * PAGE, prot, flags, core, (off_t)(first_page * PAGE));
}

static uint8_t *map_all(void)
{
    uint8_t *bytes = map_pages(0, N_CORE_PAGES, PROT_READ, MAP_SHARED);

    ck_assert_msg(bytes != MAP_FAILED, "%s", muse_last_error_text());
    return bytes;
}

static void unmap_all(uint8_t *bytes)
{
    ck_assert_int_eq(muse_munmap(muse, bytes, N_CORE_PAGES * PAGE), 0);
}

/* Lines of /proc/self/maps that have @at (NULL: any address) and file @name of ours. */
static unsigned count_direct(const void *at, const char *name)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512], path[128];
    unsigned n = 0;

    ck_assert_ptr_nonnull(maps);
    (void)snprintf(path, sizeof(path), "%s/%s\n", dir, name);
    while (fgets(line, sizeof(line), maps)) {
        char *rest;
        const uintptr_t start = strtoull(line, &rest, 16);
        const uintptr_t stop = strtoull(rest + 1, NULL, 16);

        n += (!at || ((uintptr_t)at >= start && (uintptr_t)at < stop)) && strstr(line, path);
    }
    (void)fclose(maps);
    return n;
}

static bool is_direct(const uint8_t *bytes, size_t page, const char *name)
{
    return count_direct(bytes + page * PAGE, name) == 1;
}

/* The only mapping of the only space, with all that musectl says of it; the caller's. */
static json_t *shown_mapping(void)
{
    json_t *spaces = rig_ctl(&rig, "spaces");
    json_t *space = json_array_get(json_entries(spaces), 0);
    json_t *document, *mapping;
    char command[64];

    (void)snprintf(command, sizeof(command), "maps %lld",
                   (long long)json_integer_value(json_object_get(space, "id")));
    document = rig_ctl(&rig, command);
    mapping = json_deep_copy(json_array_get(json_entries(document), 0));
    json_decref(document);
    json_decref(spaces);
    return mapping;
}

static bool nothing_is_mapped(void)
{
    json_t *mapping = shown_mapping();
    const bool none = mapping == NULL;

    json_decref(mapping);
    return none && count_direct(NULL, "core") + count_direct(NULL, "a") == 0;
}

static void refused(const uint8_t *bytes, int error, const char *sentence)
{
    ck_assert_ptr_eq(bytes, MAP_FAILED);
    ck_assert_msg(errno == error, "%s: %s", strerrorname_np(errno), muse_last_error_text());
    ck_assert_msg(strstr(muse_last_error_text(), sentence), "%s", muse_last_error_text());
    ck_assert(nothing_is_mapped());
}

/* ---- a real core ---- */

/* A program that is no test: this one may have a sanitizer's shadow, which is terabytes. */
static pid_t start_program(void)
{
    int gone[2];
    char byte;
    pid_t pid;

    ck_assert_int_eq(pipe2(gone, O_CLOEXEC), 0);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        (void)execlp("sleep", "sleep", "1000", NULL);
        _exit(127);
    }
    (void)close(gone[1]);
    ck_assert_int_eq(read(gone[0], &byte, 1), 0); /* the other end went when the program began */
    (void)close(gone[0]);
    return pid;
}

/* Its core, made by gcore: DIR/core. */
static size_t make_real_core(void)
{
    char command[256], from[128], to[128];
    const pid_t pid = start_program();
    struct stat st;

    (void)snprintf(command, sizeof(command), "gcore -o %s/real %d >%s/log 2>&1", dir, pid, dir);
    ck_assert_int_eq(system(command), 0); /* NOLINT(cert-env33-c): a test's own words */
    (void)kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    (void)snprintf(from, sizeof(from), "%s/real.%d", dir, pid);
    (void)snprintf(to, sizeof(to), "%s/core", dir);
    ck_assert_int_eq(rename(from, to), 0);
    ck_assert_int_eq(stat(to, &st), 0);
    return (size_t)st.st_size;
}

static uint8_t *plain_core(size_t n_bytes)
{
    char path[128];
    uint8_t *bytes;
    int fd;

    (void)snprintf(path, sizeof(path), "%s/core", dir);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    bytes = malloc(n_bytes);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_int_eq(read(fd, bytes, n_bytes), (ssize_t)n_bytes);
    (void)close(fd);
    return bytes;
}

START_TEST(a_core_of_gcore_is_served_byte_for_byte_mapped_and_read)
{
    const size_t n_bytes = make_real_core();
    const size_t n_pages = (n_bytes + PAGE - 1) / PAGE;
    uint8_t *plain = plain_core(n_bytes), *buf = malloc(n_bytes), *bytes;

    ck_assert_ptr_nonnull(buf);
    begin(NULL, "");
    ck_assert_int_eq(muse_pread(core, buf, n_bytes, 0), (ssize_t)n_bytes);
    ck_assert_mem_eq(buf, plain, n_bytes);
    bytes = map_pages(0, n_pages, PROT_READ, MAP_PRIVATE);
    ck_assert_msg(bytes != MAP_FAILED, "%s", muse_last_error_text());
    ck_assert(is_direct(bytes, 0, "core") && is_direct(bytes, n_pages - 2, "core"));
    ck_assert_mem_eq(bytes, plain, n_bytes);
    for (size_t i = n_bytes; i < n_pages * PAGE; i++)
        ck_assert_uint_eq(bytes[i], 0);
    ck_assert_int_eq(muse_munmap(muse, bytes, n_pages * PAGE), 0);
    free(plain);
    free(buf);
    end();
}
END_TEST

/* ---- scattered ---- */

START_TEST(whole_pages_are_mapped_directly_and_the_rest_comes_by_fault)
{
    uint8_t *bytes;

    begin_made();
    bytes = map_all();
    for (size_t page = 0; page < N_CORE_PAGES; page++) {
        const bool at_a = page >= 2 && page < 6;
        const bool at_b = page >= 6 && page < 9;
        const bool at_core = page < 2 || page == 9 || page == 14 || page > 17;

        ck_assert_msg(is_direct(bytes, page, "a") == (at_a || page == 16), "page %zu", page);
        ck_assert_msg(is_direct(bytes, page, "b") == at_b, "page %zu", page);
        ck_assert_msg(is_direct(bytes, page, "c") == false, "page %zu", page);
        ck_assert_msg(is_direct(bytes, page, "core") == at_core, "page %zu", page);
    }
    ck_assert_mem_eq(bytes, expected, sizeof(expected));
    unmap_all(bytes);
    ck_assert(nothing_is_mapped());
    end();
}
END_TEST

/* Segments of one page, each from another place of two files, with a page of the core between them. */
static size_t make_many(unsigned n, char *options, size_t size)
{
    struct core_segment *segments = calloc(n, sizeof(*segments));
    const size_t headers = (core_headers_bytes(n) + PAGE - 1) / PAGE;
    const size_t n_pages = headers + 2 * (size_t)n;
    uint8_t *bytes = calloc(n_pages, PAGE);
    size_t at = 0;

    ck_assert(segments && bytes);
    for (unsigned i = 0; i < n; i++) {
        segments[i] = (struct core_segment){(headers + 2 * (size_t)i) * PAGE, PAGE};
        at += (size_t)snprintf(options + at, size - at, "--oldmem %u=%s/%c@%u ", i, dir,
                               i % 2 ? 'a' : 'b', (n - 1 - i) * 4096);
    }
    core_headers(bytes, segments, n);
    write_file("core", bytes, n_pages * PAGE);
    write_memory('a', n * PAGE);
    write_memory('b', n * PAGE);
    free(segments);
    free(bytes);
    return n_pages;
}

/* Page @i of @n, behind the headers, has these bytes. */
static void expect_many(const uint8_t *bytes, size_t n_pages, unsigned n)
{
    const size_t headers = n_pages - 2 * (size_t)n;

    for (unsigned i = 0; i < n; i++) {
        const char name = i % 2 ? 'a' : 'b';
        const uint8_t *page = bytes + (headers + 2 * (size_t)i) * PAGE;

        for (size_t k = 0; k < PAGE; k += 8)
            UNIT_EXPECT(page[k] == memory_byte(name, (n - 1 - i) * PAGE + k));
        UNIT_EXPECT(page[PAGE] == 0);
    }
}

/* Of the ranges the first 256 are mapped directly, all others come by fault: none is lost. */
START_TEST(a_core_of_many_segments_is_mapped_directly_as_far_as_an_answer_goes)
{
    static const unsigned ns[] = {100, 127, 200};
    static char options[15000];

    for (size_t i = 0; i < N_ELEMENTS(ns); i++) {
        const unsigned n = ns[i];
        const size_t n_pages = make_many(n, options, sizeof(options));
        uint8_t *bytes;

        begin(NULL, options);
        bytes = map_pages(0, n_pages, PROT_READ, MAP_PRIVATE);
        ck_assert_msg(bytes != MAP_FAILED, "%s", muse_last_error_text());
        ck_assert_uint_eq(count_direct(NULL, "a") + count_direct(NULL, "b") +
                              count_direct(NULL, "core"),
                          n < 128 ? 2 * n + 1 : 256);
        expect_many(bytes, n_pages, n);
        ck_assert_int_eq(muse_munmap(muse, bytes, n_pages * PAGE), 0);
        end();
    }
}
END_TEST

START_TEST(a_part_of_the_core_shows_the_bytes_of_that_part)
{
    begin_made();
    for (size_t page = 0; page + 3 <= N_CORE_PAGES; page++) {
        uint8_t *bytes = map_pages(page, 3, PROT_READ, MAP_SHARED | MAP_POPULATE);

        ck_assert_msg(bytes != MAP_FAILED, "%s", muse_last_error_text());
        ck_assert_mem_eq(bytes, expected + page * PAGE, 3 * PAGE);
        ck_assert_int_eq(muse_munmap(muse, bytes, 3 * PAGE), 0);
    }
    end();
}
END_TEST

/* ---- what prepare checks ---- */

START_TEST(what_lies_behind_the_end_is_einval)
{
    begin_made();
    refused(map_pages(0, N_CORE_PAGES + 1, PROT_READ, MAP_SHARED), EINVAL, "inside the core");
    refused(map_pages(N_CORE_PAGES - 1, 2, PROT_READ, MAP_PRIVATE), EINVAL, "inside the core");
    refused(map_pages(N_CORE_PAGES, 1, PROT_READ, MAP_SHARED), EINVAL, "inside the core");
    refused(map_pages(1ull << 40, 1, PROT_READ, MAP_SHARED), EINVAL, "inside the core");
    refused(map_pages(0, N_CORE_PAGES + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE), EINVAL,
            "inside the core"); /* before EPERM */
    end();
}
END_TEST

START_TEST(writing_and_executing_is_eperm)
{
    begin_made();
    refused(map_pages(0, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE), EPERM, "only be read");
    refused(map_pages(0, 1, PROT_READ | PROT_EXEC, MAP_PRIVATE), EPERM, "only be read");
    refused(map_pages(0, 1, PROT_READ | PROT_EXEC, MAP_SHARED), EPERM, "only be read");
    refused(map_pages(0, 1, PROT_READ | PROT_WRITE, MAP_SHARED), EACCES, ""); /* as opened */
    end();
}
END_TEST

static bool has_flag(const json_t *mapping, const char *name)
{
    const json_t *flag;
    size_t i;

    json_array_foreach(json_object_get(mapping, "flags"), i, flag)
    {
        if (strcmp(json_string_value(flag), name) == 0)
            return true;
    }
    return false;
}

START_TEST(the_flags_are_those_of_the_kernel)
{
    static const char *const set[] = {"mixedmap", "io", "pfnmap", "dontexpand", "dontdump"};
    static const char *const cleared[] = {"maywrite", "mayexec", "write", "exec"};
    json_t *mapping;

    begin_made();
    (void)map_all();
    mapping = shown_mapping();
    for (size_t i = 0; i < N_ELEMENTS(set); i++)
        ck_assert_msg(has_flag(mapping, set[i]), "%s", set[i]);
    for (size_t i = 0; i < N_ELEMENTS(cleared); i++)
        ck_assert_msg(!has_flag(mapping, cleared[i]), "%s", cleared[i]);
    json_decref(mapping);
    end();
}
END_TEST

START_TEST(what_is_mapped_stays_read_only_and_does_not_grow)
{
    static const int prots[] = {PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC};
    static const int kinds[] = {MAP_SHARED, MAP_PRIVATE};

    begin_made();
    for (size_t i = 0; i < N_ELEMENTS(kinds); i++) {
        uint8_t *bytes = map_pages(0, N_CORE_PAGES - 1, PROT_READ, kinds[i]);

        ck_assert_ptr_ne(bytes, MAP_FAILED);
        for (size_t k = 0; k < N_ELEMENTS(prots); k++) {
            ck_assert_int_eq(muse_mprotect(muse, bytes, N_CORE_PAGES * PAGE - PAGE, prots[k]), -1);
            ck_assert_int_eq(errno, EACCES);
        }
        ck_assert_ptr_eq(
            muse_mremap(muse, bytes, N_CORE_PAGES * PAGE - PAGE, sizeof(expected), MREMAP_MAYMOVE),
            MAP_FAILED);
        ck_assert_int_eq(errno, EFAULT);
        ck_assert_mem_eq(bytes, expected, N_CORE_PAGES * PAGE - PAGE);
        ck_assert_int_eq(muse_munmap(muse, bytes, N_CORE_PAGES * PAGE - PAGE), 0);
    }
    end();
}
END_TEST

/* ---- a segment that fails ---- */

START_TEST(a_segment_that_is_gone_is_eagain_and_no_page_is_mapped)
{
    /* at a page of its file, and mapped directly; not, and read for faults; the core itself */
    static const struct {
        const char *name;
        off_t cut, whole;
    } rows[] = {{"b", 3 * PAGE - 1, 3 * PAGE}, {"c", 4 * PAGE, 5 * PAGE}, {"core", 20 * PAGE, 0}};

    begin_made();
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        char name[128];
        uint8_t *bytes;

        truncate_file(rows[i].name, rows[i].cut);
        (void)snprintf(name, sizeof(name), "%s/%s: ", dir, rows[i].name);
        refused(map_pages(0, N_CORE_PAGES, PROT_READ, MAP_SHARED), EAGAIN, name);
        bytes = map_pages(0, 4, PROT_READ, MAP_SHARED); /* others are not affected */
        ck_assert_mem_eq(bytes, expected, 4 * PAGE);
        ck_assert_int_eq(muse_munmap(muse, bytes, 4 * PAGE), 0);
        if (rows[i].whole > 0) {
            write_memory(rows[i].name[0], (size_t)rows[i].whole);
            bytes = map_all();
            ck_assert_mem_eq(bytes, expected, sizeof(expected));
            unmap_all(bytes);
        }
    }
    end();
}
END_TEST

START_TEST(a_page_that_cannot_be_read_later_is_sigbus_with_a_reason_and_hurts_no_other)
{
    struct muse_error why;
    uint8_t *bytes;

    begin_made();
    bytes = map_all();
    truncate_file("c", 2 * PAGE);
    ck_assert_int_eq(rig_signal_of(bytes + 13 * PAGE), SIGBUS);
    ck_assert_int_eq(muse_error_at(muse, bytes + 13 * PAGE, &why), 0);
    ck_assert_int_eq(why.error, EIO);
    ck_assert_str_eq(why.driver, "vmcore");
    ck_assert_msg(strstr(why.text, "/c: "), "%s", why.text);
    ck_assert_mem_eq(bytes + 10 * PAGE, expected + 10 * PAGE, PAGE);
    end();
}
END_TEST

/* What prepare and complete of a client that dies, or is late, leave behind is looked for by
 * rig_stop(). */
static void map_and_wait(void *ctx)
{
    const int *ready = ctx;

    muse = client_connect();
    core = client_open(muse, "vmcore/core", O_RDONLY);
    (void)map_all();
    (void)!write(ready[1], "x", 1);
    (void)pause();
}

START_TEST(a_client_that_is_killed_leaves_nothing)
{
    int ready[2];
    char byte;
    pid_t pid;

    begin_made();
    ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
    pid = client_fork(map_and_wait, ready);
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    client_kill(pid);
    (void)close(ready[0]);
    (void)close(ready[1]);
    ck_assert_ptr_ne(map_all(), MAP_FAILED);
    end();
}
END_TEST

/* ---- opening ---- */

static void refuse_open(const char *name, int oflags, int error)
{
    struct muse_file *file;

    ck_assert_int_eq(muse_open(muse, name, oflags, &file), -1);
    ck_assert_msg(errno == error, "%s: %s", name, strerrorname_np(errno));
}

/* As a child of another user. */
static void open_as_nobody(void *ctx)
{
    (void)ctx;
    ck_assert(setgroups(0, NULL) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0 &&
              setresuid(NOBODY, NOBODY, NOBODY) == 0);
    muse = client_connect();
    refuse_open("vmcore/core", O_RDONLY, EACCES);
    ck_assert(strstr(muse_last_error_text(), "may not see it"));
    muse_disconnect(muse);
}

START_TEST(only_root_and_the_drivers_user_may_open_it_and_only_for_reading)
{
    begin_made();
    refuse_open("vmcore/core", O_RDWR, EROFS);
    refuse_open("vmcore/other", O_RDONLY, ENOENT);
    refuse_open("vmcore/core/x", O_RDONLY, ENOENT);
    if (geteuid() == 0) /* who else may become another user */
        client_join(client_fork(open_as_nobody, NULL));
    end();
}
END_TEST

/* ---- what is no core ---- */

/* Return: the exit status of the driver; @said: what it said. */
__attribute__((format(printf, 3, 4))) static int start_driver(char *said, size_t size,
                                                              const char *format, ...)
{
    char command[1024], program[256], options[512];
    va_list args;
    FILE *pipe;
    int status;

    va_start(args, format);
    (void)vsnprintf(options, sizeof(options), format, args);
    va_end(args);
    build_program("muse-vmcore", program, sizeof(program));
    (void)snprintf(command, sizeof(command), "exec %s %s 2>&1", program, options);
    pipe = popen(command, "re"); /* NOLINT(cert-env33-c): a test's own words */
    ck_assert_ptr_nonnull(pipe);
    said[fread(said, 1, size - 1, pipe)] = '\0';
    status = pclose(pipe);
    ck_assert_msg(WIFEXITED(status), "%s: %#x", command, (unsigned)status);
    return WEXITSTATUS(status);
}

START_TEST(what_cannot_be_served_is_refused_at_the_start_by_name)
{
    static const struct {
        const char *options;
        int status;
        const char *sentence;
    } rows[] = {{"text", 1, "text: it does not begin as an ELF file does"},
                {"none", 1, "none: No such file or directory"},
                {".", 1, ".: not a regular file"},
                {"--oldmem 0=none core", 1, "none: No such file or directory"},
                {"--oldmem 4=a core", 1, "core: there is no segment 4: the core has 4"},
                {"--oldmem 1=a --oldmem 1=b core", 1, "core: segment 1 is given twice"},
                {"--oldmem a core", 2, "--oldmem=a: write SEGMENT=FILE"},
                {"core core", 2, "one core only"},
                {"", 2, "no core to serve"}};
    char said[1024];

    make_core();
    write_file("text", expected + PAGE, PAGE);
    ck_assert_int_eq(chdir(dir), 0);
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        const int status = start_driver(said, sizeof(said), "%s", rows[i].options);

        ck_assert_msg(strstr(said, rows[i].sentence), "%s: %s", rows[i].options, said);
        ck_assert_msg(status == rows[i].status, "%s: %d", rows[i].options, status);
    }
    ck_assert_int_eq(chdir("/"), 0);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("vmcore");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_core_of_gcore_is_served_byte_for_byte_mapped_and_read);
    tcase_add_test(tcase, whole_pages_are_mapped_directly_and_the_rest_comes_by_fault);
    tcase_add_test(tcase, a_core_of_many_segments_is_mapped_directly_as_far_as_an_answer_goes);
    tcase_add_test(tcase, a_part_of_the_core_shows_the_bytes_of_that_part);
    tcase_add_test(tcase, what_lies_behind_the_end_is_einval);
    tcase_add_test(tcase, writing_and_executing_is_eperm);
    tcase_add_test(tcase, the_flags_are_those_of_the_kernel);
    tcase_add_test(tcase, what_is_mapped_stays_read_only_and_does_not_grow);
    tcase_add_test(tcase, a_segment_that_is_gone_is_eagain_and_no_page_is_mapped);
    tcase_add_test(tcase,
                   a_page_that_cannot_be_read_later_is_sigbus_with_a_reason_and_hurts_no_other);
    tcase_add_test(tcase, a_client_that_is_killed_leaves_nothing);
    tcase_add_test(tcase, only_root_and_the_drivers_user_may_open_it_and_only_for_reading);
    tcase_add_test(tcase, what_cannot_be_served_is_refused_at_the_start_by_name);
    return unit_run("vmcore", tcase);
}
