"""Published data sets are read as what they are, and what is wrong with a copy is said in one line each."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePath

import pytest

from edge_monitor.errors import DatasetError
from edge_monitor.evaluate.datasets import read_dataset
from edge_monitor.evaluate.layouts import ClipName, read_name
from tests.evaluate.sets import noise, write, write_all

DCASE_2020 = [
    *(f"pump/train/normal_id_00_0000000{number}.wav" for number in range(5)),
    "pump/test/normal_id_00_00000005.wav",
    "pump/test/anomaly_id_00_00000000.wav",
]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("dev/pump/train/normal_id_00_00000013.wav", ClipName("pump", "id_00", anomalous=False, split="train")),
        ("ToyCar/test/anomaly_id_04_00000013.flac", ClipName("ToyCar", "id_04", anomalous=True, split="test")),
        (
            "fan/source_test/section_00_source_test_anomaly_0007.wav",
            ClipName("fan", "section_00", anomalous=True, split="test"),
        ),
        (
            "valve/train/section_02_target_train_normal_0004_pat_04_panel_open.wav",
            ClipName("valve", "section_02", anomalous=False, split="train"),
        ),
        (
            "-6_dB_fan/fan/id_02/abnormal/00000013.wav",
            ClipName("fan", "id_02", anomalous=True, split=None, snr_db=-6.0),
        ),
        ("min6dB/fan/id_02/normal/00000013.wav", ClipName("fan", "id_02", anomalous=False, split=None, snr_db=-6.0)),
        ("0dB/fan/id_02/normal/00000013.wav", ClipName("fan", "id_02", anomalous=False, split=None, snr_db=0.0)),
        ("fan/id_02/normal/00000013.wav", ClipName("fan", "id_02", anomalous=False, split=None)),
        ("pump/test/id_00_00000013.wav", None),  # the challenge's evaluation set has no labels
        ("pump/train/section_00_0013.wav", None),
        ("normal_id_00_00000013.wav", None),
        ("pump/normal/00000013.wav", None),
    ],
)
def test_a_path_says_what_the_clip_is(path: str, name: ClipName | None) -> None:
    """The layouts of DCASE 2020, of later years and of MIMII are told apart by names alone."""
    assert read_name(PurePath(path)) == name


def test_a_dcase_set_is_read_by_machine_id(tmp_path: Path) -> None:
    """Training clips, normal and anomalous test clips of each individual machine."""
    write_all(tmp_path, [*DCASE_2020, *(name.replace("id_00", "id_02") for name in DCASE_2020)])
    dataset = read_dataset(tmp_path)
    assert dataset.warnings == ()
    assert [one.label for one in dataset.individuals] == ["pump id_00", "pump id_02"]
    first = dataset.individuals[0]
    assert (len(first.train), [clip.anomalous for clip in first.test]) == (5, [True, False])
    assert {clip.machine_id for clip in (*first.train, *first.test)} == {"id_00"}


def test_a_machine_folder_itself_is_a_data_set(tmp_path: Path) -> None:
    """The name of the folder that is given may be the machine's."""
    write_all(tmp_path, DCASE_2020)
    assert [one.label for one in read_dataset(tmp_path / "pump").individuals] == ["pump id_00"]


def test_both_domains_of_a_section_belong_to_one_machine(tmp_path: Path) -> None:
    """Later challenges shift the domain: both are learnt and tested, the memory is one."""
    write_all(
        tmp_path / "fan",
        [
            "train/section_00_source_train_normal_0000_speed_1.wav",
            "train/section_00_target_train_normal_0000_speed_2.wav",
            "test/section_00_source_test_normal_0000.wav",
            "test/section_00_target_test_anomaly_0000.wav",
        ],
    )
    (fan,) = read_dataset(tmp_path).individuals
    assert fan.machine_id == "section_00"
    assert [clip.path.name[11:17] for clip in fan.train] == ["source", "target"]
    assert [(clip.path.name[11:17], clip.anomalous) for clip in fan.test] == [("source", False), ("target", True)]


def test_mimii_gets_the_split_of_its_baseline(tmp_path: Path) -> None:
    """The first normal clips, as many as abnormal ones, are for the test; each SNR is a machine of its own."""
    normal = [f"fan/id_00/normal/{number:08d}.wav" for number in range(6)]
    abnormal = [f"fan/id_00/abnormal/{number:08d}.wav" for number in range(2)]
    write_all(tmp_path, [f"{snr}/{name}" for snr in ("-6_dB_fan", "6_dB_fan") for name in (*normal, *abnormal)])
    quiet, loud = read_dataset(tmp_path).individuals
    assert (quiet.label, loud.label) == ("fan id_00 -6 dB", "fan id_00 6 dB")
    assert [clip.path.name for clip in quiet.train] == [f"0000000{number}.wav" for number in (2, 3, 4, 5)]
    assert [(clip.path.name, clip.anomalous) for clip in quiet.test] == [
        ("00000000.wav", True),
        ("00000001.wav", True),
        ("00000000.wav", False),
        ("00000001.wav", False),
    ]


def test_mimii_with_many_anomalies_keeps_half_of_its_normals_for_training(tmp_path: Path) -> None:
    """More anomalies than normal clips would leave nothing to learn."""
    names = [f"fan/id_00/normal/{number:08d}.wav" for number in range(4)]
    write_all(tmp_path, [*names, *(name.replace("normal", "abnormal") for name in names)])
    (fan,) = read_dataset(tmp_path).individuals
    assert (len(fan.train), len(fan.test)) == (2, 6)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    """The error names what was found and the layouts that are known."""
    write_all(tmp_path, ["a.wav", "b/c.flac"])
    with pytest.raises(DatasetError, match=r"none of its 2 sound files is named like a known data set's \(known: "):
        read_dataset(tmp_path)
    with pytest.raises(DatasetError, match="no such folder"):
        read_dataset(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no sound files"):
        read_dataset(tmp_path / "empty")


def test_only_the_wanted_machine_is_read(tmp_path: Path) -> None:
    """A machine that is not there is named with those that are."""
    write_all(tmp_path, [*DCASE_2020, *(name.replace("pump", "fan") for name in DCASE_2020)])
    assert [one.label for one in read_dataset(tmp_path, ["fan"]).individuals] == ["fan id_00"]
    with pytest.raises(DatasetError, match=r"no machine is named 'valve' \(it has fan, pump\)"):
        read_dataset(tmp_path, ["valve"])


def test_a_missing_class_is_said(tmp_path: Path) -> None:
    """Of a machine id without anomalies, or with nothing to learn, one line each."""
    write_all(tmp_path, [*DCASE_2020[:-1], "fan/test/anomaly_id_02_00000000.wav"])
    assert read_dataset(tmp_path).warnings == (
        "fan id_02: no normal test clips",
        "fan id_02: no training clips",
        "pump id_00: no anomalous test clips",
    )


def test_the_same_sound_counts_once_and_rather_as_learnt(tmp_path: Path) -> None:
    """A test clip that was learnt would score 0; a sound of both classes proves nothing."""
    write_all(tmp_path, DCASE_2020)
    shutil.copy(tmp_path / DCASE_2020[0], tmp_path / "pump/test/normal_id_00_00000009.wav")
    write(tmp_path / "pump/test/normal_id_00_00000010.wav", noise(77))
    write(tmp_path / "pump/test/anomaly_id_00_00000010.wav", noise(77))
    dataset = read_dataset(tmp_path)
    assert set(dataset.warnings) == {
        "pump/test/normal_id_00_00000009.wav: left out: the same sound as pump/train/normal_id_00_00000000.wav",
        "pump/test/anomaly_id_00_00000010.wav: left out: the same sound is normal and anomalous",
    }
    assert [clip.path.name for clip in dataset.individuals[0].test] == [
        "anomaly_id_00_00000000.wav",
        "normal_id_00_00000005.wav",
    ]


def test_long_clips_that_only_begin_alike_are_different(tmp_path: Path) -> None:
    """Files of one size are compared whole when their beginnings agree."""
    begin = noise(1, seconds=5.0)
    for number in range(2):
        samples = begin.copy()
        samples[-1] = number / 2
        write(tmp_path / f"pump/train/normal_id_00_0000000{number}.wav", samples)
    assert len(read_dataset(tmp_path).clips) == 2


def test_empty_stray_and_misplaced_files_are_left_out(tmp_path: Path) -> None:
    """Each is named with its reason; many of a kind take few lines."""
    write_all(tmp_path, [*DCASE_2020, "pump/train/anomaly_id_00_00000003.wav"])
    (tmp_path / "pump/test/anomaly_id_00_00000004.wav").touch()
    write_all(tmp_path, [f"extra/{number}.wav" for number in range(8)])
    dataset = read_dataset(tmp_path)
    assert dataset.warnings == (
        *(f"extra/{number}.wav: left out: not named like a clip" for number in range(5)),
        "… and 3 more like the last line",
        "pump/test/anomaly_id_00_00000004.wav: left out: the file is empty",
        "pump/train/anomaly_id_00_00000003.wav: left out: an anomaly among the training clips",
    )
    assert len(dataset.clips) == 7


def test_a_folder_and_a_dangling_link_are_told_from_clips(tmp_path: Path) -> None:
    """They have the names of clips; a set that was copied without what its links lead to is told."""
    write_all(tmp_path, DCASE_2020)
    (tmp_path / "pump/test/anomaly_id_00_00000001.wav").mkdir()
    (tmp_path / "pump/test/anomaly_id_00_00000002.wav").symlink_to(tmp_path / "gone.wav")
    dataset = read_dataset(tmp_path)
    assert dataset.warnings == (
        "pump/test/anomaly_id_00_00000001.wav: left out: a folder",
        "pump/test/anomaly_id_00_00000002.wav: left out: a link to a file that is not there",
    )
    assert len(dataset.clips) == 7


def test_an_index_at_the_root_states_the_snr_of_clips(tmp_path: Path) -> None:
    """Several in one machine id, one clip without, and other columns; it makes no further machine ids."""
    write_all(tmp_path, DCASE_2020)
    lines = [f"{name}\tpump\t{snr_db}" for name, snr_db in zip(DCASE_2020, ["-6", "0.0", "", *["-6"] * 4], strict=True)]
    (tmp_path / "index.tsv").write_text("\n".join(["file\tmachine\tsnr_db", *lines, "gone.wav\tpump\t6"]))
    dataset = read_dataset(tmp_path)
    (pump,) = dataset.individuals
    assert (dataset.snr_db_of(pump), dataset.warnings) == ((-6.0, 0.0), ())


def test_the_snr_of_a_name_is_the_machine_id_s(tmp_path: Path) -> None:
    """MIMII's folders say it; without folder and index nothing is stated."""
    write_all(tmp_path / "-6_dB_fan", [f"fan/id_00/normal/{number:08d}.wav" for number in range(2)])
    write(tmp_path / "plain/valve/train/normal_id_00_00000000.wav", noise(9))
    dataset = read_dataset(tmp_path)
    assert [dataset.snr_db_of(one) for one in dataset.individuals] == [(-6.0,), ()]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"file\tmachine\nx.wav\tpump\n", "no columns file and snr_db"),
        (b"", "no columns file and snr_db"),
        (b"file\tsnr_db\nx.wav\t0\ny.wav\tloud\n", "line 3: snr_db is 'loud', no number of decibels"),
        (b"file\tsnr_db\nx.wav\tnan\n", "line 2: snr_db is 'nan', no number of decibels"),
        (b"\xff\xfe\x00f", "is not a table in UTF-8"),
    ],
)
def test_a_broken_index_is_one_line_and_states_nothing(tmp_path: Path, content: bytes, why: str) -> None:
    """The clips are there all the same."""
    write_all(tmp_path, DCASE_2020)
    (tmp_path / "index.tsv").write_bytes(content)
    dataset = read_dataset(tmp_path)
    assert dataset.warnings == (f"index.tsv: {why}: no SNR is taken from it",)
    assert (len(dataset.clips), dict(dataset.stated_snr_db)) == (7, {})


@pytest.mark.recordings
def test_the_recordings_are_in_the_layout_of_dcase_2020(recordings: Path) -> None:
    """192 clips of eight machine ids, none of them complained of."""
    dataset = read_dataset(recordings)
    assert (len(dataset.clips), len(dataset.individuals), dataset.warnings) == (192, 8, ())
    assert {snr_db for one in dataset.individuals for snr_db in dataset.snr_db_of(one)} == {-6.0, 0.0}
