"""One question about a machine = one function, ``(machine, matrix) -> Answer``.

Rules turn a ``no`` into a finding, the selection into a verdict, so each question is written once.
Which layers a backend needs, and in which order, is data: ``matrix/tables/backends.json``.
"""

from __future__ import annotations

from qdoctor.layers.answer import Answer, Layer, together
from qdoctor.layers.bnb import (
    bnb_accepts_torch,
    bnb_binary_has_sm,
    bnb_has_cuda_binary,
    bnb_has_fp4,
    bnb_has_nf4,
    bnb_installed,
    bnb_libs_found,
    bnb_ships_here,
)
from qdoctor.layers.bnb_import import bnb_imports
from qdoctor.layers.driver import driver_serves_torch, libcuda_found
from qdoctor.layers.elsewhere import (
    bnb_blockwise_on_cpu,
    bnb_blockwise_zeros_on_cpu,
    bnb_fp4_on_cpu,
    bnb_int8_on_cpu,
    bnb_nf4_on_cpu,
    fp8_supported,
    torch_fp8_on_cpu,
)
from qdoctor.layers.gpu import (
    bf16_supported,
    driver_knows_gpu,
    fp8_tensor_cores,
    gpu_present,
    int8_tensor_cores,
)
from qdoctor.layers.host import (
    bnb_fits_libc,
    bnb_fits_python,
    libc_new_enough,
    python_supported,
    torch_fits_libc,
    torch_fits_python,
    triton_fits_libc,
    triton_fits_python,
)
from qdoctor.layers.int8 import (
    bnb_int8_odd_depth,
    bnb_int8_on_this_sm,
    igemm_col4_4r2_8c,
    igemm_col32_2r_4r4,
    igemm_row_major,
)
from qdoctor.layers.natives import torch_ptx_compiles
from qdoctor.layers.switchback import bnb_has_switchback, switchback_triton_names_resolve
from qdoctor.layers.torch import torch_has_cuda, torch_has_sm, torch_installed
from qdoctor.layers.torchao import (
    torchao_fits_torch,
    torchao_has_int8,
    torchao_installed,
    torchao_int8_any_size,
    torchao_int8_on_sm,
)
from qdoctor.layers.torchao_formats import (
    torchao_fp8_fits_torch,
    torchao_fp8_on_cpu,
    torchao_fp8_on_sm,
    torchao_has_fp8,
    torchao_has_int4,
    torchao_has_mxfp4,
    torchao_has_nvfp4,
    torchao_int4_fits_torch,
    torchao_int4_on_cpu,
    torchao_int4_on_sm,
    torchao_mxfp4_fits_torch,
    torchao_mxfp4_on_sm,
    torchao_nvfp4_fits_torch,
    torchao_nvfp4_on_sm,
)
from qdoctor.layers.triton import (
    c_compiler_found,
    python_headers_found,
    triton_can_compile,
    triton_e4m3_on_sm,
    triton_e5m2_on_sm,
    triton_installed,
    triton_int8_on_sm,
    triton_knows_sm,
    triton_libdevice_found,
    triton_matches_pin,
    triton_supports_sm,
)
from qdoctor.layers.wrong_results import bnb_4bit_of_any_size

__all__ = [
    "Answer",
    "Layer",
    "bf16_supported",
    "bnb_4bit_of_any_size",
    "bnb_accepts_torch",
    "bnb_binary_has_sm",
    "bnb_blockwise_on_cpu",
    "bnb_blockwise_zeros_on_cpu",
    "bnb_fits_libc",
    "bnb_fits_python",
    "bnb_fp4_on_cpu",
    "bnb_has_cuda_binary",
    "bnb_has_fp4",
    "bnb_has_nf4",
    "bnb_has_switchback",
    "bnb_imports",
    "bnb_installed",
    "bnb_int8_odd_depth",
    "bnb_int8_on_cpu",
    "bnb_int8_on_this_sm",
    "bnb_libs_found",
    "bnb_nf4_on_cpu",
    "bnb_ships_here",
    "c_compiler_found",
    "driver_knows_gpu",
    "driver_serves_torch",
    "fp8_supported",
    "fp8_tensor_cores",
    "gpu_present",
    "igemm_col4_4r2_8c",
    "igemm_col32_2r_4r4",
    "igemm_row_major",
    "int8_tensor_cores",
    "libc_new_enough",
    "libcuda_found",
    "python_headers_found",
    "python_supported",
    "switchback_triton_names_resolve",
    "together",
    "torch_fits_libc",
    "torch_fits_python",
    "torch_fp8_on_cpu",
    "torch_has_cuda",
    "torch_has_sm",
    "torch_installed",
    "torch_ptx_compiles",
    "torchao_fits_torch",
    "torchao_fp8_fits_torch",
    "torchao_fp8_on_cpu",
    "torchao_fp8_on_sm",
    "torchao_has_fp8",
    "torchao_has_int4",
    "torchao_has_int8",
    "torchao_has_mxfp4",
    "torchao_has_nvfp4",
    "torchao_installed",
    "torchao_int4_fits_torch",
    "torchao_int4_on_cpu",
    "torchao_int4_on_sm",
    "torchao_int8_any_size",
    "torchao_int8_on_sm",
    "torchao_mxfp4_fits_torch",
    "torchao_mxfp4_on_sm",
    "torchao_nvfp4_fits_torch",
    "torchao_nvfp4_on_sm",
    "triton_can_compile",
    "triton_e4m3_on_sm",
    "triton_e5m2_on_sm",
    "triton_fits_libc",
    "triton_fits_python",
    "triton_installed",
    "triton_int8_on_sm",
    "triton_knows_sm",
    "triton_libdevice_found",
    "triton_matches_pin",
    "triton_supports_sm",
]
