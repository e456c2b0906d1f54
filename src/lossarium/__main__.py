"""`python -m lossarium`."""

import sys

from lossarium.cli.main import main

sys.exit(main())
