"""Docstrings and stubs: what they show runs, and what they name is there."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import igpt
import pytest

PACKAGE = Path(igpt.__file__).parent


def public() -> Iterator[tuple[str, Any]]:
    """Every public function, class, method and property, with its name."""
    for name in [*(f"igpt.{name}" for name in igpt.__all__), "igpt.data.load", "igpt.data.Split"]:
        found: Any = igpt
        for part in name.split(".")[1:]:
            found = getattr(found, part)
        if inspect.ismodule(found) or isinstance(found, str):
            continue
        yield name, found
        if inspect.isclass(found) and not issubclass(found, (tuple, Exception)):
            for member, value in vars(found).items():
                if not member.startswith("_") and (callable(value) or isinstance(value, (property, classmethod))):
                    yield f"{name}.{member}", getattr(found, member)


def sections(text: str) -> dict[str, list[str]]:
    """The sections of a docstring of NumPy's convention: heading to lines."""
    lines = inspect.cleandoc(text).splitlines()
    found: dict[str, list[str]] = {"": []}
    current = ""
    for i, line in enumerate(lines):
        if i + 1 < len(lines) and lines[i + 1] and set(lines[i + 1]) == {"-"}:
            assert len(lines[i + 1]) == len(line), f"{line}: its underline has another length"
            current = line
            found[current] = []
        elif not (line and set(line) == {"-"}):
            found[current].append(line)
    return found


@pytest.mark.parametrize(("name", "what"), list(public()))
def test_every_public_name_is_documented(name: str, what: Any) -> None:
    text = inspect.getdoc(what)
    assert text, name
    summary = inspect.cleandoc(text).splitlines()
    assert summary[0].endswith((".", ";", ":")) or len(summary) > 1


FUNCTIONS = [(name, what) for name, what in public() if inspect.isroutine(what)]


@pytest.mark.parametrize(("name", "what"), FUNCTIONS)
def test_every_parameter_is_documented_in_the_order_of_the_signature(name: str, what: Any) -> None:
    parameters = [p for p in inspect.signature(what).parameters if p not in ("self", "cls")]
    if not parameters:
        return
    lines = sections(what.__doc__)["Parameters"]
    heads = [line for line in lines if line and not line.startswith(" ")]
    assert all(" : " in head for head in heads), name
    documented = [one.strip() for head in heads for one in head.split(" : ")[0].split(",")]
    assert documented == parameters


@pytest.mark.parametrize(("name", "what"), FUNCTIONS)
def test_what_is_returned_is_documented_with_shape_and_type(name: str, what: Any) -> None:
    returned = inspect.signature(what).return_annotation
    if returned in (None, "None"):
        return
    lines = sections(what.__doc__)["Returns"]
    text = " ".join(lines)
    if "NDArray" in str(returned):
        assert any(kind in text for kind in ("uint8", "uint16", "int64", "float32", "float64")), name
        assert "(" in text, f"{name}: no shape"


@pytest.mark.parametrize("name", ["igpt", "igpt.data", "igpt._images", "igpt._model", "igpt._palette", "igpt._training"])
def test_examples_run(name: str) -> None:
    __import__(name)
    found = doctest.testmod(sys.modules[name])
    assert found.failed == 0
    if name == "igpt":
        assert found.attempted >= 3


def test_the_public_names_are_those_of_the_package() -> None:
    assert set(igpt.__all__) <= set(dir(igpt))
    assert igpt.__all__ == sorted(igpt.__all__)
    assert (PACKAGE / "py.typed").exists() and (PACKAGE / "_igpt.pyi").exists()


@pytest.mark.parametrize("check", [["mypy", "--strict", "-p", "igpt"], ["mypy.stubtest", "igpt._igpt"]], ids=lambda c: c[0])
def test_types_are_sound(check: list[str], tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", *check]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
