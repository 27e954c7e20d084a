"""What all tests share."""

from hypothesis import settings

# A slow machine is no failed promise.
settings.register_profile("default", deadline=None)
settings.load_profile("default")
