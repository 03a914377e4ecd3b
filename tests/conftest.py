import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# files of few tests that start many processes: begun first, so that both workers end together
LONG = (
    "test_stop",
    "test_dcosplace",
    "test_explorers",
    "test_landmark_kills",
    "test_cosplace",
    "test_network",
)


def pytest_collection_modifyitems(items):
    "Long files first; within a file, and among the others, the order stays."
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def real() -> Path:
    "A folder with real photographs to try things on; not part of the project."
    folder = Path(os.environ.get("LANDMARK_NB_REAL", ROOT.parent / "shared/real"))
    if not folder.is_dir():
        pytest.skip("no folder with real photographs (set LANDMARK_NB_REAL)")
    return folder


@pytest.fixture(scope="session")
def artefacts() -> Path:
    folder = ROOT / "test-artefacts"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory):
    "One run of the smoke preset, shared by the tests that only look at it."
    from landmark_nb.experiments import configure, run

    d = tmp_path_factory.mktemp("smoke")
    places = dict(out=str(d / "run"), worlds=str(d / "worlds"))
    return run(configure(data="smoke", **places, device="cpu", loader_workers=0), progress=False)


@pytest.fixture(scope="session")
def browser():
    "Chromium, headless. Where it is not installed the test says so; CI requires it."
    exe = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if exe is None:
        if os.environ.get("REQUIRE_BROWSER"):
            pytest.fail("REQUIRE_BROWSER is set, but chromium is not installed")
        pytest.skip("chromium is not installed: browser tests left out")
    from lab import CHROMIUM
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        b = p.chromium.launch(executable_path=exe, args=CHROMIUM)
        yield b
        b.close()
