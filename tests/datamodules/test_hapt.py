"""HAPT: archives made by hand for what can go wrong, the real one against its own labels and published counts."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mcubench.datamodules import HAPT, hapt_archive, hapt_windows
from mcubench.datamodules.hapt_archive import HaptArchive, find_or_fetch, manifest
from mcubench.datamodules.hapt_features import CACHED, load_features, source_of
from mcubench.datamodules.hapt_windows import load_windows
from mcubench.errors import CorruptDataError, MissingDataError, UserError
from mcubench.features import recording_features
from tests.datamodules.test_mnist import listing
from tests.features.recordings import recording
from tests.unreadable import hidden_from_us

Files = dict[str, bytes]


def made_files() -> Files:
    """Two recordings of two subjects; windows by hand: 200 samples give 2 windows, 127 none, 128 one."""
    random = np.random.default_rng(0)
    files = {}
    for experiment, user in ((1, 1), (2, 2)):
        for sensor in ("acc", "gyro"):
            rows = random.normal(size=(500, 3))
            text = "\n".join(" ".join(f"{value:.9f}" for value in row) for row in rows)
            files[f"RawData/{sensor}_exp{experiment:02}_user{user:02}.txt"] = text.encode()
    files["RawData/labels.txt"] = b"1 1 5 11 210\n1 1 7 250 376\n1 1 4 300 427\n2 2 1 1 128\n2 2 12 130 450\n"
    files["Train/y_train.txt"] = b"5\n5\n4\n"
    files["Train/subject_id_train.txt"] = b"1\n1\n1\n"
    files["Test/y_test.txt"] = b"1\n12\n12\n12\n12\n"
    files["Test/subject_id_test.txt"] = b"2\n2\n2\n2\n2\n"
    return files


def archive(folder: Path, files: Files, packed: bool = True, hashes: Files | None = None) -> HaptArchive:
    expected = {name: hashlib.sha256(content).hexdigest() for name, content in (hashes or files).items()}
    if packed:
        path = folder / "some.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in files.items():
                file.writestr(name, content)
        return HaptArchive(path, expected)
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return HaptArchive(folder, expected)


def test_a_zip_is_read_through_once_and_again_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = made_files()
    whole = archive(tmp_path, files)
    found = whole.fingerprint()
    assert found == hashlib.sha256(b"".join(files[name] for name in sorted(files))).hexdigest()
    with monkeypatch.context() as patch:
        patch.setattr(HaptArchive, "read", lambda *_: pytest.fail("it was read again"))
        assert HaptArchive(whole.path, whole.hashes).fingerprint() == found
    altered = files | {"RawData/labels.txt": files["RawData/labels.txt"].replace(b"210", b"211")}
    with pytest.raises(CorruptDataError, match=r"RawData/labels\.txt in .* is not the original file"):
        archive(tmp_path, altered, hashes=files).fingerprint()


@pytest.mark.parametrize("packed", [True, False], ids=["zip", "folder"])
def test_windows_of_a_made_archive(tmp_path: Path, packed: bool) -> None:
    files = made_files()
    train, test = load_windows(archive(tmp_path, files, packed))
    assert train.y.tolist() == [4, 4, 3]
    assert test.y.tolist() == [0, 11, 11, 11, 11]
    assert train.subjects is not None
    assert train.subjects.tolist() == [1, 1, 1]
    acc = np.loadtxt(files["RawData/acc_exp01_user01.txt"].decode().splitlines())
    gyro = np.loadtxt(files["RawData/gyro_exp01_user01.txt"].decode().splitlines())
    for window, start in zip(train.x, (10, 74, 299), strict=True):  # first - 1, one step of 64 later, the last segment
        assert window.shape == (6, 128)
        assert np.allclose(window[:3], acc[start : start + 128].T, atol=1e-6)
        assert np.allclose(window[3:], gyro[start : start + 128].T, atol=1e-6)


def test_the_cache_is_used_and_made_anew_when_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = archive(tmp_path, made_files())
    first = load_windows(made)[0].x
    (cached,) = (tmp_path / "cache" / "mcubench").iterdir()
    monkeypatch.setattr(hapt_windows, "_compute", lambda *args: pytest.fail("the cache was not used"))
    assert np.array_equal(load_windows(made)[0].x, first)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cached.write_bytes(cached.read_bytes()[:-4000])
    assert np.array_equal(load_windows(made)[0].x, first)
    assert list(cached.parent.iterdir()) == [cached], "written whole, in the same place"


@pytest.mark.parametrize("damage", ["zeros", "another file's", "without a hash"])
def test_a_cache_whose_hash_is_another_is_not_believed(tmp_path: Path, cache: Path, damage: str) -> None:
    made = archive(tmp_path, made_files())
    first = load_windows(made)[0].x
    (cached,) = cache.iterdir()
    content = cached.read_bytes()
    if damage == "zeros":
        cached.write_bytes(content[:2000] + bytes(4000) + content[6000:])
    elif damage == "another file's":
        np.save(cached, np.load(cached) + 1)
        cached.write_bytes(cached.read_bytes() + content[-32:])
    else:
        np.save(cached, np.load(cached) + 1)
    assert np.array_equal(load_windows(made)[0].x, first)
    assert cached.read_bytes() == content, "made anew"


def test_other_content_has_another_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    files = made_files()
    load_windows(archive(tmp_path, files))
    files["RawData/acc_exp01_user01.txt"] = files["RawData/acc_exp02_user02.txt"]
    load_windows(archive(tmp_path, files))
    assert len(list((tmp_path / "cache" / "mcubench").iterdir())) == 2


def changed(name: str, content: bytes) -> Files:
    return {**made_files(), name: content}


def short_recording(lines: int) -> Files:
    """Both sensors end early."""
    files = made_files()
    for sensor in ("acc", "gyro"):
        name = f"RawData/{sensor}_exp01_user01.txt"
        files[name] = b"\n".join(files[name].splitlines()[:lines])
    return files


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (changed("RawData/acc_exp01_user01.txt", b"1 2 3\n1 nan 3\n"), "line 2, column 2: nan is not a finite number"),
        (changed("RawData/acc_exp01_user01.txt", b"1 2 3\n1 -inf 3\n"), "-inf is not a finite number"),
        (
            changed("RawData/acc_exp01_user01.txt", b"1 2 3\n1 x 3\n"),
            "acc_exp01_user01.txt, line 2, column 2: 'x' is not a n",
        ),
        (
            changed("RawData/gyro_exp01_user01.txt", b"1 2 3\n\n3 4\n"),
            "gyro_exp01_user01.txt, line 3: 2 columns, expected 3",
        ),
        (changed("RawData/acc_exp01_user01.txt", b""), "acc_exp01_user01.txt, line 1: the file is empty"),
        (
            changed("RawData/acc_exp01_user01.txt", b"1 2 3\n"),
            "acc_exp01_user01.txt ends at line 1, RawData/gyro_exp01_user01.txt at line 500",
        ),
        (short_recording(400), "acc_exp01_user01.txt ends at line 400, RawData/labels.txt goes on behind it"),
        (
            changed("RawData/labels.txt", b"1 1 5 11 210\n3 1 7 250 376\n"),
            "line 2: no recording is of experiment 3, user",
        ),
        (changed("RawData/labels.txt", b"1 1 5 0 210\n"), "labels.txt, line 1: no experiment, user, activity 1 to 12"),
        (
            changed("RawData/labels.txt", b"1 1 13 11 210\n"),
            "labels.txt, line 1: no experiment, user, activity 1 to 12",
        ),
        (
            changed("RawData/labels.txt", b"1 1 5 11.5 210\n"),
            "labels.txt, line 1: no experiment, user, activity 1 to 12",
        ),
        (changed("Train/y_train.txt", b"5\n4\n4\n"), "do not agree with Train/y_train.txt"),
        (changed("Test/subject_id_test.txt", b"2\n2\n2\n2\n"), "do not agree with Test/y_test.txt"),
    ],
    ids=[
        "nan",
        "inf",
        "text",
        "columns",
        "empty",
        "lengths",
        "end",
        "experiment",
        "zero",
        "activity",
        "part",
        "y",
        "who",
    ],
)
@pytest.mark.parametrize("load", [load_windows, load_features])
def test_wrong_content_is_named(
    tmp_path: Path, cache: Path, load: Callable[[HaptArchive], object], files: Files, message: str
) -> None:
    with pytest.raises(CorruptDataError, match=message):
        load(archive(tmp_path, files))
    assert not cache.exists() or not list(cache.iterdir()), "nothing of it is kept"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mcubench"


@pytest.mark.parametrize("load", [load_windows, load_features])
@pytest.mark.parametrize("content", [b"1 2 3\n1 nan 3\n", b"1 2 3\n1 x 3\n", b"1 2 3\n", None])
def test_nothing_is_cached_of_a_malformed_recording(
    tmp_path: Path, cache: Path, load: Callable[[HaptArchive], object], content: bytes | None
) -> None:
    name = "RawData/gyro_exp02_user02.txt"
    files = {key: value for key, value in made_files().items() if key != name}
    if content is not None:
        files[name] = content
    with pytest.raises(CorruptDataError, match=r"gyro_exp02_user02\.txt"):
        load(archive(tmp_path, files, hashes=made_files() if content is None else None))
    assert not cache.exists() or not list(cache.iterdir())


def test_features_need_a_sample_behind_the_last_window(tmp_path: Path, cache: Path) -> None:
    made = archive(tmp_path, short_recording(427))  # where the last segment of experiment 1 ends
    assert len(load_windows(made)[0].y) == 3
    with pytest.raises(CorruptDataError, match=r"acc_exp01_user01\.txt ends at line 427: the jerk needs"):
        load_features(made)


def test_a_dead_sensor_is_named(tmp_path: Path, cache: Path) -> None:
    rows = made_files()["RawData/acc_exp02_user02.txt"].decode().splitlines()
    rows = [f"0 0 {row.split()[2]}" if number >= 129 else row for number, row in enumerate(rows)]
    files = changed("RawData/acc_exp02_user02.txt", "\n".join(rows).encode())
    # The filters' state decays for ever in theory, and to nothing in arithmetic: a stretch of 4,000 constant samples.
    files["RawData/acc_exp02_user02.txt"] += b"\n0 0 0" * 12000
    files["RawData/gyro_exp02_user02.txt"] += b"\n0 0 0" * 12000
    files["RawData/labels.txt"] = files["RawData/labels.txt"].replace(b"2 2 12 130 450", b"2 2 12 12001 12321")
    with pytest.raises(
        CorruptDataError, match=r"acc_exp02_user02\.txt, lines \d+ to \d+: \S+ is not defined: a signal is"
    ):
        load_features(archive(tmp_path, files))
    assert not list(cache.glob("*features*"))


def test_an_altered_file_is_named(tmp_path: Path) -> None:
    altered = changed("RawData/gyro_exp02_user02.txt", made_files()["RawData/gyro_exp02_user02.txt"] + b" ")
    with pytest.raises(
        CorruptDataError, match=r"RawData/gyro_exp02_user02\.txt in .* is not the original file.*500 lines"
    ):
        load_windows(archive(tmp_path, altered, hashes=made_files()))
    wrong = changed("RawData/gyro_exp02_user02.txt", b"1 2 3\n4 five 6\n")
    with pytest.raises(CorruptDataError, match=r"not the original file .*line 2, column 2: 'five' is not a number"):
        load_windows(archive(tmp_path, wrong, hashes=made_files()))


def crlf(content: bytes) -> bytes:
    return content.replace(b"\n", b"\r\n")


LINES: dict[str, Callable[[bytes], bytes]] = {
    "CRLF": crlf,
    "CR": lambda content: content.replace(b"\n", b"\r"),
    "mixed": lambda content: content.replace(b"\n", b"\r\n", 3),
    "an end behind the last": lambda content: content + b"\n",
    "CRLF and an end behind the last": lambda content: crlf(content) + b"\r\n",
    "a mark of UTF-8": lambda content: b"\xef\xbb\xbf" + content,
}


@pytest.mark.parametrize("packed", [True, False], ids=["zip", "folder"])
@pytest.mark.parametrize("lines", LINES)
def test_the_same_lines_are_read_however_they_end(tmp_path: Path, cache: Path, lines: str, packed: bool) -> None:
    """The made files are written with LF, and without an end behind the last of a recording's lines."""
    other = {name: LINES[lines](content) for name, content in made_files().items()}
    (tmp_path / "other").mkdir()
    copy, plain = archive(tmp_path / "other", other, packed, hashes=made_files()), archive(tmp_path, made_files())
    assert copy.read("RawData/labels.txt") == made_files()["RawData/labels.txt"]
    for ours, theirs in zip(load_windows(copy), load_windows(plain), strict=True):
        assert np.array_equal(ours.x, theirs.x)
        assert np.array_equal(ours.y, theirs.y)
    assert len(list(cache.iterdir())) == 1, "the same content"


def test_what_had_other_line_ends_originally_is_read_with_ours(tmp_path: Path) -> None:
    originals = {name: crlf(content) for name, content in made_files().items()}
    made = archive(tmp_path, made_files(), hashes=originals)
    assert {name: made.read(name) for name in originals} == originals


def test_feature_matrices_are_read_however_their_lines_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = {"Train/X_train.txt": features(3), "Test/X_test.txt": features(5)}
    monkeypatch.setattr(hapt_archive, "FEATURE_BLOBS", {name: git_blob(content) for name, content in tables.items()})
    other = {name: crlf(content) for name, content in {**made_files(), **tables}.items()}
    train, _ = load_features(archive(tmp_path, other, hashes=made_files()))
    assert train.x[2, 5] == 0.007


@pytest.mark.parametrize(
    "alter",
    [
        lambda content: crlf(content).replace(b"\r\n", b"\r\n\r\n", 1),
        lambda content: crlf(content).replace(b"0", b"1", 1),
        lambda content: b"\n".join(reversed(content.split(b"\n"))),
        lambda content: content.replace(b" ", b"  ", 1),
    ],
    ids=["an empty line more", "a digit", "another order", "another blank"],
)
def test_other_content_is_refused_whatever_its_line_ends(tmp_path: Path, alter: Callable[[bytes], bytes]) -> None:
    name = "RawData/acc_exp01_user01.txt"
    altered = changed(name, alter(made_files()[name]))
    with pytest.raises(CorruptDataError, match=rf"{name} in .* is not the original file"):
        load_windows(archive(tmp_path, altered, hashes=made_files()))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    files = made_files()
    del files["RawData/acc_exp02_user02.txt"]
    for packed in (True, False):
        with pytest.raises(CorruptDataError, match=r"lacks RawData/acc_exp02_user02\.txt"):
            load_windows(archive(tmp_path, files, packed, hashes=made_files()))


@pytest.mark.parametrize(
    "name", ["../escape.txt", "/etc/escape.txt", "RawData/../../escape.txt", "C:\\escape.txt", "..\\x"]
)
def test_an_entry_that_would_escape_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorruptDataError, match="would land outside its folder"):
        archive(tmp_path, {**made_files(), name: b"gotcha"})


def test_a_truncated_zip_is_named(tmp_path: Path) -> None:
    archive(tmp_path, made_files())
    path = tmp_path / "some.zip"
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(CorruptDataError, match=r"some\.zip is not a whole zip file"):
        HaptArchive(path)


def test_a_damaged_entry_is_named(tmp_path: Path) -> None:
    made = archive(tmp_path, made_files())
    content = bytearray((tmp_path / "some.zip").read_bytes())
    content[200:260] = bytes(60)  # inside the first entry's data
    (tmp_path / "some.zip").write_bytes(content)
    with pytest.raises(CorruptDataError, match=r"RawData/acc_exp01_user01\.txt in .* can't be unpacked"):
        load_windows(HaptArchive(tmp_path / "some.zip", made.hashes))


def test_a_huge_entry_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hapt_archive, "_LARGEST_ENTRY", 1000)
    with pytest.raises(CorruptDataError, match="would unpack to more than"):
        load_windows(archive(tmp_path, made_files()))


def features(rows: int) -> bytes:
    return b"\n".join(b" ".join(b"%.3f" % (0.001 * (row + column)) for column in range(561)) for row in range(rows))


def test_features_where_the_copy_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = {"Train/X_train.txt": features(3), "Test/X_test.txt": features(5)}
    with pytest.raises(CorruptDataError, match=r"Train/X_train\.txt .* is not the original file"):
        load_features(archive(tmp_path, {**made_files(), **tables}, hashes=made_files()))
    blobs = {name: git_blob(content) for name, content in tables.items()}
    monkeypatch.setattr(hapt_archive, "FEATURE_BLOBS", blobs)
    made = archive(tmp_path, {**made_files(), **tables}, hashes=made_files())
    assert source_of(made) == "official"
    train, test = load_features(made)
    assert train.x.shape == (3, 561)
    assert train.x[2, 5] == 0.007
    assert test.y.tolist() == [0, 11, 11, 11, 11]


def git_blob(content: bytes) -> str:
    return hashlib.sha1(b"blob " + str(len(content)).encode() + b"\0" + content).hexdigest()


def test_features_of_a_raw_only_copy_are_computed(tmp_path: Path) -> None:
    files = made_files()
    made = archive(tmp_path, files)
    assert source_of(made) == "recomputed"
    train, test = load_features(made)
    assert (train.x.shape, test.x.shape) == ((3, 561), (5, 561))
    sensors = [
        np.loadtxt(files[f"RawData/{sensor}_exp01_user01.txt"].decode().splitlines()) for sensor in ("acc", "gyro")
    ]
    # first - 1, one step of 64 later, the last segment
    assert np.array_equal(train.x, recording_features(np.concatenate(sensors, axis=1), [10, 74, 299]))
    assert train.y.tolist() == [4, 4, 3]


def test_the_name_in_the_cache_belongs_to_the_values() -> None:
    """If this fails because features are meant to change, count the version in `CACHED` up and renew the numbers."""
    features = recording_features(recording(600), [0, 100, 300])
    weights = np.random.default_rng(1).uniform(1, 2, 561)
    found = (np.sign(features) * np.log1p(np.abs(features))) @ weights
    assert (CACHED, found.tolist()) == (
        "features-v1",
        pytest.approx([280.6527646181967, 258.05264082314693, 261.31839252640304], rel=1e-9),
    )


def test_other_zips_beside_the_data_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "HAPT").mkdir()
    with zipfile.ZipFile(tmp_path / "HAPT" / "a-notes.zip", "w") as notes:
        notes.writestr("./", b"")
        notes.writestr("notes.txt", b"not the data")
    files = {**made_files(), "Train/X_train.txt": b"", "Test/X_test.txt": b""}
    for name, held in (("b-raw.zip", made_files()), ("c-full.zip", files)):
        archive(tmp_path, held).path.rename(tmp_path / "HAPT" / name)
        monkeypatch.setattr(hapt_archive, "manifest", lambda: dict.fromkeys(made_files(), ""))
        assert find_or_fetch(tmp_path).path.name == name, "the copy that has most"


def test_an_unwritable_cache_costs_time_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    train, _ = load_windows(archive(tmp_path, made_files()))
    assert len(train.y) == 3
    assert "not cached" in caplog.text


FOLDERS = ["HAPT", "HAPT Data Set", "HAPT/HAPT Data Set", "HAPT/some name", "HAPT/uci-341/HAPT Data Set"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_an_unpacked_folder_is_found(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder / "RawData").mkdir(parents=True)
    assert find_or_fetch(tmp_path).path == tmp_path / folder


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> Files:
    """The made files, taken for all of HAPT."""
    files = made_files()
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(hapt_archive, "manifest", lambda: hashes)
    monkeypatch.setattr(hapt_archive, "_UCI_URL", "http://127.0.0.1:9/uci.zip")  # nothing listens there
    return files


def write(folder: Path, files: Files) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def zipped(path: Path, files: Files) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)


@pytest.mark.parametrize("top", ["", "HAPT Data Set/", "a/b/", "./", "HAPT Data Set\\"])
def test_a_zip_may_have_a_top_folder(tmp_path: Path, little: Files, top: str) -> None:
    entries = {top + name: content for name, content in little.items()}
    if top.endswith("\\"):  # as tools of Windows wrote them
        entries = {name.replace("/", "\\"): content for name, content in entries.items()}
    beside = {"__MACOSX/HAPT Data Set/RawData/._labels.txt": b"\0", f"{top}README.txt": b"", "RawData.txt": b""}
    zipped(tmp_path / "HAPT" / "hapt.zip", {**entries, **beside})
    train, test = load_windows(find_or_fetch(tmp_path))
    assert (train.y.tolist(), test.y.tolist()) == ([4, 4, 3], [0, 11, 11, 11, 11])


def test_unpacked_files_are_read_from_any_of_these_folders(tmp_path: Path, little: Files) -> None:
    write(tmp_path / "HAPT" / "HAPT Data Set", {name: crlf(content) for name, content in little.items()})
    before = listing(tmp_path)
    assert load_windows(find_or_fetch(tmp_path))[0].y.tolist() == [4, 4, 3]
    assert listing(tmp_path) == before, "read in place"


def test_the_copy_that_has_most_is_taken_whether_folder_or_zip(tmp_path: Path, little: Files) -> None:
    write(tmp_path / "HAPT", {"RawData/labels.txt": little["RawData/labels.txt"]})
    zipped(tmp_path / "HAPT" / "hapt.zip", little)
    (tmp_path / "HAPT" / "broken.zip").write_bytes(b"PK")
    assert find_or_fetch(tmp_path).path.name == "hapt.zip"
    (tmp_path / "HAPT" / "hapt.zip").unlink()
    with pytest.raises(CorruptDataError, match=r"HAPT lacks RawData/acc_exp01_user01\.txt"):
        load_windows(find_or_fetch(tmp_path))


def test_a_broken_zip_alone_is_named(tmp_path: Path, little: Files) -> None:
    (tmp_path / "HAPT").mkdir()
    (tmp_path / "HAPT" / "broken.zip").write_bytes(b"PK")
    with pytest.raises(CorruptDataError, match=r"broken\.zip is not a whole zip file"):
        find_or_fetch(tmp_path)


@pytest.mark.parametrize(
    ("packed", "hidden"), [(True, "HAPT"), (True, "HAPT/some.zip"), (False, "HAPT"), (False, "HAPT/RawData")]
)
def test_what_we_may_not_read_is_named(tmp_path: Path, little: Files, packed: bool, hidden: str) -> None:
    (tmp_path / "HAPT").mkdir()
    archive(tmp_path / "HAPT", little, packed)
    path = tmp_path / hidden
    with hidden_from_us(path), pytest.raises(UserError, match=f"{path}.*Permission denied"):
        find_or_fetch(tmp_path).read("RawData/labels.txt")


def test_another_copy_is_read_where_one_is_hidden(tmp_path: Path, little: Files) -> None:
    for name in ("a", "b"):
        (tmp_path / "HAPT" / name / "RawData").mkdir(parents=True)
    with hidden_from_us(tmp_path / "HAPT" / "a" / "RawData"):
        assert find_or_fetch(tmp_path).path.name == "b"


@pytest.mark.parametrize(
    ("place", "bits", "message"),
    [
        pytest.param(8, 0x01, "is encrypted", id="encrypted"),
        pytest.param(10, 0x63, "method is not supported", id="method"),
        pytest.param(42, 0x40, r"not a whole zip file|can't be unpacked", id="offset"),
        pytest.param(24, 0x40, r"would unpack|can't be unpacked", id="size"),
    ],
)
def test_zips_that_are_altered_are_named(tmp_path: Path, place: int, bits: int, message: str) -> None:
    made = archive(tmp_path, made_files())
    content = bytearray(made.path.read_bytes())
    at = content.find(b"PK\x01\x02")
    while at >= 0:
        content[at + place] ^= bits  # of the central directory (APPNOTE 4.3.12)
        at = content.find(b"PK\x01\x02", at + 1)
    made.path.write_bytes(content)
    with pytest.raises(CorruptDataError, match=message):
        load_windows(HaptArchive(made.path, made.hashes))


def test_a_name_in_a_zip_that_is_no_text(tmp_path: Path) -> None:
    made = archive(tmp_path, {"\u00e9": b""})
    made.path.write_bytes(made.path.read_bytes().replace("\u00e9".encode(), b"\xff\xff"))
    with pytest.raises(CorruptDataError, match=r"some\.zip is not a whole zip file: .*can't decode"):
        HaptArchive(made.path)


def test_what_lies_there_instead_is_listed(tmp_path: Path, little: Files) -> None:
    """The older data set of the same authors is named much like it."""
    names = ("activity_labels.txt", "train/y_train.txt")
    zipped(tmp_path / "HAPT" / "har.zip", {f"UCI HAR Dataset/{name}": b"" for name in names})
    with pytest.raises(MissingDataError, match=r"; found har\.zip, without RawData"):
        find_or_fetch(tmp_path)
    with pytest.raises(CorruptDataError, match=r"lacks RawData/labels\.txt; it holds UCI HAR Dataset"):
        HaptArchive(tmp_path / "HAPT" / "har.zip").read("RawData/labels.txt")


def test_a_zip_with_a_password_is_named(tmp_path: Path) -> None:
    made = archive(tmp_path, made_files())
    content = bytearray((tmp_path / "some.zip").read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the first bit of the flags (APPNOTE 4.4.4)
        at = content.find(mark)
        while at >= 0:
            content[at + offset] |= 1
            at = content.find(mark, at + 1)
    (tmp_path / "some.zip").write_bytes(content)
    with pytest.raises(CorruptDataError, match=r"can't be unpacked: .*(password|encrypted).*Pack the files anew"):
        load_windows(HaptArchive(tmp_path / "some.zip", made.hashes))


def test_missing_data_says_where_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hapt_archive, "_UCI_URL", "http://127.0.0.1:9/uci.zip")  # nothing listens there
    with pytest.raises(MissingDataError) as caught:
        HAPT(root=str(tmp_path)).setup()
    for part in (str(tmp_path / "HAPT"), "--data.root", "MCUBENCH_DATA", "network"):
        assert part in str(caught.value)
    assert list(tmp_path.rglob("*.*")) == []


def test_wrong_inputs() -> None:
    with pytest.raises(UserError, match="'raw' or 'features', got 'spectra'"):
        HAPT(inputs="spectra")  # type: ignore[arg-type]


def test_the_manifest_has_every_recording() -> None:
    # 61 experiments of two sensors, the labels, and y, subjects of both parts, and the names (README of the data set).
    assert len(manifest()) == 61 * 2 + 1 + 4 + 1
    # The digest over all of RawData was published with the copy that the manifest was made from.
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(manifest().items()) if name.startswith("RawData/"))
    assert (
        hashlib.sha256(lines.encode()).hexdigest() == "64088bcf0d7d910bdaafecd29568b4929ab0c408c3a98b95fb9f56928f4a7d1f"
    )


@pytest.fixture(scope="module")
def module(real_data: Path) -> HAPT:
    before = listing(real_data)
    module = HAPT(root=str(real_data))
    module.setup()
    assert listing(real_data) == before, "the root is read-only by contract"
    return module


@pytest.mark.real_data
class TestRealArchive:
    # Published counts of the classes 1 to 12.
    TRAIN = (1226, 1073, 987, 1293, 1423, 1413, 47, 23, 75, 60, 90, 57)
    TEST = (496, 471, 420, 508, 556, 545, 23, 10, 32, 25, 49, 27)
    TEST_SUBJECTS = frozenset({2, 4, 9, 10, 12, 13, 18, 20, 24})

    def test_counts(self, module: HAPT) -> None:
        train, val, test = (np.bincount(module.arrays(part)[1], minlength=12) for part in ("train", "val", "test"))
        assert tuple(train + val) == self.TRAIN
        assert tuple(test) == self.TEST

    def test_subjects_are_apart(self, module: HAPT) -> None:
        train, val, test = (set(module.subjects(part).tolist()) for part in ("train", "val", "test"))  # type: ignore[union-attr]
        assert test == self.TEST_SUBJECTS
        assert not train & val
        assert len(train) == 16
        assert len(val) == 5
        assert not (train | val) & test

    def test_every_class_is_in_training_and_validation(self, module: HAPT) -> None:
        for part in ("train", "val"):
            assert set(module.arrays(part)[1]) == set(range(12))  # type: ignore[arg-type]

    def test_units(self, module: HAPT) -> None:
        # At rest the accelerometer measures 1 g, and the gyroscope nothing.
        train, _ = module.load()
        standing = train.x[train.y == module.class_names.index("STANDING")]
        assert np.linalg.norm(standing[:, :3].mean(2), axis=1).mean() == pytest.approx(1, abs=0.05)
        assert np.abs(standing[:, 3:].mean()) < 0.05

    def test_class_names_are_those_of_the_archive(self, module: HAPT, real_data: Path) -> None:
        lines = find_or_fetch(real_data).read("activity_labels.txt").decode().splitlines()
        assert [tuple(line.split()) for line in lines if line.strip()] == [
            (str(number), name) for number, name in enumerate(module.class_names, 1)
        ]

    def test_leave_one_subject_out(self, real_data: Path) -> None:
        module = HAPT(root=str(real_data), folds=21, fold=20)
        assert len(set(module.subjects("val").tolist())) == 1  # type: ignore[union-attr]

    def test_random_split_mixes_subjects(self, real_data: Path) -> None:
        module = HAPT(root=str(real_data), split="random")
        train, val = (set(module.subjects(part).tolist()) for part in ("train", "val"))  # type: ignore[union-attr]
        assert len(train & val) == 21
