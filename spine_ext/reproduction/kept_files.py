"""Pictures and predictions that the report shows, kept beside the results of their steps.

So the folder with the results is all that a report needs: the one with the work, large as it is, may go.
"""

from pathlib import Path

from stylegan2ada.files import write_bytes

from .records import BrokenRecord, read_record
from .step_results import StepFiles
from .steps import STEPS_FOLDER

SHOWN = {"auc": "predictions", "samples": "figure"}  # what names the file in a result of this kind


def keep_shown_files(folder: Path) -> None:
    """Copies them from OUT/work to OUT/steps/<step>, where that has not been done; broken results are passed over."""
    for path in sorted((folder / STEPS_FOLDER).glob("*.json")):
        try:
            record = read_record(path)
            field = SHOWN.get(record.text("kind"))
            files = StepFiles(folder, path.stem)
            name = None if field is None else record.record("result").text(field)
            source = None if name is None else files.find_work(name)
        except BrokenRecord:
            continue  # the report names it
        if source is not None and not _is_copy(kept := files.kept(name), source):
            write_bytes(kept, source.read_bytes())


def _is_copy(kept: Path, source: Path) -> bool:
    """By size and time, as the report is made often."""
    if not kept.is_file():
        return False
    copy, original = kept.stat(), source.stat()
    return copy.st_size == original.st_size and copy.st_mtime >= original.st_mtime
