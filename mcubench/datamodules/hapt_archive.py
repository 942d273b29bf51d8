"""Where HAPT's files come from: UCI's zip, a raw-only zip, or an unpacked folder, read in place and checked by hash."""

from __future__ import annotations

import functools
import hashlib
import zipfile
import zlib
from importlib import resources
from pathlib import Path, PurePosixPath

from mcubench.datamodules.hapt_tables import first_fault
from mcubench.datamodules.roots import fetch
from mcubench.errors import CorruptDataError, MissingDataError

__all__ = ["FEATURE_BLOBS", "HaptArchive", "find_or_fetch", "manifest"]

_UCI_URL = (
    "https://archive.ics.uci.edu/static/public/341/"
    "smartphone+based+recognition+of+human+activities+and+postural+transitions.zip"
)
_UCI_SHA256 = "4ac4ae064227c07045a99551876b54d204837e995e298b6488559e209b3deb09"

# The two feature matrices are known by their git blob ids: sha1 of "blob", a blank, the size, a zero byte, the content.
FEATURE_BLOBS = {
    "Train/X_train.txt": "1d6d67e7e06b1a2c6e522236326e638451a68789",
    "Test/X_test.txt": "633d22f788d1aa085a28a06b393af08073ad6ed7",
}
_LARGEST_ENTRY = 256 << 20  # bytes; the largest file of the original has 66 MB


@functools.cache
def manifest() -> dict[str, str]:
    """The sha256 of every file that is read, by its path in the archive."""
    lines = resources.files("mcubench.datamodules").joinpath("hapt.sha256").read_text("ascii").splitlines()
    return {path: digest for digest, path in (line.split("  ", 1) for line in lines)}


class HaptArchive:
    """The files of one copy of HAPT; every file is checked before it is handed out.

    Args:
        path: A zip file, or a folder with the same layout (``RawData/``, ``Train/``, ``Test/``).
        hashes: The sha256 of each file by its path.

    Raises:
        CorruptDataError: If a zip can't be opened, or has an entry that would land outside its folder.
    """

    def __init__(self, path: Path, hashes: dict[str, str] | None = None) -> None:
        self.path = path
        self.hashes = manifest() if hashes is None else hashes
        self._zip: zipfile.ZipFile | None = None
        if path.is_dir():
            return
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise CorruptDataError(f"{path} is not a whole zip file: {error}") from None
        for name in self._zip.namelist():
            entry = PurePosixPath(name.replace("\\", "/"))
            if entry.is_absolute() or ".." in entry.parts or ":" in "".join(entry.parts[:1]):
                raise CorruptDataError(f"{path} is refused: its entry {name!r} would land outside its folder")

    def __contains__(self, name: str) -> bool:
        return name in self._zip.namelist() if self._zip else (self.path / name).is_file()

    def read(self, name: str) -> bytes:
        """The content of one file, checked.

        Args:
            name: Path in the archive, with forward slashes.

        Raises:
            CorruptDataError: If the file is missing, unreadable or altered; it is named.
        """
        content = self._content(name)
        if name in FEATURE_BLOBS:
            expected = FEATURE_BLOBS[name]
            found = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        else:
            expected, found = self.hashes[name], hashlib.sha256(content).hexdigest()
        if found != expected:
            # All but the names of the activities are numbers.
            fault = first_fault(content) if "/" in name else None
            fault = fault or f"it has {len(content.splitlines()):,} lines; some are altered or missing"
            raise CorruptDataError(
                f"{name} in {self.path} is not the original file (hash {found[:12]}..., expected {expected[:12]}...): "
                f"{fault}. Replace it by a good copy."
            )
        return content

    def _content(self, name: str) -> bytes:
        if self._zip is None:
            path = self.path / name
            if not path.is_file():
                raise CorruptDataError(f"{self.path} lacks {name}")
            return path.read_bytes()
        try:
            if self._zip.getinfo(name).file_size > _LARGEST_ENTRY:
                raise CorruptDataError(f"{name} in {self.path} would unpack to more than {_LARGEST_ENTRY >> 20} MB")
            return self._zip.read(name)
        except KeyError:
            raise CorruptDataError(f"{self.path} lacks {name}") from None
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise CorruptDataError(f"{name} in {self.path} can't be unpacked: {error}") from None

    def fingerprint(self) -> str:
        """A hash over the content of every file in the manifest, after checking each; 64 hex digits."""
        digest = hashlib.sha256()
        for name in sorted(self.hashes):
            digest.update(self.read(name))
        return digest.hexdigest()


def find_or_fetch(root: Path) -> HaptArchive:
    """Opens the copy of HAPT under a data root, downloading UCI's zip if there is none.

    Args:
        root: The data root. In its folder ``HAPT`` may lie a zip or the unpacked files; a folder ``HAPT Data Set``, as
            some unpackers name it, is found too.

    Raises:
        MissingDataError: If there is no copy and none can be downloaded.
        CorruptDataError: If the copy can't be opened.
    """
    home = root / "HAPT"
    for folder in (home, root / "HAPT Data Set"):
        if (folder / "RawData").is_dir():
            return HaptArchive(folder)
    copies = [HaptArchive(path) for path in sorted(home.glob("*.zip"))]
    if not copies:
        downloaded = home / "uci-341.zip"
        try:
            fetch([_UCI_URL], downloaded, _UCI_SHA256)
        except MissingDataError as error:
            raise MissingDataError(
                f"HAPT is missing: looked for *.zip or RawData/ in {home}, and could not download it ({error}). Either "
                "connect to the network and run again, or put UCI's zip (data set 341) into HAPT of some folder and "
                "name that folder with --data.root or MCUBENCH_DATA."
            ) from None
        return HaptArchive(downloaded)
    # Other zips may lie there too; the copy that has most of what can be read is the one that is meant.
    return max(copies, key=lambda copy: sum(name in copy for name in (*copy.hashes, *FEATURE_BLOBS)))
