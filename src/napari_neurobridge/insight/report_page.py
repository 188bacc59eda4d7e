"""A page of HTML that is one file: pictures inside, no scripts, nothing from a network."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

_DPI = 160
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff;
       max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; margin-bottom: 0.2rem; } h2 { font-size: 1.25rem; margin-top: 2.2rem; }
table { border-collapse: collapse; margin: 0.6rem 0; font-size: 0.92rem; }
th, td { text-align: left; padding: 0.2rem 1rem 0.2rem 0; border-bottom: 1px solid #ddd;
         vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0; } figure img { width: 600px; max-width: 100%; }
figcaption, .hint { color: #555; font-size: 0.92rem; }
.limits { border-left: 4px solid #d55e00; padding: 0.1rem 1rem; background: #fdf3ec; }
pre { white-space: pre-wrap; font-size: 0.85rem; } summary { cursor: pointer; }
@media print { body { max-width: none; } h2 { break-after: avoid; }
               figure { break-inside: avoid; } }
"""


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes
    ----------
    title : str
        Its heading.
    parts : tuple of str
        Pieces of HTML, as the functions of this module make them.
    """

    title: str
    parts: tuple[str, ...]


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """Return a whole HTML document."""
    body = "\n".join(
        "\n".join((f"<h2>{escape(section.title)}</h2>", *section.parts)) for section in sections
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{escape(title)}</h1>\n<p class="hint">{escape(lead)}</p>\n{body}\n</body>\n</html>\n'
    )


def paragraph(text: str, *, kind: str = "") -> str:
    """Return a paragraph; ``kind`` is "hint" for lesser words, "limits" for a warning."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def facts(rows: Sequence[tuple[str, str]]) -> str:
    """Return a table of names and values."""
    lines = (f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 1) -> str:
    """Return a table whose columns after the first ``words`` hold numbers, set to the right."""
    kinds = ["" if column < words else ' class="number"' for column in range(len(header))]

    def line(cells: Sequence[str], tag: str) -> str:
        inner = (
            f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True)
        )
        return f"<tr>{''.join(inner)}</tr>"

    return "\n".join(
        ("<table>", line(header, "th"), *(line(row, "td") for row in rows), "</table>")
    )


def picture(figure: Figure, caption: str) -> str:
    """Return a figure as an image inside the page, with words for those who cannot see it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, facecolor=figure.get_facecolor())
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    words = escape(caption)
    return (
        f'<figure><img alt="{escape(caption, quote=True)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{words}</figcaption></figure>"
    )


def folded(title: str, text: str) -> str:
    """Return a long text that opens when its title is clicked."""
    return f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>"
