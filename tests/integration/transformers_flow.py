"""transformers and PEFT with every backend, or with those named.

``python transformers_flow.py CHECKOUT ANSWER [DEVICE [BACKEND ...]]``; ANSWER is written after each
step, so that a run that is stopped leaves what it found.

A small Llama of random weights is saved, loaded by ``transformers_config()`` (or as it is, then
given to ``quantize_``), asked for logits and words, trained with LoRA, merged, saved again. Figures
are relative errors of logits: ||got - wanted|| / ||wanted||.
"""

# ruff: noqa: ANN401, BLE001, E402 - torch is untyped here; a failure is an answer; see sys.path

from __future__ import annotations

import contextlib
import functools
import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

CHECKOUT, ANSWER = map(Path, sys.argv[1:3])
DEVICE, *NAMED = sys.argv[3:] or ["cpu"]
sys.path.append(str(CHECKOUT))  # last: other packages look for a ``kernels`` of their own

import peft
import safetensors.torch
import torch  # noqa: TID253 - started by path, in an environment of its own
import transformers  # noqa: TID253

from qdoctor.backends import NAMES, BackendUnavailable, named
from qdoctor.backends.replacing import quantize_

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qdoctor.backends import Kind

TARGETS = ["q_proj", "up_proj", "down_proj"]
STEPS = 5
WORDS = 5


def main() -> None:
    """Write what every backend did."""
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    told: dict[str, Any] = {
        "versions": {one.__name__: one.__version__ for one in (torch, transformers, peft)},
        "device": torch.cuda.get_device_name() if DEVICE == "cuda" else DEVICE,
        "backends": {},
    }

    def keep() -> None:
        ANSWER.with_suffix(".new").write_text(json.dumps(told), encoding="utf-8")
        ANSWER.with_suffix(".new").replace(ANSWER)  # it may be stopped at any time

    with tempfile.TemporaryDirectory() as folder:
        saved = Saved(Path(folder), tied=False)
        for name in NAMED or NAMES:
            one: dict[str, Any] = told["backends"].setdefault(name, {"at": "loading"})
            keep()
            flow(name, saved, one, keep)
            print(name, json.dumps(one), flush=True)  # noqa: T201 - a script
        if not NAMED:
            told["skipping"] = skipping(Saved(Path(folder) / "tied", tied=True))
    keep()


class Saved:
    """A small Llama on disk, and what it answers in bf16."""

    def __init__(self, folder: Path, *, tied: bool) -> None:
        """Write the model and ask it."""
        config = transformers.LlamaConfig(
            vocab_size=640, hidden_size=256, intermediate_size=512, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
            tie_word_embeddings=tied,
        )  # fmt: skip
        self.folder = folder / "llama"
        transformers.LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(self.folder)
        self.ids = torch.randint(0, 640, (2, 12), device=DEVICE)
        self.logits = logits(self.load(), self.ids)

    def load(self, **more: Any) -> Any:
        """Load the model onto the device, for inference."""
        model = transformers.LlamaForCausalLM
        return model.from_pretrained(
            self.folder, dtype=torch.bfloat16, device_map=DEVICE, **more
        ).eval()

    def quantized(self, kind: Kind) -> Any:
        """Load it as a reader of the documentation would, for that backend."""
        config = kind.transformers_config()
        if config is None:
            return self.by_hand(kind)
        return self.load(quantization_config=config)

    def by_hand(self, kind: Kind, *, training: bool = False) -> Any:
        """Load it as it is, then quantize_ it."""
        model = self.load()
        quantize_(model, kind, training=training)
        return model


def flow(name: str, saved: Saved, told: dict[str, Any], keep: Callable[[], None]) -> None:
    """Take one backend through all steps; a step that fails tells its error."""
    try:
        kind = named(name)
        model = saved.quantized(kind)
    except (BackendUnavailable, ImportError) as error:
        del told["at"]
        told["unavailable"] = f"{type(error).__name__}: {error}"
        return
    told["at"] = "the first answers"
    keep()
    config = kind.transformers_config()
    told.update({
        "config": None if config is None else type(config).__name__,
        "layers": {n: class_of(m) for n, m in model.named_modules() if n.endswith(ENDS)},
        "logits": off(logits(model, saved.ids), saved.logits),
        "words": list(model.generate(saved.ids, max_new_tokens=WORDS, do_sample=False).shape),
        "packed": any(packed(one) for one in model.modules()),
    })  # fmt: skip
    for label, step in steps(kind, saved, configured=config is not None):
        told["at"] = label
        keep()
        told[label] = step()
    del told["at"]
    told["done"] = True


def steps(kind: Kind, saved: Saved, *, configured: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Name the further steps of a backend, what a reader does first coming first."""
    for when, first in (("fresh", False), ("answered first", True)):
        if configured:
            yield (
                f"lora by config, {when}",
                functools.partial(attempt, lora, saved, saved.quantized, kind, first),
            )
        yield (
            f"lora by quantize_, {when}",
            functools.partial(attempt, lora, saved, saved.by_hand, kind, first),
        )
        yield f"saved, {when}", functools.partial(attempt, saved_again, kind, saved, first)
    if kind.trainable:
        with_weights = functools.partial(saved.by_hand, training=True)
        yield (
            "lora by quantize_, training=True",
            functools.partial(attempt, lora, saved, with_weights, kind, True),  # noqa: FBT003
        )
    yield "config and quantize_", functools.partial(attempt, both_ways, kind, saved)


ENDS = ("layers.0.mlp.up_proj", "layers.1.self_attn.q_proj", "lm_head")


def attempt(step: Callable[..., Any], *arguments: Any) -> Any:
    """Do a step, or tell why it failed."""
    try:
        return step(*arguments)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:600]}


def both_ways(kind: Kind, saved: Saved) -> float | None:
    """Compare the model that transformers quantized with the one that quantize_ did."""
    if kind.transformers_config() is None:
        return None
    return off(logits(saved.by_hand(kind), saved.ids), logits(saved.quantized(kind), saved.ids))


def saved_again(kind: Kind, saved: Saved, first: bool) -> float | None:  # noqa: FBT001
    """Save the quantized model and load it as it is; of our own layers, their state_dict.

    first: it has computed without gradients before, as in a generate().
    """
    before = logits(saved.quantized(kind), saved.ids)
    model = saved.quantized(kind)
    if first:
        logits(model, saved.ids)
    with tempfile.TemporaryDirectory() as folder:
        if kind.transformers_config() is not None:
            model.save_pretrained(folder)
            again = type(model).from_pretrained(folder, device_map=DEVICE).eval()
        elif kind.name == "qdoctor-switchback":
            safetensors.torch.save_file(model.state_dict(), Path(folder) / "state.safetensors")
            again = saved.by_hand(kind, training=True)
            stored = safetensors.torch.load_file(Path(folder) / "state.safetensors", DEVICE)
            again.eval().load_state_dict(stored)
        else:
            return None
    return off(logits(again, saved.ids), before)


def lora(saved: Saved, load: Callable[..., Any], kind: Kind, first: bool) -> dict[str, Any]:  # noqa: FBT001
    """Train adapters for a few steps and merge them; first: see saved_again."""
    model, ids = load(kind), saved.ids
    if first:
        logits(model, ids)
    told: dict[str, Any] = {}
    if getattr(model, "is_loaded_in_4bit", False) or getattr(model, "is_loaded_in_8bit", False):
        model = peft.prepare_model_for_kbit_training(model)
    config = peft.LoraConfig(
        r=4, target_modules=TARGETS, task_type="CAUSAL_LM", init_lora_weights=False
    )
    with_adapters = peft.get_peft_model(model, config).train()
    trained = {name: p for name, p in with_adapters.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(trained.values(), lr=2e-3)
    told["losses"] = []
    for _ in range(STEPS):
        loss = with_adapters(input_ids=ids, labels=ids).loss
        loss.backward()
        told["without_gradient"] = [
            name for name, p in trained.items() if p.grad is None or not p.grad.any()
        ]
        optimizer.step()
        optimizer.zero_grad()
        told["losses"].append(float(loss.detach()))
    if first:
        with_adapters.eval()
    for layer in with_adapters.modules():  # PEFT asks transformers' own loader alone how
        if getattr(layer, "get_apply_tensor_subclass", "") is None:
            config_of_torchao: Any = kind.transformers_config()
            layer.get_apply_tensor_subclass = config_of_torchao.get_apply_tensor_subclass
    told["merged"] = attempt(merged, with_adapters, ids)
    return told


def merged(with_adapters: Any, ids: Any) -> dict[str, Any]:
    """Merge the adapters into the layers; tell what that changes, and the class of a layer."""
    before = logits(with_adapters, ids)
    model = with_adapters.merge_and_unload()
    layer = class_of(model.get_submodule("model.layers.0.mlp.up_proj"))
    return {"logits": off(logits(model, ids), before), "layer": layer}


def packed(module: Any) -> bool:
    """Say whether bitsandbytes has turned a 4-bit weight into its layout for CPUs."""
    state = getattr(getattr(module, "weight", None), "quant_state", None)
    return bool(getattr(state, "packing_format_for_cpu", False))


def skipping(saved: Saved) -> dict[str, Any]:
    """Load a model whose output layer is tied to its embedding, leaving a layer out by name."""
    told = {}
    for name in ("bnb-int8", "bnb-nf4", "torchao-int8"):
        with contextlib.suppress(BackendUnavailable, ImportError):
            config = named(name).transformers_config(skip=["down_proj"])
            told[name] = attempt(left_out, saved, config)
    return told


def left_out(saved: Saved, config: Any) -> dict[str, Any]:
    """Tell the classes of some layers, whether the tie holds, and the error."""
    model = saved.load(quantization_config=config)
    ends = (*ENDS, "layers.0.mlp.down_proj")
    return {
        "layers": {n: class_of(m) for n, m in model.named_modules() if n.endswith(ends)},
        "tied": model.lm_head.weight is model.model.embed_tokens.weight,
        "logits": off(logits(model, saved.ids), saved.logits),
    }


def class_of(module: Any) -> str:
    """Name a layer's class, and its weight's."""
    return f"{type(module).__name__}:{type(getattr(module, 'weight', None)).__name__}"


@torch.no_grad()  # type: ignore[untyped-decorator]
def logits(model: Any, ids: Any) -> Any:
    """Ask a model for its logits (rows x words x vocabulary, float64)."""
    return model(ids).logits.double()


def off(got: Any, wanted: Any) -> float:
    """Return the relative error."""
    return float((got - wanted).norm() / wanted.norm())


main()
