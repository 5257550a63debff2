"""Cases of two eyes, put together from file names alone."""

import pytest

from drservice.embedded import ServiceError
from drservice.supervisor.photographs import folder_cases, visit_of


@pytest.mark.parametrize(
    ("name", "visit"),
    [
        ("13_left.jpg", "13"),
        ("13_right.jpeg", "13"),
        ("visit-7-OD.PNG", "visit 7"),
        ("visit-7-disc-os.png", "visit 7"),
        ("a_L.tif", "a"),
        ("R 22 macula.webp", "22"),
        ("IMG12_RightDisc.jpg", "img 12"),
        ("Right.jpg", ""),
        ("bright.jpg", "bright"),
    ],
)
def test_file_name_tells_what_belongs_together(name, visit):
    assert visit_of(name) == visit


def put(directory, *names):
    for name in names:
        (directory / name).write_bytes(b"x")


def test_folder_gives_one_case_for_each_pair_and_ignores_other_files(tmp_path):
    put(tmp_path, "2_left.jpg", "2_right.JPG", "1_OD.png", "1-os.png", "README.md")
    cases = [[file.name for file in case] for case in folder_cases(tmp_path)]
    assert cases == [["1-os.png", "1_OD.png"], ["2_left.jpg", "2_right.JPG"]]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "holds no photograph"),
        (("1_left.jpg", "1_right.jpg", "extra.jpg"), "do not tell the eye: extra.jpg"),
        (("1_left.jpg", "1_right.jpg", "2_left.jpg"), "no partner for the other eye: 2_left.jpg"),
        (tuple(f"{n}.jpg" for n in range(9)), "and 4 more"),
    ],
)
def test_folder_that_makes_no_whole_cases_is_refused_with_names_and_cure(tmp_path, names, message):
    put(tmp_path, *names)
    with pytest.raises(ServiceError, match=message) as refused:
        folder_cases(tmp_path)
    assert refused.value.cure


def test_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ServiceError, match="is not a folder"):
        folder_cases(tmp_path / "nowhere")
