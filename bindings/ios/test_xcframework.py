"""The layout of an XCFramework, and archives that are refused in one: python bindings/ios/test_xcframework.py

Archives are made here, of objects that have a header of Mach-O and one name; `.ci/mobile build` has cargo's.
"""

from __future__ import annotations

import plistlib
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).parent / "xcframework"
ARM64, X86_64 = 0x0100000C, 0x01000007
MACOS, IOS, SIMULATOR = 1, 2, 7
OLDEST_IOS = struct.pack("<4I", 0x25, 16, 10 << 16, 0)


def mach_object(processor: int, platform: int | None, name: bytes = b"_ft_version\0") -> bytes:
    """An object that names its platform, or the oldest iOS that it is for."""
    command = struct.pack("<6I", 0x32, 24, platform, 12 << 16, 17 << 16, 0) if platform else OLDEST_IOS
    return struct.pack("<8I", 0xFEEDFACF, processor, 0, 1, 1, len(command), 0, 0) + command + name


def archive(*files: bytes) -> bytes:
    made = b"!<arch>\n"
    for index, file in enumerate(files):
        # Every other name is a long one, which stands before the file.
        long = b"a name longer than sixteen bytes".ljust(36, b"\0") if index % 2 else b""
        name = f"#1/{len(long)}" if long else f"{index}.o/"
        size = len(long) + len(file)
        made += f"{name:<16}{0:<12}{0:<6}{0:<6}{644:<8}{size:<10}`\n".encode() + long + file + b"\n" * (size % 2)
    return made


def fat(*archives: tuple[int, bytes]) -> bytes:
    made, bodies = struct.pack(">2I", 0xCAFEBABE, len(archives)), b""
    start = 8 + 20 * len(archives)
    for processor, body in archives:
        made += struct.pack(">5I", processor, 0, start + len(bodies), len(body), 0)
        bodies += body
    return made + bodies


class XcframeworkTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.out = self.folder / "FlowTurbo.xcframework"

    def run_script(self, **archives: bytes | Path) -> subprocess.CompletedProcess[str]:
        given = []
        for identifier, contents in archives.items():
            path = contents if isinstance(contents, Path) else self.folder / f"{identifier}.a"
            if isinstance(contents, bytes):
                path.write_bytes(contents)
            given.append(f"{identifier.replace('__', '-')}={path}")
        command = [sys.executable, str(SCRIPT), str(self.out), *given]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def refused(self, because: str, **archives: bytes | Path) -> None:
        ended = self.run_script(**archives)
        self.assertEqual(ended.returncode, 1, ended.stderr)
        self.assertIn(because, ended.stderr)
        self.assertEqual(len(ended.stderr.splitlines()), 1, ended.stderr)
        self.assertFalse(self.out.exists())

    def test_two_platforms_are_laid_out(self) -> None:
        phone = archive(b"Rust's notes", mach_object(ARM64, IOS), mach_object(ARM64, None, b"odd"))
        both = [(one, archive(mach_object(one, SIMULATOR))) for one in (ARM64, X86_64)]
        ended = self.run_script(ios__arm64=phone, ios__arm64_x86_64__simulator=fat(*both))
        self.assertEqual(ended.returncode, 0, ended.stderr)
        described = plistlib.loads((self.out / "Info.plist").read_bytes())
        self.assertEqual(described["CFBundlePackageType"], "XFWK")
        self.assertEqual(described["XCFrameworkFormatVersion"], "1.0")
        device, simulator = described["AvailableLibraries"]
        self.assertEqual(device["SupportedArchitectures"], ["arm64"])
        self.assertNotIn("SupportedPlatformVariant", device)
        self.assertEqual(simulator["SupportedArchitectures"], ["arm64", "x86_64"])
        self.assertEqual(simulator["SupportedPlatformVariant"], "simulator")
        files = {str(path.relative_to(self.out)) for path in self.out.rglob("*") if path.is_file()}
        wanted = {"Info.plist"}
        for library in (device, simulator):
            self.assertEqual(library["SupportedPlatform"], "ios")
            below = library["LibraryIdentifier"]
            wanted.add(f"{below}/{library['LibraryPath']}")
            wanted |= {f"{below}/{library['HeadersPath']}/{name}" for name in ("flowturbo.h", "module.modulemap")}
        self.assertEqual(files, wanted)
        self.assertEqual((self.out / "ios-arm64" / "libflowturbo.a").read_bytes(), phone)

    def test_other_archives_are_refused(self) -> None:
        phone = archive(mach_object(ARM64, IOS))
        self.refused("for macOS, iOS is wanted", ios__arm64=archive(mach_object(ARM64, MACOS)))
        self.refused("for iOS, the iOS simulator is wanted", ios__arm64__simulator=phone)
        self.refused("for iOS, the iOS simulator is wanted", ios__arm64__simulator=archive(mach_object(ARM64, None)))
        self.refused("is for x86_64, not ios-arm64", ios__arm64=archive(mach_object(X86_64, IOS)))
        self.refused("is for no processor", ios__arm64=archive(b"an object of Linux"))
        self.refused("is for arm64, not", ios__arm64_x86_64__simulator=archive(mach_object(ARM64, SIMULATOR)))
        self.refused("is no static library", ios__arm64=b"something else")
        self.refused("no library of flowturbo", ios__arm64=archive(mach_object(ARM64, IOS, b"_other\0")))
        self.refused("cut short", ios__arm64=archive(mach_object(ARM64, IOS)[:40]))
        self.refused("damaged or cut short", ios__arm64=phone[:-8])
        self.refused("damaged or cut short", ios__arm64=phone[:56] + b"-60       `\n" + phone[68:])
        endless = struct.pack("<8I", 0xFEEDFACF, ARM64, 0, 1, 0xFFFFFFFF, 8, 0, 0) + bytes(64)
        self.refused("commands have no end", ios__arm64=archive(endless))
        self.refused("No such file", ios__arm64=self.folder / "nothing.a")
        self.refused("IDENTIFIER=ARCHIVE is wanted", tvos__arm64=phone)


if __name__ == "__main__":
    unittest.main()
