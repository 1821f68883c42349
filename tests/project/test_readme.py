"""What the README and the examples say is what happens."""

import doctest
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_every_example_of_the_readme_prints_what_it_says(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(
        str(ROOT / "README.md"), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert tried > 25
    assert failed == 0


def test_the_readme_shows_pictures_that_exist():
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert pictures
    assert all((ROOT / picture).is_file() for picture in pictures)


def test_the_readme_names_exactly_two_make_targets_and_the_makefile_has_them():
    named = set(re.findall(r"^make ([\w-]+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert named == {"demo", "test"}
    assert all(re.search(rf"^{name}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE) for name in named)


def test_every_nmech_command_of_the_readme_parses(capsys):
    import nmech

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^nmech (.+)$", text, re.MULTILINE)
    assert len(lines) >= 4
    for line in lines:
        assert nmech._parser().parse_args(line.split()).command == line.split()[0]


def test_the_example_attaches_and_meets_the_exact_law(tmp_path, capsys):
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib").use("Agg")
    spec = importlib.util.spec_from_file_location("attach_to_your_run", ROOT / "examples" / "attach_to_your_run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main(tmp_path) < 1e-12
    assert (tmp_path / "report.html").stat().st_size > 10_000
