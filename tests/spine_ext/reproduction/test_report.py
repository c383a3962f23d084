"""The report: one whole, safe, self-contained HTML file, whatever results there are."""

import html.parser
import io
import itertools
import json
import re
from pathlib import Path

import numpy as np
import PIL.Image

from spine_ext.reproduction.report import PHANTOM_NOTICE, write_all
from tests.spine_ext.reproduction.made_up_results import MadeUpRun

VOID = {"meta", "img", "br", "hr", "input", "link"}
FILES = {"report.html", "reading.md", "tables/table-1-auc.md", "tables/table-1-auc.csv", "figures/auc-forest.png",
         "figures/figure-1-epsilon.png", "figures/figure-2-metrics.png", "figures/figure-3-private.png",
         "figures/figure-4-samples.png"}  # fmt: skip


class Checker(html.parser.HTMLParser):
    """Balanced tags, ids, links and pictures of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, dict[str, str]]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_page(path: Path) -> Checker:
    text = path.read_text(encoding="utf-8")
    page = Checker(text)
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.tags)
    ids = [values["id"] for _, values in page.attributes if "id" in values]
    assert len(ids) == len(set(ids))
    for tag, values in page.attributes:
        assert not any(name.startswith("on") for name in values)
        if tag == "img":
            assert values["src"].startswith("data:image/png;base64,")
            assert len(values["alt"]) > 20
        if tag == "a":
            assert values["href"].removeprefix("#") in ids
    without_pictures = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", text)
    assert not re.search(r"https?:|//[a-z]|url\(|@import|file:", without_pictures)
    headings = [int(tag[1]) for tag in page.tags if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(headings))
    return page


def test_a_complete_run(tmp_path: Path) -> None:
    run = MadeUpRun(tmp_path / "out", test_images=60)
    run.everything()
    paths = write_all(run.folder)
    assert {str(path.relative_to(run.folder)) for path in paths} >= FILES
    assert all(path.stat().st_size > 0 for path in paths)
    for path in paths:
        if path.suffix == ".png":
            pixels = np.asarray(PIL.Image.open(io.BytesIO(path.read_bytes())).convert("L"))
            assert pixels.std() > 5, f"{path.name} is empty"
    page = check_page(run.folder / "report.html")
    assert page.tags.count("img") == 10
    assert page.tags.count("table") >= 8
    text = (run.folder / "report.html").read_text()
    assert text.index(PHANTOM_NOTICE.split("'")[0]) < text.index("Table 1")
    assert "Left out" not in text
    reading = (run.folder / "reading.md").read_text()
    assert "not clinical data" in reading
    for sentence in re.findall(r"^\* (SpineGAN minus.*)$", reading, flags=re.MULTILINE):
        assert sentence in text


def test_the_same_results_make_the_same_files(tmp_path: Path) -> None:
    run = MadeUpRun(tmp_path / "out", test_images=30, seeds=1)
    run.data()
    run.auc("true", None, 0, 0, 1.5)
    first = {path: path.read_bytes() for path in write_all(run.folder)}
    assert {path: path.read_bytes() for path in write_all(run.folder)} == first


def test_nothing_run_yet(tmp_path: Path) -> None:
    write_all(tmp_path)
    check_page(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "not run" in text
    assert "not known yet" in text


def test_one_seed_of_one_gan(tmp_path: Path) -> None:
    run = MadeUpRun(tmp_path / "out", test_images=30, seeds=1)
    run.data()
    run.real_metrics()
    run.agreement()
    run.gan("spinegan", 0, 4.0)
    run.auc("true+spinegan-200", "spinegan", 200, 0, 1.4)
    write_all(run.folder)
    check_page(run.folder / "report.html")
    assert "with one seed" in (run.folder / "tables" / "table-1-auc.md").read_text()


def test_broken_results_are_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    run = MadeUpRun(tmp_path / "out", test_images=30)
    run.everything()
    (run.folder / "steps" / "data.json").write_text("{")
    (run.folder / "work" / "samples-real" / "samples.png").write_bytes(b"no picture")
    (run.folder / "work" / "samples-spinegan" / "samples.png").unlink()
    (run.folder / "work" / "auc-true-seed0" / "predictions.csv").write_text("image\n1\n")
    write_all(run.folder)
    check_page(run.folder / "report.html")
    reading = (run.folder / "reading.md").read_text()
    for name in ("data.json cannot be read", "samples-real/samples.png: it is no PNG", "samples-spinegan is gone",
                 "auc-true-seed0/predictions.csv holds no predictions"):  # fmt: skip
        assert name in reading


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    run = MadeUpRun(tmp_path / "out", test_images=30)
    run.everything()
    evil = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
    for path in sorted((run.folder / "steps").glob("*.json")):
        record = json.loads(path.read_text())
        if record["kind"] in ("data", "agreement"):
            names = record["result"]["class_names"]
            record["result"]["class_names"] = [evil, *names[1:]]
            record["result"]["name"] = evil
        if record["kind"] == "gan":
            record["result"]["config"] = {evil: evil}
        if record["kind"] == "metrics":
            record["result"]["detector"]["note"] = evil
        if record["kind"] == "samples":
            record["step"] = evil
        path.write_text(json.dumps(record))
    (run.folder / "reproduction.json").write_text(json.dumps({"preset": evil, evil: evil, "counts": {evil: 3}}))
    write_all(run.folder)
    check_page(run.folder / "report.html")


def test_other_data_say_what_they_are(tmp_path: Path) -> None:
    run = MadeUpRun(tmp_path / "out", test_images=30)
    run.data()
    path = run.folder / "steps" / "data.json"
    path.write_text(path.read_text().replace("built-in phantom: drawn shapes, not clinical data", "synthetic images"))
    write_all(run.folder)
    assert "**synthetic images**" in (run.folder / "reading.md").read_text()
    assert PHANTOM_NOTICE.split("'")[0] not in (run.folder / "report.html").read_text()
