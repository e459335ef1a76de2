"""Every layer, on a machine where it fits, where it does not and where it cannot be told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from qdoctor import layers

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdoctor.layers import Answer

V100 = [{"index": 0, "name": "Tesla V100-SXM2-16GB"}]
T4 = [{"index": 0, "name": "Tesla T4"}]
H100 = [{"index": 0, "name": "NVIDIA H100 80GB HBM3"}]
A100 = [{"index": 0, "name": "NVIDIA A100-SXM4-80GB"}]
L4 = [{"index": 0, "name": "NVIDIA L4"}]
RTX5090 = [{"index": 0, "name": "NVIDIA GeForce RTX 5090"}]
B200 = [{"index": 0, "sm": "10.0", "vendor": "nvidia"}]
GTX1660 = [{"index": 0, "name": "NVIDIA GeForce GTX 1660 Ti"}]
P40 = [{"index": 0, "name": "Tesla P40"}]
NEW = [{"index": 0, "name": "NVIDIA Somecard 9999"}]
RADEON = [{"index": 0, "name": "AMD Radeon RX 7900 XTX", "vendor": "amd", "arch": "gfx1100"}]
OLD_LIBC = {"os": "linux", "libc": "glibc 2.12", "c_compiler": True}
MUSL = {"os": "linux", "libc": "musl 1.2"}
PLAIN_LINUX = {"os": "linux"}
UBUNTU_20 = {"os": "linux", "libc": "glibc 2.31"}
CUDA126 = {"torch_cuda": "12.6"}
AVX512 = {"gpus": [], "host": {"os": "linux", "cpu_features": ["avx512f"]}}
"""Its library of bitsandbytes 0.45.0 needs glibc 2.34, the others' 2.4."""


def bnb(version: str | None, **more: str | None) -> dict[str, Any]:
    """Change the machine's bitsandbytes."""
    return {"packages": {"bitsandbytes": version, **more}}


def torch(version: str | None, **more: str | None) -> dict[str, Any]:
    """Change the machine's torch."""
    return {"packages": {"torch": version, **more}}


def triton(version: str | None, **more: str | None) -> dict[str, Any]:
    """Change the machine's triton."""
    return {"packages": {"triton": version, **more}}


def ao(version: str, torch_version: str = "2.11.0", **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """Change the machine's torchao and torch."""
    return {"packages": {"torch": torch_version, "torchao": version}, **more}


def loaded(cublas: str) -> dict[str, Any]:
    """Give the machine a bitsandbytes library and the cuBLASLt that it would be given."""
    library = {"package": "bitsandbytes", "file": "libbitsandbytes_cuda121.so", "sm": ["sm_80"]}
    return {
        "torch_cuda": "12.1",
        "native": [{**library, "resolved": {"libcublasLt.so.12": cublas}}],
    }


ONLY_PTX = {
    "torch_cuda": "12.6",
    "torch_arch_list": ["sm_60", "compute_60"],
    "driver": {"version": "550.54.14", "cuda": "12.4"},
}
NO_BNB, UNKNOWN_BNB = bnb(""), bnb("0.99.0")
NO_TORCH, UNKNOWN_TRITON = torch(""), triton("9.9.9")
NO_SM = {"gpus": NEW}
CASES: list[tuple[str, str, str | None, dict[str, Any]]] = [
    ("torch_installed", "yes", None, {}),
    ("torch_installed", "no", "torch-not-installed", NO_TORCH),
    ("torch_installed", "unknown", None, torch(None)),
    ("torch_has_cuda", "yes", None, {}),
    ("torch_has_cuda", "no", "torch-cpu-only", torch("2.1.2+cpu")),
    ("torch_has_cuda", "unknown", None, torch("9.9.9")),
    ("torch_has_sm", "yes", None, {"gpus": V100}),
    ("torch_has_sm", "no", "torch-no-sm-binary", {"gpus": B200}),
    ("torch_has_sm", "unknown", None, NO_SM),
    ("driver_serves_torch", "yes", None, {}),
    ("driver_serves_torch", "no", "driver-too-old", {"driver": {"version": "470.82.01"}}),
    ("driver_serves_torch", "unknown", None, {"driver": None}),
    ("driver_knows_gpu", "yes", None, {"gpus": V100}),
    (
        "driver_knows_gpu",
        "no",
        "driver-dropped-gpu",
        {"gpus": V100, "driver": {"version": "610.43"}},
    ),
    ("driver_knows_gpu", "unknown", None, {"gpus": V100, "driver": None}),
    ("libcuda_found", "yes", None, {"driver": {"libcuda": "/usr/lib/libcuda.so.1"}}),
    ("libcuda_found", "no", "libcuda-not-found", {"driver": {"libcuda": ""}}),
    ("libcuda_found", "unknown", None, {}),
    ("torch_ptx_compiles", "yes", None, {}),
    ("torch_ptx_compiles", "no", "ptx-newer-than-driver", ONLY_PTX),
    ("torch_ptx_compiles", "unknown", None, {**ONLY_PTX, "driver": None}),
    ("bnb_libs_found", "yes", None, loaded("/x/libcublasLt.so.12")),
    ("bnb_libs_found", "no", "bnb-cuda-libs-not-found", loaded("")),
    ("bnb_libs_found", "unknown", None, {}),
    ("gpu_present", "yes", None, {}),
    ("gpu_present", "no", "no-cuda-gpu", {"gpus": []}),
    ("gpu_present", "no", "no-cuda-gpu", {"gpus": RADEON}),
    ("gpu_present", "yes", None, {"gpus": None}),  # a driver answers there
    ("gpu_present", "unknown", None, {"gpus": None, "driver": None}),
    ("int8_tensor_cores", "yes", None, {"gpus": T4}),
    ("int8_tensor_cores", "no", "sm-lacks-int8-tensor-cores", {"gpus": V100}),
    ("int8_tensor_cores", "no", "sm75-without-tensor-cores", {"gpus": GTX1660}),
    ("int8_tensor_cores", "unknown", None, NO_SM),
    ("bf16_supported", "yes", None, {}),
    ("bf16_supported", "no", "bf16-needs-sm80", {"gpus": T4}),
    ("bf16_supported", "unknown", None, NO_SM),
    ("fp8_tensor_cores", "yes", None, {"gpus": H100}),
    ("fp8_tensor_cores", "no", "fp8-needs-sm89", {}),
    ("fp8_tensor_cores", "unknown", None, NO_SM),
    ("python_supported", "yes", None, {}),
    ("python_supported", "no", None, {"python": {"version": "3.13.0"}}),
    ("python_supported", "unknown", None, torch("9.9.9")),
    ("torch_fits_python", "yes", None, {}),
    ("torch_fits_python", "yes", None, {"python": None}),
    ("torch_fits_python", "no", None, {"python": {"version": "3.13.0"}}),
    ("torch_fits_python", "unknown", None, torch("9.9.9")),
    ("triton_fits_python", "yes", None, {}),
    ("triton_fits_python", "no", "triton-missing-for-python", {"python": {"version": "3.13.0"}}),
    ("triton_fits_python", "unknown", None, UNKNOWN_TRITON),
    ("bnb_fits_python", "yes", None, {}),
    ("bnb_fits_python", "no", None, {**bnb("0.50.2"), "python": {"version": "3.8.0"}}),
    ("bnb_fits_python", "unknown", None, UNKNOWN_BNB),
    ("libc_new_enough", "yes", None, {}),
    ("libc_new_enough", "no", "glibc-too-old", {"host": OLD_LIBC}),
    ("libc_new_enough", "unknown", None, {**bnb("0.45.0"), **CUDA126, "host": PLAIN_LINUX}),
    ("torch_fits_libc", "yes", None, {"host": PLAIN_LINUX}),
    ("torch_fits_libc", "no", "glibc-too-old", {"host": OLD_LIBC}),
    ("torch_fits_libc", "no", "glibc-too-old", {"host": MUSL}),
    ("torch_fits_libc", "unknown", None, torch("9.9.9")),
    ("triton_fits_libc", "yes", None, {"host": {"os": "windows"}}),
    ("triton_fits_libc", "no", "glibc-too-old", {"host": OLD_LIBC}),
    ("triton_fits_libc", "unknown", None, UNKNOWN_TRITON),
    ("bnb_fits_libc", "yes", None, bnb("0.45.0")),
    ("bnb_fits_libc", "no", "glibc-too-old", {**bnb("0.45.0"), **CUDA126, "host": UBUNTU_20}),
    ("bnb_fits_libc", "unknown", None, {**bnb("0.45.0"), **CUDA126, "host": PLAIN_LINUX}),
    ("triton_installed", "yes", None, {}),
    ("triton_installed", "no", None, triton("")),
    ("triton_installed", "unknown", None, torch(None, triton=None)),
    ("triton_matches_pin", "yes", None, {}),
    ("triton_matches_pin", "no", "triton-pin-mismatch", triton("3.0.0")),
    ("triton_matches_pin", "unknown", None, torch("9.9.9")),
    ("triton_libdevice_found", "yes", None, {}),
    ("triton_libdevice_found", "unknown", None, UNKNOWN_TRITON),
    ("triton_knows_sm", "yes", None, {}),
    ("triton_knows_sm", "no", "ptxas-too-old-for-sm", {"gpus": B200}),
    ("triton_knows_sm", "unknown", None, NO_SM),
    ("triton_supports_sm", "yes", None, {"gpus": V100}),
    ("triton_supports_sm", "no", "triton-min-sm", {"gpus": P40}),
    ("triton_supports_sm", "unknown", None, NO_SM),
    ("triton_int8_on_sm", "yes", None, {}),
    ("triton_int8_on_sm", "no", "sm-lacks-int8-tensor-cores", {"gpus": T4}),
    ("triton_int8_on_sm", "no", "no-sm-binary", {**triton("2.0.0"), "gpus": H100}),
    ("triton_int8_on_sm", "unknown", None, UNKNOWN_TRITON | NO_SM),
    ("triton_e4m3_on_sm", "yes", None, {"gpus": H100}),
    ("triton_e4m3_on_sm", "no", "fp8-needs-sm89", {**triton("3.6.0"), "gpus": T4}),
    ("triton_e4m3_on_sm", "unknown", None, UNKNOWN_TRITON | NO_SM),
    ("triton_e5m2_on_sm", "yes", None, {"gpus": T4}),
    ("triton_e5m2_on_sm", "no", "no-sm-binary", {"gpus": B200}),
    ("triton_e5m2_on_sm", "unknown", None, UNKNOWN_TRITON | NO_SM),
    ("c_compiler_found", "yes", None, {"python": {"headers": False}}),
    ("c_compiler_found", "no", "no-c-compiler", {"host": {"os": "linux", "c_compiler": False}}),
    ("c_compiler_found", "unknown", None, {"host": {"os": "linux"}}),
    ("python_headers_found", "yes", None, {"host": {"os": "linux", "c_compiler": False}}),
    ("python_headers_found", "no", "python-headers-missing", {"python": {"headers": False}}),
    ("python_headers_found", "unknown", None, {"python": {"version": "3.11.7"}}),
    ("triton_can_compile", "yes", None, {}),
    ("triton_can_compile", "no", "python-headers-missing", {"python": {"headers": False}}),
    ("triton_can_compile", "no", "no-c-compiler", {"host": {"os": "linux", "c_compiler": False}}),
    ("triton_can_compile", "unknown", None, {"python": {"version": "3.11.7"}}),
    ("bnb_installed", "yes", None, {}),
    ("bnb_installed", "no", None, NO_BNB),
    ("bnb_installed", "unknown", None, bnb(None)),
    ("bnb_accepts_torch", "yes", None, {}),
    ("bnb_accepts_torch", "no", "package-needs-newer-torch", bnb("0.50.2")),
    ("bnb_accepts_torch", "unknown", None, UNKNOWN_BNB),
    ("bnb_imports", "yes", None, {}),
    ("bnb_imports", "no", "triton-ops-removed", bnb("0.44.1", triton="3.7.1")),
    ("bnb_imports", "no", "triton-import-needs-gpu", {**bnb("0.44.1", triton="3.3.0"), "gpus": []}),
    ("bnb_imports", "no", "triton-ops-removed", bnb("0.44.1", triton="3.3.0")),
    ("bnb_imports", "unknown", None, UNKNOWN_BNB),
    ("bnb_has_cuda_binary", "yes", None, {}),
    ("bnb_has_cuda_binary", "no", "bnb-cuda-binary-missing", {"torch_cuda": "12.4"}),
    ("bnb_has_cuda_binary", "no", "bnb-override-wrong", {"env": {"BNB_CUDA_VERSION": "999"}}),
    (
        "bnb_has_cuda_binary",
        "no",
        "bnb-windows-unsupported",
        {"host": {"os": "windows"}, "torch_cuda": "12.1"},
    ),
    (
        "bnb_has_cuda_binary",
        "no",
        "bnb-platform-unsupported",
        {"host": {"os": "linux", "machine": "aarch64"}, "torch_cuda": "12.1"},
    ),
    ("bnb_has_cuda_binary", "unknown", None, UNKNOWN_BNB),
    ("bnb_binary_has_sm", "yes", None, {}),
    ("bnb_binary_has_sm", "no", "bnb-no-sm-binary", {"gpus": B200}),
    ("bnb_binary_has_sm", "unknown", None, NO_SM),
    ("bnb_has_nf4", "yes", None, {}),
    ("bnb_has_nf4", "no", "bnb-version-regression", bnb("0.38.1")),
    ("bnb_has_nf4", "unknown", None, UNKNOWN_BNB),
    ("bnb_has_fp4", "yes", None, {}),
    ("bnb_has_fp4", "no", "bnb-version-regression", bnb("0.38.1")),
    ("bnb_has_fp4", "unknown", None, UNKNOWN_BNB),
    ("bnb_int8_on_this_sm", "yes", None, {}),
    ("bnb_int8_on_this_sm", "yes", None, {**bnb("0.45.0"), "gpus": H100}),
    ("bnb_int8_on_this_sm", "no", "bnb-hopper-int8-unsupported", {"gpus": H100}),
    ("bnb_int8_on_this_sm", "no", "sm-lacks-int8-tensor-cores", {"gpus": V100}),
    ("bnb_int8_on_this_sm", "no", "sm-lacks-int8-tensor-cores", {**bnb("0.45.0"), "gpus": V100}),
    ("bnb_int8_on_this_sm", "unknown", None, {"gpus": B200}),
    ("bnb_blockwise_on_cpu", "yes", None, bnb("0.50.2")),
    ("bnb_blockwise_on_cpu", "unknown", None, bnb(None)),
    ("bnb_blockwise_zeros_on_cpu", "yes", None, bnb("0.42.0")),
    ("bnb_blockwise_zeros_on_cpu", "no", "bnb-version-regression", bnb("0.48.2")),
    ("bnb_blockwise_zeros_on_cpu", "unknown", None, bnb(None)),
    ("bnb_4bit_of_any_size", "yes", None, bnb("0.48.2")),
    ("bnb_4bit_of_any_size", "no", "bnb-version-regression", {**bnb("0.50.2"), **AVX512}),
    ("bnb_4bit_of_any_size", "unknown", None, bnb(None)),
    ("bnb_int8_odd_depth", "no", "silent-slow-path", bnb("0.50.2")),
    ("bnb_int8_odd_depth", "no", "silent-slow-path", bnb("0.45.0")),
    ("bnb_int8_odd_depth", "unknown", None, bnb("0.44.1")),
    ("bnb_int8_odd_depth", "unknown", None, bnb(None)),
    ("igemm_row_major", "yes", None, {"gpus": H100}),
    ("igemm_row_major", "unknown", None, {"gpus": V100}),
    ("igemm_col4_4r2_8c", "yes", None, {"gpus": T4}),
    ("igemm_col4_4r2_8c", "no", "bnb-hopper-int8-unsupported", {"gpus": H100}),
    ("igemm_col4_4r2_8c", "unknown", None, {"gpus": B200}),
    ("igemm_col32_2r_4r4", "yes", None, {}),
    ("igemm_col32_2r_4r4", "no", "bnb-hopper-int8-unsupported", {"gpus": T4}),
    ("igemm_col32_2r_4r4", "unknown", None, {"gpus": B200}),
    ("bnb_ships_here", "yes", None, {}),
    ("bnb_ships_here", "no", "bnb-windows-unsupported", {"host": {"os": "windows"}}),
    ("bnb_ships_here", "unknown", None, UNKNOWN_BNB),
    ("bnb_has_switchback", "yes", None, {}),
    ("bnb_has_switchback", "no", "bnb-triton-modules-removed", bnb("0.50.2")),
    ("bnb_has_switchback", "no", "switchback-unavailable", bnb("0.37.2")),
    ("bnb_has_switchback", "unknown", None, UNKNOWN_BNB),
    ("switchback_triton_names_resolve", "yes", None, torch("2.0.1", triton="2.0.0")),
    ("switchback_triton_names_resolve", "no", "triton-libdevice-removed", {}),
    ("switchback_triton_names_resolve", "unknown", None, triton("9.9.9")),
    ("switchback_on_cpu", "yes", None, torch("2.4.0+cpu")),
    ("switchback_on_cpu", "no", None, torch("2.0.1+cpu")),
    ("switchback_on_cpu", "unknown", None, torch("2.3.1+cpu")),
    ("switchback_on_cpu", "unknown", None, torch(None)),
    ("bnb_int8_on_cpu", "yes", None, bnb("0.46.0")),
    ("bnb_int8_on_cpu", "no", "no-cuda-gpu", {}),
    ("bnb_int8_on_cpu", "unknown", None, bnb(None)),
    ("bnb_nf4_on_cpu", "yes", None, bnb("0.46.0")),
    ("bnb_nf4_on_cpu", "no", "no-cuda-gpu", {}),
    ("bnb_nf4_on_cpu", "unknown", None, bnb(None)),
    ("bnb_fp4_on_cpu", "yes", None, bnb("0.47.0")),
    ("bnb_fp4_on_cpu", "no", "no-cuda-gpu", bnb("0.46.0")),
    ("bnb_fp4_on_cpu", "unknown", None, bnb(None)),
    ("fp8_supported", "yes", None, {**torch("2.5.1"), "gpus": [{"name": "NVIDIA L4"}]}),
    ("fp8_supported", "no", "fp8-needs-sm89", {}),
    ("fp8_supported", "unknown", None, {"gpus": [{"name": "NVIDIA L4"}]}),
    ("torch_fp8_on_cpu", "yes", None, torch("2.13.0+cpu")),
    ("torch_fp8_on_cpu", "no", "fp8-needs-sm89", torch("2.0.1")),
    ("torch_fp8_on_cpu", "unknown", None, {}),
    ("torchao_installed", "yes", None, {"packages": {"torchao": "0.9.0"}}),
    ("torchao_installed", "no", None, {"packages": {"torchao": ""}}),
    ("torchao_installed", "unknown", None, {}),
    ("torchao_has_int8", "yes", None, {"packages": {"torchao": "0.9.0"}}),
    ("torchao_has_int8", "unknown", None, {"packages": {"torchao": "99.0"}}),
    ("torchao_fits_torch", "yes", None, {"packages": {"torch": "2.13.0", "torchao": "0.9.0"}}),
    ("torchao_fits_torch", "yes", None, {"packages": {"torch": "2.3.1", "torchao": "0.3.0"}}),
    ("torchao_fits_torch", "no", None, {"packages": {"torch": "2.13.0", "torchao": "0.12.0"}}),
    ("torchao_fits_torch", "no", None, {"packages": {"torch": "2.6.0", "torchao": "0.3.0"}}),
    ("torchao_fits_torch", "unknown", None, {"packages": {"torch": "2.6.0", "torchao": "0.9.0"}}),
    ("torchao_int8_on_sm", "yes", None, {"gpus": H100}),
    ("torchao_int8_on_sm", "unknown", None, {"gpus": T4}),
    ("torchao_int8_any_size", "no", "silent-slow-path", {"packages": {"torchao": "0.18.0"}}),
    ("torchao_int8_any_size", "no", "silent-slow-path", {"packages": {"torchao": "0.9.0"}}),
    ("torchao_int8_any_size", "unknown", None, {"packages": {"torchao": "0.3.0"}}),
    ("torchao_has_fp8", "yes", None, ao("0.18.0")),
    ("torchao_has_fp8", "no", None, ao("0.4.0")),
    ("torchao_has_fp8", "unknown", None, ao("99.0")),
    ("torchao_has_int4", "yes", None, ao("0.9.0")),
    ("torchao_has_int4", "no", None, ao("0.2.0")),
    ("torchao_has_int4", "unknown", None, ao("99.0")),
    ("torchao_has_mxfp4", "yes", None, ao("0.18.0")),
    ("torchao_has_mxfp4", "no", None, ao("0.9.0")),
    ("torchao_has_mxfp4", "unknown", None, ao("99.0")),
    ("torchao_has_nvfp4", "yes", None, ao("0.13.0")),
    ("torchao_has_nvfp4", "no", None, ao("0.11.0")),
    ("torchao_has_nvfp4", "unknown", None, ao("99.0")),
    ("torchao_fp8_on_sm", "yes", None, ao("0.18.0", gpus=H100)),
    ("torchao_fp8_on_sm", "yes", None, ao("0.18.0", gpus=L4)),
    ("torchao_fp8_on_sm", "no", "fp8-needs-sm89", ao("0.18.0", gpus=A100)),
    ("torchao_fp8_on_sm", "yes", None, ao("0.9.0", gpus=L4)),
    ("torchao_fp8_on_sm", "unknown", None, ao("99.0", gpus=B200)),
    ("torchao_int4_on_sm", "yes", None, ao("0.18.0", gpus=A100)),
    ("torchao_int4_on_sm", "yes", None, ao("0.9.0", gpus=A100)),
    ("torchao_int4_on_sm", "no", None, ao("0.18.0", gpus=T4)),
    ("torchao_int4_on_sm", "unknown", None, ao("0.18.0", gpus=NEW)),
    ("torchao_mxfp4_on_sm", "no", None, ao("0.18.0", gpus=H100)),
    ("torchao_mxfp4_on_sm", "no", None, ao("0.13.0", gpus=H100)),
    ("torchao_mxfp4_on_sm", "no", None, ao("", gpus=A100)),
    ("torchao_mxfp4_on_sm", "unknown", None, ao("0.18.0", gpus=B200)),
    ("torchao_nvfp4_on_sm", "no", None, ao("0.18.0", gpus=H100)),
    ("torchao_nvfp4_on_sm", "no", None, ao("0.13.0", gpus=H100)),
    ("torchao_nvfp4_on_sm", "no", None, ao("", gpus=A100)),
    ("torchao_nvfp4_on_sm", "unknown", None, ao("0.18.0", gpus=B200)),
    ("torchao_fp8_fits_torch", "no", None, ao("0.12.0", "2.13.0")),
    ("torchao_fp8_fits_torch", "unknown", None, ao("0.18.0", "2.9.0")),
    ("torchao_int4_fits_torch", "no", None, ao("0.12.0", "2.13.0")),
    ("torchao_int4_fits_torch", "unknown", None, ao("0.18.0", "2.9.0")),
    ("torchao_mxfp4_fits_torch", "no", None, ao("0.12.0", "2.13.0")),
    ("torchao_mxfp4_fits_torch", "unknown", None, ao("0.18.0", "2.9.0")),
    ("torchao_nvfp4_fits_torch", "no", None, ao("0.12.0", "2.13.0")),
    ("torchao_nvfp4_fits_torch", "unknown", None, ao("0.18.0", "2.9.0")),
    ("torchao_nvfp4_fits_torch", "no", None, ao("0.16.0", "2.7.1")),
    ("torchao_mxfp4_on_sm", "no", None, ao("0.18.0", gpus=RTX5090)),
    ("torchao_nvfp4_on_sm", "unknown", None, ao("0.18.0", gpus=RTX5090)),
    ("torchao_fp8_fits_torch", "yes", None, ao("0.18.0")),
    ("torchao_int4_fits_torch", "yes", None, ao("0.15.0")),
    ("torchao_fp8_on_cpu", "no", None, ao("0.18.0", "2.13.0")),
    ("torchao_fp8_on_cpu", "unknown", None, ao("99.0", "2.13.0")),
    ("torchao_int4_on_cpu", "yes", None, ao("0.18.0", "2.13.0+cpu")),
    ("torchao_int4_on_cpu", "no", None, ao("0.12.0", "2.13.0+cpu")),
    ("torchao_int4_on_cpu", "unknown", None, ao("0.18.0", "2.9.0+cpu")),
]
WITHOUT = {
    ("torchao_fp8_on_cpu", "yes"),  # no wheel holds its code
    *((f"torchao_{name}_on_sm", "yes") for name in ("mxfp4", "nvfp4")),  # seen on no GPU yet
    *((f"torchao_{name}_fits_torch", "yes") for name in ("mxfp4", "nvfp4")),
    ("bnb_blockwise_on_cpu", "no"),  # every release has it in its CPU library
    ("bnb_int8_odd_depth", "yes"),  # of the older releases it is not known
    ("torchao_has_int8", "no"),  # every known torchao has it under some name
    ("torchao_int8_any_size", "yes"),  # every release that was read falls back
    ("torchao_int8_on_sm", "no"),  # no GPU is known on which it fails
    ("igemm_row_major", "no"),  # cuBLASLt may multiply int8 on the ordinary cores
    ("triton_libdevice_found", "no"),  # every known triton has it somewhere
}


@pytest.mark.parametrize(("layer", "value", "rule", "changes"), CASES)
def test_answers(
    ask: Callable[..., Answer], layer: str, value: str, rule: str | None, changes: dict[str, Any]
) -> None:
    answer = ask(getattr(layers, layer), **changes)
    assert (answer.value, answer.rule) == (value, rule), answer.reason
    assert answer.reason
    assert (answer.value == "no") <= bool(answer.because), "a no without evidence"


def test_every_layer_is_asked_for_yes_no_and_unknown() -> None:
    names = [name for name in layers.__all__ if name.islower() and name != "together"]
    wanted = {(name, value) for name in names for value in ("yes", "no", "unknown")}
    assert wanted - {(layer, value) for layer, value, _, _ in CASES} == WITHOUT
