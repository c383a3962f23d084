"""DICOM to grey: against a slow reading of the standard, pixel by pixel, and on real files."""

import io
import math
import zlib

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import uid
from pydicom.encaps import encapsulate

from spine_ext import dicom_decode
from spine_ext.dicom_pixels import Rejected, read_radiograph
from tests.dicom_samples import dicom_bytes, dicom_file, lut_item, make_dataset

REAL_FILES = ("RG1_J2KI", "RG3_J2KR", "RG2_JPLL", "RG2_JLSL", "RG2_JPLY_fixed", "JPEG2KLossless_1s_1f_u_16_16")


def ramp(low: int = 0, high: int = 4095, shape: tuple[int, int] = (16, 20)) -> np.ndarray:
    """Integers from `low` to `high`, in no order that could hide a transposition."""
    values = np.linspace(low, high, shape[0] * shape[1]).round().astype(np.int64)
    return np.random.default_rng(0).permutation(values).reshape(shape)


def slow_window(x: float, center: float, width: float, function: str) -> float:
    """The pseudo code of PS3.3 C.11.2.1.2.1, C.11.2.1.3.1 and C.11.2.1.3.2, for one value, ymin 0 and ymax 1."""
    if function == "SIGMOID":
        return 1 / (1 + math.exp(min(-4 * (x - center) / width, 700)))
    if function == "LINEAR_EXACT":
        if x <= center - width / 2:
            return 0.0
        if x > center + width / 2:
            return 1.0
        return (x - center) / width + 0.5
    if x <= center - 0.5 - (width - 1) / 2:
        return 0.0
    if x > center - 0.5 + (width - 1) / 2:
        return 1.0
    return (x - (center - 0.5)) / (width - 1) + 0.5


def slow_grey(fractions: list[list[float]], inverted: bool) -> np.ndarray:
    """Fractions of the display range to 8 bits, rounding half up."""
    rows = [[int(255 * ((1 - f) if inverted else f) + 0.5) for f in row] for row in fractions]
    return np.array(rows, dtype=np.uint8)


def assert_grey(actual: np.ndarray, expected: np.ndarray) -> None:
    """Equal but for a value that falls on a rounding edge, where the order of operations decides."""
    assert actual.dtype == np.uint8 and actual.shape == expected.shape
    difference = np.abs(actual.astype(int) - expected)
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01


class TestWindow:
    @pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID", None])
    @pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
    @pytest.mark.parametrize(("slope", "intercept"), [(None, None), (1, 0), (0.5, -100), (-2, 4095)])
    def test_is_the_standards(self, function, photometric, slope, intercept):
        pixels = ramp()
        tags = {"WindowCenter": 1200, "WindowWidth": 900, "VOILUTFunction": function}
        rescale = {"RescaleSlope": slope, "RescaleIntercept": intercept}
        dataset = make_dataset(pixels, PhotometricInterpretation=photometric, **tags, **rescale)
        fractions = [
            [slow_window(x * (slope or 1) + (intercept or 0), 1200, 900, function or "LINEAR") for x in row]
            for row in pixels.tolist()
        ]
        assert_grey(read_radiograph(dicom_file(dataset)), slow_grey(fractions, photometric == "MONOCHROME1"))

    @given(
        center=st.floats(-500, 5000).map(lambda x: round(x, 2)),
        width=st.floats(2, 8000).map(lambda x: round(x, 2)),
        function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
        inverted=st.booleans(),
    )
    @settings(max_examples=60, deadline=None)
    def test_any_window(self, center, width, function, inverted):
        pixels = ramp()
        expected = [[slow_window(x, center, width, function) for x in row] for row in pixels.tolist()]
        if np.ptp(expected) < 1 / 255:
            return  # shows nothing: see test_useless_window
        dataset = make_dataset(
            pixels,
            WindowCenter=center,
            WindowWidth=width,
            VOILUTFunction=function,
            PhotometricInterpretation=f"MONOCHROME{1 if inverted else 2}",
        )
        assert_grey(read_radiograph(dicom_file(dataset)), slow_grey(expected, inverted))

    def test_first_of_several(self):
        several = make_dataset(ramp(), WindowCenter=[1000, 3000], WindowWidth=[500, 100])
        one = make_dataset(ramp(), WindowCenter=1000, WindowWidth=500)
        assert (read_radiograph(dicom_file(several)) == read_radiograph(dicom_file(one))).all()

    def test_width_one_is_a_threshold(self):
        pixels = np.array([[0, 99], [100, 4095]])
        dataset = make_dataset(pixels, WindowCenter=100, WindowWidth=1)
        assert (read_radiograph(dicom_file(dataset)) == [[0, 0], [255, 255]]).all()

    @pytest.mark.parametrize(("center", "width"), [(100, 0), (100, -5), (1e6, 10), (-1e6, 10)])
    def test_useless_window_counts_as_none(self, center, width):
        dataset = make_dataset(ramp(), WindowCenter=center, WindowWidth=width)
        without = make_dataset(ramp())
        assert (read_radiograph(dicom_file(dataset)) == read_radiograph(dicom_file(without))).all()

    def test_polarity_comes_from_photometric_interpretation_alone(self):
        tags = {"WindowCenter": 2048, "WindowWidth": 4096, "PhotometricInterpretation": "MONOCHROME1"}
        plain = read_radiograph(dicom_file(make_dataset(ramp(), **tags)))
        both = read_radiograph(dicom_file(make_dataset(ramp(), PresentationLUTShape="INVERSE", **tags)))
        assert (plain == both).all()


class TestLookupTable:
    @pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
    @pytest.mark.parametrize(("bits", "words"), [(8, True), (8, False), (10, True), (12, True), (16, True)])
    def test_voi_range_is_the_luts_own(self, photometric, bits, words):
        """12 bits are stored, whatever the table's depth: taking that range would show it dark or overflow."""
        pixels = ramp()
        table = np.round((2**bits - 1) * (np.arange(3000) / 2999) ** 1.7).astype(int)
        dataset = make_dataset(pixels, PhotometricInterpretation=photometric)
        dataset.VOILUTSequence = [lut_item(table, 500, bits, words)]
        fractions = [[int(table[min(max(x - 500, 0), 2999)]) / (2**bits - 1) for x in row] for row in pixels.tolist()]
        assert_grey(read_radiograph(dicom_file(dataset)), slow_grey(fractions, photometric == "MONOCHROME1"))

    def test_sixteen_bits_may_mean_words(self):
        table = np.arange(4096)
        claims_16, says_12 = make_dataset(ramp()), make_dataset(ramp())
        claims_16.VOILUTSequence = [lut_item(table, 0, 16)]
        says_12.VOILUTSequence = [lut_item(table, 0, 12)]
        assert (read_radiograph(dicom_file(claims_16)) == read_radiograph(dicom_file(says_12))).all()

    def test_voi_lut_is_preferred_to_the_window(self):
        dataset = make_dataset(ramp(), WindowCenter=100, WindowWidth=10)
        dataset.VOILUTSequence = [lut_item(np.arange(4096), 0, 12)]
        assert_grey(read_radiograph(dicom_file(dataset)), np.round(ramp() / 4095 * 255).astype(np.uint8))

    @pytest.mark.parametrize("signed_descriptor", [True, False])
    def test_first_mapped_value_may_be_negative(self, signed_descriptor):
        """-1000 as a signed or, after a rescale to negative values, as the unsigned word 64536."""
        first = -1000 if signed_descriptor else 64536
        dataset = make_dataset(ramp(), RescaleSlope=1, RescaleIntercept=-1000)
        dataset.VOILUTSequence = [lut_item(np.arange(4096), first, 12, signed=signed_descriptor)]
        assert_grey(read_radiograph(dicom_file(dataset)), np.round(ramp() / 4095 * 255).astype(np.uint8))

    def test_modality_lut_comes_before_the_window(self):
        pixels = ramp()
        table = np.arange(4096)[::-1] * 16
        dataset = make_dataset(pixels, WindowCenter=30000, WindowWidth=20000, RescaleSlope=None)
        dataset.ModalityLUTSequence = [lut_item(table, 0, 16)]
        fractions = [[slow_window(int(table[x]), 30000, 20000, "LINEAR") for x in row] for row in pixels.tolist()]
        assert_grey(read_radiograph(dicom_file(dataset)), slow_grey(fractions, False))

    def test_shorter_than_it_says_is_rejected(self):
        dataset = make_dataset(ramp())
        dataset.VOILUTSequence = [lut_item(np.arange(100), 0, 12)]
        dataset.VOILUTSequence[0].LUTDescriptor = [4096, 0, 12]
        with pytest.raises(Rejected, match="damaged header: a LUT of 4096 entries has 200 bytes"):
            read_radiograph(dicom_file(dataset))


class TestWithoutWindow:
    @pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
    def test_spreads_the_central_percentiles(self, photometric):
        pixels = np.random.default_rng(1).normal(1500, 200, (60, 50)).round().clip(0, 4095).astype(int)
        pixels[0, :3] = 4095  # a marker must not darken the rest
        low, high = np.percentile(pixels, [0.5, 99.5], method="inverted_cdf")
        fractions = [[min(max((x - low) / (high - low), 0), 1) for x in row] for row in pixels.tolist()]
        dataset = make_dataset(pixels, PhotometricInterpretation=photometric)
        assert_grey(read_radiograph(dicom_file(dataset)), slow_grey(fractions, photometric == "MONOCHROME1"))

    def test_a_few_odd_pixels_still_show(self):
        pixels = np.full((40, 40), 7)
        pixels[3, 4] = 9
        expected = np.zeros((40, 40), dtype=np.uint8)
        expected[3, 4] = 255
        assert (read_radiograph(dicom_file(make_dataset(pixels))) == expected).all()

    @pytest.mark.parametrize("tags", [{}, {"WindowCenter": 10, "WindowWidth": 20}, {"RescaleSlope": 0}])
    def test_one_value_is_rejected(self, tags):
        with pytest.raises(Rejected, match="blank image"):
            read_radiograph(dicom_file(make_dataset(np.full((9, 9), 7), RescaleIntercept=0, **tags)))

    def test_padding_is_black_and_does_not_count(self):
        pixels = ramp(1000, 2000)
        padded = np.pad(pixels, 10)
        grey = read_radiograph(
            dicom_file(make_dataset(padded, PixelPaddingValue=0, PhotometricInterpretation="MONOCHROME1"))
        )
        inside = read_radiograph(dicom_file(make_dataset(pixels, PhotometricInterpretation="MONOCHROME1")))
        assert (grey[10:-10, 10:-10] == inside).all()
        grey[10:-10, 10:-10] = 0
        assert not grey.any()

    def test_padding_range(self):
        pixels = ramp(1000, 2000)
        pixels[0] = np.arange(20)
        grey = read_radiograph(dicom_file(make_dataset(pixels, PixelPaddingValue=0, PixelPaddingRangeLimit=19)))
        assert not grey[0].any() and grey[1:].max() == 255


class TestDecoding:
    """Every way of storing the same integers gives the same image."""

    @pytest.mark.parametrize("low", [0, -2048], ids=["unsigned", "signed"])
    @pytest.mark.parametrize(
        "syntax",
        [
            uid.ImplicitVRLittleEndian,
            uid.ExplicitVRLittleEndian,
            uid.DeflatedExplicitVRLittleEndian,
            uid.ExplicitVRBigEndian,
            uid.RLELossless,
            uid.JPEGLosslessSV1,
            uid.JPEGLSLossless,
            uid.JPEG2000Lossless,
        ],
        ids=lambda syntax: syntax.keyword,
    )
    def test_transfer_syntax(self, syntax, low):
        pixels = ramp(low, low + 4095, (40, 52))
        stored = pixels
        if low < 0 and syntax in (uid.JPEGLosslessSV1, uid.JPEGLSLossless):
            stored = pixels & 0xFFFF  # these codestreams know no sign: two's complement, and the header says so
        dataset = make_dataset(
            stored, syntax, PixelRepresentation=int(low < 0), WindowCenter=low + 2048, WindowWidth=4096
        )
        fractions = [[slow_window(x, low + 2048, 4096, "LINEAR") for x in row] for row in pixels.tolist()]
        assert_grey(read_radiograph(dicom_file(dataset)), slow_grey(fractions, False))

    def test_eight_bits_allocated(self):
        pixels = ramp(0, 255)
        dataset = make_dataset(pixels, BitsAllocated=8, WindowCenter=128, WindowWidth=256)
        assert (read_radiograph(dicom_file(dataset)) == pixels).all()

    @pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.RLELossless])
    @pytest.mark.parametrize("high_bit", [11, 13, 15])
    def test_unused_bits_do_not_matter(self, syntax, high_bit):
        """Old files keep overlays in the bits above or below the stored ones."""
        pixels = ramp()
        noise = np.random.default_rng(2).integers(0, 2**16, pixels.shape)
        shift = high_bit - 11
        cells = (noise & ~(0xFFF << shift)) | (pixels << shift)
        dataset = make_dataset(cells, syntax, BitsStored=12, HighBit=high_bit, WindowCenter=2048, WindowWidth=4096)
        plain = make_dataset(pixels, WindowCenter=2048, WindowWidth=4096)
        assert (read_radiograph(dicom_file(dataset)) == read_radiograph(dicom_file(plain))).all()

    def test_codestream_in_several_fragments_or_a_jp2_file(self):
        pixels = ramp(0, 4095, (64, 64)).astype(np.uint16)
        dataset = make_dataset(pixels, uid.JPEG2000Lossless)
        expected = read_radiograph(dicom_file(dataset))
        for wrapper in ("j2k", "jp2"):
            codestream = imagecodecs.jpeg2k_encode(pixels, codecformat=wrapper, reversible=True)
            dataset.PixelData = encapsulate([codestream], fragments_per_frame=3)
            assert (read_radiograph(dicom_file(dataset)) == expected).all()

    def test_path_and_file_are_alike(self, tmp_path):
        data = dicom_bytes(make_dataset(ramp()))
        path = tmp_path / "a.dicom"
        path.write_bytes(data)
        assert (read_radiograph(path) == read_radiograph(io.BytesIO(data))).all()
        assert (read_radiograph(str(path)) == read_radiograph(path)).all()


class TestRejected:
    @pytest.mark.parametrize(
        ("attributes", "message"),
        [
            ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "not greyscale: .*RGB"),
            ({"PhotometricInterpretation": "PALETTE COLOR"}, "not greyscale: .*PALETTE COLOR"),
            ({"PhotometricInterpretation": None}, "not greyscale: .*missing"),
            ({"NumberOfFrames": 3}, "several frames: NumberOfFrames is 3"),
            ({"Rows": None, "BitsStored": None}, "missing attribute: Rows, BitsStored"),
            ({"Rows": 0}, "impossible image size: 0 rows x 20 columns"),
            ({"Rows": 65535, "Columns": 65535}, "impossible image size: 65535 rows x 65535"),
            ({"BitsAllocated": 32}, "unsupported pixel format: BitsAllocated 32"),
            ({"BitsStored": 17, "HighBit": 16}, "unsupported pixel format: .*BitsStored 17"),
            ({"HighBit": 7}, "unsupported pixel format: .*HighBit 7"),
            ({"Rows": 17}, "truncated pixel data: 640 bytes of 680"),
            (
                {"VOILUTFunction": "CUBIC", "WindowCenter": 9, "WindowWidth": 9},
                "unsupported VOI LUT function: CUBIC",
            ),
        ],
    )
    def test_header(self, attributes, message):
        with pytest.raises(Rejected, match=message):
            read_radiograph(dicom_file(make_dataset(ramp(), **attributes)))

    def test_no_pixel_data(self):
        dataset = make_dataset(ramp())
        del dataset.PixelData
        with pytest.raises(Rejected, match=r"^no pixel data$"):
            read_radiograph(dicom_file(dataset))

    def test_unsupported_transfer_syntax(self):
        dataset = make_dataset(ramp(), uid.JPEG2000Lossless)
        dataset.file_meta.TransferSyntaxUID = uid.MPEG2MPML
        with pytest.raises(Rejected, match=r"unsupported transfer syntax: 1\.2\.840\.10008\.1\.2\.4\.100 MPEG2"):
            read_radiograph(dicom_file(dataset))

    @pytest.mark.parametrize("content", [b"", b"DICM", b"\x89PNG" + bytes(500), bytes(128) + b"dicm" + bytes(99)])
    def test_not_dicom(self, content):
        with pytest.raises(Rejected, match="not a DICOM file"):
            read_radiograph(io.BytesIO(content))

    def test_missing_file(self, tmp_path):
        with pytest.raises(Rejected, match="unreadable file: FileNotFoundError"):
            read_radiograph(tmp_path / "none.dcm")

    @pytest.mark.parametrize(
        "syntax", [uid.ExplicitVRLittleEndian, uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless]
    )
    @pytest.mark.parametrize("kept", [0.02, 0.3, 0.9])
    def test_truncated_file(self, syntax, kept):
        data = dicom_bytes(make_dataset(ramp(shape=(80, 80)), syntax))
        with pytest.raises(Rejected):
            read_radiograph(io.BytesIO(data[: int(len(data) * kept)]))

    def test_file_too_large(self, monkeypatch):
        monkeypatch.setattr(dicom_decode, "MAX_FILE_BYTES", 500)
        with pytest.raises(Rejected, match="file too large"):
            read_radiograph(dicom_file(make_dataset(ramp())))

    def test_deflate_bomb(self, monkeypatch):
        """A small file that inflates beyond the limit is refused before pydicom inflates it all."""
        data = dicom_bytes(make_dataset(np.zeros((500, 500)), uid.DeflatedExplicitVRLittleEndian))
        monkeypatch.setattr(dicom_decode, "MAX_FILE_BYTES", 100_000)
        monkeypatch.setattr(zlib, "decompress", lambda *args, **kwargs: pytest.fail("inflated without a limit"))
        assert len(data) < 10_000
        with pytest.raises(Rejected, match="file too large: inflates to more than 100000 bytes"):
            read_radiograph(io.BytesIO(data))

    @pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEGLSLossless, uid.JPEGLosslessSV1])
    def test_codestream_of_another_size_is_not_decoded(self, syntax, monkeypatch):
        monkeypatch.setitem(dicom_decode._DECODERS, syntax, lambda frame: pytest.fail("decoded"))
        dataset = make_dataset(ramp(shape=(64, 64)), syntax, Rows=32)
        with pytest.raises(
            Rejected, match="decoding failed: codestream of 64 x 64 with 1 components in an image of 32 x 64"
        ):
            read_radiograph(dicom_file(dataset))

    def test_unexpected_errors_keep_their_type_and_message(self, monkeypatch):
        def fail(frame: bytes) -> np.ndarray:
            raise ZeroDivisionError("of all\nthings")

        monkeypatch.setitem(dicom_decode._DECODERS, uid.JPEGLSLossless, fail)
        with pytest.raises(Rejected, match=r"^decoding failed: ZeroDivisionError: of all things$") as caught:
            read_radiograph(dicom_file(make_dataset(ramp(), uid.JPEGLSLossless)))
        assert caught.value.reason == "decoding failed"

    def test_odd_values_are_read_without_quoting_them(self, capfd, caplog):
        """pydicom warns of values that break the rules, such as a number of 24 letters, and prints them."""
        data = dicom_bytes(make_dataset(ramp(), WindowCenter="1200.5", WindowWidth="900"))
        odd = data.replace(b"DS\x06\x001200.5", b"DS\x18\x001200.5000000000000000000")
        assert len(odd) > len(data)
        assert (read_radiograph(io.BytesIO(odd)) == read_radiograph(io.BytesIO(data))).all()
        out, err = capfd.readouterr()
        assert "1200" not in out + err + caplog.text

    @given(data=st.data())
    @settings(max_examples=150, deadline=None)
    def test_damaged_bytes_give_an_image_or_a_reason(self, data):
        syntax = data.draw(st.sampled_from([uid.ExplicitVRLittleEndian, uid.RLELossless, uid.JPEGLSLossless]))
        dataset = make_dataset(ramp(), syntax, WindowCenter=2000, WindowWidth=900, RescaleSlope=1, RescaleIntercept=0)
        dataset.VOILUTSequence = [lut_item(np.arange(64), 0, 8)]
        content = bytearray(dicom_bytes(dataset))
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(132, len(content) - 1))] = data.draw(st.integers(0, 255))
        try:
            grey = read_radiograph(io.BytesIO(content))
        except Rejected as rejected:
            assert rejected.reason
        else:
            assert grey.dtype == np.uint8 and grey.ndim == 2


@pytest.fixture(scope="module")
def grey(shared_dir) -> dict[str, np.ndarray]:
    """The real radiographs, read once."""
    return {name: read_radiograph(shared_dir / "radiographs" / f"{name}.dcm") for name in REAL_FILES}


class TestRealFiles:
    @pytest.mark.parametrize(
        ("name", "shape"),
        list(zip(REAL_FILES, [(1955, 1841), (1760, 1760), *[(2140, 1760)] * 3, (1416, 1420)], strict=True)),
    )
    def test_decodes_with_contrast(self, grey, name, shape):
        assert grey[name].shape == shape
        assert grey[name].std() > 25

    def test_lossless_codecs_agree_and_the_lossy_one_nearly(self, grey):
        assert (grey["RG2_JPLL"] == grey["RG2_JLSL"]).all()
        difference = np.abs(grey["RG2_JPLL"].astype(int) - grey["RG2_JPLY_fixed"])
        assert 0 < difference.mean() < 1

    def test_bone_is_bright(self, grey):
        """Monochrome 1 and 2 alike: the spine beside the lungs, the shaft of a bone beside the muscle, the air."""
        chest = grey["RG1_J2KI"].astype(float)
        assert chest[400:900, 880:960].mean() > chest[400:900, 500:700].mean() + 30
        leg = grey["RG3_J2KR"].astype(float)
        bone, muscle, air = (leg[200:600, left : left + 60].mean() for left in (820, 700, 530))
        assert bone > muscle + 15 > air + 30
        hip = grey["RG2_JLSL"].astype(float)
        assert hip[1900:, 300:1300].mean() < 30 < hip[300:900, 300:600].mean()

    def test_window_of_other_data_is_not_believed(self, grey):
        """Its window ends at 5,380, its smallest pixel is 32,744: taken at its word the image is all white."""
        assert 40 < grey["JPEG2KLossless_1s_1f_u_16_16"].mean() < 215

    def test_broken_codestream_is_rejected(self, shared_dir):
        with pytest.raises(Rejected, match="decoding failed: Jpeg2kError") as caught:
            read_radiograph(shared_dir / "radiographs" / "966.dcm")
        assert caught.value.reason == "decoding failed"

    @pytest.mark.parametrize("name", ["RG1_J2KI", "RG2_JPLL", "RG2_JLSL", "RG2_JPLY_fixed"])
    def test_truncated(self, shared_dir, name):
        data = (shared_dir / "radiographs" / f"{name}.dcm").read_bytes()
        with pytest.raises(Rejected):
            read_radiograph(io.BytesIO(data[: len(data) // 2]))
