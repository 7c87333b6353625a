"""Makes the binaries of the kernels, one for each architecture, by NVRTC from NVIDIA's Python wheels.

    compile.py [--check] [--only NAME]... WHEELS...

A wheel is nvidia-cuda-nvrtc-cu12 or nvidia-cuda-nvrtc of the version that PINNED says. No GPU, driver or toolkit is
needed. --check compares with the binaries that are there, and writes none. --only leaves out all architectures but
those that it names. What each kernel takes of a multiprocessor is printed, and more than there is, or a register that
is kept in memory, is an error.
"""

import argparse
import ctypes
import struct
import sys
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

KERNELS = Path(__file__).resolve().parent
BINARIES = KERNELS / "binaries"

# The major version of NVRTC, its release, and what it compiles. A GPU runs binaries of its own major number and a
# minor one that is not larger; newer ones compile the last, which is text.
PINNED = {
    12: ("12.9.86", ["sm_75", "sm_80", "sm_86", "sm_87", "sm_89", "sm_90", "sm_100", "sm_120", "compute_80"]),
    13: ("13.0.88", ["sm_110"]),
}

# Bytes of shared memory that a block can have without asking.
SHARED = 48 << 10

# Bytes of stack that are no registers put aside: a table for the sine of what is large.
STACK = {"pointwise": 32}

# Bytes of all binaries at most: the feature may add 3 MB to a library, and has code of its own.
TOTAL = 2_900_000


@dataclass
class Use:
    """What a kernel takes: registers of a thread, bytes of a thread's stack, bytes of a block's shared memory."""

    registers: int = 0
    stack: int = 0
    shared: int = 0


class Compiler:
    """NVRTC out of a wheel, unpacked into a folder."""

    def __init__(self, wheel: Path, folder: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        names = [path for path in folder.rglob("libnvrtc*.so*") if ".alt." not in path.name]
        for path in sorted(names, key=lambda path: "builtins" not in path.name):
            self.library = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        self.library.nvrtcGetErrorString.restype = ctypes.c_char_p
        major, minor = ctypes.c_int(), ctypes.c_int()
        self.ask("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
        self.version = (major.value, minor.value)

    def ask(self, function: str, *arguments: object) -> int:
        result = getattr(self.library, function)(*arguments)
        if result and function != "nvrtcCompileProgram":
            raise SystemExit(f"{function}: {self.library.nvrtcGetErrorString(result).decode()}")
        return result

    def text(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self.ask(f"nvrtcGet{what}Size", program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self.ask(f"nvrtcGet{what}", program, buffer)
        return buffer.raw

    def compile(self, target: str) -> bytes:
        sources = {path.name: path.read_bytes() for path in [*KERNELS.glob("*.h"), *KERNELS.glob("*.cu")]}
        main = sources.pop("kernels.cu")
        program = ctypes.c_void_p()
        of = ctypes.c_char_p * len(sources)
        headers, names = of(*sources.values()), of(*(name.encode() for name in sources))
        self.ask("nvrtcCreateProgram", ctypes.byref(program), main, b"kernels.cu", len(sources), headers, names)
        options = [f"--gpu-architecture={target}", "--std=c++17"]
        options = [option.encode() for option in options]
        given = (ctypes.c_char_p * len(options))(*options)
        failed = self.ask("nvrtcCompileProgram", program, len(options), given)
        log = self.text(program, "ProgramLog").rstrip(b"\0").decode()
        if failed or log.strip():
            raise SystemExit(f"{target}: {log}")
        made = self.text(program, "PTX" if target.startswith("compute") else "CUBIN")
        self.ask("nvrtcDestroyProgram", ctypes.byref(program))
        # NVRTC calls it a success to have made nothing.
        if len(made) < 1000:
            raise SystemExit(f"{target}: NVRTC made {len(made)} bytes")
        return made.rstrip(b"\0") + b"\0" if target.startswith("compute") else made


def uses(binary: bytes) -> dict[str, Use]:
    """Reads what each kernel takes from an ELF file of NVIDIA's."""
    start, size, count, names = (
        *struct.unpack_from("<Q", binary, 40),
        *struct.unpack_from("<3H", binary, 58),
    )
    sections = [struct.unpack_from("<IIQQQQIIQQ", binary, start + i * size) for i in range(count)]

    def word(table: tuple, at: int) -> str:
        begin = table[4] + at
        return binary[begin : binary.index(b"\0", begin)].decode()

    found: dict[str, Use] = {}
    titles = [word(sections[names], section[0]) for section in sections]
    for title, section in zip(titles, sections, strict=True):
        if title.startswith(".text."):
            found.setdefault(title[6:], Use())
        elif title.startswith(".nv.shared.") and not title.startswith(".nv.shared.reserved"):
            found.setdefault(title[11:], Use()).shared = section[5]
    symbols = sections[titles.index(".symtab")]
    information = sections[titles.index(".nv.info")]
    at, end = information[4], information[4] + information[5]
    while at < end:
        form, attribute, length = struct.unpack_from("<BBH", binary, at)
        at += 4
        if form == 4:
            if attribute in (0x11, 0x2F):
                symbol, value = struct.unpack_from("<II", binary, at)
                name = word(sections[symbols[6]], struct.unpack_from("<I", binary, symbols[4] + symbol * 24)[0])
                if name in found:
                    setattr(found[name], "stack" if attribute == 0x11 else "registers", value)
            at += length
    return found


def check_uses(target: str, binary: bytes) -> None:
    for name, use in sorted(uses(binary).items()):
        print(f"{target:8} {name:22} {use.registers:4} registers {use.stack:5} stack {use.shared:6} shared")
        if use.shared > SHARED:
            raise SystemExit(f"{target}: {name} takes {use.shared} bytes of shared memory")
        if use.stack > STACK.get(name, 0):
            raise SystemExit(f"{target}: {name} keeps registers in {use.stack} bytes of memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheels", nargs="+", type=Path)
    parser.add_argument("--check", action="store_true", help="compare with the binaries that are there")
    parser.add_argument("--only", action="append", metavar="NAME", help="an architecture, such as sm_80")
    arguments = parser.parse_args()
    BINARIES.mkdir(exist_ok=True)
    different, left = [], set(arguments.only or [])
    for wheel in arguments.wheels:
        with tempfile.TemporaryDirectory() as folder:
            compiler = Compiler(wheel, Path(folder))
            version, targets = PINNED[compiler.version[0]]
            if version not in wheel.name:
                raise SystemExit(f"{wheel.name}: the binaries are made by {version}")
            for target in targets:
                if arguments.only and target not in arguments.only:
                    continue
                left.discard(target)
                made = compiler.compile(target)
                if target.startswith("sm"):
                    check_uses(target, made)
                path = BINARIES / f"{target}.z"
                if not arguments.check:
                    path.write_bytes(zlib.compress(made, 9))
                # Of what was compressed: other zlibs compress otherwise.
                elif not path.exists() or zlib.decompress(path.read_bytes()) != made:
                    different.append(target)
    if left:
        raise SystemExit(f"{', '.join(sorted(left))}: these wheels make no such binary")
    if different:
        raise SystemExit(f"{', '.join(different)}: not what the sources make; run 'make cubins'")
    total = sum(path.stat().st_size for path in BINARIES.iterdir())
    print(f"{len(list(BINARIES.iterdir()))} binaries, {total} bytes")
    if total > TOTAL:
        raise SystemExit(f"more than {TOTAL} bytes")


if __name__ == "__main__":
    sys.exit(main())
