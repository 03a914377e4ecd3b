"""README.md from nbs/index.ipynb: `python -m tools.readme`, or `--check` to only compare.

nbdev's own `nbdev_readme` needs Quarto, which many machines do not have; this needs nothing.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def render() -> str:
    "The text of README.md."
    notebook = json.loads((ROOT / "nbs/index.ipynb").read_text(encoding="utf-8"))
    parts = ["<!-- made from nbs/index.ipynb by tools/readme.py; edit that -->"]
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif cell["cell_type"] == "code" and not source.startswith(("#| hide", "#| exec")):
            parts.append(f"```python\n{source}\n```")
    return "\n\n".join(parts) + "\n"


def main():
    target = ROOT / "README.md"
    if "--check" not in sys.argv:
        target.write_text(render(), encoding="utf-8")
    elif not target.exists() or target.read_text(encoding="utf-8") != render():
        sys.exit("README.md does not match nbs/index.ipynb: run `make export` and commit")


if __name__ == "__main__":
    main()
