/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-cramfs with a real server and this process as the client: what is mapped directly and what
 * is not, what others may see, and what a damaged image does. Images are those of
 * tests/unit/cramfs_samples.h; needs mkfs.cramfs (skipped with 77 where that is missing).
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "drivers/cramfs/cramfs_image.h"
#include "tests/support/client.h"
#include "tests/support/unit.h"
#include "tests/unit/cramfs_samples.h"

#define NOBODY 60001u

static struct rig rig;
static struct muse *muse;
static char image_path[128];

/* The image lies in temp_dir, which is open to everybody; mode is the image's. */
static void begin(const struct image *image, mode_t mode)
{
    static char driver[256];
    static const char *const drivers[] = {driver, NULL};
    int fd;

    (void)snprintf(image_path, sizeof(image_path), "%s/image", temp_dir);
    ck_assert_int_eq(chmod(temp_dir, 0755), 0);
    fd = open(image_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    write_all(fd, image->bytes, image->n_bytes, 0);
    ck_assert_int_eq(fchmod(fd, mode), 0);
    (void)close(fd);
    (void)snprintf(driver, sizeof(driver), "muse-cramfs %s", image_path);
    rig_start(&rig, NULL, drivers);
    ck_assert_int_eq(muse_connect(&muse, NULL), 0);
}

static void end(void)
{
    muse_disconnect(muse);
    rig_stop(&rig);
}

static struct image made_image(void)
{
    static const char *const options[] = {NULL};
    CLEAN_FD int tree = open_tree();
    CLEAN_FD int fd = -1;

    add_small_tree(tree);
    fd = make_image(options);
    return load_image(fd);
}

static uint8_t *map(const char *path, size_t n_pages, int prot, int flags)
{
    struct muse_file *file;
    char name[64];
    uint8_t *bytes;

    (void)snprintf(name, sizeof(name), "cramfs/%s", path);
    ck_assert_msg(muse_open(muse, name, O_RDONLY, &file) == 0, "%s: %s", name,
                  muse_last_error_text());
    bytes = muse_mmap(muse, NULL, n_pages * PAGE, prot, flags, file, 0);
    ck_assert_msg(bytes != MAP_FAILED, "%s: %s", name, muse_last_error_text());
    ck_assert_int_eq(muse_close(file), 0);
    return bytes;
}

/* Whether this process has the image itself mapped at an address. */
static bool is_direct(const void *at)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    bool found = false;

    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof(line), maps)) {
        char *rest;
        const uintptr_t start = strtoull(line, &rest, 16);
        const uintptr_t stop = strtoull(rest + 1, NULL, 16);

        if ((uintptr_t)at >= start && (uintptr_t)at < stop)
            found = strstr(line, image_path) != NULL;
    }
    (void)fclose(maps);
    return found;
}

static const struct sample *find_sample(const char *name)
{
    for (size_t i = 0; i < N_ELEMENTS(samples); i++) {
        if (strcmp(samples[i].name, name) == 0)
            return &samples[i];
    }
    ck_abort_msg("no sample %s", name);
}

static void expect_sample(const struct sample *sample, const uint8_t *bytes)
{
    uint8_t expected[PAGE];

    for (uint32_t block = 0; block < strlen(sample->kinds); block++) {
        sample_block(sample, block, expected);
        ck_assert_msg(memcmp(bytes + (size_t)block * PAGE, expected, PAGE) == 0, "%s, block %u",
                      sample->name, block);
    }
}

START_TEST(every_kind_of_block_arrives_in_every_kind_of_mapping)
{
    static const struct {
        int prot, flags;
    } kinds[] = {{PROT_READ, MAP_SHARED},
                 {PROT_READ, MAP_PRIVATE},
                 {PROT_READ | PROT_WRITE, MAP_PRIVATE},
                 {PROT_READ, MAP_SHARED | MAP_POPULATE}};
    CLEAN(image_done_p) struct image image = sample_image(FLAG_EXT_POINTERS);

    begin(&image, 0644);
    for (size_t k = 0; k < N_ELEMENTS(kinds); k++) {
        for (size_t i = 0; i < N_ELEMENTS(samples); i++) {
            const size_t n_pages = strlen(samples[i].kinds);
            uint8_t *bytes;

            if (n_pages == 0)
                continue;
            bytes = map(samples[i].name, n_pages, kinds[k].prot, kinds[k].flags);
            expect_sample(&samples[i], bytes);
            ck_assert_int_eq(muse_munmap(muse, bytes, n_pages * PAGE), 0);
        }
    }
    end();
}
END_TEST

START_TEST(what_lies_at_pages_of_the_image_is_mapped_directly)
{
    CLEAN(image_done_p) struct image image = sample_image(FLAG_EXT_POINTERS);
    uint8_t *whole, *longer, *tail, *cow, *packed;

    begin(&image, 0644);
    whole = map("aligned", 6, PROT_READ, MAP_SHARED);
    ck_assert(is_direct(whole) && is_direct(whole + 5 * PAGE));
    longer = map("gap", 4, PROT_READ, MAP_SHARED);
    ck_assert(is_direct(longer + PAGE) && !is_direct(longer + 2 * PAGE));
    tail = map("dirty", 3, PROT_READ, MAP_SHARED); /* what follows the file stays unseen */
    ck_assert(is_direct(tail + PAGE) && !is_direct(tail + 2 * PAGE));
    cow = map("full", 3, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    ck_assert(!is_direct(cow));
    packed = map("packed", 3, PROT_READ, MAP_SHARED);
    ck_assert(!is_direct(packed));
    expect_sample(find_sample("aligned"), whole);
    expect_sample(find_sample("gap"), longer);
    expect_sample(find_sample("dirty"), tail);
    ck_assert_int_eq(rig_signal_of(whole), 0);
    end();
}
END_TEST

/* Which of the flags that the three ways of population differ in a mapping has. */
static unsigned population_flags(const void *at)
{
    static const char *const names[] = {"io", "pfnmap", "mixedmap", "dontexpand", "dontdump"};
    unsigned found = 0;

    for (unsigned i = 0; i < N_ELEMENTS(names); i++)
        found |= client_vma_flag(&rig, at, names[i]) ? 1u << i : 0;
    return found;
}

enum { NONE = 0, PREFIX = 1u << 2, WHOLE = 1u << 0 | 1u << 1 | 1u << 3 | 1u << 4 };

/* As cramfs_mmap_prepare() of Linux chooses. @n_direct: pages that show the image itself. */
static const struct population {
    const char *name;
    size_t pgoff, n_pages;
    int prot, flags;
    unsigned mode;
    size_t n_direct;
} populations[] = {
    {"aligned", 0, 6, PROT_READ, MAP_SHARED, WHOLE, 6},
    {"aligned", 0, 6, PROT_READ, MAP_PRIVATE, WHOLE, 6},
    {"aligned", 2, 3, PROT_READ, MAP_SHARED, WHOLE, 3},
    {"aligned", 5, 1, PROT_READ, MAP_SHARED, WHOLE, 1}, /* the part of a page, zeros behind it */
    {"aligned", 0, 6, PROT_READ | PROT_WRITE, MAP_PRIVATE, NONE, 0}, /* may be written */
    {"aligned", 4, 3, PROT_READ, MAP_SHARED, PREFIX, 2},             /* goes on behind the end */
    {"aligned", 6, 1, PROT_READ, MAP_SHARED, NONE, 0},               /* begins behind it */
    {"aligned", 1000, 1, PROT_READ, MAP_SHARED, NONE, 0},
    {"gap", 0, 4, PROT_READ, MAP_SHARED, PREFIX, 2}, /* the run ends before the mapping does */
    {"gap", 2, 2, PROT_READ, MAP_SHARED, WHOLE, 2},
    {"mixed", 0, 9, PROT_READ, MAP_SHARED, PREFIX, 1},
    {"mixed", 1, 3, PROT_READ, MAP_SHARED, NONE, 0}, /* begins with a compressed block */
    {"packed", 0, 3, PROT_READ, MAP_SHARED, NONE, 0},
    {"holes", 0, 3, PROT_READ, MAP_SHARED, NONE, 0},
    {"odd", 0, 3, PROT_READ, MAP_SHARED, NONE, 0}, /* a run, which does not begin at a page */
    {"start", 0, 2, PROT_READ, MAP_SHARED, NONE, 0},
    {"dirty", 0, 3, PROT_READ, MAP_SHARED, PREFIX, 2}, /* other data behind the end */
    {"dirty", 0, 2, PROT_READ, MAP_SHARED, WHOLE, 2},
    {"dirty", 2, 1, PROT_READ, MAP_SHARED, NONE, 0}, /* one page fewer is none */
};

static void expect_population(const struct population *row, const uint8_t *bytes)
{
    const struct sample *sample = find_sample(row->name);
    const size_t n_blocks = strlen(sample->kinds);
    uint8_t expected[PAGE];

    ck_assert_msg(population_flags(bytes) == row->mode,
                  "%s from page %zu on has flags %#x, not %#x", row->name, row->pgoff,
                  population_flags(bytes), row->mode);
    for (size_t i = 0; i < row->n_pages; i++) {
        const uint8_t *page = bytes + i * PAGE;

        ck_assert_msg(is_direct(page) == (i < row->n_direct), "%s, page %zu", row->name, i);
        if (row->pgoff + i >= n_blocks) {
            ck_assert_int_eq(rig_signal_of(page), SIGBUS);
            continue;
        }
        sample_block(sample, (uint32_t)(row->pgoff + i), expected);
        ck_assert_mem_eq(page, expected, PAGE);
    }
}

START_TEST(the_way_of_population_is_the_one_that_linux_chooses)
{
    CLEAN(image_done_p) struct image image = sample_image(FLAG_EXT_POINTERS);

    begin(&image, 0644);
    for (size_t i = 0; i < N_ELEMENTS(populations); i++) {
        const struct population *row = &populations[i];
        const struct client_span span = {.len = row->n_pages * PAGE,
                                         .offset = (off_t)(row->pgoff * PAGE)};
        char name[64];
        uint8_t *bytes;

        (void)snprintf(name, sizeof(name), "cramfs/%s", row->name);
        bytes = client_map_at(muse, name, O_RDONLY, span, row->prot, row->flags);
        ck_assert_msg(bytes != MAP_FAILED, "%s: %s", name, muse_last_error_text());
        expect_population(row, bytes);
        ck_assert_int_eq(muse_munmap(muse, bytes, span.len), 0);
    }
    end();
}
END_TEST

/* mkfs.cramfs compresses every block, also where that makes it longer. */
START_TEST(an_image_without_uncompressed_blocks_is_paged)
{
    static const char *const names[] = {"size-4096", "size-4097", "hole", "real/text"};
    CLEAN(image_done_p) struct image image = made_image();

    begin(&image, 0644);
    for (size_t i = 0; i < N_ELEMENTS(names); i++) {
        const uint8_t *bytes = map(names[i], 1, PROT_READ, MAP_SHARED);

        ck_assert_uint_eq(population_flags(bytes), NONE);
        ck_assert(!is_direct(bytes));
    }
    end();
}
END_TEST

static void read_in_child(void *bytes)
{
    expect_sample(find_sample("gap"), bytes);
}

/* MIXEDMAP alone: what PFNMAP forbids is allowed. @_i: the other pages are there already */
START_TEST(a_mapping_that_shows_the_image_in_part_is_no_special_one)
{
    CLEAN(image_done_p) struct image image = sample_image(FLAG_EXT_POINTERS);
    const struct sample *gap = find_sample("gap");
    uint8_t *part, *whole, *cow;

    begin(&image, 0644);
    cow = map("gap", 4, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    if (_i == 1)
        expect_sample(gap, cow);
    part = map("gap", 4, PROT_READ, MAP_SHARED);
    expect_sample(gap, part);
    ck_assert_int_eq(muse_madvise(muse, part, 4 * PAGE, MADV_DONTNEED), 0);
    ck_assert_int_eq(muse_madvise(muse, part, 4 * PAGE, MADV_COLD), 0);
    expect_sample(gap, part);
    ck_assert(is_direct(part + PAGE) && !is_direct(part + 2 * PAGE));
    client_join(client_fork(read_in_child, part));
    ck_assert_ptr_eq(muse_mremap(muse, part, 4 * PAGE, 6 * PAGE, 0), MAP_FAILED);
    ck_assert_int_eq(errno, ENOMEM); /* VM_SPECIAL does not merge with what would be new */
    whole = map("aligned", 4, PROT_READ, MAP_SHARED);
    ck_assert_int_eq(muse_madvise(muse, whole, PAGE, MADV_DONTNEED), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_ptr_eq(muse_mremap(muse, whole, 4 * PAGE, 6 * PAGE, MREMAP_MAYMOVE), MAP_FAILED);
    ck_assert_int_eq(errno, EFAULT);
    end();
}
END_TEST

/* What is to replace others is made elsewhere, and moved: as one mapping, so that all comes by fault. */
START_TEST(a_mapping_of_both_kinds_replaces_others_and_is_replaced)
{
    CLEAN(image_done_p) struct image image = sample_image(FLAG_EXT_POINTERS);
    struct client_span span = {.len = 4 * PAGE};
    uint8_t *place;

    begin(&image, 0644);
    place = map("aligned", 6, PROT_READ, MAP_SHARED);
    span.addr = place;
    ck_assert_ptr_eq(
        client_map_at(muse, "cramfs/gap", O_RDONLY, span, PROT_READ, MAP_SHARED | MAP_FIXED),
        place);
    ck_assert(!is_direct(place) && is_direct(place + 4 * PAGE));
    ck_assert_uint_eq(population_flags(place), PREFIX);
    expect_sample(find_sample("gap"), place);
    ck_assert_int_eq(muse_munmap(muse, place, 6 * PAGE), 0);
    place = map("gap", 4, PROT_READ, MAP_SHARED);
    ck_assert(is_direct(place));
    ck_assert_ptr_eq(muse_mremap(muse, place, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
                                 place + 64 * PAGE),
                     MAP_FAILED);
    ck_assert_int_eq(errno, EFAULT); /* contract, section 5 */
    expect_sample(find_sample("gap"), place);
    span.addr = place;
    span.len = 3 * PAGE;
    ck_assert_ptr_eq(
        client_map_at(muse, "cramfs/packed", O_RDONLY, span, PROT_READ, MAP_SHARED | MAP_FIXED),
        place);
    expect_sample(find_sample("packed"), place);
    end();
}
END_TEST

/* What shows the image may be copied when it is written to, and the image stays as it is. */
START_TEST(a_mapping_of_the_image_that_becomes_writable_copies)
{
    CLEAN(image_done_p) struct image image = sample_image(FLAG_EXT_POINTERS);
    uint8_t *whole, *other;

    begin(&image, 0644);
    whole = map("aligned", 6, PROT_READ, MAP_PRIVATE);
    other = map("aligned", 6, PROT_READ, MAP_SHARED);
    ck_assert(is_direct(whole));
    ck_assert_int_eq(muse_mprotect(muse, other, PAGE, PROT_READ | PROT_WRITE), -1);
    ck_assert_int_eq(errno, EACCES);
    ck_assert_int_eq(muse_mprotect(muse, whole, 6 * PAGE, PROT_READ | PROT_WRITE), 0);
    whole[3 * PAGE] ^= 0xff;
    expect_sample(find_sample("aligned"), other);
    whole[3 * PAGE] ^= 0xff;
    expect_sample(find_sample("aligned"), whole);
    end();
}
END_TEST

START_TEST(a_private_write_stays_private)
{
    CLEAN(image_done_p) struct image image = sample_image(FLAG_EXT_POINTERS);
    uint8_t *cow, *other;

    begin(&image, 0644);
    cow = map("full", 3, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    other = map("full", 3, PROT_READ, MAP_PRIVATE);
    cow[PAGE] ^= 0xff;
    cow[2 * PAGE] ^= 0xff;
    expect_sample(find_sample("full"), other);
    cow[PAGE] ^= 0xff;
    cow[2 * PAGE] ^= 0xff;
    expect_sample(find_sample("full"), cow);
    end();
}
END_TEST

/* As a child of another user. */
static int read_as_nobody(void)
{
    uint8_t *bytes;
    bool direct;

    if (setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
        return 77;
    ck_assert_int_eq(muse_connect(&muse, NULL), 0);
    bytes = map("aligned", 6, PROT_READ, MAP_SHARED);
    expect_sample(find_sample("aligned"), bytes);
    direct = is_direct(bytes);
    muse_disconnect(muse);
    return direct;
}

static int status_of_nobody(void)
{
    int status = 0;
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        _exit(read_as_nobody());
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

START_TEST(who_may_not_read_the_image_gets_its_files_but_not_its_fd)
{
    static const mode_t modes[] = {0600, 0644};
    CLEAN(image_done_p) struct image image = sample_image(FLAG_EXT_POINTERS);

    begin(&image, modes[_i]);
    ck_assert_int_eq(status_of_nobody(), _i);
    end();
}
END_TEST

START_TEST(opening_says_what_is_wrong)
{
    static const struct {
        const char *name;
        int oflags;
        int error;
        const char *text;
    } cases[] = {
        {"cramfs/dangling", O_RDONLY, ELOOP, "nowhere/at/all"},
        {"cramfs/d/link/x", O_RDONLY, ELOOP, "../size-1"},
        {"cramfs/d", O_RDONLY, EISDIR, ""},
        {"cramfs/fifo", O_RDONLY, ENODEV, "regular"},
        {"cramfs/nothing", O_RDONLY, ENOENT, ""},
        {"cramfs/../../etc/passwd", O_RDONLY, ENOENT, ""},
        {"cramfs/hole", O_RDWR, EROFS, "read-only"},
    };
    CLEAN(image_done_p) struct image image = made_image();
    struct muse_file *file;

    begin(&image, 0644);
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        ck_assert_int_eq(muse_open(muse, cases[i].name, cases[i].oflags, &file), -1);
        ck_assert_msg(errno == cases[i].error, "%s: %s", cases[i].name, strerror(errno));
        ck_assert_msg(strstr(muse_last_error_text(), cases[i].text) != NULL, "%s: %s",
                      cases[i].name, muse_last_error_text());
    }
    end();
}
END_TEST

START_TEST(files_of_the_same_bytes_share_their_pages)
{
    CLEAN(image_done_p) struct image image = made_image();
    uint8_t *a, *b;
    json_t *objects;

    begin(&image, 0644);
    a = map("size-4096", 1, PROT_READ, MAP_SHARED);
    b = map("same-as-size-4096", 1, PROT_READ, MAP_SHARED);
    ck_assert_mem_eq(a, b, PAGE);
    objects = rig_ctl(&rig, "objects");
    ck_assert_uint_eq(
        json_array_size(json_is_array(objects) ? objects : json_object_get(objects, "objects")), 1);
    json_decref(objects);
    end();
}
END_TEST

/* Breaks the compressed block that "packed" has at its page 2. */
static void damage(struct image *image)
{
    CLEAN_FD int fd = memfd_of(image->bytes, image->n_bytes);
    CLEAN(cramfs_close_p) struct cramfs *fs = NULL;
    struct cramfs_inode inode;
    uint32_t end;

    ck_assert_int_eq(cramfs_open(fd, 0, &fs, NULL), 0);
    ck_assert_int_eq(cramfs_lookup(fs, "packed", &inode, NULL), 0);
    end = get32(image->bytes + inode.data_offset + 2 * 4);
    memset(image->bytes + end - 6, 0xff, 6);
}

START_TEST(a_damaged_page_is_sigbus_with_a_reason_and_hurts_no_other)
{
    CLEAN(image_done_p) struct image image = sample_image(FLAG_EXT_POINTERS);
    const struct sample *packed = find_sample("packed");
    struct muse_error why;
    uint8_t expected[PAGE];
    uint8_t *bytes;

    damage(&image);
    begin(&image, 0644);
    bytes = map("packed", 3, PROT_READ, MAP_SHARED);
    for (uint32_t block = 0; block < 2; block++) {
        sample_block(packed, block, expected);
        ck_assert_mem_eq(bytes + (size_t)block * PAGE, expected, PAGE);
    }
    ck_assert_int_eq(rig_signal_of(bytes + 2 * PAGE), SIGBUS);
    ck_assert_int_eq(muse_error_at(muse, bytes + 2 * PAGE, &why), 0);
    ck_assert_int_eq(why.error, EIO);
    ck_assert_str_eq(why.driver, "cramfs");
    ck_assert_uint_eq(why.offset, 2 * PAGE);
    ck_assert_msg(strstr(why.text, image_path) && strstr(why.text, "inode") &&
                      strstr(why.text, "block 2"),
                  "%s", why.text);
    ck_assert_int_eq(rig_signal_of(bytes + PAGE), 0);
    end();
}
END_TEST

START_TEST(a_shared_mapping_cannot_become_writable)
{
    CLEAN(image_done_p) struct image image = sample_image(FLAG_EXT_POINTERS);
    struct muse_file *file;

    begin(&image, 0644);
    ck_assert_int_eq(muse_open(muse, "cramfs/packed", O_RDONLY, &file), 0);
    ck_assert_ptr_eq(muse_mmap(muse, NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0),
                     MAP_FAILED);
    ck_assert_int_eq(errno, EACCES);
    ck_assert_int_eq(muse_close(file), 0);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("cramfs");

    if (access(mkfs, X_OK) < 0) {
        (void)fprintf(stderr, "skipped: %s is missing (util-linux)\n", mkfs);
        return 77;
    }
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, temp_set_up, temp_tear_down);
    tcase_add_test(tcase, every_kind_of_block_arrives_in_every_kind_of_mapping);
    tcase_add_test(tcase, what_lies_at_pages_of_the_image_is_mapped_directly);
    tcase_add_test(tcase, the_way_of_population_is_the_one_that_linux_chooses);
    tcase_add_test(tcase, an_image_without_uncompressed_blocks_is_paged);
    tcase_add_loop_test(tcase, a_mapping_that_shows_the_image_in_part_is_no_special_one, 0, 2);
    tcase_add_test(tcase, a_mapping_of_both_kinds_replaces_others_and_is_replaced);
    tcase_add_test(tcase, a_mapping_of_the_image_that_becomes_writable_copies);
    tcase_add_test(tcase, a_private_write_stays_private);
    if (geteuid() == 0) /* who else may become another user */
        tcase_add_loop_test(tcase, who_may_not_read_the_image_gets_its_files_but_not_its_fd, 0, 2);
    tcase_add_test(tcase, opening_says_what_is_wrong);
    tcase_add_test(tcase, files_of_the_same_bytes_share_their_pages);
    tcase_add_test(tcase, a_damaged_page_is_sigbus_with_a_reason_and_hurts_no_other);
    tcase_add_test(tcase, a_shared_mapping_cannot_become_writable);
    return unit_run("cramfs", tcase);
}
