"""Freed images go back to the system, measured in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Takes and frees 20 MB in eight threads, again and again, and prints MB that are resident in the end.
PROGRAM = """
import ctypes, sys, threading
from irs import memory
if sys.argv[1] == "set":
    memory.frugal()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
barrier = threading.Barrier(8)
def work():
    for _ in range(4):
        blocks = [libc.malloc(20_000_000), libc.malloc(1000)]
        for block, size in zip(blocks, (20_000_000, 1000)):
            libc.memset(block, 1, size)
        libc.free(blocks[0])
    barrier.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
print(next(int(l.split()[1]) // 1024 for l in open("/proc/self/status") if l.startswith("VmRSS")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_large_blocks_go_back() -> None:
    resident = {
        how: int(subprocess.run([sys.executable, "-c", PROGRAM, how], cwd=ROOT, text=True, timeout=60,
                                capture_output=True, check=True).stdout)
        for how in ("set", "not")}
    assert resident["set"] < 60
    assert resident["not"] > resident["set"] + 40, "the setting would make no difference here"
