/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads as much of an ELF file as says how it is loaded: program headers, and the names of
 * sections. */
#define _GNU_SOURCE
#include "cli/run/program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/base/own.h"

#define SCRIPTS_MAX      4 /* interpreters of interpreters; Linux has the same limit */
#define SECTIONS_MAX     4096
#define NAMES_BYTES_MAX  (1u << 20) /* of section names; chosen: far more than any program has */
#define FIRST_LINE_BYTES 256        /* BINPRM_BUF_SIZE of Linux */

int program_find(const char *name, char *ret_path)
{
    const char *folder = getenv("PATH");
    int r = -ENOENT;

    if (strchr(name, '/'))
        folder = "";
    else if (!folder)
        folder = "/bin:/usr/bin";
    for (bool more = true; more;) {
        const size_t n = strcspn(folder, ":");
        const int n_path =
            snprintf(ret_path, PATH_MAX, "%.*s%s%s", (int)n, folder, n > 0 ? "/" : "", name);

        if (n_path < 0 || n_path >= PATH_MAX)
            return -ENAMETOOLONG;
        if (access(ret_path, X_OK) == 0)
            return 0;
        if (errno == EACCES)
            r = -EACCES;
        more = folder[n] == ':';
        folder += n + 1;
    }
    return r;
}

static bool read_at(int fd, void *buf, size_t len, uint64_t offset)
{
    return offset <= INT64_MAX && pread(fd, buf, len, (off_t)offset) == (ssize_t)len;
}

static bool has_interpreter(int fd, const Elf64_Ehdr *header)
{
    for (unsigned i = 0; i < header->e_phnum; i++) {
        Elf64_Phdr program;

        if (!read_at(fd, &program, sizeof(program), header->e_phoff + i * sizeof(program)))
            return false;
        if (program.p_type == PT_INTERP)
            return true;
    }
    return false;
}

/* What the linker of Go puts into each of its programs. */
static bool is_go_section(const char *names, size_t n_names, uint32_t at)
{
    static const char *const known[] = {".go.buildinfo", ".note.go.buildid", ".gopclntab"};

    if (at >= n_names)
        return false;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strncmp(names + at, known[i], n_names - at) == 0)
            return true;
    }
    return false;
}

static bool is_go(int fd, const Elf64_Ehdr *header)
{
    CLEAN(free_p) char *names = NULL;
    Elf64_Shdr section;

    if (header->e_shnum > SECTIONS_MAX || header->e_shstrndx >= header->e_shnum ||
        !read_at(fd, &section, sizeof(section),
                 header->e_shoff + header->e_shstrndx * sizeof(section)) ||
        section.sh_size == 0 || section.sh_size > NAMES_BYTES_MAX)
        return false;
    names = malloc(section.sh_size + 1);
    if (!names || !read_at(fd, names, section.sh_size, section.sh_offset))
        return false;
    names[section.sh_size] = '\0';
    for (unsigned i = 0; i < header->e_shnum; i++) {
        Elf64_Shdr other;

        if (!read_at(fd, &other, sizeof(other), header->e_shoff + i * sizeof(other)))
            return false;
        if (is_go_section(names, section.sh_size, other.sh_name))
            return true;
    }
    return false;
}

/* Other rights than those of who calls: the loader then takes nothing from the environment. */
static bool changes_rights(int fd)
{
    struct stat stat;

    if (fstat(fd, &stat) < 0)
        return false;
    if (((stat.st_mode & S_ISUID) && stat.st_uid != geteuid()) ||
        ((stat.st_mode & S_ISGID) && stat.st_gid != getegid()))
        return true;
    return geteuid() != 0 && fgetxattr(fd, "security.capability", NULL, 0) > 0;
}

static enum program_kind kind_of(int fd, const Elf64_Ehdr *header)
{
    if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB ||
        header->e_machine != EM_X86_64 || header->e_phentsize != sizeof(Elf64_Phdr))
        return PROGRAM_FOREIGN;
    if (is_go(fd, header))
        return PROGRAM_GO;
    if (!has_interpreter(fd, header))
        return PROGRAM_STATIC;
    return changes_rights(fd) ? PROGRAM_SETUID : PROGRAM_GOOD;
}

/* "#!INTERPRETER ARG". Return: whether it is a script. @ret_path: PATH_MAX bytes */
static bool read_script(int fd, char *ret_path)
{
    char line[FIRST_LINE_BYTES];
    const ssize_t n = pread(fd, line, sizeof(line) - 1, 0);
    const char *at = line + 2;

    if (n < 3 || line[0] != '#' || line[1] != '!')
        return false;
    line[n] = '\0';
    at += strspn(at, " \t");
    (void)snprintf(ret_path, PATH_MAX, "%.*s", (int)strcspn(at, " \t\r\n"), at);
    return true;
}

int program_look(const char *path, enum program_kind *ret_kind, char *ret_path)
{
    (void)snprintf(ret_path, PATH_MAX, "%s", path);
    for (int i = 0; i < SCRIPTS_MAX; i++) {
        CLEAN(fd_close_p) int fd = open(ret_path, O_RDONLY | O_CLOEXEC);
        Elf64_Ehdr header;

        if (fd < 0)
            return -errno;
        if (read_script(fd, ret_path))
            continue;
        *ret_kind = PROGRAM_FOREIGN;
        if (read_at(fd, &header, sizeof(header), 0) && memcmp(header.e_ident, ELFMAG, SELFMAG) == 0)
            *ret_kind = kind_of(fd, &header);
        return 0;
    }
    *ret_kind = PROGRAM_FOREIGN;
    return 0;
}
