#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2034,SC2154,SC1091 # variables of lib.sh
# Each entry point of the C library that programs use on files, in each of its spellings, by name: the
# same on a served folder as on a plain one.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

own=$dir/own
mkdir "$own"
start "muse-file --writable $plain"
LINES_MAX=60
both "$MUSE_BUILD_DIR/tests/preload_entries" @
expect "the same files are left" "$(cd "$own" && find . | sort && cat f)" "$(cd "$plain" && find . | sort && cat f)"
finish
