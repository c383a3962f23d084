"""What the GAN offers as images is what metrics read, though neither package imports the other."""

import metrics.sources
import stylegan2ada.dataset_chunks
from stylegan2ada.dataset_chunks import DatasetImages
from stylegan2ada.generated_images import GeneratedImages
from tests.toy_images import ToyImages


def test_both_count_in_the_same_chunks():
    assert metrics.sources.CHUNK_SIZE == stylegan2ada.dataset_chunks.CHUNK_SIZE


def test_both_kinds_have_what_a_source_has():
    wanted = [*metrics.sources.ImageSource.__annotations__, "chunk"]
    assert set(wanted) >= {"name", "key", "num_images", "class_names", "chunk"}
    assert all(hasattr(DatasetImages(ToyImages([0, 1])), name) for name in wanted)
    assert issubclass(GeneratedImages, metrics.sources.PathSource)
    assert GeneratedImages.num_images is None
