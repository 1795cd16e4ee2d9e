"""Packaging. The dependencies stand in requirements.txt alone."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "tc3net" / "__init__.py").read_text(encoding="utf-8"))
assert VERSION is not None

HDF5 = ["h5py>=3"]
VIDEO = ["opencv-python-headless>=4.8"]
SERVING = ["grpcio>=1.60", "tensorflow-serving-api>=2.15"]
TEST = ["hypothesis>=6.100", "pytest>=8", "pytest-xdist>=3.5", "pyyaml>=6", "selenium>=4.20"]
DEV = ["mypy>=1.10", "ruff>=0.5", *TEST, *HDF5, *VIDEO, *SERVING]

setup(
    name="tc3net",
    version=VERSION.group(1),
    description="3C-Net: weakly-supervised temporal action localization in TensorFlow/Keras",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.9",
    packages=find_packages(include=["tc3net", "tc3net.*", "data_prep", "data_prep.*"]),
    package_data={"tc3net.report": ["assets/*"]},
    install_requires=[line for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines() if line],
    extras_require={
        "gpu": ["tensorflow[and-cuda]>=2.21,<2.22"],
        "hdf5": HDF5,  # features in HDF5 files
        "video": VIDEO,  # the time base from video files
        "serving": SERVING,  # asking a model server over gRPC
        "beam": ["apache-beam>=2.60"],  # conversion and scoring on several machines
        "dev": DEV,
    },
)
