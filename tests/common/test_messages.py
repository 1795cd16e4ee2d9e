"""What every message shares: mistakes gathered into one error, numbers with their nouns, no names of TensorFlow's."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf

from tc3net.common.errors import MISTAKES_SHOWN, Mistakes, UserError, plain_message
from tc3net.common.names import counted, require_different, spelled_alike
from tc3net.serving.calls import CallFailed


def gathered(*messages: str) -> str:
    mistakes = Mistakes("a.csv")
    for message in messages:
        with mistakes.gathered():
            raise UserError(message)
    with pytest.raises(UserError) as caught:
        mistakes.raise_if_any()
    return str(caught.value)


def test_one_mistake_is_said_as_it_is_and_several_below_each_other():
    assert gathered("a.csv:2: no video") == "a.csv:2: no video"
    assert gathered("one", "two").splitlines() == ["a.csv: 2 mistakes found; expected none.", "  one", "  two"]
    many = gathered(*(f"line {i}" for i in range(MISTAKES_SHOWN + 5))).splitlines()
    assert (len(many), many[-1]) == (MISTAKES_SHOWN + 2, "  ... and 5 more")
    Mistakes("a.csv").raise_if_any()


def test_mistakes_of_parts_stay_apart_and_bugs_are_no_mistakes():
    whole, part = Mistakes("a.json"), Mistakes("a.json: video 'v'")
    part.add("first")
    part.add("second")
    with whole.gathered():
        part.raise_if_any()
    whole.add("third")
    assert whole.messages == ["first", "second", "third"]
    with pytest.raises(ZeroDivisionError), whole.gathered():
        1 / 0  # noqa: B018


def test_numbers_have_the_right_noun():
    assert [counted(n, "video") for n in (0, 1, 2)] == ["0 videos", "1 video", "2 videos"]
    assert [counted(n, "class") for n in (1, 3)] == ["1 class", "3 classes"]
    assert counted(1, "annotated video") == "1 annotated video"


def test_names_that_differ_in_case_or_blanks_are_one_mistake():
    assert spelled_alike(["Run", "Jump", "run", "Run", "R un"]) == [["Run", "run", "R un"]]
    require_different(["Run", "Jump"], "class", "a.csv")
    with pytest.raises(UserError) as caught:
        require_different(["Run", "Long jump", "run", "LongJump"], "class", "a.csv")
    assert str(caught.value) == (
        "a.csv: names of classes found that differ only in case or blanks: 'Run' and 'run'; 'Long jump' and "
        "'LongJump'; expected one spelling of each. Correct the file."
    )


def test_names_of_nodes_do_not_reach_the_user(tmp_path: Path):
    with tf.io.TFRecordWriter(str(tmp_path / "a")) as writer:
        writer.write(b"some bytes that make a record")
    damaged = bytearray((tmp_path / "a").read_bytes())
    damaged[20] ^= 1
    (tmp_path / "a").write_bytes(damaged)
    with pytest.raises(tf.errors.DataLossError) as caught:
        list(tf.data.TFRecordDataset(str(tmp_path / "a")))
    with pytest.raises(tf.errors.InvalidArgumentError) as parsing:
        tf.function(lambda x: tf.io.decode_raw(x, tf.float32))(tf.constant(b"abc"))
    assert "{{" in str(caught.value) and "[Op:" in str(parsing.value)
    for error, kept in ((caught.value, "corrupted record at 12"), (parsing.value, "Input to DecodeRaw has length 3")):
        message = plain_message(error)
        assert kept in message
        assert not any(mark in message for mark in ("{{", "}}", "[[", "Op:", "name:", "\n"))
    of_server = CallFailed("INVALID_ARGUMENT", "rgb: 3 values found\n\t [[{{node model/check/Assert}}]]\n")
    assert (of_server.details, str(of_server)) == ("rgb: 3 values found", "INVALID_ARGUMENT: rgb: 3 values found")
    assert plain_message(ValueError("found [[1, 2]]")) == "found [[1, 2]]"
    assert plain_message(ValueError()) == "ValueError"
