/* SPDX-License-Identifier: BSD-3-Clause */
/* Watches a bounded page cache (cache.h). Owns the sampling thread between start and stop. */
#include "tests/support/cache.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

static struct {
    const struct rig *rig; /* borrowed */
    atomic_bool stop;
    uint64_t most;
    atomic_ulong n_samples;
    pthread_t thread;
} sampler;

static bool is_cache(const char *target)
{
    return strncmp(target, "/muse:", 6) == 0 ||
           (strncmp(target, "/memfd:", 7) == 0 && strncmp(target, "/memfd:muse-", 12) != 0 &&
            strchr(target + 7, '/'));
}

uint64_t cache_blocks(const struct rig *rig)
{
    char folder[64];
    uint64_t bytes = 0;
    ino_t seen[64];
    size_t n_seen = 0;
    struct dirent *entry;
    DIR *dir;

    (void)snprintf(folder, sizeof(folder), "/proc/%d/fd", (int)rig->server);
    dir = opendir(folder);
    while (dir && (entry = readdir(dir))) {
        char target[300];
        struct stat st;
        const ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
        bool is_new = true;

        if (n <= 0 || fstatat(dirfd(dir), entry->d_name, &st, 0) < 0)
            continue;
        target[n] = '\0';
        for (size_t i = 0; i < n_seen; i++)
            is_new &= seen[i] != st.st_ino;
        if (!is_new || !is_cache(target) || n_seen == 64)
            continue;
        seen[n_seen++] = st.st_ino;
        bytes += (uint64_t)st.st_blocks * 512;
    }
    if (dir)
        (void)closedir(dir);
    return bytes;
}

static void *sample(void *ctx)
{
    (void)ctx;
    while (!atomic_load(&sampler.stop)) {
        const uint64_t bytes = cache_blocks(sampler.rig);

        if (bytes > sampler.most)
            sampler.most = bytes;
        atomic_fetch_add(&sampler.n_samples, 1);
        client_sleep_ms(1);
    }
    return NULL;
}

void sampler_start(const struct rig *rig)
{
    sampler.rig = rig;
    sampler.most = 0;
    atomic_store(&sampler.n_samples, 0);
    atomic_store(&sampler.stop, false);
    ck_assert_int_eq(pthread_create(&sampler.thread, NULL, sample, NULL), 0);
    while (atomic_load(&sampler.n_samples) == 0)
        client_sleep_ms(1);
}

void sampler_stop(uint64_t limit)
{
    const uint64_t last = cache_blocks(sampler.rig);

    atomic_store(&sampler.stop, true);
    ck_assert_int_eq(pthread_join(sampler.thread, NULL), 0);
    if (last > sampler.most)
        sampler.most = last;
    ck_assert_uint_gt(sampler.most, 0);
    ck_assert_uint_le(sampler.most, limit + CACHE_WINDOW);
}

unsigned char *map_file(struct muse *muse, const char *name, size_t len)
{
    return client_map_ro(muse, name, len / PAGE);
}

void expect_page(const unsigned char *mapped, size_t page)
{
    if (!file_is(mapped + page * PAGE, page * PAGE, PAGE))
        ck_abort_msg("page %zu has other bytes", page);
}

void expect_all(const unsigned char *mapped, size_t len)
{
    for (size_t page = 0; page < len / PAGE; page++)
        expect_page(mapped, page);
}

void expect_random(const unsigned char *mapped, size_t len, size_t n_reads, uint64_t seed)
{
    uint64_t random = 2 * seed + 1;

    for (size_t i = 0; i < n_reads; i++)
        expect_page(mapped, unit_random(&random) % (len / PAGE));
}

size_t count_resident(const void *mapped, size_t len)
{
    static unsigned char vec[CACHE_VEC_PAGES];
    size_t n = 0;

    ck_assert_uint_le(len / PAGE, CACHE_VEC_PAGES);
    ck_assert_int_eq(mincore((void *)(uintptr_t)mapped, len, vec), 0);
    for (size_t i = 0; i < len / PAGE; i++)
        n += vec[i] & 1u;
    return n;
}

uint64_t cache_bytes(const struct rig *rig)
{
    json_t *status = rig_ctl(rig, "status");
    const uint64_t bytes = (uint64_t)json_integer_value(json_object_get(status, "cache_bytes"));

    json_decref(status);
    return bytes;
}

bool cache_is_at_most(const struct rig *rig, void *arg)
{
    return cache_bytes(rig) <= *(const uint64_t *)arg;
}
