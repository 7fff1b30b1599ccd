"""The evidence pack of an update: one ZIP that proves, offline, what happened and who did it.

``record`` is what goes in, ``packing`` makes the archive, ``checks`` verifies it with nothing but
the organisation's root keys.
"""
