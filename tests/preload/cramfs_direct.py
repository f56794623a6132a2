# SPDX-License-Identifier: BSD-3-Clause
"""Makes a cramfs image with extended block pointers of a folder, which mkfs.cramfs cannot: FOLDER IMAGE.

After linux/fs/cramfs/README. What a file's blocks are says the end of its name:

    .whole   uncompressed, at pages of the image
    .head    the first half uncompressed at pages, the others compressed
    others   in turn compressed, and uncompressed at any place
"""
import os
import stat
import struct
import sys
import zlib

PAGE = 4096
EXT_POINTERS, HOLES, SORTED, FSID_V2 = 0x800, 0x100, 0x2, 0x1
UNCOMPRESSED, DIRECT = 0x80000000, 0x40000000


class Image:
    def __init__(self):
        self.bytes = bytearray(76)  # the superblock

    def pad(self, unit):
        self.bytes += b"\xee" * (-len(self.bytes) % unit)

    def put_block(self, block, kind):
        """Returns its pointer."""
        if kind == "packed":
            self.pad(4)
            packed = zlib.compress(block) if block.strip(b"\0") else b""
            start = len(self.bytes)
            self.bytes += struct.pack("<H", len(packed)) + packed
            return start // 4 | DIRECT
        self.pad(4 if kind == "odd" else PAGE)
        if kind == "odd" and len(self.bytes) % PAGE == 0:
            self.bytes += b"\xee" * 4
        start = len(self.bytes)
        self.bytes += block.ljust(PAGE, b"\0")
        return start // 4 | DIRECT | UNCOMPRESSED

    def put_data(self, data, name):
        """Returns where its pointers are."""
        blocks = [data[i:i + PAGE] for i in range(0, len(data), PAGE)]
        if not blocks:
            return 0
        self.pad(4)
        table = len(self.bytes)
        self.bytes += bytes(4 * len(blocks))
        for i, block in enumerate(blocks):
            kind = "odd" if i % 2 else "packed"
            if name.endswith(b".whole"):
                kind = "page"
            elif name.endswith(b".head"):
                kind = "page" if i < len(blocks) // 2 else "packed"
            struct.pack_into("<I", self.bytes, table + 4 * i, self.put_block(block, kind))
        return table

    def put_folder(self, path):
        """Returns where its entries are, and their size."""
        names = sorted(os.listdir(path))
        entries = [(name, 12 + len(name) + -len(name) % 4) for name in names]
        size = sum(n for _, n in entries)
        self.pad(4)
        at = start = len(self.bytes)
        self.bytes += bytes(size)
        for name, n in entries:
            self.put_inode(at, os.path.join(path, name), name)
            at += n
        return (start if entries else 0), size

    def put_inode(self, at, path, name):
        st = os.lstat(path)
        if stat.S_ISDIR(st.st_mode):
            offset, size = self.put_folder(path)
        else:
            if stat.S_ISLNK(st.st_mode):
                data = os.readlink(path)
            else:
                with open(path, "rb") as file:
                    data = file.read()
            offset, size = self.put_data(data, name), len(data)
        padded = name + b"\0" * (-len(name) % 4)
        struct.pack_into("<HHII", self.bytes, at, st.st_mode, 0, size,
                         len(padded) // 4 | offset // 4 << 6)
        self.bytes[at + 12:at + 12 + len(padded)] = padded


def main(folder, path):
    image = Image()
    offset, size = image.put_folder(os.fsencode(folder))
    image.pad(PAGE)
    flags = EXT_POINTERS | HOLES | SORTED | FSID_V2
    struct.pack_into("<IIII16sIIII16s", image.bytes, 0, 0x28CD3D45, len(image.bytes), flags, 0,
                     b"Compressed ROMFS", 0, 0, len(image.bytes) // PAGE, 1, b"direct")
    struct.pack_into("<HHII", image.bytes, 64, stat.S_IFDIR | 0o755, 0, size, offset // 4 << 6)
    struct.pack_into("<I", image.bytes, 32, zlib.crc32(image.bytes))
    with open(path, "wb") as file:
        file.write(image.bytes)


main(*sys.argv[1:])
