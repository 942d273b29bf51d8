"""One copy of HAPT: a zip or an unpacked folder, read in place, every file told by the hash of its content."""

from __future__ import annotations

import functools
import hashlib
import zipfile
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from importlib import resources
from pathlib import Path, PurePosixPath

from mcubench.datamodules.hapt_tables import first_fault
from mcubench.datamodules.roots import fetch
from mcubench.errors import CorruptDataError, MissingDataError, UserError
from mcubench.reading import unreadable

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
_MOST_LISTED = 6
_UTF8_MARK = b"\xef\xbb\xbf"
_FINGERPRINTS: dict[Hashable, str] = {}  # of zips, by what they were


@functools.cache
def manifest() -> dict[str, str]:
    """The sha256 of every file that is read, by its path in the archive."""
    lines = resources.files("mcubench.datamodules").joinpath("hapt.sha256").read_text("ascii").splitlines()
    return {path: digest for digest, path in (line.split("  ", 1) for line in lines)}


class HaptArchive:
    """The files of one copy of HAPT; every file is checked before it is handed out.

    Args:
        path: A zip file, or a folder with the same layout (``RawData/``, ``Train/``, ``Test/``). In a zip these may lie
            in a folder of any name.
        hashes: The sha256 of each file by its path.

    Raises:
        CorruptDataError: If a zip can't be opened, or has an entry that would land outside its folder.
    """

    def __init__(self, path: Path, hashes: dict[str, str] | None = None) -> None:
        self.path = path
        self.hashes = manifest() if hashes is None else hashes
        self._zip: zipfile.ZipFile | None = None
        self._entries: dict[str, zipfile.ZipInfo] = {}
        if path.is_dir():
            return
        try:
            self._zip = zipfile.ZipFile(path)
        except Exception as error:  # zipfile has many for what it can't read
            raise CorruptDataError(f"{path} is not a whole zip file: {error}") from None
        found: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            entry = PurePosixPath(info.filename.replace("\\", "/"))
            if entry.is_absolute() or ".." in entry.parts or ":" in "".join(entry.parts[:1]):
                raise CorruptDataError(f"{path} is refused: its entry {info.filename!r} would land outside its folder")
            if not info.is_dir():
                found[str(entry)] = info
        top = _top_folder(found, (*self.hashes, *FEATURE_BLOBS))
        self._entries = {name.removeprefix(top): info for name, info in found.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._entries if self._zip else (self.path / name).is_file()

    def known(self) -> int:
        """How many of the data set's tables it has, good or not."""
        return sum(name in self for name in (*self.hashes, *FEATURE_BLOBS) if "/" in name)

    def read(self, name: str) -> bytes:
        """The content of one file as the original has it, checked. A copy may end its lines otherwise.

        Args:
            name: Path in the archive, with forward slashes.

        Raises:
            CorruptDataError: If the file is missing, unreadable or altered; it is named.
        """
        content = self._content(name)
        for spelling in _spellings(content):
            if self._is_original(name, spelling):
                return spelling
        # All but the names of the activities are numbers.
        fault = first_fault(content) if "/" in name else None
        fault = fault or f"it has {len(content.splitlines()):,} lines; some are altered or missing"
        raise CorruptDataError(
            f"{name} in {self.path} is not the original file (sha256 {hashlib.sha256(content).hexdigest()[:12]}..., "
            f"and no other line ends make it so): {fault}. Replace it by a good copy."
        )

    def _is_original(self, name: str, content: bytes) -> bool:
        if name in FEATURE_BLOBS:
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
            return blob.hexdigest() == FEATURE_BLOBS[name]
        return hashlib.sha256(content).hexdigest() == self.hashes[name]

    def _content(self, name: str) -> bytes:
        try:
            if name not in self:
                raise CorruptDataError(f"{self.path} lacks {name}{self._holds()}")
            if self._zip is None:
                return (self.path / name).read_bytes()
            entry = self._entries[name]
            if entry.file_size > _LARGEST_ENTRY:
                raise CorruptDataError(f"{name} in {self.path} would unpack to more than {_LARGEST_ENTRY >> 20} MB")
            return self._zip.read(entry)
        except CorruptDataError:
            raise
        except RuntimeError as error:  # what zipfile raises for passwords and for methods that it does not know
            raise CorruptDataError(
                f"{name} in {self.path} can't be unpacked: {error}. Pack the files anew, by deflate and without a "
                "password."
            ) from None
        except OSError as error:
            raise CorruptDataError(f"{name} in {self.path} can't be read: {error.strerror or error}") from None
        except Exception as error:  # every method has its own for what it can't unpack
            raise CorruptDataError(f"{name} in {self.path} can't be unpacked: {error}") from None

    def _holds(self) -> str:
        """What a copy has that lacks all tables."""
        if self.known():
            return ""
        names = self._entries if self._zip else (each.name for each in self.path.iterdir())
        return f"; it holds {_listed(name.partition('/')[0] for name in names)}"

    def fingerprint(self) -> str:
        """A hash over the content of every file in the manifest, after checking each; 64 hex digits.

        A zip that is as it was when this process read all of it is not read once more.
        """
        if self._zip is None:
            return self._fingerprint()
        state = self.path.stat()
        key = (self.path.resolve(), state.st_ino, state.st_mtime_ns, state.st_size, tuple(sorted(self.hashes.items())))
        if key not in _FINGERPRINTS:
            _FINGERPRINTS[key] = self._fingerprint()
        return _FINGERPRINTS[key]

    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for name in sorted(self.hashes):
            digest.update(self.read(name))
        return digest.hexdigest()


def _top_folder(names: Iterable[str], known: Iterable[str]) -> str:
    """The folder, with a slash behind it, in which most of the known files lie; empty if they lie in none."""
    known = tuple(known)
    tops = Counter(name.removesuffix(each) for name in names for each in known if name.endswith(each))
    folders = [top for top in tops if not top or top.endswith("/")]
    return max(folders, key=lambda top: (tops[top], -len(top)), default="")


def _spellings(content: bytes) -> Iterator[bytes]:
    """A text as it is, then the same lines as other systems and editors write them."""
    yield content
    lines = content.removeprefix(_UTF8_MARK).replace(b"\r\n", b"\n").replace(b"\r", b"\n").removesuffix(b"\n")
    for end in (b"\n", b"\r\n"):
        text = lines.replace(b"\n", end)
        yield text + end
        yield text


def _listed(names: Iterable[str]) -> str:
    found = sorted(set(names))
    more = f" and {len(found) - _MOST_LISTED} more" if len(found) > _MOST_LISTED else ""
    return f"{', '.join(found[:_MOST_LISTED]) or 'nothing'}{more}"


def find_or_fetch(root: Path) -> HaptArchive:
    """Opens the copy of HAPT under a data root, downloading UCI's zip if there is none.

    Args:
        root: The data root. In its folder ``HAPT`` lies a zip, or the unpacked files, which may have a folder of their
            own there; ``HAPT Data Set`` may lie in the root, too. Of several copies the one is opened that has most.

    Raises:
        MissingDataError: If there is no copy and none can be downloaded.
        CorruptDataError: If the only copy can't be opened.
        UnreadableError: If the system does not give it out.
    """
    copies: list[tuple[int, HaptArchive]] = []
    damaged: list[UserError] = []
    home = root / "HAPT"
    try:
        places = list(_places(root))
    except OSError as error:
        raise unreadable(home, error) from None
    for path in places:
        try:
            archive = HaptArchive(path)
            copies.append((archive.known(), archive))
        except CorruptDataError as error:
            damaged.append(error)
        except OSError as error:
            damaged.append(unreadable(path, error))
    known, best = max(copies, key=lambda copy: copy[0], default=(0, None))  # of equal ones the first
    if best is not None and (known or best.path.is_dir()):
        return best
    if damaged:
        raise damaged[0]
    downloaded = home / "uci-341.zip"
    try:
        fetch([_UCI_URL], downloaded, _UCI_SHA256)
    except MissingDataError as error:
        names = [path.name for path in home.glob("*")]
        found = f"; found {_listed(names)}, without RawData" if names else ""
        raise MissingDataError(
            f"HAPT is missing: looked for *.zip or RawData/ in {home} and in its folders, and could not download it "
            f"({error}){found}. Either connect to the network and run again, or put UCI's zip (data set 341) into HAPT "
            "of some folder and name that folder with --data.root or MCUBENCH_DATA."
        ) from None
    return HaptArchive(downloaded)


def _places(root: Path) -> Iterator[Path]:
    """Folders that have the layout of HAPT, then zips that may."""
    home = root / "HAPT"
    inside = [path.parent for depth in ("*/RawData", "*/*/RawData") for path in sorted(home.glob(depth))]
    for folder in (home, root / "HAPT Data Set", *inside):
        if (folder / "RawData").is_dir():
            yield folder
    yield from (path for depth in ("*.zip", "*/*.zip") for path in sorted(home.glob(depth)) if path.is_file())
