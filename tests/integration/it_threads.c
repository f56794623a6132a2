/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many threads and processes that map, touch, read and unmap at random. Each owns the mappings it
 * makes, so each knows what it must read; the handle, the address space and the objects are shared.
 */
#include <errno.h>
#include <muse/muse.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "tests/support/client.h"
#include "tests/support/unit.h"

#define N_THREADS   8u
#define N_PROCESSES 4u
#define N_OBJECTS   4u
#define N_PAGES     64u /* of each object */
#define N_MAPS      12u /* of each actor at once */
#define N_STEPS     1500u

static const char *const faulty[] = {"muse-faulty", "muse-faulty --name second", NULL};
static const char *const names[N_OBJECTS] = {
    "faulty/a,size=256K", "faulty/b,size=256K,fault-single", "second/c,size=256K,extents",
    "second/d,size=256K,ops=plain"};

static struct rig rig;

struct mapping {
    uint64_t *at; /* NULL: none */
    size_t pgoff, n_pages;
    bool is_private;
    uint64_t own[N_PAGES]; /* what was written to the first word of each page; 0: the object's */
};

struct actor {
    struct muse *muse; /* shared by threads */
    struct muse_file *files[N_OBJECTS];
    struct mapping maps[N_MAPS];
    uint64_t seed;
    unsigned n_steps;
    unsigned n_wrong;
    char what[128]; /* the first wrong */
};

__attribute__((format(printf, 2, 3))) static void wrong(struct actor *actor, const char *format,
                                                        ...)
{
    va_list args;

    if (actor->n_wrong++ > 0)
        return;
    va_start(args, format);
    (void)vsnprintf(actor->what, sizeof(actor->what), format, args);
    va_end(args);
}

static size_t below(struct actor *actor, size_t n)
{
    return unit_random(&actor->seed) % n;
}

static uint64_t expected(const struct mapping *map, size_t page)
{
    return map->own[page] ? map->own[page] : (map->pgoff + page) * 512;
}

static void check_page(struct actor *actor, const struct mapping *map, size_t page)
{
    const uint64_t first = faulty_word(map->at, page, 0);
    const uint64_t other = faulty_word(map->at, page, 77);

    if (first != expected(map, page) || other != (map->pgoff + page) * 512 + 77)
        wrong(actor, "page %zu + %zu reads %#llx and %#llx", map->pgoff, page,
              (unsigned long long)first, (unsigned long long)other);
}

static void do_map(struct actor *actor, struct mapping *map)
{
    const size_t which = below(actor, N_OBJECTS);
    const int populate = below(actor, 8) == 0 ? MAP_POPULATE : 0;
    void *got;

    memset(map, 0, sizeof(*map));
    map->pgoff = below(actor, N_PAGES - 1);
    map->n_pages = 1 + below(actor, N_PAGES - map->pgoff);
    map->is_private = below(actor, 2);
    got = muse_mmap(actor->muse, NULL, map->n_pages * PAGE,
                    map->is_private ? PROT_READ | PROT_WRITE : PROT_READ,
                    (map->is_private ? MAP_PRIVATE : MAP_SHARED) | populate, actor->files[which],
                    (off_t)(map->pgoff * PAGE));
    if (got == MAP_FAILED)
        wrong(actor, "map: %s", strerrorname_np(errno));
    else
        map->at = got;
}

static void do_unmap(struct actor *actor, struct mapping *map)
{
    if (muse_munmap(actor->muse, map->at, map->n_pages * PAGE) < 0)
        wrong(actor, "unmap: %s", strerrorname_np(errno));
    map->at = NULL;
}

/* Cuts pages off the end. */
static void do_shrink(struct actor *actor, struct mapping *map)
{
    const size_t left = 1 + below(actor, map->n_pages);

    if (left >= map->n_pages)
        return;
    if (muse_munmap(actor->muse, map->at + left * 512, (map->n_pages - left) * PAGE) < 0)
        wrong(actor, "shrink: %s", strerrorname_np(errno));
    map->n_pages = left;
}

/* Another object, or another part, over some pages of a mapping of ours. The rest is dropped. */
static void do_replace(struct actor *actor, struct mapping *map)
{
    const size_t first = below(actor, map->n_pages);
    const size_t n_pages = 1 + below(actor, map->n_pages - first);
    const size_t pgoff = below(actor, N_PAGES - n_pages + 1);
    uint64_t *at = map->at + first * 512;

    if (muse_mmap(actor->muse, at, n_pages * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED,
                  actor->files[below(actor, N_OBJECTS)], (off_t)(pgoff * PAGE)) != at) {
        wrong(actor, "replace: %s", strerrorname_np(errno));
        return;
    }
    if (first > 0 && muse_munmap(actor->muse, map->at, first * PAGE) < 0)
        wrong(actor, "replace, unmap before: %s", strerrorname_np(errno));
    if (first + n_pages < map->n_pages &&
        muse_munmap(actor->muse, at + n_pages * 512, (map->n_pages - first - n_pages) * PAGE) < 0)
        wrong(actor, "replace, unmap behind: %s", strerrorname_np(errno));
    *map = (struct mapping){.at = at, .pgoff = pgoff, .n_pages = n_pages};
}

static void do_write(struct actor *actor, struct mapping *map)
{
    const size_t page = below(actor, map->n_pages);

    if (!map->is_private)
        return;
    map->own[page] = unit_random(&actor->seed) | 1;
    map->at[page * 512] = map->own[page];
}

static void do_pread(struct actor *actor)
{
    const size_t page = below(actor, N_PAGES);
    uint64_t words[512];

    if (muse_pread(actor->files[below(actor, N_OBJECTS)], words, PAGE, (off_t)(page * PAGE)) !=
            (ssize_t)PAGE ||
        words[5] != page * 512 + 5)
        wrong(actor, "pread of page %zu", page);
}

static void step(struct actor *actor)
{
    struct mapping *map = &actor->maps[below(actor, N_MAPS)];

    if (!map->at) {
        do_map(actor, map);
        return;
    }
    switch (below(actor, 12)) {
    case 0:
        do_unmap(actor, map);
        break;
    case 1:
        do_shrink(actor, map);
        break;
    case 2:
        do_replace(actor, map);
        break;
    case 3:
    case 4:
        do_write(actor, map);
        break;
    case 5:
        do_pread(actor);
        break;
    default:
        check_page(actor, map, below(actor, map->n_pages));
    }
}

static void open_files(struct actor *actor)
{
    for (size_t i = 0; i < N_OBJECTS; i++)
        actor->files[i] = client_open(actor->muse, names[i], O_RDONLY);
}

static void *act(void *arg)
{
    struct actor *actor = arg;

    open_files(actor);
    for (unsigned i = 0; i < actor->n_steps && actor->n_wrong == 0; i++)
        step(actor);
    for (size_t i = 0; i < N_MAPS; i++) {
        struct mapping *map = &actor->maps[i];

        for (size_t page = 0; map->at && page < map->n_pages; page++)
            check_page(actor, map, page);
        if (map->at)
            do_unmap(actor, map);
    }
    for (size_t i = 0; i < N_OBJECTS; i++)
        ck_assert_int_eq(muse_close(actor->files[i]), 0);
    return NULL;
}

static unsigned wanted_steps(void)
{
    const char *steps = getenv("MUSE_STEPS");

    return steps ? (unsigned)strtoul(steps, NULL, 10) : N_STEPS;
}

/* In one handle. */
static void act_in_threads(struct muse *muse, unsigned n_threads, uint64_t seed)
{
    struct actor *actors = calloc(n_threads, sizeof(*actors));
    pthread_t threads[N_THREADS];

    ck_assert_ptr_nonnull(actors);
    for (unsigned i = 0; i < n_threads; i++) {
        actors[i].muse = muse;
        actors[i].seed = seed * 1000003 + i * 2 + 1;
        actors[i].n_steps = wanted_steps();
        ck_assert_int_eq(pthread_create(&threads[i], NULL, act, &actors[i]), 0);
    }
    for (unsigned i = 0; i < n_threads; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    for (unsigned i = 0; i < n_threads; i++)
        ck_assert_msg(actors[i].n_wrong == 0, "thread %u: %s", i, actors[i].what);
    free(actors);
}

START_TEST(threads_of_one_handle_do_not_disturb_each_other)
{
    const uint64_t seed = unit_seed();
    struct muse *muse;

    rig_start(&rig, NULL, faulty);
    muse = client_connect();
    act_in_threads(muse, N_THREADS, seed);
    muse_disconnect(muse);
    ck_assert_uint_eq(rig_counter("prepare"), rig_counter("complete"));
    ck_assert_uint_eq(rig_counter("mismatch"), 0);
    rig_stop(&rig);
}
END_TEST

static void act_in_process(void *ctx)
{
    struct muse *own = client_connect();

    act_in_threads(own, 2, *(const uint64_t *)ctx);
    muse_disconnect(own);
}

START_TEST(processes_do_not_disturb_each_other)
{
    uint64_t seed = unit_seed();
    pid_t children[N_PROCESSES];

    rig_start(&rig, NULL, faulty);
    for (unsigned i = 0; i < N_PROCESSES; i++) {
        seed += 12345;
        children[i] = client_fork(act_in_process, &seed);
    }
    for (unsigned i = 0; i < N_PROCESSES; i++)
        client_join(children[i]);
    ck_assert_uint_eq(rig_counter("prepare"), rig_counter("complete"));
    rig_stop(&rig);
}
END_TEST

START_TEST(processes_that_are_killed_at_random_moments_leave_nothing)
{
    uint64_t seed = unit_seed();

    rig_start(&rig, NULL, faulty);
    for (unsigned i = 0; i < 12; i++) {
        pid_t victim;

        seed += 777;
        victim = client_fork(act_in_process, &seed);
        client_sleep_ms((unsigned)(unit_random(&seed) % 60));
        ck_assert_int_eq(kill(victim, SIGKILL), 0);
        ck_assert_int_eq(waitpid(victim, NULL, 0), victim);
    }
    rig_stop(&rig); /* no space, object, fd, transaction; audit ok */
}
END_TEST

/* Connects, maps, touches, disconnects. */
static void *come_and_go(void *arg)
{
    atomic_uint *n_wrong = arg;

    for (unsigned i = 0; i < 12; i++) {
        struct muse *own = client_connect_small();
        void *mapped = client_map_ro(own, "faulty/a,size=256K", 8);

        if (faulty_word(mapped, i % 8, 1) != i % 8 * 512 + 1)
            (void)atomic_fetch_add(n_wrong, 1);
        muse_disconnect(own);
    }
    return NULL;
}

START_TEST(handles_come_and_go_in_many_threads)
{
    atomic_uint n_wrong = 0;
    pthread_t threads[4];

    rig_start(&rig, NULL, faulty);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, come_and_go, &n_wrong), 0);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_uint_eq(atomic_load(&n_wrong), 0);
    rig_stop(&rig);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("threads");

    tcase_set_timeout(tcase, 100);
    tcase_add_test(tcase, threads_of_one_handle_do_not_disturb_each_other);
    tcase_add_test(tcase, processes_do_not_disturb_each_other);
    tcase_add_test(tcase, processes_that_are_killed_at_random_moments_leave_nothing);
    tcase_add_test(tcase, handles_come_and_go_in_many_threads);
    return unit_run("threads", tcase);
}
