/* SPDX-License-Identifier: BSD-3-Clause */
/* A client's everyday calls, for tests. Owns the handlers of SIGBUS and SIGSEGV from a probe on. */
#include "tests/support/client.h"

#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <check.h>

#define WAIT_S 20

/* ---- probes ---- */

/* Armed by a thread around its own touch; the handler runs in the thread that touched. */
static _Thread_local sigjmp_buf jump;
static _Thread_local volatile sig_atomic_t is_armed;
static _Thread_local struct probe caught;

static void on_signal(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (!is_armed) { /* not ours: let it end the process when the access is repeated */
        (void)signal(number, SIG_DFL);
        return;
    }
    is_armed = 0;
    caught.signal = number;
    caught.code = info->si_code;
    caught.addr = info->si_addr;
    siglongjmp(jump, 1);
}

static void install_handlers(void)
{
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER};

    (void)sigaction(SIGBUS, &action, NULL);
    (void)sigaction(SIGSEGV, &action, NULL);
}

/* Tests touch what another thread is mapping right now: that is what they are about. */
#ifdef __SANITIZE_THREAD__
#define NOT_FOLLOWED __attribute__((no_sanitize_thread))
#else
#define NOT_FOLLOWED
#endif

/* Each time: rig_signal_of() and Check may have put others there. */
static NOT_FOLLOWED struct probe touch(volatile unsigned char *addr, bool write, unsigned char byte)
{
    install_handlers();
    caught = (struct probe){0};
    /* 1: with the signal mask, which ThreadSanitizer's handlers fill */
    if (sigsetjmp(jump, 1) == 0) {
        is_armed = 1;
        if (write)
            *addr = byte;
        else
            caught.byte = *addr;
        is_armed = 0;
    }
    return caught;
}

struct probe probe_read(const void *addr)
{
    return touch((volatile unsigned char *)(uintptr_t)addr, false, 0);
}

struct probe probe_write(void *addr, unsigned char byte)
{
    return touch(addr, true, byte);
}

/* ---- libmuse, where success is expected ---- */

int client_cache_fd(void)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    int found = -1;

    ck_assert_ptr_nonnull(dir);
    while ((entry = readdir(dir))) {
        char path[64], target[256];
        ssize_t n;

        (void)snprintf(path, sizeof(path), "/proc/self/fd/%.16s", entry->d_name);
        n = readlink(path, target, sizeof(target) - 1);
        target[n > 0 ? n : 0] = '\0';
        if (strncmp(target, "/memfd:", 7) == 0 || strncmp(target, "/muse:", 6) == 0)
            found = atoi(entry->d_name); /* NOLINT(cert-err34-c): the kernel's own number */
    }
    (void)closedir(dir);
    return found;
}

struct muse *client_connect(void)
{
    struct muse *muse;

    ck_assert_msg(muse_connect(&muse, NULL) == 0, "muse_connect: %s", muse_last_error_text());
    return muse;
}

struct muse *client_connect_small(void)
{
    const struct muse_options options = {.struct_size = sizeof(options), .arena_bytes = 64u << 20};
    struct muse *muse;

    ck_assert_msg(muse_connect(&muse, &options) == 0, "muse_connect: %s", muse_last_error_text());
    return muse;
}

void *client_map_at(struct muse *muse, const char *name, int oflags, struct client_span span,
                    int prot, int flags)
{
    struct muse_file *file;
    void *mapped;
    int error;

    if (muse_open(muse, name, oflags, &file) < 0)
        return MAP_FAILED;
    mapped = muse_mmap(muse, span.addr, span.len, prot, flags, file, span.offset);
    error = errno;
    if (muse_close(file) < 0)
        ck_assert_ptr_eq(mapped, MAP_FAILED); /* the server may have gone meanwhile */
    errno = error;
    return mapped;
}

void *client_map(struct muse *muse, const char *name, int oflags, size_t len, int prot, int flags)
{
    return client_map_at(muse, name, oflags, (struct client_span){.len = len}, prot, flags);
}

void *client_map_ro(struct muse *muse, const char *name, size_t n_pages)
{
    void *mapped = client_map(muse, name, O_RDONLY, n_pages * PAGE, PROT_READ, MAP_SHARED);

    ck_assert_msg(mapped != MAP_FAILED, "%s: %s (%s)", name, strerror(errno),
                  muse_last_error_text());
    return mapped;
}

struct muse_file *client_open(struct muse *muse, const char *name, int oflags)
{
    struct muse_file *file;

    ck_assert_msg(muse_open(muse, name, oflags, &file) == 0, "%s: %s", name,
                  muse_last_error_text());
    return file;
}

bool file_is(const void *bytes, uint64_t offset, size_t len)
{
    const volatile unsigned char *at = bytes;

    for (size_t i = 0; i < len; i++) {
        if (at[i] != rig_byte(offset + i))
            return false;
    }
    return true;
}

void client_sleep_ms(unsigned ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    while (nanosleep(&left, &left) < 0 && errno == EINTR) {}
}

/* ---- processes ---- */

pid_t client_fork(void (*fn)(void *ctx), void *ctx)
{
    pid_t pid;

    (void)fflush(NULL);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        fn(ctx);
        _exit(0);
    }
    return pid;
}

void client_join(pid_t pid)
{
    int status;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with %#x",
                  (unsigned)status);
}

void client_kill(pid_t pid)
{
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

bool client_drop_ipc_lock(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};

    if (syscall(SYS_capget, &header, data) < 0)
        return false;
    data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective &= ~(uint32_t)CAP_TO_MASK(CAP_IPC_LOCK);
    return syscall(SYS_capset, &header, data) == 0;
}

/* ---- waiting ---- */

void wait_for_counter(const char *name, uint64_t value)
{
    const time_t end = time(NULL) + WAIT_S;

    while (rig_counter(name) < value) {
        ck_assert_msg(time(NULL) < end, "still waiting: %s to be %llu", name,
                      (unsigned long long)value);
        client_sleep_ms(3);
    }
}

pid_t wait_for_driver(const struct rig *rig, const char *name, pid_t old)
{
    const time_t end = time(NULL) + WAIT_S;
    pid_t pid = rig_driver_pid(rig, name);

    while (pid == 0 || pid == old) {
        ck_assert_msg(time(NULL) < end, "still waiting: a new driver called %s", name);
        client_sleep_ms(5);
        pid = rig_driver_pid(rig, name);
    }
    return pid;
}

void kill_driver(const struct rig *rig, const char *name)
{
    const pid_t old = rig_driver_pid(rig, name);

    ck_assert_int_ne(old, 0);
    ck_assert_int_eq(kill(old, SIGKILL), 0);
    (void)wait_for_driver(rig, name, old);
}

/* ---- what others do ---- */

static bool has_space(const struct rig *rig, json_int_t id)
{
    json_t *document = rig_ctl(rig, "spaces");
    bool found = false;
    json_t *space;
    size_t i;

    json_array_foreach(json_entries(document), i, space)
    {
        found = found || json_integer_value(json_object_get(space, "id")) == id;
    }
    json_decref(document);
    return found;
}

/* `musectl maps` of every space; one may go meanwhile. */
static void ask_for_maps(const struct rig *rig)
{
    json_t *document = rig_ctl(rig, "spaces");
    char command[64];
    json_t *space;
    size_t i;

    json_array_foreach(json_entries(document), i, space)
    {
        const json_int_t id = json_integer_value(json_object_get(space, "id"));

        (void)snprintf(command, sizeof(command), "maps %lld", (long long)id);
        if (rig_ctl_status(rig, command) != 0)
            ck_assert_msg(!has_space(rig, id), "musectl %s fails", command);
    }
    json_decref(document);
}

void client_work_goes_on(const struct rig *rig, struct muse *muse, const char *driver)
{
    static const char *const commands[] = {"status", "drivers", "spaces", "objects", "txns",
                                           "faults", "stats",   "trace",  "limits",  "audit"};
    char name[64];
    void *mapped;

    (void)snprintf(name, sizeof(name), "%s/all", driver);
    for (unsigned i = 0; i < 3; i++) {
        mapped = client_map_ro(muse, name, 32);
        for (size_t page = 0; page < 32; page++)
            ck_assert_uint_eq(faulty_word(mapped, page, 9), page * 512 + 9);
        ck_assert_int_eq(muse_munmap(muse, mapped, 32 * PAGE), 0);
    }
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        ck_assert_msg(rig_ctl_status(rig, commands[i]) == 0, "musectl %s fails", commands[i]);
    }
    ask_for_maps(rig);
}

/* ---- musectl's documents ---- */

json_t *json_entries(json_t *document)
{
    const char *key;
    json_t *value;

    if (json_is_array(document))
        return document;
    json_object_foreach(document, key, value)
    {
        if (json_is_array(value))
            return value;
    }
    return NULL;
}

json_t *json_entry(json_t *document, const char *key, const char *value)
{
    json_t *entry;
    size_t i;

    json_array_foreach(json_entries(document), i, entry)
    {
        const char *text = json_string_value(json_object_get(entry, key));

        if (text && strcmp(text, value) == 0)
            return entry;
    }
    return NULL;
}

void build_program(const char *name, char *buf, size_t size)
{
    const char *dir = getenv("MUSE_BUILD_DIR");

    (void)snprintf(buf, size, "%s/bin/%s", dir ? dir : "build/dev", name);
}

/* Of one space. Return: the caller's; NULL: nothing is mapped there. */
static json_t *vma_of(const struct rig *rig, json_int_t space_id, uint64_t addr)
{
    json_t *found = NULL;
    char command[64];
    json_t *document;
    json_t *vma;
    size_t i;

    (void)snprintf(command, sizeof(command), "maps %lld", (long long)space_id);
    document = rig_ctl(rig, command);
    json_array_foreach(json_entries(document), i, vma)
    {
        if (addr >= (uint64_t)json_integer_value(json_object_get(vma, "start")) &&
            addr < (uint64_t)json_integer_value(json_object_get(vma, "end")))
            found = json_incref(vma);
    }
    json_decref(document);
    return found;
}

json_t *client_vma(const struct rig *rig, const void *addr)
{
    json_t *document = rig_ctl(rig, "spaces");
    json_t *found = NULL;
    json_t *space;
    size_t i;

    json_array_foreach(json_entries(document), i, space)
    {
        if (!found)
            found = vma_of(rig, json_integer_value(json_object_get(space, "id")), (uintptr_t)addr);
    }
    json_decref(document);
    ck_assert_msg(found != NULL, "no VMA at %p", addr);
    return found;
}

bool client_vma_flag(const struct rig *rig, const void *addr, const char *flag)
{
    json_t *vma = client_vma(rig, addr);
    bool has = false;
    json_t *word;
    size_t i;

    json_array_foreach(json_object_get(vma, "flags"), i, word)
    {
        has |= strcmp(json_string_value(word), flag) == 0;
    }
    json_decref(vma);
    return has;
}
