"""What OpenCLIP's int8 guide does, on the CPU: python openclip_flow.py CHECKOUT ANSWER."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

import contextlib
import importlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

CHECKOUT, ANSWER = map(Path, sys.argv[1:3])
sys.path.append(str(CHECKOUT))  # last: other packages look for a ``kernels`` of their own
BACKENDS = ["qdoctor-switchback", "bnb-int8"]
ROWS = 8


def main() -> None:
    """Write what every contender's features, images a second and training are."""
    torch = importlib.import_module("torch")
    stand_in_for_operators(torch)
    open_clip = importlib.import_module("open_clip")
    models = importlib.import_module("benchmarks._openclip_models")
    measured = importlib.import_module("benchmarks._openclip_measured")
    shown = importlib.import_module("benchmarks.openclip")
    cpu = torch.device("cpu")
    torch.manual_seed(1)
    small = open_clip.CLIP(64, VISION, TEXT).eval()
    made, failed = models.contenders(small, BACKENDS, cpu)
    original = models.Contender(small, contextlib.nullcontext)
    exact = measured.features(original, small, cpu)
    told: dict[str, Any] = {"version": open_clip.__version__, "failed": failed, "contenders": {}}
    for label, contender in made.items():
        told["contenders"][label] = {
            "layers": layers(contender.model),
            "mib": measured.weight_mib(contender.model),
            "images_per_second": {},
            **measured.likeness(measured.features(contender, small, cpu), exact),
        }
    images, _ = measured.inputs(small, ROWS, cpu)
    for label, rate in measured.images_per_second(made, images, 3).items():
        told["contenders"][label]["images_per_second"][ROWS] = rate
    told["training"] = measured.training(small, cpu, ROWS)
    told["unchanged code"] = unchanged_code(torch, small)
    told["large"] = large(torch, measured)
    row = {"model": "small", **told}
    shown.show(row)
    shown.show_training(row)
    told["benchmark"] = benchmark(shown)
    ANSWER.write_text(json.dumps(told), encoding="utf-8")


def benchmark(shown: Any) -> Any:
    """Run benchmarks/openclip.py as a whole, twice into one file, and return what it holds."""
    with tempfile.TemporaryDirectory() as folder:
        model, kept = Path(folder) / "small.json", Path(folder) / "kept.json"
        sizes = {"embed_dim": 64, "vision_cfg": VISION, "text_cfg": TEXT}
        model.write_text(json.dumps(sizes), encoding="utf-8")
        words = ["--device", "cpu", "--models", str(model), "--json", str(kept)]
        words += ["--backends", "qdoctor-switchback", "torch-nothing", "--repetitions", "2"]
        shown.main([*words, "--phases", "features", "speed", "--batches", "2"])
        shown.main([*words, "--phases", "training", "--trained-rows", "4"])
        return json.loads(kept.read_text(encoding="utf-8"))


VISION = {"image_size": 32, "layers": 3, "width": 64, "head_width": 16, "patch_size": 8}
TEXT = {"context_length": 12, "vocab_size": 100, "width": 48, "heads": 4, "layers": 3}


def stand_in_for_operators(torch: Any) -> None:
    """Let torchvision be imported where its native operators cannot be loaded.

    The index's wheels for Linux are CUDA builds; beside a torch for the CPU their library does not
    load, and torchvision then stumbles over two operators that it describes without having them.
    OpenCLIP calls none. Declaring the two is all that is needed.
    """
    with contextlib.suppress(ImportError, RuntimeError):
        importlib.import_module("torchvision")
        return
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    for name in ("nms", "qnms"):
        schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        torch.library.define(f"torchvision::{name}", schema)


def layers(model: Any) -> dict[str, int]:
    """Count the model's linear layers by class."""
    names = [f"{type(one).__module__}.{type(one).__qualname__}" for one in model.modules()
             if hasattr(one, "in_features")]  # fmt: skip
    return {name: names.count(name) for name in names}


def unchanged_code(torch: Any, original: Any) -> dict[str, Any]:
    """Do what open_clip_train does with --use-bnb-linear, which qdoctor knows nothing of."""
    importlib.import_module("qdoctor.nn.compat").install()
    bnb = importlib.import_module("bitsandbytes")
    copy = importlib.import_module("copy")
    utils = importlib.import_module("open_clip.utils")
    replacement = bnb.nn.SwitchBackLinearGlobal
    model = utils.replace_linear(
        copy.deepcopy(original), replacement, include_modules=["c_fc", "c_proj"], copy_weights=True
    ).eval()
    utils.convert_int8_model_to_inference_mode(model)
    stored = model.state_dict()
    again = utils.replace_linear(copy.deepcopy(original), replacement)
    missing = again.load_state_dict(stored)
    images, texts = torch.randn(2, 3, 32, 32), torch.randint(1, 98, (2, 12))
    with torch.no_grad():
        same = all(
            torch.equal(a, b)
            for a, b in zip(model(images, texts), again.eval()(images, texts), strict=True)
        )
    return {
        "layers": layers(model), "same_after_loading": same, "missing": list(missing),
        "cast_dtype": str(model.transformer.get_cast_dtype()),
    }  # fmt: skip


def large(torch: Any, measured: Any) -> dict[str, Any]:
    """Run the README's guide as it stands there, on a ViT-L-14 of real size and the CPU."""
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    blocks = [block.partition("\n```")[0] for block in text.split("```python\n")[1:]]
    (guide,) = [block for block in blocks if "replace_linear" in block]
    torch.manual_seed(2)
    ran: dict[str, Any] = {}
    exec(guide.replace('"cuda"', '"cpu"'), ran)  # noqa: S102 - our own README
    int8, images = ran["model"], ran["images"]
    torch.manual_seed(2)
    exact = ran["open_clip"].create_model("ViT-L-14").eval()
    with torch.no_grad():
        wanted = exact.encode_image(images).double()
        got = int8.encode_image(images).double()
    told = measured.likeness((got, got), (wanted, wanted))
    return {
        **{name: one for name, one in told.items() if name.startswith("image")},
        "layers": layers(int8),
        "features": list(ran["features"].shape),
    }


main()
