/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * drivers/vmcore/elf_core.h on cores of both classes and on damaged ones, and the words of --oldmem.
 * The reader checks that nothing is asked for outside the file.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "drivers/vmcore/elf_core.h"
#include "drivers/vmcore/oldmem.h"
#include "tests/support/core_sample.h"
#include "tests/support/unit.h"

static const struct core_segment loads[] = {
    {0x1000, 0x3000}, {0x4321, 5}, {1ull << 40, 0x1000}, {0}};

struct image {
    uint8_t bytes[8192];
    size_t n_bytes;
    int error; /* what reading fails with */
};

static int read_image(void *arg, uint64_t offset, void *buf, size_t n_bytes)
{
    const struct image *image = arg;

    UNIT_EXPECT(offset <= image->n_bytes && n_bytes <= image->n_bytes - offset);
    if (image->error == 0)
        memcpy(buf, image->bytes + offset, n_bytes);
    return image->error;
}

static struct image sample(void)
{
    struct image image = {.n_bytes = core_headers_bytes(N_ELEMENTS(loads))};

    core_headers(image.bytes, loads, N_ELEMENTS(loads));
    return image;
}

static Elf64_Ehdr *header_of(struct image *image)
{
    return (Elf64_Ehdr *)(void *)image->bytes;
}

static Elf64_Phdr *load_of(struct image *image, unsigned i)
{
    return (Elf64_Phdr *)(void *)(image->bytes + sizeof(Elf64_Ehdr)) + 1 + i;
}

static void expect_loads(struct image *image)
{
    struct elf_segment *segments = NULL;
    struct elf_core_error err = {.text = ""};
    unsigned n = 0;

    ck_assert_msg(elf_core_parse(read_image, image, image->n_bytes, &segments, &n, &err) == 0, "%s",
                  err.text);
    ck_assert_uint_eq(n, N_ELEMENTS(loads));
    for (unsigned i = 0; i < n; i++) {
        ck_assert_uint_eq(segments[i].offset, loads[i].offset);
        ck_assert_uint_eq(segments[i].n_bytes, loads[i].n_bytes);
    }
    free(segments);
}

static void expect_refused(struct image *image, int error, const char *sentence)
{
    struct elf_segment *segments = NULL;
    struct elf_core_error err = {.text = ""};
    unsigned n = 0;

    ck_assert_int_eq(elf_core_parse(read_image, image, image->n_bytes, &segments, &n, &err), error);
    ck_assert_msg(strstr(err.text, sentence), "\"%s\" is not in \"%s\"", sentence, err.text);
    ck_assert_ptr_null(segments);
}

START_TEST(segments_are_found_in_the_order_of_the_headers)
{
    struct image image = sample();

    expect_loads(&image);
}
END_TEST

START_TEST(a_core_of_32_bits_is_read_too)
{
    Elf32_Ehdr header = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS32, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_CORE,
        .e_machine = EM_386,
        .e_version = EV_CURRENT,
        .e_phoff = 100,
        .e_ehsize = sizeof(Elf32_Ehdr),
        .e_phentsize = sizeof(Elf32_Phdr),
        .e_phnum = 2};
    const Elf32_Phdr entries[] = {{.p_type = PT_NOTE, .p_offset = 7, .p_filesz = 9},
                                  {.p_type = PT_LOAD, .p_offset = 0xfffff000, .p_filesz = 0xfff}};
    struct image image = {.n_bytes = 100 + sizeof(entries)};
    struct elf_core_error err;
    struct elf_segment *segments;
    unsigned n;

    memcpy(image.bytes, &header, sizeof(header));
    memcpy(image.bytes + 100, entries, sizeof(entries));
    ck_assert_int_eq(elf_core_parse(read_image, &image, image.n_bytes, &segments, &n, &err), 0);
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_eq(segments[0].offset, 0xfffff000);
    ck_assert_uint_eq(segments[0].n_bytes, 0xfff);
    free(segments);
    image.n_bytes--;
    expect_refused(&image, -ENOEXEC, "2 program headers at 0x64 are not all inside the file");
}
END_TEST

START_TEST(a_number_too_large_for_the_header_is_in_the_first_section_header)
{
    struct image image = sample();
    const Elf64_Shdr section = {.sh_info = N_ELEMENTS(loads) + 1};

    header_of(&image)->e_phnum = PN_XNUM;
    expect_refused(&image, -ENOEXEC, "the number of program headers is nowhere");
    header_of(&image)->e_shoff = image.n_bytes;
    expect_refused(&image, -ENOEXEC, "the first section header: not all inside the file");
    memcpy(image.bytes + image.n_bytes, &section, sizeof(section));
    image.n_bytes += sizeof(section);
    expect_loads(&image);
}
END_TEST

START_TEST(what_is_no_core_is_refused_with_the_reason)
{
    static const struct {
        size_t offset;
        uint8_t byte;
        const char *sentence;
    } rows[] = {
        {EI_MAG2, 'l', "does not begin as an ELF file"},
        {EI_CLASS, 3, "class 3"},
        {EI_DATA, ELFDATA2MSB, "little endian"},
        {EI_VERSION, 2, "ELF version 2"},
        {offsetof(Elf64_Ehdr, e_type), ET_DYN, "type 3: it is an ELF file, but no core"},
        {offsetof(Elf64_Ehdr, e_version), 7, "ELF version 7"},
        {offsetof(Elf64_Ehdr, e_phentsize), 32, "program headers of 32 bytes, not 56"},
        {offsetof(Elf64_Ehdr, e_phnum), 0, "no program headers"},
        {offsetof(Elf64_Ehdr, e_phnum), 6, "6 program headers at 0x40 are not all inside"},
        {offsetof(Elf64_Ehdr, e_phoff) + 7, 0xff, "not all inside the file"},
    };

    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        struct image image = sample();

        image.bytes[rows[i].offset] = rows[i].byte;
        expect_refused(&image, -ENOEXEC, rows[i].sentence);
    }
}
END_TEST

/* As in a dump of QEMU 7.2. */
START_TEST(the_size_that_the_header_says_of_itself_does_not_count)
{
    struct image image = sample();

    header_of(&image)->e_ehsize = 8;
    expect_loads(&image);
}
END_TEST

START_TEST(more_headers_than_are_looked_at_are_refused_before_any_memory_is_asked_for)
{
    struct image image = sample();
    const Elf64_Shdr section = {.sh_info = ELF_CORE_HEADERS_MAX + 1};

    header_of(&image)->e_phnum = PN_XNUM;
    header_of(&image)->e_shoff = image.n_bytes;
    memcpy(image.bytes + image.n_bytes, &section, sizeof(section));
    image.n_bytes += sizeof(section);
    expect_refused(&image, -ENOEXEC, "131073 program headers are more than 131072");
}
END_TEST

START_TEST(a_segment_ends_below_2_to_the_46)
{
    struct image image = sample();

    load_of(&image, 2)->p_filesz = ELF_CORE_BYTES_MAX - loads[2].offset + 1;
    expect_refused(&image, -ENOEXEC, "segment 2: ");
    load_of(&image, 2)->p_filesz = UINT64_MAX - loads[2].offset + 1;
    expect_refused(&image, -ENOEXEC, "segment 2: ");
    load_of(&image, 0)->p_offset = UINT64_MAX;
    expect_refused(&image, -ENOEXEC, "segment 0: ");
}
END_TEST

START_TEST(every_file_that_is_too_short_is_refused_and_every_byte_may_be_wrong)
{
    struct image image = sample();
    const size_t n_bytes = image.n_bytes;
    struct elf_core_error err;
    unsigned n;

    for (image.n_bytes = 0; image.n_bytes < n_bytes; image.n_bytes++)
        expect_refused(&image, -ENOEXEC, "not all inside the file");
    for (size_t i = 0; i < n_bytes; i++) {
        for (unsigned value = 0; value < 256; value += 15) {
            struct image bad = sample();
            struct elf_segment *segments = NULL;

            bad.bytes[i] = (uint8_t)value;
            (void)!elf_core_parse(read_image, &bad, bad.n_bytes, &segments, &n, &err);
            free(segments);
        }
    }
}
END_TEST

START_TEST(an_error_of_reading_is_passed_on_with_its_name)
{
    struct image image = sample();

    image.error = -EIO;
    expect_refused(&image, -EIO, "the ELF header: Input/output error");
}
END_TEST

START_TEST(words_of_oldmem_name_a_segment_a_file_and_a_place_in_it)
{
    static const struct {
        const char *text, *path;
        unsigned segment;
        uint64_t offset;
    } good[] = {{"0=mem", "mem", 0, 0},         {"12=/a/b@4096", "/a/b", 12, 4096},
                {"1=a@b@0x10", "a@b", 1, 0x10}, {"1=a@b", "a@b", 1, 0},
                {"1=@7", "@7", 1, 0},           {"1=a@70368744177664", "a@70368744177664", 1, 0},
                {"2=x=y", "x=y", 2, 0}};
    static const char *const bad[] = {
        "", "1", "=a", "x=a", "1=", "-1=a", "131073=a", "1 =a", "99999999999999999999=a"};
    struct oldmem oldmem;

    for (size_t i = 0; i < N_ELEMENTS(good); i++) {
        ck_assert_msg(oldmem_parse(good[i].text, &oldmem) == 0, "%s", good[i].text);
        ck_assert_str_eq(oldmem.path, good[i].path);
        ck_assert_uint_eq(oldmem.segment, good[i].segment);
        ck_assert_uint_eq(oldmem.offset, good[i].offset);
        free(oldmem.path);
    }
    for (size_t i = 0; i < N_ELEMENTS(bad); i++)
        ck_assert_msg(oldmem_parse(bad[i], &oldmem) == -EINVAL, "%s", bad[i]);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("elf_core");

    tcase_add_test(tcase, segments_are_found_in_the_order_of_the_headers);
    tcase_add_test(tcase, a_core_of_32_bits_is_read_too);
    tcase_add_test(tcase, a_number_too_large_for_the_header_is_in_the_first_section_header);
    tcase_add_test(tcase, the_size_that_the_header_says_of_itself_does_not_count);
    tcase_add_test(tcase, what_is_no_core_is_refused_with_the_reason);
    tcase_add_test(tcase,
                   more_headers_than_are_looked_at_are_refused_before_any_memory_is_asked_for);
    tcase_add_test(tcase, a_segment_ends_below_2_to_the_46);
    tcase_add_test(tcase, every_file_that_is_too_short_is_refused_and_every_byte_may_be_wrong);
    tcase_add_test(tcase, an_error_of_reading_is_passed_on_with_its_name);
    tcase_add_test(tcase, words_of_oldmem_name_a_segment_a_file_and_a_place_in_it);
    return unit_run("elf_core", tcase);
}
