"""The map of the course and the map of the network, with the place where we are."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from .signals import colour_of
from .style import COLOURS, HIGHLIGHT, MUTED, SHARED, axes_of

LESSONS = (
    ("00", "Start here", "hear the result"),
    ("01", "STFT features", "sound as a picture"),
    ("02", "Mamba scan", "a memory that selects"),
    ("03", "Attention", "everything sees everything"),
    ("04", "MambAttention block", "scan and attention together"),
    ("05", "Resolution-wise sharing", "one weight set, four uses"),
    ("06", "U-Net", "the whole network"),
    ("07", "Losses and metrics", "what does 'better' mean?"),
    ("08", "Train it", "from noise to a result"),
    ("09", "Cross-corpus", "does it hold elsewhere?"),
    ("10", "Playground", "sliders only"),
)


def draw_box(
    ax: Axes,
    centre: tuple[float, float],
    size: tuple[float, float],
    text: str,
    *,
    face: object = "white",
    edge: object = "black",
    width: float = 1.0,
    font: float = 8.5,
) -> None:
    """A rounded box with text in its middle."""
    x, y = centre[0] - size[0] / 2, centre[1] - size[1] / 2
    style = "round,pad=0,rounding_size=0.08"
    ax.add_patch(
        FancyBboxPatch(
            (x, y), *size, boxstyle=style, facecolor=face, edgecolor=edge, linewidth=width
        )
    )
    ax.text(*centre, text, ha="center", va="center", fontsize=font, linespacing=1.25)


def draw_arrow(
    ax: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    *,
    style: str = "-|>",
    colour: object = "black",
    line: str = "-",
    bend: float = 0.0,
    width: float = 1.1,
) -> None:
    """An arrow between two points; `bend` curves it."""
    ax.annotate(
        "",
        xy=end,
        xytext=start,
        arrowprops={
            "arrowstyle": style,
            "color": colour,
            "linestyle": line,
            "linewidth": width,
            "shrinkA": 0,
            "shrinkB": 0,
            "connectionstyle": f"arc3,rad={bend}",
        },
    )


def course_map(here: str | None = None, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """The eleven lessons in reading order; `here` ("00" to "10") marks one.

    Raises ValueError for a number that is no lesson.
    """
    numbers = [number for number, _, _ in LESSONS]
    if here is not None and here not in numbers:
        raise ValueError(f"no lesson {here!r}; the lessons are {', '.join(numbers)}")
    fig, ax = axes_of(ax, (10.5, 4.3))
    rows = (
        ("Hear it", LESSONS[:2]),
        ("Build the parts", LESSONS[2:5]),
        ("Put them together", LESSONS[5:7]),
        ("Train and judge", LESSONS[7:10]),
        ("Play", LESSONS[10:]),
    )
    faces = ("#E6F1F8", "#FCF3DF", "#E2F3ED", "#F9EDF3", "#EEEEEE")
    centres = {}
    for row, ((heading, lessons), face) in enumerate(zip(rows, faces, strict=True)):
        y = -1.0 * row
        ax.text(-1.55, y, heading, ha="right", va="center", fontsize=11, color="#444444")
        for column, (number, title, idea) in enumerate(lessons):
            centres[number] = (2.9 * column, y)
            draw_box(
                ax,
                centres[number],
                (2.5, 0.68),
                f"$\\bf{{{number}}}$  {title}\n{idea}",
                face=face,
                edge=HIGHLIGHT if number == here else "#555555",
                width=3.0 if number == here else 1.0,
                font=9.5,
            )
    for start, end in zip(numbers[:-1], numbers[1:], strict=True):
        (x0, y0), (x1, y1) = centres[start], centres[end]
        if y0 == y1:
            draw_arrow(ax, (x0 + 1.25, y0), (x1 - 1.25, y1), colour="#555555")
        else:  # the next row starts again on the left
            ax.plot([x0, x0, x1], [y0 - 0.34, y0 - 0.5, y0 - 0.5], color="#555555", linewidth=1.1)
            draw_arrow(ax, (x1, y0 - 0.5), (x1, y1 + 0.34), colour="#555555")
    ax.set(xlim=(-3.6, 7.1), ylim=(-4.45, 0.45))
    ax.axis("off")
    return fig, ax


# name of a part -> (centre, text); one unit of the drawing is about 0.85 inch.
NETWORK_PARTS = {
    "noisy": ((0.0, 3.0), "noisy\nwave"),
    "stft": ((1.25, 3.0), "STFT\nmag$^{0.3}$, phase"),
    "encoder": ((2.6, 3.0), "encoder\nF 256 → 128"),
    "level1_down": ((3.95, 3.0), "level 1\nC,  T × 128"),
    "level2_down": ((4.7, 1.75), "level 2\n2C,  T/2 × 64"),
    "level3": ((6.05, 0.5), "level 3\n3C,  T/4 × 32"),
    "level2_up": ((7.4, 1.75), "level 2\n2C,  T/2 × 64"),
    "level1_up": ((8.15, 3.0), "level 1\nC,  T × 128"),
    "refine_mag": ((9.6, 3.65), "refine\nmagnitude"),
    "refine_phase": ((9.6, 2.35), "refine\nphase"),
    "mask_decoder": ((10.95, 3.65), "mask decoder\n× magnitude"),
    "phase_decoder": ((10.95, 2.35), "phase\ndecoder"),
    "istft": ((12.3, 3.0), "inverse\nSTFT"),
    "enhanced": ((13.65, 3.0), "enhanced\nwave"),
}
NETWORK_GROUPS = {
    "stft": ("stft", "istft"),
    "unet": ("level1_down", "level2_down", "level3", "level2_up", "level1_up"),
    "refinement": ("refine_mag", "refine_phase"),
    "mamba": (
        *("level1_down", "level2_down", "level3", "level2_up", "level1_up"),
        *("refine_mag", "refine_phase"),
    ),
    "decoders": ("mask_decoder", "phase_decoder"),
    "sharing": ("level1_down", "level2_down", "level3", "level2_up", "level1_up"),
    "all": tuple(NETWORK_PARTS),
}


def network_map(here: str | None = None, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """The whole network, with "you are here" on a part or a group of parts.

    `here` is a key of NETWORK_PARTS or of NETWORK_GROUPS ("stft" marks both transforms).
    Raises ValueError for any other name.
    """
    if here is not None and here not in NETWORK_PARTS and here not in NETWORK_GROUPS:
        known = ", ".join(sorted(NETWORK_PARTS | NETWORK_GROUPS))
        raise ValueError(f"no part {here!r}; the parts are {known}")
    marked = NETWORK_GROUPS.get(here, (here,))
    fig, ax = axes_of(ax, (12.2, 4.8))
    half_width, half_height = 0.58, 0.38
    at = {name: centre for name, (centre, _) in NETWORK_PARTS.items()}

    def side(name, dx, dy):
        return at[name][0] + dx * half_width, at[name][1] + dy * half_height

    straight = (("noisy", "stft"), ("stft", "encoder"), ("encoder", "level1_down"))
    straight += (("refine_mag", "mask_decoder"), ("refine_phase", "phase_decoder"))
    straight += (("istft", "enhanced"),)
    for start, end in straight:
        draw_arrow(ax, side(start, 1, 0), side(end, -1, 0))
    for start, end in (("level1_down", "level2_down"), ("level2_down", "level3")):
        draw_arrow(ax, side(start, 0, -1), side(end, -0.4, 1))
    for start, end in (("level3", "level2_up"), ("level2_up", "level1_up")):
        draw_arrow(ax, side(start, 0.4, 1), side(end, 0, -1))
    for end in ("refine_mag", "refine_phase"):
        draw_arrow(ax, side("level1_up", 1, 0), side(end, -1, 0))
    for start in ("mask_decoder", "phase_decoder"):
        draw_arrow(ax, side(start, 1, 0), side("istft", -1, 0))

    # The noisy magnitude is what the mask multiplies.
    draw_route(
        ax, [side("stft", 0, 1), (1.25, 4.75), (10.95, 4.75), side("mask_decoder", 0, 1)], MUTED
    )
    ax.text(6.05, 4.78, "noisy magnitude", ha="center", va="bottom", fontsize=8, color="#555555")
    # The encoder's output is added behind both refinements: on the arrows that leave them.
    behind = (at["refine_mag"][0] + at["mask_decoder"][0]) / 2
    for up, height, name in ((1, 4.2, "refine_mag"), (-1, -0.25, "refine_phase")):
        end = (behind, at[name][1] + 0.04 * up)
        draw_route(ax, [side("encoder", 0, up), (2.6, height), (behind, height), end], MUTED)
    ax.text(6.05, 4.23, "+ encoder output", ha="center", va="bottom", fontsize=8, color="#555555")
    ax.text(6.05, -0.28, "+ encoder output", ha="center", va="top", fontsize=8, color="#555555")

    strong = 2.6 if here == "sharing" else 1.6
    for level in ("level1", "level2"):
        left, right = side(f"{level}_down", 1, 0.4), side(f"{level}_up", -1, 0.4)
        draw_arrow(ax, left, right)
        left, right = side(f"{level}_down", 1, -0.4), side(f"{level}_up", -1, -0.4)
        draw_arrow(ax, left, right, style="<|-|>", colour=SHARED, line="--", width=strong)
        ax.text(6.05, left[1] + 0.34, "skip", ha="center", va="bottom", fontsize=8)
        ax.text(
            6.05,
            left[1] - 0.07,
            "shared: four uses",
            ha="center",
            va="top",
            fontsize=8,
            color="#9C3F70",
        )
    ax.text(6.72, 0.5, "shared:\ntwo uses", va="center", fontsize=8, color="#9C3F70")

    for name, (centre, text) in NETWORK_PARTS.items():
        on = name in marked
        draw_box(
            ax,
            centre,
            (2 * half_width, 2 * half_height),
            text,
            face="#FBE3D3" if on else colour_of(name) + "33" if name in COLOURS else "white",
            edge=HIGHLIGHT if on else SHARED if name.startswith("level") else "#333333",
            width=3.0 if on else 1.2,
            font=8,
        )
    if here is not None:
        draw_box(ax, (0.0, 0.4), (0.4, 0.26), "", face="#FBE3D3", edge=HIGHLIGHT, width=3.0)
        ax.text(0.35, 0.4, "you are here", color=HIGHLIGHT, fontsize=11, va="center")
    ax.set(xlim=(-0.7, 14.35), ylim=(-0.65, 5.15))
    ax.set_aspect("equal")
    ax.axis("off")
    return fig, ax


def draw_route(ax: Axes, corners: Sequence[tuple[float, float]], colour: object) -> None:
    """A line through `corners` that ends in an arrow."""
    xs, ys = zip(*corners, strict=True)
    ax.plot(xs[:-1], ys[:-1], color=colour, linewidth=1.0)
    draw_arrow(ax, corners[-2], corners[-1], colour=colour, width=1.0)
