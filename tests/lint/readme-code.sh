#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Prints the C code below a heading of README.md.
#
#     readme-code.sh HEADING        "A client", "A driver": how the heading begins
set -eu
awk -v heading="## $1" '
    /^## / { inside = index($0, heading) == 1 }
    inside && /^```$/ { printing = 0 }
    printing { print }
    inside && /^```c$/ { printing = 1 }
' "$(dirname "$0")/../../README.md"
