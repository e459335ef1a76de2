"""Put qdoctor's SwitchBackLinear where unchanged code looks for bitsandbytes'."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
import types
import warnings

import torch  # noqa: TID253 - the layers' own package

from qdoctor.nn import switchback

_WHERE = "bitsandbytes.nn.triton_based_modules"
_NAMES = (
    "SwitchBackLinear",
    "SwitchBackLinearGlobal",
    "SwitchBackLinearGlobalMemEfficient",
    "SwitchBackLinearVectorwise",
)


def install() -> None:
    """Make ``bitsandbytes.nn.triton_based_modules`` resolve to qdoctor's layers in this process.

    ``from bitsandbytes.nn.triton_based_modules import NAME`` works from then on, whether
    bitsandbytes is installed or not. If it is, ``bitsandbytes.nn`` gains the same names; if not,
    ``import bitsandbytes`` fails as before. To call once, before the code that needs it; a second
    call does nothing new. Warns when an installed bitsandbytes cannot be imported.
    """
    module = sys.modules.get(_WHERE)
    if getattr(module, "__file__", None) != __file__:
        module = sys.modules[_WHERE] = _module()
    if not _installed("bitsandbytes"):
        return
    try:
        package = importlib.import_module("bitsandbytes.nn")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - its import may fail in any way
        warnings.warn(
            f"qdoctor.nn.compat: {_WHERE} is qdoctor's now, but bitsandbytes itself cannot be "
            f"imported ({type(error).__name__}: {error}); `qdoctor check` says why",
            stacklevel=2,
        )
        return
    package.triton_based_modules = module  # type: ignore[attr-defined]
    for name in _NAMES:
        setattr(package, name, getattr(module, name))


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:  # something hides it
        return False
    except ValueError:  # something without a spec stands in its place
        return True


def _module() -> types.ModuleType:
    module = types.ModuleType(_WHERE, "qdoctor's SwitchBack layers under bitsandbytes' old name.")
    module.__spec__ = importlib.machinery.ModuleSpec(_WHERE, None, origin=__file__)
    module.__file__ = __file__  # errors name it
    for name in _NAMES:
        setattr(module, name, getattr(switchback, name))
    module.StandardLinear = torch.nn.Linear  # type: ignore[attr-defined]
    return module
