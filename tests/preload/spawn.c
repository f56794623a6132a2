/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program that starts others with file actions about the files of a folder, and that lets the C library walk
 * through it. spawn.sh compares what it says on a plain folder and on a served one.
 *
 *     spawn FOLDER       FOLDER holds text, sub/inner, sub/second and link -> sub, and can be written to
 */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/preload/say.h"

extern char **environ;

static posix_spawn_file_actions_t actions;

static unsigned count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    while (dir && readdir(dir))
        n++;
    if (dir)
        (void)closedir(dir);
    return n;
}

/* By the shell, so that what was opened is read and written by a child's child, too. */
static void spawn(const char *what, const char *command)
{
    char *const argv[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c",
                          (char *)(uintptr_t)command, NULL};
    int status = 0, r;
    pid_t pid;

    (void)fflush(stdout);
    r = posix_spawnp(&pid, "sh", &actions, NULL, argv, environ);
    if (r == 0)
        (void)waitpid(pid, &status, 0);
    printf("%-34s %s, status %#x\n", what, r ? strerrorname_np(r) : "started", status);
}

static void begin(void)
{
    (void)posix_spawn_file_actions_init(&actions);
}

static void end(void)
{
    (void)posix_spawn_file_actions_destroy(&actions);
}

static void say_file(const char *name)
{
    char bytes[200] = "";
    const int fd = open(path(name), O_RDONLY);

    (void)say_result(name, read(fd, bytes, sizeof(bytes) - 1));
    printf("    %s\n", bytes);
    (void)close(fd);
}

/* ---- opening ---- */

static void opens(void)
{
    begin();
    printf("%d\n", posix_spawn_file_actions_addopen(&actions, 0, path("text"), O_RDONLY, 0));
    spawn("read from standard input", "head -n 2; wc -c");
    spawn("and once more, from the start", "head -n 1");
    end();
    begin();
    (void)posix_spawn_file_actions_addopen(&actions, 0, path("text"), O_RDONLY, 0);
    (void)posix_spawn_file_actions_addopen(&actions, 1, path("new"), O_WRONLY | O_CREAT | O_APPEND,
                                           0640);
    (void)posix_spawn_file_actions_adddup2(&actions, 1, 2);
    (void)posix_spawn_file_actions_addclose(&actions, 7);
    spawn("append to a new one", "head -n 1; echo error >&2");
    spawn("and again", "tail -n 1");
    end();
    say_file("new");
    begin();
    (void)posix_spawn_file_actions_addopen(&actions, 1, path("new"), O_WRONLY | O_TRUNC, 0);
    spawn("made empty", ":");
    end();
    say_file("new");
    printf("%d\n", unlink(path("new")));
}

static void failures(void)
{
    begin();
    printf("%s\n",
           strerrorname_np(posix_spawn_file_actions_addopen(&actions, -1, path("text"), 0, 0)));
    (void)posix_spawn_file_actions_addopen(&actions, 0, path("none"), O_RDONLY, 0);
    spawn("what is not there", "echo started");
    end();
    begin();
    (void)posix_spawn_file_actions_addopen(&actions, 1, path("sub"), O_WRONLY, 0);
    spawn("a folder to write to", "echo started");
    end();
    begin();
    (void)posix_spawn_file_actions_addopen(&actions, 9, path("text/"), O_RDONLY, 0);
    spawn("a file as a folder", "echo started");
    end();
    begin();
    (void)posix_spawn_file_actions_addchdir_np(&actions, path("none"));
    spawn("into what is not there", "echo started");
    end();
    begin();
    (void)posix_spawn_file_actions_addchdir_np(&actions, path("text"));
    spawn("into a file", "echo started");
    end();
    begin();
    (void)posix_spawn_file_actions_addopen(&actions, 0, path("later"), O_RDONLY, 0);
    (void)close(open(path("later"), O_WRONLY | O_CREAT, 0600));
    spawn("opened when it is started", "wc -c");
    end();
    printf("%d\n", unlink(path("later")));
}

/* ---- folders ---- */

static void folders(void)
{
    const int dir = open(path("sub"), O_RDONLY | O_DIRECTORY);

    begin();
    (void)posix_spawn_file_actions_addchdir_np(&actions, path("sub"));
    (void)posix_spawn_file_actions_addopen(&actions, 0, "inner", O_RDONLY, 0);
    spawn("in another folder", "cat; cat inner ../text | wc -l");
    end();
    begin();
    (void)posix_spawn_file_actions_addfchdir_np(&actions, dir);
    (void)posix_spawn_file_actions_addchdir_np(&actions, "..");
    spawn("in that of a descriptor, and up", "cat sub/inner");
    end();
    (void)close(dir);
    printf("%d\n", chdir(path("sub")));
    begin();
    spawn("where the program is", "cat inner");
    (void)posix_spawn_file_actions_addchdir_np(&actions, "/usr");
    (void)posix_spawn_file_actions_addopen(&actions, 0, "inner", O_RDONLY, 0);
    spawn("elsewhere", "cat inner");
    end();
    begin();
    (void)posix_spawn_file_actions_addchdir_np(&actions, "/usr");
    spawn("in /usr", "pwd; test -d bin && echo there is a bin");
    end();
    printf("%d\n", chdir("/"));
}

/* ---- walks ---- */

static char seen[64][300];
static unsigned n_seen;

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void say_seen(const char *what, long r)
{
    qsort(seen, n_seen, sizeof(seen[0]), compare);
    (void)say_result(what, r);
    for (unsigned i = 0; i < n_seen; i++)
        printf("    %s\n", seen[i]);
    n_seen = 0;
}

static int on_name(const char *name, const struct stat *stat, int type, struct FTW *place)
{
    const bool is_here = access(name + place->base, F_OK) == 0;

    (void)snprintf(seen[n_seen++], sizeof(seen[0]), "%s type %d level %d base %s size %ld %s", name,
                   type, place->level, name + place->base,
                   S_ISREG(stat->st_mode) ? (long)stat->st_size : -1L, is_here ? "here" : "");
    return 0;
}

static int on_old_name(const char *name, const struct stat *stat, int type)
{
    (void)snprintf(seen[n_seen++], sizeof(seen[0]), "%s type %d regular %d", name, type,
                   S_ISREG(stat->st_mode));
    return 0;
}

static int stop_at_inner(const char *name, const struct stat *stat, int type, struct FTW *place)
{
    (void)stat;
    (void)type;
    return strcmp(name + place->base, "inner") == 0 ? 17 : 0;
}

static int skip_sub(const char *name, const struct stat *stat, int type, struct FTW *place)
{
    (void)on_name(name, stat, type, place);
    return strcmp(name + place->base, "sub") == 0 ? FTW_SKIP_SUBTREE : FTW_CONTINUE;
}

static void say_glob(const char *pattern, int flags)
{
    glob_t found = {0};
    const int r = glob(pattern, flags, NULL, &found);

    (void)say_result(
        strncmp(pattern, folder, strlen(folder)) == 0 ? pattern + strlen(folder) : pattern, r);
    for (size_t i = 0; r == 0 && i < found.gl_pathc; i++)
        printf("    %s\n", found.gl_pathv[i]);
    globfree(&found);
}

static void walks(void)
{
    say_seen("nftw", nftw(folder, on_name, 5, 0));
    say_seen("nftw, links as such", nftw(folder, on_name, 5, FTW_PHYS));
    say_seen("nftw, folders last", nftw(folder, on_name, 5, FTW_PHYS | FTW_DEPTH | FTW_MOUNT));
    say_seen("nftw, going there", nftw(folder, on_name, 5, FTW_PHYS | FTW_CHDIR));
    printf("%d\n", chdir(folder));
    say_seen("nftw, going there from here", nftw(".", on_name, 5, FTW_PHYS | FTW_CHDIR));
    say_seen("nftw, from beside it", nftw("sub", on_name, 5, FTW_CHDIR));
    say_glob("*", 0);
    printf("%d\n", chdir("/"));
    say_seen("nftw, without a part", nftw(folder, skip_sub, 5, FTW_PHYS | FTW_ACTIONRETVAL));
    say_seen("nftw, stopped", nftw(folder, stop_at_inner, 5, FTW_PHYS));
    say_seen("nftw of a file", nftw(path("text"), on_name, 5, 0));
    say_seen("nftw of nothing", nftw(path("none"), on_name, 5, 0));
    say_seen("ftw", ftw(folder, on_old_name, 5));
}

static void globs(void)
{
    say_glob(path("*"), 0);
    say_glob(path("*/*"), GLOB_MARK);
    say_glob(path("*"), GLOB_MARK | GLOB_ONLYDIR);
    say_glob(path("t?xt"), 0);
    say_glob(path("none*"), 0);
    say_glob(path("none*"), GLOB_NOCHECK);
    say_glob(path("{text,sub/*}"), GLOB_BRACE);
    printf("%d\n", chdir(path("sub")));
    say_glob("i*", 0);
    say_glob("../*", 0);
    printf("%d\n", chdir("/"));
    say_glob("/et[c]", 0);
}

int main(int argc, char **argv)
{
    unsigned n_fds;

    if (argc != 2)
        return 2;
    folder = argv[1];
    (void)close(open(path("text"), O_RDONLY)); /* the library has a connection from now on */
    n_fds = count_fds();
    opens();
    failures();
    folders();
    walks();
    globs();
    printf("%s\n", count_fds() == n_fds ? "as many descriptors as before" : "descriptors are left");
    return 0;
}
