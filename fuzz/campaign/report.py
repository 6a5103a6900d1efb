# SPDX-License-Identifier: BSD-2-Clause
"""A report that a person reads in a minute: one HTML file, nothing else."""

import html
import json
import math
import pathlib

from .common import number, say
from .engines import ENGINES

WIDTH, HEIGHT = 340, 150
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 8, 22
NAMES = {'libfuzzer': 'libFuzzer', 'afl': 'AFL++', 'generator': 'generator'}

STYLE = '''
body{font:15px/1.5 system-ui,sans-serif;max-width:66em;margin:2em auto;
padding:0 1em;color:#222}
h1{font-size:1.5em;margin-bottom:.2em}h2{font-size:1.15em;margin-top:1.8em}
.verdict{font-size:1.25em;padding:.5em .8em;border-radius:6px;margin:.6em 0}
.good{background:#e5f4ea;color:#1c6b3c}.bad{background:#fbe6e4;color:#a02c20}
.facts{display:flex;flex-wrap:wrap;gap:1.8em;margin:1em 0}
.facts div b{display:block;font-size:1.35em}
.facts div{color:#666;font-size:.9em}.facts b{color:#222}
table{border-collapse:collapse;font-size:14px;width:100%}
td,th{padding:.25em .6em;border-bottom:1px solid #ddd;text-align:right;
font-variant-numeric:tabular-nums}
th{color:#666;font-weight:600}tr:last-child td{border-bottom:0}
td:first-child,th:first-child{text-align:left}td.low{color:#a02c20}
pre{background:#f6f6f6;padding:.7em;overflow:auto;font-size:13px}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(320px,1fr));
gap:1em}.plots h3{font-size:.95em;margin:.2em 0 0}
svg{width:100%;height:auto}svg text{font:10px sans-serif;fill:#777}
.finding{border-left:4px solid #a02c20;padding-left:1em;margin:1.2em 0}
code{font-size:.92em;word-break:break-all}
'''


def short(value):
    """1234567 -> 1.2 M"""
    for limit, unit in ((1e9, ' G'), (1e6, ' M'), (1e3, ' k')):
        if value >= limit:
            number = value / limit
            return f'{number:.1f}{unit}' if number < 10 else \
                f'{number:.0f}{unit}'
    return f'{value:.0f}'


def ceiling(value):
    """The next round number from there on."""
    if value <= 0:
        return 1
    step = 10 ** math.floor(math.log10(value))
    return next(m * step for m in (1, 1.5, 2, 3, 4, 5, 6, 8, 10)
                if m * step >= value)


def plot(title, points, begin=0.0):
    """One line over time, as a small picture; `points`: [(s, value)]."""
    if len(points) < 2:
        return ''
    t0, t1 = points[0][0], max(points[-1][0], points[0][0] + 1)
    low = begin
    high = ceiling(max(v for _, v in points) - low) + low
    w, h = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def at(t, v):
        return (LEFT + w * (t - t0) / (t1 - t0),
                TOP + h - h * (v - low) / (high - low))

    out = [f'<div><h3>{html.escape(title)}</h3>'
           f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">']
    for k in range(3):
        value = low + (high - low) * k / 2
        y = at(t0, value)[1]
        out.append(f'<line x1="{LEFT}" x2="{LEFT + w}" y1="{y:.1f}" '
                   f'y2="{y:.1f}" stroke="#e4e4e4"/>'
                   f'<text x="{LEFT - 5}" y="{y + 3:.1f}" '
                   f'text-anchor="end">{short(value)}</text>')
    for t, anchor in ((t0, 'start'), (t1, 'end')):
        out.append(f'<text x="{at(t, low)[0]:.1f}" y="{HEIGHT - 6}" '
                   f'text-anchor="{anchor}">{t:.0f} s</text>')
    line = ' '.join('{:.1f},{:.1f}'.format(*at(t, v)) for t, v in points)
    x, y = at(*points[-1])
    out.append(f'<polyline fill="none" stroke="#1b6ca8" stroke-width="1.8" '
               f'points="{line}"/><circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" '
               'fill="#1b6ca8"/></svg></div>')
    return ''.join(out)


def total(samples, key):
    return [(r['t'], sum(v[key] for n, v in r.items() if n != 't'))
            for r in samples]


def slope(points, window=10.0):
    """What a counter gains a second, over some seconds."""
    out, k = [], 0
    for i, (t, v) in enumerate(points):
        while k + 1 < i and points[k + 1][0] <= t - window:
            k += 1
        gap = t - points[k][0]
        if gap > 0:
            out.append((t, max(0, v - points[k][1]) / gap))
    return out


def plots(samples):
    names = sorted({n for r in samples for n in r if n != 't'})
    coverage = total(samples, 'cov')
    rows = [plot('Operations/s, all engines',
                 slope(total(samples, 'operations'))),
            plot('Edges, all targets', coverage),
            plot('Corpus of the campaign, programs',
                 total(samples, 'corpus'))]
    each = []
    for name in names:
        points = [(r['t'], r[name]['cov']) for r in samples
                  if name in r and r[name]['cov'] > 0]
        each.append(plot(f'{name}: edges', points,
                         round(points[0][1] * 0.9) if points else 0))
    return ('<h2>Over time</h2><div class="plots">' + ''.join(rows)
            + '</div><h2>Coverage of each target</h2><div class="plots">'
            + ''.join(each) + '</div>')


def row(cells, tag='td'):
    return '<tr>' + ''.join(
        f'<{tag}{extra}>{html.escape(str(c))}</{tag}>'
        for c, extra in ((c if isinstance(c, tuple) else (c, ''))
                         for c in cells)) + '</tr>'


HEADS = ('target', 'libFuzzer ops/s', 'AFL++ ops/s', 'generator ops/s',
         'AFL++ programs/s', 'AFL++ stability', 'operations', 'edges',
         'corpus', 'last new edge')


def cells(name, t):
    stability = t['afl'].get('stability')
    return (name, *(f'{t[e]["operations/s"]:,}' for e in ENGINES),
            f'{t["afl"]["programs/s"]:,.0f}',
            '-' if stability is None else
            (f'{stability:.2f} %', '' if stability >= 99.9
             else ' class="low"'),
            short(sum(t[e]['operations'] for e in ENGINES)),
            t['coverage'], t['corpus'], f'{t["new_edge_s"]} s ago')


def finding_html(f):
    parts = [f'<div class="finding"><h3>{html.escape(f["target"])}: '
             f'{html.escape(f["signature"])}</h3>'
             f'<p>{f["files"]} files; replaying fails {f["failed"]} times. '
             f'First: <code>{html.escape(f["file"])}</code></p>']
    if 'program' in f:
        parts.append('<p>Smallest program:</p>'
                     f'<pre>{html.escape(f["program"])}</pre>')
    for key, what in (('c', 'C reproducer'),
                      ('regression', 'Proposed regression file')):
        if key in f:
            more = f' ({f["c_does"]})' if key == 'c' else ''
            parts.append(f'<p>{what}: <code>{html.escape(f[key])}</code>'
                         f'{html.escape(more)}</p>')
    return ''.join(parts) + '</div>'


def verdict(result):
    n = len(result['findings'])
    text = ('No finding.' if n == 0 else
            number(n, 'finding') + '.')
    if result['interrupted']:
        text += ' The run was interrupted.'
    if result['not_reproduced']:
        text += (f' {result["not_reproduced"]} programs were slow once and '
                 'never again.')
    return f'<p class="verdict {"bad" if n else "good"}"><b>{text}</b></p>'


def facts(result):
    items = ((short(result['operations']), 'checked operations'),
             (sum(t['coverage'] for t in result['targets'].values()),
              'edges'),
             (len(result['targets']), 'targets'),
             (f'{result["seconds"]} s', f'on {result["cores"]} cores'),
             (f'{result["seconds_in_all"]} s',
              f'in {result["runs"]} runs of this campaign'),
             (f'{result["building_s"]} s', 'of building first'))
    return '<div class="facts">' + ''.join(
        f'<div><b>{html.escape(str(a))}</b>{html.escape(b)}</div>'
        for a, b in items) + '</div>'


def write(out, result, samples):
    never = [f'{t}: {", ".join(v["never_seen"])}'
             for t, v in result['targets'].items() if v['never_seen']]
    errors = [f'{n}: {e}' for n, t in result['targets'].items()
              for e in t['errors']]
    body = ['<h1>holdfast: fuzzing campaign</h1>',
            f'<p>{html.escape(result["date"])}, load at the end '
            f'{result["load"]}.</p>', verdict(result), facts(result)]
    body += [finding_html(f) for f in result['findings']]
    body.append('<h2>Engines</h2><table>' + row(HEADS, 'th') + ''.join(
        row(cells(*item)) for item in result['targets'].items())
        + '</table>')
    body.append('<h2>Rare states that must be reached</h2><p>'
                + ('Never seen: ' + html.escape('; '.join(never)) if never
                   else 'All were.') + '</p>')
    if errors:
        body.append('<h2>Engines that failed</h2><pre>'
                    + html.escape('\n'.join(errors)) + '</pre>')
    body.append(plots(samples))
    (pathlib.Path(out) / 'report.html').write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f'<title>holdfast fuzzing</title><style>{STYLE}</style></head><body>'
        + '\n'.join(body) + '</body></html>\n')


def print_text(result):
    heads = ('target', 'lf ops/s', 'afl ops/s', 'gen ops/s', 'afl progs/s',
             'stability', 'ops', 'edges', 'corpus', 'new edge')
    widths = (13, 9, 9, 9, 11, 9, 6, 6, 6, 11)
    say(' '.join(f'{h:>{w}}' if i else f'{h:{w}}'
                 for i, (h, w) in enumerate(zip(heads, widths))))
    for item in result['targets'].items():
        texts = [c[0] if isinstance(c, tuple) else c for c in cells(*item)]
        say(' '.join(f'{c:>{w}}' if i else f'{c:{w}}'
                     for i, (c, w) in enumerate(zip(texts, widths))))
    for name, t in result['targets'].items():
        if t['never_seen']:
            say(f'{name}: never seen: {", ".join(t["never_seen"])}')
        for error in t['errors']:
            say(f'{name}: {error}')
    say(f'{number(len(result["findings"]), "finding")} in '
        f'{result["seconds"]} s, '
        f'{short(result["operations"])} operations; building took '
        f'{result["building_s"]} s before')


def again(opts):
    """Write the report of a campaign's folder once more."""
    out = pathlib.Path(opts.out)
    if not (out / 'report.json').exists():
        say(f'{out}: no campaign has ended there')
        return 2
    result = json.loads((out / 'report.json').read_text())
    state = json.loads((out / 'state.json').read_text())
    write(out, result, state['samples'])
    print_text(result)
    say(f'{out}/report.html')
    return 0
