"""Tables as people have them: what spreadsheets and other tools write is read, or refused with the cure."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.annotations import Instance, read_annotations
from data_prep.annotations.tables import Row
from tc3net.common.errors import UserError

EXPECTED = (Instance(12.5, 74.25, "Jump"), Instance(80.0, 81.5, "Run"))


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    (folder / "labels.csv").write_bytes(text.encode(encoding))
    return folder / "labels.csv"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("video,start_s,end_s,class\nv,12.5,74.25,Jump\nv,80,81.5,Run\n", ""),
        ("video;start_s;end_s;class\nv;12,5;74,25;Jump\nv;80;81,5;Run\n", ", decimal commas"),
        ("video\tstart_s\tend_s\tclass\nv\t12,5\t74,25\tJump\nv\t80\t81,5\tRun\n", ", decimal commas"),
        ("sep=;\nvideo;start_s;end_s;class\nv;12,5;74,25;Jump\nv;80;81,5;Run\n", ", decimal commas"),
        ('"sep=,"\r\nvideo,start_s,end_s,class\r\nv,12.5,74.25,Jump\r\nv,80,81.5,Run\r\n', ""),
        ("SEP=|\nvideo|start_s|end_s|class\nv|12.5|74.25|Jump\nv|80|81.5|Run\n", ""),
        (
            "video,start_s,end_s,class\nv,00:12.5,01:14.25,Jump\nv,0:01:20,81.5,Run\n",
            ", times as mm:ss or hh:mm:ss",
        ),
        (
            "video;start_s;end_s;class\nv;0:12,5;1:14,25;Jump\nv;80;0:01:21,5;Run\n",
            ", decimal commas, times as mm:ss or hh:mm:ss",
        ),
        (
            "video_id,start,end,label\nv,12.5,74.25,Jump\nv,80,81.5,Run\n",
            ", columns video_id as video, start as start_s, end as end_s, label as class",
        ),
        (
            "Label,youtube_id,Time Start,time-end\nJump,v,12.5,74.25\nRun,v,80,81.5\n",
            ", columns Label as class, youtube_id as video, Time Start as start_s, time-end as end_s",
        ),
        (
            "Filename,Start (s),End [sec],action\nv,12.5,74.25,Jump\nv,80,81.5,Run\n",
            ", columns Filename as video, Start (s) as start_s, End [sec] as end_s, action as class",
        ),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_same_table_in_many_hands(tmp_path, text, said, encoding):
    parsed, words = read_annotations(written(tmp_path, text, encoding))
    assert parsed.videos[0].instances == EXPECTED
    assert words == f"table of instances{said}, all videos in subset 'training'"


def test_usual_names_of_the_other_columns(tmp_path):
    parsed, words = read_annotations(written(tmp_path, "video_name,action,num_instances,split\nv,Jump,3,test\n"))
    (video,) = parsed.videos
    assert (video.subset, video.counts) == ("test", {"Jump": 3})
    assert "columns video_name as video, action as class, num_instances as count, split as subset" in words


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video,video_id,class\nv,v,Jump\n", "columns 'video' and 'video_id' found, which mean the same"),
        ("video,start_frame,end_frame,class\nv,1,2,Jump\n", "(frames; expected seconds: divide them by the frames"),
        ("video,start_ms,end_ms,class\nv,1,2,Jump\n", "(milliseconds; expected seconds: divide them by 1000)"),
        ("label,start,end\nJump,1,2\n", "begins with 'label,start,end'; expected a table with a column video"),
        ('video,start_s,end_s,class\nv,"1,5",2,Jump\n', ":2: start_s is '1,5'; expected a number such as 12.5, or mm"),
        ('video,start_s,end_s,class\nv,"1,5",2,Jump\n', "a decimal comma needs semicolons between the cells"),
        ("video;start_s;end_s;class\nv;1,5;2.5;Jump\n", "and no decimal points elsewhere"),
        ("video;start_s;end_s;class\nv;1.000,5;2;Jump\n", "start_s is '1.000,5'"),
        ("jump/v_01 120 3\nrun/v_02 99 1\n", "a list as two-stream code has them (video, number of frames, number of"),
        ("ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1\n", "Write `video,class,subset` into the first line"),
        (
            "v_01,12.5,14.0,Jump\n",
            "a table without names of columns; expected them in the first line, such as video,st",
        ),
        ("v_01;0:12;0:14;Jump\n", "a table without names of columns"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_cure(tmp_path, text, message):
    with pytest.raises(UserError) as caught:
        read_annotations(written(tmp_path, text))
    assert "labels.csv" in str(caught.value)
    assert message in str(caught.value)


def test_all_mistakes_of_a_table_are_said_at_once(tmp_path):
    lines = [
        "sep=,", "video,start_s,end_s,class,subset", "v,one,2,Jump,test", ",1,2,Jump,test", "v,1,2,Jump,test,more",
        "v,1,,Jump,test", "w,1,2,,test", "x,1,2,Run,", "v,1,2,Run,training", "good,1,2,Run,test",
    ]  # fmt: skip
    with pytest.raises(UserError) as caught:
        read_annotations(written(tmp_path, "\n".join(lines)))
    first, *others = str(caught.value).splitlines()
    assert first.endswith("labels.csv: 7 mistakes found; expected none.")
    numbers = sorted(int(line.split("labels.csv:")[1].split(":")[0]) for line in others)
    assert numbers == [3, 4, 5, 6, 7, 8, 9]
    with pytest.raises(UserError) as caught:
        read_annotations(written(tmp_path, "video,class,count,notes,subsets\nv,Jump,1,,\n"))
    assert "unknown column 'notes' found, unknown column 'subsets' found" in str(caught.value)


@given(st.integers(0, 5), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_a_clock_says_the_seconds_it_shows(hours, minutes, seconds, thousandths):
    text = f"{hours}:{minutes:02d}:{seconds:02d}.{thousandths:03d}"
    expected = pytest.approx(hours * 3600 + minutes * 60 + seconds + thousandths / 1000)
    assert Row("here", {"start_s": text}).seconds("start_s") == expected
    assert Row("here", {"start_s": text.replace(".", ",")}, decimal_comma=True).seconds("start_s") == expected
    in_minutes = f"{hours * 60 + minutes}:{seconds:02d}"
    assert Row("here", {"start_s": in_minutes}).seconds("start_s") == (hours * 60 + minutes) * 60 + seconds
