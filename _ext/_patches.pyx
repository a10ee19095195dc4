# cython: language_level=3, boundscheck=False, wraparound=False
"""Patches gathered from a block of images."""

from cython cimport floating
from cython.parallel cimport prange

from patch_copies cimport copy_patch


def gather_patches(
    const floating[:, :, :, ::1] images,   # IN (n, height, width, n_channels)
    const Py_ssize_t[::1] indices,         # IN (n_patches,) image of each patch
    const Py_ssize_t[::1] tops,            # IN (n_patches,) its first row
    const Py_ssize_t[::1] lefts,           # IN (n_patches,) its first column
    floating[:, ::1] patches,              # OUT (n_patches, patch_length)
    Py_ssize_t patch_size,
    int n_threads,
):
    """Copy patches as rows; what lies outside an image is zero."""
    cdef Py_ssize_t i
    for i in prange(
        indices.shape[0], nogil=True, schedule="static", num_threads=n_threads
    ):
        copy_patch(
            &images[indices[i], 0, 0, 0],
            &patches[i, 0],
            images.shape[1],
            images.shape[2],
            images.shape[3],
            patch_size,
            tops[i],
            lefts[i],
        )
