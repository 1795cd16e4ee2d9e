"""Deferred modules are the real ones from their first use on; what an import says is held back, and errors are not."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tc3net.terminal import start_noise

# A package in place of TensorFlow's name, since that one takes seconds.
PACKAGE = {
    "__init__.py": """
        import os
        os.write(2, b"tensorflow is imported\\\\n")
        from slow import part
        value = part.VALUE
    """,
    "part.py": "import sys\nVALUE = 7\nsys.times_run = getattr(sys, 'times_run', 0) + 1",
    "other.py": "import slow\nSEEN = slow.value",
    "broken.py": "",
}


def run(tmp_path: Path, code: str) -> subprocess.CompletedProcess[str]:
    package = tmp_path / "slow"
    package.mkdir()
    for name, source in PACKAGE.items():
        (package / name).write_text(textwrap.dedent(source).replace("\\\\n", "\\n"), encoding="utf-8")
    start = (
        "import sys; from tc3net.terminal import deferred; deferred.DEFERRED = ('slow',); deferred.defer_imports()\n"
    )
    paths = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(Path(__file__).parents[2])!r}]\n"
    return subprocess.run([sys.executable, "-c", paths + start + code], capture_output=True, text=True)


def test_the_first_attribute_imports_it_once(tmp_path: Path) -> None:
    code = """
import slow
import slow as again
print("slow.part" in sys.modules, slow is again, slow.value, again.value, slow.part.VALUE, type(slow).__name__)
import slow
"""
    done = run(tmp_path, code)
    assert done.stdout == "False True 7 7 7 module\n", done.stderr
    assert done.stderr == "tensorflow is imported\n"


@pytest.mark.parametrize(
    "code",
    [
        "from slow import value; print(value)",
        "from slow.part import VALUE; print(VALUE, sys.modules['slow'].value)",
        "import slow.other; print(slow.other.SEEN)",
    ],
)
def test_names_and_submodules_import_the_package_first(tmp_path: Path, code: str) -> None:
    done = run(tmp_path, code)
    assert done.stdout.startswith("7") and done.stderr == "tensorflow is imported\n"


@pytest.mark.parametrize("code", ["import slow.part", "from slow.part import VALUE", "from slow import part"])
def test_a_submodule_is_imported_once(tmp_path: Path, code: str) -> None:
    """Asked for first, and imported by its package too, which its own import begins with."""
    told = f"""
import slow, sys
{code}
part = sys.modules["slow.part"]
print(sys.times_run, part is slow.part, part.__spec__.name, type(part.__spec__.loader).__name__)
"""
    assert run(tmp_path, told).stdout == "1 True slow.part SourceFileLoader\n"


def test_an_import_that_fails_fails_where_it_is_used_and_can_be_tried_again(tmp_path: Path) -> None:
    code = """
import slow, os
real = slow.__spec__.loader.real.path
source = open(real).read()
open(real, "w").write("raise ImportError('no library')")
for _ in range(2):
    try:
        slow.value
    except ImportError as error:
        print(error)
open(real, "w").write(source + "# another size")
print(slow.value)
"""
    assert run(tmp_path, code).stdout == "no library\nno library\n7\n"


def test_an_attribute_that_is_not_there_is_an_attribute_error(tmp_path: Path) -> None:
    done = run(tmp_path, "import slow; print(hasattr(slow, 'nothing'), slow.value)")
    assert done.stdout == "False 7\n", done.stderr


def test_threads_wait_for_the_whole_module(tmp_path: Path) -> None:
    code = """
import threading, slow
found = []
threads = [threading.Thread(target=lambda: found.append(slow.value)) for _ in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
print(found)
"""
    assert run(tmp_path, code).stdout == f"{[7] * 8}\n"


NOISE = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:17.9   13 cudart_stub.cc:31] Could not find cuda drivers on your machine, GPU will not be used.",
    "I0000 00:00:17.9   13 cpu_feature_guard.cc:227] This TensorFlow binary is optimized to use ...",
    "To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow with ...",
    "E0000 00:00:17.9   13 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: Failed call to cuInit: "
    "UNKNOWN ERROR (303)",
    "06:56:01: E external/xla/cuda_fft.cc:607] Unable to register cuFFT factory: Attempting to register factory",
    "06:56:03: W tensorflow/compiler/tf2tensorrt/utils/py_utils.cc:38] TF-TRT Warning: Could not find TensorRT",
)
REAL = (
    "E0000 00:00:17.9   13 cuda_platform.cc:52] failed call to cuInit: CUDA_ERROR_OUT_OF_MEMORY: out of memory",
    "F0000 00:00:17.9   13 check.cc:1] Check failed: a == b",
    "ImportError: libcudnn.so.9: cannot open shared object file",
    "the last line, without its end",
)
WRITE = """
import os, sys
sys.path.insert(0, {root!r})
sys.argv = ["command", *{arguments!r}]
from tc3net.terminal.start_noise import without_start_noise
with without_start_noise():
    os.write(2, {text!r})
    {then}
print("afterwards", file=sys.stderr)
"""


def written(arguments: list[str], then: str = "pass", level: str = "") -> tuple[int, str]:
    text = "\n".join([*NOISE[:3], *REAL[:3], *NOISE[3:], REAL[3]]).encode()
    code = WRITE.format(root=str(Path(__file__).parents[2]), arguments=arguments, text=text, then=then)
    environment = {"PATH": "/usr/bin:/bin", **({start_noise.LEVEL: level} if level else {})}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    return done.returncode, done.stderr


def test_known_noise_is_held_back_and_everything_else_arrives() -> None:
    status, said = written([])
    assert (status, said) == (0, "\n".join(REAL) + "afterwards\n")


def test_what_is_said_before_a_crash_arrives() -> None:
    status, said = written([], then="os.abort()")
    assert status < 0 and all(line in said for line in REAL)


@pytest.mark.parametrize(
    ("arguments", "level"), [(["--verbosity=0"], ""), (["--verbosity", "1"], ""), (["-v=info"], ""), ([], "0")]
)
def test_whoever_asks_sees_all_of_it(arguments: list[str], level: str) -> None:
    assert all(line in written(arguments, level=level)[1] for line in (*NOISE, *REAL))


def test_asking_for_less_is_not_asking() -> None:
    assert written(["--verbosity=-1"])[1] == "\n".join(REAL) + "afterwards\n"
