"""Packaging. requirements.txt and requirements-addons.txt hold the two stacks; the package installs on either."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "tc3net" / "__init__.py").read_text(encoding="utf-8"))
assert VERSION is not None

# TensorFlow 2.15 or 2.21 and nothing between; each brings its own Keras. A new environment gets the newest that its
# Python has; the extra `addons` asks for the other one.
EITHER_STACK = [
    "tensorflow>=2.15,<2.22,!=2.16.*,!=2.17.*,!=2.18.*,!=2.19.*,!=2.20.*",
    "keras>=2.15,<3.16",
    "numpy>=1.23",
    "absl-py>=1.4",
    "tensorboard>=2.15",
    "matplotlib>=3.8",
    "jinja2>=3.1",
    "tqdm>=4.60",
]


def pinned(name: str) -> list[str]:
    """The lines of a requirements file, without comments."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


HDF5 = ["h5py>=3"]
MAT = ["scipy>=1.9"]
# OpenCV with its contrib modules everywhere: two of its distributions in one environment overwrite each other's files.
FLOW = ["opencv-contrib-python-headless>=4.8"]
VIDEO = ["av>=14", *FLOW]
SERVING = ["grpcio>=1.60", "tensorflow-serving-api>=2.15"]
ONNX = ["tf2onnx>=1.16", "onnxruntime>=1.17"]
PACKAGING = ["packaging>=23", "setuptools>=64", "wheel>=0.40"]  # the tests build the package
TEST = ["hypothesis>=6.100", "pytest>=8", "pytest-xdist>=3.7", "pyyaml>=6", "selenium>=4.20", *PACKAGING]
DEV = ["mypy>=1.10", "ruff>=0.5", *TEST, *HDF5, *MAT, *VIDEO, *SERVING]

setup(
    name="tc3net",
    version=VERSION.group(1),
    description="3C-Net: weakly-supervised temporal action localization in TensorFlow/Keras",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The tc3net authors",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords="temporal action localization, weakly supervised, video understanding, TensorFlow, Keras",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "License :: OSI Approved :: Apache Software License",
        "Operating System :: POSIX :: Linux",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(9, 14)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    python_requires=">=3.9",
    packages=[
        *find_packages(include=["tc3net", "tc3net.*", "data_prep", "data_prep.*"]),
        "tc3net.configs",
        "tc3net.configs.methods",
    ],
    package_dir={"tc3net.configs": "configs", "tc3net.configs.methods": "configs/methods"},
    package_data={
        "tc3net": ["py.typed"],
        "data_prep": ["py.typed"],
        "data_prep.extraction.kinetics": ["*.txt"],
        "tc3net.report": ["assets/*"],
        "tc3net.configs": ["*.cfg"],
        "tc3net.configs.methods": ["*.cfg"],
    },
    entry_points={"console_scripts": ["tc3net = tc3net.__main__:main"]},
    install_requires=EITHER_STACK,
    extras_require={
        "addons": pinned("requirements-addons.txt"),  # optimizers of tensorflow-addons; Python 3.9 to 3.11
        "gpu": ["tensorflow[and-cuda]>=2.21,<2.22"],
        "hdf5": HDF5,  # features in HDF5 files
        "mat": MAT,  # features in MATLAB files before version 7.3
        "video": VIDEO,  # features and the time base from video files
        "flow": FLOW,  # optical flow
        "serving": SERVING,  # asking a model server over gRPC
        "onnx": ONNX,  # the network as ONNX: export, and running it
        # Conversion and scoring on several machines, with the engine of the name.
        "beam": ["apache-beam>=2.60"],
        "dask": ["distributed>=2023.5"],
        "spark": ["pyspark>=3.5"],  # 4: Java 17 or later; 3.5: Java 8 to 17
        # Tests of gs:// against an emulator of this machine.
        "storage": ["gcp-storage-emulator>=2026.7; python_version >= '3.10'", "trustme>=1.1"],
        "docs": ["mkdocs>=1.6,<2", "mkdocs-material>=9.5"],  # the documentation as a site
        "dev": DEV,
    },
)
