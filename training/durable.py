"""Files and folders that are there complete or not at all, after a power cut too."""

import os
import shutil
from pathlib import Path


def put_in_place(part: Path, folder: Path) -> None:
    """Give a finished folder its name; an older one makes room for it.

    Everything is on the disk before the name is: a folder that is there after a power cut is whole.
    """
    for file in part.iterdir():
        _to_disk(file)
    _to_disk(part)
    if folder.exists():
        shutil.rmtree(folder)
    part.rename(folder)
    _to_disk(folder.parent)


def write_durably(file: Path, content: str) -> None:
    """Write a file that is there complete or not at all, after a power cut too."""
    part = file.with_name(f".{file.name}.part")
    part.write_text(content)
    _to_disk(part)
    part.replace(file)
    _to_disk(file.parent)


def _to_disk(path: Path) -> None:
    """Wait until a file, or the list of names in a folder, is on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError:
        # Some network shares cannot do this for folders.
        if not path.is_dir():
            raise
    finally:
        os.close(opened)
