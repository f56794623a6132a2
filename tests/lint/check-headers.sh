#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Fail when a header does not compile alone: public ones as C11 and C++17 without our flags, all others
# as our C.
#
#     check-headers.sh ROOT BUILD
set -eu
root=$(cd "$1" && pwd)
build=$(cd "$2" && pwd)
cd "$root"
bad=0

for include in client-lib/include drivers/sdk/include; do
    [ -d "$include" ] || continue
    for header in "$include"/muse/*.h; do
        gcc -std=c11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I"$include" -x c "$header" || bad=1
        g++ -std=c++17 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I"$include" -x c++ "$header" || bad=1
    done
done
find client-lib common drivers proto server cli tests -name '*.h' ! -path '*/include/muse/*' >"$build/headers.txt"
while read -r header; do
    gcc -std=gnu17 -D_GNU_SOURCE= -Wall -Wextra -Werror -fsyntax-only -I. -isystem "$build/generated" \
        -Iclient-lib/include -Idrivers/sdk/include -x c "$header" || bad=1
done <"$build/headers.txt"
exit $bad
