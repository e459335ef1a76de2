"""Runs inside the examined interpreter: ``python -B _in_target.py CONTROL_DIR``.

Only the front door: it parses under every Python since 2.7, so that an interpreter that is too old
says so itself; the reading is done by ``_in_target_reader.py`` beside it. The answer is
CONTROL_DIR/answer.json, never stdout, which site hooks of the examined environment may print to.
No functions here: without annotations they could not be typed, and with them not be parsed.
"""

import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
# Our own folder is no part of the patient's import path (and is not there under -P). Python puts
# the folder there that a link to this file leads to (uv can install links into its cache).
linked = os.path.dirname(os.path.realpath(__file__))
if sys.path and os.path.abspath(sys.path[0]) in (here, linked):
    del sys.path[0]

# Nor may a json.py on PYTHONPATH be taken for Python's by us; what it does to others is told.
path = list(sys.path)
library = os.path.dirname(os.__file__)
sys.path[:0] = [library, os.path.join(library, "lib-dynload")]

import json  # noqa: E402 - only now can it not be taken from elsewhere

control = sys.argv[1]
answer = {"unsupported": ".".join(str(part) for part in sys.version_info[:3])}
if sys.version_info >= (3, 6):
    reader = os.path.join(here, "_in_target_reader.py")
    scope = {"__name__": "_in_target_reader", "__file__": reader}
    with open(reader, "rb") as source:
        exec(compile(source.read(), reader, "exec"), scope)  # noqa: S102 - our own file, by path
    sys.path[:] = path
    answer = scope["read"]()  # type: ignore[operator]
partial = os.path.join(control, "answer.partial")
with open(partial, "w") as out:  # ASCII only; Python 2 knows no encoding=
    json.dump(answer, out)
os.rename(partial, os.path.join(control, "answer.json"))
