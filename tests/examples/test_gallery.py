"""The gallery shows every example, and what it links to is there."""

import re
from pathlib import Path

import pytest

from examples import gallery

FOLDER = Path(gallery.__file__).parent
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in ("gallery", "__init__"))
PICTURES = sorted((FOLDER / "pictures").iterdir())


def test_every_script_is_part_of_the_course():
    assert sorted(gallery.COURSE) == SCRIPTS


def test_the_page_has_a_section_for_every_script_in_order():
    assert list(gallery.read(PAGE)) == list(gallery.COURSE)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_section_has_command_output_and_heading(name):
    section = gallery.read(PAGE)[name]
    assert f". {gallery.COURSE[name][0]}\n" in section
    assert gallery.COURSE[name][1] in section
    for arguments in gallery.COURSE[name][2]:
        assert " ".join(["python", f"examples/{name}.py", *arguments]) + "\n" in section
    assert all(len(output.split()) > 3 for output in re.findall(r"```text\n(.*?)```", section, re.DOTALL))


def test_every_picture_is_there_and_used():
    assert sorted(re.findall(r"\(pictures/(.*?)\)", PAGE)) == [path.name for path in PICTURES]


def test_pictures_are_small():
    sizes = [path.stat().st_size for path in PICTURES]
    assert max(sizes) < 100_000
    assert sum(sizes) < 700_000


def test_a_section_is_written_from_what_a_script_prints(tmp_path, monkeypatch):
    (tmp_path / "neuron.py").write_text("print('net input 5 ')\n")
    monkeypatch.setattr(gallery, "HERE", tmp_path)
    section = gallery.section("neuron")
    assert "```sh\npython examples/neuron.py\n```\n\n```text\nnet input 5\n```\n" in section
    assert gallery.read("# Examples\n\n" + section) == {"neuron": section}
