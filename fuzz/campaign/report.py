# SPDX-License-Identifier: BSD-2-Clause
"""A report that a person reads in a minute: one HTML file, nothing else."""

import html
import json
import pathlib

from .common import say

WIDTH, HEIGHT, MARGIN = 720, 220, 44
COLOURS = ('#1b6ca8', '#c0392b', '#27864e', '#8e5ea2', '#c77f0a', '#11808b',
           '#7d5a3c', '#d14d8b', '#4c4cb0', '#6b7a0f', '#444444', '#a33')

STYLE = '''body{font:15px/1.45 sans-serif;max-width:60em;margin:2em auto;
padding:0 1em;color:#222}table{border-collapse:collapse;font-size:14px}
td,th{padding:.25em .7em;border-bottom:1px solid #ddd;text-align:right}
td:first-child,th:first-child{text-align:left}pre{background:#f6f6f6;
padding:.7em;overflow:auto}.good{color:#27864e}.bad{color:#c0392b}
svg{max-width:100%}text{font:11px sans-serif;fill:#555}'''


def points(series):
    return [(t, v) for t, v in series if v is not None]


def svg(title, lines):
    """Lines over time: {name: [(seconds, value)]}."""
    lines = {k: points(v) for k, v in lines.items() if points(v)}
    if not lines:
        return ''
    tmax = max(t for v in lines.values() for t, _ in v) or 1
    vmax = max(x for v in lines.values() for _, x in v) or 1
    w, h = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN
    out = [f'<h3>{html.escape(title)}</h3><svg viewBox="0 0 {WIDTH} '
           f'{HEIGHT + 16 * ((len(lines) + 4) // 5)}">']
    for k in range(5):
        y = MARGIN + h - h * k / 4
        out.append(f'<line x1="{MARGIN}" x2="{MARGIN + w}" y1="{y:.0f}" '
                   f'y2="{y:.0f}" stroke="#e4e4e4"/><text x="2" '
                   f'y="{y + 4:.0f}">{vmax * k / 4:.0f}</text>')
    out.append(f'<text x="{MARGIN + w - 40}" y="{MARGIN + h + 16}">'
               f'{tmax:.0f} s</text>')
    for i, (name, values) in enumerate(sorted(lines.items())):
        colour = COLOURS[i % len(COLOURS)]
        path = ' '.join(f'{MARGIN + w * t / tmax:.1f},'
                        f'{MARGIN + h - h * v / vmax:.1f}'
                        for t, v in values)
        out.append(f'<polyline fill="none" stroke="{colour}" '
                   f'stroke-width="2" points="{path}"/>')
        x, y = MARGIN + (i % 5) * 130, HEIGHT - 8 + 16 * (i // 5)
        out.append(f'<rect x="{x}" y="{y - 9}" width="10" height="10" '
                   f'fill="{colour}"/><text x="{x + 14}" y="{y}">'
                   f'{html.escape(name)}</text>')
    return '\n'.join(out) + '</svg>'


def series(samples, key):
    names = {n for row in samples for n in row if n != 't'}
    return {n: [(row['t'], row[n][key]) for row in samples if n in row]
            for n in names}


def row(cells, tag='td'):
    return '<tr>' + ''.join(f'<{tag}>{html.escape(str(c))}</{tag}>'
                            for c in cells) + '</tr>'


HEADS = ('target', 'libFuzzer progs/s', 'ops/s', 'generator ops/s',
         'AFL++ progs/s', 'stability', 'coverage', 'corpus',
         'last new edge')


def cells(name, t):
    afl = t.get('afl', {})
    return (name, f'{t["libfuzzer"]["programs/s"]:.0f}',
            f'{t["libfuzzer"]["operations/s"]:.0f}',
            f'{t["generator"]["operations/s"]:.0f}',
            f'{afl["programs/s"]:.0f}' if afl else '-',
            afl.get('stability', '-'), t['coverage'], t['corpus'],
            f'{t["new_edge_s"]} s ago')


def finding_html(f):
    parts = [f'<h3 class="bad">{html.escape(f["target"])}: '
             f'{html.escape(f["signature"])}</h3>'
             f'<p>{f["files"]} files; fails {f["failed"]}</p>']
    if 'program' in f:
        parts.append(f'<pre>{html.escape(f["program"])}</pre>')
    for key, what in (('c', 'C reproducer'),
                      ('regression', 'Proposed regression file')):
        if key in f:
            parts.append(f'<p>{what}: <code>{html.escape(f[key])}</code></p>')
    return ''.join(parts)


def write(out, result, samples):
    n = len(result['findings'])
    never = [f'{t}: {", ".join(v["never_seen"])}'
             for t, v in result['targets'].items() if v['never_seen']]
    body = [f'<h1>holdfast: {result["seconds"]} s of fuzzing on '
            f'{result["cores"]} cores</h1>',
            f'<p class="{"bad" if n else "good"}"><b>'
            f'{n if n else "No"} finding{"" if n == 1 else "s"}.</b> '
            f'{result["seconds_in_all"]} s in this folder altogether.</p>']
    body += [finding_html(f) for f in result['findings']]
    body.append('<h2>Engines</h2><table>' + row(HEADS, 'th') + ''.join(
        row(cells(*item)) for item in result['targets'].items())
        + '</table>')
    body.append(svg('Coverage (edges of libFuzzer)', series(samples, 'cov')))
    body.append(svg('Corpus (programs)', series(samples, 'corpus')))
    body.append(svg('libFuzzer, programs/s', series(samples, 'rate')))
    body.append('<h2>Rare states that were never reached</h2><p>'
                + (html.escape('; '.join(never)) or 'None.') + '</p>')
    errors = [e for t in result['targets'].values() for e in t['errors']]
    if errors:
        body.append('<h2>Engines that failed</h2><pre>'
                    + html.escape('\n'.join(errors)) + '</pre>')
    (pathlib.Path(out) / 'report.html').write_text(
        '<!doctype html><meta charset="utf-8"><title>holdfast fuzzing'
        f'</title><style>{STYLE}</style>' + '\n'.join(body))


def print_text(result):
    widths = (14, 9, 9, 10, 9, 9, 8, 7, 12)
    heads = ('target', 'progs/s', 'ops/s', 'gen ops/s', 'AFL++/s', 'stable',
             'coverage', 'corpus', 'new edge')
    say(' '.join(f'{h:>{w}}' if i else f'{h:{w}}'
                 for i, (h, w) in enumerate(zip(heads, widths))))
    for item in result['targets'].items():
        say(' '.join(f'{c:>{w}}' if i else f'{c:{w}}'
                     for i, (c, w) in enumerate(zip(cells(*item), widths))))
    for name, t in result['targets'].items():
        if t['never_seen']:
            say(f'{name}: never seen: {", ".join(t["never_seen"])}')
        for error in t['errors']:
            say(f'{name}: {error}')


def again(opts):
    """Write the report of a campaign's folder once more."""
    out = pathlib.Path(opts.out)
    result = json.loads((out / 'report.json').read_text())
    state = json.loads((out / 'state.json').read_text())
    write(out, result, state['samples'])
    print_text(result)
    say(f'{out}/report.html')
    return 0
