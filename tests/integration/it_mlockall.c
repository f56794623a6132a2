/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Programs that lock all of their memory, before or while they map objects. What the kernel would
 * bring in before the server watches it is zeros; here everything is the driver's words.
 */
#include <errno.h>
#include <muse/muse.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <check.h>

#include "common/base/linux_abi.h"
#include "common/base/own.h"
#include "tests/support/client.h"
#include "tests/support/unit.h"

#define RO       (PROT_READ)
#define RW       (PROT_READ | PROT_WRITE)
#define N_PAGES  8u
#define BYTES    (N_PAGES * PAGE)
#define N_ROUNDS 40u /* of each way, kinds in turn */

static const char *const faulty[] = {"muse-faulty", NULL};

static struct rig rig;

static const struct kind {
    int oflags, prot, flags;
} kinds[] = {{O_RDONLY, RO, MAP_SHARED},
             {O_RDWR, RW, MAP_SHARED},
             {O_RDONLY, RW, MAP_PRIVATE},
             {O_RDONLY, RO | PROT_EXEC, MAP_PRIVATE}};

static void check_words(const char *mapped, size_t n_pages)
{
    ck_assert_msg(mapped != MAP_FAILED, "%s: %s", strerror(errno), muse_last_error_text());
    for (size_t page = 0; page < n_pages; page++)
        ck_assert_uint_eq(faulty_word(mapped, page, 1), page * 512 + 1);
}

/* Of an object of which no page is there yet. */
static char *map_new(struct muse *own, const struct kind *kind, struct client_span span, int flags)
{
    static unsigned n;
    char name[32];

    (void)snprintf(name, sizeof(name), "faulty/%u", n++);
    return client_map_at(own, name, kind->oflags, span, kind->prot, kind->flags | flags);
}

/* ---- before ---- */

static void lock_all(void *ctx)
{
    struct muse *own = client_connect_small();
    char *before = client_map(own, "faulty/before", O_RDONLY, BYTES, RW, MAP_PRIVATE);

    (void)ctx;
    ck_assert_int_eq(mlockall(MCL_CURRENT | MCL_FUTURE), 0);
    check_words(before, N_PAGES);
    for (size_t i = 0; i < N_ELEMENTS(kinds); i++) {
        char *mapped = map_new(own, &kinds[i], (struct client_span){.len = BYTES}, 0);

        check_words(mapped, N_PAGES);
        mapped = muse_mremap(own, mapped, BYTES, 2 * BYTES, MREMAP_MAYMOVE);
        check_words(mapped, 2 * N_PAGES);
        if (kinds[i].prot == RW)
            ck_assert_int_eq(probe_write(mapped + 2 * BYTES - PAGE, 'w').signal, 0);
    }
    ck_assert_int_eq(munlockall(), 0);
    muse_disconnect(own);
}

START_TEST(what_is_mapped_after_mlockall_comes_from_the_driver_and_is_not_zero)
{
    rig_start(&rig, NULL, faulty);
    client_join(client_fork(lock_all, NULL));
    rig_stop(&rig);
}
END_TEST

/* ---- while ---- */

struct locker {
    pthread_t thread;
    atomic_bool stop;
};

static void *lock_again_and_again(void *arg)
{
    struct locker *locker = arg;

    while (!atomic_load(&locker->stop))
        (void)mlockall(MCL_CURRENT | MCL_FUTURE);
    return NULL;
}

static void locker_start(struct locker *locker)
{
    locker->stop = false;
    ck_assert_int_eq(pthread_create(&locker->thread, NULL, lock_again_and_again, locker), 0);
}

static void locker_stop(struct locker *locker)
{
    atomic_store(&locker->stop, true);
    ck_assert_int_eq(pthread_join(locker->thread, NULL), 0);
    ck_assert_int_eq(munlockall(), 0);
}

/* Where something is to go. */
enum place { ANYWHERE, EMPTY, TAKEN, OUTSIDE };

/* Return: addresses for BYTES; to be given back by muse_munmap() when something of ours is there. */
static char *place_of(struct muse *own, enum place place)
{
    static const struct kind private_kind = {O_RDONLY, RW, MAP_PRIVATE};
    char *at = NULL;

    switch (place) {
    case ANYWHERE:
        break;
    case EMPTY:
    case TAKEN:
        at = map_new(own, &private_kind, (struct client_span){.len = BYTES}, 0);
        ck_assert_ptr_ne(at, MAP_FAILED);
        if (place == EMPTY)
            ck_assert_int_eq(muse_munmap(own, at, BYTES), 0);
        break;
    case OUTSIDE:
        at = mmap(NULL, BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        ck_assert_ptr_ne(at, MAP_FAILED);
        break;
    }
    return at;
}

/* Outside of the arena ours ends with its mapping, and what is left of the reservation is no more. */
static void give_back(struct muse *own, char *at, enum place place)
{
    ck_assert_int_eq(muse_munmap(own, at, BYTES), 0);
    if (place == OUTSIDE)
        (void)munmap(at, BYTES);
}

static const struct way {
    const char *name;
    enum place place;
    int flags;
} map_ways[] = {
    {"anywhere", ANYWHERE, 0},
    {"fixed, empty", EMPTY, MAP_FIXED},
    {"not to replace", EMPTY, MAP_FIXED_NOREPLACE},
    {"fixed, taken", TAKEN, MAP_FIXED},
    {"fixed, outside", OUTSIDE, MAP_FIXED},
};

static void map_while_another_thread_locks(void *ctx)
{
    const struct way *way = &map_ways[*(const int *)ctx];
    struct muse *own = client_connect_small();
    struct locker locker;

    locker_start(&locker);
    for (unsigned i = 0; i < N_ROUNDS; i++) {
        char *at = place_of(own, way->place);
        const struct client_span span = {.addr = at, .len = BYTES};
        char *mapped = map_new(own, &kinds[i % N_ELEMENTS(kinds)], span, way->flags);

        check_words(mapped, N_PAGES);
        ck_assert(!at || mapped == at);
        give_back(own, mapped, way->place);
    }
    locker_stop(&locker);
    muse_disconnect(own);
}

START_TEST(what_is_mapped_while_a_thread_calls_mlockall_is_not_zero_either)
{
    rig_start(&rig, NULL, faulty);
    client_join(client_fork(map_while_another_thread_locks, &_i));
    rig_stop(&rig);
}
END_TEST

static const struct way grow_ways[] = {
    {"anywhere", ANYWHERE, MREMAP_MAYMOVE},
    {"fixed, empty", EMPTY, MREMAP_MAYMOVE | MREMAP_FIXED},
    {"fixed, taken", TAKEN, MREMAP_MAYMOVE | MREMAP_FIXED},
    {"fixed, outside", OUTSIDE, MREMAP_MAYMOVE | MREMAP_FIXED},
};

static void grow_while_another_thread_locks(void *ctx)
{
    const struct way *way = &grow_ways[*(const int *)ctx];
    struct muse *own = client_connect_small();
    struct locker locker;

    locker_start(&locker);
    for (unsigned i = 0; i < N_ROUNDS; i++) {
        const struct client_span span = {.len = BYTES / 2};
        char *mapped = map_new(own, &kinds[i % N_ELEMENTS(kinds)], span, 0);
        char *at = place_of(own, way->place);

        check_words(mapped, N_PAGES / 2);
        mapped = muse_mremap(own, mapped, BYTES / 2, BYTES, way->flags, at);
        check_words(mapped, N_PAGES);
        ck_assert(!at || mapped == at);
        give_back(own, mapped, way->place);
    }
    locker_stop(&locker);
    muse_disconnect(own);
}

START_TEST(what_mremap_adds_while_a_thread_calls_mlockall_is_not_zero_either)
{
    rig_start(&rig, NULL, faulty);
    client_join(client_fork(grow_while_another_thread_locks, &_i));
    rig_stop(&rig);
}
END_TEST

/* Outside of the arena the kernel grows the mapping, and what is new is watched from the start. */
static void grow_in_place_while_another_thread_locks(void *ctx)
{
    struct muse *own = client_connect_small();
    struct locker locker;

    (void)ctx;
    locker_start(&locker);
    for (unsigned i = 0; i < 4 * N_ROUNDS; i++) {
        char *at = place_of(own, OUTSIDE);
        const struct client_span span = {.addr = at, .len = BYTES / 2};

        ck_assert_ptr_eq(map_new(own, &kinds[i % N_ELEMENTS(kinds)], span, MAP_FIXED), at);
        ck_assert_int_eq(munmap(at + BYTES / 2, BYTES / 2), 0);
        ck_assert_ptr_eq(muse_mremap(own, at, BYTES / 2, BYTES, 0), at);
        check_words(at, N_PAGES);
        give_back(own, at, OUTSIDE);
    }
    locker_stop(&locker);
    muse_disconnect(own);
}

START_TEST(what_grows_in_place_while_a_thread_calls_mlockall_comes_at_once)
{
    rig_start(&rig, NULL, faulty);
    client_join(client_fork(grow_in_place_while_another_thread_locks, NULL));
    rig_stop(&rig);
}
END_TEST

static void duplicate_while_another_thread_locks(void *ctx)
{
    const enum place place = *(const int *)ctx ? OUTSIDE : EMPTY;
    struct muse *own = client_connect_small();
    struct locker locker;

    locker_start(&locker);
    for (unsigned i = 0; i < 4 * N_ROUNDS; i++) {
        char *source =
            map_new(own, &kinds[i % N_ELEMENTS(kinds)], (struct client_span){.len = BYTES}, 0);
        char *at = place_of(own, place);

        check_words(source, i % 8 < 4 ? N_PAGES : 0);
        ck_assert_ptr_eq(muse_mremap(own, source, BYTES, BYTES,
                                     MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, at),
                         at);
        check_words(at, N_PAGES);
        check_words(source, N_PAGES);
        give_back(own, at, place);
        give_back(own, source, ANYWHERE);
    }
    locker_stop(&locker);
    muse_disconnect(own);
}

START_TEST(a_source_that_stays_while_a_thread_calls_mlockall_is_not_zero_either)
{
    rig_start(&rig, NULL, faulty);
    client_join(client_fork(duplicate_while_another_thread_locks, &_i));
    rig_stop(&rig);
}
END_TEST

/* ---- what others write to an address that was named ---- */

struct writer {
    pthread_t thread;
    char *_Atomic at; /* NULL: nothing to do */
    atomic_bool stop;
};

/* As soon as anything may be written there: until then it is EFAULT. */
static void *write_early(void *arg)
{
    struct writer *writer = arg;
    char byte = 'w';

    while (!atomic_load(&writer->stop)) {
        const struct iovec from = {&byte, 1};
        const struct iovec to = {atomic_load(&writer->at), 1};

        if (to.iov_base && process_vm_writev(getpid(), &from, 1, &to, 1, 0) == 1)
            atomic_store(&writer->at, NULL);
    }
    return NULL;
}

static void write_while_it_is_mapped(void *ctx)
{
    static const struct kind private_kind = {O_RDONLY, RW, MAP_PRIVATE};
    const enum place place = *(const int *)ctx ? OUTSIDE : EMPTY;
    struct muse *own = client_connect_small();
    struct writer writer = {.at = NULL};
    struct locker locker;

    locker_start(&locker);
    ck_assert_int_eq(pthread_create(&writer.thread, NULL, write_early, &writer), 0);
    for (unsigned i = 0; i < N_ROUNDS; i++) {
        char *at = place_of(own, place);

        atomic_store(&writer.at, at + PAGE);
        ck_assert_ptr_eq(map_new(own, &private_kind, (struct client_span){at, BYTES, 0}, MAP_FIXED),
                         at);
        while (atomic_load(&writer.at)) {}
        ck_assert_int_eq(at[PAGE], 'w');
        ck_assert_uint_eq(faulty_word(at, 1, 1), 513);
        ck_assert_uint_eq(faulty_word(at, 2, 1), 1025);
        give_back(own, at, place);
    }
    atomic_store(&writer.stop, true);
    ck_assert_int_eq(pthread_join(writer.thread, NULL), 0);
    locker_stop(&locker);
    muse_disconnect(own);
}

START_TEST(what_others_write_to_a_named_address_as_soon_as_they_can_is_kept)
{
    rig_start(&rig, NULL, faulty);
    client_join(client_fork(write_while_it_is_mapped, &_i));
    rig_stop(&rig);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("mlockall");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, what_is_mapped_after_mlockall_comes_from_the_driver_and_is_not_zero);
    tcase_add_loop_test(tcase, what_is_mapped_while_a_thread_calls_mlockall_is_not_zero_either, 0,
                        N_ELEMENTS(map_ways));
    tcase_add_loop_test(tcase, what_mremap_adds_while_a_thread_calls_mlockall_is_not_zero_either, 0,
                        N_ELEMENTS(grow_ways));
    tcase_add_test(tcase, what_grows_in_place_while_a_thread_calls_mlockall_comes_at_once);
    tcase_add_loop_test(tcase, a_source_that_stays_while_a_thread_calls_mlockall_is_not_zero_either,
                        0, 2);
    tcase_add_loop_test(tcase, what_others_write_to_a_named_address_as_soon_as_they_can_is_kept, 0,
                        2);
    return unit_run("mlockall", tcase);
}
