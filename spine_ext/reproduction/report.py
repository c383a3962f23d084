"""Everything that reproduce.py shows: tables, figures, a plain reading, and one report that holds all of it.

Results in, files out; cheap enough to be made anew after every step.
"""

from pathlib import Path

from stylegan2ada.files import write_bytes, write_text

from . import html_page
from .auc_rows import AucRows, auc_rows
from .figure_style import Drawing
from .figures import all_figures
from .reading import Answer, answers, headline
from .results import Results, read_results
from .step_results import DataCard
from .table import Column, Table
from .tables import all_tables

TITLE = "SpineGAN: the paper's experiments, reproduced"
AUC_FIGURES = ("auc-forest", "auc-by-count", "roc")
PHANTOM_NOTICE = (
    "These are drawn phantoms, not clinical data. The numbers show that the experiment runs and what it finds on "
    "drawn shapes; they say nothing of patients, and cannot confirm or refute the paper's clinical numbers."
)
CAVEATS = (
    "The AUC of a classifier trained on synthetic images is the measure of their worth. FID, precision and recall "
    "depend on the features they compare and can rank radiographs wrongly: in the paper the better GAN has the "
    "worse FID.",
    "Intervals of AUCs add the variance of test images (by bootstrap, of whole studies where they are known) to that "
    "of seeds. With two or three seeds they are approximate, and wide where seeds differ. DeLong's intervals of single "
    "runs, in the step results, cover the test images alone and take images as independent.",
    "Comparisons are not corrected for their number: of twenty intervals of 95%, one misses its value by chance, "
    "and the best of several rows looks better than it is.",
    "GAN and classifier of one seed go together, so the spread of seeds is that of both; a row of real images has no "
    "GAN that could vary.",
    "An interval that includes zero means that no effect was seen at this size, not that there is none.",
    "Intervals of differences between GANs are Welch's, over the seeds of training; of few seeds they are very wide.",
    "Where FID, precision and recall compare features of a SpineClassifier, it is not the clinical term's, but of the "
    "same kind and for the same task: it may favour a network trained with the term for that alone.",
    "Settings are those of the preset. The epoch of a classifier is chosen on a validation part of its training "
    "images; the test images are looked at once per run, and never for selection.",
    "Synthetic images bring further steps of training. What these alone do shows in the row of real images that is "
    "trained for about as many, in whole epochs; smaller numbers of synthetic images have no such row.",
    "Training on synthetic images alone chooses its epoch on synthetic images, and takes other numbers of images and "
    "steps than training on real ones.",
    "GANs are judged at the end of training, not at their best snapshot.",
)


def write_all(out_dir: Path) -> list[Path]:
    """Reads OUT/steps and writes OUT/tables/*.md and *.csv, OUT/figures/*.png, OUT/reading.md and OUT/report.html.

    Steps that have not run show as "not run"; step files that are broken are named in the report. Returns the paths.
    """
    results = read_results(out_dir)
    rows = auc_rows(results)
    tables = all_tables(results, rows)
    drawings, unreadable = all_figures(results, rows)
    problems = [*results.problems, *rows.problems, *unreadable]
    said = answers(results, rows)
    texts = {out_dir / "tables" / f"{table.name}.md": table.markdown() for table in tables}
    texts |= {out_dir / "tables" / f"{table.name}.csv": table.csv() for table in tables}
    texts[out_dir / "reading.md"] = reading_markdown(results, headline(rows), said, problems)
    texts[out_dir / "report.html"] = report_html(results, rows, tables, drawings, said, problems)
    for path, text in texts.items():
        write_text(path, text)
    pictures = {out_dir / "figures" / f"{drawing.name}.png": drawing.png for drawing in drawings}
    for path, png in pictures.items():
        write_bytes(path, png)
    return [*texts, *pictures]


def reading_markdown(results: Results, first: str, said: list[Answer], problems: list[str]) -> str:
    """The headline, the questions with their answers, and the caveats."""
    parts = ["# What the numbers say", *([f"**{notice}**"] if (notice := _notice(results)) else []), first]
    for answer in said:
        parts += [f"## {answer.question}", "\n".join(f"* {sentence}" for sentence in answer.sentences)]
    parts += ["## What to keep in mind", "\n".join(f"* {caveat}" for caveat in CAVEATS)]
    if problems:
        parts += ["## Left out", "\n".join(f"* {problem}" for problem in problems)]
    return "\n\n".join(parts) + "\n"


def report_html(results: Results, rows: AucRows, tables: list[Table], drawings: list[Drawing], said: list[Answer],
                problems: list[str]) -> str:  # fmt: skip
    """The whole report as one file without outside resources."""
    table = {each.name: each.html() for each in tables}
    figure = {each.name: html_page.figure(each) for each in drawings}
    sections = {
        "reading": ("What the numbers say", _reading(said)),
        "downstream": ("Worth downstream", table["table-1-auc"] + "".join(figure[name] for name in AUC_FIGURES)),
        "image-metrics": (
            "Image metrics", table["table-2-image-metrics"] + figure["figure-2-metrics"] + table["ablation-gamma"]
        ),
        "samples": ("Samples", figure["figure-4-samples"]),
        "classes": ("Eight classes", table["agreement"] + figure["agreement-matrix"] + figure["samples-by-lesion"]),
        "private": ("Private variant", table["private"] + figure["figure-1-epsilon"] + figure["figure-3-private"]),
        "data": ("Data", _data(results)),
        "training": ("Training", figure["training-curves"] + _gan_settings(results)),
        "caveats": ("What to keep in mind", html_page.bullets(CAVEATS)),
        "settings": ("Settings, versions and time", _settings(results) + table["timings"]),
    }  # fmt: skip
    head = [f"<header>\n<h1>{TITLE}</h1>", html_page.paragraph(_state(results), "quiet")]
    if notice := _notice(results):
        head.append(html_page.box("notice", "Notice", [notice]))
    head.append(html_page.paragraph(headline(rows), "lead"))
    if problems:
        head.append(html_page.box("problems", "Problems", ["Left out, because it is broken or gone:", *problems]))
    head += [html_page.contents({anchor: title for anchor, (title, _) in sections.items()}), "</header>"]
    body = [html_page.section(anchor, title, content) for anchor, (title, content) in sections.items()]
    return html_page.page(TITLE, [*head, "<main>", *body, "</main>"])


def _notice(results: Results) -> str | None:
    return PHANTOM_NOTICE if results.is_phantom else results.notice


def _reading(said: list[Answer]) -> str:
    return "".join(f"{html_page.heading(answer.question)}{html_page.bullets(answer.sentences)}" for answer in said)


def _state(results: Results) -> str:
    minutes = sum(each.seconds for each in results.timings) / 60
    preset = results.settings.get("preset", "unknown")
    return f"Preset {preset}; {len(results.timings)} steps finished in {minutes:,.0f} minutes of work."


def _data(results: Results) -> str:
    data = results.data
    if data is None:
        return html_page.paragraph("Not run.")
    facts = {"Name": data.name, "Resolution": f"{data.resolution_px} px", "Notice": data.notice or "none"}
    cards = {"Two classes": data.binary, **({"Lesion classes": data.lesions} if data.lesions else {})}
    return html_page.definitions(facts) + "".join(_card(title, card).html() for title, card in cards.items())


def _card(title: str, card: DataCard) -> Table:
    columns = (Column("Class"), Column("Training images", 0), Column("Test images", 0))
    lines = list(zip(card.class_names, card.train.by_class, card.test.by_class, strict=True))
    studies = [float(split.studies) if split.studies is not None else "unknown" for split in (card.train, card.test)]
    lines += [("All", float(card.train.images), float(card.test.images)), ("Studies", *studies)]
    return Table("data", title, columns, tuple(lines))


def _gan_settings(results: Results) -> str:
    found = []
    for gan in results.gans:
        speed = "" if gan.sec_per_kimg is None else f", {1000 / gan.sec_per_kimg:,.1f} images/s"
        summary = f"{gan.variant}, seed {gan.seed}: {gan.kimg:g} kimg, γ {gan.gamma_clinical:g}{speed}"
        found.append(html_page.folded(summary, gan.config))
    return "".join(found) or html_page.paragraph("Not run.")


def _settings(results: Results) -> str:
    parts = [html_page.heading("Settings"), html_page.definitions(results.settings or {"Settings": "unknown"})]
    return "".join(
        [*parts, html_page.heading("Versions"), html_page.definitions(results.environment or {"Versions": "unknown"})]
    )
