"""UnionEncoder: maps images through several networks and joins their features."""

from sklearn_ckn._engine.encoder import Encoder


class UnionEncoder(Encoder):
    """The Encoder of a NetworkUnion; created by ``Engine.bind``.

    Parameters
    ----------
    engine : Engine
    network : NetworkUnion
    dtype : dtype
    members : list of Encoder
        Of the networks of the union.
    """

    def __init__(self, engine, network, dtype, members):
        super().__init__(engine, network, dtype, None)
        self._members = members

    @property
    def _bytes_per_image(self):
        joined = 2 * self.dtype.itemsize * self.network.n_features
        return joined + max(member._bytes_per_image for member in self._members)

    def _encode(self, images):
        """Return the joined features of a block as maps (n, 1, 1, n_features)."""
        xp, n = self.engine.xp, len(images)
        # The members share one conversion.
        images = xp.ascontiguousarray(images, dtype=self.dtype)
        features = xp.empty((n, self.network.n_features), self.dtype)
        for member, columns in self._columns():
            features[:, columns] = member._encode(images).reshape(n, -1)
        return features.reshape(n, 1, 1, -1)

    def image_gradient(self, images, gradient):
        """Add the gradients of the members; see ``Encoder.image_gradient``."""
        return sum(
            member.image_gradient(images, gradient[:, columns])
            for member, columns in self._columns()
        )

    def _columns(self):
        """Yield each member and the slice of its features."""
        start = 0
        for member in self._members:
            stop = start + member.network.n_features
            yield member, slice(start, stop)
            start = stop
