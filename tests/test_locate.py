"An index of photographs, killed, shared, spoilt, and asked by people who mean no good."

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from kill_index import DIM, ROWS, expected
from PIL import Image
from processes import ENV, begin, finish, good

pytest.importorskip("lancedb")

from landmark_nb.__main__ import main
from landmark_nb.core import rng
from landmark_nb.locate import PlaceIndex
from landmark_nb.locate.table import VectorTable, blocks, make_lists, nearest, within
from landmark_nb.models.embed import Embedder, ModelConfig, save_model

HERE = Path(__file__).parent
KILLS = int(os.environ.get("ATTACKS", 6))
QUIET = dict(progress=False, say=lambda text: None)
PLAIN = QUIET | dict(verify=0)  # photographs of noise have no points


# Killed while it writes


def there(folder) -> dict[int, Counter]:
    "Block -> how many rows of each edition the table holds, by column and by descriptor."
    found = {}
    for rows, vectors in blocks(VectorTable.open(folder), ["label", "date"]):
        for label, date, vector in zip(rows["label"], rows["date"], vectors):
            assert (vector == vector[0]).all(), "a torn descriptor"
            found.setdefault(int(label), Counter())[int(date), float(vector[0])] += 1
    return found


def is_state(found: dict[int, Counter], wanted: dict[int, int]) -> bool:
    "Whether the table holds just these blocks, each whole and of one edition."
    return found == {block: Counter({(edition, float(edition)): ROWS}) for block, edition in wanted.items()}


def test_nothing_is_lost_when_a_writer_is_killed(tmp_path):
    "What was written stays, what was being written is there whole or not at all: at random moments."
    VectorTable.create(tmp_path, DIM, "float32")
    done, moments = 0, rng(0, 77)
    for _ in range(KILLS):
        process = begin([HERE / "kill_index.py", tmp_path, done])
        journal = tmp_path / "journal"
        before = journal.stat().st_size if journal.exists() else 0
        while not journal.exists() or journal.stat().st_size == before:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.25))
        process.kill()
        process.wait()
        lines = [line.split() for line in journal.read_text().splitlines()]
        begun, ended = (max((int(n) for w, n in lines if w == word), default=-1) for word in ("begin", "end"))
        found = there(tmp_path)
        kept = max(done, ended + 1)
        finished = [n for n in (kept, begun + 1) if is_state(found, expected(n))]
        assert finished, f"{kept} operations were done, {begun} was begun: {found}"
        done = finished[-1]
    assert done, "it came to something"


# A folder of photographs


def shoot(folder: Path, spots, day: int, noise: float = 20.0):
    "Photographs of spots, whose names say where they are."
    folder.mkdir(parents=True, exist_ok=True)
    for spot in spots:
        look = np.random.default_rng(spot).integers(0, 255, (12, 12, 3)).repeat(6, 0).repeat(6, 1)
        grain = look + np.random.default_rng([spot, day]).normal(0, noise, look.shape)
        name = f"@{548000 + 200 * spot}@{4180000 + day}@10@S@@@@@0@@@@2024050{1 + day}@@.jpg"
        Image.fromarray(grain.clip(0, 255).astype(np.uint8)).save(folder / name, quality=95)


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    "Photographs, questions, and a small model."
    root = tmp_path_factory.mktemp("city")
    for day in (0, 1):
        shoot(root / "photos", range(40), day)
    shoot(root / "questions", range(40), 2)
    shoot(root / "strangers", range(100, 140), 2)
    save_model(Embedder(ModelConfig("resnet10t", "none", 0, 0)), root / "tiny.safetensors")
    return root


@pytest.fixture(scope="module")
def index(city):
    "An index of them."
    return PlaceIndex.build(
        city / "photos", city / "my.index", str(city / "tiny.safetensors"), size=64, **PLAIN
    )


def command(*words, **more) -> subprocess.Popen:
    "`python -m landmark_nb`."
    return begin(["-m", "landmark_nb", *words], **more)


def test_a_build_that_is_killed_goes_on_and_ends_the_same(city, index, tmp_path):
    settings = [
        "-p",
        "model",
        city / "tiny.safetensors",
        "-p",
        "size",
        "64",
        "-p",
        "batch",
        "2",
        "-p",
        "verify",
        "0",
    ]
    line = ["index", "build", city / "photos", "--to", tmp_path / "killed", *settings]
    for seconds in (0.2, 0.8):
        process = command(*line)
        while not (tmp_path / "killed/index.json").exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(seconds)
        process.kill()
        process.wait()
    assert f"{len(index)} photographs" in good(command(*line))
    both = [dict(zip(rows["id"], vectors)) for table in (tmp_path / "killed", index.folder)
            for rows, vectors in blocks(VectorTable.open(table), ["id"])]  # fmt: skip
    assert both[0].keys() == both[1].keys()
    assert max(np.abs(both[0][name] - both[1][name]).max() for name in both[0]) < 2e-3, "float16"


def test_known_and_strangers_are_told_apart(city, index):
    known = list(index.locate_all(sorted((city / "questions").iterdir())))
    strangers = list(index.locate_all(sorted((city / "strangers").iterdir())))
    said = [a for a in known + strangers if a.known]
    right = [a for a in said if a.query.split("@")[1] == a.matches[0].id.split("@")[1]]
    assert len(right) >= 0.95 * len(said) and sum(bool(a.known) for a in known) > 20
    assert sum(bool(a.known) for a in strangers) <= 2


def test_two_processes(city, index):
    "One may write at a time, and says who does; reading goes on, and sees what was written."
    reader = PlaceIndex.open(index.folder)
    holder = begin(["-c", f"""
import time
from pathlib import Path
from landmark_nb.locate.index import open_lock
with open_lock(Path({str(index.folder)!r})):
    print("held", flush=True)
    time.sleep(60)
"""])  # fmt: skip
    assert holder.stdout.readline() == "held\n"
    try:
        with pytest.raises(ValueError, match=f"is being written by another process .process {holder.pid} "):
            index.update(**QUIET)
        assert reader.locate(next((city / "questions").iterdir())).matches
    finally:
        holder.kill()
        holder.communicate()
    shoot(city / "photos", [77], 0)
    index.update(**QUIET)
    assert len(reader) == len(index) == 81
    (city / "photos" / "@563400@4180000@10@S@@@@@0@@@@20240501@@.jpg").unlink()
    index.update(**QUIET)
    assert len(reader) == 80


def test_a_disk_that_cannot_be_written(city, index, tmp_path):
    "Asking is possible, building says what is the matter."
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "--bind", index.folder, mounted], capture_output=True).returncode
    ):
        pytest.skip("mounting needs to be root")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", mounted], check=True)
        photo = next((city / "questions").iterdir())
        assert PlaceIndex.open(mounted).locate(photo).matches == index.locate(photo).matches
        with pytest.raises(OSError, match="[Rr]ead-only"):
            PlaceIndex.open(mounted).update(**QUIET)
    finally:
        subprocess.run(["umount", mounted], check=True)


def test_half_an_index(city, index, tmp_path):
    "Whatever file is lost or spoilt is named."
    photo = next((city / "questions").iterdir())
    for lost, words in (("index.json", "makes one"), ("model.safetensors", "model.safetensors"),
                        ("photographs.lance", "no index of photographs")):  # fmt: skip
        copy = shutil.copytree(index.folder, tmp_path / lost.split(".")[0])
        shutil.rmtree(copy / lost) if (copy / lost).is_dir() else (copy / lost).unlink()
        with pytest.raises((FileNotFoundError, ValueError), match=words):
            PlaceIndex.open(copy).locate(photo)
    spoilt = shutil.copytree(index.folder, tmp_path / "spoilt")
    for file in (spoilt / "photographs.lance").rglob("*.manifest"):
        file.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="cannot be read; it is not whole"):
        PlaceIndex.open(spoilt).locate(photo)
    (spoilt / "index.json").write_text('{"model": 7}')
    with pytest.raises(ValueError, match="index.json"):
        PlaceIndex.open(spoilt)


def test_many_copies_of_one_photograph(city, tmp_path):
    "They are described, stored and found without filling any list."
    photos = tmp_path / "photos"
    shutil.copytree(city / "photos", photos)
    one = sorted(photos.iterdir())[0]
    for i in range(300):
        os.link(one, photos / f"copy{i:03d}.jpg")
    index = PlaceIndex.build(photos, tmp_path / "i", str(city / "tiny.safetensors"), size=64, **PLAIN)
    answer = index.locate(one, k=20)
    contents = [Path(m.path).read_bytes() for m in answer.matches]
    assert len(set(contents)) == len(contents) == 20 and answer.matches[0].score > 0.99
    assert index.about.by_place.right > 0.8, "copies do not answer for each other"


def test_names_and_files_of_all_kinds(city, tmp_path):
    "Quotes, tags, other alphabets; what cannot be read is named and left out, in questions too."
    photos = tmp_path / "photos"
    odd = [
        'it\'s "quoted".jpg',
        "<img src=x onerror=alert(1)>.jpg",
        "塔/日本.jpg",
        "a b#c%d.jpg",
        "; DROP.jpg",
    ]
    for i, name in enumerate(odd):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(sorted((city / "photos").iterdir())[i], photos / name)
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    told = []
    index = PlaceIndex.build(photos, tmp_path / "i", str(city / "tiny.safetensors"), size=64, verify=0,
                             progress=False, say=told.append)  # fmt: skip
    assert len(index) == 5 and any("5 new, 1 cannot be decoded" in text for text in told), told
    for name in odd:
        answer = index.locate(photos / name)
        assert answer.matches[0].id == name and answer.confidence is None
        assert "<img src=x" not in answer._repr_html_()
        assert index.remove(name, say=told.append) == 1
    assert len(index) == 0 and index.locate(photos / odd[0]).matches == ()
    unread = index.locate(photos / "broken.jpg")
    assert "broken.jpg" in str(unread) and "cannot be decoded" in unread.why


def test_photographs_without_gps(tmp_path, city):
    "They are held and found, and have no place; where none has one, an index that asks for it says so."
    photos, exif = tmp_path / "photos", Image.Exif()
    photos.mkdir()
    exif.get_ifd(0x8825).update({1: "N", 2: (47.0, 30.0, 0.0), 3: "E", 4: (15.0, 0.0, 0.0)})
    for i, file in enumerate(sorted((city / "photos").iterdir())[:6]):
        Image.open(file).save(photos / f"{i}.jpg", **(dict(exif=exif) if i % 2 else {}))
    how = dict(model=str(city / "tiny.safetensors"), size=64, **PLAIN)
    index = PlaceIndex.build(photos, tmp_path / "i", positions="exif", **how)
    answers = [index.locate(photos / f"{i}.jpg") for i in range(6)]
    assert all(len(a.matches) == 5 and abs(a.lat - 47.5) < 1e-6 for a in answers)
    assert [a.matches[0].lat for a in answers] == [None, 47.5] * 3
    with pytest.raises(ValueError, match="not one of 80 photographs has GPS in its EXIF"):
        PlaceIndex.build(city / "photos", tmp_path / "j", positions="exif", **how)
    index = PlaceIndex.build(city / "photos", tmp_path / "j", positions="names", **how)
    assert len(index) == 80, "what failed before its first photograph begins anew"


def places_csv(city, file: Path, ids=None) -> Path:
    "Where the photographs of the city were taken, as a csv; `ids`: as they are called there."
    names = sorted(path.name for path in (city / "photos").iterdir())
    ids = names if ids is None else list(map(ids, names))
    spots = [(int(name.split("@")[1]) - 548000) / 100_000 for name in names]
    days = [f"2024-05-0{name.split('2024050')[1][0]} 10:00:{i:02d}" for i, name in enumerate(names)]
    rows = [f'"{name}",47.5,{15 + spot:.5f},{day}' for name, spot, day in zip(ids, spots, days)]
    file.write_text("\n".join(["SourceFile,GPSLatitude (deg),GPS Longitude,Date", *rows]) + "\n")
    return file


@pytest.mark.parametrize("called", ["{}", "{photos}/{}", "photos/{}", "{stem}"])
def test_positions_of_a_csv(city, tmp_path, called):
    "From the start, and for an index that has none yet; a clock's time is no other day."
    how = dict(model=str(city / "tiny.safetensors"), size=64, **PLAIN)
    words = dict(photos=city / "photos")
    csv = places_csv(
        city, tmp_path / "p.csv", lambda n: called.format(n, stem=n.removesuffix(".jpg"), **words)
    )
    later = PlaceIndex.build(city / "photos", tmp_path / "later", positions="none", **how)
    assert later.rows(["lat"])["lat"].is_null().all() and later.about.by_place is None
    later = PlaceIndex.build(city / "photos", tmp_path / "later", positions=str(csv), **QUIET)
    first = PlaceIndex.build(city / "photos", tmp_path / "first", positions=str(csv), **how)
    for index in (first, later):
        rows = index.rows(["lat", "date"])
        assert rows["lat"].is_not_null().all() and set(rows["date"]) == {"2024-05-01", "2024-05-02"}
        assert index.about.by_place.condition == "day" and index.about.sources[0].positions == str(csv)


def test_undated_photographs_are_not_of_another_day():
    "Nor are those without a place of another spot."
    from landmark_nb.locate.calibrate import Facts, conditions

    nobody, days = np.full(3, -1), np.array([-1, 1, 2])
    placed = np.array([[0.0, 0, 0], [1, 0, 0], [9, 0, 0]])
    may, _ = conditions(*2 * [Facts(placed, nobody, days, np.arange(3))], 25, False)
    assert may["day"].tolist() == [[False, False, False], [False, False, True], [False, True, False]]
    assert may["spot"][0].tolist() == [False, False, True]
    may, _ = conditions(*2 * [Facts(np.full((3, 3), np.nan), nobody, nobody, np.arange(3))], 25, True)
    assert not may["day"].any() and not may["spot"].any() and may["others"].sum() == 6


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image,x,y\na.jpg,1,2\n", "tells no place of its photographs"),
        ("image,lat,lon\na.jpg,47.5,\n", "row 2 has one of lat and lon alone"),
        ("image,lat,lon,date\na.jpg,47.5,15,05/17/2024\n", "row 2 has the date '05/17/2024'"),
        ("image,lat,lon\nz.jpg,47.5,15\n", "names none of the photographs"),
        ("image,lat,lon\n,47.5,15\n", "row 2 names no photograph"),
    ],
)
def test_a_csv_that_tells_nothing(tmp_path, text, said):
    from landmark_nb.locate.where import read_where

    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(ValueError, match=re.escape(said)):
        read_where(tmp_path, ["a.jpg"], str(tmp_path / "p.csv"))


def test_two_handles_of_one_index(city, tmp_path):
    "What one has added and the other has removed is there for both."
    how = dict(model=str(city / "tiny.safetensors"), size=64, **PLAIN)
    PlaceIndex.build(city / "photos", tmp_path / "i", **how)
    one, two = PlaceIndex.open(tmp_path / "i"), PlaceIndex.open(tmp_path / "i")
    one.add(city / "questions", **QUIET)
    gone = two.rows(["id"])["id"][0]
    two.remove(str(city / "photos" / gone), say=lambda text: None)
    one.update(**QUIET)
    again = PlaceIndex.open(tmp_path / "i")
    assert len(again.about.sources) == 2 and again.about.removed == (gone,) and len(again) == 80 + 40 - 1


def test_a_writer_that_dies_before_it_measured(city, tmp_path, monkeypatch):
    "The next one measures, and knows the folder that was being added."
    from landmark_nb.locate import index as module

    how = dict(model=str(city / "tiny.safetensors"), size=64, **PLAIN)
    shutil.copytree(city / "photos", tmp_path / "photos")
    index = PlaceIndex.build(tmp_path / "photos", tmp_path / "i", **how)
    monkeypatch.setattr(module, "tidy", lambda table: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        index.add(city / "questions", **QUIET)
    monkeypatch.undo()
    index = PlaceIndex.build(tmp_path / "photos", tmp_path / "i", **QUIET)
    assert len(index.about.sources) == 2 and len(index) == 120 and index.about.stale == 0
    assert index.about.by_place.questions == 120


def test_questions_of_your_own(city, tmp_path):
    "They measure where the collection itself is too small, and stay when photographs leave."
    how = dict(model=str(city / "tiny.safetensors"), size=64, **PLAIN)
    shoot(tmp_path / "few", range(12), 0)
    index = PlaceIndex.build(tmp_path / "few", tmp_path / "i", **how)
    assert index.about.by_place is None and "at least 20" in index.about.unsure
    shutil.copytree(city / "questions", tmp_path / "asked")
    for day in (3, 4):
        shoot(tmp_path / "asked", range(12), day)
    for i in range(30):  # without a place: neither right nor wrong
        shutil.copy(city / "strangers" / os.listdir(city / "strangers")[i], tmp_path / f"asked/no{i}.jpg")
    index.calibrate(tmp_path / "asked", **QUIET)
    told = index.about.by_place
    assert told.condition == "questions" and told.questions == 40 + 24 and told.errors
    index.remove(index.rows(["id"])["id"][0], say=lambda text: None)
    assert index.about.by_place == told and len(index) == 11
    (tmp_path / "none").mkdir()
    (tmp_path / "none/x.jpg").write_bytes(b"x")
    with pytest.raises(ValueError, match="not one of 1 photographs can be read"):
        index.calibrate(tmp_path / "none", **QUIET)


def test_answers_that_were_not_measured_say_so(city, tmp_path):
    "A filter, other points, photographs that are gone: how sure is not known."
    how = dict(model=str(city / "tiny.safetensors"), size=64, **QUIET)
    shutil.copytree(city / "photos", tmp_path / "photos")
    index = PlaceIndex.build(tmp_path / "photos", tmp_path / "i", verify=2, **how)
    photo = sorted((city / "questions").iterdir())[3]
    assert index.locate(photo).confidence is not None
    for more in (dict(verify=0), dict(year=2024), dict(near=(37.8, -122.4, 50_000))):
        answer = index.locate(photo, **more)
        assert answer.known is None and answer.confidence is None and answer.unsure, more
    shutil.move(tmp_path / "photos", tmp_path / "elsewhere")
    answer = index.locate(photo)
    assert answer.known is None and "is not there to be compared" in str(answer) and answer.lat is not None
    out = good(command("locate", photo, "--index", tmp_path / "i", "--json"))
    assert json.loads(out)["known"] is None, "nothing but JSON on stdout"


def test_a_folder_with_a_model_of_its_own(city, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"mine")
    with pytest.raises(ValueError, match="holds 'model.safetensors' and is no index"):
        PlaceIndex.build(city / "photos", tmp_path, **QUIET)
    assert (tmp_path / "model.safetensors").read_bytes() == b"mine"


def test_what_index_json_may_not_say(index, tmp_path):
    copy = shutil.copytree(index.folder, tmp_path / "i")
    said = json.loads((copy / "index.json").read_text())
    for change in (dict(removed=None), dict(removed=[1]), dict(sources=[]), dict(sources=[dict(x=1)])):
        (copy / "index.json").write_text(json.dumps(said | change))
        with pytest.raises(ValueError, match="index.json: is not what an index writes"):
            PlaceIndex.open(copy)
    said.pop("verify")
    (copy / "index.json").write_text(json.dumps(said))
    with pytest.raises(ValueError, match="index.json: is not what an index writes"):
        PlaceIndex.open(copy)


def test_lists_and_filters_find_what_all_find(tmp_path):
    "With an index over the vectors a filter still finds the nearest of those that pass."
    from kill_index import FILE, add_rows, pl, where_table

    r, n = np.random.default_rng(0), 4000
    vectors = r.normal(size=(n, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    lat, lon = 47 + r.uniform(0, 0.1, n), 15 + r.uniform(0, 0.1, n)
    rows = where_table([f"{i:04d}" for i in range(n)], lat=lat, lon=lon)
    table = VectorTable.create(tmp_path, DIM)
    add_rows(table, rows.with_columns(pl.lit(0, pl.Int64).alias(name) for name in FILE), vectors)
    where = within(47.05, 15.05, 700)
    before = [nearest(table, v, 10, where)[0]["id"].to_list() for v in vectors[:40]]
    whole = [nearest(table, v, 10)[0]["id"].to_list() for v in vectors[:40]]
    make_lists(table, 200)
    assert [nearest(table, v, 10, where)[0]["id"].to_list() for v in vectors[:40]] == before
    found = [set(nearest(table, v, 10, lists=20)[0]["id"]) for v in vectors[:40]]
    shares = [len(set(own) & got) / 10 for own, got in zip(whole, found)]
    assert 0.3 < np.mean(shares) < 1, (
        "noise has no lists: this shows that they were asked, and the filter was not"
    )


# The command line


def test_the_command_line(city, index, tmp_path):
    photo = sorted((city / "questions").iterdir())[0]
    out = good(command("locate", photo, "--index", index.folder, "--json", cwd=tmp_path))
    answer = json.loads(out)
    assert {"lat", "lon", "error_m", "confidence", "matches"} <= answer.keys() and len(answer["matches"]) == 5
    for words, said in (
        (("locate", "no.jpg", "--index", index.folder), "no.jpg"),
        (("locate", photo, "--index", tmp_path / "none"), "no such folder"),
        (
            ("locate", photo, "--index", index.folder, "-p", "near", "1,2"),
            "near=(1.0, 2.0): must be three numbers",
        ),
        (("index", "build", tmp_path / "none", "--to", tmp_path / "i"), "no such folder"),
        (("index", "build", city / "photos", "--to", index.folder, "-p", "size", "96"), "was made by"),
        (("index", "add", index.folder, tmp_path), "no images in it"),
        (("locate", photo, "--index", city / "photos"), "no index in it"),
        (("locate", photo, "--index", index.folder, "-p", "near", "-99,151.2,500"), "near=(-99.0, 151.2"),
        (
            ("locate", photo, "--index", index.folder, "-p", "drive", "true", "-p", "year", "2024"),
            "leave out year",
        ),
        (("index", "remove", index.folder, "nobody.jpg"), "its ids are paths such as '@"),
        (("index", "info", index.folder, "-p", "k", "3"), "has no settings"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=re.escape(said)):
            main([str(word) for word in words])
    code, _, err = finish(command("locate", "no.jpg", "--index", index.folder, cwd=tmp_path))
    assert code == 1 and "no.jpg" in err.splitlines()[-1] and "Traceback" not in err, err


def test_nothing_is_asked_of_other_machines(city, index):
    "An index is built and asked in a process that may open no connection."
    photo = sorted((city / "questions").iterdir())[0]
    script = f"""
import socket

def refuse(*a, **k):
    raise AssertionError("a connection")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from landmark_nb.locate import PlaceIndex

print(len(PlaceIndex.open({str(index.folder)!r}).locate({str(photo)!r})._repr_html_()) > 1000)
"""
    out = subprocess.run([sys.executable, "-c", script], env=ENV, capture_output=True, text=True)
    assert out.stdout.strip() == "True", out.stderr
