"""`python -m llmos.apps.llmosctl`."""

from llmos.apps.llmosctl.main import main

main()
