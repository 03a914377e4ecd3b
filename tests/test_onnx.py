"ONNX files: every aggregation on a ResNet and on a ViT; the how-to page's program where this package is not."

import ast
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from processes import ENV, begin, finish, good

from landmark_nb.__main__ import main
from landmark_nb.config import from_flat
from landmark_nb.images import read_image
from landmark_nb.models.aggregate import AGGREGATIONS
from landmark_nb.models.embed import Embedder, ModelConfig, fingerprint, load_model, save_model
from landmark_nb.models.onnx import export_onnx, onnx_facts, run_file

SMALL = dict(
    cosplace={},
    gem={},
    avg={},
    token={},
    netvlad=dict(clusters=4),
    convap=dict(channels=8),
    mixvpr=dict(channels=16),
    salad=dict(clusters=8, channels=8, token=8),
    boq=dict(channels=64, queries=8, rows=4),
)
TRUNKS = dict(test_resnet=dict(cut="layer3"), test_vit={})
# NetVLAD's authors whiten; the others that bring their own length have no projection
PAIRS = [(a, t) for a in SMALL for t in TRUNKS if (a, t) != ("token", "test_resnet")]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def model_with(aggregation: str, trunk: str, **more) -> Embedder:
    settings = {f"{aggregation}_{k}": v for k, v in SMALL[aggregation].items()}
    if trunk == "test_resnet" and aggregation == "salad":
        settings["salad_token"] = 0
    cfg = ModelConfig(trunk, "none", 16 if SMALL[aggregation] == {} else 0, 0, aggregation, input_size=96)
    model = Embedder(from_flat(cfg, settings | TRUNKS[trunk] | more))
    for name, buffer in model.named_buffers():  # statistics that do something
        if "running_mean" in name:
            buffer.normal_(0, 0.1)
        if "running_var" in name:
            buffer.uniform_(0.5, 1.5)
    return model


def test_every_aggregation_is_here():
    own = {name for name, method in AGGREGATIONS.items() if method.make.__module__.startswith("landmark_nb")}
    assert own == set(SMALL)


@pytest.mark.parametrize("aggregation, trunk", PAIRS)
def test_the_file_is_the_model(tmp_path, aggregation, trunk):
    model = model_with(aggregation, trunk)
    made = export_onnx(model, tmp_path / "m.onnx", 96)
    assert made.largest < 1e-5 and made.dim == model.dim
    images = torch.rand(7, 3, 96, 96)
    with torch.no_grad():
        want = model(images).numpy()
    for sizes in ((), (1,), (3, 3)):
        assert np.abs(run_file(made.file, images, sizes) - want).max() < 1e-5
    assert onnx_facts(made.file)["fingerprint"] == fingerprint(model)


def test_neck_pca_size_and_bytes_at_once(tmp_path):
    from landmark_nb.export import shorten

    model = model_with("gem", "test_vit", neck="prelu")
    short = shorten(model, torch.nn.functional.normalize(torch.randn(40, 16)), 5)
    made = export_onnx(short, tmp_path / "m.onnx", 128, "uint8")
    assert (made.dim, made.size) == (5, 128) and made.largest < 1e-5
    images = torch.randint(0, 256, (3, 3, 128, 128), dtype=torch.uint8)
    short.resize(128)
    with torch.no_grad():
        want = short(images.float() / 255).numpy()
    assert np.abs(run_file(made.file, images) - want).max() < 1e-5


@pytest.mark.parametrize("trunk, size", [("resnet18", 64), ("vit_small_patch14_dinov2", 98)])
def test_trunks_that_people_take(tmp_path, trunk, size):
    aggregation = "cosplace" if trunk == "resnet18" else "token"
    model = Embedder(ModelConfig(trunk, "none", 32, 0, aggregation))
    assert export_onnx(model, tmp_path / "m.onnx", size).largest < 1e-5


def test_what_cannot_be_written_says_why_and_leaves_nothing(tmp_path):
    save_model(model_with("gem", "test_vit"), tmp_path / "m.safetensors")
    for line, words in (
        (
            "export {d}/m.safetensors {d}/m.onnx -p size 100",
            "image size 100: test_vit cannot be built for it",
        ),
        ("export {d}/m.safetensors {d}/m.onnx -p tolerance 0", "differ from the model's by up to"),
        ("export {d}/m.safetensors {d}/m.pt", "m.pt: must end in .onnx"),
        ("export {d}/m.safetensors /proc/m.onnx", "could not write"),
        ("export {d}/m.safetensors {d}/m.onnx -p pixels int16", "must be one of float32, uint8"),
        ("export {d}/m.safetensors {d}/m.onnx -p photographs {d}", "no images"),
        ("export {d}/none.safetensors {d}/m.onnx", "no such file or folder"),
        ("shorten {d}/m.safetensors {d} {d}/s.safetensors", "no images"),
        ("shorten {d}/m.safetensors {d} {d}/m.safetensors", "is a model that was not shortened"),
    ):
        with pytest.raises((ValueError, OSError)) as said:
            main(line.format(d=tmp_path).split())
        assert words in str(said.value)
        assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_an_error_is_a_line(tmp_path):
    code, out, err = finish(begin(["-m", "landmark_nb", "export", tmp_path / "none", tmp_path / "m.onnx"]))
    assert code == 1 and not out and len(err.strip().splitlines()) == 1 and "no such file or folder" in err


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_folder_that_nobody_may_write_to(tmp_path):
    model = model_with("gem", "test_resnet")
    tmp_path.chmod(0o555)
    with pytest.raises(OSError, match="could not write .*m.onnx: Permission denied"):
        export_onnx(model, tmp_path / "m.onnx", 96)


# The how-to page


def program_of(root) -> str:
    "The program that the page shows."
    cells = json.loads((root / "nbs/howto/export.ipynb").read_text())["cells"]
    sources = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    (source,) = [s for s in sources if s.startswith("program = ")]
    return ast.literal_eval(ast.parse(source).body[0].value)


ALONE = """
import sys
sys.modules.update(dict.fromkeys(("landmark_nb", "torch", "torchvision", "timm")))
for name in ("landmark_nb", "torch"):
    try:
        __import__(name)
    except ImportError:
        continue
    sys.exit(f"{name} is there")
sys.argv = sys.argv[1:]
exec(open(sys.argv[0]).read())
"""


def test_the_program_of_the_page_needs_neither_this_package_nor_torch(root, tmp_path):
    program = program_of(root)
    assert len([line for line in program.splitlines() if line.strip()]) <= 14
    (tmp_path / "elsewhere.py").write_text(program)
    sizes, chance = ((640, 480), (300, 500), (96, 96)), np.random.default_rng(0)
    for i, (width, height) in enumerate(sizes):
        pixels = chance.integers(0, 256, (9, 12, 3), dtype=np.uint8)
        how = dict(exif=Image.Exif()) if i else {}
        if i:
            how["exif"][274] = 6  # turned by a quarter
        Image.fromarray(pixels).resize((width, height), 3).save(tmp_path / f"{i}.jpg", **how)
    model = model_with("gem", "test_resnet")
    export_onnx(model, tmp_path / "places.onnx", 96)
    photographs = [f"{i}.jpg" for i in range(3)]
    words = [sys.executable, "-c", ALONE, "elsewhere.py", "places.onnx", *photographs]
    r = subprocess.run(words, cwd=tmp_path, env=ENV, capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    found = np.load(tmp_path / "descriptors.npy")
    images = np.stack([read_image(tmp_path / name, 96) for name in photographs])
    with torch.no_grad():
        want = model(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255).numpy()
    assert np.abs(found - want).max() < 1e-5, "the same pixels, the same descriptors"


def test_a_command_line_from_trunk_to_file(tmp_path):
    words = ["-m", "landmark_nb", "export", "tf_efficientnet_lite0", tmp_path / "m.onnx", "-p", "size", "64"]
    assert "1280 numbers of 64 x 64 pixels" in good(begin(words))
    assert json.loads(onnx_facts(tmp_path / "m.onnx")["model"])["trunk"] == "tf_efficientnet_lite0"


def test_what_others_published(tmp_path):
    from landmark_nb.models.published import LAYOUTS

    model = Embedder(ModelConfig("resnet18", "none", 32, 0))
    there = {LAYOUTS["cosplace"].there(name): t for name, t in model.state_dict().items()}
    torch.save(there, tmp_path / "c.pth")
    words = [
        "-m",
        "landmark_nb",
        "export",
        f"cosplace:{tmp_path}/c.pth",
        tmp_path / "m.onnx",
        "-p",
        "size",
        "64",
    ]
    assert "32 numbers of 64 x 64 pixels" in good(begin(words))
    facts = onnx_facts(tmp_path / "m.onnx")
    assert facts["fingerprint"] == fingerprint(model) and str(tmp_path) not in facts["model"]


def test_the_same_model_from_its_file(tmp_path):
    save_model(model_with("cosplace", "test_resnet"), tmp_path / "m.safetensors")
    export_onnx(tmp_path / "m.safetensors", tmp_path / "m.onnx", 96)
    assert onnx_facts(tmp_path / "m.onnx")["fingerprint"] == fingerprint(
        load_model(tmp_path / "m.safetensors")
    )
