"""`python -m llmos.kernel.boot` is `llmosd`."""

from __future__ import annotations

import sys

from llmos.kernel.boot.daemon import main

sys.exit(main())
