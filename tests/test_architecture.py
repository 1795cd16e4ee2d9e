"""The layering of the code, read from its source: who imports whom, who sees flags, how long things are.

A package may import only from packages listed before it here; a new one fails until it is given its place.
docs/architecture.md draws the same picture.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# The packages in the order of the data; what lies flat beside them are commands, which come last and import anything.
ROOMS = {
    "tc3net": (
        "common", "terminal", "engines", "ops", "data", "intervals", "losses", "optimization", "model", "inference",
        "detection", "evaluation", "visualization", "runs", "results", "training", "refinement", "prediction",
        "saved_model", "experiments", "report", "serving",
    ),
    "data_prep": (
        "pickles", "output", "annotations", "features", "inputs", "extraction", "checks", "simulation", "inspection",
        "conversion",
    ),
}  # fmt: skip
COMMANDS = {
    "tc3net.train", "tc3net.evaluate", "tc3net.tune", "tc3net.predict", "tc3net.predict_beam", "tc3net.export",
    "tc3net.__main__", "tc3net.demo", "tc3net.demo_video", "tc3net.ablate", "tc3net.compare_methods", "tc3net.refine",
    "tc3net.detections_to", "tc3net.report.__main__", "tc3net.serving.client",
    "data_prep.beam", "data_prep.convert", "data_prep.extract", "data_prep.inspect", "data_prep.synthetic",
    "data_prep.synthetic_videos",
    "data_prep.to_json", "data_prep.weights",
}  # fmt: skip
# What data preparation shares with training: the record format, the JSON of annotations, time, files, errors,
# extensions, engines, and the version number.
SHARED = {
    "tc3net",
    "tc3net.terminal.command",
    "tc3net.terminal.devices",
    "tc3net.common.errors",
    "tc3net.common.extensions",
    "tc3net.common.files",
    "tc3net.common.locks",
    "tc3net.common.names",
    "tc3net.common.storage",
    "tc3net.common.storage.leases",
    "tc3net.data.parts",
    "tc3net.terminal.interrupt",
    "tc3net.terminal.progress",
    "tc3net.engines.beam",
    "tc3net.engines.engine",
    "tc3net.engines.outcomes",
    "tc3net.data.timebase",
    "tc3net.data.record_index",
    "tc3net.data.schema",
    "tc3net.data.streams",
    "tc3net.data.subset_names",
    "tc3net.intervals.activitynet_json",
    "tc3net.intervals.json_values",
    "tc3net.intervals.similar_ids",
}

MAX_FILE_LINES = 330
MAX_FUNCTION_LINES = 75


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for package in ROOMS for path in sorted((ROOT / package).rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}


def imports(name: str) -> Iterator[str]:
    """Modules of ours that a module imports, anywhere in it, also inside functions."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}, line {node.lineno}: relative import; write the full name"
            # `from package import module` imports the module, `from package import name` the package.
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [path if path in SOURCES else str(node.module) for path in full]
        else:
            continue
        yield from (path for path in found if path.split(".")[0] in ROOMS)


def room(name: str) -> str:
    """`tc3net.evaluation.rules` -> `evaluation`; a command or the package itself -> ``."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS[parts[0]] else ""


@pytest.mark.parametrize("package", ROOMS)
def test_every_package_has_its_place(package: str) -> None:
    here = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
    assert here == set(ROOMS[package]), "give new packages their place in ROOMS, after everything they import from"


@pytest.mark.parametrize("package", ROOMS)
def test_arrows_between_packages_point_down(package: str) -> None:
    floor = {name: number for number, name in enumerate(ROOMS[package])}
    wrong = [
        f"{name} imports {target}"
        for name in SOURCES
        for target in imports(name)
        if name.split(".")[0] == target.split(".")[0] == package
        and room(name)
        and target != package
        and floor.get(room(target), len(floor)) > floor[room(name)]
    ]
    assert not wrong


def test_no_module_imports_itself_over_others() -> None:
    TopologicalSorter({name: set(imports(name)) - {name} for name in SOURCES}).prepare()  # CycleError shows the cycle


MAX_ROOT_MODULES = {"tc3net": 13, "data_prep": 8}
# `common` is what needs no other package: it must not become the drawer for what found no place.
MAX_MODULES, MAX_COMMON_LINES = 15, 720  # without storage, a part of its own in it


@pytest.mark.parametrize("package", ROOMS)
def test_only_commands_lie_flat(package: str) -> None:
    flat = {module_name(path) for path in (ROOT / package).glob("*.py")} - {package}
    assert len(flat) <= MAX_ROOT_MODULES[package]
    assert flat <= COMMANDS, "a module that is no command belongs into a package"


def test_packages_are_small_enough_to_be_looked_through() -> None:
    sizes = Counter(str(path.parent.relative_to(ROOT)) for path in SOURCES.values() if path.name != "__init__.py")
    assert {name: size for name, size in sizes.items() if size > MAX_MODULES} == {}
    common = [path for name, path in SOURCES.items() if name.startswith("tc3net.common") and ".storage" not in name]
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in common) <= MAX_COMMON_LINES


def test_no_package_exports_a_name_that_is_one_of_its_modules() -> None:
    wrong = []
    for name, path in SOURCES.items():
        if path.name == "__init__.py":
            exported = {
                alias.asname or alias.name
                for node in TREES[name].body
                if isinstance(node, ast.ImportFrom)
                for alias in node.names
            }
            wrong += [f"{name}.{module}" for module in exported if f"{name}.{module}" in SOURCES]
    assert not wrong, "whoever imports it gets a module or a function, depending on what was imported before"


# Where the tests of a package lie; those of commands and of data preparation are together, helpers in `support`.
TEST_FOLDERS = {*ROOMS["tc3net"], "commands", "data_prep", "studies", "support"}


def test_tests_lie_where_the_packages_do() -> None:
    folders = {path.relative_to(ROOT / "tests").parent.as_posix() for path in (ROOT / "tests").rglob("*.py")}
    assert folders <= {*TEST_FOLDERS, "support/toy_extensions", "."}


def test_no_test_imports_another_test() -> None:
    wrong = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [f"{getattr(node, 'module', '')}.{alias.name}" for alias in node.names]
                if any(part.startswith("test_") for name in names for part in name.split(".")):
                    wrong.append(f"{path.relative_to(ROOT)}, line {node.lineno}: {ast.unparse(node)}")
    assert not wrong, "what tests share belongs into a module of tests/support"


# Where a user hands raw features to tc3net, as files or arrays: they are read and checked as data preparation does it.
# What training and evaluation read was prepared before.
TAKES_RAW_FEATURES = {"tc3net.prediction.feature_files", "tc3net.serving.features"}
# What these import, and what that may import in turn: nothing that reads annotations, or needs TensorFlow.
READS_RAW_FEATURES = ("data_prep.features", "data_prep.pickles")
# Where a user hands videos to tc3net: their features are extracted as data preparation does it.
TAKES_VIDEOS = {f"tc3net.prediction.video_{name}" for name in ("networks", "features", "follow", "copies")}
EXTRACTS = ("data_prep.extraction", "data_prep.features")


def in_packages(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


TIME_AND_STREAMS = ("tc3net.data.timebase", "tc3net.data.streams")


def test_tc3net_knows_nothing_of_data_prep_but_how_features_are_read_and_extracted() -> None:
    wrong = [
        f"{name} imports {target}"
        for name in SOURCES
        for target in imports(name)
        if name.startswith("tc3net") and target.startswith("data_prep")
        if not in_packages(target, EXTRACTS if name in TAKES_VIDEOS else READS_RAW_FEATURES[:1])
        or name not in TAKES_RAW_FEATURES | TAKES_VIDEOS
    ]
    assert not wrong
    wrong = [
        f"{name} imports {target}"
        for name in SOURCES
        for target in imports(name)
        if in_packages(name, READS_RAW_FEATURES)
        if not in_packages(
            target, (*READS_RAW_FEATURES, "tc3net.common", "tc3net.data.timebase", "tc3net.data.streams")
        )
    ]
    assert not wrong


def test_data_prep_uses_only_the_shared_modules_of_tc3net() -> None:
    wrong = [
        f"{name} imports {target}"
        for name in SOURCES
        for target in imports(name)
        if name.startswith("data_prep") and target.startswith("tc3net") and target not in SHARED
    ]
    assert not wrong


# What runs every command: it parses and tells the flags, reads absl's own `--verbosity`, and defines `--extensions`.
RUNS_COMMANDS = {
    "tc3net.terminal.command", "tc3net.terminal.arguments", "tc3net.terminal.help", "tc3net.terminal.completion",
    "tc3net.common.extensions",
}  # fmt: skip


def allowed_flags(name: str) -> set[int]:
    """Identities of the nodes that may say FLAGS: defaults of arguments in `config`."""
    nodes = [
        default
        for node in ast.walk(TREES[name])
        if name == "tc3net.common.config" and isinstance(node, ast.FunctionDef)
        for default in (*node.args.defaults, *node.args.kw_defaults)
        if default is not None
    ]
    return {id(part) for node in nodes for part in ast.walk(node)}


def test_only_commands_read_or_define_global_flags() -> None:
    wrong = []
    for name, tree in TREES.items():
        if name in COMMANDS | RUNS_COMMANDS:
            continue
        allowed = allowed_flags(name)
        for node in ast.walk(tree):
            reads = getattr(node, "attr", getattr(node, "id", "")) == "FLAGS" and id(node) not in allowed
            defines = (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr.startswith("DEFINE_")
                and "flag_values" not in {keyword.arg for keyword in node.keywords}
            )
            if reads or defines:
                wrong.append(f"{name}, line {node.lineno}")
    assert not wrong


def test_every_command_is_there_and_can_be_run() -> None:
    assert set(SOURCES) >= COMMANDS
    runnable = {
        name
        for name, tree in TREES.items()
        if any(isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'" for node in tree.body)
    }
    assert runnable == COMMANDS


def test_files_are_short() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in SOURCES.items()}
    too_long = {name: length for name, length in lengths.items() if length > MAX_FILE_LINES}
    assert not too_long, f"files of more than {MAX_FILE_LINES} lines: {too_long}"


def test_functions_are_short() -> None:
    too_long = {}
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    too_long[f"{name}.{node.name}"] = length
    assert not too_long, f"functions of more than {MAX_FUNCTION_LINES} lines: {too_long}"


# Python callbacks and loops over a batch, which no exported graph can carry; the API that only Keras 3 has.
FORBIDDEN_ATTRIBUTES = {"map_fn", "py_function", "numpy_function", "py_func", "from_generator"}


def test_no_unpickling_no_python_callbacks_in_graphs_no_keras_3_only_api() -> None:
    wrong = []
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            found = None
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                if not (isinstance(node.value, ast.Constant) and node.value.value is False):
                    found = "allow_pickle"
            elif isinstance(node, ast.Attribute):
                if node.attr in FORBIDDEN_ATTRIBUTES or ast.unparse(node) == "keras.ops":
                    found = node.attr
            elif isinstance(node, ast.ImportFrom):
                names = {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
                if "keras.ops" in names:
                    found = "keras.ops"
            elif isinstance(node, ast.Import) and any(alias.name.startswith("keras.ops") for alias in node.names):
                found = "keras.ops"
            if found:
                wrong.append(f"{name}, line {getattr(node, 'lineno', '?')}: {found}")
    assert not wrong


# Who writes down what was used; nobody but tc3net.common.stack decides by it.
RECORDS_VERSIONS = {"tc3net.runs.provenance", "data_prep.conversion.plan"}


def test_the_stacks_differ_in_one_module_alone() -> None:
    wrong = []
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            asks = isinstance(node, ast.Attribute) and ast.unparse(node) in {
                "keras.__version__", "tf.__version__", "tf.version.VERSION", "keras.version",
            }  # fmt: skip
            knows = getattr(node, "id", getattr(node, "attr", "")) == "KERAS_3" or (
                isinstance(node, ast.alias) and node.name in ("KERAS_3", "tensorflow_addons")
            )
            if name != "tc3net.common.stack" and (knows or (asks and name not in RECORDS_VERSIONS)):
                wrong.append(f"{name}, line {getattr(node, 'lineno', '?')}: {ast.unparse(node)}")
    assert not wrong
