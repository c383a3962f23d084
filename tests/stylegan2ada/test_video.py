"""GIF and MP4 files hold the frames, at their speed."""

import sys

import numpy as np
import PIL.Image
import PIL.ImageSequence
import pytest

from stylegan2ada import video
from stylegan2ada.errors import UserError
from stylegan2ada.video import check_video, mp4_is_available, write_video


def noise(count: int, channels: int, side: int = 16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, channels, side, side)).astype(np.uint8)


def read_gif(path) -> tuple[list[np.ndarray], list[int]]:
    with PIL.Image.open(path) as picture:
        assert picture.info["loop"] == 0
        read = [
            (np.array(frame.convert("RGB")), frame.info["duration"]) for frame in PIL.ImageSequence.Iterator(picture)
        ]
    frames, durations_ms = zip(*read, strict=True)
    return list(frames), list(durations_ms)


class TestGif:
    def test_grey_frames_lose_nothing(self, tmp_path):
        frames = noise(7, 1)
        write_video(tmp_path / "a.gif", iter(frames), fps=25)
        read, durations_ms = read_gif(tmp_path / "a.gif")
        np.testing.assert_array_equal(np.stack(read)[..., 0], frames[:, 0])
        assert set(durations_ms) == {40}

    def test_color(self, tmp_path):
        ramp = np.linspace(0, 255, 16) / np.array([[1], [2], [3]])
        ramp = np.repeat(ramp[:, None], 16, axis=1).astype(np.uint8)
        write_video(tmp_path / "a.gif", [np.roll(ramp, shift, -1) for shift in range(4)], 10)
        read, _ = read_gif(tmp_path / "a.gif")
        for shift, frame in enumerate(read):
            assert np.abs(frame.transpose(2, 0, 1).astype(int) - np.roll(ramp, shift, -1)).max() < 20

    @pytest.mark.parametrize("fps", [24, 30, 50])
    def test_speed_is_right_in_the_long_run(self, tmp_path, fps):
        write_video(tmp_path / "a.gif", noise(60, 1), fps)
        _, durations_ms = read_gif(tmp_path / "a.gif")
        assert len(durations_ms) == 60 and sum(durations_ms) == pytest.approx(60_000 / fps, abs=10)
        assert min(durations_ms) >= 20


class TestMp4:
    @pytest.fixture(autouse=True)
    def _needs_the_package(self):
        pytest.importorskip("imageio_ffmpeg")

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the package's reader closes late
    @pytest.mark.parametrize("channels", [1, 3])
    def test_frames_come_back(self, tmp_path, channels):
        import imageio_ffmpeg

        smooth = [np.full((channels, 32, 32), 8 * index, np.uint8) for index in range(20)]
        write_video(tmp_path / "a.mp4", smooth, fps=25)
        reader = imageio_ffmpeg.read_frames(str(tmp_path / "a.mp4"))
        facts = next(reader)
        frames = [np.frombuffer(frame, np.uint8).astype(int) for frame in reader]
        assert (facts["size"], facts["fps"], len(frames)) == ((32, 32), 25, 20)
        assert max(np.abs(frame - 8 * index).max() for index, frame in enumerate(frames)) < 8


def test_a_failing_source_leaves_no_file(tmp_path):
    def frames():
        yield noise(1, 1)[0]
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_video(tmp_path / "a.gif", frames(), 10)
    assert list(tmp_path.iterdir()) == []


class TestCheck:
    @pytest.mark.parametrize("name", ["a.avi", "a", "gif"])
    def test_other_formats(self, name):
        with pytest.raises(UserError, match=f"--output {name}: choose a name that ends in .gif or .mp4"):
            check_video(name, 30, "--output")

    def test_a_folder(self, tmp_path):
        (tmp_path / "a.gif").mkdir()
        with pytest.raises(UserError, match=r"--output .*a\.gif is a folder"):
            check_video(tmp_path / "a.gif", 30, "--output")

    def test_mp4_without_the_package(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
        monkeypatch.setattr(video.importlib.util, "find_spec", lambda name: None)
        assert not mp4_is_available()
        with pytest.raises(UserError, match=r'pip install "spinegan\[video\]"; or choose a .gif'):
            check_video("a.mp4", 30, "--output")

    def test_speed_of_a_gif(self):
        check_video("a.GIF", 50, "--output")
        with pytest.raises(UserError, match="--fps 60 is too much for a GIF"):
            check_video("a.gif", 60, "--output")
