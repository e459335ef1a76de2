from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qdoctor import cache
from qdoctor.model import BadInput

if TYPE_CHECKING:
    from pathlib import Path


def test_the_environment_names_the_folder(tmp_path: Path) -> None:
    assert cache.folder({"QDOCTOR_CACHE_DIR": str(tmp_path / "c")}) == tmp_path / "c"
    assert cache.folder({}).name == "qdoctor"


def test_what_we_made_is_deleted(tmp_path: Path) -> None:
    environ = {"QDOCTOR_CACHE_DIR": str(tmp_path / "deep" / "c")}
    made = cache.made_folder(environ)
    (made / "something").write_text("x")
    assert cache.made_folder(environ) == made
    assert cache.clear(environ) == made
    assert not made.exists()
    assert cache.clear(environ) is None


def test_somebody_elses_folder_is_neither_used_nor_deleted(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    environ = {"QDOCTOR_CACHE_DIR": str(tmp_path)}
    with pytest.raises(BadInput, match="somebody else"):
        cache.made_folder(environ)
    with pytest.raises(BadInput, match="not deleted"):
        cache.clear(environ)
    assert (tmp_path / "thesis.tex").exists()


def test_a_link_to_our_folder_is_not_followed(tmp_path: Path) -> None:
    made = cache.made_folder({"QDOCTOR_CACHE_DIR": str(tmp_path / "c")})
    link = tmp_path / "link"
    link.symlink_to(made)
    with pytest.raises(BadInput):
        cache.clear({"QDOCTOR_CACHE_DIR": str(link)})
    assert made.exists()
