import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from dicom_files import dicom

from medae.base.errors import InputError
from medae.data.groups import group_names
from medae.data.layouts import LAYOUTS, Record, check_counts, count_classes, read_layout


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def split_json(root, train, normal, abnormal, **extra):
    touch(root, *(f"images/{name}" for name in {*train, *normal, *abnormal}))
    lists = {"train": {"0": train, **extra}, "test": {"0": normal, "1": abnormal}}
    (root / "data.json").write_text(json.dumps(lists), encoding="utf-8")
    return root


def isic(root, *, training, test):
    for part, rows in (("Training", training), ("Test", test)):
        folder = root / f"ISIC2018_Task3_{part}_GroundTruth"
        folder.mkdir(parents=True)
        lines = ["image,MEL,NV,BCC", *(f"{image},{1 - nv}.0,{nv}.0,0.0" for image, nv in rows)]
        (folder / f"{folder.name}.csv").write_text("\n".join(lines) + "\n")
        touch(root, *(f"ISIC2018_Task3_{part}_Input/{image}.jpg" for image, _ in rows))
    return root


def summary(root, records):
    return [
        (r.split, r.id, r.label, r.mask and r.mask.relative_to(root).as_posix()) for r in records
    ]


def test_split_json_ignores_extra_keys_and_sorts_by_id(tmp_path):
    root = split_json(tmp_path, ["c.png", "a.png"], ["z.png"], ["b.png"], unlabeled=["gone.png"])
    assert summary(root, read_layout(root, "split_json")) == [
        ("train", "images/a.png", 0, None),
        ("train", "images/c.png", 0, None),
        ("test", "images/b.png", 1, None),
        ("test", "images/z.png", 0, None),
    ]


def test_brats_pairs_flair_with_seg(tmp_path):
    root = touch(tmp_path, "train/p1_flair.png", "test/normal/p2_flair_3.png")
    touch(root, "test/tumor/p2_flair_10.png", "test/tumor/flair.png")
    touch(root, "test/annotation/p2_seg_10.png", "test/annotation/seg.png")
    assert summary(root, read_layout(root, "brats")) == [
        ("train", "train/p1_flair.png", 0, None),
        ("test", "test/normal/p2_flair_3.png", 0, None),
        ("test", "test/tumor/flair.png", 1, "test/annotation/seg.png"),
        ("test", "test/tumor/p2_flair_10.png", 1, "test/annotation/p2_seg_10.png"),
    ]


FOLDER = ("train/normal/1.png", "test/normal/1.JPG", "test/abnormal/1.tif", "test/abnormal/2.bmp")


def test_folder_with_and_without_masks(tmp_path):
    root = touch(tmp_path, *FOLDER)
    assert [r.mask for r in read_layout(root, "folder")] == [None] * 4
    touch(root, "test/mask/1.png", "test/mask/2.png")
    assert summary(root, read_layout(root, "folder")) == [
        ("train", "train/normal/1.png", 0, None),
        ("test", "test/abnormal/1.tif", 1, "test/mask/1.png"),
        ("test", "test/abnormal/2.bmp", 1, "test/mask/2.png"),
        ("test", "test/normal/1.JPG", 0, None),
    ]


PATIENTS = ("train/normal/p1/1.png", "train/normal/p1/scan/2.jfif", "test/normal/p2/1.png")
PATIENTS += ("test/abnormal/p3/1.png", "test/abnormal/p4/1.png")


def test_patients_may_have_folders(tmp_path):
    root = touch(tmp_path, *PATIENTS, "test/mask/p3/1.png", "test/mask/p4/1_mask.png")
    records = read_layout(root, "patients")
    assert sorted(r.id for r in records) == sorted(PATIENTS)
    assert {r.id: r.mask.relative_to(root).as_posix() for r in records if r.mask} == {
        "test/abnormal/p3/1.png": "test/mask/p3/1.png",
        "test/abnormal/p4/1.png": "test/mask/p4/1_mask.png",
    }
    names = group_names([r.id for r in records], pattern=LAYOUTS["patients"].group_pattern)
    assert names == ["p1", "p1", "p3", "p4", "p2"]
    (root / "train/normal/p1/back").symlink_to(root / "train")  # in circles
    assert len(read_layout(root, "patients")) == 5
    (root / "train/normal/p1/1.png").unlink()
    with pytest.raises(InputError, match="folders with images in it.*'p1'.*set `layout: patients`"):
        read_layout(root, "folder")


def test_mvtec_has_a_folder_per_kind_of_defect(tmp_path):
    root = touch(tmp_path, "train/good/0.png", "test/good/0.png", "test/hole/0.png")
    touch(root, "test/cut/0.png", "ground_truth/hole/0_mask.png", "ground_truth/cut/0_mask.png")
    assert summary(root, read_layout(root, "mvtec")) == [
        ("train", "train/good/0.png", 0, None),
        ("test", "test/cut/0.png", 1, "ground_truth/cut/0_mask.png"),
        ("test", "test/good/0.png", 0, None),
        ("test", "test/hole/0.png", 1, "ground_truth/hole/0_mask.png"),
    ]


TABLE = """image,split,label,patient,mask
a/1.png,train,normal,Doe,
b/1.png,test,0,Roe,
"c/x, 1.png",test,1,Roe,m/1.png
"""


def test_a_table_lists_images_where_they_are(tmp_path):
    root = touch(tmp_path, "a/1.png", "b/1.png", "c/x, 1.png", "m/1.png")
    (root / "table.csv").write_text(TABLE)
    records = read_layout(root, "table")
    assert summary(root, records) == [
        ("train", "patient1/a/1.png", 0, None),
        ("test", "patient2/b/1.png", 0, None),
        ("test", "patient2/c/x, 1.png", 1, "m/1.png"),
    ]
    assert not [r for r in records if "oe" in r.id]  # names of patients go no further
    names = group_names([r.id for r in records], pattern=LAYOUTS["table"].group_pattern)
    assert names == ["patient1", "patient2", "patient2"]


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("train,normal", "train,1", "line 2 has the split 'train' and the label '1'"),
        ("test,0", "val,0", "line 3 has the split 'val'"),
        ("Doe", "", "some images have no patient"),
        (",patient,", ",person,", "its columns are image, split, label, person, mask"),
        ("a/1.png", "../1.png", "1 names that are not those of files"),
        ("m/1.png", "/m/1.png", "1 names that are not those of files"),
        ("b/1.png", "b/2.png", "1 of 4 listed files are missing .*'b/2.png'"),
        ("b/1.png", "a/1.png", "more than once .*'a/1.png .train 0 and test 0.'"),
    ],
)
def test_a_malformed_table_is_refused(tmp_path, old, new, match):
    root = touch(tmp_path, "a/1.png", "b/1.png", "c/x, 1.png", "m/1.png")
    (root / "table.csv").write_text(TABLE.replace(old, new))
    with pytest.raises(InputError, match=match):
        read_layout(root, "table")
    (root / "table.csv").unlink()
    with pytest.raises(InputError, match="Cannot read the table .*columns image"):
        read_layout(root, "table")


def test_dicom_files_need_no_ending(tmp_path):
    root = touch(tmp_path, *FOLDER, "train/normal/notes", "train/normal/DICOMDIR")
    for name in ("IM000001", "1.2.840.113", "DICOMDIR"):
        (root / "train/normal" / name).write_bytes(dicom(np.zeros((4, 4), np.uint8)))
    train = [r.image.name for r in read_layout(root, "folder") if r.split == "train"]
    assert train == ["1.2.840.113", "1.png", "IM000001"]


def test_isic_takes_nevi_for_training_and_all_of_the_test(tmp_path):
    root = isic(tmp_path, training=[("ISIC_1", 1), ("ISIC_2", 0)], test=[("a", 1), ("b", 0)])
    (root / "ISIC2018_Task3_Training_Input/ISIC_2.jpg").unlink()  # not used, so not needed
    assert summary(root, read_layout(root, "isic")) == [
        ("train", "ISIC2018_Task3_Training_Input/ISIC_1.jpg", 0, None),
        ("test", "ISIC2018_Task3_Test_Input/a.jpg", 0, None),
        ("test", "ISIC2018_Task3_Test_Input/b.jpg", 1, None),
    ]


def test_missing_files_are_all_reported(tmp_path):
    root = split_json(tmp_path, [f"{i}.png" for i in range(9)], ["n.png"], ["x.png"])
    for i in range(7):
        (root / f"images/{i}.png").unlink()
    (root / "images/3.png").symlink_to("nowhere.png")
    with pytest.raises(InputError, match=r"^7 of 11 listed files .*0\.png.*4\.png' and 2 more"):
        read_layout(root, "split_json")


@pytest.mark.parametrize(
    ("train", "normal", "where"),
    [
        (["a.png", "b.png"], ["a.png"], "a.png (train 0 and test 0)"),
        (["a.png", "./a.png"], ["n.png"], "a.png (train 0 and train 0)"),
        (["a.png"], ["x.png"], "x.png (test 0 and test 1)"),
    ],
)
def test_a_file_listed_twice_is_refused(tmp_path, train, normal, where):
    root = split_json(tmp_path, train, normal, ["x.png"])
    with pytest.raises(InputError, match=f"1 images .*more than once.*{re.escape(where)}"):
        read_layout(root, "split_json")


@pytest.mark.parametrize(
    ("name", "match"),
    [
        *((n, "lists 1 names .* do not leave it") for n in ("../up.png", "/etc/passwd", "", ".")),
        ("a/../../b.png", "lists 1 names .* do not leave it"),
        ("nul\0.png", r"1 file names .* not UTF-8 text .*'images/nul\\x00\.png'"),
        ("lone\udc80.png", "1 file names .* not UTF-8 text"),
        ("long" * 100 + ".png", "1 of 3 listed files are missing"),
    ],
)
def test_names_that_cannot_be_stored_or_found_are_refused(tmp_path, name, match):
    root = split_json(tmp_path, ["a.png"], ["n.png"], ["x.png"])
    lists = {"train": {"0": [name]}, "test": {"0": ["n.png"], "1": ["x.png"]}}
    (root / "data.json").write_text(json.dumps(lists))
    with pytest.raises(InputError, match=match):
        read_layout(root, "split_json")


@pytest.mark.parametrize(
    "text",
    [
        b"\xff\xfe\xfa\x00",
        b"[" * 100_000,
        b"[]",
        b'{"train": ["a.png"], "test": {"0": ["n.png"], "1": ["x.png"]}}',
        b'{"train": {"0": ["a.png"]}, "test": {"0": ["n.png"]}}',
        b'{"train": {"0": "a.png"}, "test": {"0": ["n.png"], "1": ["x.png"]}}',
        b'{"train": {"0": ["a.png", 7]}, "test": {"0": ["n.png"], "1": ["x.png"]}}',
    ],
)
def test_a_malformed_split_is_refused(tmp_path, text):
    root = split_json(tmp_path, ["a.png"], ["n.png"], ["x.png"])
    (root / "data.json").write_bytes(text)
    with pytest.raises(InputError, match=r'data\.json.*It has to be \{"train"'):
        read_layout(root, "split_json")


@pytest.mark.parametrize(
    ("lists", "match"),
    [
        (([], ["n.png"], ["x.png"]), "has no image of train where"),
        ((["a.png"], ["n.png"], []), r"of test_abnormal .* set `expected: \{test_abnormal: 0\}`"),
        ((["a.png"], [], []), "has no image of test_normal and test_abnormal where"),
    ],
)
def test_a_class_without_images_is_refused(tmp_path, lists, match):
    root = split_json(tmp_path, *lists)
    with pytest.raises(InputError, match=match):
        check_counts(root, "split_json", read_layout(root, "split_json"), {"train": 1})


def test_hidden_files_others_and_folders_are_ignored_and_logged(tmp_path, caplog):
    names = (".x.png", "Thumbs.db", "d.png/1")
    root = touch(tmp_path, *FOLDER, *(f"train/normal/{name}" for name in names))
    with caplog.at_level(logging.WARNING):
        assert len(read_layout(root, "folder")) == 4
    assert "'.x.png', 'Thumbs.db', 'd.png'" in caplog.text


@pytest.mark.parametrize("layout", ["folder", "brats", "mvtec"])
def test_a_missing_or_imageless_folder_is_refused(tmp_path, layout):
    with pytest.raises(InputError, match=r"Cannot list the folder .*No such file"):
        read_layout(tmp_path, layout)
    touch(tmp_path, "train/a.txt", "train/normal/a.txt", "train/good/a.txt")
    touch(tmp_path, "test/tumor/a.png", "test/annotation/a.png", "test/abnormal/a.png")
    touch(tmp_path, "test/normal/n.png", "test/good/n.png")
    with pytest.raises(InputError, match=r"There is no image in .*train.*DICOM"):
        read_layout(tmp_path, layout)


def test_masks_and_images_have_to_pair_up(tmp_path):
    root = touch(tmp_path, *FOLDER, *(f"test/abnormal/{i}.png" for i in range(10, 18)))
    touch(root, "test/mask/1.png", "test/mask/1.jpg", "test/mask/orphan.png")
    with pytest.raises(InputError) as caught:
        read_layout(root, "folder")
    message = str(caught.value)
    assert "9 abnormal images without a mask: 'test/abnormal/10.png', 'test/abn" in message
    assert "1 masks without an image: 'orphan'" in message
    assert "1 mask names that more than one file claims: '1'" in message


def test_malformed_isic_labels_are_refused(tmp_path):
    root = isic(tmp_path, training=[("ISIC_1", 1)], test=[("a", 1), ("b", 0)])
    name = "ISIC2018_Task3_Training_GroundTruth"
    table = root / name / f"{name}.csv"
    for text in ("MEL\nISIC_1,1.0", "NV\nISIC_1,0.5", "NV\nISIC_1,", "NV\nISIC_1,yes"):
        table.write_text(f"image,{text}\n")
        with pytest.raises(InputError, match=r"labels .*Training_Ground.*columns image and NV"):
            read_layout(root, "isic")
    table.unlink()
    with pytest.raises(InputError, match=r"labels .*No such file"):
        read_layout(root, "isic")


def test_counts_are_compared_with_the_expected_ones(tmp_path):
    records = [Record("train", name, 0, tmp_path / name) for name in "ac"]
    records.append(Record("test", "b", 1, tmp_path / "b"))
    counts = {"train": 2, "test_normal": 0, "test_abnormal": 1}
    assert count_classes(records) == counts
    check_counts(tmp_path, "folder", records, counts)
    with pytest.raises(InputError, match=r"2 instead of 3 of train, 1 instead of 4 of test_abnorm"):
        check_counts(tmp_path, "folder", records, counts | {"train": 3, "test_abnormal": 4})
    with pytest.raises(InputError, match="1 training image.*at least 2"):
        check_counts(tmp_path, "folder", records[1:], {"test_normal": 0})


REGISTRY = yaml.safe_load(
    Path(__file__).parents[2].joinpath("config", "datasets.yaml").read_text(encoding="utf-8")
)["registry"]


@pytest.mark.parametrize("entry", REGISTRY.values(), ids=REGISTRY)
def test_registry_entries_can_be_packed_and_say_where_the_data_are(entry):
    assert set(entry["expected"]) == set(count_classes([]))
    ways = [("generator",), ("doi", "archive", "md5", "folder"), ("urls", "folder")]
    ways.append(("how_to_get", "folder"))
    assert [all(key in entry for key in way) for way in ways].count(True) == 1
    assert entry["license"]
    assert entry["citation"]
