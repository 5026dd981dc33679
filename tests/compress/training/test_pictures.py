"""Pictures in memory, their files, batches and augmentation."""

import gzip
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from edgesmith.compress.training import Batches, Erase, Flip, Pictures, Shift, read_arrays, read_folder, read_idx
from edgesmith.errors import BadInput, EdgesmithError, ResourceLimit

pytestmark = pytest.mark.torch


def idx(array):
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def some(count=10, channels=1, size=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (count, channels, size, size), dtype=torch.uint8, generator=generator)
    return Pictures(pixels, torch.arange(count) % 3)


@pytest.fixture
def idx_files(tmp_path):
    pixels = np.arange(4 * 3 * 5, dtype=np.uint8).reshape(4, 3, 5)
    labels = np.array([0, 2, 1, 2], np.uint8)
    (tmp_path / "x.gz").write_bytes(gzip.compress(idx(pixels)))
    (tmp_path / "y").write_bytes(idx(labels))
    return tmp_path, pixels, labels


def test_idx_files_plain_and_compressed(idx_files):
    folder, pixels, labels = idx_files
    found = read_idx(folder / "x.gz", folder / "y")
    assert np.array_equal(found.pixels[:, 0].numpy(), pixels) and found.labels.tolist() == labels.tolist()
    assert found.size == (1, 3, 5) and found.classes == ("0", "1", "2")


def test_every_truncation_and_damaged_byte_of_idx_is_an_error_or_reads(idx_files):
    folder, pixels, _ = idx_files
    for data in (idx(pixels), gzip.compress(idx(pixels))):
        for end in range(len(data)):
            (folder / "cut").write_bytes(data[:end])
            with pytest.raises(BadInput, match="cut"):
                read_idx(folder / "cut", folder / "y")
        for place in range(len(data)):
            (folder / "cut").write_bytes(data[:place] + bytes([data[place] ^ 0x41]) + data[place + 1 :])
            try:
                read_idx(folder / "cut", folder / "y")
            except EdgesmithError as error:
                assert "cut" in str(error)


def test_idx_files_that_lie(idx_files):
    folder, pixels, _ = idx_files
    (folder / "huge").write_bytes(bytes((0, 0, 8, 3)) + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 255))
    with pytest.raises(ResourceLimit):
        read_idx(folder / "huge", folder / "y")
    (folder / "more").write_bytes(idx(pixels) + b"x")
    with pytest.raises(BadInput, match="more follow"):
        read_idx(folder / "more", folder / "y")
    (folder / "three").write_bytes(idx(pixels[:3]))
    with pytest.raises(BadInput, match="3 pictures, and 4 labels"):
        read_idx(folder / "three", folder / "y")
    with pytest.raises(BadInput, match="dimensions"):
        read_idx(folder / "y", folder / "y")
    with pytest.raises(BadInput, match="check the path"):
        read_idx(folder / "absent", folder / "y")


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 4, 5, 3), (3, 3, 4, 5), (3, 1, 4, 5)])
def test_arrays(tmp_path, shape):
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    np.savez(tmp_path / "d.npz", x=pixels, y=np.array([[0], [1], [2]]))
    found = read_arrays(tmp_path / "d.npz")
    assert found.size == (3 if 3 in shape[1:] else 1, 4, 5)
    expected = pixels[:, None] if len(shape) == 3 else pixels.transpose(0, 3, 1, 2) if shape[3] == 3 else pixels
    assert np.array_equal(found.pixels.numpy(), expected)


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"x": np.zeros((2, 4, 4), np.uint8)}, "x and y"),
        ({"x": np.zeros((2, 4, 4), np.uint8), "y": np.zeros(3, int)}, "2 pictures and 3 labels"),
        ({"x": np.zeros((2, 4, 4), np.int32), "y": np.zeros(2, int)}, "int32"),
        ({"x": np.zeros((2, 4, 4), np.uint8), "y": np.zeros(2)}, "float64"),
        ({"x": np.zeros((2, 4, 4), np.uint8), "y": np.array([0, -1])}, "label -1"),
        ({"x": np.full((2, 4, 4), np.nan), "y": np.zeros(2, int)}, "NaN"),
        ({"x": np.zeros((0, 4, 4), np.uint8), "y": np.zeros(0, int)}, "no pictures"),
        ({"x": np.zeros((2, 4), np.uint8), "y": np.zeros(2, int)}, "shape"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, arrays, why):
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(BadInput, match=why):
        read_arrays(tmp_path / "d.npz")


def test_objects_in_archives_are_not_unpickled(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.array([print], object), y=np.zeros(1, int))
    with pytest.raises(BadInput, match="cannot be read"):
        read_arrays(tmp_path / "d.npz")


@pytest.fixture
def photos(tmp_path):
    for label in ("9", "10", "2"):
        (tmp_path / label).mkdir()
        for i in range(2):
            Image.new("RGB", (8, 6), (int(label), i, 0)).save(tmp_path / label / f"{i}.png")
    (tmp_path / "split.csv").write_text("file,label,split\n9/0.png,9,train\n10/1.png,10,train\n2/0.png,2,test\n")
    return tmp_path


def test_a_folder_for_each_class(photos):
    found = read_folder(photos, (3, 4))
    assert found.classes == ("2", "9", "10")
    by_class = {found.classes[label]: found.pixels[i, 0].unique().tolist() for i, label in enumerate(found.labels)}
    assert by_class == {"2": [2], "9": [9], "10": [10]}
    assert len(found) == 6 and found.size == (3, 3, 4)
    assert read_folder(photos, (3, 4), channels=1).size == (1, 3, 4)


def test_split_files(photos):
    train = read_folder(photos, (6, 8), split=photos / "split.csv", classes=("2", "9", "10"))
    assert train.labels.tolist() == [1, 2]
    assert read_folder(photos, (6, 8), split=photos / "split.csv", part="test").classes == ("2",)
    with pytest.raises(BadInput, match="no pictures of part 'tset'"):
        read_folder(photos, (6, 8), split=photos / "split.csv", part="tset")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("../secret.png,9,train", "outside"),
        ("9/absent.png,9,train", "no such file"),
        ("9/text.png,9,train", "neither a picture"),
        (",9,train", "line 2"),
        ("9/0.png,7,train", "'7' is none of"),
    ],
)
def test_split_files_that_lie(photos, row, why):
    (photos / "9" / "text.png").write_text("no picture")
    (photos / "bad.csv").write_text(f"file,label,split\n{row}\n")
    with pytest.raises(BadInput, match=why):
        read_folder(photos, (6, 8), split=photos / "bad.csv", classes=("2", "9", "10"))


def test_normalised_pictures_have_mean_zero_and_deviation_one():
    train = Batches(some(50, 3), 50, shuffle=False)
    values = next(iter(train)).inputs.double()
    assert torch.allclose(values.mean((0, 2, 3)), torch.zeros(3, dtype=torch.float64), atol=1e-5)
    assert torch.allclose(values.std((0, 2, 3), correction=0), torch.ones(3, dtype=torch.float64), atol=1e-5)
    assert values.is_contiguous(memory_format=torch.channels_last)
    test = train.evaluation(some(20, 3, seed=1))
    pixels = test.pictures.pixels.float() / 255
    mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (train._normalise.mean, train._normalise.std))
    assert torch.allclose(next(iter(test)).inputs, (pixels - mean) / std, atol=1e-5)


def test_normalising_leaves_the_pictures_alone():
    kept = torch.rand(4, 1, 5, 5)
    data = Batches(Pictures(kept.clone(), torch.arange(4)), 4, shuffle=False)
    next(iter(data))
    assert torch.equal(data.pictures.pixels, kept)


def test_order_and_augmentation_follow_from_seed_epoch_and_number():
    data = Batches(some(20), 4, augment=(Shift(1), Flip(), Erase(1.0)))
    whole = list(data.batches(3))
    rest = list(data.batches(3, first=2))
    assert len(whole) == 5 and len(rest) == 3
    for a, b in zip(whole[2:], rest, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert sorted(torch.cat([b.indices for b in whole]).tolist()) == list(range(20))
    orders = {
        tuple(torch.cat([b.indices for b in Batches(some(20), 4, seed=s).batches(e)]).tolist())
        for s in range(3)
        for e in range(3)
    }
    assert len(orders) == 9


def test_processes_share_every_batch():
    data = Batches(some(22), 4, augment=())
    single = Batches(some(22), 8)
    assert data.count(2) == single.count() == 2
    for together, *parts in zip(single.batches(1), data.batches(1, 0, 0, 2), data.batches(1, 0, 1, 2), strict=True):
        assert sorted(together.indices.tolist()) == sorted(torch.cat([p.indices for p in parts]).tolist())


def test_shifted_pictures_are_windows_of_the_padded_picture():
    batch = some(64, 2, 5).pixels
    shifted = Shift(2, fill=7)(batch, torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(batch, (2,) * 4, value=7)
    places = set()
    for before, after in zip(padded, shifted, strict=True):
        found = [(y, x) for y in range(5) for x in range(5) if torch.equal(before[:, y : y + 5, x : x + 5], after)]
        assert found
        places.update(found)
    assert len(places) > 15


def test_flips_half_of_the_pictures():
    batch = some(200).pixels
    flipped = Flip()(batch, torch.Generator().manual_seed(0))
    mirrored = [torch.equal(a.flip(2), b) for a, b in zip(batch, flipped, strict=True)]
    assert all(m or torch.equal(a, b) for m, a, b in zip(mirrored, batch, flipped, strict=True))
    assert 60 < sum(mirrored) < 140


def test_erased_parts_are_rectangles_of_the_area_asked_for():
    batch = torch.ones(100, 2, 20, 20)
    erased = Erase(0.5, (0.1, 0.2), 2.0)(batch, torch.Generator().manual_seed(0))
    areas = []
    for picture in erased:
        hole = picture[0] == 0
        assert torch.equal(picture[0], picture[1])
        if hole.any():
            rows, columns = hole.any(1), hole.any(0)
            assert torch.equal(hole, rows[:, None] & columns[None])
            areas.append(int(hole.sum()) / 400)
    assert 30 < len(areas) < 70 and 0.08 < min(areas) < max(areas) < 0.22


def test_split_takes_a_share_of_every_class():
    pictures = some(30)
    held_out, rest = pictures.split(0.2, seed=1)
    assert held_out.labels.bincount().tolist() == [2, 2, 2] and rest.labels.bincount().tolist() == [8, 8, 8]
    with pytest.raises(BadInput, match="empty"):
        pictures.split(0.0)


def test_resized_pictures():
    pictures = Pictures(torch.full((3, 1, 8, 8), 77, dtype=torch.uint8), torch.arange(3))
    smaller = pictures.resized(4, 6)
    assert smaller.size == (1, 4, 6) and smaller.pixels.unique().tolist() == [77]
