"""Figures: labelled axes with units, true extents, the colours of the course."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from rwsa_tutorial import plotting
from rwsa_tutorial.features import analyse
from rwsa_tutorial.inside import Scan


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def wave():
    """One second of a 1 kHz tone."""
    return 0.5 * np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)


@pytest.mark.parametrize(
    "draw, size",
    [
        (plotting.waveform, (16_000,)),
        (plotting.spectrogram, (16_000,)),
        (plotting.spectrogram, (256, 40)),
        (plotting.phase_picture, (256, 40)),
        (plotting.mask_picture, (256, 40)),
    ],
)
def test_returns_figure_and_axes_with_units(draw, size):
    values = np.random.default_rng(0).random(size)
    fig, ax = draw(values)
    assert isinstance(fig, Figure)
    assert ax.get_xlabel() == "time (s)"
    assert ax.get_ylabel() in ("amplitude", "frequency (kHz)")
    own_fig, own_ax = plt.subplots()
    assert draw(torch.from_numpy(values), ax=own_ax) == (own_fig, own_ax)


def test_spectrogram_pixels_lie_on_frame_times_and_bin_frequencies(wave):
    _, ax = plotting.spectrogram(wave)
    picture = ax.images[0]
    bins, frames = picture.get_array().shape
    assert (bins, frames) == (256, 1 + 16_000 // 120)
    left, right, bottom, top = picture.get_extent()
    width, height = (right - left) / frames, (top - bottom) / bins
    assert width == pytest.approx(120 / 16_000)
    assert left + width / 2 == pytest.approx(0)
    assert height == pytest.approx(16 / 510)
    assert bottom + height / 2 == pytest.approx(0)
    # The tone's loudest row is drawn at its own frequency.
    row = int(picture.get_array()[:, frames // 2].argmax())
    assert bottom + (row + 0.5) * height == pytest.approx(1.0, abs=height / 2)


def test_wave_and_compressed_magnitude_draw_the_same_picture(wave):
    mag, _ = analyse(torch.from_numpy(wave)[None])
    from_wave = plotting.spectrogram(wave, scale="compressed")[1].images[0].get_array()
    from_mag = plotting.spectrogram(mag[0], scale="compressed")[1].images[0].get_array()
    np.testing.assert_allclose(from_wave, from_mag, atol=1e-6)


def test_short_clips_can_be_drawn():
    for samples in (1, 2, 120, 255, 256, 510):
        _, ax = plotting.spectrogram(np.ones(samples))
        assert ax.images[0].get_array().shape == (256, 1 + samples // 120)


def test_decibels_span_the_asked_range(wave):
    _, ax = plotting.spectrogram(wave, top=20, dynamic_range=50)
    assert ax.images[0].get_clim() == (-30, 20)


def test_wrong_scale_and_wrong_shapes_are_named(wave):
    with pytest.raises(ValueError, match="not 'loud'"):
        plotting.spectrogram(wave, scale="loud")
    with pytest.raises(ValueError, match=r"\(1, 2, 3\)"):
        plotting.spectrogram(np.zeros((1, 2, 3)))
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        plotting.waveform(np.zeros((2, 3)))


def test_before_after_shares_scales_and_keeps_colours(wave):
    fig, axes = plotting.before_after({"noisy": 2 * wave, "enhanced": 0.1 * wave, "clean": wave})
    assert axes.shape == (2, 3)
    assert len({ax.images[0].get_clim() for ax in axes[1]}) == 1
    assert len({ax.get_ylim() for ax in axes[0]}) == 1
    colours = [ax.lines[0].get_color() for ax in axes[0]]
    assert colours == [plotting.NOISY, plotting.ENHANCED, plotting.CLEAN]
    with pytest.raises(ValueError, match="at least one"):
        plotting.before_after({})


def test_scores_draw_a_missing_value_as_a_dash():
    row = {"pesq": 1.5, "ssnr": -2.0, "estoi": 0.6, "si_sdr": 5.0}
    _, axes = plotting.scores(
        {"noisy": row, "nano, enhanced": row | {"pesq": None, "ssnr": np.nan}}
    )
    assert [len(ax.patches) for ax in axes] == [1, 1, 2, 2]
    assert [any(t.get_text() == "–" for t in ax.texts) for ax in axes] == [
        True,
        True,
        False,
        False,
    ]
    assert [ax.get_ylabel() for ax in axes] == list(plotting.METRICS.values())
    pesq = axes[0].patches[0]
    assert (pesq.get_y(), pesq.get_y() + pesq.get_height()) == pytest.approx((1.0, 1.5))


@pytest.mark.parametrize("here", [None, *(number for number, _, _ in plotting.LESSONS)])
def test_course_map_shows_every_lesson(here):
    fig, ax = plotting.course_map(here)
    texts = " ".join(t.get_text() for t in ax.texts)
    assert all(title in texts for _, title, _ in plotting.LESSONS)
    marked = [p for p in ax.patches if p.get_linewidth() == 3.0]
    assert len(marked) == (here is not None)


@pytest.mark.parametrize("here", [None, *plotting.NETWORK_PARTS, *plotting.NETWORK_GROUPS])
def test_network_map_marks_where_we_are(here):
    fig, ax = plotting.network_map(here)
    texts = " ".join(t.get_text() for t in ax.texts)
    assert all(text in texts for _, text in plotting.NETWORK_PARTS.values())
    parts = plotting.NETWORK_GROUPS.get(here, () if here is None else (here,))
    marked = [p for p in ax.patches if p.get_linewidth() == 3.0]
    assert len(marked) == (len(parts) + 1 if parts else 0)  # and the key to the colour
    assert ("you are here" in texts) == (here is not None)


@pytest.mark.parametrize(("steps", "rounds"), [(2, 1), (5, 3), (8, 3)])
def test_doubling_map_joins_all_steps_in_the_last_state(steps, rounds):
    _, ax = plotting.doubling_map(steps)
    words = [text.get_text() for text in ax.texts]
    assert f"0–{steps - 1}" in words and f"after round {rounds}" in words
    assert f"after round {rounds + 1}" not in words
    assert words.count("0") == rounds + 1  # the first step has nothing before it


def test_a_doubling_map_of_one_step_is_refused():
    with pytest.raises(ValueError, match="at least two steps"):
        plotting.doubling_map(1)


def test_mixer_map_names_every_part_of_the_mixer():
    from rwsa_tutorial.layers.mamba import MambaMixer

    words = " ".join(text.get_text() for text in plotting.mixer_map()[1].texts)
    shown = (
        words.replace("causal\nconvolution", "conv1d").replace("$A$", "A_log").replace("$D$", "D")
    )
    mixer = MambaMixer(16)
    names = {name.split(".")[0] for name, _ in mixer.named_parameters()}
    assert all(name in shown for name in names)


def test_maps_name_what_they_know():
    with pytest.raises(ValueError, match="encoder"):
        plotting.network_map("decoder 9")
    with pytest.raises(ValueError, match="00, 01"):
        plotting.course_map("11")


def test_colours_of_the_three_signals_differ_in_lightness():
    def luminance(colour):
        return np.dot([0.2126, 0.7152, 0.0722], matplotlib.colors.to_rgb(colour))

    lightness = sorted(map(luminance, plotting.COLOURS.values()))
    assert np.diff(lightness).min() > 0.08  # apart even without colour


@pytest.mark.parametrize(
    ("target", "estimate", "plain", "short"),
    [(3.0, -3.0, 6.0, 0.28), (0.5, 0.9, 0.4, 0.4), (0.0, 7.0, 7.0, 0.72)],
)
def test_angle_difference_tells_the_long_way_from_the_short_one(target, estimate, plain, short):
    _, ax = plotting.angle_difference(target, estimate)
    words = [text.get_text() for text in ax.get_legend().get_texts()]
    assert f"plain difference {plain:.2f} rad" in words
    assert f"short way {short:.2f} rad" in words
    way = ax.lines[2]  # after the circle and the plain difference
    ends = np.column_stack([way.get_xdata(), way.get_ydata()])[[0, -1]] / 0.66
    hands = [[np.cos(angle), np.sin(angle)] for angle in (target, estimate)]
    np.testing.assert_allclose(ends, hands, atol=1e-9)


def test_who_hears_what_is_green_for_better_and_brown_for_worse():
    same = {"pesq": 2.0, "ssnr": 0.0, "estoi": 0.7, "si_sdr": 5.0}
    better = {"pesq": 3.26, "ssnr": None, "estoi": 0.91, "si_sdr": float("inf")}
    terms = {"noisy": {"wave": 1.0}, "good": {"wave": 0.01}, "bad": {"wave": 4.0}}
    _, (left, right) = plotting.who_hears_what(terms, {"noisy": same, "good": better, "bad": same})
    np.testing.assert_allclose(left.images[0].get_array()[:, 0], [0, 2, -np.log10(4)])
    assert (right.images[0].get_array()[[0, 2]] == 0).all()
    good = right.images[0].get_array()[1]
    assert good[0] > 0 and good[1] == 0 and good[2] > 0 and good[3] > 0
    assert [text.get_text() for text in right.texts[4:8]] == ["3.3", "–", "0.91", "∞"]
    assert [label.get_text() for label in left.get_yticklabels()] == list(terms)


def test_who_hears_what_without_scores_has_the_terms_alone():
    _, axes = plotting.who_hears_what({"noisy": {"wave": 1.0, "phase": 1.0}})
    assert len(axes) == 1
    assert [label.get_text() for label in axes[0].get_xticklabels()] == ["wave", "phase"]


def test_training_progress_shows_curves_and_a_recording_getting_cleaner():
    rows = [{"step": 10, "loss": 1.0, "wave": 0.5}, {"step": 20, "loss": 0.5, "wave": 0.2}]
    rng = np.random.default_rng(0)
    waves = {name: rng.standard_normal(8000) for name in ("noisy", "step 10", "clean")}
    fig, axes = plotting.training_progress(rows, waves)
    assert [ax.get_title() for ax in axes[3:]] == list(waves)
    assert len({ax.images[0].get_clim() for ax in axes[3:]}) == 1  # one scale for all
    plt.close(fig)
    fig, axes = plotting.training_progress(rows)
    assert len(axes) == 3
    plt.close(fig)


@pytest.mark.parametrize(("last", "shown"), [(0.5, {"loss", "wave"}), (-0.1, {"wave"})])
def test_a_loss_below_zero_has_no_place_on_a_logarithmic_scale(last, shown):
    rows = [{"step": 1, "loss": 2.0, "wave": 0.6}, {"step": 2, "loss": last, "wave": 0.4}]
    _, axes = plotting.training_curves(rows)
    assert {line.get_label() for line in axes[0].lines} == shown
    plt.close("all")


def test_sharing_map_counts_levels_from_one_and_gives_equal_names_equal_letters():
    places = [("down", 0), ("middle", 1), ("up", 0)]
    _, ax = plotting.sharing_map({(*p, 0, a): p[1] for p in places for a in ("time", "frequency")})
    words = [text.get_text() for text in ax.texts]
    assert {"down, level 1", "up, level 1", "middle, level 2"} <= set(words)
    assert words.count("A") == 4 and words.count("B") == 2


def test_folding_map_keeps_each_point_and_marks_one_sequence_of_each_kind():
    fig, ax = plotting.folding_map(frames=4, bins=3)
    words = [text.get_text() for text in ax.texts]
    assert all(words.count(f"{t}, {f}") == 3 for t in range(4) for f in range(3))
    highlight = matplotlib.colors.to_rgba(plotting.HIGHLIGHT)
    marked = [box.get_xy() for box in ax.patches if box.get_edgecolor() == highlight]
    assert len(marked) == 4 + 3  # a row of frames, a column of bins
    assert {words.count(f"{axis}: the sequence") for axis in "TF"} == {1}


@pytest.mark.parametrize("size", [{"frames": 0}, {"bins": 0}])
def test_a_folding_map_of_nothing_is_refused(size):
    with pytest.raises(ValueError, match="has frames and bins"):
        plotting.folding_map(**size)


def test_block_map_has_two_of_each_part_and_one_set_of_weights():
    _, ax = plotting.block_map()
    words = [text.get_text() for text in ax.texts]
    assert words.count("LN + MHA") == 2 and words.count("+") == 4
    assert [w.split("\n")[0] for w in words if "BiMamba" in w] == ["BiMamba 1", "BiMamba 2"]
    assert words.count("the same weights") == 1


def test_response_picture_is_in_decibels_and_masks_what_is_exactly_zero():
    response = torch.zeros(20, 8)
    response[5, 2], response[6, 2] = 2.0, 0.02
    _, ax = plotting.response_picture(response)
    shown = ax.images[0].get_array()  # (F, T)
    assert shown.shape == (8, 20) and shown.count() == 2
    np.testing.assert_allclose([shown[2, 5], shown[2, 6]], [0, -40], atol=1e-6)
    _, ax = plotting.response_picture(response, top=20.0)
    assert ax.images[0].get_array()[2, 5] == pytest.approx(-20)
    left, right, bottom, top = ax.images[0].get_extent()
    assert (bottom, top) == (0, pytest.approx(8)) and right - left == pytest.approx(20 * 0.0075)
    assert "(s)" in ax.get_xlabel() and "(kHz)" in ax.get_ylabel()


def test_response_picture_of_nothing_at_all_can_be_drawn():
    _, ax = plotting.response_picture(np.zeros((4, 3)))
    assert ax.images[0].get_array().count() == 0


def test_deformed_taps_draws_arrows_at_their_true_length():
    offsets = np.zeros((18, 40, 128))
    offsets[2 * 4 + 1] = 1.0  # the middle tap looks one pixel higher: two bins, as F' is F / 2
    fig, axes = plotting.deformed_taps(np.ones((256, 40)), torch.from_numpy(offsets), 20, 50)
    mean, taps = (next(a for a in ax.collections if hasattr(a, "U")) for ax in axes)
    kilohertz = 2 * 16 / 510
    assert mean.V == pytest.approx(kilohertz / 9) and mean.U == pytest.approx(0)
    assert taps.V[4] == pytest.approx(kilohertz) and np.abs(np.delete(taps.V, 4)).max() == 0
    start = (20 * 0.0075, 50 * kilohertz)
    assert (taps.X[4], taps.Y[4]) == pytest.approx(start)
    assert (taps.X[1], taps.Y[1]) == pytest.approx((start[0] - 0.0075, start[1]))
    assert (taps.X[5], taps.Y[5]) == pytest.approx((start[0], start[1] + kilohertz))
    plotting.deformed_taps(np.ones((256, 41)), offsets[:, :11, :32], 0, 31)  # level 3, at a corner
    given = plt.subplots(1, 2)[1]
    assert plotting.deformed_taps(np.ones((256, 40)), offsets, 1, 1, given)[1] is given


def test_cost_map_is_darkest_where_the_cost_is_largest():
    fig, ax = plotting.cost_map({"encoder": 1, "level3": 3}, {"level3": "three"})
    texts = [text.get_text() for text in ax.texts]
    assert "encoder\n25 %" in texts and "level 3\nthree" in texts
    boxes = dict(zip(plotting.NETWORK_PARTS, ax.patches, strict=True))
    light = {name: sum(box.get_facecolor()[:3]) for name, box in boxes.items()}
    assert light["level3"] < light["encoder"] < light["istft"] == 3
    own = plt.subplots()[1]
    assert plotting.cost_map({"encoder": 0.0}, ax=own)[1] is own
    with pytest.raises(ValueError, match="garage"):
        plotting.cost_map({"garage": 1})


def test_looks_at_marks_who_asks_and_circles_what_has_more_than_its_share():
    mag = np.random.default_rng(0).random((256, 60)) + 0.1
    weights = torch.full((128,), 0.5 / 126)
    weights[[10, 20]] = 0.25
    fig, (picture, panel) = plotting.looks_at(mag, weights, frame=30, bin=40, scale=2)
    circles = picture.collections[0].get_offsets()
    hertz = 16_000 / 510
    np.testing.assert_allclose(circles, [[0.225, k * 2 * hertz / 1000] for k in (10, 20)])
    (cross,) = picture.lines
    np.testing.assert_allclose(cross.get_xydata(), [[0.225, 40 * hertz / 1000]])
    widths = [bar.get_width() for bar in panel.patches]
    np.testing.assert_allclose(widths, 128 * weights, rtol=1e-5)  # multiples of the even share
    fig, (picture, panel) = plotting.looks_at(mag, np.full(60, 1 / 60), 30, 40, "time")
    assert len(picture.collections[0].get_offsets()) == 0  # nothing stands out
    assert panel.get_xlabel() == "time (s)" and panel.patches[30].get_height() == pytest.approx(1)


def test_looks_at_knows_two_axes():
    with pytest.raises(ValueError, match="not 'depth'"):
        plotting.looks_at(np.ones((256, 4)), np.ones(4) / 4, 0, 0, "depth")


def test_attention_map_counts_in_even_shares_and_has_units():
    weights = torch.full((20, 20), 1 / 20)
    weights[7] = 0
    weights[7, 3] = 1.0  # step 7 looks at step 3 alone
    _, ax = plotting.attention_map(weights, 7, "time", scale=2, title="head 1")
    shown = ax.images[0].get_array()
    assert (shown[7, 3], shown[7, 4], shown[0, 0]) == pytest.approx((20, 0, 1))
    assert ax.lines[0].get_ydata()[0] == pytest.approx(7 * 2 * 0.0075)
    left, right, bottom, top = ax.images[0].get_extent()
    assert (left, right) == (bottom, top) == pytest.approx((-0.0075, 19.5 * 0.015))
    assert "time (s)" in ax.get_xlabel() and "time (s)" in ax.get_ylabel()
    own = plt.subplots()[1]
    assert plotting.attention_map(np.full((8, 8), 1 / 8), 0, ax=own)[1] is own
    assert "kHz" in own.get_xlabel()
    with pytest.raises(ValueError, match="sideways"):
        plotting.attention_map(weights, 0, "sideways")


def test_remembered_shows_steps_and_states_with_their_reach():
    state = torch.zeros(3, 20, 64)
    state[1, 4, 9], state[2, 8, 9] = 2.0, -0.5
    delta = torch.full((20, 64), 0.1)
    delta[3, 2] = 0.2
    scan = Scan(delta, state, torch.tensor([1.0, 10.0, 4.0]))
    fig, axes = plotting.remembered(np.ones((256, 40)), scan, "time", 9)
    shown = [ax.images[0].get_array() for ax in axes]
    assert shown[1].argmax() == 2 * 20 + 3  # (F, T)
    assert shown[2][9, 4] == pytest.approx(0) and shown[2][9, 8] == pytest.approx(-12.04, abs=0.01)
    assert [label.get_text() for label in axes[3].get_yticklabels()] == ["15", "60", "150"]
    assert shown[3][2, 4] == 1 and shown[3][1, 8] == -1
    assert axes[0].lines[0].get_ydata()[0] == pytest.approx(9 * 4 * 16 / 510)
    _, axes = plotting.remembered(np.ones((256, 40)), scan, "frequency", 4)
    assert axes[3].images[0].get_array().shape == (3, 64) and "Hz" in axes[3].get_ylabel()
    silent = Scan(delta, 0 * state, scan.memory)
    own = plt.subplots(2, 2)[1].ravel()
    assert plotting.remembered(np.ones((256, 40)), silent, "time", 0, own)[1] is own


def test_gain_map_is_green_above_zero_and_has_a_dash_for_what_is_missing():
    table = {"one": {"a": 1.0, "b": -0.5}, "two": {"a": None, "c": 30.0}}
    fig, ax = plotting.gain_map(table, {"a": 2.0, "b": 1.0, "c": 10.0}, title="gain")
    assert [t.get_text() for t in ax.texts] == ["+1.00", "−0.50", "–", "–", "–", "+30.00"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["a", "b", "c"]
    image = ax.images[0].get_array()
    assert image[0, 0] == 0.5 and image[0, 1] == -0.5 and image[1, 2] == 1  # no more than full
    red, green, _, _ = ax.images[0].cmap(ax.images[0].norm(image[0, 0]))
    assert green > red
    own = plt.subplots()[1]
    assert plotting.gain_map(table, 2.0, own, form="{:.0f}")[1] is own
    with pytest.raises(ValueError, match="at least one row"):
        plotting.gain_map({}, 1.0)


def test_interval_rows_draws_means_with_their_intervals_from_the_top():
    rows = {"first": (1.0, 0.5, 1.75), "alone": (-2.0, None, None)}
    fig, ax = plotting.interval_rows(rows, colours={"first": "red"}, label="gain (dB)")
    lines = [line for line in ax.lines[1:]]
    assert lines[0].get_xdata().tolist() == [0.5, 1.75] and lines[0].get_color() == "red"
    assert [line.get_xdata()[0] for line in lines[1:]] == [1.0, -2.0]
    assert lines[-1].get_color() == plotting.MUTED
    bottom, top = ax.get_ylim()
    assert bottom > top and ax.get_xlabel() == "gain (dB)"
    with pytest.raises(ValueError, match="at least one row"):
        plotting.interval_rows({})
