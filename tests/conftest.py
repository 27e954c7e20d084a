"""What all tests share."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase
from schemathesis.config import SchemathesisConfig

# `make test` draws the same examples in every run, by the seed in pyproject.toml. An example that
# has failed is kept, and is the first that the next run tries.
settings.register_profile(
    "test",
    # A slow machine is no failed promise.
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    derandomize=False,
    database=DirectoryBasedExampleDatabase(".hypothesis/examples"),
)
# `make fuzz` draws other examples in every run, and more of them.
settings.register_profile("fuzz", settings.get_profile("test"), max_examples=1000)
settings.load_profile("test")


def pytest_configure(config: pytest.Config) -> None:
    """Let schemathesis draw by the seed that hypothesis draws by."""
    seed = config.getoption("--hypothesis-seed")
    SchemathesisConfig.shared_seed = int(seed) if seed else None
