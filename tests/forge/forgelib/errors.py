# SPDX-License-Identifier: MIT
"""The one exception for a recipe that cannot be forged, and the internal retry."""


class ForgeError(Exception):
    """The recipe is wrong, or asks for something that does not fit the format."""


class NeedReserve(Exception):
    """The room kept for refcounts at the front of the image must be larger."""

    def __init__(self, clusters):
        super().__init__(clusters)
        self.clusters = clusters
