"""The 1,797 handwritten digits of 8x8 pixels that scikit-learn ships."""

from __future__ import annotations

import torch

from genloss.data.base import Dataset
from genloss.data.images import ImageOptions, Pictures, image_dataset, limited, refit
from genloss.data.splits import complete

__all__ = ["load_digits"]


def load_digits(options: ImageOptions) -> Dataset:
    """Returns the digits as grey images `(1, 8, 8)`: the only real images that need no download.

    Their 17 grey levels, 0 to 16, are stored as the pixels round(255 level / 16).

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 (its test set).

    Example:
        >>> load_digits(ImageOptions()).class_names
        ('0', '1', '2', '3', '4', '5', '6', '7', '8', '9')
    """
    import sklearn.datasets  # takes a second to import

    bunch = sklearn.datasets.load_digits()
    levels = torch.from_numpy(bunch.images)
    stored = (levels * (255 / 16)).round().to(torch.uint8).unsqueeze(1)
    rows, split_note = complete({"train": torch.arange(len(stored))}, "'digits'")
    rows, limit_notes = limited(rows, options)
    values, fitted = refit(stored, options)
    pictures = Pictures(
        values=values,
        labels=torch.from_numpy(bunch.target).long(),
        class_names=tuple(str(digit) for digit in range(10)),
        rows=rows,
        notes=("Grey levels 0 to 16 became pixels 0 to 255.", split_note, *limit_notes, *fitted),
    )
    return image_dataset("digits", pictures, options)
