"""``python3 -m oned``: the server, run from the source tree by the tests."""

import sys

from oned.daemon import main

sys.exit(main(sys.argv[1:]))
