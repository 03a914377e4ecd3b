"Inputs as people have them, row by row: what each gives, or what is said of it."

import gzip
import math
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from landmark_nb.config import coerce
from landmark_nb.core import FILE_ROW, read_csv
from landmark_nb.data.layouts.tables import (
    TablesConfig,
    TablesLayout,
    choose_zones,
    project,
    read_latlon_csv,
)
from landmark_nb.data.manifest import LeftOut, Manifest, list_images
from landmark_nb.data.names import FEW, NO_HEADING, NO_NUMBER, NO_PLACE, OK, join_names, parse_names
from landmark_nb.data.partition import assign, assign_folder
from landmark_nb.data.positives import frame_numbers, positives_by_radius, positives_from_csv
from landmark_nb.data.streams import check_listed
from landmark_nb.images import BadImage, read_image


def check(call, expected):
    "That a call gives what is expected, or raises it: (a kind of error, words in its message)."
    if isinstance(expected, tuple) and isinstance(expected[0], type) and issubclass(expected[0], Exception):
        with pytest.raises(expected[0]) as caught:
            call()
        assert expected[1] in str(caught.value), str(caught.value)
    else:
        np.testing.assert_equal(call(), expected)


# Tables

TABLES = {  # text of a csv -> (image, latitude, longitude) of each row, rounded; or what is said
    "image,lat,lon\na.jpg,45,7\n": [("a.jpg", 45, 7)],
    "image,lat,lon\r\na.jpg,45,7\r\n": [("a.jpg", 45, 7)],
    "image,lat,lon\na.jpg,45,7": [("a.jpg", 45, 7)],
    "\ufeffimage,lat,lon\na.jpg,45,7\n": [("a.jpg", 45, 7)],
    "lon,image,lat\n7,a.jpg,45\n": [("a.jpg", 45, 7)],
    "image,lat,lon,x,y\na.jpg,45,7,,\n": [("a.jpg", 45, 7)],
    "image,lat,lon\n\na.jpg,45,7\n\n\nb.jpg,46,7\n\n": [("a.jpg", 45, 7), ("b.jpg", 46, 7)],
    "image,lat,lon\na.jpg,45,7\n,,\n": [("a.jpg", 45, 7)],
    "image,lat,lon\na.jpg,45,7\n , ,\t\n": [("a.jpg", 45, 7)],
    "image;lat;lon\na.jpg;45;7\n": [("a.jpg", 45, 7)],
    "image;lat;lon\na.jpg;45,5;7,25\n;;\n": [("a.jpg", 45.5, 7.25)],
    "image\tlat\tlon\na.jpg\t45\t7\n": [("a.jpg", 45, 7)],
    'image,lat,lon\na.jpg,"45,5","7,25"\n': [("a.jpg", 45.5, 7.25)],
    "image, lat, lon\na.jpg, 45, 7\n": [("a.jpg", 45, 7)],
    "image,lat,lon\na.jpg, 45 ,7 \n": [("a.jpg", 45, 7)],
    "image,lat,lon\na.jpg,4.5e1,+7\n": [("a.jpg", 45, 7)],
    '"image","lat","lon"\n"a, b.jpg","45","7"\n': [("a, b.jpg", 45, 7)],
    'image,lat,lon\n"a ""b"".jpg",45,7\n': [('a "b".jpg', 45, 7)],
    "image,lat,lon\nÄ/ß 1.jpg,45,7\n": [("Ä/ß 1.jpg", 45, 7)],
    "image,lat,lon\na.jpg,-33.9,151.2\n": [("a.jpg", -33.9, 151.2)],
    "image,lat,lon\na.jpg,0,0\n": [("a.jpg", 0, 0)],
    "image,lat,lon\na.jpg,45,7\nb.jpg,45,\n": (ValueError, "1 rows have a 'lon' that is no number"),
    "image,lat,lon\n\na.jpg,45,x\n": (ValueError, "such as row 3 ('x')"),
    "image,lat,lon\na.jpg,91,7\n": (ValueError, "no number from -80 to 84, such as row 2 ('91')"),
    "image,lat,lon\na.jpg,45,181\n": (ValueError, "no number from -180 to 180"),
    "image,lat,lon\na.jpg,nan,7\n": (ValueError, "('nan')"),
    "image,lat,lon\na.jpg,inf,7\n": (ValueError, "('inf')"),
    "image,lat,lon\na.jpg,1.2.3,7\n": (ValueError, "('1.2.3')"),
    "image,lat,lon\na.jpg,1,234,5\n": (ValueError, "not readable as csv"),
    "image,lat,lon\na.jpg,45°N,7\n": (ValueError, "('45°N')"),
    "image,lat,lon\n,45,7\n": (ValueError, "row 2 names the image None"),
    "image,lat,lon\n\n,45,7\n": (ValueError, "row 3 names the image None"),
    "image,lat,lon\n/a.jpg,45,7\n": (ValueError, "must be a path below the root"),
    "image,lat,lon\n../a.jpg,45,7\n": (ValueError, "without '..'"),
    "image,lat,lon\na.jpg,45,7\na.jpg,45,7\n": (ValueError, "stands in the list twice"),
    "sep=;\nimage;lat;lon\na.jpg;45;7\n": [("a.jpg", 45, 7)],
    "sep=,\nimage,lat,lon\na.jpg,45,7\n": [("a.jpg", 45, 7)],
    'image;lat;lon;"note, free"\na.jpg;45;7;x\n': [("a.jpg", 45, 7)],
    "image,lat,lon,lat\na.jpg,45,7,8\n": (ValueError, "the column 'lat' is there twice"),
    "image,lat,lon, lat\na.jpg,45,7,8\n": (ValueError, "the column 'lat' is there twice"),
    "image,lat,lon, , \na.jpg,45,7,,\n": [("a.jpg", 45, 7)],
    "image,lat,lon,#row\na.jpg,45,7,8\n": [("a.jpg", 45, 7)],
    "image,lat,lon\n./a.jpg,45,7\n": (ValueError, "without '..', './' or '//'"),
    "image,lat,lon\nx//a.jpg,45,7\n": (ValueError, "without '..', './' or '//'"),
    "image,lat\na.jpg,45\n": (ValueError, "no column 'lon'; the columns are 'image', 'lat'"),
    "Image,Lat,Lon\na.jpg,45,7\n": (ValueError, "no column 'image', 'lat', 'lon'"),
    "image,lat,lon\n": (ValueError, "has a header and no rows"),
    "image,lat,lon\n\n,,\n": (ValueError, "has a header and no rows"),
    "": (ValueError, "the file is empty"),
    "\n": (ValueError, ""),
    "a.jpg,45,7\nb.jpg,45,7\n": (ValueError, "no column 'image'"),
}


@pytest.mark.parametrize("text", TABLES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_tables(tmp_path, text, encoding):
    path = tmp_path / "places.csv"
    path.write_bytes(text.removeprefix("\ufeff").encode(encoding) if encoding != "utf-8" else text.encode())

    def rows():
        m = read_latlon_csv(path)
        places = m.table.select("east", "north", "zone").iter_rows()
        return [(name, *degrees(*place)) for name, place in zip(m.ids, places)]

    check(rows, TABLES[text])


def degrees(east: float, north: float, zone: int) -> tuple[float, float]:
    "Latitude and longitude of UTM metres, to 1e-6 degrees."
    from pyproj import Transformer

    code = (32600 if zone > 0 else 32700) + abs(zone)
    lon, lat = Transformer.from_crs(code, 4326, always_xy=True).transform(east, north)
    return round(lat, 6) + 0.0, round(lon, 6) + 0.0


HEADINGS = {  # a heading as it stands in a table -> degrees, nan where unknown; or what is said
    "12": 12,
    "12,5": 12.5,
    " 12.5 ": 12.5,
    "-90": -90,
    "720": 720,
    "0": 0,
    "": math.nan,
    "nan": math.nan,
    "None": math.nan,
    "NULL": math.nan,
    "n/a": math.nan,
    "-": math.nan,
    "-1": math.nan,
    "-1.0": math.nan,
    "-999": math.nan,
    "9999": math.nan,
    "65535": math.nan,
    "#N/A": math.nan,
    "unknown": math.nan,
    "400": 400,
    "NE": (ValueError, "1 rows have a 'heading' that is no number"),
    "12°": (ValueError, "such as row 2 ('12°')"),
    "inf": (ValueError, "('inf')"),
}


@pytest.mark.parametrize("text", HEADINGS)
def test_headings_in_tables(tmp_path, text):
    (tmp_path / "a.csv").write_text(f'image,lat,lon,heading\na.jpg,45,7,"{text}"\n')
    read = lambda: read_latlon_csv(tmp_path / "a.csv", heading="heading").column("heading")[0]  # noqa: E731
    check(read, HEADINGS[text])


def test_rows_are_counted_as_in_the_file(tmp_path):
    (tmp_path / "a.csv").write_text("id,x\n\na,1\n,\n\nb,\n")
    for only in (False, True):
        table = read_csv(tmp_path / "a.csv", ["id"], only)
        assert table.select("id", FILE_ROW).rows() == [("a", 3), ("b", 6)]


# Zones

ZONES = [  # latitude, longitude -> UTM zone, as the package utm has it
    (37.77, -122.42, 10),
    (-33.9, 151.2, -56),
    (0.0, 0.0, 31),
    (0.0, -0.0001, 30),
    (60.39, 5.32, 32),
    (55.99, 5.32, 31),
    (63.99, 3.0, 32),
    (64.0, 5.32, 31),
    (78.2, 15.6, 33),
    (78.2, 8.99, 31),
    (78.2, 9.0, 33),
    (78.2, 21.0, 35),
    (78.2, 33.0, 37),
    (71.99, 8.0, 32),
    (10.0, 180.0, 1),
    (10.0, -180.0, 1),
    (10.0, 179.999, 60),
    (-0.0001, 32.5, -36),
    (84.0, 42.0, 38),
    (-80.0, -60.0, -21),
]


@pytest.mark.parametrize("lat, lon, zone", ZONES)
def test_zones(lat, lon, zone):
    assert choose_zones(np.array([lat]), np.array([lon])).tolist() == [zone]


TOWNS = [  # two places side by side, and the zone that is wanted -> zone of both
    ((55.6, 11.9995), (55.6, 12.0005), None, 32),
    ((55.6, 11.9995), (55.6, 12.0005), 33, 33),
    ((55.6, 11.9995), (55.6, 12.0005), 31, 31),
    ((0.0004, 32.5), (-0.0004, 32.5), None, 36),
    ((-0.0004, 32.5), (-0.0008, 32.5), None, -36),
    ((-17.0, 179.9995), (-17.0, -179.9995), None, -1),
    ((-17.0, 179.9995), (-17.0, -179.9995), 60, -60),
]


@pytest.mark.parametrize("one, other, zone, expected", TOWNS)
def test_towns_on_borders(one, other, zone, expected):
    lat, lon = np.array([one, other]).T
    zones = choose_zones(lat, lon, zone)
    places = project(lat, lon, zones)
    assert zones.tolist() == [expected] * 2
    metres = 111_320 * math.hypot(one[0] - other[0], (one[1] - other[1] + 180) % 360 - 180)
    assert 0.4 * metres < np.linalg.norm(places[0] - places[1]) < 1.01 * metres


SETS = [  # zones of the database, of the queries, all at one east and north -> right rows, or what is said
    ([33], [33], [[0]]),
    ([33], [10], [[]]),
    ([33], [-33], [[]]),
    ([33, 10], [10, 33], [[1], [0]]),
    ([None], [None], [[0]]),
    ([33], [None], [[0]]),
    ([None], [33], [[0]]),
    ([33, None], [33], [[0, 1]]),
    ([33, None], [10], (ValueError, "database: 1 images have no UTM zone, such as '1.jpg'")),
    ([33], [10, None], (ValueError, "queries: 1 images have no UTM zone, such as '1.jpg'")),
]


@pytest.mark.parametrize("database, queries, expected", SETS)
def test_zones_in_sets(database, queries, expected):
    def manifest(zones):
        columns = dict(id=[f"{i}.jpg" for i in range(len(zones))], east=5e5, north=4e6, zone=zones)
        return Manifest("cities", pl.DataFrame(columns, schema_overrides=dict(zone=pl.Int8)))

    found = lambda: [p.tolist() for p in positives_by_radius(manifest(database), manifest(queries))]  # noqa: E731
    check(found, expected)


def test_zones_in_classes():
    zones = np.array([33, 33, 10, 10, -33, 33], np.int8)
    p = assign(np.full(6, 5e5), np.full(6, 4e6), np.full(6, 10.0), min_images=1, zone=zones)
    by_zone = {zone: set(p.class_of[zones == zone]) for zone in (33, 10, -33)}
    assert all(len(classes) == 1 for classes in by_zone.values()) and len(p.counts) == 3


# Names

NAN = math.nan
NAMES = {  # -> east, north, heading, zone, state
    "@5@6@10@S@37@-122@p@@30@@@@2015@@.jpg": (5, 6, 30, 10, OK),
    "a/b@c/@5@6@10@S@37@-122@p@@30@@@@2015@@.jpg": (5, 6, 30, 10, OK),
    "@0000005.00@0000006.50@10@S@@@@@030@@@@@@.jpg": (5, 6.5, 30, 10, OK),
    "@5@6@33@H@@@@@30@@@@@@.jpg": (5, 6, 30, -33, OK),
    "@5@6@33@m@@@@@30@@@@@@.jpg": (5, 6, 30, -33, OK),
    "@5@6@33@n@@@@@30@@@@@@.jpg": (5, 6, 30, 33, OK),
    "@5@6@33@@@@@@30@@@@@@.jpg": (5, 6, 30, 33, OK),
    "@5@6@ 07 @X@@@@@30@@@@@@.jpg": (5, 6, 30, 7, OK),
    "@5@6@33U@@@@@@30@@@@@@.jpg": (5, 6, 30, 33, OK),
    "@5@6@56H@@@@@@30@@@@@@.jpg": (5, 6, 30, -56, OK),
    "@5@6@10s@S@@@@@30@@@@@@.jpg": (5, 6, 30, 10, OK),
    "@5@6@0@S@@@@@30@@@@@@.jpg": (5, 6, 30, 0, OK),
    "@5@6@61@S@@@@@30@@@@@@.jpg": (5, 6, 30, 0, OK),
    "@5@6@ten@S@@@@@30@@@@@@.jpg": (5, 6, 30, 0, OK),
    "@5@6@1.5@S@@@@@30@@@@@@.jpg": (5, 6, 30, 0, OK),
    "@5@6@@@@@@@30@@@@@@.jpg": (5, 6, 30, 0, OK),
    "@5@6@10@S@@@@@@@@@@@.jpg": (5, 6, NAN, 10, NO_HEADING),
    "@5@6@10@S@@@@@-1@@@@@@.jpg": (5, 6, NAN, 10, NO_HEADING),
    "@5@6@10@S@@@@@-1.00@@@@@@.jpg": (5, 6, NAN, 10, NO_HEADING),
    "@5@6@10@S@@@@@-01@@@@@@.jpg": (5, 6, NAN, 10, NO_HEADING),
    "@5@6@10@S@@@@@-1e0@@@@@@.jpg": (5, 6, NAN, 10, NO_HEADING),
    "@5@6@10@S@@@@@nan@@@@@@.jpg": (5, 6, NAN, 10, NO_HEADING),
    "@5@6@10@S@@@@@-1.5@@@@@@.jpg": (5, 6, -1.5, 10, OK),
    "@5@6@10@S@@@@@-999@@@@@@.jpg": (5, 6, NAN, 10, NO_HEADING),
    "@5@6@10@S@@@@@9.999e3@@@@@@.jpg": (5, 6, NAN, 10, NO_HEADING),
    "@5@6@10@S@@@@@65535@@@@@@.jpg": (5, 6, NAN, 10, NO_HEADING),
    "@5@6@10@S@@@@@400@@@@@@.jpg": (5, 6, 400, 10, OK),
    "@5@6@10@S@@@@@359@@@@@@.jpg": (5, 6, 359, 10, OK),
    "@5@6@10@S@@@@@360@@@@@@.jpg": (5, 6, 360, 10, OK),
    "@5e0@6@10@S@@@@@3e1@@@@@@.jpg": (5, 6, 30, 10, OK),
    "@-5@-6@10@S@@@@@30@@@@@@.jpg": (-5, -6, 30, 10, OK),
    "@5@6@.jpg": (5, 6, NAN, 0, NO_HEADING),
    "@5@6@10@.jpg": (5, 6, NAN, 10, NO_HEADING),
    "@5@6@10@S@@@@@None@@@@@@.jpg": (NAN, NAN, NAN, 10, NO_NUMBER),
    "@5@6@10@S@@@@@12,5@@@@@@.jpg": (NAN, NAN, NAN, 10, NO_NUMBER),
    "@5@6@10@S@@@@@inf@@@@@@.jpg": (5, 6, math.inf, 10, NO_NUMBER),
    "@x@6@10@S@@@@@30@@@@@@.jpg": (NAN, NAN, NAN, 10, NO_NUMBER),
    "@@6@10@S@@@@@30@@@@@@.jpg": (NAN, 6, 30, 10, NO_PLACE),
    "@5@@10@S@@@@@30@@@@@@.jpg": (5, NAN, 30, 10, NO_PLACE),
    "@inf@6@10@S@@@@@30@@@@@@.jpg": (math.inf, 6, 30, 10, NO_PLACE),
    "@5@6": (NAN, NAN, NAN, 0, FEW),
    "photo.jpg": (NAN, NAN, NAN, 0, FEW),
    "@.jpg": (NAN, NAN, NAN, 0, FEW),
    "@5@6@10@S/photo.jpg": (NAN, NAN, NAN, 0, FEW),
}


@pytest.mark.parametrize("name", NAMES)
def test_names(name):
    _, places, state = parse_names(join_names([name]))
    check(lambda: (*places[0], int(state[0])), NAMES[name])


FOLDERS = {  # headings of a training folder -> settings of the partition -> classes, or what is said
    ("10", "20", "200"): 2,
    ("", "20", "200"): (ValueError, "1 of 3 file names have no heading"),
    ("-1", "-1", "-1"): (ValueError, "3 of 3 file names have no heading (field 9; -1 counts as none)"),
    ("0", "0", "0"): (ValueError, "the headings of all 3 images are 0"),
    ("0", "0", "1"): 1,
}


@pytest.mark.parametrize("headings", FOLDERS)
@pytest.mark.parametrize("alpha", [90.0, 360.0])
def test_headings_of_folders(tmp_path, headings, alpha):
    (tmp_path / "train").mkdir()
    for i, heading in enumerate(headings):
        (tmp_path / f"train/@{500000 + i}@4180000@10@S@@@p{i}@@{heading}@@@@@@.jpg").touch()
    expected = FOLDERS[headings] if alpha < 360 else 1
    check(lambda: len(assign_folder(tmp_path / "train", 10.0, alpha, 5, 1, 1).counts), expected)


FRAMES = {  # names -> frame numbers, or what is said
    ("2.jpg", "7.jpg", "12.jpg"): [2, 7, 12],
    ("a/0002.jpg", "a/0007.jpg"): [2, 7],
    ("cam1_0002 (day).png", "cam1_0007 (day).png"): [2, 7],
    ("2.5.jpg", "3.6.jpg"): [5, 6],
    ("IMG_2.JPG.jpg",): [2],
    ("day.jpg", "2.jpg"): (ValueError, "'day.jpg' has no frame number"),
    ("a/2.jpg", "b/2.jpg"): (ValueError, "'a/2.jpg' and 'b/2.jpg'"),
    ("2.jpg", "002.jpg"): (ValueError, "one frame number"),
    (f"{10**30}.jpg",): (ValueError, "has no frame number"),
}


@pytest.mark.parametrize("names", FRAMES)
def test_frames(names):
    m = Manifest("drive", pl.DataFrame(dict(id=list(names))))
    check(lambda: frame_numbers(m), FRAMES[names])


# Folders

FILES = {  # a file -> whether it is a photograph, or why it is left out (None: nobody misses it)
    "a.jpg": True,
    "a.JPEG": True,
    "a.jpe": True,
    "a.jfif": True,
    "a.PNG": True,
    "a.Webp": True,
    "a.avif": True,
    "a.tif": True,
    "a.bmp": True,
    "a.gif": True,
    "deep/er/a b.jpg": True,
    "é/ß.jpg": True,
    "#1/a.jpg": True,
    "a.jpg.jpg": True,
    "thumbs/a.jpg": True,
    "a.txt": None,
    "a": "other files",
    "jpg": "other files",
    "a.jpg?w=640": "other files",
    "a.JPG(1)": "other files",
    "a.jpg_original": "other files",
    "a.jpg.part": "other files",
    "a.mpo": True,
    "a.dib": True,
    "a.csv": None,
    "a.insv": "videos",
    "a.gpr": "raw files of cameras",
    ".DS_Store": None,
    "Thumbs.db": None,
    "a.NEF": "raw files of cameras",
    "a.dng": "raw files of cameras",
    "a.MOV": "videos",
    "a.mp4": "videos",
    "a.jxl": "images of kinds that are not read",
    "a.pdf": None,
    "._a.jpg": "hidden files",
    ".thumbnails/a.jpg": "hidden folders",
    ".git/a.jpg": "hidden folders",
    "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg": "folders of thumbnails or of a system",
    "x/@EADIR/a.jpg": "folders of thumbnails or of a system",
    "__MACOSX/a.jpg": "folders of thumbnails or of a system",
    "#recycle/a.jpg": "folders of thumbnails or of a system",
    "$RECYCLE.BIN/a.jpg": "folders of thumbnails or of a system",
    "lost+found/a.jpg": "folders of thumbnails or of a system",
    "System Volume Information/a.jpg": "folders of thumbnails or of a system",
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_listed(tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    left_out = LeftOut()
    listed = list(list_images(tmp_path, left_out=left_out))
    if FILES[name] is True:
        assert listed == [name] and not left_out.counts
    else:
        assert listed == [] and list(left_out.counts) == ([FILES[name]] if FILES[name] else [])


LINKS = {  # links (name -> what it leads to, below the folder above) -> photographs that are listed
    ("photos/2013", "disk"): ["2013/a.jpg", "2013/b.jpg"],
    ("photos/circle", "photos"): [],
    ("photos/up", "."): ["up/disk/a.jpg", "up/disk/b.jpg"],
    ("photos/c.jpg", "disk/a.jpg"): ["c.jpg"],
    ("photos/dead", "nowhere"): [],
    ("photos/itself", "photos/itself"): [],
    ("photos/itself.jpg", "photos/itself.jpg"): ["itself.jpg"],
}


@pytest.mark.parametrize("link", LINKS)
def test_links(tmp_path, link):
    for name in ("disk/a.jpg", "disk/b.jpg", "photos/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / link[0]).symlink_to(tmp_path / link[1])
    assert list(list_images(tmp_path / "photos")) == LINKS[link]


LISTS = {  # a line of the list beside a folder that holds a/1.jpg -> what is said, or nothing
    "a/1.jpg": None,
    "a/1.jpg\r": None,
    "\ufeffa/1.jpg": "it has a byte order mark",
    "a/1.jpg ": "it has spaces around the names",
    "a\\1.jpg": "it has backslashes for slashes",
    "train/a/1.jpg": "it has the folder's own name in front",
    "/data/x/train/a/1.jpg": "it has more folders in front",
    "a/2.jpg": "such as 'a/2.jpg'",
    "A/1.jpg": "1 of 1 names that were looked up are no files",
}


@pytest.mark.parametrize("line", LISTS)
def test_lists_beside_folders(tmp_path, line):
    (tmp_path / "train/a").mkdir(parents=True)
    (tmp_path / "train/a/1.jpg").touch()
    (tmp_path / "train_images_paths.txt").write_bytes(f"{line}\n".encode())
    expected = LISTS[line] and (ValueError, LISTS[line])
    check(lambda: check_listed(tmp_path / "train"), expected)


# Pixels


def grey(values, kind, mode=None):
    "A picture of two pixels, one row."
    return Image.fromarray(np.array([values], kind), mode)


PIXELS = {  # picture, how it is saved -> the values of both pixels, or what is said
    "8 bits": (lambda: grey([0, 255], np.uint8), "png", [0, 255]),
    "16 bits": (lambda: grey([0, 65535], np.uint16), "png", [0, 255]),
    "16 bits, half": (lambda: grey([257, 128 * 257], np.uint16), "png", [1, 128]),
    "16 bits, dark": (lambda: grey([0, 255], np.uint16), "png", [0, 0]),
    "16 bits, TIFF": (lambda: grey([0, 65535], np.uint16), "tif", [0, 255]),
    "32 bits of 8": (lambda: grey([0, 255], np.int32), "tif", [0, 255]),
    "32 bits of 16": (lambda: grey([0, 65535], np.int32), "tif", [0, 255]),
    "32 bits, black": (lambda: grey([0, 0], np.int32), "tif", [0, 0]),
    "32 bits of 32": (lambda: grey([0, 2**30], np.int32), "tif", (BadImage, "have no known range")),
    "32 bits below 0": (lambda: grey([-1, 255], np.int32), "tif", (BadImage, "from -1 to 255")),
    "floating point": (lambda: grey([0, 1], np.float32), "tif", (BadImage, "floating-point")),
    "one bit": (lambda: grey([0, 255], np.uint8).convert("1"), "png", [0, 255]),
    "palette": (lambda: grey([0, 255], np.uint8).convert("P"), "gif", [0, 255]),
    "transparent": (lambda: Image.new("RGBA", (2, 1), (0, 0, 0, 0)), "png", [255, 255]),
    "grey and alpha": (lambda: Image.new("LA", (2, 1), (0, 0)), "png", [255, 255]),
    "CMYK": (lambda: Image.new("CMYK", (2, 1)), "tif", [255, 255]),
}


@pytest.mark.parametrize("kind", PIXELS)
def test_pixels(tmp_path, kind):
    make, ending, expected = PIXELS[kind]
    path = tmp_path / f"a.{ending}"
    make().save(path)
    check(lambda: read_image(path)[0, :, 0].tolist(), expected)


def test_heic_is_read_or_said(tmp_path):
    path = tmp_path / "a.heic"
    try:
        import pillow_heif
    except ImportError:
        path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
        with pytest.raises(BadImage, match="pip install"):
            read_image(path)
        return
    pillow_heif.from_pillow(Image.new("RGB", (64, 48), (200, 10, 10))).save(path)
    assert list(list_images(tmp_path)) == ["a.heic"]
    image = read_image(path, 32)
    assert image.shape == (32, 32, 3) and abs(image.mean((0, 1)) - (200, 10, 10)).max() < 8


# Parameters

VALUES = [  # a value, the type that is wanted -> what it becomes, or what is said
    ("1e-5", float, 1e-5),
    (1, float, 1.0),
    ("2.0", int, 2),
    (2.0, int, 2),
    (2.5, int, (ValueError, "p=2.5")),
    ("2.5", int, (ValueError, "p='2.5'")),
    (247, str, "247"),
    (True, str, (ValueError, "p=True")),
    ("None", int | None, None),
    (None, int | None, None),
    (None, int, (ValueError, "p=None")),
    ("nan", float, (ValueError, "finite")),
    (float("inf"), float, (ValueError, "finite")),
    (1, bool, (ValueError, "p=1")),
    ("yes", bool, (ValueError, "p='yes'")),
    ([1, 2], int, (ValueError, "p=[1, 2]")),
    ({}, str, (ValueError, "p={}")),
]


@pytest.mark.parametrize("value, kind, expected", VALUES)
def test_values(value, kind, expected):
    check(lambda: coerce("p", value, kind), expected)


def test_there_are_enough_rows():
    tables = (
        TABLES,
        HEADINGS,
        ZONES,
        TOWNS,
        SETS,
        NAMES,
        FOLDERS,
        FRAMES,
        FILES,
        LINKS,
        LISTS,
        PIXELS,
        VALUES,
    )
    assert sum(map(len, tables)) >= 200


@pytest.mark.skipif(os.name != "posix", reason="names that are not UTF-8")
def test_names_that_are_not_utf8(tmp_path):
    with open(os.fsencode(tmp_path) + b"/\xff.jpg", "wb"):
        pass
    with pytest.raises(ValueError, match="not valid UTF-8"):
        list(list_images(tmp_path))
    left_out = LeftOut()
    assert list(list_images(Path(tmp_path), True, left_out)) == []
    assert list(left_out.counts) == ["names that are not UTF-8"]


@pytest.mark.parametrize("zone", [0, 61, -33, -1])
def test_zones_that_are_none(tmp_path, zone):
    (tmp_path / "a.csv").write_text("image,lat,lon\na.jpg,45,7\n")
    with pytest.raises(ValueError, match="must be a number from 1 to 60"):
        read_latlon_csv(tmp_path / "a.csv", zone=zone)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "a.jpg").touch()
    with pytest.raises(FileNotFoundError, match="is a file, not a folder"):
        list(list_images(tmp_path / "a.jpg"))


def test_packed_tables(tmp_path):
    (tmp_path / "a.csv").write_bytes(gzip.compress(b"image;lat;lon\na.jpg;45,5;7\n"))
    assert len(read_latlon_csv(tmp_path / "a.csv")) == 1


def test_a_positive_that_is_named_twice_counts_once(tmp_path):
    photos = Manifest("photos", pl.DataFrame(dict(id=["a.jpg", "b.jpg"])))
    (tmp_path / "a.csv").write_text("query,ref_positives\na.jpg,b.jpg b.jpg\nb.jpg,\n")
    assert [p.tolist() for p in positives_from_csv(tmp_path / "a.csv", photos, photos)] == [[1], []]


def test_photographs_that_a_table_names_are_there(tmp_path):
    layout = TablesLayout(tmp_path, 25.0, False, TablesConfig())
    (tmp_path / "img").mkdir()
    (tmp_path / "img/a.jpg").touch()
    for name, words in (("img/a.jpg", None), ("img\\a.jpg", "backslashes"), ("img/b.jpg", "are no files")):
        (tmp_path / "train.csv").write_text(f"image,lat,lon,heading\n{name},45,7,10\n")
        expected = words and (ValueError, words)
        check(lambda: layout.photographs() and None, expected)
