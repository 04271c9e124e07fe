"""The demonstration's result as one HTML page that needs nothing but itself."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorale_mesh.demo import drawing
from chorale_mesh.demo.journey import Chapter
from chorale_mesh.demo.song import Song

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --paper: #fbfaf7; --line: #d9d4c8;
  --accent: #0f6f78; --warm: #c2571a; --soft: #6b7280; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e6e1; --paper: #16181d; --line: #33373f;
  --accent: #5cc3c9; --warm: #f0975a; --soft: #9aa1ac; } }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 62rem; background: var(--paper);
  color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.9rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2.4rem 0 .5rem; }
p.lead, footer { color: var(--soft); } audio { width: 100%; margin: 1rem 0 .5rem; }
svg { width: 100%; height: auto; display: block; margin: .5rem 0; overflow: visible; }
svg text { font: 12px system-ui, sans-serif; fill: var(--soft); }
.wave { stroke: var(--accent); stroke-width: 1.5; } .beat { stroke: var(--warm); opacity: .55; }
.curve { fill: none; stroke: var(--accent); stroke-width: 2; } .bar { fill: var(--accent); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; } th { font-weight: 600; } th, td.word { white-space: nowrap; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem; margin: .4rem 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.hindrance { color: var(--warm); } code { font-size: .85em; }
"""


def render(
    song: Song,
    signal: NDArray[np.float32] | None,
    beats_seconds: Sequence[float],
    chapters: Sequence[Chapter],
    mesh: Mapping[str, Any],
) -> str:
    """The whole page."""
    sound = base64.b64encode(song.wav()).decode()
    shown = song.signal if signal is None else signal
    source = "as it was made" if signal is None else "as the mesh gave it back"
    legend = "; lines: the beats that analysis found" if beats_seconds else ""
    facts = f"{song.bpm:.0f} BPM, {song.key}, {song.duration_seconds:.1f} s"
    rows = [(chapter.title, chapter.seconds) for chapter in chapters]
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(song.title)} · Chorale</title><style>{_STYLE}</style></head><body>
<h1>{escape(song.title)}</h1>
<p class="lead">Synthesised on this machine ({escape(facts)}), then sent through the mesh.</p>
<audio controls src="data:audio/wav;base64,{sound}"></audio>
{drawing.waveform(shown, song.duration_seconds, beats_seconds)}
<p class="lead">The song {source}{legend}.</p>
<h2>What came of it</h2>
<div class="scroll"><table><tr><th>step<th>by<th>result<th>seconds<th>trace</tr>
{"".join(_row(chapter) for chapter in chapters)}</table></div>
{drawing.timings(rows)}
{"".join(_chapter(chapter) for chapter in chapters)}
<h2>What ran</h2>
<div class="scroll"><table><tr><th>part<th>address<th>process</tr>{_parts(mesh)}</table></div>
<footer><p>Made by <code>chorale demo</code>. A trace id leads to the logs and traces of every
service that took part.</p></footer>
</body></html>
"""


def _row(chapter: Chapter) -> str:
    result = escape(chapter.headline)
    if chapter.hindrance:
        result = f'<span class="hindrance">{result}</span>'
    return (
        f"<tr><td>{escape(chapter.title)}<td>{escape(chapter.service or 'all')}<td>{result}"
        f"<td>{chapter.seconds:.2f}<td><code>{chapter.trace}</code></tr>"
    )


def _chapter(chapter: Chapter) -> str:
    if chapter.hindrance:
        return ""
    facts = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(found)}</dd>" for name, found in chapter.finding.facts
    )
    picture = f'<div class="scroll">{chapter.finding.picture}</div>'
    return f"<h2>{escape(chapter.title)}</h2><dl>{facts}</dl>{picture}"


def _parts(mesh: Mapping[str, Any]) -> str:
    return "".join(
        f"<tr><td>{escape(name)}<td>{escape(part['address'])}<td>{part['pid']}</tr>"
        for name, part in mesh.get("parts", {}).items()
    )
