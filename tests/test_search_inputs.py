"Descriptors that are kept, searched and found, with the files and the numbers that people really have."

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from landmark_nb.data.layouts.folder import read_folder
from landmark_nb.search import knn as search
from landmark_nb.search.extract import extract
from landmark_nb.search.indexes import check_index
from landmark_nb.search.knn import Searcher, knn
from landmark_nb.search.store import Store

faiss = pytest.importorskip("faiss")

SAME = ("Flat", "HNSW16", "IVF3,Flat", "IVF3_HNSW8,Flat")  # keep the numbers, and look at all where few are


# What a store keeps


class Seen(torch.nn.Module):
    "The mean of each colour; counts the images that it sees."

    def __init__(self):
        super().__init__()
        self.images = -1  # the black one that every search begins with

    def forward(self, x):
        self.images += len(x)
        return x.mean((2, 3))


def picture(path: Path, seed: int, **how):
    "A picture of noise, always as large as the others in bytes where it is a BMP."
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (10, 10, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **how)


class Kept:
    "A folder of pictures, and a store of what was described of it."

    def __init__(self, folder: Path, n: int = 6):
        self.photographs, self.store, self.told, self.said = folder / "photographs", folder / "store", [], []
        for i in range(n):
            picture(self.photographs / f"{i}.bmp", i)

    def describe(self, check: str = "stat") -> int:
        "Bring the store up to date; how many images the model saw. What it holds is what is there."
        self.told, self.said, model, manifest = [], [], Seen(), read_folder(self.photographs)
        how = dict(batch=1, check=check, progress=False, on_bad=self.told.append, say=self.said.append)
        kept = extract(model, manifest, 8, self.store, **how)
        fresh = extract(Seen(), manifest, 8, batch=1, progress=False, on_bad=lambda text: None)
        assert (kept == fresh).all()
        store = Store(self.store)
        assert store.complete and store.ids == manifest.ids.to_list()
        assert set(store.failed) == set(np.flatnonzero((fresh == 0).all(1)))
        return model.images


@pytest.fixture
def kept(tmp_path) -> Kept:
    kept = Kept(tmp_path)
    assert kept.describe() == 6 and kept.describe() == 0
    return kept


def replace_in_place(kept):
    picture(kept.photographs / "2.bmp", 77)


def replace_by_rename(kept):
    picture(kept.photographs.parent / "other.bmp", 77)
    os.replace(kept.photographs.parent / "other.bmp", kept.photographs / "2.bmp")


def replace_with_old_times(kept):
    times = os.stat(kept.photographs / "2.bmp")
    picture(kept.photographs / "2.bmp", 77)
    os.utime(kept.photographs / "2.bmp", ns=(times.st_atime_ns, times.st_mtime_ns))


def swap_two(kept):
    for a, b in ((2, "x"), (4, 2), ("x", 4)):
        os.rename(kept.photographs / f"{a}.bmp", kept.photographs / f"{b}.bmp")


def lead_a_link_elsewhere(kept):
    outside = kept.photographs.parent / "outside.bmp"
    picture(outside, 78)
    (kept.photographs / "2.bmp").unlink()
    (kept.photographs / "2.bmp").symlink_to(outside)


def touch(kept):
    os.utime(kept.photographs / "2.bmp")


def copy_over_itself(kept):
    data = (kept.photographs / "2.bmp").read_bytes()
    (kept.photographs / "2.bmp").write_bytes(data)


def break_one(kept):
    (kept.photographs / "2.bmp").write_bytes(b"BM")


def add_one(kept):
    picture(kept.photographs / "1b.bmp", 79)


def lose_one(kept):
    (kept.photographs / "2.bmp").unlink()


def rename_one(kept):
    (kept.photographs / "2.bmp").rename(kept.photographs / "zz.bmp")


def another_folder(kept):
    "The same names and sizes and times, and other pictures."
    times = {p.name: p.stat() for p in kept.photographs.iterdir()}
    kept.photographs.rename(kept.photographs.parent / "before")
    for i in range(6):
        picture(kept.photographs.parent / "others" / f"{i}.bmp", 100 + i)
    kept.photographs = kept.photographs.parent / "others"
    for p in kept.photographs.iterdir():
        os.utime(p, ns=(times[p.name].st_atime_ns, times[p.name].st_mtime_ns))


def a_copied_folder(kept):
    shutil.copytree(kept.photographs, kept.photographs.parent / "copy")
    kept.photographs = kept.photographs.parent / "copy"


def a_link_to_another_folder(kept):
    for i in range(6):
        picture(kept.photographs.parent / "others" / f"{i}.bmp", 100 + i)
    kept.photographs.rename(kept.photographs.parent / "before")
    kept.photographs.symlink_to(kept.photographs.parent / "others")


CHANGES = {  # what happens to the photographs -> images that the model sees then, and what is said
    replace_in_place: (1, "1 of its 6 photographs changed"),
    replace_by_rename: (1, "1 of its 6 photographs changed"),
    replace_with_old_times: (1, "1 of its 6 photographs changed"),
    swap_two: (2, "2 of its 6 photographs changed"),
    lead_a_link_elsewhere: (1, "1 of its 6 photographs changed"),
    touch: (0, ""),
    copy_over_itself: (0, ""),
    break_one: (1, "1 of its 6 photographs changed"),
    add_one: (1, "6 are kept, 1 are new, 0 are gone"),
    lose_one: (0, "5 are kept, 0 are new, 1 are gone"),
    rename_one: (1, "5 are kept, 1 are new, 1 are gone"),
    another_folder: (6, "6 of its 6 photographs changed"),
    a_copied_folder: (0, ""),
    a_link_to_another_folder: (6, "6 of its 6 photographs changed"),
}


@pytest.mark.parametrize("check", ["stat", "hash"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_changes_is_described_anew_and_nothing_else(kept, change, check):
    seen, said = CHANGES[change]
    change(kept)
    assert kept.describe(check) == seen
    assert said in " ".join(kept.said) and bool(said) == bool(kept.said)
    assert kept.describe(check) == 0 and not kept.said


WHAT = st.sampled_from(["new", "lost", "broken", "touched"])


@given(st.lists(st.tuples(st.integers(0, 7), WHAT), max_size=8))
@settings(max_examples=15, deadline=None)
def test_any_sequence_of_changes(tmp_path_factory, steps):
    kept = Kept(tmp_path_factory.mktemp("any"))
    for at, (row, what) in enumerate(steps):
        file = kept.photographs / f"{row}.bmp"
        if what == "new":
            picture(file, 1000 + at)
        elif what == "broken":
            file.write_bytes(b"BM" + bytes([at]))
        elif what == "touched" and file.exists():
            os.utime(file)
        elif what == "lost" and len(os.listdir(kept.photographs)) > 2:
            file.unlink(missing_ok=True)
        if at % 2:
            kept.describe()
    kept.describe()
    assert kept.describe() == 0


def test_a_failure_is_never_a_kept_result(kept):
    good = (kept.photographs / "3.bmp").read_bytes()
    break_one(kept)
    (kept.photographs / "3.bmp").unlink()
    (kept.photographs / "3.bmp").symlink_to(kept.photographs / "nowhere.bmp")
    for _ in range(3):
        kept.describe()
        assert len(kept.told) == 2 and "2.bmp" in kept.told[0] and "3.bmp" in kept.told[1], "named each time"
        assert Store(kept.store).failed.tolist() == [2, 3]
    (kept.photographs / "3.bmp").unlink()
    (kept.photographs / "3.bmp").write_bytes(good)
    assert kept.describe() == 1
    assert "1 that could not be decoded can be now" in kept.said[0] and len(kept.told) == 1


def test_interrupted_after_writing_and_put_back(kept):
    "Vectors of other pictures were written, and not noted; then the first pictures are there again."
    before = {p.name: p.read_bytes() for p in kept.photographs.iterdir()}
    for i in range(6):
        picture(kept.photographs / f"{i}.bmp", 200 + i)

    class Stops(Seen):
        def forward(self, x):
            if self.images == 3:
                raise KeyboardInterrupt
            return super().forward(x)

    with pytest.raises(KeyboardInterrupt):
        extract(Stops(), read_folder(kept.photographs), 8, kept.store, batch=1, progress=False)
    assert Store(kept.store).done == 0
    for name, data in before.items():
        (kept.photographs / name).write_bytes(data)
    assert kept.describe() == 6


def test_a_store_that_may_only_be_read_is_read(kept, monkeypatch):
    break_one(kept)
    kept.describe()
    touch(kept)
    before = {p.name: p.read_bytes() for p in kept.store.iterdir()}

    def refuse(*_, **__):
        raise PermissionError(13, "read-only")

    monkeypatch.setattr("landmark_nb.search.store.lock_file", refuse)
    assert kept.describe() == 0 and len(kept.told) == 1
    assert {p.name: p.read_bytes() for p in kept.store.iterdir()} == before


def test_a_store_of_an_older_release_is_made_anew_with_a_word(kept):
    (kept.store / "marks.npy").unlink()
    (kept.store / "done.json").write_text('{"rows": 6}')
    with pytest.raises(ValueError, match="made by an older release"):
        Store(kept.store)
    assert kept.describe() == 6 and "older release" in kept.said[0]


# What may be found


def unit(r, n: int, d: int) -> np.ndarray:
    x = r.normal(size=(n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def naive(queries, database, k: int, own) -> np.ndarray:  # int [q, k]
    "The rule, in a few lines: no zeros, not oneself, of equal descriptors the lower row."
    out = np.full((len(queries), k), -1)
    first = {row.tobytes(): i for i, row in reversed(list(enumerate(database)))}
    for q, (query, mine) in enumerate(zip(queries.astype(np.float64), own)):
        if not query.any():
            continue
        rows = [i for i, row in enumerate(database) if row.any() and i not in mine]
        scores = {i: float(database[first[database[i].tobytes()]].astype(np.float64) @ query) for i in rows}
        best = sorted(rows, key=lambda i: (-scores[i], i))[:k]
        out[q, : len(best)] = best
    return out


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(0, 30), st.integers(0, 20), st.integers(1, 70))
@settings(max_examples=25, deadline=None)
def test_every_index_gives_the_same_on_few_rows(seed, n, copies, holes, k):
    r = np.random.default_rng(seed)
    database = unit(r, n, 12)
    database[r.integers(n, size=copies)] = database[r.integers(n, size=copies)]
    database[r.integers(n, size=holes)] = 0
    queries = np.concatenate([database[r.integers(n, size=5)], unit(r, 3, 12), np.zeros((1, 12), np.float32)])
    own = r.integers(-1, n, size=(9, 2))
    want = naive(queries, database, k, own)
    few = len(np.unique(database[database.any(1)], axis=0)) < 3  # distinct ones, for three lists
    for index in ("exact", "auto", *(SAME[:2] if few else SAME)):
        got = knn(queries, database, k, index, ef=100, leave_out=own, say=str)
        assert got.ids.shape == (9, k) and (got.ids == want).all(), index
        assert np.isfinite(got.scores[got.ids >= 0]).all() and (got.scores[got.ids < 0] == -np.inf).all()
        assert (np.diff(np.where(got.ids >= 0, got.scores, -9)) <= 1e-6).all()


@pytest.mark.parametrize("index", ["exact", "auto", *SAME, "SQfp16", "PCA4,Flat", "HNSW8_SQ8"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_with_its_row(index, bad):
    r = np.random.default_rng(0)
    database, queries = unit(r, 50, 12), unit(r, 4, 12)
    database[31, 5] = bad
    with pytest.raises(ValueError, match="database row 31 has a descriptor that is not finite"):
        knn(queries, database, 3, index)
    with pytest.raises(ValueError, match="query 1 has"):
        knn(database[30:32], queries, 3, index)


@pytest.mark.parametrize("index", ["exact", *SAME])
def test_five_hundred_copies_hide_nobody(index):
    "A graph of copies alone comes apart; all copies are found, and those behind them."
    r = np.random.default_rng(1)
    database = unit(r, 600, 12)
    copies = r.permutation(600)[:500]
    database[copies] = database[copies[0]]
    got = knn(database[copies[:1]], database, 600, index)
    assert (got.ids[0, :500] == np.sort(copies)).all()
    assert set(got.ids[0]) == set(range(600))


def test_half_precision_and_negative_zero():
    database = np.array([[0.0, 1], [-0.0, 1], [1, 0], [0, 0]], np.float16)
    for index in ("exact", "Flat", "HNSW4"):
        assert knn(np.array([[0, 1.0]]), database, 4, index).ids.tolist() == [[0, 1, 2, -1]]


# Names of indexes

FIT = [("IVF4096,PQ64", 512, 200_000), ("OPQ16_64,IVF256,PQ16", 512, 10_000), ("PCA64,PQ16", 100, 0)]
FIT += [("SQ8", 3, 1), ("HNSW32", 3, 1), ("IVF4096,Flat", 0, 0), ("L2norm,Flat", 5, 5), ("auto", 7, 1)]
MISFIT = [
    ("PQ16", 100, 0, "PQ16 cuts 100 numbers into 16 equal parts, and 100 is no multiple; PQ20 fits"),
    ("PCA64,PQ48", 512, 0, "PQ48 cuts 64 numbers"),
    ("OPQ16_60,PQ16", 512, 0, "OPQ16_60 cuts 60 numbers into 16 equal parts"),
    ("IVF4096,Flat", 512, 1000, "IVF4096 makes 4,096 lists of 1,000 descriptors; IVF16 fits"),
    ("IVF16,PQ8", 64, 200, "PQ8 learns 256 codes, from as many descriptors at least, and there are 200"),
    ("PCA512,Flat", 64, 0, "cannot make 512 numbers out of 64; PCA32 can"),
    ("HNSW0", 64, 0, "HNSW0 has a 0 in it"),
    ("nonsense", 64, 0, "is none that faiss knows"),
    ("LSH", 64, 0, "is none that faiss knows, by inner product"),
    ("", 0, 0, "is none that faiss knows"),
]


@pytest.mark.parametrize("name, dim, n", FIT)
def test_names_that_fit(name, dim, n):
    check_index(name, dim, n)


@pytest.mark.parametrize("name, dim, n, text", MISFIT)
def test_names_that_do_not_fit_are_told_what_would(name, dim, n, text):
    with pytest.raises(ValueError) as e:
        check_index(name, dim, n)
    assert text in str(e.value) and "These fit: exact, auto, Flat, HNSW32" in str(e.value)


def test_what_is_offered_fits():
    r = np.random.default_rng(0)
    for n, d in ((3, 5), (60, 7), (400, 64), (11_000, 6)):
        x = unit(r, n, d)
        with pytest.raises(ValueError) as e:
            knn(x[:2], x, 1, "IVF60000,Flat")
        names = str(e.value).split("These fit: ")[1].split(", ")
        assert len(names) >= 6, names
        for name in names:
            found = knn(x[:3], x, 1, name, nprobe=10**6).ids[:, 0]
            assert (found == [0, 1, 2]).all(), (name, n, d)


def test_few_to_learn_from_is_said_once_and_not_by_faiss(capfd):
    r, said = np.random.default_rng(0), []
    x = unit(r, 400, 16)
    for name in ("IVF32,Flat", "PQ4", "OPQ4_8,IVF4,PQ4x4", "IVF4,PQ4x4fs"):
        knn(x[:3], x, 1, name, say=said.append)
    assert len(said) == 4 and all("are wanted, and there are 400" in text for text in said)
    assert "WARNING" not in capfd.readouterr().err


def test_auto_says_what_it_measured(monkeypatch):
    monkeypatch.setattr(search, "EXACT_ROWS", 1000)
    r, said = np.random.default_rng(0), []
    things = r.normal(size=(300, 24)).astype(np.float32)
    x = np.repeat(things, 20, 0) + 0.3 * r.normal(size=(6000, 24)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    searcher = Searcher(x, "auto", asked=10_000, say=said.append)
    assert searcher.index == "HNSW32" and said[0].startswith("index=auto: HNSW32 with ef=")
    first = float(said[0].split("finds ")[1].split(" %")[0]) / 100
    rows = r.permutation(6000)[:500]
    true = knn(x[rows], x, 1, leave_out=rows).ids
    share = (searcher.search(x[rows], 1, leave_out=rows).ids == true).mean()
    assert abs(share - first) < 0.05
    assert Searcher(x, "auto", asked=100, say=said.append).index == "exact", "few queries pay for no index"


# Oneself


def test_a_query_that_is_in_the_database(tmp_path, capsys):
    from landmark_nb.experiments import search_folders

    for i in range(8):
        picture(tmp_path / "database" / f"{i}.bmp", i)
    (tmp_path / "queries").mkdir()
    shutil.copy(tmp_path / "database/3.bmp", tmp_path / "queries/a.bmp")
    (tmp_path / "queries/b.bmp").symlink_to(tmp_path / "database/5.bmp")
    picture(tmp_path / "queries/c.png", 7)  # the same picture, in another file
    picture(tmp_path / "queries/d.bmp", 99)
    sides = tmp_path / "database", tmp_path / "queries"
    for index in ("exact", "auto", "Flat", "HNSW8"):
        torch.manual_seed(0)
        how = dict(trunk="resnet10t", weights="none", size=64, k=8, progress=False, index=index)
        *_, found = search_folders(*sides, **how)
        assert "2 of 4 queries are in the database too" in capsys.readouterr().out
        assert found.ids[0, 0] == 3 and found.ids[1, 0] == 5 and found.ids[2, 0] == 7
        torch.manual_seed(0)
        *_, others = search_folders(*sides, leave_out_self=True, **how)
        assert "they are left out" in capsys.readouterr().out
        for row in (0, 1):
            assert others.ids[row].tolist() == [*found.ids[row, 1:], -1]
        assert (others.ids[2:] == found.ids[2:]).all(), "another file is another photograph"
