"What every benchmark does: measure in a process of its own, print, and keep the result where the docs read it."

import json
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def machine() -> str:
    model = (
        next(
            (
                l.split(":")[1].strip()
                for l in Path("/proc/cpuinfo").read_text().splitlines()
                if l.startswith("model name")
            ),
            platform.processor(),
        )
        if Path("/proc/cpuinfo").exists()
        else platform.processor()
    )
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def save(name: str, **result):
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(
        json.dumps(dict(machine=machine(), command=f"python benchmarks/{name}.py", **result), indent=1) + "\n"
    )
    print(json.dumps(result, indent=1))


def peak_mb() -> float:
    "Largest resident memory of this process so far, MB."
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def resident_mb() -> float:
    return (
        int(
            next(
                l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmRSS")
            ).split()[1]
        )
        / 1024
    )


def child(script: str, *args) -> dict:
    "Run a mode of a benchmark in a fresh process, so that memory is its own; returns the JSON of its last line."
    r = subprocess.run([sys.executable, script, *map(str, args)], capture_output=True, text=True)
    if r.returncode:
        raise SystemExit(r.stderr[-3000:])
    return json.loads(r.stdout.splitlines()[-1])
