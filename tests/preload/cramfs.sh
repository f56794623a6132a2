#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2016,SC2034,SC2154,SC1091 # words of other shells; variables of lib.sh
# Programs on a cramfs image, which is read-only and leaves symbolic links to its clients.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
has mkfs.cramfs || exit 77

mkdir "$plain/sub"
seq 1 100000 >"$plain/text"
head -c 500000 /dev/urandom >"$plain/sub/random"
ln -s sub/random "$plain/link"
ln -s sub "$plain/folder-link"
ln -s ../text "$plain/sub/up"
ln -s loop "$plain/loop"
ln -s "$dir/outside" "$plain/out"
echo "not in the image" >"$dir/outside"
mkdir -p "$plain/deep/er/empty"
head -c 40000 /dev/urandom >"$plain/deep/all.whole"
{ head -c 30000 /dev/urandom && head -c 20000 /dev/zero && seq 1 9999; } >"$plain/deep/er/half.head"
head -c 20480 /dev/urandom >"$plain/deep/pages.whole"
: >"$plain/deep/er/nothing"
mkfs.cramfs "$plain" "$dir/image" >/dev/null || exit 1
drivers=("muse-cramfs $dir/image" muse-zero)
if has python3; then # mkfs.cramfs compresses every block
    python3 "$(dirname "$0")/cramfs_direct.py" "$plain" "$dir/direct" || exit 1
    drivers+=("muse-cramfs --name direct $dir/direct")
fi

start "${drivers[@]}"
for root in $(run ls /muse | grep -v zero); do # links are compared as links: one of them is a loop
    expect "diff of all of $root" "" "$(run diff -r --no-dereference "/muse/$root" "$plain" 2>&1)"
    expect "all names of $root" "$(cd "$plain" && find . -printf '%P %y %l\n' | sort)" \
        "$(run find "/muse/$root" -printf '%P %y %l\n' | sort)"
    expect "cp of all of $root" "" "$(run cp -r "/muse/$root" "$dir/copy-$root" 2>&1)"
    expect "its copy" "" "$(diff -r --no-dereference "$dir/copy-$root" "$plain" 2>&1)"
done
s=/muse/cramfs
same $s sha256sum @/text @/sub/random @/link @/folder-link/random @/sub/up
same $s cat @/out
same $s cat @/loop
same $s cat @/folder-link/none
same $s readlink @/link @/sub/up @/out
same $s readlink -f @/folder-link/random
same $s diff -r @/sub "$plain/sub"
same $s bash -c 'cd @/sub && md5sum random up; for f in @/*; do echo "$f"; done'
same $s bash -c 'find @ -type f | sort'
same $s test -d @/folder-link
if has python3; then
    same $s python3 -c 'import mmap, hashlib
f = open("@/link", "rb"); m = mmap.mmap(f.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
m[0] = 7; print(hashlib.sha256(m).hexdigest())'
fi
for c in "rm $s/text" "mv $s/text $s/x" "touch $s/new" "cp $s/text $s/copy" "mkdir $s/d" "chmod 600 $s/text"; do
    # shellcheck disable=SC2086 # words
    expect "$c" "Read-only file system" "$(run $c 2>&1 | sed 's/.*: //')"
done
if [[ ${drivers[2]:-} ]]; then
    expect "uncompressed blocks are those of the image" "10 12 0" "$(run python3 -c 'import mmap
n = []
for name in "deep/all.whole", "deep/er/half.head", "text":
    f = open("/muse/direct/" + name, "rb"); m = mmap.mmap(f.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)
    lines = [l.split() for l in open("/proc/self/maps") if l.endswith("/direct\n")]
    n.append(sum(int(b, 16) - int(a, 16) >> 12 for a, b in (l[0].split("-") for l in lines)))
    m.close()
print(*n)')"
fi
expect "wc of zeros" 1048576 "$(run wc -c /muse/zero/1M | cut -d' ' -f1)"
expect "the drivers" "$(printf '%s\n' cramfs zero "${drivers[2]:+direct}" | grep . | sort)" "$(run ls /muse)"
expect "no such driver" "No such file or directory" "$(run cat /muse/none/x 2>&1 | sed 's/.*: //')"
expect "/muse is a folder" "directory" "$(run stat -c %F /muse)"
finish
