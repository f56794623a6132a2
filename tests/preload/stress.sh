#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2016,SC2034,SC2154,SC1091 # words of other shells; variables of lib.sh
# stress-ng and fio, which check what they read, on files that muse-file --writable serves; and fio with its
# buffers in a served mapping, so that the kernel itself touches and pins our pages.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

s=/muse/file
truncate -s 4M "$plain/buffers"
start "muse-file --writable $plain"
cd "$dir" || exit # some make files in the working folder

# checked PROGRAM ARG... : ends well, and says nothing of failures
checked() {
    local said status
    said=$(run "$@" 2>&1 </dev/null)
    status=$?
    expect "$*" "status 0" "$(grep -E 'fail:|verify:|err=' <<<"$said" | grep -v 'err= 0'; echo "status $status")"
}

stress() {
    checked stress-ng --temp-path $s --verify "--$1" "${3:-1}" "--$1-ops" "$2" "${@:4}"
}

if has stress-ng; then
    for more in "" --mmap-async --mmap-mprotect --mmap-odirect; do
        stress mmap 2 1 --mmap-bytes 64K --mmap-file ${more:+"$more"}
    done
    stress msync 50 1 --msync-bytes 1M
    stress mremap 5 1 --mremap-bytes 1M
    stress mincore 10
    stress mlock 10
    stress flock 200 2
    stress locka 200 2
    stress lockf 200 2
    stress lockofd 200 2
    stress seek 50 1 --seek-size 1M
    stress rename 50
    stress dir 10
fi

job=(--name=job --bs=4k --size=4M --randseed=7)
direct=0
dd if=/dev/zero of="$dir/direct" bs=4k count=1 oflag=direct status=none 2>/dev/null && direct=1
if has fio; then
    checked fio "${job[@]}" --filename=$s/mapped --rw=randrw --ioengine=mmap --verify=crc32c
    checked fio "${job[@]}" --filename=$s/again --rw=randwrite --ioengine=mmap --verify=crc32c --do_verify=0
    checked fio "${job[@]}" --filename=$s/again --rw=randwrite --ioengine=psync --verify=crc32c --verify_only
    for engine in "psync" "io_uring --iodepth=8 --fixedbufs=1"; do
        # shellcheck disable=SC2086 # words
        checked fio "${job[@]}" --filename="$dir/outside" --rw=randrw --direct=$direct --ioengine=$engine \
            --mem=mmapshared:$s/buffers --verify=crc32c
    done
fi
finish
