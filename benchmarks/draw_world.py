"Images a second and core of the drawn city, JPEG files included."

import tempfile
import time

from common import save

from landmark_nb.data.drawn import city as w

rows = {}
for size in (128, 256, 512):
    cfg = w.WorldConfig(size=size)
    city = w.build_city(cfg)
    poses = w.plan(cfg, city)["train"]
    with tempfile.TemporaryDirectory() as d:
        small = w.WorldConfig(
            size=size,
            train_blocks=1,
            val_blocks=1,
            test_blocks=1,
            rows=1,
            years=1,
            spacing=8,
            database_spacing=20,
            val_queries=8,
            test_queries=8,
        )
        w.write_world(small, d + "/warm", workers=1, progress=False)
        n = sum(map(len, w.plan(small, w.build_city(small)).values()))
        t = time.perf_counter()
        w.write_world(small, d + "/timed", workers=1, progress=False)
        t = time.perf_counter() - t
    rows[f"{size} px"] = dict(images=n, images_per_second_and_core=round(n / t))
save("draw_world", sizes=rows)
