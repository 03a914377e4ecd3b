"What only a GPU shows: each recipe for places, with its photographs in the GPU's memory and without."

import pytest
import torch

from landmark_nb.experiments import configure, run
from landmark_nb.log import read_events

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
RECIPES = {
    "cosplace": dict(iterations=2),
    "dcosplace": dict(iterations=2, local_steps=2),
    "gsv": dict(iterations=2),
    "netvlad": dict(iterations=1),
}


@pytest.mark.parametrize("cache_gb", [0.0, 0.1])
@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_train(tmp_path, recipe, cache_gb):
    own = dict(recipe=recipe, data="smoke", device="cuda", cache_gb=cache_gb, out=str(tmp_path / "run"))
    run(configure(**own, worlds=str(tmp_path), **RECIPES[recipe]), progress=False)
    losses = [e["loss"] for e in read_events(tmp_path / "run", "step")]
    assert losses and all(loss == loss for loss in losses)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision(tmp_path, precision):
    own = dict(recipe="cosplace", data="smoke", device="cuda", precision=precision, iterations=2)
    run(configure(**own, worlds=str(tmp_path), out=str(tmp_path / "run")), progress=False)
    assert (tmp_path / "run/best.safetensors").is_file()
