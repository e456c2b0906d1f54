"""`python -m lossarium`."""

import sys

from lossarium.cli.entry import main

sys.exit(main())
