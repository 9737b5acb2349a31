"""The course has a section for every example, and its pictures are there."""

import re
from pathlib import Path

from examples import gallery

FOLDER = Path(gallery.__file__).parent
TEXT = (FOLDER / "README.md").read_text(encoding="utf-8")


def test_every_example_is_part_of_the_course():
    scripts = {path.stem for path in FOLDER.glob("*.py")} - {"gallery"}
    assert set(gallery.COURSE) == scripts
    assert re.findall(r"^python examples/(\w+)\.py$", TEXT, re.MULTILINE) == list(gallery.COURSE)


def test_every_picture_is_there_and_small():
    pictures = re.findall(r"!\[.*\]\((.*)\)", TEXT)
    assert pictures
    for path in pictures:
        assert 0 < (FOLDER / path).stat().st_size < 300_000, path
