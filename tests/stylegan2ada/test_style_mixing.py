"""Mixtures take the layers that were asked for, and no others."""

import torch

from stylegan2ada.style_mixing import mix_styles, mixing_table


def test_layers_come_from_the_column():
    rows, columns = torch.randn(2, 5, 3), torch.randn(4, 5, 3)
    mixed = mix_styles(rows, columns, [0, 3])
    assert mixed.shape == (2, 4, 5, 3)
    for r in range(2):
        for c in range(4):
            for layer in range(5):
                expected = columns[c, layer] if layer in (0, 3) else rows[r, layer]
                assert torch.equal(mixed[r, c, layer], expected)


def test_latents_that_are_views_stay_as_they_are():
    rows = torch.randn(2, 1, 3).expand(-1, 5, -1)
    before = rows.clone()
    mix_styles(rows, torch.randn(4, 5, 3), [1])
    assert torch.equal(rows, before)


def test_table_goes_by_row():
    rows, columns = torch.randn(2, 5, 3), torch.randn(3, 5, 3)
    table = mixing_table(rows, columns, [1])
    assert table.shape == (11, 5, 3)
    assert torch.equal(table[:3], columns)
    for r in range(2):
        assert torch.equal(table[3 + 4 * r], rows[r])
        assert torch.equal(table[4 + 4 * r : 7 + 4 * r], mix_styles(rows, columns, [1])[r])
