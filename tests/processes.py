"The command line as processes: started, waited for, looked into, killed."

import os
import subprocess
import sys
from pathlib import Path

from landmark_nb.log import read_events

HERE = Path(__file__).parent
ENV = os.environ | dict(
    OMP_NUM_THREADS="1",
    PYTHONPATH=os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
)


def settings_on_line(settings: dict) -> list[str]:
    "Settings as they stand on a command line."
    return [word for name, value in settings.items() for word in ("-p", name, str(value))]


def begin(command: list, **more) -> subprocess.Popen:
    "A process of this Python, whose output is kept for `finish`; `more`: as `Popen` takes it."
    how = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV)
    return subprocess.Popen([sys.executable, *map(str, command)], **how | more)


def train(settings: dict) -> subprocess.Popen:
    "`python -m landmark_nb train`."
    return begin(["-m", "landmark_nb", "train", *settings_on_line(settings)])


def finish(process: subprocess.Popen, seconds: float = 240) -> tuple[int, str, str]:
    "Exit code, output and errors of a process, which is killed if it takes too long."
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, out, err


def last_line(err: str) -> str:
    "The last that a process itself said: Python's own tracker of semaphores may speak after it."
    return [line for line in err.splitlines() if line.strip() and "resource_tracker" not in line][-1]


def good(process: subprocess.Popen, seconds: float = 240) -> str:
    "The output of a process that ends well."
    code, out, err = finish(process, seconds)
    assert code == 0, err[-4000:]
    return out


def fields_of(pid: int | str) -> list[str] | None:
    "State, parent and so on of a process; None where there is none."
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def alive(pid: int) -> bool:
    "Whether a process runs (a zombie does not)."
    fields = fields_of(pid)
    return fields is not None and fields[0] != "Z"


def descendants(pid: int) -> list[int]:
    "Process ids below a process."
    below = {}
    for folder in Path("/proc").glob("[0-9]*"):
        if fields := fields_of(folder.name):
            below.setdefault(int(fields[1]), []).append(int(folder.name))
    found, todo = [], [pid]
    while todo:
        children = below.get(todo.pop(), [])
        found += children
        todo += children
    return found


def steps(run: Path) -> int:
    "The last step that a run has logged."
    return max((e["step"] for e in read_events(run, "step")), default=0)
