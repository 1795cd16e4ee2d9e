"""Each localization protocol against a slow evaluator written as plain loops, on random data full of ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tc3net.data.timebase import TimeBase
from tc3net.evaluation import PROTOCOLS, evaluate_localization
from tc3net.intervals.columns import GroundTruth
from tests.support.random_rows import CLASSES, VIDEOS, cases, columns


def envelope_ap(hits, num_instances) -> float:
    """Precision-recall points with sentinels at both ends, as in Pascal VOC's development kit."""
    precision, recall, true_positives = [0.0], [0.0], 0
    for rank, hit in enumerate(hits, 1):
        true_positives += hit
        precision.append(true_positives / rank)
        recall.append(true_positives / num_instances)
    precision.append(0.0)
    recall.append(1.0)
    for i in range(len(precision) - 2, -1, -1):
        precision[i] = max(precision[i], precision[i + 1])
    return sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall)))


def reference_oracle(instances, ambiguous, detections, threshold, label) -> float:
    def segments(start, end):
        return set(range(round(start * 25 / 16), round(end * 25 / 16)))

    kept = [
        row
        for row in detections
        if row[1] == label
        and any(row[0] == instance[0] for instance in instances)
        and not any(a[0] == row[0] and segments(a[1], a[2]) & segments(row[2], row[3]) for a in ambiguous)
    ]
    kept.sort(key=lambda row: -row[4])
    free = [row for row in instances if row[1] == label]
    num_instances, hits = len(free), []
    for row in kept:
        predicted, best, best_tiou = segments(row[2], row[3]), None, 0.0
        for i, instance in enumerate(free):
            actual = segments(instance[2], instance[3])
            if instance[0] == row[0] and actual | predicted:
                overlap = len(actual & predicted) / len(actual | predicted)
                if overlap >= threshold and overlap > best_tiou:
                    best, best_tiou = i, overlap
        hits.append(best is not None)
        if best is not None:
            del free[best]
    return envelope_ap(hits, num_instances)


def thumos14_kit_oracle(instances, ambiguous, detections, threshold, label) -> float:
    def common(a, b):
        return min(a[1], b[1]) - max(a[0], b[0])

    ranked = sorted((row for row in detections if row[1] == label), key=lambda row: -row[4])
    state = ["false"] * len(ranked)
    for video, c, start, end in instances:
        best, best_tiou = None, threshold
        for i, row in enumerate(ranked):
            inter = common(row[2:4], (start, end))
            if c == label and row[0] == video and state[i] == "false" and inter > 0:
                overlap = inter / (max(row[3], end) - min(row[2], start))
                if overlap > best_tiou:
                    best, best_tiou = i, overlap
        if best is not None:
            state[best] = "true"
    for i, row in enumerate(ranked):
        if state[i] == "false" and any(a[0] == row[0] and common(row[2:4], a[1:]) > 0 for a in ambiguous):
            state[i] = "ignored"
    total, true, false = 0.0, 0, 0
    for flag in state:
        true += flag == "true"
        false += flag == "false"
        if flag == "true":
            total += true / (true + false)
    return total / sum(row[1] == label for row in instances)


def activitynet_oracle(instances, ambiguous, detections, threshold, label) -> float:
    actual = [row for row in instances if row[1] == label]
    numbered = [(row[4], number, row) for number, row in enumerate(detections) if row[1] == label]
    locked, hits = [False] * len(actual), []
    for _, _, (video, _, start, end, _) in sorted(numbered, reverse=True):
        ranked = []
        for i, (other, _, first, last) in enumerate(actual):
            if other == video:
                inter = max(min(end, last) - max(start, first), 0.0)
                union = (last - first) + (end - start) - inter
                ranked.append((inter / union if inter > 0 else 0.0, i))
        hit = False
        for overlap, i in sorted(ranked, reverse=True):
            if overlap < threshold:
                break
            if not locked[i]:
                locked[i] = hit = True
                break
        hits.append(hit)
    return envelope_ap(hits, len(actual))


def thumos14_oracle(instances, ambiguous, detections, threshold, label) -> float:
    """The field's protocol, told without sorting: the surest detection left over is always the next."""
    free = [number for number, row in enumerate(instances) if row[1] == label]
    left = [number for number, row in enumerate(detections) if row[1] == label]
    num_instances, precisions, hits = len(free), [], []
    while left:
        surest = left[0]
        for number in left:
            if detections[number][4] >= detections[surest][4]:  # of equal scores the later
                surest = number
        left.remove(surest)
        video, _, start, end, _ = detections[surest]
        best, best_tiou = None, 0.0
        for number in free:
            other, _, first, last = instances[number]
            common = min(end, last) - max(start, first)
            if other == video and common > 0:
                tiou = common / ((last - first) + (end - start) - common)
                if tiou >= threshold and tiou >= best_tiou:  # of equal tIoUs the last annotated
                    best, best_tiou = number, tiou
        if best is not None:
            free.remove(best)
        hits.append(best is not None)
        precisions.append(sum(hits) / len(hits))
    # Every instance that is found brings the best precision at its rank or below.
    return sum(max(precisions[rank:]) for rank, hit in enumerate(hits) if hit) / num_instances


ORACLES = {
    "reference": reference_oracle,
    "thumos14": thumos14_oracle,
    "thumos14_kit": thumos14_kit_oracle,
    "activitynet": activitynet_oracle,
}


def test_every_protocol_has_an_oracle():
    assert set(ORACLES) == set(PROTOCOLS)


@pytest.mark.parametrize("protocol", sorted(ORACLES))
@settings(deadline=None, max_examples=200)
@given(case=cases())
def test_protocol_equals_its_oracle(protocol, case):
    truth, found = columns(*case)
    result = evaluate_localization(protocol, truth, found)
    scored = sorted({row[1] for row in case[0]})
    expected = [[ORACLES[protocol](*case, threshold, label) for label in scored] for threshold in result.tious]
    assert result.classes == tuple(CLASSES[label] for label in scored)
    np.testing.assert_allclose(result.ap, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("protocol", sorted(ORACLES))
@settings(deadline=None, max_examples=50)
@given(case=cases(), order=st.permutations(range(3)), seed=st.integers(0, 999))
def test_order_of_videos_and_detections_does_not_matter_when_scores_differ(protocol, case, order, seed):
    instances, ambiguous, detections = case
    shuffle = np.random.default_rng(seed).permutation(len(detections))
    detections = [(*row[:4], float(score)) for row, score in zip(detections, shuffle)]
    truth, found = columns(instances, ambiguous, detections)
    # Number the ground truth's videos otherwise, and list the detections otherwise.
    moved_truth = GroundTruth(
        **{
            **vars(truth),
            "video_ids": tuple(VIDEOS[i] for i in order),
            "video": np.argsort(order)[truth.video],
            "ambiguous_video": np.argsort(order)[truth.ambiguous_video],
        }
    )
    _, moved_found = columns(instances, ambiguous, [detections[i] for i in shuffle])
    expected = evaluate_localization(protocol, truth, found)
    moved = evaluate_localization(protocol, moved_truth, moved_found)
    np.testing.assert_array_equal(moved.ap, expected.ap)


@pytest.mark.parametrize("protocol", ["thumos14", "thumos14_kit", "activitynet"])
@settings(deadline=None, max_examples=50)
@given(rows=st.sets(st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 30)), min_size=1, max_size=30))
def test_perfect_detections_of_disjoint_instances_give_map_1(protocol, rows):
    instances = [(video, label, 1.5 * place, 1.5 * place + 0.7) for video, label, place in sorted(rows)]
    truth, found = columns(instances, [], [(*row, 1.0 / (1 + i)) for i, row in enumerate(reversed(instances))])
    result = evaluate_localization(protocol, truth, found)
    np.testing.assert_allclose(result.map, 1.0, rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=50)
@given(case=cases(), stride=st.sampled_from([4, 8, 16]))
def test_reference_grid_follows_the_time_base(case, stride):
    instances, ambiguous, detections = case
    time_base = TimeBase(fps=25, frames_per_segment=16, stride_frames=stride)
    scale = stride / 16  # a stride of a quarter needs times of a quarter for the same grid; powers of two are exact
    smaller = (
        [(v, c, s * scale, e * scale) for v, c, s, e in instances],
        [(v, s * scale, e * scale) for v, s, e in ambiguous],
        [(v, c, s * scale, e * scale, x) for v, c, s, e, x in detections],
    )
    expected = evaluate_localization("reference", *columns(*case))
    result = evaluate_localization("reference", *columns(*smaller), time_base=time_base)
    np.testing.assert_array_equal(result.ap, expected.ap)
