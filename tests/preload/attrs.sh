#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2016,SC2034,SC2154,SC1091 # words of other shells; variables of lib.sh
# Modes, owners and times: each entry point of the C library by name, and programs that copy them; on a
# folder that muse-file --writable serves and on one of their own.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

own=$dir/own
mkdir "$own"
umask 022
chmod 755 "$dir"
for folder in "$plain" "$own"; do
    echo "something to change" >"$folder/f"
    ln -s f "$folder/link"
    mkdir "$folder/sub" "$folder/tree" "$folder/tree/deeper"
    seq 9 >"$folder/text"
    seq 9 >"$folder/nobodys" && chown 65534:65534 "$folder/nobodys"
    seq 9 >"$folder/tree/one" && chmod 751 "$folder/tree/one"
    seq 7 >"$folder/tree/deeper/two" && chown 3:4 "$folder/tree/deeper/two"
    touch -d '2001-02-03 04:05:06.123456789' "$folder/tree/one" "$folder/tree/deeper/two" "$folder/tree/deeper" "$folder/tree"
    tar -C "$folder" -cf "$folder/archive.tar" tree
done
start "muse-file --writable $plain"
LINES_MAX=60

both "$MUSE_BUILD_DIR/tests/preload_attrs" @

# what changes times to now leaves another time in each of the two
both touch @/text
both touch @/new
both touch -c @/none
both touch -d '1999-12-31 23:59:58.7' @/text
both touch -a -d '1999-12-31' @/text
both touch -h -d '1998-01-01' @/link
both touch -r @/tree/one @/tree/deeper/two
both chmod 4711 @/text
both chmod u=rwx,g-x,o= @/text @/link
both bash -c 'chmod 640 /dev/fd/5 5< @/text; touch -d 1997-01-01 /proc/self/fd/5 5< @/text; stat -L -c "%a %Y" /dev/fd/5 5< @/text'
both chmod -R go-rwx @/tree
both chmod 600 @/none
both chown 7:8 @/text
both chown -h 5:6 @/link
both chgrp -R 9 @/tree
both bash -c 'umask 0; cp -p @/tree/one @/copied && cp -rp @/tree @/tree-copied'
both bash -c 'cp -p /bin/true @/from-outside; chmod 755 @/from-outside; touch -r /bin/true @/from-outside'
both bash -c 'echo stored > @/stored; touch -d 2003-03-03 @/stored'
both bash -c 'cat @/text > @/second; touch -r @/text @/second; mv @/second @/renamed'
both install -m 751 -o 11 -g 12 @/text @/installed
both install -p @/tree/one @/installed-with-times
both install -d -m 711 @/folder-installed
both bash -c 'mkdir @/extracted && tar -C @/extracted -xpf @/archive.tar'
both bash -c 'tar -C @/tree -cf - . | tar -C @/extracted -xf -'
both bash -c 'umask 027; mkdir @/masked; cp @/tree/one @/masked/copied; echo x > @/masked/new-file; chmod 600 @/masked/new-file; cp @/masked/new-file @/masked/private
    stat -c "%n %a" @/masked/*'
has unzip && has zip && both bash -c 'cd @ && zip -q archive.zip text && mkdir unzipped && unzip -q archive.zip -d unzipped'
has rsync && both rsync -a @/tree/ @/synchronized
has rsync && both rsync -rtpog --inplace @/tree/ @/synchronized-inplace
has python3 && both python3 -c 'import os, shutil
shutil.copy2("@/tree/one", "@/python")
os.utime("@/python", ns=(1, 2)); print(os.stat("@/python").st_mtime_ns)
with open("@/python", "r+b") as f:
    os.fchmod(f.fileno(), 0o604); os.fchown(f.fileno(), 1, 2); os.utime(f.fileno(), (5, 6))
    print(oct(os.fstat(f.fileno()).st_mode), os.fstat(f.fileno()).st_mtime)
    f.write(b"x"); f.flush(); os.utime(f.fileno(), (7, 8))'

# another user: what is his, and what is not
nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
if has setpriv; then
    chown 65534 "$plain/sub" "$own/sub"
    chmod 600 "$plain/nobodys" "$own/nobodys"
    both "${nobody[@]}" bash -c 'cp @/nobodys @/sub/private; chmod 444 @/sub/private; cp @/sub/private @/sub/for-reading; stat -c "%n %a %u" @/sub/*'
    both "${nobody[@]}" "$MUSE_BUILD_DIR/tests/preload_attrs" @/sub # where nothing is
    for folder in "$plain" "$own"; do
        seq 3 >"$folder/sub/f"
        ln -s f "$folder/sub/link"
        mkdir "$folder/sub/sub"
        chown -h 65534:65534 "$folder"/sub/{f,link,sub}
    done
    both "${nobody[@]}" "$MUSE_BUILD_DIR/tests/preload_attrs" @/sub
    both "${nobody[@]}" "$MUSE_BUILD_DIR/tests/preload_attrs" @ # where most is another's
    for words in "chmod 640 @/nobodys" "chmod 640 @/text" "chown 1 @/nobodys" "chgrp 65534 @/nobodys" "chgrp 1 @/nobodys" \
        "touch -d 2002-02-02 @/nobodys" "touch -d 2002-02-02 @/f" "touch @/f"; do
        # shellcheck disable=SC2086 # words
        both "${nobody[@]}" $words
    done
fi

# what was stored before a time was set is written back after it, and does not move it
(cd "$plain" && find . -type f -printf '/muse/file/%P\0') >"$dir/files"
run bash -c 'xargs -0 sync < "$1"' - "$dir/files" || bad sync
left() { # FOLDER: no times of what got the present one
    (cd "$1" && find . -path ./masked\* -printf '%p %m\n' -o -name new -printf '%p %m %U %G\n' -o -name gone -printf '%p %m %U %G\n' -o -name archive.\* -printf '%p\n' -o \
        -name folder-installed -printf '%p %m\n' -o -name installed -printf '%p %m %U %G\n' -o -name unzipped -printf '%p %m\n' -o -name extracted -printf '%p %m\n' -o -path ./sub\* -printf '%p %m\n' -o \
        -path . -printf '%p %m\n' -o -name synchronized\* -prune -printf '%p %m %U %G %T@\n' -o -printf '%p %m %U %G %T@\n' | sort)
}
expect "what they left" "$(left "$own")" "$(left "$plain")"
expect "in whose files" "" "$(cd "$own" && diff -rq . "$plain" | grep -v archive)"

# drivers that change nothing
"$bin/muse-run" -d "muse-file $own" -d muse-zero -- bash -c '
    chmod 600 /muse/file/text; touch /muse/file/text; chmod 600 /muse/file/none; chown 1 /muse/zero/1M
    chmod 700 /muse/zero; touch /muse; chmod 600 /muse/none/x' >"$dir/refused" 2>&1
expect "drivers that change nothing" "Read-only file system
Read-only file system
No such file or directory
Read-only file system
Read-only file system
Read-only file system
No such file or directory" "$(sed 's/.*: //' "$dir/refused")"
finish
