/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The settings: one list of keys (CONFIG_KEYS) is read, set and printed here, besides the sections
 * whose keys are names: [quota], [drivers], [driver NAME].
 *
 * inih tells sections from keys. It is shown the head of each line only, and the value is kept
 * here: it would cut lines at 200 bytes and values at " ;", and a driver's command line may be
 * longer and have both.
 */
#include "server/config/config.h"

#include <errno.h>
#include <ini.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/number.h"
#include "common/base/own.h"
#include "proto/limits.h"
#include "server/quota/quota.h"

#define NS_PER_MS       UINT64_C(1000000)
/* Chosen: a deadline that is longer is none. */
#define DEADLINE_MAX_MS UINT64_C(86400000)
/* Chosen: a hundred years, far from where ns would not fit. */
#define AGE_MAX_MS      (UINT64_C(36500) * 86400000)

#define DRIVER_SECTION "driver "
#define UNLIMITED      "unlimited"

enum config_kind { CONFIG_TEXT, CONFIG_SIZE, CONFIG_MODE, CONFIG_COUNT };

struct config_key {
    const char *section, *key, *initial, *help;
    enum config_kind kind;
    size_t offset, size; /* of the field in struct config, bytes */
};

static const struct config_key config_keys[] = {
#define X(section, key, field, kind, initial, help)                                                \
    {#section,                                                                                     \
     #key,                                                                                         \
     initial,                                                                                      \
     help,                                                                                         \
     CONFIG_##kind,                                                                                \
     offsetof(struct config, field),                                                               \
     sizeof(((struct config *)0)->field)},
    CONFIG_KEYS(X)
#undef X
};

/* ---- values ---- */

static void print_size(FILE *out, uint64_t bytes)
{
    static const char units[] = "KMGT";
    unsigned n = 0;

    while (n < 4 && bytes != 0 && bytes % 1024 == 0) {
        bytes /= 1024;
        n++;
    }
    (void)fprintf(out, "%" PRIu64, bytes);
    if (n > 0)
        (void)fputc(units[n - 1], out);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* Whether @text comes back as it is from a configuration file. */
static bool is_one_line(const char *text)
{
    const size_t len = strlen(text);

    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < ' ' && text[i] != '\t')
            return false;
    }
    return len == 0 || (!is_space(text[0]) && !is_space(text[len - 1]));
}

static int set_text(char *field, size_t size, const char *value)
{
    if (strlen(value) >= size || !is_one_line(value))
        return -EINVAL;
    (void)memcpy(field, value, strlen(value) + 1);
    return 0;
}

/* ---- one key ---- */

static void *field_of(struct config *config, const struct config_key *key)
{
    return (char *)config + key->offset;
}

static uint64_t number_of(const struct config *config, const struct config_key *key)
{
    uint64_t value;

    (void)memcpy(&value, (const char *)config + key->offset, sizeof(value));
    return value;
}

static int set_key(struct config *config, const struct config_key *key, const char *value)
{
    uint64_t number = 0;
    int r = -EINVAL;

    switch (key->kind) {
    case CONFIG_TEXT:
        return set_text(field_of(config, key), key->size, value);
    case CONFIG_SIZE:
        r = size_parse(value, &number);
        break;
    case CONFIG_MODE:
        r = number_parse(value, 8, UINT64_MAX, &number);
        if (number > 0777)
            r = -EINVAL;
        break;
    case CONFIG_COUNT:
        r = number_parse(value, 10, UINT64_MAX, &number);
        break;
    }
    if (r == 0)
        (void)memcpy(field_of(config, key), &number, sizeof(number));
    return r;
}

static void print_key(const struct config *config, const struct config_key *key, FILE *out)
{
    (void)fprintf(out, "# %s\n%s = ", key->help, key->key);
    switch (key->kind) {
    case CONFIG_TEXT:
        (void)fputs((const char *)config + key->offset, out);
        break;
    case CONFIG_SIZE:
        print_size(out, number_of(config, key));
        break;
    case CONFIG_MODE:
        (void)fprintf(out, "%04" PRIo64, number_of(config, key));
        break;
    case CONFIG_COUNT:
        (void)fprintf(out, "%" PRIu64, number_of(config, key));
        break;
    }
    (void)fputc('\n', out);
}

/* ---- sections whose keys are names ---- */

static bool is_quota_key(const char *key)
{
    for (unsigned kind = 0; kind <= QUOTA_KIND_N; kind++) {
        if (strcmp(quota_key((enum quota_kind)kind), key) == 0)
            return true;
    }
    return false;
}

static int set_limit(struct config *config, const char *key, const char *value)
{
    uint64_t number = QUOTA_UNLIMITED;
    unsigned i = 0;

    if (!is_quota_key(key))
        return -ENOENT;
    if (strcmp(value, UNLIMITED) != 0 && size_parse(value, &number) < 0)
        return -EINVAL;
    while (i < config->n_limits && strcmp(config->limits[i].key, key) != 0)
        i++;
    if (i == N_ELEMENTS(config->limits) ||
        set_text(config->limits[i].key, sizeof(config->limits[i].key), key) < 0)
        return -EINVAL;
    config->limits[i].value = number;
    if (i == config->n_limits)
        config->n_limits++;
    return 0;
}

static int set_override(struct config *config, const char *driver, const char *key,
                        const char *value)
{
    uint64_t number;
    unsigned i = 0;

    if (strcmp(key, "hook_ms") != 0)
        return -ENOENT;
    if (driver[0] == '\0' || number_parse(value, 10, UINT64_MAX, &number) < 0 || number == 0 ||
        number > DEADLINE_MAX_MS)
        return -EINVAL;
    while (i < config->n_overrides && strcmp(config->overrides[i].driver, driver) != 0)
        i++;
    if (i == CONFIG_OVERRIDES_MAX ||
        set_text(config->overrides[i].driver, sizeof(config->overrides[i].driver), driver) < 0)
        return -EINVAL;
    config->overrides[i].hook_ms = number;
    if (i == config->n_overrides)
        config->n_overrides++;
    return 0;
}

int config_add_driver(struct config *config, const char *command)
{
    char *copy;

    if (command[0] == '\0' || !is_one_line(command))
        return -EINVAL;
    if (config->n_drivers == CONFIG_DRIVERS_MAX)
        return -ENOSPC;
    copy = strdup(command);
    if (!copy)
        return -ENOMEM;
    config->drivers[config->n_drivers++] = copy;
    return 0;
}

int config_set(struct config *config, const char *section, const char *key, const char *value)
{
    for (size_t i = 0; i < N_ELEMENTS(config_keys); i++) {
        if (strcmp(config_keys[i].section, section) == 0 && strcmp(config_keys[i].key, key) == 0)
            return set_key(config, &config_keys[i], value);
    }
    if (strcmp(section, "quota") == 0)
        return set_limit(config, key, value);
    if (strcmp(section, "drivers") == 0)
        return config_add_driver(config, value);
    if (strncmp(section, DRIVER_SECTION, sizeof(DRIVER_SECTION) - 1) == 0)
        return set_override(config, section + sizeof(DRIVER_SECTION) - 1, key, value);
    return -ENOENT;
}

/* ---- all of it ---- */

void config_init(struct config *config)
{
    *config = (struct config){.n_drivers = 0};
    for (size_t i = 0; i < N_ELEMENTS(config_keys); i++)
        MUST(set_key(config, &config_keys[i], config_keys[i].initial) == 0);
}

void config_done(struct config *config)
{
    for (unsigned i = 0; i < config->n_drivers; i++)
        free(config->drivers[i]);
    config->n_drivers = 0;
}

static int set_rundir(struct config *config, const char *folder, const char *below)
{
    const int len = snprintf(config->rundir, sizeof(config->rundir), "%s%s", folder, below);

    return len > 0 && (size_t)len < sizeof(config->rundir) ? 0 : -EINVAL;
}

static int choose_rundir(struct config *config)
{
    const char *env = getenv("MUSE_RUNDIR");
    const char *xdg = getenv("XDG_RUNTIME_DIR");

    if (config->rundir[0] != '\0')
        return 0;
    if (env && env[0] != '\0')
        return set_rundir(config, env, "");
    if (geteuid() == 0)
        return set_rundir(config, "/run/muse", "");
    return xdg && xdg[0] != '\0' ? set_rundir(config, xdg, "/muse") : -EINVAL;
}

static bool is_deadline(uint64_t ms)
{
    return ms > 0 && ms <= DEADLINE_MAX_MS;
}

static bool is_uffd_rule(const char *text)
{
    uint64_t uid;

    if (strcmp(text, "all") == 0 || strcmp(text, "root") == 0 || strcmp(text, "none") == 0)
        return true;
    return number_parse(text, 10, UINT32_MAX - 1, &uid) == 0;
}

int config_finish(struct config *config, const char **ret_why)
{
    const struct sockaddr_un *const address = NULL;
    const char *why = NULL;

    config->kernel_v1 = strcmp(config->contract, "kernel-v1") == 0;
    if (choose_rundir(config) < 0) {
        why = "rundir: none is given, and none follows from MUSE_RUNDIR or XDG_RUNTIME_DIR";
    } else if (strlen(config->rundir) + sizeof("/control.sock") > sizeof(address->sun_path)) {
        why = "rundir: too long for a socket's name";
    } else if (!config->kernel_v1 && strcmp(config->contract, "muse") != 0) {
        why = "contract: neither muse nor kernel-v1";
    } else if (!is_uffd_rule(config->hand_out_uffd)) {
        why = "hand_out_uffd: not all, root, none, or a uid";
    } else if (config->arena_bytes < ARENA_BYTES_MIN || config->arena_bytes > ARENA_BYTES_MAX ||
               config->arena_bytes % ARENA_BYTES_MIN != 0) {
        why = "arena: not a multiple of 2M between 2M and 32T";
    } else if (config->max_vmas == 0 || config->max_vmas > UINT32_MAX / 2) {
        why = "max_vmas: not between 1 and 2147483647";
    } else if (!is_deadline(config->hook_deadline_ms) ||
               !is_deadline(config->install_deadline_ms) ||
               !is_deadline(config->fork_deadline_ms)) {
        why = "deadlines: not between 1 ms and a day";
    } else if (config->writeback_ms > AGE_MAX_MS || config->return_ms > AGE_MAX_MS) {
        why = "writeback_ms, return_ms: more than a hundred years";
    }
    if (why) {
        *ret_why = why;
        return -EINVAL;
    }
    config->install_deadline_ns = config->install_deadline_ms * NS_PER_MS;
    config->fork_deadline_ns = config->fork_deadline_ms * NS_PER_MS;
    return 0;
}

/* The limits that will hold, as server.c sets them. */
static uint64_t limit_of(const struct config *config, const char *key)
{
    uint64_t value = QUOTA_UNLIMITED;
    struct quota_table quotas;

    quota_init(&quotas);
    MUST(quota_limit_get(&quotas, key, &value) == 0);
    quota_done(&quotas);
    for (unsigned i = 0; i < config->n_limits; i++) {
        if (strcmp(config->limits[i].key, key) == 0)
            value = config->limits[i].value;
    }
    if (strcmp(key, QUOTA_KEY_MEMORY) == 0 && config->memory_bytes > 0)
        value = config->memory_bytes;
    return value;
}

static void print_limits(const struct config *config, FILE *out)
{
    (void)fputs("\n# What each uid may hold; memory_bytes: all together. Also \"" UNLIMITED
                "\".\n[quota]\n",
                out);
    for (unsigned kind = 0; kind <= QUOTA_KIND_N; kind++) {
        const uint64_t value = limit_of(config, quota_key((enum quota_kind)kind));

        (void)fprintf(out, "# %s\n%s = ", quota_help((enum quota_kind)kind),
                      quota_key((enum quota_kind)kind));
        if (value == QUOTA_UNLIMITED)
            (void)fputs(UNLIMITED, out);
        else
            print_size(out, value);
        (void)fputc('\n', out);
    }
}

void config_print(const struct config *config, FILE *out)
{
    const char *section = "";

    for (size_t i = 0; i < N_ELEMENTS(config_keys); i++) {
        if (strcmp(section, config_keys[i].section) != 0) {
            (void)fprintf(out, "%s[%s]\n", i ? "\n" : "", config_keys[i].section);
            section = config_keys[i].section;
        }
        print_key(config, &config_keys[i], out);
    }
    print_limits(config, out);
    (void)fputs("\n# Command lines to start and supervise: NAME = COMMAND\n[drivers]\n", out);
    for (unsigned i = 0; i < config->n_drivers; i++)
        (void)fprintf(out, "driver%u = %s\n", i + 1, config->drivers[i]);
    for (unsigned i = 0; i < config->n_overrides; i++) {
        (void)fprintf(out, "\n[" DRIVER_SECTION "%s]\nhook_ms = %" PRIu64 "\n",
                      config->overrides[i].driver, config->overrides[i].hook_ms);
    }
}

uint64_t config_hook_deadline_ns(const struct config *config, const char *name)
{
    for (unsigned i = 0; i < config->n_overrides; i++) {
        if (strcmp(config->overrides[i].driver, name) == 0)
            return config->overrides[i].hook_ms * NS_PER_MS;
    }
    return config->hook_deadline_ms * NS_PER_MS;
}

bool config_hands_out_uffd(const struct config *config, uid_t uid)
{
    uint64_t allowed;

    if (strcmp(config->hand_out_uffd, "all") == 0)
        return true;
    if (strcmp(config->hand_out_uffd, "root") == 0)
        return uid == 0;
    return number_parse(config->hand_out_uffd, 10, UINT64_MAX, &allowed) == 0 && allowed == uid;
}

/* ---- the file ---- */

struct config_file {
    struct config *config;
    FILE *file;
    char *line; /* owned: by getline() */
    size_t size;
    const char *value; /* in line: what is behind the first = or : */
    unsigned n_lines;  /* the number of the line in hand */
    unsigned bad_line; /* that @why is about */
    char *why;         /* owned: the first thing that is wrong */
    int error;         /* -errno of that */
};

static void config_file_done(struct config_file *file)
{
    if (file->file)
        (void)fclose(file->file); /* was only read from */
    free(file->line);
    free(file->why);
}

__attribute__((format(printf, 3, 4))) static void refuse(struct config_file *file, int error,
                                                         const char *format, ...)
{
    va_list args;

    if (file->error != 0)
        return;
    file->error = error;
    file->bad_line = file->n_lines;
    va_start(args, format);
    if (vasprintf(&file->why, format, args) < 0)
        file->why = NULL;
    va_end(args);
}

/* Cuts white space off both ends. */
static char *trim(char *text, size_t len)
{
    while (len > 0 && (is_space(text[len - 1]) || text[len - 1] == '\n' || text[len - 1] == '\r'))
        text[--len] = '\0';
    while (is_space(*text))
        text++;
    return text;
}

/* inih's reader: the next line's name and separator, without the value. */
static char *next_line(char *buf, int size, void *ctx)
{
    struct config_file *file = ctx;
    ssize_t len = getline(&file->line, &file->size, file->file);
    char *text;
    size_t head;

    if (len < 0 || size <= 0)
        return NULL;
    file->n_lines++;
    file->value = "";
    text = trim(file->line, (size_t)len);
    head = strlen(text);
    if (text[0] == '#' || text[0] == ';') {
        head = 0;
    } else if (text[0] != '[') {
        head = strcspn(text, "=:");
        if (text[head] != '\0')
            head++;
        file->value = trim(text + head, strlen(text + head));
    }
    if (snprintf(buf, (size_t)size, "%.*s\n", (int)head, text) >= size) {
        refuse(file, -EINVAL, "line %u: the name is too long", file->n_lines);
        return NULL;
    }
    return buf;
}

/* inih's handler. */
static int on_value(void *ctx, const char *section, const char *name, const char *no_value)
{
    struct config_file *file = ctx;
    int r;

    (void)no_value;
    r = config_set(file->config, section, name, file->value);
    if (r == -ENOENT) {
        refuse(file, -EINVAL, "line %u: [%s] %s: no such setting", file->n_lines, section, name);
    } else if (r < 0) {
        refuse(file, r, "line %u: [%s] %s: not a value for it: %s", file->n_lines, section, name,
               file->value);
    }
    return r == 0;
}

int config_load(struct config *config, const char *path, char **ret_why)
{
    CLEAN(config_file_done) struct config_file file = {.config = config};
    int r;

    file.file = fopen(path, "re");
    if (!file.file) {
        r = -errno;
        *ret_why = strdup(strerror(-r));
        return r;
    }
    r = ini_parse_stream(next_line, &file, on_value, &file);
    if (ferror(file.file))
        refuse(&file, -EIO, "line %u: cannot be read", file.n_lines + 1);
    if (r > 0 && (unsigned)r < file.bad_line) { /* inih goes on after a line it cannot read */
        file.error = 0;
        free(TAKE(file.why));
    }
    if (r > 0)
        refuse(&file, -EINVAL, "line %d: neither [section] nor key = value", r);
    if (r < 0)
        refuse(&file, -ENOMEM, "no memory");
    if (file.error != 0)
        *ret_why = TAKE(file.why);
    return file.error;
}
