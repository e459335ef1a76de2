"""One report that uses every part of the page."""

from __future__ import annotations

import pytest

from qdoctor.model import (
    Because,
    Driver,
    Facts,
    Finding,
    Fix,
    Gpu,
    Host,
    Observation,
    Python,
    Report,
    Target,
    Verdict,
)

COMMAND = (
    "python -m pip install --index-url https://index.example/whl/cu121 "
    "'torch==2.5.1+cu121' 'triton==3.1.0' 'bitsandbytes==0.45.0'"
)


@pytest.fixture
def report() -> Report:
    return Report(
        tool_version="0.1.0",
        matrix_version="2026.11.22",
        target=Target("interpreter", "$VIRTUAL_ENV", "/home/ada/venv/bin/python", ["a new driver"]),
        facts=Facts(
            host=Host(os="linux", machine="x86_64", libc="glibc 2.35"),
            python=Python(version="3.11.7"),
            packages={"torch": "2.1.2+cu121", "triton": "2.1.0", "bitsandbytes": "0.41.1"},
            torch_cuda="12.1",
            driver=Driver(version="535.104.05", cuda="12.2"),
            gpus=[Gpu(index=0, name="Tesla V100-SXM2-16GB", sm="7.0", memory_mib=16384)],
        ),
        observations=[
            Observation("half_gemm", "passed", device="cuda:0", numbers={"milliseconds": 0.19}),
            Observation("triton_libdevice", "passed", device="sm_70", ran=False),
            Observation("cublaslt_igemm", "failed", variant="col32", expected="fail"),
        ],
        findings=[
            Finding(
                rule="triton-libdevice-removed",
                severity="error",
                title="bitsandbytes' SwitchBack calls triton.language.libdevice, gone since 2.1",
                because=[Because("triton 2.1.0 has no such name", "triton-2.1.0.whl", "mined")],
                fixes=[
                    Fix("upgrade", "it works", "unsafe", "torch", ">=2.5", command=COMMAND),
                    Fix("use", "it runs here", backend="qdoctor-switchback", verify="half_gemm"),
                ],
                explains_error=True,
            ),
            Finding(
                rule="switchback-unavailable",
                severity="note",
                title="no SwitchBack here",
                symptom_of="triton-libdevice-removed",
                undecided="whether python.headers are installed",
            ),
        ],
        verdicts=[
            Verdict("half", "yes", "fp16 works on SM 7.0", weight_bytes_per_param=2.0),
            Verdict("bnb-int8", "no", "SM 7.0 has no int8 tensor cores"),
        ],
        selected="half",
        exit_code=1,
    )
