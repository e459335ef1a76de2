"""What URLs and paths tell of the package behind them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdoctor.direct_reference import Told, read, split, without_secrets

TORCH = "torch-2.5.1%2Bcu121-cp310-cp310-linux_x86_64.whl"
TAGS = ("cp310-cp310-linux_x86_64",)


@pytest.mark.parametrize(
    ("where", "name", "told"),
    [
        (f"https://index.example/whl/cu121/{TORCH}", None, Told("torch", "2.5.1+cu121", TAGS)),
        (f"file:///C:/wheels/{TORCH}#sha256=00", "Torch", Told("torch", "2.5.1+cu121", TAGS)),
        (
            r".\wheels\torch-2.5.1+cu121-cp310-cp310-linux_x86_64.whl",
            None,
            Told("torch", "2.5.1+cu121", TAGS),
        ),
        (
            "bitsandbytes-0.41.1-2-py2.py3-none-win_amd64.whl",
            None,
            Told("bitsandbytes", "0.41.1", ("py2-none-win_amd64", "py3-none-win_amd64")),
        ),
        ("https://index.example/x.whl", "x", Told("x")),
        ("https://index.example/x.whl", None, Told(None)),
        (
            "file:///croot/transformers_1733",
            "transformers",
            Told("transformers", sources=True, conda=True),
        ),
        (
            "file:///home/conda/feedstock_root/build_artifacts/pytorch-recipe_1712345678901/work",
            "torch",
            Told("torch", sources=True, conda=True),
        ),
        (
            r"C:\b\abs_00ab\triton_1712345678\work",
            "triton",
            Told("triton", sources=True, conda=True),
        ),
        (
            "file:///croot/torch_1712345678/dist/torch-2.5.1-cp310-cp310-linux_x86_64.whl",
            "torch",
            Told("torch", "2.5.1", TAGS),
        ),
        (
            "file:///src/bitsandbytes-0.42.0",
            "bitsandbytes",
            Told("bitsandbytes", "0.42.0", sources=True),
        ),
        ("file:///src/torch-2.1.2/dist", "torch", Told("torch", sources=True)),
        ("file:///src/triton-main", "triton", Told("triton", sources=True)),
        ("https://index.example/torch-2.1.0.tar.gz", None, Told("torch", "2.1.0", sources=True)),
        ("https://index.example/archive/v4.40.0.zip", None, Told(None, sources=True)),
        (
            "https://index.example/flash-attention-2.5.0.tar.gz",
            "flash-attn",
            Told("flash-attn", sources=True),
        ),
        (
            "git+https://github.com/huggingface/transformers@v4.40.0",
            None,
            Told("transformers", sources=True, guessed=True, release="4.40.0"),
        ),
        (
            "git+ssh://git@github.com/x/bnb.git@feature/x#egg=bitsandbytes&subdirectory=a",
            None,
            Told("bitsandbytes", sources=True),
        ),
        ("git+https://index.example/x/y.git@abc123", "peft", Told("peft", sources=True)),
        ("https://[", None, Told(None, sources=True)),
        (f"./x-1-{'cp3.' * 99}cp3-none-any.whl", None, Told(None)),
        ("./mine", None, Told(None, sources=True)),
        ("..", None, Told(None, sources=True)),
    ],
)
def test_what_is_told(where: str, name: str | None, told: Told) -> None:
    assert read(where, name) == told


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("torch==2.5.1", None),
        ("torch>=2 ; python_version < '3.9'", None),
        (f"torch @ https://index.example/{TORCH}", None),
        (f"torch@https://index.example/{TORCH}", None),
        ("flash.attn", None),
        ("./mine[dev]", ("./mine", "")),
        (".", (".", "")),
        ("C:\\x\\y.whl", ("C:\\x\\y.whl", "")),
        ("a-1.0.zip ; os_name == 'nt'", ("a-1.0.zip", "os_name == 'nt'")),
        ("git+https://index.example/y", ("git+https://index.example/y", "")),
        ("https://index.example/a.whl#sha256=0", ("https://index.example/a.whl#sha256=0", "")),
    ],
)
def test_requirements_are_told_from_places(text: str, parts: tuple[str, str] | None) -> None:
    assert split(text) == parts


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("-i https://me:secret@index.example/a", "-i https://****@index.example/a"),
        ("git+https://ghp_x@github.com/a/b@v1.0", "git+https://****@github.com/a/b@v1.0"),
        ("git+ssh://git@github.com/a/b", "git+ssh://git@github.com/a/b"),
        ("torch @ https://index.example/a@b", "torch @ https://index.example/a@b"),
    ],
)
def test_no_secret_of_a_url_is_shown(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


PIECES = ["https://", "git+", "file:///", "#egg=", "@", "[", "]", "%", "torch-2.5.1", ".whl", " ; "]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=5)).map("".join))
def test_whatever_is_written_is_read(text: str) -> None:
    told = read(text)
    assert told.version is None or told.name is not None
    parts = split(text)
    assert parts is None or text.startswith(parts[0])
