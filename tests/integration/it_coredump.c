/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Core dumps of clients. While it dumps a process the kernel asks no userfaultfd (handle_userfault() of
 * Linux: PF_DUMPCORE), so a dump waits for nobody: what the process had touched is in it, what it had
 * not is zeros. MADV_DONTDUMP and MADV_DODUMP are the kernel's own.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "tests/support/client.h"
#include "tests/support/unit.h"

#define CORE_PATTERN "/proc/sys/kernel/core_pattern"
#define CORE_USES    "/proc/sys/kernel/core_uses_pid"
#define N_PAGES      ((size_t)16)
#define BYTES        (N_PAGES * PAGE)
#define RW           (PROT_READ | PROT_WRITE)
#define EXIT_SKIPPED 77 /* what ctest takes for "could not run here" */

static const char *const drivers[] = {"muse-file --writable %s", NULL};

static struct rig rig;
static struct muse *muse;

/* ---- where the kernel puts cores ---- */

static void read_setting(const char *path, char *text, size_t size)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd >= 0 ? read(fd, text, size - 1) : -1;

    ck_assert_int_ge(n, 0);
    text[n] = '\0';
    (void)close(fd);
}

static void write_setting(const char *path, const char *text)
{
    const int fd = open(path, O_WRONLY | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
}

/* ---- reading one ---- */

/* What the core has of [addr, addr + len): from malloc. @ret_n: how many bytes of it are in the file. */
static unsigned char *read_core(const char *path, uint64_t addr, size_t len, size_t *ret_n)
{
    unsigned char *bytes = calloc(1, len);
    FILE *core = fopen(path, "re");
    Elf64_Ehdr header;

    ck_assert_msg(core != NULL, "no core in %s", path);
    ck_assert_uint_eq(fread(&header, sizeof(header), 1, core), 1);
    *ret_n = 0;
    for (unsigned i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr segment;
        uint64_t skip, n;

        ck_assert_int_eq(
            fseek(core, (long)(header.e_phoff + (uint64_t)i * header.e_phentsize), SEEK_SET), 0);
        ck_assert_uint_eq(fread(&segment, sizeof(segment), 1, core), 1);
        if (segment.p_type != PT_LOAD || addr < segment.p_vaddr ||
            addr - segment.p_vaddr >= segment.p_filesz)
            continue;
        skip = addr - segment.p_vaddr;
        n = segment.p_filesz - skip < len ? segment.p_filesz - skip : len;
        ck_assert_int_eq(fseek(core, (long)(segment.p_offset + skip), SEEK_SET), 0);
        *ret_n = fread(bytes, 1, n, core);
    }
    (void)fclose(core);
    return bytes;
}

/* ---- the process that is dumped ---- */

struct dumped {
    const char *name;
    void (*prepare)(unsigned char *mapped);
    int report; /* where the address goes */
};

/* Maps, does what is to be done, says where, waits to be killed. */
static void live(void *ctx)
{
    const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
    const struct dumped *dumped = ctx;
    struct muse *own = client_connect();
    unsigned char *mapped = client_map(own, dumped->name, O_RDWR, BYTES, RW, MAP_SHARED);
    const uint64_t at = (uintptr_t)mapped;

    ck_assert_ptr_ne(mapped, MAP_FAILED);
    ck_assert_int_eq(setrlimit(RLIMIT_CORE, &unlimited), 0);
    (void)signal(SIGABRT, SIG_DFL);
    muse = own;
    dumped->prepare(mapped);
    ck_assert_int_eq(write(dumped->report, &at, sizeof(at)), sizeof(at));
    for (;;)
        (void)pause();
}

/* Starts the process that is to be dumped. @ret_at: where it has mapped. */
static pid_t start(struct dumped *dumped, uint64_t *ret_at)
{
    int fds[2];
    pid_t pid;

    ck_assert_int_eq(pipe(fds), 0);
    dumped->report = fds[1];
    pid = client_fork(live, dumped);
    ck_assert_int_eq(read(fds[0], ret_at, sizeof(*ret_at)), sizeof(*ret_at));
    (void)close(fds[0]);
    (void)close(fds[1]);
    return pid;
}

/* Return: where it had mapped; it is dumped into core.PID of the rig's folder, @ret_path. */
static uint64_t dump(const char *name, void (*prepare)(unsigned char *), bool stop_driver,
                     char *ret_path, size_t size)
{
    char pattern[128], old_pattern[256], old_uses[16];
    struct dumped dumped = {.name = name, .prepare = prepare};
    pid_t driver = 0, pid;
    int status;
    uint64_t at;

    pid = start(&dumped, &at);
    if (stop_driver) {
        driver = rig_driver_pid(&rig, "file");
        rig_stop_process(&rig, driver);
    }
    read_setting(CORE_PATTERN, old_pattern, sizeof(old_pattern));
    read_setting(CORE_USES, old_uses, sizeof(old_uses));
    (void)snprintf(pattern, sizeof(pattern), "%s/core.%%p", rig.dir);
    write_setting(CORE_PATTERN, pattern);
    write_setting(CORE_USES, "0");
    ck_assert_int_eq(kill(pid, SIGABRT), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    write_setting(CORE_PATTERN, old_pattern);
    write_setting(CORE_USES, old_uses);
    if (stop_driver)
        ck_assert_int_eq(kill(driver, SIGCONT), 0);
    ck_assert(WIFSIGNALED(status) && WCOREDUMP(status));
    (void)snprintf(ret_path, size, "%s/core.%d", rig.dir, (int)pid);
    return at;
}

static void begin(void)
{
    rig_start(&rig, NULL, drivers);
    rig_file(&rig, "data", BYTES);
    muse = client_connect();
}

static void end(void)
{
    muse_disconnect(muse);
    rig_stop(&rig);
}

static bool is_file_byte(const unsigned char *bytes, size_t at)
{
    return bytes[at] == rig_byte(at);
}

/* ---- tests ---- */

static void touch_even_pages(unsigned char *mapped)
{
    for (size_t page = 0; page < N_PAGES; page += 2)
        ck_assert_uint_eq(mapped[page * PAGE + 1], rig_byte(page * PAGE + 1));
    mapped[4 * PAGE] = 0xab; /* and one is written */
}

static void keep_some_out(unsigned char *mapped)
{
    touch_even_pages(mapped);
    ck_assert_int_eq(muse_madvise(muse, mapped, 8 * PAGE, MADV_DONTDUMP), 0);
    ck_assert_int_eq(muse_madvise(muse, mapped, 2 * PAGE, MADV_DODUMP), 0);
}

/* Even with the driver stopped. */
START_TEST(a_core_has_what_was_touched_and_waits_for_nobody)
{
    unsigned char *bytes;
    char path[160];
    size_t n;
    uint64_t at;

    begin();
    at = dump("file/data", touch_even_pages, _i, path, sizeof(path));
    bytes = read_core(path, at, BYTES, &n);
    ck_assert_uint_eq(n, BYTES);
    ck_assert_uint_eq(bytes[4 * PAGE], 0xab);
    for (size_t page = 0; page < N_PAGES; page++) {
        const bool is_zero = bytes[page * PAGE + 1] == 0 && bytes[page * PAGE + 7] == 0;
        const bool is_there =
            is_file_byte(bytes, page * PAGE + 1) && is_file_byte(bytes, page * PAGE + PAGE - 1);

        ck_assert_msg(page % 2 == 0 ? is_there : is_zero || is_there, "page %zu of the core", page);
    }
    free(bytes);
    end();
}
END_TEST

START_TEST(a_core_has_not_what_dontdump_keeps_out)
{
    unsigned char *bytes;
    char path[160];
    size_t n;
    uint64_t at;

    begin();
    at = dump("file/data", keep_some_out, false, path, sizeof(path));
    bytes = read_core(path, at, BYTES, &n); /* DODUMP again */
    ck_assert_uint_eq(n, 2 * PAGE);
    ck_assert(is_file_byte(bytes, 1));
    free(bytes);
    bytes = read_core(path, at + 2 * PAGE, 6 * PAGE, &n);
    ck_assert_uint_eq(n, 0);
    free(bytes);
    bytes = read_core(path, at + 8 * PAGE, 8 * PAGE, &n);
    ck_assert_uint_eq(n, 8 * PAGE);
    ck_assert_uint_eq(bytes[1], rig_byte(8 * PAGE + 1));
    free(bytes);
    end();
}
END_TEST

#ifndef __SANITIZE_ADDRESS__ /* whose shadow a debugger does dump */
/* gcore reads from outside, and asks for what is not there; but not for the addresses that are reserved. */
START_TEST(a_debuggers_core_has_all_of_the_object_and_not_the_arena)
{
    struct dumped dumped = {.name = "file/data", .prepare = touch_even_pages};
    char command[200], path[160];
    unsigned char *bytes;
    struct stat st;
    uint64_t at;
    pid_t pid;
    size_t n;

    begin();
    pid = start(&dumped, &at);
    (void)snprintf(command, sizeof(command),
                   "timeout 50 gcore -o %s/debugger %d >%s/gcore.log 2>&1", rig.dir, (int)pid,
                   rig.dir);
    ck_assert_int_eq(system(command), 0); /* NOLINT(cert-env33-c): a test's own words */
    (void)snprintf(path, sizeof(path), "%s/debugger.%d", rig.dir, (int)pid);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_lt(st.st_size, (off_t)1 << 30);
    bytes = read_core(path, at, BYTES, &n);
    ck_assert_uint_eq(n, BYTES);
    for (size_t page = 0; page < N_PAGES; page++)
        ck_assert_msg(is_file_byte(bytes, page * PAGE + 1), "page %zu of the core", page);
    free(bytes);
    end();
}
END_TEST
#endif

int main(void)
{
    TCase *tcase = tcase_create("coredump");

#ifdef __SANITIZE_THREAD__
    return EXIT_SKIPPED; /* what ThreadSanitizer maps takes hours to dump */
#endif
    tcase_add_loop_test(tcase, a_core_has_what_was_touched_and_waits_for_nobody, 0, 2);
    tcase_add_test(tcase, a_core_has_not_what_dontdump_keeps_out);
#ifndef __SANITIZE_ADDRESS__ /* whose shadow a debugger does dump */
    tcase_add_test(tcase, a_debuggers_core_has_all_of_the_object_and_not_the_arena);
#endif
    tcase_set_timeout(tcase, 60);
    return unit_run("coredump", tcase);
}
