"""The simulated data sets of the counting study, made on first use."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from data_prep.annotations.formats import read_annotations
from data_prep.conversion.pipeline import ConvertOptions, convert
from data_prep.inputs.options import InputOptions
from data_prep.simulation.simulator import SIMULATED_MARKER, SimulatorConfig
from data_prep.synthetic import SyntheticOptions, simulate
from studies.prototype_features import PrototypeConfig, PrototypeSimulator
from tc3net.common.files import write_json
from tc3net.data.schema import MANIFEST_NAME
from tc3net.data.timebase import TimeBase

# Of two designs; then, to find what the difference between their results is due to: our features for THUMOS14's
# annotations; our simulator with actions that stand out more; prototypes without background that belongs to a class.
SIMULATORS = ("ours", "thumos14", "thumos14_ours", "ours_clear", "thumos14_bare")
CLEARER = 1.6


def dataset_of(simulator: str, work: Path, annotations: str) -> Path:
    """The converted data set, made if it is not there.

    Args:
        simulator: one of `SIMULATORS`.
        work: where raw and converted data go.
        annotations: THUMOS14's annotation folder, for "thumos14" and "thumos14_ours".
    """
    raw, dataset = work / f"{simulator}_raw", work / f"{simulator}_dataset"
    if (dataset / MANIFEST_NAME).is_file():
        return dataset
    if simulator.startswith("ours"):
        # As many videos and classes as THUMOS14 has with temporal annotation.
        model = clear_model() if simulator == "ours_clear" else SimulatorConfig()
        simulate(SyntheticOptions(raw, num_train=200, num_test=212, num_classes=20, model=model))
        source = raw / "annotations.json"
    elif simulator == "thumos14_ours":
        simulate(SyntheticOptions(raw, annotations=annotations))
        source = Path(annotations)
    else:
        source = Path(annotations)
        bare = replace(PrototypeConfig(), setting_share=(0.0, 0.0), attempts_per_s=0.0)
        write_prototype_features(raw, source, bare if simulator == "thumos14_bare" else PrototypeConfig())
    inputs = InputOptions(annotations=source, features=raw / "features")
    convert(ConvertOptions(inputs=inputs, output_dir=dataset, name=simulator, keep_late_instances=True))
    return dataset


def clear_model() -> SimulatorConfig:
    """Our simulator with actions `CLEARER` times as strong."""
    model = SimulatorConfig()
    rgb, flow = (replace(gains, action=CLEARER * gains.action) for gains in (model.rgb, model.flow))
    return replace(model, rgb=rgb, flow=flow)


def write_prototype_features(folder: Path, annotations: Path, config: PrototypeConfig) -> None:
    """Features of `studies.prototype_features` for real annotations, one file per video and stream."""
    simulator = PrototypeSimulator(config, TimeBase())
    for name in ("rgb", "flow"):
        (folder / "features" / name).mkdir(parents=True, exist_ok=True)
    for video in read_annotations(annotations)[0].videos:
        for name, values in zip(("rgb", "flow"), simulator.features(video)):
            np.save(folder / "features" / name / f"{video.video_id}.npy", values)
    # Results on it are labelled as simulated by this file.
    note = "Simulated features; results on them say nothing about real videos."
    write_json(folder / SIMULATED_MARKER, {"note": note, "parameters": json.loads(json.dumps(asdict(config)))})
