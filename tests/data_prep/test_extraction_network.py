"""The I3D network against one written in NumPy, and the published one on DeepMind's own clip."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.extraction.inception import InceptionPlan
from data_prep.extraction.network import I3D, max_pool
from data_prep.extraction.weights import check_weights
from tests.support.narrow_i3d import PLAN, some_weights
from tests.support.needs import I3D_WEIGHTS, PUBLISHED, PUBLISHED_DETECTIONS, VIDEO, needs


def padded(values, size, stride, fill):
    """Pads time, height and width as TensorFlow's `SAME` does, and gives the windows' starts along each."""
    before_after, starts = [(0, 0)], []
    for length, window, step in zip(values.shape[1:4], size, stride):
        count = -(-length // step)
        total = max((count - 1) * step + window - length, 0)
        before_after.append((total // 2, total - total // 2))
        starts.append([index * step for index in range(count)])
    return np.pad(values, [*before_after, (0, 0)], constant_values=fill), starts


def each_window(values, size, stride, fill, reduce):
    """Applies `reduce` to every window [N, t, h, w, C] of a `SAME` operation, one after the other."""
    values, starts = padded(values, size, stride, fill)
    found = {
        corner: reduce(
            values[:, corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1], corner[2] : corner[2] + size[2]]
        )
        for corner in itertools.product(*starts)
    }
    first = next(iter(found.values()))
    return np.stack(list(found.values()), 1).reshape(len(values), *map(len, starts), first.shape[-1])


class Oracle:
    """The network layer by layer in float64, from the checkpoints' names and the paper's figure alone."""

    def __init__(self, arrays):
        self.arrays = {name: array.astype(np.float64) for name, array in arrays.items()}

    def convolve(self, name, values, stride=1):
        kernel = self.arrays[f"{name}/kernel"]
        out = each_window(
            values,
            kernel.shape[:3],
            3 * (stride,),
            0,
            lambda window: np.tensordot(window, kernel, [[1, 2, 3, 4], [0, 1, 2, 3]]),
        )
        mean, variance, beta = (self.arrays[f"{name}/{part}"] for part in ("moving_mean", "moving_variance", "beta"))
        return np.maximum((out - mean) / np.sqrt(variance + 0.001) + beta, 0)

    def pool(self, values, size, stride):
        return each_window(values, size, stride, -np.inf, lambda window: window.max((1, 2, 3)))

    def mixed(self, name, values):
        def unit(path, inputs):
            return self.convolve(f"{name}/{path}", inputs)

        return np.concatenate(
            [
                unit("Branch_0/Conv3d_0a_1x1", values),
                unit("Branch_1/Conv3d_0b_3x3", unit("Branch_1/Conv3d_0a_1x1", values)),
                unit("Branch_2/Conv3d_0b_3x3", unit("Branch_2/Conv3d_0a_1x1", values)),
                unit("Branch_3/Conv3d_0b_1x1", self.pool(values, (3, 3, 3), (1, 1, 1))),
            ],
            -1,
        )

    def end_points(self, values):
        points = {}
        x = points["Conv3d_1a_7x7"] = self.convolve("Conv3d_1a_7x7", values, 2)
        x = points["MaxPool3d_2a_3x3"] = self.pool(x, (1, 3, 3), (1, 2, 2))
        x = self.convolve("Conv3d_2c_3x3", self.convolve("Conv3d_2b_1x1", x))
        x = self.pool(x, (1, 3, 3), (1, 2, 2))
        x = points["Mixed_3c"] = self.mixed("Mixed_3c", self.mixed("Mixed_3b", x))
        x = points["MaxPool3d_4a_3x3"] = self.pool(x, (3, 3, 3), (2, 2, 2))
        for name in ("4b", "4c", "4d", "4e", "4f"):
            x = self.mixed(f"Mixed_{name}", x)
        x = self.mixed("Mixed_5b", self.pool(x, (2, 2, 2), (2, 2, 2)))
        x = points["Mixed_5c"] = self.mixed("Mixed_5c", x)
        points["Features"] = x.mean((1, 2, 3))
        kernel, bias = (self.arrays[f"Logits/Conv3d_0c_1x1/{part}"] for part in ("kernel", "bias"))
        windows = [x[:, time : time + 2].mean((1, 2, 3)) for time in range(x.shape[1] - 1)]
        points["Logits"] = np.mean([window @ kernel[0, 0, 0] + bias for window in windows], 0)
        exps = np.exp(points["Logits"])
        points["Predictions"] = exps / exps.sum(-1, keepdims=True)
        return points


@pytest.mark.parametrize("shape", [(2, 16, 32, 32), (1, 17, 37, 50)], ids=["even", "odd"])
def test_all_end_points_are_those_of_the_oracle(shape):
    arrays = some_weights()
    clips = np.random.default_rng(1).uniform(-1, 1, (*shape, 3)).astype(np.float32)
    expected = Oracle(arrays).end_points(clips.astype(np.float64))
    found = I3D(PLAN, check_weights(arrays, PLAN, "it"), tuple(expected))(clips)
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert np.abs(values).max() > 1e-3, name  # something has come through
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-4, err_msg=name)


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(*[st.integers(1, 9)] * 3),
    st.sampled_from([((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (1, 1, 1)), ((3, 3, 3), (2, 2, 2)), ((2, 2, 2), (2, 2, 2))]),
)
def test_pools_are_tensorflows_own_to_the_last_bit(size, pool):
    window, strides = pool
    values = np.random.default_rng(sum(size)).normal(size=(2, *size, 3)).astype(np.float32)
    expected = tf.nn.max_pool3d(values, [1, *window, 1], [1, *strides, 1], "SAME")
    np.testing.assert_array_equal(max_pool(tf.constant(values), window, strides), expected)


def test_nothing_after_the_last_output_is_computed_and_nothing_is_trained():
    arrays = check_weights(some_weights(), PLAN, "it")
    model = I3D(PLAN, arrays, ("Conv3d_1a_7x7",))
    found = model(np.zeros((1, 2, 8, 8, 3), np.float32))  # too small for what comes after
    assert {name: tuple(value.shape) for name, value in found.items()} == {"Conv3d_1a_7x7": (1, 1, 4, 4, 3)}
    assert not model.trainable_variables
    with pytest.raises(ValueError, match=r"end points \['Mixed_9z'\] found"):
        I3D(PLAN, arrays, ("Mixed_9z",))


@needs(I3D_WEIGHTS)
@needs(VIDEO)
@needs(PUBLISHED_DETECTIONS)
def test_the_published_network_knows_the_published_clip():
    """Top class of the first 64 frames, as DeepMind's own code says it."""
    import av

    from data_prep.extraction.weight_cache import cache_folder, load_weights

    plan, weights = InceptionPlan(), load_weights(cache_folder(), "i3d_rgb")
    with av.open(str(PUBLISHED / "v_CricketShot_g04_c01_rgb.gif")) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    clip = frames[:64].astype(np.float32) / 127.5 - 1
    names = (PUBLISHED / "label_map.txt").read_text(encoding="utf-8").splitlines()
    found = I3D(plan, weights.arrays, ("Mixed_5c", "Features", "Predictions"))(clip[None])
    best, second = np.argsort(found["Predictions"][0])[::-1][:2]
    assert (names[best], names[second]) == ("playing cricket", "robot dancing")
    assert float(found["Predictions"][0, best]) == pytest.approx(0.997, abs=1e-3)
    assert float(np.mean(found["Features"])) == pytest.approx(0.1947, abs=1e-4)
