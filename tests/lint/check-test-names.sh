#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Fail when a page of docs/ names a test that is not there. A name is what stands in backticks and has five
# words or more; after a letter that the page explains, as "[M] tests/integration/it_semantics.c", it has
# to be a test of that file, and may be shorter.
#
#     check-test-names.sh ROOT
set -eu
cd "$1"
grep -Ho '^START_TEST([A-Za-z0-9_]*' tests/*/*.c | sed 's,^tests/[^:]*/\([a-z_0-9]*\)\.c:START_TEST(,\1 ,' |
    awk '
    BEGIN {
        while ((getline < "-") > 0) { tests[$2] = 1; in_file[$1, $2] = 1; files[$1] = 1 }
        for (i = 1; i < ARGC; i++) pages[ARGV[i]] = 1
        for (page in pages) { learn(page); check(page) }
        exit bad
    }
    # The letters of a page: "[X] folder/it_NAME.c", the folder may be missing.
    function learn(page,    line, part) {
        split("", letter)
        while ((getline line < page) > 0) {
            while (match(line, /\[[A-Z][a-z]?\] [a-z_\/]*\.c/)) {
                part = substr(line, RSTART, RLENGTH)
                line = substr(line, RSTART + RLENGTH)
                name = part; sub(/^[^ ]* /, "", name); sub(/^.*\//, "", name); sub(/\.c$/, "", name)
                sub(/\].*/, "", part); letter[substr(part, 2)] = name
                if (!(name in files)) { printf "%s: %s.c has no tests\n", page, name; bad = 1 }
            }
        }
        close(page)
    }
    function check(page,    line, word, current, n) {
        n = 0
        while ((getline line < page) > 0) {
            n++; current = ""
            while (match(line, /\[[A-Z][a-z]?\]|`[a-zA-Z0-9_]+`/)) {
                word = substr(line, RSTART + 1, RLENGTH - 2)
                line = substr(line, RSTART + RLENGTH)
                if (word in letter && word ~ /^[A-Z][a-z]?$/) { current = letter[word]; continue }
                is_name = gsub(/_/, "_", word) >= (current == "" ? 4 : 2)
                if (is_name && !(word in tests)) {
                    printf "%s:%d: there is no test %s\n", page, n, word; bad = 1
                } else if (current != "" && word in tests && !((current, word) in in_file)) {
                    printf "%s:%d: %s is not in %s.c\n", page, n, word, current; bad = 1
                }
            }
        }
        close(page)
    }' docs/*.md
