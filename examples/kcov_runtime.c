/* SPDX-License-Identifier: BSD-3-Clause */
/* As kernel/kcov.c: one area for a thread, one thread for an area. */
#include "examples/kcov_runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>

static _Thread_local struct kcov_area *enabled;

int kcov_area_map(struct muse *muse, const char *name, uint64_t n_words, struct kcov_area *ret)
{
    void *words = MAP_FAILED;
    struct muse_file *file;
    struct stat stat;
    int error;

    if (muse_open(muse, name, O_RDWR | O_CREAT, &file) < 0)
        return -1;
    /* EBUSY: somebody has said the size before */
    if ((muse_ftruncate(file, (off_t)(n_words * sizeof(uint64_t))) == 0 || errno == EBUSY) &&
        muse_fstat(file, &stat) == 0)
        words = muse_mmap(muse, NULL, (size_t)stat.st_size, PROT_READ | PROT_WRITE, MAP_SHARED,
                          file, 0);
    error = errno;
    (void)muse_close(file); /* the mapping keeps what it needs */
    errno = error;
    if (words == MAP_FAILED)
        return -1;
    ret->words = words;
    ret->n_words = (uint64_t)stat.st_size / sizeof(uint64_t);
    atomic_flag_clear(&ret->in_use);
    return 0;
}

/* Coverage is not inherited. */
static void forget_in_child(void)
{
    enabled = NULL;
}

static void watch_forks(void)
{
    (void)pthread_atfork(NULL, NULL, forget_in_child); /* without memory: a child records, too */
}

int kcov_enable(struct kcov_area *area)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, watch_forks);
    if (enabled || atomic_flag_test_and_set(&area->in_use))
        return -EBUSY;
    enabled = area;
    return 0;
}

int kcov_disable(struct kcov_area *area)
{
    if (enabled != area)
        return -EINVAL;
    enabled = NULL;
    atomic_flag_clear(&area->in_use);
    return 0;
}

/* Only this thread adds; who reads the count sees the PCs. Somebody may set the count to 0 meanwhile,
 * or to anything. */
void __sanitizer_cov_trace_pc(void)
{
    struct kcov_area *area = enabled;
    uint64_t n;

    if (!area)
        return;
    n = atomic_load_explicit(&area->words[0], memory_order_relaxed);
    if (n >= area->n_words - 1)
        return;
    atomic_store_explicit(&area->words[n + 1], (uintptr_t)__builtin_return_address(0),
                          memory_order_relaxed);
    atomic_store_explicit(&area->words[0], n + 1, memory_order_release);
}
