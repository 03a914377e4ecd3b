"""Models as ONNX files: time beside PyTorch, and what eight bits cost.

31 photographs of the drawn city (`data=demo`, 128 px), one thread; of matrix products, and of convolutions.
Only EfficientNet-Lite0 has trained weights here; the others have random ones.
"""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from common import save
from onnxruntime.quantization import QuantType, quantize_dynamic

from landmark_nb.experiments import configure
from landmark_nb.export import model_of
from landmark_nb.models.embed import Embedder, ModelConfig
from landmark_nb.models.onnx import ROUNDED, export_onnx, model_for, quietly
from landmark_nb.search.extract import image_batches

SIZE = 128  # pixels
MODELS = {
    "EfficientNet-Lite0": lambda: model_of("tf_efficientnet_lite0"),
    "ResNet-18, random": lambda: Embedder(ModelConfig("resnet18", "none", 128, 0)),
    "ViT-Tiny, random": lambda: Embedder(ModelConfig("vit_tiny_patch16_224", "none", 128, 0, "token")),
}
# convolutions are rounded to unsigned weights, which onnxruntime has fast ones for
ROUND = {
    "matrix products": dict(
        op_types_to_quantize=list(ROUNDED), weight_type=QuantType.QInt8, per_channel=True
    ),
    "convolutions, too": dict(weight_type=QuantType.QUInt8),
}


def seconds(work, n: int = 7) -> float:
    "Median of a few runs, after one that does not count."
    times = []
    for _ in range(n + 1):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def runner(file: Path, images: np.ndarray):
    "What describes images with a file, on one thread."
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(["descriptors"], dict(images=images))[0]


def measure(model: Embedder, images: torch.Tensor, folder: Path) -> dict:
    "Size, time and cosine of a model's files; times as shares of PyTorch's, sizes of the float32 file's."
    file, rows = folder / "m.onnx", {}
    made = export_onnx(model, file, SIZE, photographs=images)
    model, _ = model_for(model, SIZE)
    whole, plain = runner(file, images.numpy()), seconds(lambda: model(images))
    want, size = whole(), file.stat().st_size
    bare = dict(megabytes=round(size / 1e6, 1), time=round(seconds(whole) / plain, 2), largest=made.largest)
    rows["float32"] = bare | dict(torch_ms=round(1000 * plain / len(images), 1))
    for what, how in ROUND.items():
        with quietly():
            quantize_dynamic(file, folder / "q.onnx", **how)
        rounded = runner(folder / "q.onnx", images.numpy())
        cosines = (rounded() * want).sum(1)
        share = (folder / "q.onnx").stat().st_size / size
        row = dict(share=round(share, 2), time=round(seconds(rounded) / plain, 2))
        rows[what] = row | dict(mean=round(float(cosines.mean()), 4), least=round(float(cosines.min()), 4))
    return rows


torch.set_num_threads(1)
torch.manual_seed(0)
queries = configure(data="demo").sets("test")[0].queries
rows = np.arange(0, len(queries), 13)
images = torch.cat([x.float() / 255 for _, x, _ in image_batches(queries, rows, SIZE, 64)])
found = {}
with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
    for name, make in MODELS.items():
        found[name] = measure(make(), images, Path(folder))
save("onnx_files", photographs=len(images), pixels=SIZE, rows=found)
