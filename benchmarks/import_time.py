"Seconds to import the package, beside those of an empty Python and of torch."

import statistics
import subprocess
import sys
import time

from common import save


def seconds(code, n=9):
    t = []
    for _ in range(n):
        a = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        t.append(time.perf_counter() - a)
    return statistics.median(t[1:])


empty = seconds("pass")
save(
    "import_time",
    unit="seconds over an empty Python, median of 8",
    **{
        m: round(seconds(f"import {m}") - empty, 3)
        for m in (
            "landmark_nb",
            "landmark_nb.core",
            "landmark_nb.data.partition",
            "landmark_nb.experiments",
            "torch",
        )
    },
)
