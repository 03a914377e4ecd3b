"Whatever stands in a table, a list or a name is read, or refused with a `ValueError` that names the file."

import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landmark_nb.core import read_csv
from landmark_nb.data.landmarks import LISTS, read_fold_numbers, read_list
from landmark_nb.data.layouts.sfxl import read_sfxl
from landmark_nb.data.layouts.tables import read_label_csv, read_latlon_csv
from landmark_nb.data.manifest import Manifest
from landmark_nb.data.names import by_float, join_names, parse_names
from landmark_nb.data.partition import assign_folder
from landmark_nb.data.positives import frame_numbers, positives_from_csv
from landmark_nb.data.streams import check_listed
from landmark_nb.search.metrics import read_recognition, read_retrieval, read_solution

PHOTOS = Manifest("photos", pl.DataFrame(dict(id=["a.jpg", "b.jpg"])))
READERS = {  # what is read -> its header, and the reader of a file
    "table": ("x,y", lambda path: read_csv(path, ["x"])),
    "part of a table": ("x,y", lambda path: read_csv(path, ["y"], only=True)),
    "places": ("image,lat,lon", read_latlon_csv),
    "places and headings": ("image,lat,lon,heading", lambda path: read_latlon_csv(path, heading="heading")),
    "labels": ("image_path,label,split", read_label_csv),
    "positives": ("query,ref_positives", lambda path: positives_from_csv(path, PHOTOS, PHOTOS)),
    "solution": ("id,landmarks,Usage", read_solution),
    "recognition": ("id,landmarks", read_recognition),
    "retrieval": ("id,images", read_retrieval),
    "folds": ("id,fold", read_fold_numbers),
}
FIELDS = st.sampled_from(
    [
        "",
        " ",
        "0",
        "45",
        "-1",
        "7,5",
        "1e3",
        "1e999",
        "nan",
        "inf",
        "-0",
        "9" * 40,
        "a.jpg",
        "b.jpg",
        "../a",
        "/a",
    ]
    + ["Public", "gallery", "a b", "123 0.5", "é", "\x00", '"', '""', "'", "\ufeff", "@", "None", "x" * 5000]
)
FIELD = st.one_of(FIELDS, st.text(max_size=8))
ROWS = st.lists(st.lists(FIELD, max_size=5), max_size=6)


@st.composite
def files(draw, header: str) -> bytes:
    "A table with the right header, more or less, and anything below it."
    separator = draw(st.sampled_from([",", ",", ",", ";", "\t", ", "]))
    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    lines = [header.replace(",", separator), *(separator.join(row) for row in draw(ROWS))]
    text = draw(st.sampled_from(["", "", "", "\ufeff"])) + end.join(lines) + draw(st.sampled_from(["", end]))
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-16", "utf-16-le", "latin-1"]))
    data = text.encode(encoding, "replace")
    return data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 4)) == 0 else data


QUIET = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def read_or_refuse(read, path: Path):
    "Nothing but a result, or a `ValueError` that names the file."
    try:
        read(path)
    except ValueError as e:
        assert path.name in str(e) or str(path.parent) in str(e), f"no file is named: {e}"
    except FileNotFoundError as e:
        assert str(path.parent) in str(e)


@pytest.mark.parametrize("kind", READERS)
def test_tables(kind):
    header, read = READERS[kind]

    @QUIET
    @given(files(header))
    def attempt(data):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "table.csv"
            path.write_bytes(data)
            read_or_refuse(read, path)

    attempt()


@pytest.mark.parametrize("name", [name for name in LISTS if name != "c2x"])
def test_lists_of_landmarks(name):
    file = dict(full="train", clean="train_clean").get(name, name)
    header = dict(full="id,landmark_id", clean="landmark_id,images").get(name, "id")

    @QUIET
    @given(files(header))
    def attempt(data):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / f"{file}.csv").write_bytes(data)
            read_or_refuse(lambda path: read_list(path.parent, name), Path(folder) / f"{file}.csv")

    attempt()


NAME = st.lists(st.one_of(FIELDS, st.sampled_from(["10", "S", "500000.5", "/", "30"])), max_size=16).map(
    "@".join
)


@QUIET
@given(st.lists(st.binary(max_size=60), max_size=5))
def test_names_of_any_bytes(lines):
    data = np.frombuffer(b"\n".join(lines), np.uint8)
    offsets, places, state = parse_names(data)
    assert len(offsets) == len(places) + 1 == len(state) + 1 and places.shape[1] == 4
    assert set(state.tolist()) <= {0, 1, 2, 3, 4}


@QUIET
@given(NAME)
def test_names_are_read_as_by_python(name):
    name = name.replace("\n", "").replace("\r", "")
    _, places, state = parse_names(join_names([name]))
    if state.tolist() == [0]:
        np.testing.assert_array_equal(places[0], by_float(name.encode()))


@QUIET
@given(st.lists(NAME, max_size=5))
def test_lists_beside_folders(names):
    with tempfile.TemporaryDirectory() as folder:
        train = Path(folder) / "train"
        train.mkdir()
        (Path(folder) / "train_images_paths.txt").write_text("\n".join(names) + "\n", errors="replace")
        for read in (check_listed, read_sfxl, lambda path: assign_folder(path, min_images=1)):
            read_or_refuse(read, train)


@QUIET
@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=5, unique=True))
def test_frames(names):
    try:
        numbers = frame_numbers(Manifest("drive", pl.DataFrame(dict(id=names))))
        assert numbers.dtype == np.int64 and len(set(numbers.tolist())) == len(names)
    except ValueError as e:
        assert "drive" in str(e)
