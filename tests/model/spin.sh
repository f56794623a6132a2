#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The model in docs/model: the table in it is the code's, all that has to hold holds in every state that
# can be reached, every row of the contract's outcome table happens, and each seeded mistake is found.
#
#     spin.sh MAP_TABLE_PML      the program that prints the code's table
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

model=$PWD/docs/model
dir=$(mktemp -d /tmp/muse-spin.XXXXXX)
trap 'rm -rf "$dir"' EXIT
n_bad=0

bad() {
    n_bad=$((n_bad + 1))
    echo "not ok: $1"
}

# search FLAG...: all states of the model made with these flags; the report in $dir/report
search() {
    (cd "$dir" && rm -f report && cp "$model/map.pml" . && spin -a "$@" map.pml >spin.log 2>&1 &&
        gcc -O0 -w -DSAFETY -o pan pan.c && ./pan -m100000 -w22 >report 2>&1) || { head -20 "$dir/spin.log" && return 1; }
    grep -q 'State-vector' "$dir/report"
}

if ! command -v spin >/dev/null; then
    echo "skipped: spin is not installed"
    exit 77
fi
"$1" >"$dir/map_table.pml"
diff -u "$model/map_table.pml" "$dir/map_table.pml" ||
    bad "docs/model/map_table.pml is not the table of server/map/map_txn.c: $1 > docs/model/map_table.pml"

if search && grep -q 'errors: 0' "$dir/report"; then
    grep 'states, stored' "$dir/report"
    grep 'printf' "$dir/report" && bad "rows of the contract that never happen"
    grep -q 'max search depth too small' "$dir/report" && bad "the search was cut off"
else
    bad "the model, without a mistake"
    head -20 "$dir/report"
fi

while read -r mistake; do
    if search "-D$mistake" && grep -q 'errors: 1' "$dir/report"; then
        echo "$mistake: $(grep -m 1 '^pan:1' "$dir/report")"
    else
        bad "$mistake is not found"
    fi
done < <(grep -o 'MISTAKE_[A-Z_]*[A-Z]' "$model/map.pml" | sort -u)
((n_bad == 0))
