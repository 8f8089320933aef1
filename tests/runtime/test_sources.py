"""Sources: what they give, and what they say of files that are not as they should be."""

from __future__ import annotations

import gzip
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from gmc.dsl.diagnostic import GmcError
from gmc.dsl.errors.catalogue import catalogue, explain
from gmc.dsl.source import Source as Text
from gmc.runtime.source import Columns, Source
from gmc.runtime.sources.csv import Csv
from gmc.runtime.sources.digits import Digits, held_out_rows
from gmc.runtime.sources.idx import FILES, Idx
from gmc.runtime.sources.npz import Npz

SPAN = Text("m.gm", 'data npz("data.npz") { }').span(5, 20)


def code(source: Source, base: Path, column: str | None = None) -> str:
    """The code of the one thing that is wrong with a source, or with a column of it."""

    def use() -> None:
        columns = source.load(base, SPAN)
        if column is not None:
            columns.read(column)

    with pytest.raises(GmcError) as caught:
        use()
    (found,) = caught.value.diagnostics
    assert found.span == SPAN
    return f"{found.code}: {found.message}"


# ── digits ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_digits_are_all_there(tmp_path: Path) -> None:
    columns = Digits().load(tmp_path, SPAN)
    image, label = columns.read("image"), columns.read("label")
    assert columns.names == ("image", "label")
    assert image.shape == (1797, 8, 8)
    assert image.dtype == np.float32
    assert (image * 16 == (image * 16).round()).all()
    assert (image.min(), image.max()) == (0.0, 1.0)
    assert np.bincount(label).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    with pytest.raises(KeyError):
        columns.read("test_image")


@pytest.mark.parametrize("count", [1, 7, 360, 1787])
def test_held_out_digits_are_stratified_and_none_is_lost(tmp_path: Path, count: int) -> None:
    everything = Digits().load(tmp_path, SPAN)
    columns = Digits(held_out=count).load(tmp_path, SPAN)
    label, test_label = columns.read("label"), columns.read("test_label")
    assert len(test_label) == len(columns.read("test_image")) == count
    assert len(label) == len(columns.read("image")) == 1797 - count
    sizes = np.bincount(everything.read("label"))
    assert (np.abs(np.bincount(test_label, minlength=10) - sizes * count / 1797) < 1).all()

    def rows(given: Columns, *prefixes: str) -> list[bytes]:
        images = np.concatenate([given.read(f"{prefix}image") for prefix in prefixes])
        labels = np.concatenate([given.read(f"{prefix}label") for prefix in prefixes])
        return sorted(image.tobytes() + bytes([digit]) for image, digit in zip(images, labels, strict=True))

    assert rows(columns, "", "test_") == rows(everything, "")


def test_folds_are_fixed_and_differ(tmp_path: Path) -> None:
    def held(fold: int) -> np.ndarray:
        return Digits(held_out=360, fold=fold).load(tmp_path, SPAN).read("test_image")

    assert (held(0) == held(0)).all()
    assert not (held(0) == held(1)).all()
    # known numbers: the same split on every machine and with every NumPy
    label = Digits().load(tmp_path, SPAN).read("label")
    assert np.flatnonzero(held_out_rows(label, 360, 0))[:8].tolist() == [4, 7, 9, 10, 17, 18, 21, 22]


# ── npz ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_npz_reads_named_arrays_packed_or_not(tmp_path: Path) -> None:
    x = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    np.savez(tmp_path / "a.npz", x=x, y=x[:, 0, 0])
    np.savez_compressed(tmp_path / "b.npz", x=np.asfortranarray(x))
    a, b = (Npz(path=name).load(tmp_path, SPAN) for name in ("a.npz", "b.npz"))
    assert a.names == ("x", "y")
    assert (a.read("x") == x).all()
    assert (b.read("x") == x).all()
    assert (Npz(path=str(tmp_path / "a.npz")).load(Path("elsewhere"), SPAN).read("y") == [0, 12]).all()
    with pytest.raises(KeyError):
        a.read("z")


def test_npz_missing_empty_and_foreign(tmp_path: Path) -> None:
    (tmp_path / "empty.npz").touch()
    (tmp_path / "text.npz").write_text("a,b\n1,2\n")
    np.save(tmp_path / "single.npy", np.zeros(3))
    assert code(Npz(path="none.npz"), tmp_path) == "GM650: there is no `none.npz`"
    assert code(Npz(path="text.npz/x.npz"), tmp_path).startswith("GM650")
    assert code(Npz(path="empty.npz"), tmp_path) == "GM653: `empty.npz` is empty"
    assert code(Npz(path="text.npz"), tmp_path) == "GM651: `text.npz` cannot be read: it is no .npz archive"
    assert code(Npz(path="single.npy"), tmp_path).startswith("GM651")
    assert code(Npz(path="."), tmp_path).startswith("GM651")
    assert code(Npz(path="a\0b"), tmp_path).startswith("GM651")


def test_npz_pickles_are_never_loaded(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("ran",)

    np.savez(tmp_path / "o.npz", x=np.array([Bomb(), 1], dtype=object), y=np.zeros(2))
    assert code(Npz(path="o.npz"), tmp_path, "x").startswith("GM652: `x` in `o.npz`")
    assert len(Npz(path="o.npz").load(tmp_path, SPAN).read("y")) == 2


def test_npz_damage_is_found_wherever_it_is(tmp_path: Path) -> None:
    np.savez(tmp_path / "good.npz", x=np.arange(1000.0))
    good = (tmp_path / "good.npz").read_bytes()
    cut = tmp_path / "bad.npz"
    for size in (1, 10, 100, 5000, len(good) - 1):
        cut.write_bytes(good[:size])
        assert code(Npz(path="bad.npz"), tmp_path, "x").startswith("GM651")
    cut.write_bytes(good[:4000] + bytes([good[4000] ^ 1]) + good[4001:])  # a bit of a number: only the checksum tells
    assert code(Npz(path="bad.npz"), tmp_path, "x").startswith("GM651: `bad.npz` cannot be read: `x` is damaged")


def test_npz_header_that_promises_too_much(tmp_path: Path) -> None:
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }"
    with zipfile.ZipFile(tmp_path / "big.npz", "w") as archive:
        archive.writestr("x.npy", header.ljust(127) + b"\n")
    assert code(Npz(path="big.npz"), tmp_path, "x").startswith("GM651")


# ── idx ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def idx_bytes(array: np.ndarray, kind: int) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, kind, array.ndim]) + sizes + array.tobytes()


def test_idx_folder_packed_and_unpacked(tmp_path: Path) -> None:
    image = np.arange(2 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(2, 28, 28)
    label = np.array([3, 9], dtype=np.uint8)
    (tmp_path / f"{FILES['x_train']}.gz").write_bytes(gzip.compress(idx_bytes(image, 8)))
    (tmp_path / "train-labels.idx1-ubyte").write_bytes(idx_bytes(label, 8))
    (tmp_path / FILES["x_test"]).write_bytes(idx_bytes(image[:1], 8))
    columns = Idx(path=".").load(tmp_path, SPAN)
    assert columns.names == ("x_train", "y_train", "x_test")
    assert (columns.read("x_train") == image).all()
    assert columns.read("y_train").tolist() == [3, 9]
    assert columns.read("x_test").shape == (1, 28, 28)


@pytest.mark.parametrize(("kind", "dtype"), [(9, "i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")])
def test_idx_single_files_of_every_type(tmp_path: Path, kind: int, dtype: str) -> None:
    array = np.array([[1, -2], [3, 4]], dtype=dtype)
    (tmp_path / "values").write_bytes(idx_bytes(array, kind))
    read = Idx(path="values").load(tmp_path, SPAN).read("values")
    assert read.dtype.isnative
    assert read.tolist() == [[1, -2], [3, 4]]


def test_idx_damage(tmp_path: Path) -> None:
    good = idx_bytes(np.zeros((4, 3), dtype=np.uint8), 8)
    packed = gzip.compress(good)
    bad = {
        "cut": good[:-1],
        "long": good + b"\0",
        "header": good[:6],
        "short": b"\0\0",
        "kind": b"\0\0\x0a" + good[3:],
        "foreign": b"PK" + good,
        "cut.gz": packed[:-9],
        "bit.gz": packed[:12] + bytes([packed[12] ^ 255]) + packed[13:],
    }
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
        assert code(Idx(path=name), tmp_path, "values").startswith("GM651"), name
    (tmp_path / "hollow.gz").write_bytes(gzip.compress(b""))
    assert code(Idx(path="hollow.gz"), tmp_path, "values").startswith("GM653")
    (tmp_path / "folder").mkdir()
    assert code(Idx(path="folder"), tmp_path) == f"GM650: there is no `folder/{FILES['x_train']}.gz`"


# ── csv ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_csv_columns_ranges_and_missing_cells(tmp_path: Path) -> None:
    text = '\ufeffname, a,b,"c"\nx,1,2.5,-3\n\n"y, z",4,,1e3\n'
    (tmp_path / "d.csv").write_text(text, encoding="utf-8")
    columns = Csv(path="d.csv").load(tmp_path, SPAN)
    assert columns.names == ("name", "a", "b", "c")
    assert columns.read("a").tolist() == [1, 4]
    assert np.array_equal(columns.read("a:c"), [[1, 2.5, -3], [4, np.nan, 1000]], equal_nan=True)
    assert columns.read("b:b").shape == (2, 1)
    for wrong in ("d", "c:a", "a:d", "a:"):
        with pytest.raises(KeyError):
            columns.read(wrong)
    assert code(Csv(path="d.csv"), tmp_path, "name") == "GM655: column `name` does not hold numbers: row 0 has `x`"


def test_csv_without_a_header(tmp_path: Path) -> None:
    (tmp_path / "d.tsv").write_text("7\t1\t2\n8\t3\t4\n")
    columns = Csv(path="d.tsv", header=False, delimiter="\t").load(tmp_path, SPAN)
    assert columns.names == ("0", "1", "2")
    assert columns.read("0").tolist() == [7, 8]
    assert columns.read("1:2").tolist() == [[1, 2], [3, 4]]


def test_csv_mistakes(tmp_path: Path) -> None:
    bad = {
        "ragged.csv": (b"a,b\n1,2\n3\n", "GM651: `ragged.csv` cannot be read: row 1 does not have 2 cells but 1"),
        "twice.csv": (b"a,a\n1,2\n", "GM651: `twice.csv` cannot be read: two columns are called `a`"),
        "latin.csv": (b"a,b\n1,\xe9\n", "GM651: `latin.csv` cannot be read: it is not UTF-8 text"),
        "word.csv": (b"a,b\n1,2\none,2\n", "GM655: column `a` does not hold numbers: row 1 has `one`"),
        "empty.csv": (b"", "GM653"),
        "blank.csv": (b"\n\n", "GM653"),
    }
    for name, (data, expected) in bad.items():
        (tmp_path / name).write_bytes(data)
        assert code(Csv(path=name), tmp_path, "a").startswith(expected)
    for delimiter in ("", ", ", "\n", '"'):
        with pytest.raises(ValidationError, match="one character"):
            Csv(path="d.csv", delimiter=delimiter)


# ── all of them ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_reading_the_words_loads_no_torch() -> None:
    script = "import sys, gmc.runtime.words; print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "False\n"
    )


def test_every_diagnostic_has_a_page() -> None:
    own = [entry for code, entry in catalogue().items() if "GM650" <= code <= "GM660" or "GM700" <= code <= "GM705"]
    assert len(own) == 17
    for entry in own:
        page = explain(entry.code)
        assert page.startswith(f"# {entry.code}: {entry.title}\n")
        assert page.count("\n## Wrong\n") == page.count("\n## Right\n") == 1
