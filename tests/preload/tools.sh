#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2016,SC2034,SC2154,SC1091 # words of other shells; variables of lib.sh
# Unmodified tools that read what is served through mappings of their own, and CPython's own test of mmap,
# against the same on the plain folder.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

seq 1 200000 >"$plain/text"
mkdir -p "$plain/tree/deeper"
for n in 1 2 3 4; do seq "$n" 700 >"$plain/tree/deeper/file$n"; done
echo "a needle" >"$plain/tree/needle"
cp /bin/ls "$plain/program"
mkfs.cramfs "$plain/tree" "$plain/image" >/dev/null
start "muse-file --writable $plain"
s=/muse/file

has rg && same $s rg --mmap -n --sort path needle @/tree
has rg && same $s rg --mmap -c 77 @/text
has rg && same $s rg --no-mmap -c 77 @/text
same $s grep -rc 99 @/tree/deeper/file1 @/tree/deeper/file2
has eu-readelf && same $s eu-readelf -h -l @/program
has fsck.cramfs && same $s fsck.cramfs @/image
has strings && same $s bash -c 'strings -n 12 @/program | md5sum'
has nm && same $s nm -D @/program
has xz && same $s bash -c 'xz -0 -c @/text | xz -dc | md5sum'
same $s bash -c 'tar -C @ -cf - tree | tar -tvf - | sort'
same $s du -a --apparent-size @/tree/deeper/file1
same $s bash -c 'ls -l @/tree/deeper | awk "{print \$1, \$5, \$9}"'
same $s awk 'NR % 50000 == 0 { print FILENAME, $1 }' @/text
same $s sed -n '5p;$p' @/text
same $s split -n l/3 -t x --filter='wc -c' @/text
same $s python3 -c 'import mmap, re
with open("@/text", "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
    print(m.size(), m[:10], m.rfind(b"777"), len(re.findall(rb"99", m)))
    m[0:1] = b"9"
    m.flush()
    print(open("@/text", "rb").read(3))
    m[0:1] = b"1"'
if has java; then
    mkdir -p "$dir/class"
    printf '%s\n' 'import java.nio.*; import java.nio.channels.*; import java.nio.file.*;' \
        'class Look { public static void main(String[] a) throws Exception {' \
        'try (FileChannel c = FileChannel.open(Path.of(a[0]))) {' \
        'MappedByteBuffer m = c.map(FileChannel.MapMode.READ_ONLY, 0, c.size()); long sum = 0;' \
        'while (m.hasRemaining()) sum = sum * 31 + m.get(); System.out.println(c.size() + " " + sum); } } }' >"$plain/Look.java"
    same $s java -Xshare:auto -Xmx64m @/Look.java @/text
fi

# CPython's own test of mmap, with its files in a served folder; what it skips natively it may skip.
if python3 -c 'import test.test_mmap' 2>/dev/null; then
    tests_of() { # FOLDER
        mkdir -p "$plain/work" && cd / && sed 's/^Ran \(.*\) in .*/Ran \1/' < <(
            "${@:2}" timeout -k 1 50 python3 -c 'import os, sys, unittest
import test.support.os_helper as helper
os.chdir("/")
helper.TESTFN = os.path.join(sys.argv[1], "work", "file")
import test.test_mmap as tests
tests.TESTFN = helper.TESTFN
suite = unittest.defaultTestLoader.loadTestsFromModule(tests)
result = unittest.TextTestRunner(verbosity=2).run(suite)' "$1" 2>&1)
    }
    want=$(tests_of "$plain" env)
    got=$(tests_of $s "$bin/muse-run" -- env)
    expect "test_mmap" "$want" "${got//"$s"/$plain}"
    [[ $got == *"test_move "*" ok"*"OK"* ]] || bad "test_mmap ran: $got"
else
    echo "not here: test.test_mmap"
fi
finish
