"""Commands import TensorFlow, Keras, matplotlib and NumPy when they first use them, not when a module names them.

`import tensorflow as tf` takes seconds. In a process that is one of our commands it gives a module that is still empty;
the first attribute that is asked of it imports the real one in its place. So --help, a misspelt flag and input that is
refused are answered at once, and no module has to be written differently for it. As a library tc3net imports as usual.

What works with an empty module: `import X as name`, and names used inside functions. What does not wait: `from X import
name`, base classes, decorators, and values of module level; tests/commands/test_startup.py finds them.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from types import FrameType, ModuleType
from typing import Any

from tc3net.terminal.start_noise import without_start_noise

DEFERRED = ("tensorflow", "keras", "matplotlib", "numpy")
# It asks for them while it sets them.
_OF_THE_IMPORT_SYSTEM = {"__path__", "__file__", "__cached__"}
_MARK = "TC3NET_DEFERS_IMPORTS"
_lock = threading.RLock()


class _Empty(ModuleType):
    """A module that fills itself with the real one's content; afterwards it is an ordinary module."""

    def __getattr__(self, name: str) -> Any:  # called for what is not there
        if name in _OF_THE_IMPORT_SYSTEM:
            raise AttributeError(name)
        with _lock:
            if isinstance(self, _Empty):
                _fill(self)
        return getattr(self, name)


class _Filling(_Empty):
    """While the real module's code runs, by whoever holds the lock."""

    def __getattr__(self, name: str) -> Any:
        with _lock:  # another thread waits
            if isinstance(self, _Filling):
                raise AttributeError(f"partially imported module {self.__name__!r} has no attribute {name!r}")
        return getattr(self, name)


class _Later(Loader):
    def __init__(self, real: Loader) -> None:
        self.real = real

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Empty(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing yet."""


class _Imported(Loader):
    """Of a submodule that its package imports while it is filled: the import that led to that one takes it as it is."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


class _Finder(MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in DEFERRED:
            package = sys.modules.get(name.partition(".")[0])
            if type(package) is _Empty:  # a submodule is asked for: its package comes first
                with _lock:
                    if type(package) is _Empty:
                        _fill(package)
                found = sys.modules.get(name)
                if found is not None:  # without this the import system would run its code a second time
                    found.__spec__ = importlib.machinery.ModuleSpec(name, _Imported(found))
                    return found.__spec__
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _Later(spec.loader)
        return spec


def _fill(module: ModuleType) -> None:
    """Runs the real module's code in an empty one; the lock is held."""
    later = module.__spec__.loader if module.__spec__ is not None else None
    assert isinstance(later, _Later)
    module.__class__ = _Filling
    try:
        with _interruptible():
            if module.__name__ == "tensorflow":
                _start_tensorflow(module, later.real)
            else:
                later.real.exec_module(module)
    except BaseException:
        module.__class__ = _Empty
        raise
    module.__class__ = ModuleType


def _start_tensorflow(module: ModuleType, real: Loader) -> None:
    with without_start_noise():
        real.exec_module(module)
        module.config.list_physical_devices("GPU")  # looks for a driver, and says so; later it is known


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C inside ends in KeyboardInterrupt, whatever an import that was interrupted made of it."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    received = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received = True
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    except BaseException:
        if received:
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if received:
        raise KeyboardInterrupt


def defer_imports() -> None:
    """From here on, what `DEFERRED` names is imported when it is used; what is there already stays as it is.

    It acts in processes that this one starts to work for it too, where they import tc3net (`is_worker`).
    """
    os.environ[_MARK] = "1"
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def is_worker() -> bool:
    """Whether this process was started by Python's multiprocessing, for one in which imports are deferred."""
    return _MARK in os.environ and "--multiprocessing-fork" in sys.argv
