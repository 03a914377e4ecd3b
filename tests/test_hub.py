"Hugging Face's hub without a network, torch.hub from a checkout and an address, what strangers may write."

import functools
import http.server
import json
import pickle
import subprocess
import sys
import threading

import huggingface_hub.hub_mixin
import pytest
import torch
from huggingface_hub import ModelCard
from processes import ENV

from landmark_nb.core import save_tensors
from landmark_nb.export import model_of, shorten
from landmark_nb.models.embed import Embedder, ModelConfig, fingerprint, load_model, save_model

X = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
MODELS = {
    "gem": ModelConfig("test_resnet", "none", 8, 0, "gem"),
    "swish": ModelConfig("test_resnet", "none", 8, 0, neck="swish", pixel_mean=(0.1, 0.2, 0.3)),
    "own length": ModelConfig("test_resnet", "none", 0, 0, "mixvpr", input_size=64),
    "a trunk that is sized": ModelConfig("test_vit", "none", 8, 0, "token", input_size=64, cut="blocks.3"),
}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Embedder(MODELS["gem"])


def described(model):
    with torch.no_grad():
        return model(X)


@pytest.mark.parametrize("name", MODELS)
def test_there_and_back_to_the_bit(tmp_path, name):
    torch.manual_seed(0)
    model = Embedder(MODELS[name])
    if name == "gem":
        model = shorten(model, torch.nn.functional.normalize(torch.randn(30, 8)), 3)
    model.trained_at = 64
    model.save_pretrained(tmp_path / "m")
    again = Embedder.from_pretrained(str(tmp_path / "m"))
    assert torch.equal(described(again), described(model)) and fingerprint(again) == fingerprint(model)
    assert again.cfg == model.cfg and again.trained_at == 64 and not again.training
    assert fingerprint(model_of(str(tmp_path / "m"))) == fingerprint(model)


def test_what_is_written_is_safetensors_json_and_words(tmp_path, model):
    model.save_pretrained(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["library_name"] == "landmark_nb" and config["model"]["trunk"] == "test_resnet"
    assert fingerprint(load_model(tmp_path / "model.safetensors")) == fingerprint(model)
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.library_name == "landmark_nb" and "image-retrieval" in card.data.tags


def test_names_in_a_card_are_texts(tmp_path, model):
    bad = "<script>alert(1)</script> [x](https://example.invalid) | \n\n# head `code` ![i](u)"
    metrics = [dict(set=bad, recall={bad: 0.5}, queries=bad)]
    model.cfg = ModelConfig("test_resnet", f"/home/somebody/{bad.replace('/', '')}", 8, 0, "gem")
    model.save_pretrained(tmp_path, model_card_kwargs=dict(title=bad, metrics=metrics, repo=bad))
    text = (tmp_path / "README.md").read_text().split("---", 2)[2]
    assert "<" not in text and "](" not in text and "somebody" not in text
    assert sum(line.startswith("#") for line in text.splitlines()) == 4
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in tables} == {3, 4}


# What strangers may write


def changed(folder, **settings):
    "A folder whose two files agree, with other settings."
    config = json.loads((folder / "config.json").read_text())
    config["model"] |= settings
    (folder / "config.json").write_text(json.dumps(config))
    model = load_model(folder / "model.safetensors")
    save_tensors(folder / "model.safetensors", model.state_dict(), {"model": json.dumps(config["model"])})


@pytest.mark.parametrize(
    "settings, words",
    [
        (dict(dim=10**12), "its settings make it"),
        (dict(dim="wide"), "parameter dim='wide': must be of type int"),
        (dict(trunk="nobodys"), "timm has no such model"),
        (dict(aggregation="nobodys"), "known are"),
        (dict(more=1), "unknown parameter more=1"),
        (dict(pca=3), "'shorter.mean' is missing"),
    ],
)
def test_settings_are_read_as_a_run_s_are(tmp_path, model, settings, words):
    model.save_pretrained(tmp_path)
    changed(tmp_path, **settings)
    with pytest.raises(ValueError, match="model.safetensors: ") as said:
        Embedder.from_pretrained(tmp_path)
    assert words in str(said.value)


class Payload:
    "What runs when a pickle of it is read."

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), "w")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "config.json"])
def test_no_pickle_is_read(tmp_path, model, name):
    folder = tmp_path / "m"
    model.save_pretrained(folder)
    if name == "pytorch_model.bin":
        (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Payload(tmp_path / "it ran")))
    with pytest.raises(ValueError, match="not readable|not a readable|are not read"):
        Embedder.from_pretrained(folder)
    assert not (tmp_path / "it ran").exists()


def test_a_run_s_folder_keeps_its_settings(tmp_path, model):
    save_model(model, tmp_path / "best.safetensors")
    (tmp_path / "config.json").write_text('{"recipe": "cosplace", "plugins": ""}')
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="is a run's .* It is not written to"):
        model.save_pretrained(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    with pytest.raises(ValueError, match="its model is .*best.safetensors"):
        Embedder.from_pretrained(tmp_path)
    assert fingerprint(model_of(str(tmp_path))) == fingerprint(model)


def test_where_nothing_can_be_written(model):
    with pytest.raises(OSError, match="could not write /proc/m"):
        model.save_pretrained("/proc/m")


# Pushing, to a stand-in


class Api:
    "What `push_to_hub` asks of huggingface_hub, without a network."

    asked = []

    def __init__(self, token=None):
        self.token = token

    def create_repo(self, repo_id, private, exist_ok):
        self.asked.append(("create", repo_id, private))
        return type("Url", (), dict(repo_id=repo_id))

    def upload_folder(self, repo_id, folder_path, **more):
        files = {p.name: p.read_bytes() for p in folder_path.iterdir()}
        self.asked.append(("upload", repo_id, files, more["commit_message"]))
        return f"commit of {repo_id}"


def test_pushing_uploads_what_was_saved(tmp_path, model, monkeypatch):
    monkeypatch.setattr(huggingface_hub.hub_mixin, "HfApi", Api)
    monkeypatch.setattr(Api, "asked", [])
    about = dict(metrics=[dict(set="test", recall={"1": 0.5})])
    more = dict(private=True, commit_message="First", model_card_kwargs=about)
    assert model.push_to_hub(repo_id="me/mine", **more) == "commit of me/mine"
    (create, (_, repo, files, message)) = Api.asked
    assert create == ("create", "me/mine", True) and repo == "me/mine" and message == "First"
    assert sorted(files) == ["README.md", "config.json", "model.safetensors"]
    assert b'from_pretrained("me/mine")' in files["README.md"] and b"R\\@1 50" in files["README.md"]
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert torch.equal(described(Embedder.from_pretrained(tmp_path)), described(model))


def test_no_network_says_so(monkeypatch):
    code = "from landmark_nb.models.embed import Embedder; Embedder.from_pretrained('me/mine')"
    env = ENV | dict(HF_HUB_OFFLINE="1", HF_HOME="/nonexistent")
    r = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert "FileNotFoundError: me/mine: no such folder, and not to be had from the hub" in r.stderr


def test_importing_a_model_does_not_import_the_hub():
    code = "import sys, landmark_nb.models.embed as e; assert e.Embedder.push_to_hub; print(*sys.modules)"
    r = subprocess.run([sys.executable, "-c", code], env=ENV, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in r.stdout.split()}
    assert "torch" in loaded and not loaded & {"huggingface_hub", "timm", "onnx", "onnxruntime"}


# torch.hub

LOAD = """
import sys, torch
root, entry, weights, out = sys.argv[1:]
torch.hub.set_dir(out + "/cache")
model = torch.hub.load(root, entry, source="local", weights=weights, size=64)
with torch.no_grad():
    torch.save(model(torch.load(out + "/x.pt")), out + "/y.pt")
print(type(model).__name__)
"""


def by_torch_hub(root, tmp_path, entry, weights):
    "What a process that starts elsewhere gets from a checkout."
    torch.save(X, tmp_path / "x.pt")
    words = [sys.executable, "-c", LOAD, str(root), entry, str(weights), str(tmp_path)]
    env = ENV | dict(PYTHONPATH=ENV["PYTHONPATH"].replace(str(root), ""))
    return subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True)


@pytest.mark.parametrize("entry", ["landmark_nb", "embedder"])
def test_torch_hub_from_a_checkout(root, tmp_path, model, entry):
    save_model(model, tmp_path / "m.safetensors")
    r = by_torch_hub(root, tmp_path, entry, tmp_path / "m.safetensors")
    assert r.returncode == 0 and r.stdout.splitlines()[-1] == "Embedder", r.stderr
    assert torch.equal(torch.load(tmp_path / "y.pt"), described(model))


def test_torch_hub_says_what_is_wrong(root, tmp_path):
    (tmp_path / "m.pth").write_bytes(pickle.dumps(Payload(tmp_path / "it ran")))
    r = by_torch_hub(root, tmp_path, "landmark_nb", tmp_path / "m.pth")
    assert r.returncode and "ValueError" in r.stderr and "must end in .safetensors" in r.stderr
    assert not (tmp_path / "it ran").exists()


@pytest.fixture
def served(tmp_path):
    "A folder, and its address on this machine."
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_torch_hub_from_an_address(root, tmp_path, model, served):
    folder, address = served
    save_model(model, folder / "m.safetensors")
    r = by_torch_hub(root, tmp_path, "landmark_nb", f"{address}/m.safetensors")
    assert r.returncode == 0, r.stderr
    assert torch.equal(torch.load(tmp_path / "y.pt"), described(model))
    (folder / "p.safetensors").write_bytes(pickle.dumps(Payload(tmp_path / "it ran")))
    r = by_torch_hub(root, tmp_path, "landmark_nb", f"{address}/p.safetensors")
    assert r.returncode and "not a readable safetensors file" in r.stderr
    assert not (tmp_path / "it ran").exists()
