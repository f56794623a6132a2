/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs the paths, each with a driver of its own, and writes the report. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "kit/paths.h"

static const char clients_path[] = "clients_are_killed";
static const char clients_row[] = "a real server, four clients at once, killed at random";

bool muse_check_path(unsigned index, const char **ret_path, const char **ret_row)
{
    if (index > n_paths)
        return false;
    *ret_path = index < n_paths ? paths[index].name : clients_path;
    *ret_row = index < n_paths ? paths[index].row : clients_row;
    return true;
}

static bool is_wanted(const struct muse_check_options *options, const char *path)
{
    return !options->only || strcmp(options->only, path) == 0;
}

static struct muse_check_result *add(struct muse_check_report *report, const char *path,
                                     const char *row)
{
    struct muse_check_result *result = &report->results[report->n_results++];

    *result = (struct muse_check_result){.path = path, .row = row};
    return result;
}

static void set(struct muse_check_report *report, struct muse_check_result *result, int r,
                const char *why)
{
    result->verdict = r == 0  ? MUSE_CHECK_PASS
                      : r < 0 ? MUSE_CHECK_FAIL
                              : MUSE_CHECK_NOT_APPLICABLE;
    report->n_failed += r < 0;
    if (r != 0)
        (void)snprintf(result->why, sizeof(result->why), "%s", why);
}

/* Also what it did wrong without anybody having waited for it. */
static void run_path(const struct path *path, const struct muse_check_options *options,
                     struct muse_check_report *report)
{
    struct muse_check_result *result = add(report, path->name, path->row);
    const char *why = "";
    struct play play;
    int r = play_start(&play, options);

    if (r == 0)
        r = path->run(&play, &why);
    for (unsigned i = 1; r < 0 && i < PLAY_TRIES && play_try_again(&play); i++)
        r = path->run(&play, &why);
    if (play.peer.complaint[0])
        r = -1;
    set(report, result, r, r < 0 ? play.peer.complaint : why);
    report->n_prepared += play.n_prepared;
    report->n_completed += play.n_completed;
    report->n_aborted += play.n_aborted;
    play_stop(&play);
}

static void run_clients(const struct muse_check_options *options, struct muse_check_report *report)
{
    struct muse_check_result *result = add(report, clients_path, clients_row);
    char why[sizeof(result->why)] = "no server was named";
    int r = options->mused ? clients_run(options, why, sizeof(why)) : 1;

    set(report, result, r, why);
}

int muse_check_run(const struct muse_check_options *options, struct muse_check_report *ret_report)
{
    struct play play;
    int r;

    *ret_report = (struct muse_check_report){.n_results = 0};
    if (options->struct_size != sizeof(*options) || !options->command || !options->object) {
        errno = EINVAL;
        return -1;
    }
    r = play_start(&play, options);
    if (r < 0)
        set(ret_report, add(ret_report, "starts", "the driver connects and opens the object"), r,
            play.peer.complaint);
    play_stop(&play);
    if (r < 0) {
        errno = ECONNABORTED;
        return -1;
    }
    for (unsigned i = 0; i < n_paths; i++) {
        if (is_wanted(options, paths[i].name))
            run_path(&paths[i], options, ret_report);
    }
    if (is_wanted(options, clients_path))
        run_clients(options, ret_report);
    return 0;
}
