"Trunks, their names and sizes, broken photographs and notebooks' parameters, as people have them."

import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from processes import ENV

from landmark_nb.data.layouts.folder import read_folder
from landmark_nb.data.loaders import ImageBatches, Quarantine, StepBatches
from landmark_nb.data.samplers import GroupImages
from landmark_nb.images import BadImage
from landmark_nb.models.embed import Embedder, ModelConfig, load_model, save_model
from landmark_nb.models.trunk import build_trunk

# Trunks, and whether they have a class token
FAMILIES = {
    "beit_base_patch16_224": True,
    "botnet26t_256": False,
    "cait_xxs24_224": True,
    "coat_tiny": True,
    "convmixer_768_32": False,
    "crossvit_9_dagger_240": True,
    "davit_tiny": False,
    "deit_tiny_distilled_patch16_224": True,
    "efficientformer_l1": False,
    "efficientvim_m2": False,
    "efficientvit_b1": False,
    "efficientvit_m0": False,
    "focalnet_tiny_srf": False,
    "gcvit_xxtiny": False,
    "hiera_tiny_224": False,
    "inception_next_atto": False,
    "levit_conv_128s": False,
    "mambaout_femto": False,
    "mixer_s32_224": False,
    "mobilenetv4_conv_small_035": False,
    "mvitv2_tiny": False,
    "nest_tiny": False,
    "pit_xs_distilled_224": True,
    "pvt_v2_b0": False,
    "swinv2_cr_tiny_224": False,
    "tnt_s_patch16_224": True,
    "twins_svt_small": False,
    "vit_small_patch14_reg4_dinov2": True,
    "volo_d1_224": True,
    "xcit_nano_12_p16_224": True,
}
SMALL = ("coat_lite_tiny", "crossvit_9_dagger_240", "efficientvim_m1", "pit_ti_distilled_224", "levit_128s")

# What is typed, and what is said; "" where it is taken
NAMES = {
    "hf-hub:timm/test_resnet.r160_in1k": "",
    "HF_HUB:timm/test_resnet": "",
    "timm/test_resnet": "",
    "\ttest_resnet\n": "",
    "gluon_resnet34_v1b": "",
    "Test_ResNet": "did you mean test_resnet",
    "efficientnet-b0": "did you mean efficientnet_b0",
    "microsoft/swinv2-tiny-patch4-window8-256": "swinv2_tiny_window8_256",
    "facebookresearch/dinov2_vitb14": "did you mean vit_base_patch14_dinov2",
    "dinov3_vits16": "did you mean vit_small_patch16_dinov3",
    "vit_l_16": "did you mean vit_large_patch16_224",
    "resnet101.tv_in1k_v2": "did you mean resnet101.tv_in1k? Its tags: ",
    "test_resnet.lvd142m": "Its tags: r160_in1k. trunk=test_resnet takes timm's first choice",
    "local-dir:/models/mine": "weights=FILE.safetensors",
    "": "timm has no such model",
}

# Trunk, pixels that it is built for, pixels of the images, and what is said; "" where they are taken
SIZES = [
    ("vit_small_patch14_dinov2", 0, 518, ""),
    (
        "vit_small_patch14_dinov2",
        0,
        320,
        "image_size and input_size=308 or 322 (its patches are 14 pixels wide)",
    ),
    ("vit_small_patch14_dinov2", 0, 322, "set input_size=322, too"),
    ("vit_small_patch14_dinov2", 322, 322, ""),
    ("vit_small_patch14_dinov2", 321, 321, "13 of 321 would be lost; take 308 or 322"),
    ("vit_small_patch14_dinov2", 10, 10, "10 of 10 would be lost; take 14"),
    ("swin_tiny_patch4_window7_224", 226, 226, "2 of 226 would be lost; take 224 or 228"),
    ("test_vit", 0, 150, "image_size and input_size=144 or 160"),
    ("mixer_s32_224", 0, 256, "mixer_s32_224 is made for 224 x 224"),
    ("cait_s24_224", 0, 384, "another trunk: cait_s24_384, which is made for 384"),
    ("test_resnet", 0, 97, ""),
]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_gives_a_map(name):
    with torch.device("meta"):  # shapes alone
        model = Embedder(ModelConfig(name, "none", 16, 0, aggregation="gem"))
        x = torch.zeros(2, 3, model.made_for, model.made_for)
        features, token = model.features(x)
        assert model(x).shape == (2, 16)
    assert features.shape[:2] == (2, model.trunk.num_features)
    assert (token is not None) == FAMILIES[name]
    assert token is None or token.shape == (2, model.trunk.num_features)


@pytest.mark.parametrize("name", SMALL)
def test_another_picture_has_another_descriptor(name):
    torch.manual_seed(0)
    model = Embedder(ModelConfig(name, "none", 0, 0, aggregation="avg"))
    x = torch.rand(2, 3, model.made_for, model.made_for)
    x[1, :, :100] = 0
    with torch.no_grad():
        one, two = model(x)
        assert torch.allclose(model(x[:1])[0], one, atol=1e-5), "of itself alone"
    assert abs(one.norm() - 1) < 1e-5 and not torch.allclose(one, two, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_names(name):
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        if NAMES[name]:
            with pytest.raises(ValueError, match="^parameter trunk=") as said:
                build_trunk(name, "none")
            assert NAMES[name] in str(said.value)
        else:
            assert build_trunk(name, "none").num_features


@pytest.mark.parametrize("trunk, built_for, size, words", SIZES)
def test_sizes(trunk, built_for, size, words):
    def describe():
        with torch.device("meta"), torch.no_grad():
            model = Embedder(ModelConfig(trunk, "none", 8, 0, input_size=built_for))
            return model(torch.zeros(1, 3, size, size))

    if not words:
        assert describe().shape == (1, 8)
        return
    with pytest.raises(ValueError) as said:
        describe()
    assert words in str(said.value) and trunk in str(said.value) and str(size) in str(said.value)


def test_a_model_forgets_the_hub_in_its_trunks_name(tmp_path):
    model = Embedder(ModelConfig("hf_hub:timm/test_resnet", "none", 8, 0))
    save_model(model, tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors")
    assert again.cfg.trunk == "test_resnet" and again.cfg == model.cfg


def photographs(folder, n: int, broken: list[int]):
    "A manifest of small photographs, some of them broken."
    for i in range(n):
        Image.new("RGB", (16, 12), (20 * i, 0, 0)).save(folder / f"{i}.png")
    for i in broken:
        (folder / f"{i}.png").write_bytes(b"")
    return read_folder(folder)


def drawn(manifest, kind: str, seed: int):
    "Forty steps over a class of all photographs, one after the other."
    n = len(manifest)
    if kind == "places":
        ds = StepBatches(
            manifest.root, manifest.ids, {0: GroupImages(0, np.arange(n), np.array([0, n]))}, 8, 1, seed
        )
        return (ds[0, step] for step in range(40))
    ds = ImageBatches(manifest, np.zeros(n, int), 8, seed=seed)
    return (ds[step, np.arange(n)] for step in range(40))


@pytest.mark.parametrize("kind", ["places", "landmarks"])
@pytest.mark.parametrize(
    "n, broken, limit, lost",  # None where it stops
    [
        (2, [0], 0.0, 1),
        (3, [1, 2], 1.0, 2),
        (3, [1, 2], 0.6, None),
        (6, [0, 1, 2, 3, 4], 1.0, 5),
        (6, [0, 1, 2], 0.5, 3),
        (6, [0, 1, 2], 0.49, None),
        (4, [0, 1, 2, 3], 1.0, None),
    ],
)
def test_a_class_may_lose_a_share_of_its_files(kind, n, broken, limit, lost, tmp_path):
    manifest = photographs(tmp_path, n, broken)
    for seed in range(5):
        quarantine = Quarantine(limit)
        try:
            for batch in drawn(manifest, kind, seed):
                quarantine.add(batch)
            assert len(quarantine.lost(0, 0)) == lost, seed
        except BadImage as e:
            assert lost is None, (seed, e)


@pytest.mark.parametrize(
    "parameters, words",
    [
        (dict(database="247", queries="248"), ""),
        (dict(database="0.5", queries="248"), "parameter database=0.5: must be of type str, not float"),
    ],
)
def test_a_notebook_takes_numbers_for_names(parameters, words, root, tmp_path):
    for name in ("247", "248"):
        (tmp_path / name).mkdir()
        photographs(tmp_path / name, 3, [])
    given = dict(trunk="test_resnet", weights="none", size="64", k="2") | parameters
    words_of = [word for name, value in given.items() for word in ("-p", name, value)]
    command = [sys.executable, "-m", "papermill", root / "nbs/tutorials/own_photographs.ipynb", "out.ipynb"]
    done = subprocess.run(
        [*map(str, command), *words_of], cwd=tmp_path, capture_output=True, text=True, env=ENV
    )
    assert bool(done.returncode) == bool(words), done.stderr[-2000:]
    if words:
        assert words in done.stderr
    else:
        outputs = json.dumps(json.loads((tmp_path / "out.ipynb").read_text()))
        assert "3 queries, 3 photographs to search in" in outputs
