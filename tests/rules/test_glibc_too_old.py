"""glibc-too-old: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "glibc-too-old"


def test_fires_on_an_old_system(ask: Ask) -> None:
    found = ask("h100", host={"libc": "glibc 2.17"})[NAME]
    assert found.severity == "error"
    assert found.fixes[-1].action == "upgrade-os"


def test_is_silent_on_a_new_one(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_is_silent_where_the_libc_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("h100", host={"libc": None})


def test_a_text_accuses_where_the_libc_is_unknown(ask: Ask) -> None:
    text = "ImportError: /lib/libc.so.6: version `GLIBC_2.38' not found (required by libtriton.so)"
    found = ask("h100", error=text, host={"libc": None})[NAME]
    assert found.explains_error
    assert "GLIBC_2.38" in found.title


def test_a_newer_cxx_library_comes_without_a_newer_system(ask: Ask) -> None:
    text = (
        "ImportError: /lib64/libstdc++.so.6: version `GLIBCXX_3.4.30' not found (required by x.so)"
    )
    fixes = ask("h100", error=text, host={"libc": None})[NAME].fixes
    assert [(fix.action, fix.package) for fix in fixes] == [
        ("install-system", "libstdcxx-ng"),
        ("upgrade-os", None),
    ]


EXTENSION = {
    "package": "flash-attn",
    "file": "flash_attn_2_cuda.so",
    "sm": ["sm_90"],
    "glibc": "2.38",
    "glibcxx": "3.4.32",
}


def test_any_package_s_library_counts(ask: Ask) -> None:
    found = ask("h100", native=[EXTENSION])[NAME]
    assert "GLIBC_2.38" in found.because[0].text
    assert [fix.action for fix in found.fixes] == ["upgrade-os", "rebuild"]


def test_the_cxx_library_counts_too(ask: Ask) -> None:
    found = ask("h100", native=[{**EXTENSION, "glibc": "2.17"}], host={"glibcxx": "3.4.30"})[NAME]
    assert "GLIBCXX_3.4.32" in found.because[0].text


def test_is_silent_on_new_libraries_and_unknown_ones(ask: Ask) -> None:
    assert NAME not in ask("h100", native=[EXTENSION], host={"libc": "glibc 2.39"})
    assert NAME not in ask("h100", native=[{**EXTENSION, "glibc": "2.17"}])


MUSL = {"os": "linux", "libc": "musl 1.2", "glibcxx": None}
LOADER = (
    "OSError: Error relocating /usr/local/lib/python3.9/site-packages/torch/lib/libgomp.so.1: "
    "pthread_attr_setaffinity_np: symbol not found"
)


def test_musl_is_told_by_its_loader_whatever_the_system_states(ask: Ask) -> None:
    for host in (MUSL, {"libc": None, "glibcxx": None}):
        first = next(iter(ask("a100", error=LOADER, host=host, native=None).values()))
        assert (first.rule, first.fixes[0].action) == (NAME, "upgrade-os")
        assert "musl" in first.title


def test_a_release_that_is_not_known_has_no_wheel_for_musl_either(ask: Ask) -> None:
    packages = {"torch": "1.10.1", "triton": None, "bitsandbytes": None}
    old = ask("a100", host=MUSL, packages=packages, native=None, torch_cuda=None)
    assert "no known release of torch has a wheel for musl" in old[NAME].because[0].text
    glibc = {"os": "linux", "libc": "glibc 2.35"}
    assert NAME not in ask("a100", host=glibc, packages=packages, native=None, torch_cuda=None)


def test_a_package_that_a_text_accuses_may_be_built_here(ask: Ask) -> None:
    text = "libc.so.6: version `GLIBC_2.32' not found (required by /x/flash_attn_2_cuda.so)"
    fixes = ask("h100", error=text, host={"libc": None})[NAME].fixes
    assert [one.action for one in fixes] == ["upgrade-os", "rebuild"]


def test_a_text_that_asks_for_more_than_the_stated_libc_outweighs_what_the_wheels_need(
    ask: Ask,
) -> None:
    line = "ImportError: /lib64/libm.so.6: version `GLIBC_{}' not found (required by /x/y.so.10)"
    host = {"os": "linux", "machine": "x86_64", "libc": "glibc 2.17"}
    machine = {"host": host, "packages": {"torch": "2.5.1"}, "native": None}
    assert ask("a100", error=line.format("2.27"), **machine)[NAME].explains_error
    assert NAME not in ask("a100", error=line.format("2.14"), **machine)
