"""Turns DICOM radiographs in the VinDr-SpineXR layout into a StyleGAN2-ADA dataset."""

import click

from spine_ext.convert import convert
from spine_ext.square import RESAMPLERS
from spine_ext.vindr import LABEL_SETS
from stylegan2ada.cli import Command
from stylegan2ada.progress import ProgressLine


@click.command(cls=Command)
@click.option("--source", required=True, metavar="DIR|ZIP", help="DICOM files, e.g. of the VinDr-SpineXR layout.")
@click.option("--annotations", required=True, metavar="CSV", help="Columns image_id and lesion_type, at least.")
@click.option("--dest", required=True, metavar="ZIP|DIR", help="The dataset to write; rejects go to a CSV beside it.")
@click.option(
    "--labels",
    type=click.Choice(list(LABEL_SETS)),
    default="binary",
    show_default=True,
    help="binary: abnormal unless 'No finding'. lesion: eight classes, images with several lesion types left out.",
)
@click.option("--resolution", type=int, default=256, show_default=True, help="Side in pixels, a power of two.")
@click.option(
    "--resample",
    type=click.Choice(list(RESAMPLERS)),
    default="nearest",
    show_default=True,
    help="How the centre square is resized; the paper's is nearest.",
)
@click.option(
    "--min-side",
    "min_side_px",
    type=int,
    default=128,
    show_default=True,
    help="Images whose smaller side is shorter, in pixels, are rejected.",
)
@click.option(
    "--workers", type=int, default=None, help="Processes that decode.  [default: one per core, fewer for few images]"
)
@click.option("--overwrite", is_flag=True, help="Replace an existing dataset.")
def main(**options: object) -> None:
    """Converts a folder or zip of DICOM radiographs and their annotations CSV to a dataset for training.

    Each image is decoded, shown as its header says (modality LUT, VOI LUT or window, MONOCHROME1 inversion), cut to
    its centre square and resized to 8-bit grey. Of a source with train_images/ and test_images/, the folder named
    like the CSV is used: train_images/ for train.csv. Every input is converted or listed with its reason in
    <dest>-rejects.csv, which holds file names: keep it with the source, not with the dataset.

    \b
    Example:
      python dataset_tool_dicom.py --source vindr --annotations vindr/annotations/train.csv --dest train.zip
    """
    report = convert(progress=ProgressLine("converting", "image"), **options)
    for line in report.lines():
        click.echo(line)


if __name__ == "__main__":
    main()
