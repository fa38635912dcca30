"""Drawings of how things are computed: scan, mixer, block, sharing, folding."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from .maps import NETWORK_PARTS, draw_arrow, draw_box, draw_route, network_map
from .style import ENHANCED, HIGHLIGHT, NOISY, SHARED, axes_of


def doubling_map(steps: int = 8, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Who adds to whom in the doubling scan of `steps` elements, a row a round.

    An arrow carries the sum of a span of steps to the place where it is joined to the next span.
    Marked are the ways that lead to the last state. Raises ValueError for fewer than two steps.
    """
    if steps < 2:
        raise ValueError(f"a scan of at least two steps has rounds to draw, got {steps}")
    rounds = math.ceil(math.log2(steps))
    fig, ax = axes_of(ax, (9.0, 0.9 + 0.75 * rounds))
    last = {rounds: {steps - 1}}  # places that the last state depends on, round by round
    for r in reversed(range(rounds)):
        last[r] = last[r + 1] | {t - 2**r for t in last[r + 1] if t >= 2**r}
    for r in range(rounds):
        for t in range(steps):
            for source in (t, t - 2**r):
                if source >= 0:
                    on = t in last[r + 1]
                    draw_arrow(
                        ax,
                        (source, -r - 0.18),
                        (t, -r - 0.82),
                        colour=HIGHLIGHT if on else "#BBBBBB",
                        width=1.6 if on else 0.9,
                    )
    for r in range(rounds + 1):
        for t in range(steps):
            first = max(0, t - 2**r + 1)
            text = f"{t}" if first == t else f"{first}–{t}"
            draw_box(ax, (t, -r), (0.62, 0.36), text, edge=HIGHLIGHT if t in last[r] else "#555555")
        words = "steps" if r == 0 else f"after round {r}"
        ax.text(-0.55, -r, words, ha="right", va="center", fontsize=9, color="#444444")
    ax.set(xlim=(-1.9, steps - 0.5), ylim=(-rounds - 0.35, 0.35))
    ax.axis("off")
    return fig, ax


def mixer_map(ax: Axes | None = None) -> tuple[Figure, Axes]:
    """The Mamba mixer as boxes, with the shape of what runs along each arrow."""
    fig, ax = axes_of(ax, (11.5, 3.9))
    parts = {
        "in_proj": ((1.5, 1.6), "in_proj", "white"),
        "conv": ((3.6, 1.6), "causal\nconvolution", "white"),
        "silu": ((5.2, 1.6), "SiLU", "white"),
        "x_proj": ((6.3, 3.0), "x_proj", "white"),
        "dt_proj": ((8.1, 3.0), "dt_proj\nsoftplus", "white"),
        "scan": ((8.9, 1.6), "selective scan\n$A$,  skip $D$", "#FBE3D3"),
        "gate": ((8.9, 0.25), "SiLU", "white"),
        "times": ((10.7, 1.6), "×", "white"),
        "out_proj": ((12.2, 1.6), "out_proj", "white"),
    }
    size = {"scan": (1.7, 0.8), "times": (0.5, 0.5)}
    for name, (centre, text, face) in parts.items():
        edge, width = (HIGHLIGHT, 2.4) if name == "scan" else ("#333333", 1.2)
        box = size.get(name, (1.25, 0.66))
        draw_box(ax, centre, box, text, face=face, edge=edge, width=width, font=9)

    def say(x, y, text):
        ax.text(x, y, text, ha="center", va="bottom", fontsize=8.5, color="#444444")

    for start, end in (
        ((-0.4, 1.6), (0.87, 1.6)),
        ((2.13, 1.6), (2.97, 1.6)),
        ((4.23, 1.6), (4.57, 1.6)),
        ((5.83, 1.6), (8.05, 1.6)),
        ((6.3, 1.6), (6.3, 2.67)),
        ((6.93, 3.1), (7.47, 3.1)),
        ((8.7, 2.67), (8.7, 2.0)),
        ((9.75, 1.6), (10.45, 1.6)),
        ((10.95, 1.6), (11.57, 1.6)),
        ((12.83, 1.6), (14.1, 1.6)),
    ):
        draw_arrow(ax, start, end)
    ax.plot([1.5, 1.5, 8.27], [1.27, 0.25, 0.25], color="black", linewidth=1.1)
    draw_arrow(ax, (8.2, 0.25), (8.27, 0.25))
    draw_route(ax, [(9.53, 0.25), (10.7, 0.25), (10.7, 1.35)], "black")
    draw_route(ax, [(6.75, 2.67), (6.75, 2.2), (8.3, 2.2), (8.3, 2.0)], "black")
    say(0.2, 1.66, "$x$ (B, L, C)")
    say(2.55, 1.66, "$u$")
    say(3.6, 0.3, "gate $z$ (B, D, L)")
    say(7.3, 1.66, "$u$ (B, D, L)")
    say(7.5, 2.22, "$B$, $C$ (B, N, L)")
    say(9.35, 2.2, "$\\Delta$ (B, D, L)")
    say(13.5, 1.66, "(B, L, C)")
    ax.set(xlim=(-0.6, 14.4), ylim=(-0.2, 3.45))
    ax.axis("off")
    return fig, ax


# The kinds of sharing, as letters in boxes; see notebook 05.
SET_COLOURS = (SHARED, "#56B4E9", NOISY, ENHANCED, "#F0E442", HIGHLIGHT)


def sharing_map(sets: dict, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Which places of the network use one weight set for their attention, with the ties drawn.

    `sets`: (path, level, block, axis) -> the name of its weight set, as `unet.weight_set` gives
    it; equal names get equal letters, in order of first use. Raises ValueError without a place.
    """
    if not sets:
        raise ValueError("sets is empty; it maps (path, level, block, axis) to a weight set")
    blocks = 1 + max(block for _, _, block, _ in sets)
    deepest = max(level for _, level, _, _ in sets)
    letters = {name: i for i, name in enumerate(dict.fromkeys(sets.values()))}
    side = {"down": -1, "middle": 0, "up": 1}
    at = {}
    for path, level, block, axis in sets:
        centre = side[path] * (1.0 + (blocks + 0.6) * (deepest - level) / 2 + blocks / 2)
        at[path, level, block, axis] = (
            centre + (block - (blocks - 1) / 2),
            -1.5 * level + (0.22 if axis == "time" else -0.22),
        )
    fig, ax = axes_of(ax, (9.5, 1.3 + 1.15 * deepest))
    for (path, level, block, _), (x, y) in at.items():
        if block == 0 and y > -1.5 * level:
            name = f"{path}, level {level + 1}"  # as `network_map` counts
            ax.text(x - 0.42, y + 0.33, name, fontsize=9, ha="left", va="bottom")
    for name, number in letters.items():
        colour = SET_COLOURS[number % len(SET_COLOURS)]
        users = [at[place] for place in sets if sets[place] == name]
        apart = 0.07 * (number % blocks - (blocks - 1) / 2)  # or ties of one row would coincide
        for (x0, y0), (x1, y1) in itertools.combinations(users, 2):
            if (x0 == x1) != (y0 == y1):  # in one row or in one column
                ys = (y0 + apart, y1 + apart)
                ax.plot((x0, x1), ys, color=colour, linewidth=1.4, linestyle="--", zorder=0)
        for x, y in users:
            draw_box(ax, (x, y), (0.78, 0.34), "", edge=colour)
            draw_box(ax, (x, y), (0.78, 0.34), _letters(number), face=colour + "66", edge=colour)
    for axis, y in (("time", 0.22), ("frequency", -0.22)):
        x = min(x for x, _ in at.values()) - 0.6
        ax.text(x, y, axis, fontsize=9, ha="right", va="center", color="#555555")
    xs, ys = zip(*at.values(), strict=True)
    ax.set(xlim=(min(xs) - 1.8, max(xs) + 0.8), ylim=(min(ys) - 0.4, max(ys) + 0.75))
    ax.axis("off")
    return fig, ax


def _letters(number):
    """0, 1, ... 25, 26 -> A, B, ... Z, AA."""
    return ("" if number < 26 else _letters(number // 26 - 1)) + chr(65 + number % 26)


def folding_map(frames: int = 5, bins: int = 3, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """One image (B, C, T, F), and the sequences it becomes along time and along frequency.

    A square is one point, the C numbers of frame t and bin f, with "t, f" in it. One sequence of
    each kind is marked. Raises ValueError for an image without frames or bins.
    """
    if frames < 1 or bins < 1:
        raise ValueError(f"an image has frames and bins, got {frames} and {bins}")
    fig, ax = axes_of(ax, (11.0, 3.1))
    marked_t, marked_f = frames // 2, bins // 2
    apart = 0.45  # between sequences, which do not see each other
    height = bins + apart * (bins - 1)
    panels = (
        ("a picture\n(B, C, T, F)", 0.0, 0.0),
        ("along time\n(B·F, T, C)", 0.0, apart),
        ("along frequency\n(B·T, F, C)", apart, 0.0),
    )
    left = 0.0
    for title, gap_t, gap_f in panels:
        width = frames + gap_t * (frames - 1)
        bottom = (height - bins - gap_f * (bins - 1)) / 2
        for t in range(frames):
            for f in range(bins):
                on = (gap_f and f == marked_f) or (gap_t and t == marked_t)
                x, y = left + t * (1 + gap_t), bottom + f * (1 + gap_f)
                face, edge = ("#FBE3D3", HIGHLIGHT) if on else ("#F2F2F2", "#777777")
                box = plt.Rectangle(
                    (x, y), 1, 1, facecolor=face, edgecolor=edge, zorder=3 if on else 2
                )
                ax.add_patch(box)
                words = f"{t}, {f}"
                ax.text(x + 0.5, y + 0.5, words, ha="center", va="center", fontsize=8, zorder=4)
        ax.text(left + width / 2, height + 0.75, title, ha="center", va="bottom", fontsize=10)
        across, up = (left, -0.35), (left - 0.35, bottom)
        if not gap_t:
            draw_arrow(ax, across, (left + width, -0.35), colour=HIGHLIGHT if gap_f else "#555555")
        if not gap_f:
            draw_arrow(
                ax, up, (left - 0.35, height - bottom), colour=HIGHLIGHT if gap_t else "#555555"
            )
        t_words = "T: the sequence" if gap_f else "B and T: the batch" if gap_t else "T frames"
        f_words = "F: the sequence" if gap_t else "B and F: the batch" if gap_f else "F bins"
        said = {"fontsize": 9, "color": "#444444"}
        ax.text(left + width / 2, -0.55, t_words, ha="center", va="top", **said)
        ax.text(left - 0.55, height / 2, f_words, ha="right", va="center", rotation=90, **said)
        left += width + 2.6
    ax.set(xlim=(-1.4, left - 2.3), ylim=(-1.2, height + 2.1))
    ax.set_aspect("equal")
    ax.axis("off")
    return fig, ax


def block_map(ax: Axes | None = None) -> tuple[Figure, Axes]:
    """The MambAttention block: two halves of attention and BiMamba, with one attention for both."""
    fig, ax = axes_of(ax, (11.5, 2.9))
    y, places = 0.0, (1.75, 4.1, 7.85, 10.2)  # of the four parts
    pluses = (2.85, 5.15, 8.95, 11.25)
    halves = ((0.4, 5.5, "along time: (B·F, T, C)"), (6.5, 11.6, "along frequency: (B·T, F, C)"))
    for start, end, words in halves:
        ax.add_patch(
            FancyBboxPatch(
                (start, -0.75), end - start, 2.05, boxstyle="round,pad=0,rounding_size=0.15",
                facecolor="#F6F6F6", edgecolor="#BBBBBB",
            )
        )  # fmt: skip
        ax.text((start + end) / 2, 1.42, words, ha="center", va="bottom", fontsize=10)
    for place, (x, plus) in enumerate(zip(places, pluses, strict=True)):
        shared = place % 2 == 0
        text = "LN + MHA" if shared else f"BiMamba {place // 2 + 1}\n→ 2C → C"
        draw_box(
            ax,
            (x, y),
            (1.25, 0.8),
            text,
            face="#F9EDF3" if shared else "white",
            edge=SHARED if shared else "#333333",
            width=2.4 if shared else 1.2,
            font=9.5,
        )
        branch = x - 0.9  # where the way past the part leaves
        ax.plot([branch, branch, plus], [y, 0.85, 0.85], color="black", linewidth=1.1)
        draw_arrow(ax, (plus, 0.85), (plus, 0.17))
        before = pluses[place - 1] + 0.17 if place else -0.1
        draw_arrow(ax, (before, y), (x - 0.63, y))
        draw_arrow(ax, (x + 0.63, y), (plus - 0.17, y))
        draw_box(ax, (plus, y), (0.34, 0.34), "+", font=11)
    draw_arrow(ax, (pluses[3] + 0.17, y), (12.2, y))
    for x in (places[0], places[2]):
        ax.plot([x, x], [-0.4, -1.05], color=SHARED, linewidth=1.6, linestyle="--")
    ax.plot([places[0], places[2]], [-1.05, -1.05], color=SHARED, linewidth=1.6, linestyle="--")
    middle = (places[0] + places[2]) / 2
    ax.text(middle, -1.12, "the same weights", ha="center", va="top", fontsize=9.5, color="#9C3F70")
    ax.text(-0.05, 0.12, "x", ha="left", va="bottom", fontsize=11, style="italic")
    ax.set(xlim=(-0.2, 12.3), ylim=(-1.5, 1.85))
    ax.axis("off")
    return fig, ax


def cost_map(
    costs: Mapping[str, float], words: Mapping[str, str] | None = None, ax: Axes | None = None
) -> tuple[Figure, Axes]:
    """`network_map` with each part as dark as its share of a cost.

    costs: part of the network (a key of NETWORK_PARTS) -> number >= 0; parts that are not in it
    stay white. words: part -> what stands below its name; by default its share in per cent.
    Raises ValueError for a part that there is none of.
    """
    unknown = set(costs) - set(NETWORK_PARTS)
    if unknown:
        raise ValueError(f"no parts of the network: {', '.join(sorted(unknown))}")
    total, largest = sum(costs.values()) or 1.0, max(costs.values(), default=0.0) or 1.0
    fig, ax = network_map(ax=ax)
    texts = {text.get_position(): text for text in ax.texts}
    boxes = [patch for patch in ax.patches if isinstance(patch, FancyBboxPatch)]
    for box, (part, (centre, _)) in zip(boxes, NETWORK_PARTS.items(), strict=True):
        if part in costs:
            name = part.replace("_", " ").replace("level", "level ")
            below = (words or {}).get(part, f"{100 * costs[part] / total:.0f} %")
            texts[centre].set_text(f"{name}\n{below}")
            texts[centre].set_fontsize(7.5)
            box.set_facecolor(plt.get_cmap("YlOrBr")(0.65 * costs[part] / largest))
        else:
            box.set_facecolor("white")
    return fig, ax
