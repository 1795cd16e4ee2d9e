"""AR@AN: by hand, and against a slow evaluator that follows the toolkit's steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from tc3net.evaluation import average_recall, proposals_line
from tests.support.random_rows import cases, columns
from tests.support.rows_by_hand import found, ground_truth


def test_labels_are_ignored_and_a_proposal_may_cover_several_instances():
    truth = ground_truth([("a", 0, 0, 10), ("a", 1, 0, 10), ("b", 0, 5, 5)])
    recall = average_recall(truth, found([("a", 2, 0, 10, 0.9), ("elsewhere", 0, 0, 10, 0.9)]))
    assert recall.available == 0.5  # one proposal in two videos with instances
    assert recall.at(1) == pytest.approx(2 / 3)  # the instance of length 0 is never covered
    assert (recall.recall == 2 / 3).all()
    assert recall.area == pytest.approx(2 / 3 * 99 / 100)
    assert "AR@1 66.7" in proposals_line(recall)


def test_every_video_contributes_the_same_share_of_its_proposals():
    """4 proposals in a, 2 in b, 3 on average. At an average of 1 the share is 1/3: one of a's, none of b's."""
    truth = ground_truth([("a", 0, 0, 10), ("a", 0, 20, 30), ("b", 0, 0, 10)])
    rows = [("a", 0, 0, 10, 0.1), ("a", 0, 20, 30, 0.9), ("a", 0, 50, 60, 0.8), ("a", 0, 70, 80, 0.7)]
    rows += [("b", 0, 0, 10, 0.2), ("b", 0, 30, 40, 0.5)]
    recall = average_recall(truth, found(rows), most=4.0)
    assert recall.proposals_per_video[[24, 49, 74, 99]].tolist() == [1, 2, 3, 4]
    assert recall.at(1) == pytest.approx(1 / 3)  # a's best
    assert recall.at(2) == pytest.approx(1 / 3)  # a's first two, b's first
    assert recall.at(3) == recall.at(4) == 1.0  # all of them


def test_equal_scores_rank_the_later_proposal_first():
    truth = ground_truth([("a", 0, 0, 10)])
    rows = [("a", 0, 0, 10, 0.5), ("a", 0, 50, 60, 0.5)]
    assert average_recall(truth, found(rows), most=2.0).at(1) == 0.0
    assert average_recall(truth, found(rows[::-1]), most=2.0).at(1) == 1.0


def test_nothing_found():
    recall = average_recall(ground_truth([("a", 0, 0, 10)]), found([]))
    assert recall.area == 0 and recall.available == 0 and (recall.recall == 0).all()


def oracle(instances, detections, most) -> np.ndarray:
    """Recall [10, 100], video by video and share by share."""
    videos = sorted({row[0] for row in instances})
    proposals = {v: [row for row in reversed(detections) if row[0] == v] for v in videos}
    proposals = {v: sorted(rows, key=lambda row: -row[4]) for v, rows in proposals.items()}
    total = sum(len(rows) for rows in proposals.values())
    recall = np.zeros((10, 100))
    if total == 0:
        return recall
    ratio = most * float(len(videos)) / total
    proposals = {v: rows[: min(int(len(rows) * ratio), len(rows))] for v, rows in proposals.items()}
    left = sum(len(rows) for rows in proposals.values())
    for j in range(100):
        for i, threshold in enumerate(np.linspace(0.5, 0.95, 10)):
            covered = 0
            for video, _, start, end in instances:
                rows = proposals[video]
                share = (j + 1) / 100.0 * (most * float(len(videos)) / left) if left else 0.0
                for row in rows[: min(int(len(rows) * share), len(rows))]:
                    inter = max(min(end, row[3]) - max(start, row[2]), 0.0)
                    if inter > 0 and inter / ((end - start) + (row[3] - row[2]) - inter) >= threshold:
                        covered += 1
                        break
            recall[i, j] = covered / len(instances)
    return recall


@settings(deadline=None, max_examples=25)
@given(case=cases())
def test_recall_equals_the_oracle(case):
    instances, _, detections = case
    truth, rows = columns(*case)
    for most in (3.0, 100.0):
        recall = average_recall(truth, rows, most=most)
        np.testing.assert_allclose(recall.recall, oracle(instances, detections, most), atol=1e-12)
    assert (np.diff(recall.average) >= -1e-12).all()
