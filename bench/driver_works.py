# SPDX-License-Identifier: BSD-3-Clause
"""What bench/run measures of drivers: each work gives the driver's figures and those of what it is compared with."""

import os
import shlex
import subprocess
import time

PAGE = 4096
DIRECT_BYTES = 128 << 20
RELAY_BYTES = 16 << 20
PAIRS = 3000
IMAGE_FILES = 8
IMAGE_FILE_BYTES = 8 << 20  # a cramfs file has at most 16 MiB
WORDS = "the quick brown fox jumps over the lazy dog and the pager brings another page of it ".split()


class DriverWorks:
    """Mixed into a contender: one server with the drivers, and the works. Keys are works, or (contender, work)."""

    name = "muse-drivers"

    def start(self):
        self.folder = self.bench.tmp / self.name
        self.folder.mkdir(mode=0o700)
        self.env = dict(os.environ, MUSE_RUNDIR=str(self.folder / "run"))
        self.bin = self.options.build / "bin"
        self.direct_file = self.folder / "pmem"
        subprocess.run([self.bench.program("make_content"), self.direct_file, str(DIRECT_BYTES)], check=True)
        (self.folder / "iomem").write_text(f"00000000-{DIRECT_BYTES - 1:08x} : System RAM\n")
        self.make_image()
        self.socket = self.folder / "nbd"
        self.bench.spawn(["nbdkit", "--foreground", "--unix", str(self.socket), "memory", str(self.options.size)],
                         stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait_for(self.socket)
        self.uri = f"nbd+unix:///?socket={self.socket}"
        subprocess.run(["nbdcopy", str(self.bench.obj), self.uri], check=True)
        drivers = [["muse-devdax", self.direct_file], ["muse-physmem", "--table", self.folder / "iomem", "--memory", self.direct_file],
                   ["muse-relay", "--cpus", "1", "--subbuf", "2M", "--n-subbufs", str(RELAY_BYTES >> 21)], ["muse-faulty"],
                   ["muse-cramfs", self.image], ["muse-nbd", "--read-only", "--name", "nbd", self.uri]]
        argv = [str(self.bin / "mused"), "--rundir", str(self.folder / "run"), "--memory", str(4 * self.options.size)]
        for program, *arguments in drivers:
            argv += ["--driver", shlex.join([str(self.bin / program), *map(str, arguments)])]
        with open(self.folder / "log", "wb") as log:
            self.bench.spawn(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.wait_for_drivers(len(drivers))
        self.mnt = self.folder / "mnt"
        self.mnt.mkdir()
        self.bench.stack.callback(self.unmount)
        self.bench.spawn([self.bench.program("fuse_cramfs"), str(self.image), str(self.mnt)], stderr=subprocess.DEVNULL)
        self.wait_for(self.mnt / "0")

    def wait_for(self, path):
        for _ in range(500):
            if path.exists():
                return
            time.sleep(0.02)
        raise OSError(f"{path.name} did not appear")

    def wait_for_drivers(self, n_wanted):
        argv = [str(self.bin / "musectl"), "--json", "drivers"]
        for _ in range(500):
            out = subprocess.run(argv, env=self.env, capture_output=True, text=True, check=False).stdout
            if out.count('"alive":true') + out.count('"alive": true') >= n_wanted:
                return
            time.sleep(0.02)
        raise OSError("the drivers did not start: " + (self.folder / "log").read_text(errors="replace")[-300:])

    def unmount(self):
        if os.path.ismount(self.mnt):
            subprocess.run(["umount", "-l", self.mnt], check=False)

    def make_image(self):
        """Text that shrinks to about a third, as text does."""
        tree = self.folder / "tree"
        tree.mkdir()
        for number in range(IMAGE_FILES):
            state, words = number + 1, []
            while len(words) < 200000:
                state = state * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
                words.append(WORDS[(state >> 33) % len(WORDS)] + str(state >> 40)[:2])
            text = " ".join(words).encode()
            (tree / str(number)).write_bytes((text * (IMAGE_FILE_BYTES // len(text) + 1))[:IMAGE_FILE_BYTES])
        self.image = self.folder / "image"
        subprocess.run(["mkfs.cramfs", tree, self.image], check=True, stdout=subprocess.DEVNULL)

    def direct(self):
        results = {}
        for driver, name, size in (("devdax", "devdax/pmem", DIRECT_BYTES), ("physmem", "physmem/mem", DIRECT_BYTES),
                                   ("relay", "relay/trace/cpu0", RELAY_BYTES)):
            out = self.bench.run_reader([self.bench.program("direct"), name, str(size)], self.env)
            results[f"direct_{driver}"] = {"n_ops": out["n_ops"], "total_ns": out["muse_ns"]}
            results["reference", f"direct_{driver}"] = {"n_ops": out["n_ops"], "total_ns": out["native_ns"]}
        return results

    def hooks(self):
        trip = self.bench.run_reader([self.bench.program("round_trip"), str(PAIRS)])
        argv = [self.bench.program("muse_reader"), "--work", "mapunmap", "--size", str(PAGE), "--ops", str(PAIRS)]
        return {("reference", "hooks"): trip, "hooks": self.bench.run_reader([*argv, "faulty/x,action=remap"], self.env)}

    def inflate(self):
        scan = self.bench.program("scan")
        for number in range(IMAGE_FILES):  # the kernel's page cache of the mount; of the image nothing is dropped
            with open(self.mnt / str(number), "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        fuse = self.bench.run_reader([scan, *(str(self.mnt / str(n)) for n in range(IMAGE_FILES))])
        muse = self.bench.run_reader([str(self.bin / "muse-run"), "--", scan, *(f"/muse/cramfs/{n}" for n in range(IMAGE_FILES))], self.env)
        if fuse["sum"] != muse["sum"]:
            raise OSError("the bytes differ")
        return {("reference", "inflate"): fuse, "inflate": muse}

    def nbd(self):
        begin = time.monotonic_ns()
        subprocess.run(["nbdcopy", self.uri, "null:"], check=True)
        copy = {"n_ops": self.options.size // PAGE, "total_ns": time.monotonic_ns() - begin}
        self.bench.warm_memory()
        argv = [self.bench.program("muse_reader"), "--work", "seq", "--size", str(self.options.size), "--ops", "0",
                "--seed", str(self.options.seed), "--cold", self.nbd_object()]
        return {("reference", "nbd"): copy, "nbd": self.bench.run_reader(argv, self.env)}

    def nbd_object(self):
        """The driver's only object, whatever the export is called."""
        out = subprocess.run([str(self.bin / "muse-run"), "--", "ls", "/muse/nbd"], env=self.env, capture_output=True, text=True, check=True)
        return "nbd/" + out.stdout.split()[0]
