"""Stands in for the kernel of its name: quick sums on the CPU, held against a closed form."""

import sys

PROBE = {
    "name": "cublaslt_igemm",
    "title": "Sums of squares",
    "needs": [],
    "modes": ["run"],
    "seconds": 20,
    "memory_mib": 160,
    "quick": True,
    "variants": ["row-major", "col4_4r2_8c", "col32_2r_4r4", "awkward"],
    "tolerance": 0.0,
}


def phase(text):
    """The harness puts its own in this place."""


def run(request):
    made = sys.modules["qdoctor_kernel__outcomes"]
    for variant, count in zip(PROBE["variants"], (10, 20, 50, 100)):
        phase("summing for " + variant)
        error = abs(sum(i * i for i in range(count)) - reference(count))
        numbers = {"max_abs_error": error, "tolerance": PROBE["tolerance"]}
        if error <= PROBE["tolerance"]:  # False for NaN
            yield made.outcome("passed", variant=variant, numbers=numbers)
        else:
            yield made.outcome("wrong", variant=variant, numbers=numbers, code="wrong-value")


def reference(count):
    return (count - 1) * count * (2 * count - 1) // 6
