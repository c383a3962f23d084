"""One self-contained HTML file: styles inline, pictures as data URIs, no scripts, all text escaped."""

import base64
import html
import io
import json
from collections.abc import Iterable

import PIL.Image

from .figure_style import Drawing

SHOWN_PER_PIXEL = 0.8  # pictures are drawn finer than screens show them; one factor keeps their letters of one size

CSS = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 2rem 1.25rem 5rem; background: #fff; color: #1a1a1a;
  font: 1rem/1.6 system-ui, "Segoe UI", "Helvetica Neue", "DejaVu Sans", Arial, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.3rem; margin: 3rem 0 .8rem; padding-top: .7rem; border-top: 1px solid #d9d9d9; }
h3 { font-size: 1rem; margin: 1.3rem 0 .2rem; }
p, ul, dl { max-width: 46rem; margin: .5rem 0; }
ul { padding-left: 1.2rem; }
.lead { font-size: 1.2rem; line-height: 1.5; border-left: 4px solid #0072b2; padding-left: 1rem; margin: 1.2rem 0; }
.notice { background: #fff4d6; border: 1px solid #b8860b; border-radius: 4px; padding: .7rem 1rem; max-width: 46rem; }
.problems { background: #fdecea; border: 1px solid #b3261e; border-radius: 4px; padding: .7rem 1rem; max-width: 46rem; }
.problems p, .notice p { margin: .2rem 0; overflow-wrap: anywhere; }
.quiet, .notes, figcaption { color: #555; font-size: .88rem; }
nav ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; max-width: none; }
a { color: #00578a; }
.scroll { overflow-x: auto; margin: 1.2rem 0 .3rem; }
.scroll:focus-visible { outline: 2px solid #0072b2; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; font-size: .95rem; padding: 0 0 .5rem; }
th, td { padding: .28rem .55rem; line-height: 1.4; text-align: left; vertical-align: top;
  border-bottom: 1px solid #e6e6e6; }
thead th { border-bottom: 2px solid #1a1a1a; vertical-align: bottom; line-height: 1.25; min-width: 4rem; }
tbody th { font-weight: 500; white-space: nowrap; }
.number { text-align: right; }
td.number { white-space: nowrap; }
td small { display: block; color: #555; font-size: .78rem; line-height: 1.25; }
td.missing { color: #767676; font-style: italic; }
figure { margin: 1.6rem 0; }
figure img { max-width: 100%; height: auto; display: block; }
figcaption { margin-top: .4rem; max-width: 46rem; }
figcaption strong { color: #1a1a1a; }
dl { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: .15rem 1.2rem; font-size: .92rem; }
dt { color: #555; } dd { margin: 0; overflow-wrap: anywhere; }
pre { overflow-x: auto; background: #f6f6f6; padding: .8rem; font-size: .78rem; line-height: 1.4; }
summary { cursor: pointer; }
@media print {
  body { max-width: none; padding: 0; font-size: 9.5pt; } nav { display: none; } .scroll { overflow: visible; }
  table { font-size: 7pt; } th, td { padding: .15rem .25rem; } thead th { min-width: 0; } h2, h3 { break-after: avoid; }
  tbody th { white-space: normal; } figure, tr, .notice { break-inside: avoid; }
}
"""


def page(title: str, body: Iterable[str]) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def section(anchor: str, title: str, *content: str) -> str:
    return (
        f'<section aria-labelledby="{anchor}">\n<h2 id="{anchor}">{html.escape(title)}</h2>\n'
        + "\n".join(content)
        + "\n</section>"
    )


def heading(text: str) -> str:
    return f"<h3>{html.escape(text)}</h3>"


def paragraph(text: str, kind: str = "") -> str:
    return f"<p{_class(kind)}>{html.escape(text)}</p>"


def bullets(texts: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{html.escape(text)}</li>" for text in texts) + "</ul>"


def box(kind: str, label: str, texts: Iterable[str]) -> str:
    inner = "".join(f"<p>{html.escape(text)}</p>" for text in texts)
    return f'<div class="{kind}" role="note" aria-label="{html.escape(label)}">{inner}</div>'


def definitions(values: dict[str, object]) -> str:
    pairs = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(_shown(value))}</dd>" for name, value in values.items()
    )
    return f"<dl>{pairs}</dl>"


def folded(summary: str, value: object) -> str:
    """JSON that opens on a click."""
    text = html.escape(json.dumps(value, indent=1, ensure_ascii=False))
    return f"<details><summary>{html.escape(summary)}</summary><pre>{text}</pre></details>"


def figure(drawing: Drawing) -> str:
    data = base64.b64encode(drawing.png).decode("ascii")
    width_px = round(PIL.Image.open(io.BytesIO(drawing.png)).width * SHOWN_PER_PIXEL)
    caption = f"<strong>{html.escape(drawing.title)}.</strong> {html.escape(drawing.caption)}"
    return (
        f'<figure>\n<img src="data:image/png;base64,{data}" width="{width_px}" alt="{html.escape(drawing.alt)}">\n'
        f"<figcaption>{caption}</figcaption>\n</figure>"
    )


def contents(sections: dict[str, str]) -> str:
    links = "".join(f'<li><a href="#{anchor}">{html.escape(title)}</a></li>' for anchor, title in sections.items())
    return f'<nav aria-label="Contents"><ul>{links}</ul></nav>'


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
