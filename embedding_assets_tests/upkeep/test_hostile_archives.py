"""Archives, folders and prefixes made to do harm: one line each, nothing outside one folder, little in it."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embedding_assets.bucket.store import Fetched, Store
from embedding_assets.errors import InputError
from embedding_assets.upkeep import import_archive, import_source
from embedding_assets.upkeep.import_archive import unpack
from embedding_assets.upkeep.import_source import local_copy

SMALL = 2**20
END = bytes(1024)
"""Two blocks of zeros."""


def entry(name: str, data: bytes = b"", **options: Any) -> bytes:
    """One entry: its header, its bytes, zeros to the next block."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for option, value in options.items():
        setattr(info, option, value)
    return info.tobuf(tarfile.PAX_FORMAT) + data + bytes(-len(data) % 512)


def patched(header: bytes, place: int, data: bytes) -> bytes:
    """A header with other bytes in it, and the checksum of those."""
    block = bytearray(header)
    block[place : place + len(data)] = data
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    return bytes(block)


def file(data: bytes) -> bytes:
    """A first entry, so that what follows is not the beginning."""
    return entry("chroma.sqlite3", data)


def sparse() -> bytes:
    """A file of an exabyte that has no bytes, as GNU tar wrote it first."""
    header = patched(entry("sparse"), 156, tarfile.GNUTYPE_SPARSE)
    return patched(header, 483, b"\x80" + (2**60).to_bytes(11, "big"))


def chain(count: int) -> bytes:
    """Headers that each extend the next one."""
    record = b"11 path=aa\n"
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, len(record)
    return (info.tobuf(tarfile.USTAR_FORMAT) + record.ljust(512, b"\0")) * count


def crc_changed() -> bytes:
    """gzip's own checksum is wrong."""
    data = bytearray(gzip.compress(file(b"x" * 100) + END))
    data[-8] ^= 1
    return bytes(data)


ODD: dict[str, tuple[Callable[[], bytes], str]] = {
    "sparse": (lambda: gzip.compress(sparse() + END), "has a sparse file"),
    "sparse by pax": (
        lambda: gzip.compress(
            entry("s", b"x", pax_headers={"GNU.sparse.size": str(2**60), "GNU.sparse.map": "0,1"}) + END
        ),
        "has a sparse file",
    ),
    "negative size": (lambda: patched(file(b""), 124, b"\xff" * 12) + END, "no archive that can be read"),
    "a size beyond the archive": (
        lambda: patched(file(b""), 124, b"00000077777\0") + END,
        "unexpected end",
    ),
    "a header of 64 GiB": (
        lambda: gzip.compress(
            patched(patched(entry("x"), 156, tarfile.XHDTYPE), 124, b"\x80" + (2**36).to_bytes(11, "big"))
            + bytes(8 * 2**20)
        ),
        "too large a header",
    ),
    "a name of 64 GiB": (
        lambda: gzip.compress(
            patched(patched(entry("x"), 156, tarfile.GNUTYPE_LONGNAME), 124, b"\x80" + (2**36).to_bytes(11, "big"))
            + b"a" * 8 * 2**20
        ),
        "too large a header",
    ),
    "headers that extend one another": (lambda: chain(990) + END, "no archive that can be read"),
    "bytes that expand": (lambda: gzip.compress(entry("zeros", bytes(3 * SMALL)) + END), "would become 200 times"),
    "zeros without an end": (lambda: gzip.compress(file(b"") + bytes(3 * SMALL)), "no archive that can be read"),
    "many entries": (lambda: b"".join(entry(f"f{n}") for n in range(30)) + END, "has more than 20 entries"),
    "many folders": (
        lambda: b"".join(entry(f"f{n}", type=tarfile.DIRTYPE) for n in range(30)) + END,
        "has more than 20 entries",
    ),
    "twice the same": (lambda: entry("a", b"1") + entry("./a", b"2") + END, "has 'a' twice|has './a' twice"),
    "a file as a folder": (lambda: entry("a", b"1") + entry("a/b", b"2") + END, "no archive that can be read"),
    "a folder as a file": (lambda: entry("a/b", b"1") + entry("a", b"2") + END, "has 'a' twice"),
    "the root as a file": (lambda: entry(".", b"1") + END, "twice"),
    "a long name": (lambda: entry("n" * 5000, b"1") + END, "cannot be used"),
    "a long part": (lambda: entry("n" * 300, b"1") + END, "cannot be used"),
    "deep": (lambda: entry("/".join("d" * 40), b"1") + END, "cannot be used"),
    "a line break": (lambda: entry("a\nerror: b", b"1") + END, "cannot be used"),
    "no text": (lambda: patched(entry("abc", b"1"), 0, b"\xff\xfe\xfd") + END, "cannot be used"),
    "out of it": (lambda: entry("a/../../b", b"1") + END, "leads out of it"),
    "absolute": (lambda: entry("//etc/passwd", b"1") + END, "leads out of it"),
    "cut in gzip": (lambda: gzip.compress(file(os.urandom(9000)) + END)[:-500], "no archive that can be read"),
    "cut in a file": (lambda: file(b"x" * 9000)[:2000], "in the middle of a file|unexpected end"),
    "cut between files": (lambda: file(b"x" * 9000), "no end"),
    "a damaged header": (lambda: file(b"x") + b"noise" * 200 + END, "a damaged header"),
    "damaged gzip": (
        lambda: gzip.compress(file(os.urandom(9000)) + END)[:300] + b"\xff" * 500,
        "no archive that can",
    ),
    "another checksum": (crc_changed, "no archive that can be read"),
    "bzip2": (lambda: bz2.compress(file(b"x") + END), "no archive that can be read"),
    "nothing": (lambda: b"", "no archive that can be read"),
    "nothing in gzip": (lambda: gzip.compress(b""), "no archive that can be read"),
    "no entry": (lambda: END, "has no chroma.sqlite3"),
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that a test reaches quickly."""
    for module in (import_archive, import_source):
        monkeypatch.setattr(module, "MOST_ENTRIES", 20)
    monkeypatch.setattr(import_archive, "ALWAYS_BYTES", 2 * SMALL)
    monkeypatch.setattr(import_archive, "END_BYTES", SMALL)


def refused(source: Path | str, work: Path) -> str:
    """The one line; what was written is within `work`, and little."""
    with pytest.raises(InputError) as error:
        local_copy(str(source), work)
    line = str(error.value)
    assert line.startswith(str(source))
    assert line.isprintable()
    assert len(line) < len(str(source)) + 500
    written = [path for path in work.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in written) <= 4 * SMALL
    return line


@pytest.mark.parametrize("name", ODD)
@pytest.mark.usefixtures("small")
def test_an_archive_made_to_do_harm(tmp_path: Path, name: str) -> None:
    """Refused in one line, whatever it declares."""
    make, error = ODD[name]
    archive = tmp_path / "odd.tar.gz"
    archive.write_bytes(make())
    assert re.search(error, refused(archive, tmp_path / "work"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["odd.tar.gz", "work"]


def test_archives_as_programs_write_them(tmp_path: Path) -> None:
    """GNU's, pax's and the old format; with and without gzip, with long names and folders."""
    for number, form in enumerate((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT)):
        for mode in ("w", "w:gz"):
            archive = tmp_path / f"{number}{mode[1:]}.tar"
            with tarfile.open(archive, mode, format=form) as tar:
                for name in ("./chroma.sqlite3", f"{'long' * 20}/{'name' * 20}/header.bin"):
                    info = tarfile.TarInfo(name)
                    info.size = 5
                    tar.addfile(info, io.BytesIO(b"bytes"))
            to = tmp_path / f"{archive.name}-{number}"
            unpack(archive, to, "source")
            assert sorted(path.read_bytes() for path in to.rglob("*") if path.is_file()) == [b"bytes"] * 2


def folder(directory: Path, name: str) -> None:
    """Make an odd folder."""
    directory.mkdir()
    database = directory / "chroma.sqlite3"
    match name:
        case "a link to a device":
            database.write_bytes(b"x")
            (directory / "header.bin").symlink_to("/dev/zero")
        case "a link that leads to itself":
            database.write_bytes(b"x")
            (directory / "loop").symlink_to(directory)
        case "a pipe":
            database.write_bytes(b"x")
            os.mkfifo(directory / "header.bin")
        case "a pipe as the database":
            os.mkfifo(database)
        case "a link as the database":
            database.symlink_to("/dev/zero")
        case "a folder as the database":
            database.mkdir()
        case "many files":
            for number in range(30):
                (directory / f"f{number}").touch()
        case "a sparse file":
            database.write_bytes(b"x")
            with (directory / "header.bin").open("wb") as sink:
                sink.truncate(2**45)


FOLDERS = {
    "a link to a device": "a link or a device",
    "a link that leads to itself": "a link or a device",
    "a pipe": "a link or a device",
    "a pipe as the database": "has no chroma.sqlite3",
    "a link as the database": "has no chroma.sqlite3",
    "a folder as the database": "has no chroma.sqlite3",
    "many files": "has more than 20 files",
    "a sparse file": "than there is room for|cannot be copied",
}


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.usefixtures("small")
def test_a_folder_made_to_do_harm(tmp_path: Path, name: str) -> None:
    """No link is followed, nothing is waited for."""
    try:
        folder(tmp_path / "index", name)
    except OSError as error:
        pytest.skip(f"this file system has no such file: {error}")
    assert re.search(FOLDERS[name], refused(tmp_path / "index", tmp_path / "work"))


def test_what_is_neither_a_folder_nor_a_file(tmp_path: Path) -> None:
    """A device, a pipe, a link to nowhere, a name that no file can have."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "nowhere").symlink_to(tmp_path / "nothing")
    for source in ("/dev/zero", tmp_path / "pipe"):
        assert "is neither a folder nor an archive" in refused(source, tmp_path / "work")
    assert "is not there" in refused(tmp_path / "nowhere", tmp_path / "work")
    assert "cannot be copied" in refused(tmp_path / ("n" * 5000), tmp_path / "work")


POINTERS = {
    b"": "names no version",
    b"..": "names no version",
    b"a/../..": "names no version",
    b"one\ntwo": "names no version",
    b"\xff\xfe": "names no version",
    b"v" * 200: "names no version",
    b"v" * 5000: "has 5,000 bytes, and is no pointer",
    b"missing": "is not there",
    b"loop": "has no chroma.sqlite3",
}


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("pointer", POINTERS, ids=lambda value: repr(value)[:20])
def test_a_pointer_made_to_do_harm(store: Store, tmp_path: Path, pointer: bytes) -> None:
    """One pointer is followed, once."""
    store.put("old/latest-pointer.txt", pointer)
    store.put("old/timestamped/loop/latest-pointer.txt", b"loop")
    assert POINTERS[pointer] in refused(store.uri("old"), tmp_path / "work")


@pytest.mark.usefixtures("small", "settings")
def test_a_prefix_made_to_do_harm(store: Store, tmp_path: Path) -> None:
    """Keys that are no paths, that are in each other's way, that are too many; an archive that is none."""
    for number in range(30):
        store.put(f"many/{number}", b"")
    store.put("both/a", b"")
    store.put("both/a/b", b"")
    store.put("long/" + "n" * 300, b"")
    store.put("back\\slash/a\\b", b"")
    for prefix, error in {
        "many": "has more than 20 objects",
        "both": "a file has the path of a folder",
        "long": "cannot be used",
        "back\\slash": "leads out of it",
        "none.tar.gz": "is not there",
    }.items():
        assert error in refused(store.uri(prefix), tmp_path / prefix)


@pytest.mark.usefixtures("settings")
def test_an_archive_in_s3_is_not_read_into_memory(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the pointer is: the archive goes to a file, once."""
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(gzip.compress(file(b"x") + END))
    store.upload_file(archive, "old/timestamped/v/snapshot.tar.gz")
    store.put("old/latest-pointer.txt", b"v")
    read: list[str] = []
    whole = Store.fetch

    def fetch(self: Store, key: str) -> Fetched:
        read.append(key)
        return whole(self, key)

    monkeypatch.setattr(Store, "fetch", fetch)
    assert (local_copy(store.uri("old"), tmp_path / "work") / "chroma.sqlite3").read_bytes() == b"x"
    assert read == ["old/latest-pointer.txt"]
