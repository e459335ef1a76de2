from __future__ import annotations

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from qdoctor import model
from qdoctor.report.redaction import Identity, identity_here, redact, redact_text

ADA = Identity(home="/srv/people/ada", users=("adalove",), hosts=("engine7.example", "engine7"))
WORD = st.text(string.ascii_lowercase + string.digits, min_size=20, max_size=36)
AROUND = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
HEX = st.text("0123456789abcdef", min_size=8, max_size=8)


def clean(text: str) -> str:
    return redact_text(text, ADA)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/srv/people/ada/venv/bin/python", "~/venv/bin/python"),
        ("/srv/people/adam/venv", "/srv/people/adam/venv"),
        ("/home/somebody/venv", "~/venv"),
        ("PATH=/usr/bin:/home/somebody/bin", "PATH=/usr/bin:~/bin"),
        (r"C:\Users\Some Body\venv", r"~ Body\venv"),
        (r"C:\Users\somebody\venv", r"~\venv"),
        ("/opt/home/shared", "/opt/home/shared"),
        ("run by adalove on engine7", "run by <user> on <host>"),
        ("engine7.example: timeout", "<host>: timeout"),
        ("engine70 and xadalove", "engine70 and xadalove"),
        ("https://me:secret@index.example/team", "https://<redacted>@index.example/team"),
        ("HF_TOKEN=abc123 python x.py", "HF_TOKEN=<redacted> python x.py"),
        ("WANDB_API_KEY: 'a b c'", "WANDB_API_KEY: <redacted>"),
        ("mail ada@lovelace.example now", "mail <e-mail> now"),
        ("ssh ada@10.0.0.17 and ada@4.example", "ssh <e-mail> and <e-mail>"),
        ("key sk-proj-0123456789abcdef", "key <token>"),
        ("key AKIAIOSFODNN7EXAMPLE", "key <token>"),
        ("Authorization: Bearer abcdef.ghijkl", "Authorization: Bearer <token>"),
        ("MIG-GPU-1a2b3c4d-0000-1111-2222-333344445555/7/0", "MIG-<redacted>"),
    ],
)
def test_personal_data_goes(text: str, expected: str) -> None:
    assert clean(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "module 'triton.language' has no attribute 'libdevice'",
        "python -m pip install 'torch==2.5.1' --index-url https://download.pytorch.org/whl/cu121",
        "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
        "triton/language/__init__.py:12 (libdevice)",
        "NVIDIA A100-SXM4-80GB MIG 1g.10gb",
        "cublasLtMatmul@libcublasLt.so.12 returned 15",
        "git+https://github.com/huggingface/transformers@v4.40.0",
        "the tokenizer has 32000 tokens: fine",
        "GPU-less machines compile",
        'hf-doc-builder==0.5.0; extra == "docs"',
        "scikit-learn, sk-learn-contrib and npm-run-all are packages",
    ],
)
def test_what_is_not_personal_stays(text: str) -> None:
    assert clean(text) == text


@given(AROUND, WORD, AROUND, st.sampled_from(["hf_", "ghp_", "github_pat_", "glpat-"]))
def test_no_token_survives(before: str, secret: str, after: str, kind: str) -> None:
    assume(secret not in before + after)
    assert secret not in clean(f"{before} {kind}{secret} {after}")


@given(AROUND, HEX, AROUND)
def test_no_gpu_uuid_survives(before: str, part: str, after: str) -> None:
    uuid = f"GPU-{part}-1234-5678-9abc-{part}{part[:4]}"
    assert f"{part}-1234" not in clean(f"{before} {uuid} {after}")


@given(AROUND, st.sampled_from(["/", "'", " ", "\n", "\\", ":"]), AROUND)
def test_no_home_user_or_host_survives(before: str, end: str, after: str) -> None:
    text = clean(f"{before} /srv/people/ada{end} adalove{end} engine7{end} {after}")
    assert "/srv/people/ada" + end not in text
    assert " adalove" + end not in text
    assert " engine7" + end not in text


@given(AROUND)
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    assert clean(clean(text)) == clean(text)


def test_facts_keep_their_vocabulary_even_for_a_user_called_linux() -> None:
    facts = model.Facts(
        host=model.Host(os="linux", machine="x86_64"),
        python=model.Python(version="3.11.7", executable="/home/linux/bin/python"),
        packages={"linux": "1.0", "torch": "2.1.2"},
        env={"HF_TOKEN": "abc", "LD_LIBRARY_PATH": "/home/linux/lib", "EMPTY_TOKEN": ""},
        gpus=[model.Gpu(name="linux gpu", sm="7.0")],
    )
    shown = redact(facts, Identity(home="/home/linux", users=("linux",)))
    assert shown.host == facts.host
    assert shown.packages == facts.packages
    assert shown.gpus == facts.gpus
    assert shown.python is not None
    assert shown.python.executable == "~/bin/python"
    assert shown.env == {
        "HF_TOKEN": "<redacted>",
        "LD_LIBRARY_PATH": "~/lib",
        "EMPTY_TOKEN": "",
    }


def test_the_places_of_libraries_are_redacted_and_their_sms_are_not() -> None:
    file = "/home/sm_90/env/lib/libcublas.so.12"
    library = model.NativeLibrary(
        package="ext",
        sm=["sm_90"],
        ptx_isa={"sm_90": "8.7"},
        path=file,
        resolved={"libcublas.so.12": file},
        shadowed={"libcublas.so.12": file},
    )
    facts = model.Facts(native=[library], driver=model.Driver(libcuda=file))
    shown = redact(facts, Identity("/home/sm_90", ("sm_90",), ()))
    assert "/home/" not in model.to_json(shown)
    assert shown.native is not None
    assert (shown.native[0].sm, shown.native[0].ptx_isa) == (["sm_90"], {"sm_90": "8.7"})


def test_this_machines_identity_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "adalove")
    monkeypatch.setenv("LOGNAME", "root")
    identity_here.cache_clear()
    try:
        users = identity_here().users
    finally:
        identity_here.cache_clear()
    assert "adalove" in users
    assert "root" not in users


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", ["x", "x.", "sk-", "key_token_", "a@", "a-TOKEN_", "GPU-", "_"])
def test_a_text_of_one_endless_word_is_read_in_time(piece: str) -> None:
    redact_text(piece * (300_000 // len(piece)), Identity())


def test_bounds_keep_what_was_redacted() -> None:
    secret = f"{'A_' * 50}API_KEY_{'B' * 100}=hunter2 git+https://ada:pw@host/x ada@example.org"
    shown = redact_text(secret, Identity())
    assert not any(word in shown for word in ("hunter2", "pw", "example.org"))
