/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rights, offset and sharing of each page of both windows. Reserved addresses look as anonymous
 * memory without access; only musectl tells them from mappings.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>

#include "tests/differential/compare.h"

struct shown {
    char perms[5]; /* "": not mapped */
    uint64_t pgoff;
};

struct table {
    struct shown pages[WINDOW_PAGES];
};

/* One mapping; private anonymous memory has no offset. */
struct line {
    uint64_t start, end, pgoff;
    const char *perms;
    bool is_anon;
};

/* What /proc/self/maps says of one mapping. */
struct entry {
    unsigned long long start, end, offset, inode;
    char perms[8];
};

/* Return: whether there is one more. */
static bool next_entry(FILE *maps, struct entry *ret)
{
    char text[512];

    while (fgets(text, sizeof(text), maps)) {
        /* NOLINTNEXTLINE(cert-err34-c): the kernel's own numbers */
        if (sscanf(text, "%llx-%llx %7s %llx %*s %llu", &ret->start, &ret->end, ret->perms,
                   &ret->offset, &ret->inode) == 5)
            return true;
    }
    return false;
}

static void show(struct table *table, const char *window, const struct line *line)
{
    for (size_t page = 0; page < WINDOW_PAGES; page++) {
        const uint64_t addr = (uintptr_t)window + page * PAGE;
        struct shown *shown = &table->pages[page];

        if (addr < line->start || addr >= line->end)
            continue;
        (void)snprintf(shown->perms, sizeof(shown->perms), "%.4s", line->perms);
        shown->pgoff = line->is_anon ? 0 : line->pgoff + (addr - line->start) / PAGE;
    }
}

static void read_kernel(const struct worlds *worlds, struct table *kernel, struct table *ours)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    struct entry entry;

    ck_assert_ptr_nonnull(maps);
    while (next_entry(maps, &entry)) {
        const struct line line = {entry.start, entry.end, entry.offset / PAGE, entry.perms,
                                  entry.inode == 0};

        show(kernel, worlds->kernel.window, &line);
        show(ours, worlds->ours.window, &line);
    }
    (void)fclose(maps);
}

static bool goes_on(const struct entry *entry, const struct entry *next)
{
    return entry->end == next->start && entry->inode == next->inode &&
           strcmp(entry->perms, next->perms) == 0 &&
           (entry->inode == 0 || entry->offset + (entry->end - entry->start) == next->offset);
}

/* Return: how many. */
static size_t window_entries(const char *window, struct entry ret[WINDOW_PAGES])
{
    const uint64_t start = (uintptr_t)window, end = start + WINDOW_BYTES;
    FILE *maps = fopen("/proc/self/maps", "re");
    struct entry entry;
    size_t n = 0;

    ck_assert_ptr_nonnull(maps);
    while (next_entry(maps, &entry)) {
        if (entry.start < end && entry.end > start)
            ret[n++] = entry;
    }
    (void)fclose(maps);
    return n;
}

bool layout_run(const char *window, uint64_t at, struct run *ret)
{
    const uint64_t base = (uintptr_t)window;
    struct entry entries[WINDOW_PAGES];
    const size_t n = window_entries(window, entries);
    size_t i = 0, first, last;

    while (i < n && entries[i].end <= base + at)
        i++;
    if (i == n || entries[i].start > base + at)
        return false;
    for (first = i; first > 0 && goes_on(&entries[first - 1], &entries[first]); first--)
        ;
    for (last = i; last + 1 < n && goes_on(&entries[last], &entries[last + 1]); last++)
        ;
    ret->start = entries[first].start > base ? entries[first].start - base : 0;
    ret->end = entries[last].end - base < WINDOW_BYTES ? entries[last].end - base : WINDOW_BYTES;
    ret->is_one = first == last;
    ret->is_anon = entries[i].inode == 0;
    return true;
}

static bool compare_tables(const struct table *kernel, const struct table *ours, size_t n_perms,
                           const char *where, struct finding *ret)
{
    for (size_t page = 0; page < WINDOW_PAGES; page++) {
        const struct shown *one = &kernel->pages[page], *other = &ours->pages[page];

        if (strncmp(one->perms, other->perms, n_perms) == 0 && one->pgoff == other->pgoff)
            continue;
        return difference_of(ret, FOUND_LAYOUT,
                             "page %zu in %s: the kernel has %s %" PRIu64 ", Muse %s %" PRIu64,
                             page, where, one->perms, one->pgoff, other->perms, other->pgoff);
    }
    return true;
}

static void forget_reserved(struct table *table)
{
    for (size_t page = 0; page < WINDOW_PAGES; page++) {
        if (strncmp(table->pages[page].perms, "---", 3) == 0)
            table->pages[page] = (struct shown){.pgoff = 0};
    }
}

bool compare_layout(const struct worlds *worlds, struct finding *ret)
{
    struct table kernel = {0}, ours = {0};

    read_kernel(worlds, &kernel, &ours);
    for (size_t page = 0; page < WINDOW_PAGES; page++) {
        if (strcmp(kernel.pages[page].perms, "rw-s") == 0 && ours.pages[page].perms[3] != 's')
            return difference_of(ret, FOUND_LAYOUT, "page %zu is not shared, but writable", page);
    }
    forget_reserved(&kernel);
    forget_reserved(&ours);
    return compare_tables(&kernel, &ours, 3, "/proc/self/maps", ret);
}

/* ---- musectl maps ---- */

static long long number(json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

static const char *string(json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static long long own_space(const struct rig *rig)
{
    json_t *spaces = rig_ctl(rig, "spaces");
    long long id = -1;
    json_t *space;
    size_t i;

    json_array_foreach(json_entries(spaces), i, space)
    {
        if (number(space, "pid") == getpid())
            id = number(space, "id");
    }
    json_decref(spaces);
    return id;
}

static void read_ours(const struct worlds *worlds, const struct rig *rig, struct table *ret)
{
    json_t *document, *map;
    char command[64];
    size_t i;

    (void)snprintf(command, sizeof(command), "maps %lld", own_space(rig));
    document = rig_ctl(rig, command);
    json_array_foreach(json_entries(document), i, map)
    {
        const char *perms = string(map, "perms");
        const struct line line = {(uint64_t)number(map, "start"), (uint64_t)number(map, "end"),
                                  (uint64_t)number(map, "pgoff"), perms,
                                  !string(map, "object") && perms[3] == 'p'};

        if (strcmp(string(map, "state"), "mapped") == 0)
            show(ret, worlds->ours.window, &line);
    }
    json_decref(document);
}

bool compare_maps(const struct worlds *worlds, const struct rig *rig, struct finding *ret)
{
    struct table kernel = {0}, ours = {0}, told = {0};

    read_kernel(worlds, &kernel, &ours);
    read_ours(worlds, rig, &told);
    return compare_tables(&kernel, &told, 4, "musectl maps", ret);
}
