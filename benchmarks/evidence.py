"""The numbers of the demo and of real photographs, gathered where the docs read them.

`make demo` first. Real photographs: any folder with sf-toy/, corridor/ and ie-tower/ in it, named by LANDMARK_NB_REAL.
"""

import json
import os
from collections import Counter
from pathlib import Path

from common import save


def events_of(run: Path) -> tuple:
    if not (run / "metrics.jsonl").exists():
        raise SystemExit(f"{run}: no demo has been run; `make demo` first")
    events = [json.loads(l) for l in (run / "metrics.jsonl").read_text().splitlines()]
    seconds = Counter()
    for e in events:
        if e["kind"] == "duration":
            seconds[e["what"]] += e["seconds"]
    return (
        events,
        {
            k: [e for e in events if e["kind"] == k][-1]
            for k in ("test before", "test", "step")
            if any(e["kind"] == k for e in events)
        },
        {k: round(v) for k, v in seconds.items()},
    )


def demo(run: Path) -> dict:
    events, last, seconds = events_of(run)
    return dict(
        before=dict(all=last["test before"]["recall"], **last["test before"]["by_note"]),
        after=dict(all=last["test"]["recall"], **last["test"]["by_note"]),
        queries=last["test"]["queries"],
        database=last["test"]["database"],
        steps=last["step"]["step"],
        images=last["step"]["images"],
        seconds=seconds,
        validation=[
            dict(step=e["step"], images=e["images"], recall=e["recall"]["1"])
            for e in events
            if e["kind"] == "eval"
        ],
    )


def landmark(run: Path) -> dict:
    _, last, seconds = events_of(run)
    return dict(
        before=last["test before"]["scores"],
        after=last["test"]["scores"],
        steps=last["step"]["step"],
        images=last["step"]["images"],
        seconds=seconds,
    )


result = dict(
    demo=demo(Path("runs/demo-cosplace")),
    dcosplace=demo(Path("runs/demo-dcosplace")),
    landmark=landmark(Path("runs/demo-landmark")),
)

real = Path(os.environ.get("LANDMARK_NB_REAL", ""))
if os.environ.get("LANDMARK_NB_REAL"):
    from landmark_nb.data.places import positives_by_label, positives_from_csv, read_label_csv
    from landmark_nb.experiments import search_folders
    from landmark_nb.models.embed import Embedder, ModelConfig
    from landmark_nb.search.extract import extract
    from landmark_nb.search.knn import knn
    from landmark_nb.search.metrics import recall_at

    rows = {}
    net = Embedder(ModelConfig("tf_efficientnet_lite0", "imagenet", 0, 0))
    for size in (224, 384):
        d, q, r = search_folders(real / "sf-toy/database", real / "sf-toy/queries", size=size)
        right = dict(q1="db2", q2="db5", q3="db11", q4="db16", q5="db14")
        rows[f"sf-toy, {size} px"] = {
            "1": sum(d.ids[int(i)] == right[n[:2]] + ".jpg" for n, i in zip(q.ids, r.ids[:, 0])) / 5
        }
        d, q, r = search_folders(real / "corridor/ref", real / "corridor/query", size=size, k=20)
        rows[f"corridor, {size} px"] = recall_at(
            r.ids, positives_from_csv(real / "corridor/ground_truth.csv", d, q)
        )
    m = read_label_csv(real / "ie-tower/dataset.csv")
    r = knn(extract(net, m["query"], 224), extract(net, m["gallery"], 224), 20)
    rows["ie-tower (same floor), 224 px"] = recall_at(r.ids, positives_by_label(m["gallery"], m["query"]))
    result["real"] = {k: {str(n): round(v, 4) for n, v in r.items()} for k, r in rows.items()}
else:  # keep what was measured with them before
    from common import RESULTS

    if (RESULTS / "evidence.json").exists():
        result["real"] = json.loads((RESULTS / "evidence.json").read_text())["real"]
save("evidence", **result)
