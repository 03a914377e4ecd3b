"Images a second and core of the drawn city, JPEG files included."

import tempfile
import time
from pathlib import Path

from common import save

from landmark_nb.data.drawn.city import WorldConfig, build_city, plan, write_world

BLOCKS = dict(train_blocks=1, val_blocks=1, test_blocks=1, rows=1, years=1)
VIEWS = dict(spacing=8, database_spacing=20, val_queries=8, test_queries=8)


def images_per_second(
    size: int,  # pixels, the side of an image
) -> tuple[int, float]:
    "How many images a small city has, and how many of them one thread writes in a second."
    cfg = WorldConfig(size=size, **BLOCKS, **VIEWS)
    n = sum(map(len, plan(cfg, build_city(cfg)).values()))
    with tempfile.TemporaryDirectory() as tmp:
        write_world(cfg, Path(tmp, "warm"), workers=1, progress=False)
        start = time.perf_counter()
        write_world(cfg, Path(tmp, "timed"), workers=1, progress=False)
        return n, n / (time.perf_counter() - start)


def main():
    "Measure three sizes."
    rows = {}
    for size in (128, 256, 512):
        images, speed = images_per_second(size)
        rows[f"{size} px"] = dict(images=images, images_per_second_and_core=round(speed))
    save("draw_world", sizes=rows)


if __name__ == "__main__":
    main()
