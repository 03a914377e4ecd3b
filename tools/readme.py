"""README.md from nbs/index.ipynb: `python tools/readme.py`, or `--check` to only compare.

nbdev's own `nbdev_readme` needs Quarto, which many machines do not have; this needs nothing.
"""

import json
import sys
from pathlib import Path

root = Path(__file__).parent.parent


def render() -> str:
    out = ["<!-- made from nbs/index.ipynb by tools/readme.py; edit that -->"]
    for cell in json.loads((root / "nbs/index.ipynb").read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            out.append(text)
        elif cell["cell_type"] == "code" and not text.startswith(("#| hide", "#| exec")):
            out.append(f"```python\n{text}\n```")
    return "\n\n".join(out) + "\n"


if __name__ == "__main__":
    target = root / "README.md"
    if "--check" not in sys.argv:
        target.write_text(render(), encoding="utf-8")
    elif not target.exists() or target.read_text(encoding="utf-8") != render():
        sys.exit("README.md does not match nbs/index.ipynb: run `make export` and commit")
