"""What every benchmark does.

Measure in a process of its own, print, and keep the result where the docs read it.
"""

import json
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def value_in(file: Path, name: str) -> str | None:
    "The value in the first `name: value` line of a file of the kernel's; None where there is none."
    if not file.exists():
        return None
    lines = (line for line in file.read_text().splitlines() if line.startswith(name))
    return next((line.split(":")[1].strip() for line in lines), None)


def machine() -> str:
    "Processor, cores and Python, in words."
    model = value_in(Path("/proc/cpuinfo"), "model name") or platform.processor()
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def save(name: str, **result):
    "Write and print what a benchmark found."
    RESULTS.mkdir(exist_ok=True)
    found = dict(machine=machine(), command=f"python benchmarks/{name}.py", **result)
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def peak_mb() -> float:
    "Largest resident memory of this process so far, MB."
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def resident_mb() -> float:
    "Resident memory of this process now, MB."
    return int(value_in(Path("/proc/self/status"), "VmRSS").split()[0]) / 1024


def child(script: str, *args) -> dict:
    """Run a mode of a benchmark in a fresh process, so that memory is its own.

    Returns the JSON of its last line.
    """
    r = subprocess.run([sys.executable, script, *map(str, args)], capture_output=True, text=True)
    if r.returncode:
        raise SystemExit(r.stderr[-3000:])
    return json.loads(r.stdout.splitlines()[-1])
