"""Which picture is written to which file."""

import numpy as np
import pytest

from lossarium.errors import LossariumError
from lossarium.facesets.reading import stored_bytes
from lossarium.swapping.jobs import find_jobs
from lossarium.swapping.masks import face_mask_of
from tests.facesets.handmade_faces import SIDE, dfl_fields, dfl_jpeg, face, faceset_pak
from tests.facesets.handmade_folders import noise, save, write_faceset


def refused(*arguments, **options):
    with pytest.raises(LossariumError) as caught:
        find_jobs(*arguments, **options)
    return str(caught.value)


def picture(path):
    save(path, noise(0))
    return path


def test_a_folder_keeps_its_paths(tmp_path):
    for name in ("10.png", "9.jpg", "sub/a.b.webp"):
        picture(tmp_path / "in" / name)
    jobs = find_jobs(tmp_path / "in", tmp_path / "out")
    assert [job.output.relative_to(tmp_path).as_posix() for job in jobs] == [
        "out/9.png",
        "out/10.png",
        "out/sub/a.b.png",
    ]
    assert {job.mask for job in jobs} == {None}
    assert find_jobs(tmp_path / "in", tmp_path / "out", ending=".jpg")[0].output.name == "9.jpg"


@pytest.mark.parametrize(
    ("out", "ending", "expected"),
    [
        ("out", None, "out/face.png"),
        ("out", ".jpg", "out/face.jpg"),
        ("out.PNG", None, "out.PNG"),
        ("out.jpeg", None, "out.jpeg"),
        ("new/out.jpg", ".jpg", "new/out.jpg"),
    ],
)
def test_a_picture_becomes_a_file_or_a_file_in_a_folder(tmp_path, out, ending, expected):
    (job,) = find_jobs(picture(tmp_path / "face.webp"), tmp_path / out, ending=ending)
    assert job.output == tmp_path / expected


def test_masks_of_a_faceset_are_found_from_any_of_its_folders(tmp_path):
    write_faceset(tmp_path / "ada")
    out = tmp_path / "out"
    for source in (tmp_path / "ada", tmp_path / "ada" / "frames", tmp_path / "ada" / "frames" / "0003.webp"):
        job = next(job for job in find_jobs(source, out) if job.path.name == "0003.webp")
        assert job.output == out / "0003.png"
        assert job.mask.path == tmp_path / "ada" / "masks" / "0003.png"
        assert job.mask.faceset_side == 8
        assert job.mask.read().shape == (8, 8)


def test_grey_masks_beside_the_frames(tmp_path):
    picture(tmp_path / "frames" / "sub" / "7.png")
    picture(tmp_path / "frames" / "8.png")
    save(tmp_path / "masks" / "sub" / "7.png", np.full((8, 8), 255, np.uint8))
    jobs = {job.path.name: job for job in find_jobs(tmp_path, tmp_path.parent / "out")}
    assert jobs["7.png"].mask.faceset_side is None
    assert jobs["7.png"].mask.read().min() == 255
    assert jobs["8.png"].mask is None


def test_a_mask_that_links_out_of_the_folder_is_not_used(tmp_path):
    picture(tmp_path / "in" / "frames" / "7.png")
    save(tmp_path / "secret.png", np.full((8, 8), 255, np.uint8))
    (tmp_path / "in" / "masks").mkdir()
    (tmp_path / "in" / "masks" / "7.png").symlink_to(tmp_path / "secret.png")
    assert find_jobs(tmp_path / "in", tmp_path / "out")[0].mask is None


def test_a_frame_that_leads_out_of_the_folder_is_refused(tmp_path):
    picture(tmp_path / "secret.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "7.png").symlink_to(tmp_path / "secret.png")
    assert "leads out of the folder" in refused(tmp_path / "in", tmp_path / "out")


def test_what_exists_is_replaced_only_by_force(tmp_path):
    source = picture(tmp_path / "in" / "7.png").parent
    written = picture(tmp_path / "out" / "7.png")
    assert "7.png" in refused(source, tmp_path / "out")
    assert "--force" in refused(source / "7.png", written)
    assert [job.output for job in find_jobs(source, tmp_path / "out", force=True)] == [written]


def test_invalid_outputs_are_refused(tmp_path):
    source = picture(tmp_path / "in" / "7.png").parent
    out = tmp_path / "out"
    assert "does not exist" in refused(tmp_path / "missing", out)
    assert "the input itself" in refused(source / "7.png", source / "7.png", force=True)
    assert "the input itself" in refused(source / "7.png", source, force=True)
    for inside in (source, source / "swapped"):
        assert "lies in the input" in refused(source, inside, force=True)
    assert "give a folder" in refused(source, picture(tmp_path / "a.png"))
    assert "written as PNG or JPEG" in refused(source / "7.png", tmp_path / "out.webp")
    assert "--format" in refused(source / "7.png", tmp_path / "out.png", ending=".jpg")
    picture(source / "7.jpg")
    assert "would both become" in refused(source, out)
    (source / "7.jpg").unlink()
    (out / "7.png").mkdir(parents=True)
    assert "is a folder" in refused(source, out, force=True)


def test_grey_masks_beside_the_pictures(tmp_path):
    picture(tmp_path / "ada" / "7.jpg")
    picture(tmp_path / "ada" / "8.png")
    save(tmp_path / "ada" / "masks" / "7.png", np.full((8, 8), 255, np.uint8))
    of_folder = find_jobs(tmp_path / "ada", tmp_path / "out")
    (alone,) = find_jobs(tmp_path / "ada" / "7.jpg", tmp_path / "out")
    assert [job.path.name for job in of_folder] == ["7.jpg", "8.png"]
    assert of_folder[0].mask.path == alone.mask.path == tmp_path / "ada" / "masks" / "7.png"
    assert of_folder[1].mask is None


def test_pictures_of_a_packed_faceset(tmp_path):
    packed = [dfl_jpeg(dfl_fields(face(SIDE)), seed=seed) for seed in range(2)]
    configurations = [{"filename": f"{seed}.jpg", "source_filename": ""} for seed in range(2)]
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "faceset.pak").write_bytes(faceset_pak(packed, configurations))
    jobs = find_jobs(tmp_path / "ada", tmp_path / "out")
    assert [job.output for job in jobs] == [tmp_path / "out" / "0.png", tmp_path / "out" / "1.png"]
    assert stored_bytes(jobs[1].path, jobs[1].packed) == packed[1]
    assert face_mask_of(jobs[1], (SIDE, SIDE))(8).any()


@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_a_mask_beside_is_found_however_accents_are_stored(tmp_path, ending):
    nfc, nfd = "\u00e9t\u00e9", "e\u0301te\u0301"
    for seed in range(3):
        save(tmp_path / "in" / "frames" / nfd / f"{nfd}{seed}{ending}", noise(seed))
        save(tmp_path / "in" / "masks" / nfc / f"{nfc}{seed}.png", noise(100 + seed)[..., 0])
    for source in (tmp_path / "in", tmp_path / "in" / "frames"):
        jobs = find_jobs(source, tmp_path / "out")
        assert [job.mask.path for job in jobs] == [
            tmp_path / "in" / "masks" / nfc / f"{nfc}{seed}.png" for seed in range(3)
        ]


def test_linked_folders_are_reported_or_followed(tmp_path):
    picture(tmp_path / "in" / "0.png")
    picture(tmp_path / "elsewhere" / "1.png")
    (tmp_path / "in" / "more").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    told = []
    assert len(find_jobs(tmp_path / "in", tmp_path / "out", tell=told.append)) == 1
    assert "1 linked folder is not followed (more)" in told[0]
    jobs = find_jobs(tmp_path / "in", tmp_path / "out", follow_links=True)
    assert [job.output.relative_to(tmp_path / "out").as_posix() for job in jobs] == ["0.png", "more/1.png"]
