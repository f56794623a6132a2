/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The program scripts/demo runs: maps a list of objects, or of plain files for comparison, reads
 * every byte in order with the clock running, and then verifies what it read.
 *
 *     demo_client make PATH BYTES                  a file of that many reproducible bytes
 *     demo_client read [OPTION...] PREFIX LIST     PREFIX + each line of the file LIST
 *
 * Prints one line of KEY=VALUE. All mappings stay until the end, for others to look at.
 */
#include <argp.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <muse/muse.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/own.h"

#define STEP_BYTES ((size_t)16 << 20) /* between two looks at the clock; chosen */
#define MAKE_BYTES ((size_t)1 << 20)
#define NAME_BYTES 4096

struct mapping {
    char *name; /* owned; without the prefix */
    const uint8_t *bytes;
    size_t n_bytes;
};

struct job {
    const char *prefix;
    const char *list;
    char *original; /* prefix of the files to compare with; NULL: none */
    bool plain;
    bool sha256;
    bool hold;
    struct muse *muse; /* NULL with plain */
    struct mapping *mappings;
    size_t n_mappings;
    uint64_t n_bytes;
    uint64_t n_bytes_read;
    uint64_t sum;
};

static struct muse *muse_of_handler; /* a signal handler is given no argument */

/* Says why a page cannot be had; then there is nothing to go on with. */
static void on_sigbus(int signal, siginfo_t *info, void *context)
{
    struct muse_error why;
    char text[1800];
    int n;

    (void)signal;
    (void)context;
    if (!muse_of_handler || muse_error_at(muse_of_handler, info->si_addr, &why) < 0 ||
        why.error == 0)
        n = snprintf(text, sizeof(text), "demo_client: SIGBUS at %p\n", info->si_addr);
    else
        n = snprintf(text, sizeof(text), "demo_client: %s/%s at byte %" PRIu64 ": %s (%s)\n",
                     why.driver, why.object, why.offset, why.text, strerrorname_np(why.error));
    (void)!write(STDERR_FILENO, text, (size_t)n); /* nowhere to complain */
    _exit(1);
}

static double now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time); /* cannot fail for this clock */
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static uint64_t count_kernel_faults(void)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_SELF, &usage); /* cannot fail with these arguments */
    return (uint64_t)usage.ru_minflt + (uint64_t)usage.ru_majflt;
}

/* ---- make ---- */

/* splitmix64 (Steele, Lea, Flood 2014): does not compress, and is faster than any disk. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static int make(const char *path, const char *size)
{
    CLEAN(free_p) uint64_t *words = malloc(MAKE_BYTES);
    CLEAN(fd_close_p) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    uint64_t left = strtoull(size, NULL, 10);
    uint64_t state = 1;

    if (fd < 0 || !words)
        err(1, "%s", path);
    while (left > 0) {
        const size_t n_bytes = left < MAKE_BYTES ? (size_t)left : MAKE_BYTES;

        for (size_t i = 0; i < MAKE_BYTES / sizeof(*words); i++)
            words[i] = next_random(&state);
        if (write(fd, words, n_bytes) != (ssize_t)n_bytes)
            err(1, "%s: write", path);
        left -= n_bytes;
    }
    return 0;
}

/* ---- mapping ---- */

static void map_plain(const char *path, struct mapping *mapping)
{
    CLEAN(fd_close_p) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    void *bytes;

    if (fd < 0 || fstat(fd, &st) < 0)
        err(1, "%s", path);
    bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED)
        err(1, "%s: mmap", path);
    mapping->bytes = bytes;
    mapping->n_bytes = (size_t)st.st_size;
}

static void map_muse(struct muse *muse, const char *name, struct mapping *mapping)
{
    struct muse_file *file;
    struct stat st;
    void *bytes;

    if (muse_open(muse, name, O_RDONLY, &file) < 0 || muse_fstat(file, &st) < 0)
        err(1, "%s: %s", name, muse_last_error_text());
    bytes = muse_mmap(muse, NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, file, 0);
    if (bytes == MAP_FAILED || muse_close(file) < 0)
        err(1, "%s: %s", name, muse_last_error_text());
    mapping->bytes = bytes;
    mapping->n_bytes = (size_t)st.st_size;
}

static void join_name(const char *prefix, const char *name, char ret_path[NAME_BYTES])
{
    if (snprintf(ret_path, NAME_BYTES, "%s%s", prefix, name) >= NAME_BYTES)
        errx(1, "%s%s: too long", prefix, name);
}

/* One line of progress, where there is somebody to look at it. */
static void show_progress(const struct job *job, const char *what, uint64_t n_bytes, bool last)
{
    if (!isatty(STDERR_FILENO))
        return;
    if (last)
        (void)fprintf(stderr, "\r\033[K");
    else
        (void)fprintf(stderr, "\r\033[K  %s %s%s: %" PRIu64 " MiB", what, job->prefix,
                      job->n_mappings == 1 ? job->mappings[0].name : "*", n_bytes >> 20);
}

static void read_all(struct job *job, const struct mapping *mapping)
{
    size_t done = 0;

    while (done < mapping->n_bytes) {
        const size_t left = mapping->n_bytes - done;
        const size_t n_bytes = left < STEP_BYTES ? left : STEP_BYTES;
        const uint8_t *bytes = mapping->bytes + done;
        uint64_t word;

        for (size_t i = 0; i + sizeof(word) <= n_bytes; i += sizeof(word)) {
            memcpy(&word, bytes + i, sizeof(word));
            job->sum += word;
        }
        for (size_t i = n_bytes - n_bytes % sizeof(word); i < n_bytes; i++)
            job->sum += bytes[i];
        done += n_bytes;
        job->n_bytes_read += n_bytes;
        show_progress(job, "reading", job->n_bytes_read, false);
    }
}

static void map_and_read(struct job *job)
{
    char path[NAME_BYTES];

    for (size_t i = 0; i < job->n_mappings; i++) {
        struct mapping *mapping = &job->mappings[i];

        join_name(job->prefix, mapping->name, path);
        if (job->plain)
            map_plain(path, mapping);
        else
            map_muse(job->muse, path, mapping);
        job->n_bytes += mapping->n_bytes;
        read_all(job, mapping);
    }
    show_progress(job, "", 0, true);
}

/* ---- verifying ---- */

static void compare(const struct job *job)
{
    char path[NAME_BYTES];

    for (size_t i = 0; i < job->n_mappings; i++) {
        const struct mapping *mapping = &job->mappings[i];
        struct mapping original = {0};

        join_name(job->original, mapping->name, path);
        map_plain(path, &original);
        if (original.n_bytes != mapping->n_bytes)
            errx(1, "%s%s has %zu bytes, %s has %zu", job->prefix, mapping->name, mapping->n_bytes,
                 path, original.n_bytes);
        for (size_t at = 0; at < original.n_bytes; at++) {
            if (original.bytes[at] != mapping->bytes[at])
                errx(1, "%s%s differs from %s at byte %zu", job->prefix, mapping->name, path, at);
        }
        if (munmap((void *)(uintptr_t)original.bytes, original.n_bytes) < 0)
            err(1, "munmap");
    }
}

/* Of all bytes, one object after the other, in hexadecimal. */
static void print_sha256(const struct job *job)
{
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int n_digest;

    if (!hash || EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1)
        errx(1, "SHA-256 is not available");
    for (size_t i = 0; i < job->n_mappings; i++) {
        const struct mapping *mapping = &job->mappings[i];

        for (size_t at = 0; at < mapping->n_bytes; at += STEP_BYTES) {
            const size_t left = mapping->n_bytes - at;

            if (EVP_DigestUpdate(hash, mapping->bytes + at,
                                 left < STEP_BYTES ? left : STEP_BYTES) != 1)
                errx(1, "SHA-256");
            show_progress(job, "verifying", at, false);
        }
    }
    show_progress(job, "", 0, true);
    if (EVP_DigestFinal_ex(hash, digest, &n_digest) != 1)
        errx(1, "SHA-256");
    EVP_MD_CTX_free(hash);
    (void)printf(" sha256=");
    for (unsigned int i = 0; i < n_digest; i++)
        (void)printf("%02x", digest[i]);
}

/* ---- read ---- */

static void load_list(struct job *job)
{
    CLEAN(free_p) char *line = NULL;
    size_t n_line = 0;
    ssize_t n;
    FILE *file = fopen(job->list, "re");

    if (!file)
        err(1, "%s", job->list);
    while ((n = getline(&line, &n_line, file)) > 0) {
        struct mapping *grown =
            reallocarray(job->mappings, job->n_mappings + 1, sizeof(*job->mappings));

        if (!grown)
            err(1, "%s", job->list);
        if (line[n - 1] == '\n')
            line[n - 1] = '\0';
        job->mappings = grown;
        job->mappings[job->n_mappings++] = (struct mapping){.name = TAKE(line)};
        n_line = 0;
    }
    (void)fclose(file); /* was only read */
}

static int read_objects(struct job *job)
{
    struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
    uint64_t n_faults;
    double seconds;
    char byte;

    if (job->hold && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        err(1, "prctl");
    load_list(job);
    if (!job->plain && muse_connect(&job->muse, NULL) < 0)
        err(1, "%s", muse_last_error_text());
    muse_of_handler = job->muse;
    (void)sigaction(SIGBUS, &action, NULL); /* cannot fail with these arguments */
    n_faults = count_kernel_faults();
    seconds = now();
    map_and_read(job);
    seconds = now() - seconds;
    n_faults = count_kernel_faults() - n_faults;
    if (job->original)
        compare(job);
    (void)printf("pid=%d files=%zu bytes=%" PRIu64 " seconds=%.4f kernel_faults=%" PRIu64
                 " sum=%016" PRIx64,
                 getpid(), job->n_mappings, job->n_bytes, seconds, n_faults, job->sum);
    if (job->sha256)
        print_sha256(job);
    (void)printf("\n");
    (void)fflush(stdout);
    while (job->hold && read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    muse_of_handler = NULL;
    muse_disconnect(job->muse);
    for (size_t i = 0; i < job->n_mappings; i++)
        free(job->mappings[i].name);
    free(job->mappings);
    return 0;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct job *job = state->input;

    switch (key) {
    case 'p':
        job->plain = true;
        return 0;
    case 'o':
        job->original = argument;
        return 0;
    case 's':
        job->sha256 = true;
        return 0;
    case 'h':
        job->hold = true;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 1)
            argp_usage(state);
        *(state->arg_num == 0 ? &job->prefix : &job->list) = argument;
        return 0;
    case ARGP_KEY_END:
        if (state->arg_num < 2)
            argp_usage(state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"plain", 'p', NULL, 0, "Map the files PREFIX... with mmap(2), without Muse", 0},
        {"original", 'o', "PREFIX", 0, "Compare each byte with the file PREFIX...", 0},
        {"sha256", 's', NULL, 0, "Print the SHA-256 of all bytes", 0},
        {"hold", 'h', NULL, 0, "Keep the mappings until standard input, or the parent, ends", 0},
        {0},
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse_option,
        .args_doc = "PREFIX LIST",
        .doc = "demo_client read: map each object PREFIX + line of LIST, read and verify it.",
    };
    struct job job = {0};

    if (argc == 4 && strcmp(argv[1], "make") == 0)
        return make(argv[2], argv[3]);
    if (argc < 2 || strcmp(argv[1], "read") != 0)
        errx(2, "usage: demo_client make PATH BYTES | demo_client read [OPTION...] PREFIX LIST");
    argp_err_exit_status = 2;
    if (argp_parse(&argp, argc - 1, argv + 1, 0, NULL, &job) != 0)
        return 2;
    return read_objects(&job);
}
