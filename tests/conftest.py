"""Settings for all tests: Hypothesis measures no time, because machines are shared and a slow one is no bug."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("llmos", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("llmos")
