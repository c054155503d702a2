"""The diagnosis panel: pure functions from a film to what is shown, and thin widget callbacks around them."""

from __future__ import annotations

import dataclasses
import html
import io
from dataclasses import dataclass

import ipywidgets as widgets
import numpy as np
from PIL import Image

from rahelpers.artifacts import Run
from rahelpers.config import RunConfig
from rahelpers.curation import Cohort, load_cohort
from rahelpers.gradcam import compute_gradcam
from rahelpers.inference import Bundle, load_bundle, predict_logits
from rahelpers.normalisation import to_network_input
from rahelpers.plots import figure_png, picture_html, plot_region_shap
from rahelpers.quality import check_film
from rahelpers.radiograph import RadiographError, read_radiograph
from rahelpers.shap_regions import RegionShap, compute_region_shap, make_regions

BANNER = "Education and research only. Not for diagnosis or treatment."
MAX_BYTES = 50_000_000
SHOWN_PX = 440


@dataclass(frozen=True)
class Diagnosis:
    """What the model says of one film.

    Attributes
    ----------
    image : uint8 array (S, S)
        The film as the network saw it.
    probability : float
        Calibrated, of the positive class.
    positive : bool
        At or above the operating point.
    heatmap : float32 array (S, S) in [0, 1]
    flat : bool
        No place speaks for the positive class.
    notes : tuple of str
        What is odd about the film, in words.
    """

    image: np.ndarray
    probability: float
    positive: bool
    heatmap: np.ndarray
    flat: bool
    notes: tuple[str, ...] = ()


def diagnose(bundle: Bundle, image: np.ndarray, notes: tuple[str, ...] = ()) -> Diagnosis:
    """Probability and heat map of one network input, uint8 (S, S); `notes` are passed on.

    Raises
    ------
    ValueError
        If the image does not have the bundle's size.
    """
    side = bundle.info["image_size"]
    if image.shape != (side, side):
        raise ValueError(f"image has shape {image.shape}: expected ({side}, {side})")
    probability = float(bundle.probability(predict_logits(bundle.model, image[None]))[0])
    cam = compute_gradcam(bundle.model, image[None], bundle.info["gradcam_layer"])
    return Diagnosis(image, probability, probability >= bundle.info["operating_point"]["probability"], cam.maps[0], bool(cam.flat[0]), notes)


def read_upload(content: bytes, name: str, bundle: Bundle, side: str = "") -> tuple[np.ndarray, tuple[str, ...]]:
    """An uploaded file as network input, uint8 (S, S), and what is odd about it.

    Parameters
    ----------
    content : bytes
    name : str
        Of the file, for messages.
    bundle : Bundle
    side : str
        L or R where the person knows better than the file; else empty.

    Raises
    ------
    RadiographError
        With a message for the person who chose the file.
    """
    if len(content) > MAX_BYTES:
        raise RadiographError(f"{name}: {len(content) / 1e6:.0f} MB; expected at most {MAX_BYTES / 1e6:.0f} MB")
    film = read_radiograph(content, name)
    film = dataclasses.replace(film, laterality=side or film.laterality)
    seen = to_network_input(film, bundle.info["image_size"], bundle.info["mirror_right"])
    findings = check_film(film, seen)
    if findings and findings[0].action == "exclude":
        raise RadiographError(f"{name}: {findings[0].words}")
    notes = [finding.words for finding in findings]
    if not film.laterality:
        notes.append("the file does not say which hand it is; it is read as a left one. Choose the side if it is a right one")
    return seen.image, tuple(notes)


def render_png(image: np.ndarray, heatmap: np.ndarray | None = None, opacity: float = 0.0) -> bytes:
    """The film, or the film under its heat map, as PNG.

    Parameters
    ----------
    image : uint8 array (S, S)
    heatmap : float array (S, S) in [0, 1], optional
    opacity : float in [0, 1]
        Of the hottest place; cold places stay clear.
    """
    from matplotlib import colormaps

    film = np.repeat(image[..., None], 3, axis=2).astype(np.float64)
    if heatmap is not None:
        colour = colormaps["cividis"](heatmap)[..., :3] * 255
        weight = opacity * heatmap[..., None]
        film = (1 - weight) * film + weight * colour
    buffer = io.BytesIO()
    Image.fromarray(np.rint(film).astype(np.uint8)).resize((SHOWN_PX, SHOWN_PX), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


def describe(diagnosis: Diagnosis, info: dict) -> str:
    """The answer in words, as HTML."""
    positive, point = info["task"], info["operating_point"]
    side = "at or above" if diagnosis.positive else "below"
    call = positive if diagnosis.positive else info["class_names"][0]
    flat = "<p>The heat map is flat: no place speaks for the positive class.</p>" if diagnosis.flat else ""
    notes = "".join(f"<p><b>Look at this film:</b> {html.escape(note)}.</p>" for note in diagnosis.notes)
    return (f'<p style="font-size:1.5em;margin:.3em 0">Probability of {html.escape(positive)}: <b>{diagnosis.probability:.1%}</b></p>'
            f"<p>This is {side} the operating point of {point['probability']:.1%}, so the model calls it <b>{html.escape(call)}</b>. "
            f"The point was chosen on {point['films_positive']} positive and {point['films_negative']} negative validation films, where it had "
            f"sensitivity {point['sensitivity']:.0%} and specificity {point['specificity']:.0%}: on new films expect less.</p>{flat}{notes}")  # fmt: skip


def message_html(text: str) -> str:
    """A message that is not only a colour."""
    return f'<p role="alert" style="border-left:4px solid #b58900;padding:.4em .8em"><b>This file cannot be used.</b> {html.escape(text)}</p>'


def shap_html(found: RegionShap, title: str) -> str:
    """Bars of the strongest regions, with the additivity error."""
    png = figure_png(plot_region_shap(found.names, found.values, title), dpi=90)
    strongest = found.names[int(np.argmax(found.values))]
    caption = (f"Shapley values of regions, with a standard error of at most {found.standard_error.max():.2g}. "
               f"They add up to the logit; error {found.additivity_error:.1e}.")  # fmt: skip
    return picture_html(png, f"Bars of region Shapley values; {strongest} speaks most for the positive class", caption, f"{SHOWN_PX}px")


def build_panel(run: Run) -> widgets.Widget:
    """The panel of a run. Each call has its own state; uploads stay in memory.

    Raises
    ------
    MissingArtefact
        If the run has no cohort or bundle.
    """
    return _Panel(load_cohort(run), load_bundle(run.file("train", "bundle/bundle.json").parent), run.config).box


class _Panel:
    """Widgets and the thin callbacks between them."""

    def __init__(self, cohort: Cohort, bundle: Bundle, config: RunConfig) -> None:
        self.cohort, self.bundle, self.config = cohort, bundle, config
        self.diagnosis: Diagnosis | None = None
        self.row: int | None = None
        rows = cohort.split("test")
        options = [("choose a film", -1), *[(f"film {i + 1} of {len(rows)}", int(r)) for i, r in enumerate(rows)]]
        wide = {"description_width": "110px"}
        self.sample = widgets.Dropdown(options=options, value=-1, description="Test sample", style=wide)
        self.upload = widgets.FileUpload(accept=".png,.jpg,.jpeg,.dcm,.tif,.tiff,.bmp", multiple=False, description="Upload a film")
        sides = [("as the file says", ""), ("left", "L"), ("right", "R")]
        self.side = widgets.Dropdown(options=sides, value="", description="Side of upload", style=wide)
        self.opacity = widgets.FloatSlider(value=0.6, min=0, max=1, step=0.05, description="Heat map", readout_format=".0%", style=wide)
        self.explain = widgets.Button(description="Explain by regions", disabled=True, tooltip="Region SHAP; takes a few seconds")
        self.truth = widgets.Button(description="Show the truth", disabled=True, tooltip="The label of this test sample")
        self.film, self.overlay, self.answer, self.bars, self.reveal = (widgets.HTML() for _ in range(5))
        self.sample.observe(self._on_sample, "value")
        self.upload.observe(self._on_upload, "value")
        self.side.observe(self._on_side, "value")
        self.opacity.observe(self._on_opacity, "value")
        self.explain.on_click(self._on_explain)
        self.truth.on_click(self._on_truth)
        banner = widgets.HTML(f'<div role="note" style="background:#00204d;color:#fff;padding:.5em 1em"><b>{BANNER}</b></div>')
        title = widgets.HTML(f"<h2 style='margin:.4em 0'>{html.escape(bundle.info['title'])}: diagnosis panel</h2>")
        row = widgets.Layout(flex_flow="row wrap", align_items="center", grid_gap="8px")
        half = widgets.Layout(flex="1 1 320px", min_width="280px")
        left, right = widgets.VBox([self.film], layout=half), widgets.VBox([self.overlay, self.opacity], layout=half)
        self.box = widgets.VBox([
            banner, title, widgets.Box([self.sample, self.upload, self.side], layout=row), self.answer,
            widgets.Box([left, right], layout=widgets.Layout(flex_flow="row wrap", grid_gap="16px")),
            widgets.Box([self.explain, self.truth], layout=row), self.reveal, self.bars,
        ])  # fmt: skip
        self._clear("<p>Choose a test sample or upload a film (PNG, JPEG, TIFF, BMP or DICOM).</p>")

    def _clear(self, text: str) -> None:
        self.diagnosis = None
        self.explain.disabled = self.truth.disabled = True
        self.film.value = self.overlay.value = self.bars.value = self.reveal.value = ""
        self.answer.value = text

    def _show(self, image: np.ndarray, caption: str, notes: tuple[str, ...] = ()) -> None:
        self._clear("<p>Reading …</p>")
        self.diagnosis = diagnose(self.bundle, image, notes)
        self.answer.value = describe(self.diagnosis, self.bundle.info)
        self.film.value = picture_html(render_png(image), "The film as the network sees it", caption, f"{SHOWN_PX}px")
        self.explain.disabled = False
        self._on_opacity()

    def _on_sample(self, change: dict) -> None:
        if change["new"] < 0:
            self._clear("<p>Choose a test sample or upload a film.</p>")
            return
        self.row = change["new"]
        self._show(np.asarray(self.cohort.images[self.row]), f"test sample, {self.bundle.info['image_size']} px")
        self.truth.disabled = False

    def _on_upload(self, change: dict) -> None:
        if not change["new"]:
            return
        file = change["new"][0]
        self.row = None
        try:
            image, notes = read_upload(bytes(file["content"]), file["name"], self.bundle, self.side.value)
            self._show(image, f"{file['name']}, {self.bundle.info['image_size']} px", notes)
        except RadiographError as error:
            self._clear(message_html(str(error)))

    def _on_side(self, _: dict) -> None:
        if self.row is None:  # a test sample on show has its side already
            self._on_upload({"new": self.upload.value})

    def _on_opacity(self, _: dict | None = None) -> None:
        if self.diagnosis is None:
            return
        alt = "Heat map is flat" if self.diagnosis.flat else "Grad-CAM heat map over the film; yellow is where the evidence is strongest"
        png = render_png(self.diagnosis.image, self.diagnosis.heatmap, self.opacity.value)
        self.overlay.value = picture_html(png, alt, f"Grad-CAM, layer {self.bundle.info['gradcam_layer']}. Evidence, not proof.", f"{SHOWN_PX}px")

    def _on_explain(self, _: widgets.Button) -> None:
        if self.diagnosis is None:
            return
        self.explain.disabled = True
        self.bars.value = "<p>Hiding regions one after another …</p>"
        joints = self.cohort.joints_of(self.row) if self.row is not None else self.cohort.joints.iloc[:0]
        regions = make_regions(self.diagnosis.image, joints)
        found = compute_region_shap(self.bundle.model, self.diagnosis.image, regions, self.config.shap_baseline, self.config.shap_evaluations)
        self.bars.value = shap_html(found, self.bundle.info["title"])
        self.explain.disabled = False

    def _on_truth(self, _: widgets.Button) -> None:
        if self.row is not None:
            label = int(self.cohort.manifest["label"].iloc[self.row])
            self.reveal.value = f"<p>Truth: <b>{html.escape(self.bundle.info['class_names'][label])}</b></p>"
