"""HTML of a self-contained report. Text from a study's files is escaped."""

import base64
import html
import math
from collections.abc import Iterable

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 13px; }
th, td { padding: .25rem .6rem; text-align: right; }
th { border-bottom: 1px solid #999; } td:first-child, th:first-child, .text td, .text th { text-align: left; }
tr:nth-child(even) { background: #f6f6f6; } img { max-width: 100%; } .scroll { overflow-x: auto; }
.supported { color: #17692b; } .contradicted { color: #a01717; } figcaption { font-size: 13px; color: #555; }
.text td:first-child { min-width: 12rem; } .answer { font-size: 16px; } .answer li { margin: .4rem 0; }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """A page with a title, from parts in HTML."""
    title = html.escape(title)
    head = f'<head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style></head>'
    return f"<!doctype html>\n<html lang=en>{head}<body><h1>{title}</h1>\n{chr(10).join(parts)}\n</body></html>\n"


def heading(text: str) -> str:
    """A section's heading."""
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str) -> str:
    """A paragraph of text."""
    return f"<p>{html.escape(text)}</p>"


def sentences(items: Iterable[tuple[str, str, str]]) -> str:
    """A list of (verdict, claim, numbers), a sentence each."""
    lines = (
        f"<li><b{_kind(verdict)}>{html.escape(verdict.capitalize())}:</b> {html.escape(claim.rstrip('.'))} "
        f"({html.escape(found)}).</li>"
        for verdict, claim, found in items
    )
    return f"<ul class=answer>{''.join(lines)}</ul>"


def table(columns: Iterable[object], rows: Iterable[Iterable[object]], *, text: bool = False) -> str:
    """A table. Numbers have four digits. `text` aligns all columns to the left."""
    head = "".join(f"<th>{html.escape(str(column))}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in rows)
    kind = " class=text" if text else ""
    return f"<div class=scroll><table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _cell(value):
    return f"<td{_kind(value)}>{html.escape(number(value))}</td>"


def _kind(value):
    """The class of a verdict that has a colour, as an attribute."""
    return f" class={value}" if value in ("supported", "contradicted") else ""


def number(value: object) -> str:
    """A float with four digits, ∞ for infinity, "" for nan; other values as `str`."""
    if not isinstance(value, float):
        return str(value)
    if math.isnan(value):
        return ""
    return f"{value:.4g}" if math.isfinite(value) else ("∞" if value > 0 else "−∞")


def figure(png: bytes, caption: str) -> str:
    """A figure with a caption, from the bytes of a PNG."""
    data = base64.b64encode(png).decode()
    text = html.escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'
