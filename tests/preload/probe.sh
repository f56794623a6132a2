#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2016,SC2034,SC2154,SC1091 # words of other shells; variables of lib.sh
# The C library's entry points, one after the other: what a program sees of a served folder is what it
# sees of the folder itself.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

probe=$MUSE_BUILD_DIR/tests/preload_probe
seq 1 5000 >"$plain/text"
: >"$plain/empty"
mkdir "$plain/sub"
echo "inside the folder" >"$plain/sub/inner"
ln -s text "$plain/link"
ln -s gone "$plain/dangling"
ln -s none/gone "$plain/leads-nowhere"

start "muse-file --writable $plain" # so that the errors of changing are not all EROFS
LINES_MAX=40
same /muse/file "$probe" @
same /muse/file/sub/.. "$probe" @
finish
