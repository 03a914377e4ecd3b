"""The numbers of the demo and of real photographs, gathered where the docs read them.

`make demo` first. Real photographs: any folder with sf-toy/, corridor/ and ie-tower/ in it, named by
LANDMARK_NB_REAL.
"""

import json
import os
from collections import Counter
from pathlib import Path

from common import RESULTS, save

from landmark_nb.core import Ranking
from landmark_nb.data.manifest import Manifest
from landmark_nb.log import read_events

TOY = dict(q1="db2", q2="db5", q3="db11", q4="db16", q5="db14")  # query -> the photograph that is right
SIZES = (224, 384)  # pixels


def finished(run: Path) -> list[dict]:
    "The events of a finished run."
    if not (run / "metrics.jsonl").exists():
        raise SystemExit(f"{run}: no demo has been run; `make demo` first")
    return read_events(run)


def last(events: list[dict], kind: str) -> dict:
    "The last event of a kind."
    return [e for e in events if e["kind"] == kind][-1]


def durations(events: list[dict]) -> dict:  # what -> whole seconds
    "How long each part of a run took."
    seconds = Counter()
    for e in events:
        if e["kind"] == "duration":
            seconds[e["what"]] += e["seconds"]
    return {what: round(v) for what, v in seconds.items()}


def recalls(event: dict) -> dict:
    "Recall of a test, in all and of each kind of query."
    return dict(all=event["recall"], **event["by_note"])


def demo(run: Path) -> dict:
    "What a run on places came to."
    events = finished(run)
    before, after, step = (last(events, kind) for kind in ("test before", "test", "step"))
    validation = [
        dict(step=e["step"], images=e["images"], recall=e["recall"]["1"])
        for e in events
        if e["kind"] == "eval"
    ]
    return dict(
        before=recalls(before),
        after=recalls(after),
        queries=after["queries"],
        database=after["database"],
        steps=step["step"],
        images=step["images"],
        seconds=durations(events),
        validation=validation,
    )


def landmark(run: Path) -> dict:
    "What a run of the landmark recipe came to."
    events = finished(run)
    step = last(events, "step")
    return dict(
        before=last(events, "test before")["scores"],
        after=last(events, "test")["scores"],
        steps=step["step"],
        images=step["images"],
        seconds=durations(events),
    )


def toy_recall(database: Manifest, queries: Manifest, ranking: Ranking) -> dict:
    "R@1 of five street photographs."
    nearest = [database.ids[int(i)] for i in ranking.ids[:, 0]]
    right = sum(found == TOY[name[:2]] + ".jpg" for name, found in zip(queries.ids, nearest))
    return {"1": right / len(TOY)}


def floors(folder: Path, size: int) -> dict:
    "Recall@N among frames of the floors of a building; right is the same floor."
    from landmark_nb.data.places import positives_by_label, read_label_csv
    from landmark_nb.models.embed import Embedder, ModelConfig
    from landmark_nb.search.extract import extract
    from landmark_nb.search.knn import knn
    from landmark_nb.search.metrics import recall_at

    sets = read_label_csv(folder / "dataset.csv")
    queries, gallery = sets["query"], sets["gallery"]
    net = Embedder(ModelConfig("tf_efficientnet_lite0", "imagenet", 0, 0))
    found = knn(extract(net, queries, size), extract(net, gallery, size), 20)
    return recall_at(found.ids, positives_by_label(gallery, queries))


def real_photographs(root: Path) -> dict:  # set -> Recall@N
    "A trunk that was not trained for places, on three small sets."
    from landmark_nb.data.places import positives_from_csv
    from landmark_nb.experiments import search_folders
    from landmark_nb.search.metrics import recall_at

    rows = {}
    toy, corridor = root / "sf-toy", root / "corridor"
    for size in SIZES:
        found = search_folders(toy / "database", toy / "queries", size=size)
        rows[f"sf-toy, {size} px"] = toy_recall(*found)
        *sides, ranking = search_folders(corridor / "ref", corridor / "query", size=size, k=20)
        positives = positives_from_csv(corridor / "ground_truth.csv", *sides)
        rows[f"corridor, {size} px"] = recall_at(ranking.ids, positives)
    rows["ie-tower (same floor), 224 px"] = floors(root / "ie-tower", 224)
    return {name: {str(n): round(v, 4) for n, v in recall.items()} for name, recall in rows.items()}


def measured_before() -> dict:
    "What was measured on real photographs when they were there."
    file = RESULTS / "evidence.json"
    return json.loads(file.read_text())["real"] if file.exists() else {}


if __name__ == "__main__":
    folder = os.environ.get("LANDMARK_NB_REAL")
    save(
        "evidence",
        demo=demo(Path("runs/demo-cosplace")),
        dcosplace=demo(Path("runs/demo-dcosplace")),
        landmark=landmark(Path("runs/demo-landmark")),
        real=real_photographs(Path(folder)) if folder else measured_before(),
    )
